# SPDX-License-Identifier: Apache-2.0
"""Replicas of any web stack: an application server with a directory of its own, a lethe before it, a balancer without stickiness, browsers,
and gates at which a request stops. With lethe=False a cluster is the negative control: the same without lethe.

A stack is described in stacks/<name>.py, whose list STACKS is found here."""
import contextlib
import errno
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from rig import Haproxy, Lethe, Redis, free_port, run_cli, wait_for
from rig.base import accepts
from rig.servers import _program, _Server

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, "apps")
TOKEN = "lethe"

_keys = []


def keys():
    """A key ring, the same for all replicas of a run."""
    if not _keys:
        done = run_cli("keygen")
        assert done.returncode == 0, done.stderr
        _keys.append(done.stdout.strip())
    return _keys[0]


# --- what a stack is ---

class Stack:
    """One web framework with its way to keep sessions. A subclass or an instance sets what differs, and has server()."""

    name = None
    carrier = "state_api"  # or "files"
    packages = ()  # of Debian
    exact = True  # alone, the framework keeps all of 8 parallel increments of one session
    rotates = True  # it gives a new id at login
    locked = True  # lethe lets one request at a time work on a session (all profiles but express and koa)
    # Options of lethe beside listen, upstream, store, keys and state_api.listen. "{dir}" in a value is the replica's directory. With
    # files, files.dir is "{dir}/sessions" unless it is given.
    lethe = {}
    routes = {}  # where the application has its pages elsewhere than the contract: {"/count": "/counter.php"}
    max_big = 1 << 20  # the largest session that the scenarios put into it

    def __init__(self, **differs):
        for name, value in differs.items():
            assert hasattr(self, name), f"a Stack has no {name}"
            setattr(self, name, value)

    def server(self, index, directory, port, state):
        """The application server of a replica, an AppServer that is not started: listens on 127.0.0.1:port, keeps what it writes below
        `directory`, has REPLICA=index in its environment. `state` is the address of lethe's state API, None when it runs without lethe."""
        raise NotImplementedError

    def missing(self):
        """What must be done before it can run: a command line, or None. Debian packages here; a stack may need more."""
        return missing_packages(self.packages)

    def __repr__(self):
        return self.name


def missing_packages(packages):
    if not packages:
        return None
    done = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *packages], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    have = {line.split()[1] for line in done.stdout.decode().splitlines() if line.startswith("installed ")}
    lacking = [p for p in packages if p not in have]
    return f"apt-get install --no-install-recommends {' '.join(lacking)}" if lacking else None


def find_stacks():
    """All STACKS of stacks/*.py, or those that LETHE_STACKS names (a,b,c)."""
    found = {}
    folder = os.path.join(HERE, "stacks")
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".py") or file.startswith("_"):
            continue
        spec = importlib.util.spec_from_file_location(f"stacks_{file[:-3]}", os.path.join(folder, file))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for stack in module.STACKS:
            assert stack.name not in found, f"two stacks are called {stack.name}"
            found[stack.name] = stack
    wanted = os.environ.get("LETHE_STACKS")
    if not wanted:
        return list(found.values())
    unknown = set(wanted.split(",")) - set(found)
    assert not unknown, f"LETHE_STACKS names {', '.join(sorted(unknown))}; there are {', '.join(found)}"
    return [found[name] for name in wanted.split(",")]


class AppServer(_Server):
    """An application server: its arguments and what its environment has more. AppServer(port, ["node", "app.js"], {"PORT": port}). Ready
    when the port accepts. `address` for one that listens elsewhere."""

    def __init__(self, port, argv, env=None, address=None, end_signal=signal.SIGTERM, start_seconds=30):
        super().__init__()
        self.address = address or f"127.0.0.1:{port}"
        self._argv, self._env, self.end_signal, self.start_seconds = [str(a) for a in argv], env or {}, end_signal, start_seconds

    def argv(self):
        return [_program(self._argv[0]), *self._argv[1:]]

    def env(self):
        """No LETHE_* of ours: an adapter finds the state API in the environment, and only a replica's own counts."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}
        return {**inherited, **{k: str(v) for k, v in self._env.items()}}

    def start(self, seconds=None):
        return super().start(seconds or self.start_seconds)

    def log(self):
        return self.process.out[-40:] + self.process.err[-40:]


def state_env(index, state):
    """What every application server of a replica has in its environment."""
    return {"REPLICA": str(index), **({"LETHE_STATE_API_LISTEN": state} if state else {})}


# --- users and gates ---

class Gate:
    """Where a request stops: ?gate=<path> in the applications. It waits there until open()."""

    _names = itertools.count()

    def __init__(self, directory):
        self.name = f"gate{next(self._names)}"
        self.path = os.path.join(directory, self.name)
        self.fd = None
        os.mkfifo(self.path)
        os.chmod(self.path, 0o666)  # the application may be somebody else

    def reached(self):
        """Does a request stand at the gate?"""
        if self.fd is None:
            try:
                self.fd = os.open(self.path, os.O_WRONLY | os.O_NONBLOCK)
            except OSError as e:
                if e.errno != errno.ENXIO:  # nobody has it open for reading
                    raise
        return self.fd is not None

    def wait_reached(self, seconds=20):
        wait_for(self.reached, seconds, f"a request at {self.name}")
        return self

    def open(self):
        """Lets the request go on."""
        self.wait_reached()
        with contextlib.suppress(BrokenPipeError):
            os.write(self.fd, b"go\n")
        self.close()

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None


def _join(path, query):
    return path if not query else path + ("&" if "?" in path else "?") + query.lstrip("?&")


class Browser:
    """One user: keeps cookies as a browser does, does not follow redirects. Where it asks is the balancer, or the replica given
    with to=. Pages are those of the contract (/count, /me, /login); the cluster's `routes` say where an application has them."""

    def __init__(self, cluster, cookies=None):
        self.cluster = cluster
        self.http = requests.Session()
        self.http.trust_env = False
        for name, value in (cookies or {}).items():
            self.http.cookies.set(name, value, domain="127.0.0.1", path="/")

    def tab(self):
        """Another window of the same browser: the cookies of now, a connection of its own."""
        other = self.cluster.browser()
        other.http.cookies.update(self.http.cookies)
        return other

    def ask(self, method, path, to=None, timeout=30, gate=None, **how):
        address = self.cluster.address if to is None else self.cluster.replicas[to].address
        page, _, query = path.partition("?")
        path = _join(self.cluster.routes.get(page, page), query)
        if gate is not None:
            path = _join(path, f"gate={gate.path}")
        how.setdefault("allow_redirects", False)
        return self.http.request(method, f"http://{address}/{path.lstrip('/')}", timeout=timeout, **how)

    def get(self, path, to=None, **how):
        return self.ask("GET", path, to, **how)

    def post(self, path, data=None, to=None, **how):
        return self.ask("POST", path, to, data=data or {}, **how)

    def json(self, path, to=None, **how):
        """A GET that must succeed: what the application reports."""
        r = self.get(path, to, **how)
        assert r.status_code == 200, (r.status_code, dict(r.headers), r.text[:300])
        return r.json()

    def count(self, to=None, **how):
        return self.json("/count", to, **how)["n"]

    def login(self, name, to=None, query="", **how):
        r = self.post(f"/login{query}", {"name": name}, to, **how)
        assert r.status_code in (200, 302, 303), (r.status_code, dict(r.headers), r.text[:300])
        return r

    def logout(self, to=None, **how):
        r = self.post("/logout", to=to, **how)
        assert r.status_code in (200, 204, 302, 303), (r.status_code, dict(r.headers), r.text[:300])
        return r

    def name(self, to=None):
        return self.json("/me", to)["name"]

    @property
    def token(self):
        return self.http.cookies.get(TOKEN)

    def close(self):
        self.http.close()


class Background:
    """A call under way in a thread of its own; result() waits for it."""

    def __init__(self, function, *args, **more):
        self.pool = ThreadPoolExecutor(1)
        self.future = self.pool.submit(function, *args, **more)

    def done(self):
        return self.future.done()

    def result(self, seconds=30):
        try:
            return self.future.result(seconds)
        finally:
            self.pool.shutdown(wait=False)

    def error(self, seconds=30):
        try:
            return self.future.exception(seconds)
        finally:
            self.pool.shutdown(wait=False)


def together(functions, threads=None):
    """Calls all of them at once; their results, in order."""
    start = threading.Barrier(min(len(functions), threads or len(functions)))

    def run(i_f):
        if i_f[0] < start.parties:
            start.wait(30)
        return i_f[1]()
    with ThreadPoolExecutor(start.parties) as pool:
        return list(pool.map(run, enumerate(functions)))


# --- replicas ---

class Replica:
    """One replica: the application server; before it a lethe, unless it is bare. All addresses are fixed, so that parts start and die in
    any order. A subclass says which application: make_app(), and which options of lethe carry its sessions: carrier()."""

    def __init__(self, cluster, index):
        self.cluster, self.index = cluster, index
        self.dir = os.path.join(cluster.dir, f"replica{index}")
        os.makedirs(self.dir, exist_ok=True)
        self.state = None  # where lethe's state API is
        self.stopped = set()  # the parts that SIGSTOP holds
        self.prepare()
        self.app = self.make_app()
        self.lethe, self.address, self.admin = None, self.app.address, None
        if cluster.with_lethe:
            self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            self.lethe = Lethe(self.app.address, {"store": cluster.store, "keys": cluster.keys, **self.carrier(), **cluster.options},
                               listen=self.address, admin=self.admin, workers=cluster.workers, start=False)

    def prepare(self):
        """Makes directories before the application is made."""

    def make_app(self):
        raise NotImplementedError

    def carrier(self):
        return {}

    def start(self):
        self.start_lethe()
        self.start_app()
        return self

    def start_app(self):
        if self.app.process is None:
            self.app.start()

    def start_lethe(self):
        if self.lethe:
            if self.lethe.process:
                self.lethe.check_reports()
            self.lethe.start()

    def runs(self):
        return self.app.process is not None and self.app.process.alive() and (not self.lethe or self.lethe_runs())

    def lethe_runs(self):
        return self.lethe.process is not None and self.lethe.process.alive()

    def kill_app(self):
        self.app.kill9()

    def kill_lethe(self):
        self.lethe.kill9()

    def kill9(self):
        """Both at once: the machine is gone."""
        if self.lethe:
            self.lethe.kill9()
        self.app.kill9()

    def _signal(self, part, number):
        if part == "app":
            self.app.pause() if number == signal.SIGSTOP else self.app.resume()
        else:
            self.lethe.signal(number)

    def freeze(self, part="lethe"):
        """SIGSTOP: connections are taken (the kernel does) and never answered. part is "lethe" or "app"."""
        self.stopped.add(part)
        self._signal(part, signal.SIGSTOP)

    def thaw(self, part="lethe"):
        self.stopped.discard(part)
        self._signal(part, signal.SIGCONT)

    @contextlib.contextmanager
    def frozen(self, part="lethe"):
        self.freeze(part)
        try:
            yield
        finally:
            self.thaw(part)

    def wait_in_service(self, seconds=20):
        wait_for(lambda: accepts(self.address) and accepts(self.app.address), seconds, f"replica {self.index}")

    def leave(self):
        """Scaled down: lethe drains, then the application ends."""
        if self.lethe:
            self.lethe.stop()
        self.app.stop()

    def restore(self):
        """As it should be: both parts run and are awake."""
        for part in list(self.stopped):
            self.thaw(part)
        if self.lethe and not self.lethe_runs():
            self.start_lethe()
        if self.app.process is not None and not self.app.process.alive():
            self.app.kill9()
        self.start_app()

    def stop(self):
        for part in list(self.stopped):
            with contextlib.suppress(OSError):
                self.thaw(part)
        self.app.kill9()
        if self.lethe:
            self.lethe.stop()


class StackReplica(Replica):
    def prepare(self):
        stack = self.cluster.stack
        if stack.carrier == "files":
            os.makedirs(os.path.join(self.dir, "sessions"), exist_ok=True)
        elif self.cluster.with_lethe:
            self.state = f"unix:{self.cluster.short_dir}/{self.index}"

    def make_app(self):
        return self.cluster.stack.server(self.index, self.dir, int(free_port()), self.state)

    def carrier(self):
        stack = self.cluster.stack
        options = {"files.dir": "{dir}/sessions"} if stack.carrier == "files" else {"state_api.listen": self.state}
        options.update(stack.lethe)
        return {k: v.replace("{dir}", self.dir) if isinstance(v, str) else v for k, v in options.items()}


class Cluster:
    """`replicas` (and `spare` ones that are not started) behind HAProxy round robin, and Redis. store="sealed" does without; lethe=False is
    the negative control."""

    routes = {}

    def __init__(self, directory, replicas=3, lethe=True, store="redis", persistence="none", options=None, workers=1, spare=0):
        self.dir = str(directory)
        self.with_lethe, self.workers = lethe, workers
        self.options = {"session.lock_ttl": "2s", **(options or {})}
        self.gates = os.path.join(self.dir, "gates")
        os.makedirs(self.gates)
        self.short_dir = tempfile.mkdtemp(prefix="lt-")  # a socket's path may not be long
        self.made_gates, self.browsers = [], []
        self.redis = Redis(os.path.join(self.dir, "redis"), persistence, start=False) if lethe and store == "redis" else None
        self.store = self.redis.url if self.redis else "sealed"
        self.keys = keys() if lethe else None
        self.replicas = [self.make_replica(i) for i in range(replicas + spare)]
        self.haproxy = Haproxy(self._balancer(), os.path.join(self.dir, "haproxy"), start=False)
        self.address = self.haproxy.address
        self.first = replicas

    def make_replica(self, index):
        raise NotImplementedError

    def start(self):
        """Everything but the spare replicas."""
        if self.redis:
            self.redis.start()
        together([r.start for r in self.replicas[:self.first]])
        self.haproxy.start()
        if self.with_lethe:
            self.wait_balancer(self.first)
        return self

    def _balancer(self):
        """Round robin, no stickiness. A connection that is refused is tried at another replica; readiness is asked, as an
        orchestrator does."""
        rows = []
        for r in self.replicas:
            check = f" check port {r.admin.rsplit(':')[1]} inter 100ms fall 1 rise 1" if self.with_lethe else ""
            rows.append(f"    server s{r.index} {r.address}{check}")
        ready = "    option httpchk GET /readyz\n" if self.with_lethe else ""
        return ("global\n    nbthread 1\n    stats socket " + os.path.join(self.short_dir, "h.sock") + "\n"
                "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
                "    option redispatch 1\n    retries 5\n    http-reuse never\n"
                "frontend f\n    bind 127.0.0.1:{port}\n    default_backend b\n"
                f"backend b\n    balance roundrobin\n{ready}" + "\n".join(rows) + "\n")

    def balancer_states(self):
        """HAProxy's view: {"s0": "UP", …}."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(os.path.join(self.short_dir, "h.sock"))
            except OSError:  # it is starting
                return {}
            s.sendall(b"show stat\n")
            text = s.makefile().read()
        rows = [line.split(",") for line in text.splitlines() if line.startswith("b,s")]
        return {row[1]: row[17] for row in rows}

    def wait_balancer(self, up, seconds=20):
        """Until the balancer has exactly these in service: a number, or the replicas' indices."""
        def seen():
            found = {int(name[1:]) for name, state in self.balancer_states().items() if state.startswith("UP")}
            return len(found) == up if isinstance(up, int) else found == set(up)
        wait_for(seen, seconds, f"replicas {up} in the balancer")

    def scale(self, wanted):
        """Starts and stops replicas until exactly those with these indices run; back when the balancer knows."""
        wanted = set(wanted)
        together([r.start for r in self.replicas if r.index in wanted and not r.runs()] or [lambda: None])
        if self.with_lethe:
            self.wait_balancer(wanted | {r.index for r in self.replicas if r.runs()})
        for r in self.replicas:
            if r.index not in wanted and r.runs():
                r.leave()
        if self.with_lethe:
            self.wait_balancer(wanted)

    def restore(self):
        """Everything runs again, whatever a test did to it."""
        for g in self.made_gates:
            g.close()
        self.made_gates.clear()
        for b in self.browsers:
            b.close()
        self.browsers.clear()
        if self.redis:
            if self.redis.process is None:
                self.redis.start()
            else:
                self.redis.resume()
        together([r.restore for r in self.replicas[:self.first]])
        if self.with_lethe:
            self.wait_balancer(self.first)
            wait_for(self.serves, 20, "all replicas serve sessions")

    def serves(self):
        """Does every replica serve a new session?"""
        for r in self.replicas[:self.first]:
            b = Browser(self)
            try:
                if b.get("/count", to=r.index, timeout=10).status_code != 200:
                    return False
            except requests.RequestException:
                return False
            finally:
                b.close()
        return True

    def browser(self, **how):
        self.browsers.append(Browser(self, **how))
        return self.browsers[-1]

    def gate(self):
        self.made_gates.append(Gate(self.gates))
        return self.made_gates[-1]

    def metric(self, event):
        """lethe_sessions_total{event} over all replicas."""
        return sum(r.lethe.metrics().get("lethe_sessions_total", event=event) for r in self.replicas if r.lethe.process)

    def stop(self):
        for b in self.browsers:
            b.close()
        for g in self.made_gates:
            g.close()
        self.haproxy.stop()
        errors = []
        for r in self.replicas:
            try:
                r.stop()
            except AssertionError as e:
                errors.append(e)
        if self.redis:
            self.redis.kill9()
        shutil.rmtree(self.short_dir, ignore_errors=True)
        if errors:
            raise errors[0]


class StackCluster(Cluster):
    """Replicas of a Stack."""

    def __init__(self, directory, stack, **how):
        self.stack, self.routes = stack, stack.routes
        super().__init__(directory, **how)

    def make_replica(self, index):
        return StackReplica(self, index)


@contextlib.contextmanager
def open_directory():
    """A directory with a short path that every user may pass through: some applications run as somebody else."""
    path = tempfile.mkdtemp(prefix="lt-")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@contextlib.contextmanager
def ending_clusters():
    """Gives a list; ends the clusters in it, the last first, all of them even if one end fails."""
    made = []
    try:
        yield made
    finally:
        errors = []
        for c in reversed(made):
            try:
                c.stop()
            except AssertionError as e:
                errors.append(e)
        if errors:
            raise errors[0]
