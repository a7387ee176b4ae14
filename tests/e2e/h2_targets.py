# SPDX-License-Identifier: Apache-2.0
"""What the HTTP/2 tests run against: lethe, or another proxy that LETHE_H2_TARGET names (nghttpx, haproxy, nginx), which proves that a
test is right where lethe fails it. All of them speak HTTP/2 by prior knowledge at .address and HTTP/1.1 to the application."""
import os
import signal
import tempfile

from rig import Lethe
from rig.base import free_port
from rig.servers import Haproxy, _program, _Server

TARGET = os.environ.get("LETHE_H2_TARGET", "lethe")


class _Reference(_Server):
    def __init__(self, app, timeouts):
        super().__init__()
        self.app, self.timeouts = app, timeouts
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.start()


class Nghttpx(_Reference):
    def argv(self):
        host, port = self.app.rsplit(":", 1)
        t = self.timeouts
        how = {"head": ["--frontend-http2-read-timeout={}", "--stream-read-timeout={}", "--frontend-read-timeout={}",
                        "--frontend-keep-alive-timeout={}"],
               "upstream": ["--stream-write-timeout={}", "--frontend-write-timeout={}", "--backend-read-timeout={}"], "drain": []}
        return [_program("nghttpx"), "--conf=/dev/null", "-n1", "--frontend-http2-connection-window-size=1M",
                "--request-header-field-buffer=32K", "--errorlog-file=/dev/stderr", f"--backend={host},{port}",
                f"--frontend=127.0.0.1,{self.port};no-tls", *[text.format(v) for k, v in t.items() for text in how[k]]]


class Nginx(_Reference):
    def argv(self):
        folder = tempfile.mkdtemp(prefix="h2-nginx-")
        t = {"head": "60s", "upstream": "60s", **self.timeouts}
        with open(f"{folder}/nginx.conf", "w", encoding="ascii") as f:
            f.write(f"daemon off; pid {folder}/pid; error_log stderr; events {{}}\nhttp {{ access_log off; client_body_temp_path {folder};"
                    f"proxy_temp_path {folder}; server {{ listen 127.0.0.1:{self.port} http2; client_max_body_size 0;\n"
                    f"client_header_timeout {t['head']}; client_body_timeout {t['upstream']}; send_timeout {t['upstream']};\n"
                    f"location / {{ proxy_pass http://{self.app}; proxy_http_version 1.1; proxy_buffering off;\n"
                    "proxy_request_buffering off; proxy_set_header Host $http_host; proxy_set_header Connection ''; } } }\n")
        return [_program("nginx"), "-c", f"{folder}/nginx.conf", "-p", folder, "-e", "stderr"]


def _haproxy(app, timeouts):
    t = {"head": "60s", "upstream": "60s", **timeouts}
    return Haproxy("global\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 5s\n"
                   f"    timeout client {t['upstream']}\n    timeout server {t['upstream']}\n    timeout http-request {t['head']}\n"
                   f"frontend f\n    bind 127.0.0.1:{{port}}\n    default_backend b\nbackend b\n    server a {app}\n",
                   tempfile.mkdtemp(prefix="h2-haproxy-"))


def start(app, binary=None, options=None, **timeouts):
    """Runs the target before `app`. `timeouts`: head, upstream, drain, by the names of lethe's options; `options`: more of lethe's own."""
    if TARGET == "lethe":
        return Lethe(app.address, {**{f"timeouts.{k}": v for k, v in timeouts.items()}, **(options or {})}, binary=binary)
    return {"nghttpx": Nghttpx, "nginx": Nginx, "haproxy": _haproxy}[TARGET](app.address, timeouts)


def drain(target):
    """Asks it to end once what runs has ended."""
    target.signal(signal.SIGTERM) if TARGET == "lethe" else os.kill(target.pid, signal.SIGUSR1 if TARGET == "haproxy" else signal.SIGQUIT)


def memory(target):
    """Resident bytes of the process and its children (they are one group)."""
    total = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
                group = int(f.read().rsplit(")", 1)[1].split()[2])
            if group != target.pid:
                continue
            with open(f"/proc/{pid}/status", encoding="latin-1") as f:
                total += sum(int(line.split()[1]) * 1024 for line in f if line.startswith("VmRSS:"))
        except OSError:
            pass  # it has just ended
    return total
