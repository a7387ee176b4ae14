# SPDX-License-Identifier: Apache-2.0
"""adapters/python against a state API of the test's own, which follows modules/state_api/openapi.yaml: how it is loaded, what it says when it
hooks and when it cannot, what sessions do on three replicas that take turns, errors, threads, forks. Through lethe itself: test_stacks.py."""
import http.server
import json
import os
import pickle
import socketserver
import subprocess
import sys
import threading
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
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


@pytest.fixture
def state(short_dir):
    it = State(os.path.join(short_dir, "state"))
    yield it
    it.close()


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


@pytest.fixture
def sites():
    made = []

    def make(stack, state, replicas=3, directory=None):
        arguments = STACKS[stack][:2] + ((str(directory),) if directory else STACKS[stack][2:])
        new = [Site(state, i, *arguments) for i in range(replicas)]
        made.extend(new)
        return [s.wait() for s in new]
    yield make
    for s in made:
        s.process.kill()


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


# --- sessions on three replicas ---

def live(user):
    """What a user sees who counts, logs in, counts, streams, keeps much and logs out while replicas take turns."""
    seen = [user.json("/count")["n"] for _ in range(4)]
    before = user.json("/me")
    assert user.ask("POST", "/login", data={"name": "alice"}).status_code in (302, 303)
    after = user.json("/me")
    seen += [after["name"], after["id"] != before["id"]] + [user.json("/count")["n"] for _ in range(4)]
    assert user.ask("GET", "/stream").status_code == 200
    seen.append(user.json("/me")["n"])
    user.ask("POST", "/big", data={"size": "100000"})
    seen.append(user.json("/big")["length"])
    assert user.ask("POST", "/logout").status_code == 200
    last = user.json("/me")
    return seen + [last["name"], last["n"]]


LIVED = [1, 2, 3, 4, "alice", True, 5, 6, 7, 8, 9, 100000, None, 0]


@pytest.mark.parametrize("stack", STACKS)
def test_three_replicas_are_one(stack, state, sites):
    assert live(User(sites(stack, state))) == LIVED
    assert [s[0] for s in state.reports] == ["python"] * 3 and {s[2] for s in state.reports} == {"hooked"}, state.reports


@pytest.mark.parametrize("stack", STACKS)
def test_three_replicas_without_it_are_not(stack, sites, tmp_path):
    replicas = [sites(stack, None, 1, tmp_path / str(i) if not (tmp_path / str(i)).mkdir() else None)[0] for i in range(3)] \
        if stack == "django-file" else sites(stack, None)
    assert live(User(replicas)) != LIVED


@pytest.mark.parametrize("stack", STACKS)
def test_one_replica_without_it_is_what_three_are_with_it(stack, sites, tmp_path):
    assert live(User(sites(stack, None, 1, tmp_path if stack == "django-file" else None))) == LIVED


# --- errors ---

def count_of(state, verb):
    return sum(1 for method, path, _ in state.calls if method == verb and "/sessions/" in path)


FAILURES = {"503": lambda m, p: (503, {"X-Lethe-Error": "store_unavailable", "Retry-After": "1"}, b"the store does not answer\n"),
            "500": lambda m, p: (500, {}, b"?"), "401": lambda m, p: (401, {}, b"not this uid\n"),
            "hang-up": lambda m, p: (None, {}, b""), "302": lambda m, p: (302, {"Location": "/"}, b"")}


@pytest.mark.parametrize("stack", STACKS)
def test_not_knowing_is_an_error_and_never_a_miss(stack, state, sites):
    user = User(sites(stack, state, 1))
    assert [user.json("/count")["n"] for _ in range(2)] == [1, 2]
    cookie = user.http.cookies[COOKIE[stack]]
    for name, failure in FAILURES.items():
        state.broken = failure
        for path in ("/count", "/me"):
            r = user.ask("GET", path)
            assert r.status_code >= 500 and "set-cookie" not in r.headers, (name, path, r.status_code, dict(r.headers))
        # only writes fail: what was changed is not there, and the user is not told that it is
        state.broken = lambda m, p, f=failure: f(m, p) if m == "PUT" else None
        assert user.ask("GET", "/count").status_code >= 500, name
        state.broken = None
    path = state.path
    state.close()
    os.unlink(path)
    assert user.ask("GET", "/count").status_code >= 500
    state.open()
    assert user.json("/count")["n"] == 3 and user.http.cookies[COOKIE[stack]] == cookie


def test_a_state_api_that_is_silent_costs_five_seconds(state, sites):
    user = User(sites("cherrypy", state, 1))
    assert user.json("/count")["n"] == 1
    release = threading.Event()
    state.broken = lambda m, p: (release.wait(30), (None, {}, b""))[1]
    r = user.ask("GET", "/me")
    release.set()
    state.broken = None
    assert r.status_code == 500 and 4.5 < r.elapsed.total_seconds() < 8
    assert user.json("/me")["n"] == 1


@pytest.mark.parametrize("stack", STACKS)
def test_a_logout_is_not_undone_by_a_slower_request(stack, state, sites, tmp_path):
    user = User(sites(stack, state, 2))
    assert user.json("/count")["n"] == 1
    id = next(iter(state.sessions))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(user.ask, "GET", f"/count?gate={gate}", 0)
        with open(gate, "w", encoding="ascii") as f:  # opens once the application reads
            with state.lock:
                state.sessions.pop(id)
                state.dead.add(id)
            f.write("go\n")
        assert slow.result().status_code in (200, 400)  # Django says 400: the session was deleted meanwhile
    assert id not in state.sessions
    assert user.json("/me", 1)["n"] == 0


@pytest.mark.parametrize("stack", STACKS)
def test_a_request_that_has_lost_its_lock_overwrites_nothing(stack, state, sites, tmp_path):
    """lethe lets one request at a time work on a session; one that stood still for longer than its lease finds another version."""
    user = User(sites(stack, state, 2))
    assert user.json("/count")["n"] == 1
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(user.ask, "GET", f"/count?gate={gate}", 0)
        with open(gate, "w", encoding="ascii") as f:
            assert [user.json("/count", 1)["n"] for _ in range(2)] == [2, 3]
            f.write("go\n")
        assert slow.result().status_code == 500
    assert [user.json("/count", i % 2)["n"] for i in range(3)] == [4, 5, 6]


@pytest.mark.parametrize("stack", STACKS)
def test_a_session_that_is_not_there_is_a_new_one(stack, state, sites):
    user = User(sites(stack, state, 1))
    assert user.json("/count")["n"] == 1
    state.sessions.clear()
    assert user.json("/count")["n"] == 1 and user.json("/count")["n"] == 2
    odd = User(user.sites)  # ids that no session has, from a cookie
    for id in ("../../v1/adapters/x", "a" * 600, "%2e%2e", "a b?c=d"):
        r = odd.ask("GET", "/count", headers={"Cookie": f'{COOKIE[stack]}="{id}"'})
        assert r.status_code in (200, 400, 500), r.text
        odd.http.cookies.clear()
    assert not [p for _, p, _ in state.calls if "/sessions/" in p and ".." in p]
    assert len([p for _, p, _ in state.calls if p.startswith("/v1/adapters")]) == 1


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("stack", ["cherrypy", "django-cache", "beaker"])
def test_what_the_adapter_did_not_store_is_not_unpickled(stack, state, sites, tmp_path):
    user = User(sites(stack, state, 1))
    assert user.json("/count")["n"] == 1
    id, blob = next((i, s[0]) for i, s in state.sessions.items())
    evil = pickle.dumps(Evil(str(tmp_path / "evil")))
    other = b"dcb".replace(blob[8:9], b"")[:1]
    for content in (evil, b"", blob[:8], blob[:7] + b"\x02" + blob[8:17] + evil, blob[:8] + other + blob[9:17] + evil):
        state.sessions[id][0] = content
        r = user.ask("GET", "/count")
        assert r.status_code == 500 and "set-cookie" not in r.headers
        assert not (tmp_path / "evil").exists() and state.sessions[id][0] == content
    state.sessions[id][0] = blob[:17] + evil  # the control: with the header it would have been loaded
    user.ask("GET", "/count")
    assert (tmp_path / "evil").exists()
    state.sessions[id][0] = blob
    assert user.json("/count")["n"] == 2


# --- how it is loaded ---

IMPORTS = {"CherryPy RamSession": "import cherrypy", "Django cache sessions": "from django.conf import settings; settings.configure()\n"
           "import django.contrib.sessions.backends.cache", "Beaker memory sessions": "import beaker.middleware",
           "Django file sessions": "from django.conf import settings; settings.configure()\nimport django.contrib.sessions.backends.file"}


@pytest.mark.parametrize("store", IMPORTS)
def test_it_says_that_it_hooked(store, state):
    _, lines = run(IMPORTS[store], state)
    assert lines == [f"lethe: {store}: hooked: they live in lethe at {state.listen}"]
    assert state.reports == [("python", store, "hooked", None)]


def test_a_program_without_sessions_hears_nothing(state):
    assert run("import json, http.client", state) == (None, []) and not state.calls


@pytest.mark.parametrize("listen, says", [
    (None, "the environment has no LETHE_STATE_API_LISTEN; set it to lethe's state_api.listen"),
    ("unix:run/x", "is no absolute path"), ("7070", "is no address"), ("10.1.2.3:7070", "is not this machine"),
    ("127.evil.example:7070", "is not this machine")])
def test_an_address_that_it_cannot_use(listen, says):
    _, lines = run("import cherrypy", listen)
    assert len(lines) == 1 and lines[0].startswith("lethe: CherryPy RamSession: NOT hooked: ") and says in lines[0]
    assert run("import json, cherrypy; print(json.dumps(type(cherrypy.lib.sessions.RamSession.cache).__name__))", listen)[0] == "dict"


SETTINGS = "from django.conf import settings\nsettings.configure(CACHES={'default': {'BACKEND': 'django.core.cache.backends.%s'}})\n"
CANNOT = {
    "another cache": (SETTINGS % "dummy.DummyCache" + "import django.contrib.sessions.backends.cache", "the session's cache is DummyCache"),
    "cached_db": (SETTINGS % "locmem.LocMemCache" + "import django.contrib.sessions.backends.cached_db", "it reads LocMemCache before"),
    "Beaker's files": ("from beaker.session import Session\nSession({}, type='file', data_dir='/tmp')", "session.type is 'file'")}


@pytest.mark.parametrize("case", CANNOT)
def test_it_says_why_it_could_not_hook(case, state):
    code, says = CANNOT[case]
    _, lines = run(code, state)
    assert len([line for line in lines if "NOT hooked: " + says in line]) == 1, lines
    assert [r[3] for r in state.reports if r[2] == "failed" and says in r[3]], state.reports


UNKNOWN = {"cherrypy/lib/sessions.py": ("class RamSession:\n    pass\n", "this CherryPy has no RamSession.cache"),
           "beaker/session.py": ("class Session(dict):\n    pass\n", "this Beaker's Session has no namespace_class"),
           "django/contrib/sessions/backends/file.py": ("class SessionStore:\n    pass\n", "this Django's file sessions have no")}


@pytest.mark.parametrize("file", UNKNOWN)
def test_a_framework_of_another_shape(file, state, tmp_path):
    """The program runs as if the adapter were not there, and somebody is told."""
    text, says = UNKNOWN[file]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    folder = (tmp_path / file).parent
    while folder != tmp_path:
        (folder / "__init__.py").touch()
        folder = folder.parent
    if file.startswith("beaker"):
        (tmp_path / "beaker" / "container.py").write_text("class AbstractDictionaryNSManager: pass\nclass MemoryNamespaceManager: pass\n")
    if file.startswith("django"):
        (tmp_path / "django" / "core").mkdir()
        (tmp_path / "django" / "core" / "__init__.py").touch()
        (tmp_path / "django" / "core" / "exceptions.py").write_text("class SuspiciousOperation(Exception): pass\n")
    ran, lines = run(f"import {file[:-3].replace('/', '.')}\nprint(1)", state, tmp_path)
    assert ran == 1 and len(lines) == 1 and "NOT hooked: " + says in lines[0], lines
    assert [(r[2], says in r[3]) for r in state.reports] == [("failed", True)]


def test_the_sitecustomize_that_it_hides_is_run(state, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['RAN'] = os.environ.get('RAN', '') + 'x'\nmine = 7\n")
    code = "import json, os, sitecustomize, cherrypy; print(json.dumps([os.environ['RAN'], sitecustomize.mine]))"
    printed, lines = run(code, state, tmp_path)
    assert printed == ["x", 7] and len(lines) == 1 and ": hooked: " in lines[0]
    # Debian's, which is in the standard library, when there is no other
    debian = "import json, sitecustomize; print(json.dumps(sitecustomize.__file__))"
    assert run(debian, state)[0] == subprocess.run([PYTHON, "-c", debian], env={"PATH": "/usr/bin"}, stdout=subprocess.PIPE,
                                                   check=True).stdout.decode().strip().strip('"')


def test_a_hidden_sitecustomize_that_fails(state, tmp_path):
    """Python says so as it would have without the adapter, which is in place all the same."""
    (tmp_path / "sitecustomize.py").write_text("1 / 0\n")
    _, lines = run("import cherrypy", state, tmp_path)
    without = subprocess.run([PYTHON, "-c", ""], env={"PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE, check=True)
    assert lines[:-1] == without.stderr.decode().splitlines() and len(lines) == 3 and ": hooked: " in lines[-1]


def test_others_that_chain_do_not_loop(state, tmp_path):
    """As New Relic's and others do: take their own folder away, and load what is found then. First behind the adapter, then before it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery, importlib.util, os, sys\n"
        "os.environ['RAN'] = os.environ.get('RAN', '') + 'x'\n"
        "own = os.path.dirname(__file__)\n"
        "spec = importlib.machinery.PathFinder.find_spec('sitecustomize', [p for p in sys.path if p != own])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n")
    code = "import json, os, sys, cherrypy\nprint(json.dumps([os.environ['RAN'], sum(hasattr(f, 'lethe_ran') for f in sys.meta_path)]))"
    for path in (f"{ADAPTER}:{tmp_path}", f"{tmp_path}:{ADAPTER}"):
        printed, lines = run(code, state, PYTHONPATH=path)
        assert printed == ["x", 1] and len(lines) == 1 and ": hooked: " in lines[0]


def test_a_module_that_is_loaded_past_the_finder(state, tmp_path):
    """Another finder stands in front and takes it, or the hidden sitecustomize has loaded it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery, sys\n"
        "class First:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return importlib.machinery.PathFinder.find_spec(name, path, target) if name == 'cherrypy.lib.sessions' else None\n"
        "sys.meta_path.insert(0, First())\n")
    kind = "import json, cherrypy; print(json.dumps(type(cherrypy.lib.sessions.RamSession.cache).__name__))"
    printed, lines = run(kind, state, tmp_path)
    assert printed == "Cache" and len(lines) == 1 and ": hooked: " in lines[0]
    (tmp_path / "sitecustomize.py").write_text("import cherrypy\n")
    printed, lines = run(kind, state, tmp_path)
    assert printed == "Cache" and len(lines) == 1 and ": hooked: " in lines[0]


def test_a_module_that_is_loaded_again_is_hooked_again(state):
    code = ("import json, importlib, cherrypy.lib.sessions as s\nimportlib.reload(s)\n"
            "print(json.dumps([type(s.RamSession.cache).__name__, type(s.__loader__).__name__, type(s.__spec__.loader).__name__]))")
    assert run(code, state)[0] == ["Cache", "SourceFileLoader", "SourceFileLoader"]


def test_lethe_may_start_later(state, sites):
    path = state.path
    state.close()
    os.unlink(path)
    user = User(sites("beaker", state, 1))
    assert user.ask("GET", "/count").status_code == 500
    state.open()
    assert user.json("/count")["n"] == 1 and user.json("/count")["n"] == 2
    assert state.reports == [("python", "Beaker memory sessions", "hooked", None)]


# --- connections, threads, forks ---

def test_connections_are_kept_and_replaced(state):
    code = ("import json, _lethe_adapter as a\napi = a._Api(%r)\nstore = a._Store(api, 'test', b't')\nout = []\n"
            "for i in range(50):\n    store.put('x', b'%%d' %% i)\n    assert store.get('x')[0] == b'%%d' %% i\n"
            "input()\n"
            "out.append(store.get('x')[0].decode())\nprint(json.dumps(out))") % state.listen
    p = subprocess.Popen([PYTHON, "-c", code], env=environment(state), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: count_of(state, "GET") == 50, 20, "fifty rounds")
    assert state.accepted == 1
    wait_for(lambda: state.sessions["x"][1] == 50)
    state.hang_up()
    out, _ = p.communicate(b"\n", timeout=20)
    assert p.returncode == 0 and json.loads(out) == ["49"] and state.accepted == 2


PARALLEL = """
import json, os, sys, threading, _lethe_adapter as a
store = a._Store(a._Api(%r), 'test', b't')
store.put('before', b'fork')
wrong = []

def work(name):
    for i in range(40):
        id, text = '%%s-%%d' %% (name, i), ('%%s %%d ' %% (name, i)).encode() * 50
        store.put(id, text)
        if store.get(id)[0] != text or store.get('before')[0] != b'fork':
            wrong.append(id)

def threads(name):
    all = [threading.Thread(target=work, args=('%%s.%%d' %% (name, i),)) for i in range(4)]
    for t in all: t.start()
    for t in all: t.join()
    return len(wrong)
"""


def test_threads_have_connections_of_their_own(state):
    assert run(PARALLEL % state.listen + "print(json.dumps(threads('t')))", state)[0] == 0
    assert 1 <= state.accepted <= 4 and len(state.sessions) == 161


def test_children_of_a_fork_have_connections_of_their_own(state):
    """As gunicorn and uWSGI do it: the parent has used the API, children and parent go on at the same time; a child is also forked while
    threads are in the middle of a call."""
    code = PARALLEL % state.listen + """
busy = threading.Thread(target=work, args=('busy',))
busy.start()
pids = []
for i in range(4):
    pid = os.fork()
    if pid == 0:
        os._exit(threads('child%d' % i))
    pids.append(pid)
ends = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]
busy.join()
print(json.dumps(ends + [threads('parent')]))
"""
    assert run(code, state)[0] == [0] * 5
    assert len(state.sessions) == 1 + 40 + 5 * 160


# --- what the frameworks' own parts still do ---

CHERRYPY = """
import datetime, json, threading, cherrypy
from cherrypy.lib.sessions import RamSession
out = {}
s = RamSession(); s.acquire_lock(); s['a'] = [1]; s.save(); first = s.id
out['lock released'] = s.locked
t = RamSession(first); t.acquire_lock(); out['loaded'] = [t.id == first, t['a'], t.missing]
t.regenerate(); t['b'] = 2; t.save()
out['regenerated'] = [t.id != first, t.regenerated, RamSession(first).missing, dict(RamSession(t.id).items())]
out['len'] = [len(t), len(RamSession.cache)]
u = RamSession('made up'); out['fixation'] = [u.id != 'made up', u.missing]
out['cache'] = [first in RamSession.cache, t.id in RamSession.cache, RamSession.cache[t.id][0], list(RamSession.cache),
                list(RamSession.cache.copy()) == [t.id], RamSession.cache.get('x', 5), RamSession.cache.pop('x', 6)]
v = RamSession(t.id); v.delete(); out['deleted'] = [RamSession(t.id).missing, len(v)]
v = RamSession(); v.acquire_lock(); v['x'] = 1; v.timeout = -1; v.save(); gone = v.id
w = RamSession(); w.acquire_lock(); w['x'] = 2; w.save()
held = RamSession(); held.acquire_lock()
done = threading.Thread(target=w.clean_up); done.start(); done.join()
out['cleaned'] = [len(w), gone in RamSession.locks, held.id in RamSession.locks, w.id in RamSession.cache]
try:
    held['db'] = threading.Lock(); held.save()
except Exception as e:
    out['refused'] = [type(e).__name__, str(e), held.locked]
print(json.dumps(out))
"""


def test_cherrypy_works_as_it_did(state):
    out, _ = run(CHERRYPY, state)
    assert out["lock released"] is False and out["loaded"] == [True, [1], False]
    assert out["regenerated"] == [True, True, True, {"a": [1], "b": 2}]
    assert out["len"] == [1, 1] and out["fixation"] == [True, True]
    assert out["cache"][:3] == [False, True, {"a": [1], "b": 2}] and len(out["cache"][3]) == 1 and out["cache"][4:] == [True, 5, 6]
    assert out["deleted"] == [True, 0] and out["cleaned"] == [1, False, True, True]
    assert out["refused"][0] == "StateApiError" and out["refused"][2] is False
    assert out["refused"][1].startswith("CherryPy RamSession: session['db'] is a lock, which exists in this process only")
    deleted = [p for m, p, _ in state.calls if m == "DELETE"]
    assert len(deleted) == 3  # regenerate(), delete() and pop("x"): what clean_up() forgets here may be alive elsewhere


def test_cherrypy_clean_up_leaves_what_others_use(state):
    """A session that has expired as far as this replica knows has been used on another one since."""
    code = """
import datetime, json, cherrypy
from cherrypy.lib.sessions import RamSession
s = RamSession(); s.acquire_lock(); s['a'] = 1; s.save()
RamSession.cache.seen[s.id] = datetime.datetime.now() - datetime.timedelta(seconds=1)
s.clean_up()
print(json.dumps([len(s), dict(RamSession(s.id).items())]))"""
    assert run(code, state)[0] == [0, {"a": 1}]


STREAM = """
import json, sys, cherrypy
sys.path.insert(0, %r)
import cherrypy_app
cherrypy.config.update({'environment': 'embedded'})
app = cherrypy.Application(cherrypy_app.Site(), '', {'/': {'tools.sessions.on': True}})
def ask(path, cookie=None):
    headers = []
    environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'SCRIPT_NAME': '', 'QUERY_STRING': '', 'SERVER_PROTOCOL': 'HTTP/1.1',
               'HTTP_HOST': 'a', 'SERVER_NAME': 'a', 'SERVER_PORT': '80', 'wsgi.url_scheme': 'http', 'wsgi.input': sys.stdin.buffer,
               'wsgi.errors': sys.stderr, 'wsgi.multithread': True, 'wsgi.multiprocess': False, 'wsgi.run_once': False,
               'wsgi.version': (1, 0)}
    if cookie: environ['HTTP_COOKIE'] = 'session_id=' + cookie
    return app(environ, lambda status, h, exc_info=None: headers.extend(h)), dict(headers)
body, _ = ask('/count'); id = json.loads(b''.join(body))['id']; body.close()
def stored(): return cherrypy.lib.sessions.RamSession.cache[id][0]['n']
body, _ = ask('/stream', id)
out, pieces = [stored()], iter(body)
next(pieces); out.append(stored())
for _ in pieces: pass
out.append(stored())
body.close(); out.append(stored())
print(json.dumps([out, cherrypy.lib.sessions.RamSession.locks[id].acquire(blocking=False)]))
""" % APPS


def test_cherrypy_s_streams_are_saved_before_they_end(state):
    """Also under a server that ends a chunked answer before it closes the body, as gunicorn does."""
    (seen, unlocked), _ = run(STREAM, state)
    assert seen == [1, 1, 2, 2] and unlocked is True
    assert count_of(state, "PUT") == 2


def test_cherrypy_s_stream_that_cannot_be_saved_does_not_end_well(state, sites):
    user = User(sites("cherrypy", state, 1))
    assert user.json("/count")["n"] == 1
    state.broken = lambda m, p: FAILURES["503"](m, p) if m == "PUT" else None
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        user.ask("GET", "/stream")
    state.broken = None
    assert user.json("/me")["n"] == 1


DJANGO = """
import json, sys, time, importlib
from django.conf import settings
settings.configure(SECRET_KEY='x', SESSION_FILE_PATH='/tmp')
import django; django.setup()
m = importlib.import_module('django.contrib.sessions.backends.' + sys.argv[1])
out = {}
s = m.SessionStore(); s['n'] = 1; s.save(); key = s.session_key
t = m.SessionStore(key); out['loaded'] = [t['n'], t.exists(key), t.exists('0' * 32)]
made = m.SessionStore('madeup00'); made.clear(); made['n'] = 9
try:
    made.save(); out['fixation'] = made.session_key
except m.UpdateError: out['fixation'] = 'UpdateError'
unknown = m.SessionStore('unknown0'); out['unknown'] = [dict(unknown.items()), unknown.session_key]
t.cycle_key(); t.save(); out['cycled'] = [t.session_key != key, t.exists(key), m.SessionStore(t.session_key)['n']]
late = m.SessionStore(t.session_key); late['n']
t.delete()
try:
    late['n'] = 2; late.save(); out['late'] = 'written'
except m.UpdateError: out['late'] = 'UpdateError'
e = m.SessionStore(); e['n'] = 1; e.set_expiry(1); e.save(); out['ttl'] = e.session_key
e2 = m.SessionStore(e.session_key); out['before'] = e2.get('n')
real = time.time; time.time = lambda: real() + 3
e3 = m.SessionStore(e.session_key); out['after'] = e3.get('n')
m.SessionStore.clear_expired()
print(json.dumps(out))
"""


@pytest.mark.parametrize("backend", ["cache", "file"])
def test_django_works_as_it_did(backend, state):
    out, _ = run(DJANGO.replace("sys.argv[1]", repr(backend)), state)
    assert out["loaded"] == [1, True, False] and out["fixation"] == "UpdateError" and out["unknown"] == [{}, None]
    assert out["cycled"] == [True, False, 1] and out["late"] == "UpdateError"
    assert out["before"] == 1 and out["after"] is None  # reading has not kept it alive
    assert state.sessions[out["ttl"]][2] == "1"
    assert [(r[1], r[2]) for r in state.reports] == [(f"Django {backend} sessions", "hooked")]
    if backend == "cache":
        without = subprocess.run([PYTHON, "-c", DJANGO.replace("sys.argv[1]", repr(backend))], env={"PATH": "/usr/bin"},
                                 stdout=subprocess.PIPE, check=True)
        assert {**json.loads(without.stdout), "ttl": 0} == {**out, "ttl": 0}, "Django alone does something else"


def test_django_s_file_sessions_are_signed_by_django(state):
    code = ("from django.conf import settings; settings.configure(SECRET_KEY='x', SESSION_FILE_PATH='/tmp')\n"
            "import json\nfrom django.contrib.sessions.backends.file import SessionStore as S\n"
            "s = S(); s['n'] = 1; s.save(); print(json.dumps([s.session_key, s.encode({'n': 1})]))")
    (key, encoded), _ = run(code, state)
    blob = state.sessions[key][0]
    assert blob.startswith(b"LETHEPY\x01f") and blob[17:].decode().split(":")[0] == encoded.split(":")[0]


def test_django_s_asynchronous_calls(state):
    """Django 5.1's second set of methods, which its cache backend writes anew over the cache's own asynchronous ones."""
    code = """
import asyncio, json, types
from django.conf import settings
settings.configure(SECRET_KEY='x')
import _lethe_adapter as a
from importlib.machinery import PathFinder
import django.contrib.sessions.backends as backends
source = open(backends.__path__[0] + '/cache.py').read()
more = '''
    async def aload(self):
        try: data = await self._cache.aget(self.cache_key)
        except Exception: data = None
        return {} if data is None else data
    async def asave(self, must_create=False): raise NotImplementedError
    async def aexists(self, key): raise NotImplementedError
'''
at = source.index('    @classmethod')
module = types.ModuleType('cache51')
exec(source[:at] + more + source[at:], module.__dict__)
a._hook_django_cache(module, a._Store(a._Api(%r), 'Django cache sessions', b'd'))
async def use():
    s = module.SessionStore(); s['n'] = 4; s._session_key = s._get_new_session_key(); s._session_key = None
    s.create(); s._session_cache = {'n': 4}; await s.asave()
    t = module.SessionStore(s.session_key)
    return [(await t.aload())['n'], await t.aexists(s.session_key)]
print(json.dumps(asyncio.run(use())))""" % state.listen
    assert run(code, state)[0] == [4, True]


BEAKER = """
import json, cherrypy.lib
from beaker.session import Session
from beaker.container import MemoryNamespaceManager
from beaker.cache import CacheManager
out = {}
s = Session({}, use_cookies=False, timeout=60); s['n'] = [1]; s.save(); first = s.id
t = Session({}, use_cookies=False, id=first, timeout=60); out['loaded'] = [t['n'], t.is_new]
t.regenerate_id(); t.save(); out['regenerated'] = [t.id != first, Session({}, use_cookies=False, id=t.id)['n']]
explicit = Session({}, use_cookies=False, namespace_class=MemoryNamespaceManager, id=t.id); out['explicit'] = explicit['n']
t = Session({}, use_cookies=False, id=t.id); t.delete(); t.save(); out['deleted'] = Session({}, use_cookies=False, id=t.id).is_new
c = Session({}, use_cookies=False, id=first); c.clear(); c.save(); c = Session({}, use_cookies=False, id=first); c['again'] = 1; c.save()
out['cleared'] = Session({}, use_cookies=False, id=first).get('again')
cache = CacheManager(type='memory').get_cache('c'); out['cache'] = [cache.get(key='k', createfunc=lambda: 5), cache.get(key='k')]
print(json.dumps(out))
"""


def test_beaker_works_as_it_did(state):
    out, _ = run(BEAKER, state)
    assert out == {"loaded": [[1], False], "regenerated": [True, [1]], "explicit": [1], "deleted": True, "cleared": 1, "cache": [5, 5]}
    assert {s[2] for s in state.sessions.values()} <= {"180", None} and "180" in {h.get("Lethe-TTL") for _, _, h in state.calls}
    assert count_of(state, "DELETE") == 1


if __name__ == "__main__":
    sys.exit(pytest.main([__file__]))
