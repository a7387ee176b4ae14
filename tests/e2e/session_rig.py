# SPDX-License-Identifier: Apache-2.0
"""What the tests of sessions stand on: replicas (PHP with session files of its own, lethe before it), a balancer without stickiness,
browsers, and gates at which a PHP request stops. A Cluster with lethe=False is the negative control: the same without lethe."""
import contextlib
import errno
import itertools
import os
import shutil
import signal
import socket
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from rig import Haproxy, Lethe, Php, Redis, find_binary, free_port, run_cli, wait_for
from rig.base import accepts

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, "apps", "php")
TOKEN = "lethe"
PHP_ID_LETTERS = "0123456789abcdefghijklmnopqrstuv"
TOKEN_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

_keys = []


def keys():
    """A key ring, the same for all replicas of a run."""
    if not _keys:
        done = run_cli("keygen")
        assert done.returncode == 0, done.stderr
        _keys.append(done.stdout.strip())
    return _keys[0]


class Gate:
    """Where a PHP request stops: ?gate=<name> in the applications. It waits there until open()."""

    _names = itertools.count()

    def __init__(self, directory):
        self.name = f"gate{next(self._names)}"
        self.path = os.path.join(directory, self.name)
        self.fd = None
        os.mkfifo(self.path)
        os.chmod(self.path, 0o666)  # PHP may be somebody else

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


class Browser:
    """One user: keeps cookies as a browser does, does not follow redirects. Where it asks is the balancer, or the replica given
    with to=."""

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

    def ask(self, method, path, to=None, timeout=30, **how):
        address = self.cluster.address if to is None else self.cluster.replicas[to].address
        return self.http.request(method, f"http://{address}/{path.lstrip('/')}", allow_redirects=False, timeout=timeout, **how)

    def get(self, path, to=None, gate=None, **how):
        if gate is not None:
            path += ("&" if "?" in path else "?") + f"gate={gate.name}"
        return self.ask("GET", path, to, **how)

    def post(self, path, data, to=None, **how):
        return self.ask("POST", path, to, data=data, **how)

    def json(self, path, to=None, **how):
        """A GET that must succeed: what the application reports."""
        r = self.get(path, to, **how)
        assert r.status_code == 200, (r.status_code, dict(r.headers), r.text[:300])
        return r.json()

    def count(self, to=None, **how):
        return self.json("counter.php", to, **how)["n"]

    def login(self, name, to=None, query=""):
        r = self.post(f"login.php{query}", {"name": name}, to)
        assert r.status_code in (200, 302), (r.status_code, dict(r.headers), r.text[:300])
        return r

    def name(self, to=None):
        return self.json("me.php", to)["name"]

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


class Replica:
    """One replica: a PHP server with a session directory of its own; before it a lethe, unless it is bare. All addresses are fixed, so
    that parts start and die in any order."""

    def __init__(self, cluster, index, options=None, php=None):
        self.cluster, self.index = cluster, index
        self.dir = os.path.join(cluster.dir, f"replica{index}")
        self.sessions = cluster.shared_sessions or os.path.join(self.dir, "sessions")
        os.makedirs(self.sessions, exist_ok=True)
        save_path = self.sessions  # as PHP writes it; with a depth, PHP wants the directories to be there
        if cluster.depth:
            save_path = f"{cluster.depth};{self.sessions}"
            for letters in itertools.product(PHP_ID_LETTERS, repeat=cluster.depth):
                os.makedirs(os.path.join(self.sessions, *letters), exist_ok=True)
        self.php = php or Php(APPS, self.sessions, workers=4, start=False,
                              env={"GATES": cluster.gates, "REPLICA": str(index)},
                              ini={"session.gc_probability": "0", "session.save_path": f'"{save_path}"', **cluster.php_ini})
        self.lethe, self.ended = None, []
        self.address, self.admin = self.php.address, None
        if cluster.with_lethe:
            self.address, self.admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
            carrier = {"files.profile": "php", "files.dir": save_path} if cluster.carrier else {}
            self.lethe = Lethe(self.php.address,
                               {"store": cluster.store, "keys": cluster.keys, **carrier, **cluster.options, **(options or {})},
                               listen=self.address, admin=self.admin, workers=cluster.workers, start=False)

    def start(self):
        self.php.start()
        self.start_lethe()
        return self

    def start_lethe(self):
        if self.lethe:
            if self.lethe.process:
                self.lethe.check_reports()
            self.lethe.start()

    def kill_lethe(self):
        self.lethe.kill9()

    def files(self):
        """The session files, relative to their directory."""
        return sorted(os.path.relpath(os.path.join(at, f), self.sessions) for at, _, files in os.walk(self.sessions) for f in files
                      if f.startswith("sess_"))

    def wipe(self):
        """Its disk is lost."""
        shutil.rmtree(self.sessions)
        os.makedirs(self.sessions)

    def wait_in_service(self, seconds=20):
        wait_for(lambda: accepts(self.address) and accepts(self.php.address), seconds, f"replica {self.index}")

    def stop(self):
        self.php.kill9()
        if self.lethe:
            self.lethe.stop()


class Cluster:
    """`replicas` of the PHP applications behind HAProxy round robin, and Redis. store="sealed" does without; carrier=False leaves the
    session files alone; shared=True gives all replicas one session directory; depth is PHP's own; lethe=False is the negative control."""

    def __init__(self, directory, replicas=2, lethe=True, store="redis", carrier=True, shared=False, persistence="none",
                 options=None, workers=1, spare=0, php=None, php_ini=None, depth=0):
        self.dir = str(directory)
        self.with_lethe, self.carrier, self.workers = lethe, carrier, workers
        self.php_ini, self.depth = php_ini or {}, depth
        self.options = {"session.lock_ttl": "2s", **(options or {})}
        self.gates = os.path.join(self.dir, "gates")
        os.makedirs(self.gates)
        self.made_gates, self.browsers = [], []
        self.shared_sessions = os.path.join(self.dir, "sessions") if shared else None
        self.redis = Redis(os.path.join(self.dir, "redis"), persistence, start=False) if lethe and store == "redis" else None
        self.store = self.redis.url if self.redis else "sealed"
        self.keys = keys() if lethe else None
        self.replicas = [Replica(self, i, php=php and php(self, i)) for i in range(replicas + spare)]
        self.haproxy = Haproxy(self._balancer(), os.path.join(self.dir, "haproxy"), start=False)
        self.address = self.haproxy.address
        self.first = replicas

    def start(self):
        """Everything but the spare replicas."""
        if self.redis:
            self.redis.start()
        for r in self.replicas[:self.first]:
            r.start()
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
        return ("global\n    nbthread 1\n    stats socket " + os.path.join(self.dir, "h.sock") + "\n"
                "defaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
                "    option redispatch 1\n    retries 5\n    http-reuse never\n"
                "frontend f\n    bind 127.0.0.1:{port}\n    default_backend b\n"
                f"backend b\n    balance roundrobin\n{ready}" + "\n".join(rows) + "\n")

    def balancer_states(self):
        """HAProxy's view: {"s0": "UP", …}."""
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(os.path.join(self.dir, "h.sock"))
            except OSError:  # it is starting
                return {}
            s.sendall(b"show stat\n")
            text = s.makefile().read()
        rows = [line.split(",") for line in text.splitlines() if line.startswith("b,s")]
        return {row[1]: row[17] for row in rows}

    def wait_balancer(self, up, seconds=20):
        wait_for(lambda: sum(v.startswith("UP") for v in self.balancer_states().values()) == up, seconds,
                 f"{up} replicas in the balancer")

    def browser(self, **how):
        self.browsers.append(Browser(self, **how))
        return self.browsers[-1]

    def gate(self):
        self.made_gates.append(Gate(self.gates))
        return self.made_gates[-1]

    def metric(self, event):
        """lethe_sessions_total{event} over all replicas."""
        return sum(r.lethe.metrics().get("lethe_sessions_total", event=event) for r in self.replicas if r.lethe.process)

    def session_files(self):
        return [os.path.join(r.sessions, f) for r in self.replicas for f in r.files()]

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
        if errors:
            raise errors[0]


def curl(*args, seconds=30):
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", str(seconds), *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


@contextlib.contextmanager
def _clusters(make_dir):
    made = []

    def make(start=True, **how):
        made.append(Cluster(make_dir(), **how))
        return made[-1].start() if start else made[-1]
    try:
        yield make
    finally:
        errors = []
        for c in reversed(made):
            try:
                c.stop()
            except AssertionError as e:
                errors.append(e)
        if errors:
            raise errors[0]


@pytest.fixture(name="cluster_of")
def cluster_of_fixture(tmp_path_factory):
    """cluster_of(replicas=2, …): a Cluster of this test alone."""
    with _clusters(lambda: tmp_path_factory.mktemp("cluster")) as make:
        yield make


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture(tmp_path_factory):
    """Two replicas with lethe, shared by the tests of a file, which leave it as it is."""
    with _clusters(lambda: tmp_path_factory.mktemp("cluster")) as make:
        yield make(workers=2)


@pytest.fixture(name="bare", scope="module")
def bare_fixture(tmp_path_factory):
    """The negative control: the same two replicas without lethe."""
    with _clusters(lambda: tmp_path_factory.mktemp("bare")) as make:
        yield make(lethe=False)


__all__ = ["APPS", "Background", "Browser", "Cluster", "Gate", "TOKEN", "TOKEN_ALPHABET", "bare_fixture", "cluster_fixture",
           "cluster_of_fixture", "curl", "find_binary", "keys", "signal", "together"]
