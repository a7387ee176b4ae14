# SPDX-License-Identifier: Apache-2.0
"""Replicas of any application: its server with a directory of its own, a lethe before it, a balancer without stickiness, browsers, and
gates at which a request stops. With lethe=False a cluster is the negative control: the same without lethe."""
import contextlib
import errno
import itertools
import os
import shutil
import signal
import socket
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor

import requests

from rig import Haproxy, Lethe, Redis, free_port, run_cli, wait_for
from rig.base import accepts

TOKEN = "lethe"

_keys = []


def keys():
    """A key ring, the same for all replicas of a run."""
    if not _keys:
        done = run_cli("keygen")
        assert done.returncode == 0, done.stderr
        _keys.append(done.stdout.strip())
    return _keys[0]


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
        self.restore_parts()

        def whole():
            if self.serves():
                return True
            together([r.restore for r in self.replicas[:self.first]])  # one may have been about to end
            return False
        if self.with_lethe:
            wait_for(whole, 30, "all replicas serve sessions")

    def restore_parts(self):
        """The same, leaving browsers and gates as they are."""
        if self.redis:
            if self.redis.process is None:
                self.redis.start()
            else:
                self.redis.resume()
        together([r.restore for r in self.replicas[:self.first]])
        if self.with_lethe:
            self.wait_balancer(self.first)

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
