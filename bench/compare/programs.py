# SPDX-License-Identifier: Apache-2.0
"""The programs of the comparison: how each is started, and that it is what it should be.

One worker or thread each, connections to the origin kept alive, no access log unless asked for. HAProxy and nginx also write
X-Forwarded-For, as lethe always does; nginx has buffers for a whole 64 KB answer. The rest is each program's default."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS = 10

HAPROXY = """global
    nbthread 1
    maxconn 4096
    {log_to}
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    http-reuse always
    option forwardfor
    {log_what}
listen bench
    bind 127.0.0.1:{port}
    server origin 127.0.0.1:{origin}
"""

NGINX = """daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log stderr warn;
{user}
events {{ worker_connections 4096; }}
http {{
    access_log {log};
    keepalive_requests 1000000000;
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
            proxy_pass http://origin;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_buffers 16 16k;
            proxy_max_temp_file_size 0;
        }}
    }}
}}
"""


class Failed(Exception):
    """The measurement cannot be trusted, or could not be made."""


def wait_for(what, ready, process=None):
    deadline = time.monotonic() + START_SECONDS
    while True:
        found = ready()
        if found:
            return found
        if process is not None and process.poll() is not None:
            raise Failed(f"{what}: it ended with {process.returncode}")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {START_SECONDS} s")
        time.sleep(0.01)


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def find(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if not path:
        raise Failed(f"{name} is not here; on Debian: apt-get install haproxy nginx-light redis-server wrk")
    return path


class Program:
    """One running process, with its children if it has any. `cookie` is what a client sends once it has logged in."""

    def __init__(self, name, process, port, log=None):
        self.name, self.process, self.port, self.log, self.cookie = name, process, port, log, ""

    def pids(self):
        """Itself and its worker processes."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                found += [int(child) for child in f.read().split()]
        return found

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Stage:
    """Starts programs in a folder of their own, and ends them all at the end, the last one first."""

    def __init__(self, folder, binaries):
        self.folder, self.binaries = folder, binaries  # binaries: paths of lethe, origin, relay
        self.running = contextlib.ExitStack()
        self.origin = self.redis = None
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.running.close()

    def path(self, name):
        return os.path.join(self.folder, name)

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def spawn(self, name, command):
        """Standard output goes to <name>.out, errors to <name>.err, both opened for appending (a log can be emptied)."""
        with open(self.path(name + ".out"), "ab") as out, open(self.path(name + ".err"), "ab") as err:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=self.env, cwd=self.folder)
        self.running.callback(Program(name, process, 0).stop)
        return process

    def read_port(self, name, process, pattern, suffix):
        try:
            return int(wait_for(f"{name}: its port", lambda: re.search(pattern, self.text(name + suffix)), process)[1])
        except Failed as e:
            raise Failed(f"{e}: {self.text(name + '.err').strip()}") from e

    def start_printing(self, name, *command):
        """A program of ours that prints its port."""
        process = self.spawn(name, [str(word) for word in command])
        return Program(name, process, self.read_port(name, process, r"^(\d+)\n", ".out"))

    def start_on(self, name, port, command, log=None):
        process = self.spawn(name, command)
        try:
            wait_for(f"{name}: to listen", lambda: accepts(port), process)
        except Failed as e:
            raise Failed(f"{e}: {self.text(name + '.err').strip()}") from e
        return Program(name, process, port, log)

    def start_origin(self):
        self.origin = self.start_printing("origin", self.binaries["origin"], 0)

    def start_redis(self):
        port = free_port()
        self.redis = self.start_on("redis", port, [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1",
                                                   "--save", "", "--appendonly", "no"])

    def start_relay(self):
        return self.start_printing("relay", self.binaries["relay"], 0, self.origin.port)

    def start_haproxy(self, logs):
        name, port = "HAProxy" + "+log" * logs, free_port()
        text = HAPROXY.format(port=port, origin=self.origin.port, log_to="log stdout format raw daemon" if logs else "",
                              log_what="log global\n    option httplog" if logs else "no log")
        return self.start_on(name, port, [find("haproxy"), "-db", "-f", self.write(name + ".cfg", text)],
                             self.path(name + ".out") if logs else None)

    def start_nginx(self, logs):
        name, port = "nginx" + "+log" * logs, free_port()
        folder, log = self.path(name), self.path(name + ".log")
        os.mkdir(folder)
        text = NGINX.format(port=port, origin=self.origin.port, folder=folder, log=log if logs else "off",
                            user="user root;" if os.geteuid() == 0 else "")
        return self.start_on(name, port, [find("nginx"), "-e", "stderr", "-p", folder, "-c", self.write(name + ".conf", text)],
                             log if logs else None)

    def start_lethe(self, name, store, logs):
        command = [self.binaries["lethe"], "run", "--listen=127.0.0.1:0", f"--upstream=127.0.0.1:{self.origin.port}",
                   "--workers=1", f"--store={store}", f"--log.access={'true' if logs else 'false'}"]
        process = self.spawn(name, command)
        port = self.read_port(name, process, r"event=listening address=127\.0\.0\.1:(\d+)", ".err")
        return Program(name, process, port, self.path(name + ".out") if logs else None)

    def redis_url(self):
        return f"redis://127.0.0.1:{self.redis.port}/0"


def end_on_signals():
    """SIGTERM ends the run as Ctrl-C does: everything that was started is stopped."""
    def stop(number, _frame):
        raise Failed(f"ended by signal {number}")
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
