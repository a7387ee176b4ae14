# SPDX-License-Identifier: Apache-2.0
"""The programs of the comparison: how each is started, and that it is what it should be.

One worker or thread each unless asked for two, connections to the origin kept alive, no access log unless asked for. HAProxy and nginx also
write X-Forwarded-For, as lethe always does; nginx has buffers for a whole 64 KB answer, and takes and streams bodies of any length, as
the others do. Idle connections may stay for an hour. The rest is each program's default."""
import os

from common.stage import Program, Stage, find, free_port

HAPROXY = """global
    nbthread {workers}
    maxconn {connections}
    no strict-limits
    {tune}
    {log_to}
defaults
    mode http
    timeout connect 5s
    timeout client 1h
    timeout server 1h
    http-reuse always
    option forwardfor
    {log_what}
    {more}
listen bench
    bind 127.0.0.1:{port}
    server origin 127.0.0.1:{origin}
"""

NGINX = """daemon off;
{modules}
worker_processes {workers};
pid {folder}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections {connections}; }}
http {{
    access_log {log};
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
    upstream origin {{
        server 127.0.0.1:{origin};
        keepalive 256;
        keepalive_requests 1000000000;
    }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            {access}
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffers 16 16k;
            proxy_max_temp_file_size 0;
            proxy_request_buffering off;
        }}
    }}
}}
"""


class Compared(Stage):
    """All of them stand before the same origin."""

    def start_relay(self):
        return self.start_printing("relay", self.binaries["relay"], 0, self.origin.port)

    def direct(self):
        """No program between: the origin, asked by itself."""
        return Program("direct", self.origin.process, self.origin.port)

    def start_haproxy(self, logs=False, name="HAProxy", more="", tune="", workers=1, connections=4096):
        """`more`, `tune`: lines for the defaults, for the global part."""
        port = free_port()
        text = HAPROXY.format(port=port, origin=self.origin.port, log_to="log stdout format raw daemon" if logs else "",
                              log_what="log global\n    option httplog" if logs else "no log", more=more, tune=tune, workers=workers,
                              connections=connections)
        return self.start_on(name, port, [find("haproxy"), "-db", "-f", self.write(name + ".cfg", text)],
                             self.path(name + ".out") if logs else None)

    def start_nginx(self, logs=False, name="nginx", modules="", access="", workers=1, connections=4096):
        """`modules`, `access`: more lines for the beginning and for the location."""
        port, folder, log = free_port(), self.path(name), self.path(name + ".log")
        os.mkdir(folder)
        text = NGINX.format(port=port, origin=self.origin.port, folder=folder, log=log if logs else "off", modules=modules, access=access,
                            user="user root;" if os.geteuid() == 0 else "", workers=workers, connections=connections)
        return self.start_on(name, port, [find("nginx"), "-e", "stderr", "-p", folder, "-c", self.write(name + ".conf", text)],
                             log if logs else None)

    def start_full_lethe(self, name, **how):
        """lethe with Redis and with every module at work, the carriers of files and of memory too."""
        folder = self.path(name)
        os.mkdir(folder)
        carriers = ("--files.profile=php", f"--files.dir={folder}", "--state_api.profile=generic", f"--state_api.listen=unix:{folder}/api")
        how["options"] = (*how.get("options", ()), *carriers)
        lethe = self.start_lethe(name, self.redis_url(), **how)
        lethe.store = self.redis
        return lethe
