# SPDX-License-Identifier: Apache-2.0
"""What the tests of adapters/python share: a state API of their own, which follows modules/state_api/openapi.yaml, and programs and
applications that have the adapter."""
import contextlib
import http.server
import json
import os
import socketserver
import subprocess
import threading
import urllib.parse

import requests

from rig.base import Process, accepts, free_port, wait_for
from rig.lethe import ROOT

ADAPTER = os.path.join(ROOT, "adapters", "python")
APPS = os.path.join(ROOT, "tests", "e2e", "apps", "python")
PYTHON = "/usr/bin/python3"


# --- the state API ---

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        self.state = self.server.state
        with self.state.lock:
            self.state.connections.append(self.connection)
            self.state.accepted += 1

    def address_string(self):
        return "adapter"

    def log_message(self, *_):
        pass

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, headers, content = self.state.answer(self.command, self.path, self.headers, body)
        if status is None:
            self.close_connection = True
            return
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status != 204:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if status != 204:
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do


class State:
    """sessions: id → [blob, version, TTL]. `broken`: a function that answers instead, or None. Ends with close()."""

    def __init__(self, path=None):
        self.lock = threading.Lock()
        self.sessions, self.dead, self.reports, self.calls = {}, set(), [], []
        self.connections, self.accepted, self.broken, self.server = [], 0, None, None
        self.path = path
        self.listen = f"unix:{path}"
        self.open()

    def open(self):
        class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
            daemon_threads, request_queue_size = True, 100
        if os.path.exists(self.path):
            os.unlink(self.path)
        self.server = Server(self.path, Handler)
        self.server.state = self
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def answer(self, method, path, headers, body):
        with self.lock:
            self.calls.append((method, path, dict(headers)))
        broken = self.broken(method, path) if self.broken else None
        if broken:
            return broken
        with self.lock:
            parts = path.split("/")
            if parts[1:3] == ["v1", "adapters"]:
                self.reports.append((parts[3], headers["Lethe-Store"], headers["Lethe-Status"], headers.get("Lethe-Detail")))
                return 204, {}, b""
            assert parts[1:3] == ["v1", "sessions"] and len(parts) == 4, path
            id = urllib.parse.unquote(parts[3])
            if method == "DELETE":
                self.sessions.pop(id, None)
                self.dead.add(id)
                return 204, {}, b""
            if id in self.dead:
                return 410, {"X-Lethe-Error": "session_ended"}, b"it has ended\n"
            found = self.sessions.get(id)
            if method == "GET":
                return (200, {"ETag": f'"{found[1]}"'}, found[0]) if found else (404, {"X-Lethe-Error": "no_session"}, b"none\n")
            assert method == "PUT", method
            if found and headers.get("If-None-Match") == "*":
                return 412, {"X-Lethe-Error": "version_conflict"}, b"there is one\n"
            if headers.get("If-Match") and (not found or headers["If-Match"] != f'"{found[1]}"'):
                return 412, {"X-Lethe-Error": "version_conflict"}, b"another version\n"
            self.sessions[id] = [body, found[1] + 1 if found else 1, headers.get("Lethe-TTL")]
            return 204, {"ETag": f'"{self.sessions[id][1]}"'}, b""

    def hang_up(self):
        """Ends all connections, as a time-out or a restart does."""
        with self.lock:
            connections, self.connections = self.connections, []
        for c in connections:
            try:
                c.shutdown(2)
            except OSError:
                pass

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.hang_up()


# --- programs ---

def environment(state, *more_paths, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith(("LETHE_", "PYTHON"))}
    env.update({"PYTHONPATH": os.pathsep.join([ADAPTER, *map(str, more_paths)]), **more})
    if state is not None:
        env["LETHE_STATE_API_LISTEN"] = getattr(state, "listen", state)
    return env


def run(code, state, *more_paths, **more):
    """A program with the adapter: (what it printed as JSON, the lines on stderr)."""
    done = subprocess.run([PYTHON, "-c", code], env=environment(state, *more_paths, **more), stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return json.loads(done.stdout or b"null"), done.stderr.decode().splitlines()


class Site:
    """One replica of an application, and what its log says."""

    def __init__(self, state, index, program, *arguments):
        self.address = f"127.0.0.1:{free_port()}"
        argv = [PYTHON, os.path.join(APPS, program), self.address.split(":")[1], *arguments]
        self.process = Process(argv, environment(state, REPLICA=str(index)) if state else {"REPLICA": str(index), "PATH": "/usr/bin"})

    def wait(self):
        def up():
            assert self.process.alive(), self.process.tail()
            return accepts(self.address)
        wait_for(up, 30, f"{self.process.argv}")
        return self


STACKS = {"cherrypy": ("cherrypy_app.py",), "django-cache": ("django_app.py", "cache"),
          "django-file": ("django_app.py", "file", "/tmp"), "beaker": ("beaker_app.py",)}
COOKIE = {"cherrypy": "session_id", "django-cache": "sessionid", "django-file": "sessionid", "beaker": "beaker.session.id"}


class User:
    def __init__(self, sites):
        self.sites, self.http, self.turn = sites, requests.Session(), 0
        self.http.trust_env = False

    def ask(self, method, path, to=None, **how):
        if to is None:
            to, self.turn = self.turn % len(self.sites), self.turn + 1
        try:
            return self.http.request(method, f"http://{self.sites[to].address}{path}", allow_redirects=False, timeout=20, **how)
        finally:
            self.http.close()  # cheroot ends a connection behind a 500 without saying so

    def json(self, path, to=None, **how):
        r = self.ask("GET", path, to, **how)
        assert r.status_code == 200, (r.status_code, r.text[:2000])
        return r.json()


@contextlib.contextmanager
def running_sites():
    """make(stack, state or None, replicas): Sites that end with the context."""
    made = []

    def make(stack, state, replicas=3, directory=None):
        arguments = STACKS[stack][:2] + ((str(directory),) if directory else STACKS[stack][2:])
        new = [Site(state, i, *arguments) for i in range(replicas)]
        made.extend(new)
        return [s.wait() for s in new]
    try:
        yield make
    finally:
        for s in made:
            s.process.kill()


def count_of(state, verb):
    return sum(1 for method, path, _ in state.calls if method == verb and "/sessions/" in path)


FAILURES = {"503": lambda m, p: (503, {"X-Lethe-Error": "store_unavailable", "Retry-After": "1"}, b"the store does not answer\n"),
            "500": lambda m, p: (500, {}, b"?"), "401": lambda m, p: (401, {}, b"not this uid\n"),
            "hang-up": lambda m, p: (None, {}, b""), "302": lambda m, p: (302, {"Location": "/"}, b"")}
