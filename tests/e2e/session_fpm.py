# SPDX-License-Identifier: Apache-2.0
"""php-fpm behind nginx, as it stands on most machines: PHP runs as an ordinary user, connections are kept, answers are buffered."""
import os
import pwd

from session_rig import APPS
from stack_rig import AppServer

from rig import free_port

USER = "www-data"

NGINX = """daemon off;
user {user};
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr;
events {{}}
http {{
    include /etc/nginx/mime.types;
    access_log off;
    {temp}
    server {{
        listen {listen};
        root {root};
        index index.php;
        location / {{
            try_files $uri $uri/ {otherwise};
        }}
        location ~ [^/]\\.php$ {{
            include /etc/nginx/fastcgi_params;
            fastcgi_param SCRIPT_FILENAME $document_root$fastcgi_script_name;
            {params}
            fastcgi_buffering {buffering};
            fastcgi_pass unix:{socket};
        }}
    }}
}}
"""


class Fpm:
    """Both programs as one, with the face of Php. `dir` must be open to USER all the way up. `buffering` as nginx has it. `root`: where the
    application is; `front`: its script for paths that are no files; `params`: more of what nginx tells PHP; `before`: a command that starts
    php-fpm."""

    def __init__(self, dir, session_dir, env=None, ini=None, buffering=True, port=None, children=4, root=APPS, front=None, params=None,
                 before=()):
        self.dir, self.session_dir = str(dir), str(session_dir)
        os.makedirs(self.dir, exist_ok=True)
        os.makedirs(self.session_dir, exist_ok=True)
        os.chown(self.session_dir, pwd.getpwnam(USER).pw_uid, pwd.getpwnam(USER).pw_gid)
        os.chmod(self.session_dir, 0o700)
        self.socket = os.path.join(self.dir, "fpm.sock")
        self.address = f"127.0.0.1:{port or free_port()}"
        ini = {"session.save_handler": "files", "session.save_path": self.session_dir, "display_errors": "0", **(ini or {})}
        conf = self._write("fpm.conf", "[global]\nerror_log = /dev/stderr\ndaemonize = no\n[www]\n"
                           f"user = {USER}\ngroup = {USER}\nlisten = {self.socket}\nlisten.mode = 0666\n"
                           f"pm = static\npm.max_children = {children}\n"
                           + "".join(f"env[{k}] = {v}\n" for k, v in (env or {}).items())
                           + "".join(f"php_admin_value[{k}] = {v}\n" for k, v in ini.items()))
        self.fpm = AppServer(None, [*before, "php-fpm8.2", "-F", "-O", "-y", conf], address=f"unix:{self.socket}")
        conf = self._nginx(buffering, root, front, params or {})
        self.nginx = AppServer(None, ["nginx", "-p", self.dir, "-e", "stderr", "-c", conf], address=self.address)
        self.process = None

    def _write(self, name, text):
        path = os.path.join(self.dir, name)
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        return path

    def _nginx(self, buffering, root, front, params):
        temp = "\n    ".join(f"{kind}_temp_path {self.dir}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        more = "\n            ".join(f"fastcgi_param {k} {v};" for k, v in params.items())
        return self._write("nginx.conf", NGINX.format(
            user=USER, dir=self.dir, temp=temp, listen=self.address, root=root, otherwise=front or "=404", params=more,
            buffering="on" if buffering else "off", socket=self.socket))

    def start(self):
        self.fpm.start()
        self.nginx.start()
        self.process = self.nginx.process
        return self

    def stop(self):
        self.nginx.stop()
        self.fpm.stop()
        self.process = None

    def kill9(self):
        self.nginx.kill9()
        self.fpm.kill9()
        self.process = None
