# SPDX-License-Identifier: Apache-2.0
"""Stores beside Redis: launchers of memcached and PostgreSQL, the replicas that keep sessions there, and users who count all the while."""
import contextlib
import glob
import json
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time

import requests
from session_rig import Cluster

from rig import free_port, wait_for
from rig.base import accepts, dial
from rig.lethe import ROOT
from rig.servers import _program, _Server

FIGURES = os.path.join(ROOT, "build", "stores.json")
TIME_LIMIT = 0.9  # session.store_timeout
SLACK = 2.1  # what a busy machine adds


class Memcached(_Server):
    """memcached on a free port. `args`: more of its flags."""

    name, keeps = "memcached", False

    def __init__(self, args=(), start=True):
        super().__init__()
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"memcached://{self.address}"
        self.args = list(args)
        if start:
            self.start()

    def argv(self):
        return [_program("memcached"), "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-u", "nobody", *self.args]

    def call(self, command):
        """The lines of the answer to one command that ends with END, or the one line of any other."""
        with dial(self.address, 5) as s:
            s.sendall(command.encode() + b"\r\n")
            lines = []
            for line in s.makefile("rb"):
                lines.append(line.decode().rstrip("\r\n"))
                if not lines[-1].startswith("STAT "):
                    return lines
        raise ConnectionError("memcached ended the connection")

    def stats(self, kind=""):
        return dict(line.split(" ", 2)[1:] for line in self.call(f"stats {kind}".strip())[:-1])


def _unprivileged():
    """PostgreSQL does not run as root."""
    return "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


class Postgres(_Server):
    """A PostgreSQL of its own in a directory of its own; it outlives kill9(). .url is lethe's option `store`; .sql() asks it as its
    superuser `lethe`. tls=True: only with TLS and a password."""

    name, keeps = "postgres", True
    end_signal = signal.SIGINT

    def __init__(self, tls=False, start=True):
        super().__init__()
        self.programs = sorted(glob.glob("/usr/lib/postgresql/*/bin"))[-1]
        self.dir = tempfile.mkdtemp(prefix="lt-pg-")
        self.data = os.path.join(self.dir, "data")
        self.port, self.user, self.tls = free_port(), _unprivileged(), tls
        shutil.chown(self.dir, self.user)
        self.as_user = ["setpriv", f"--reuid={self.user}", f"--regid={self.user}", "--init-groups"] if os.geteuid() == 0 else []
        subprocess.run([*self.as_user, f"{self.programs}/initdb", "-D", self.data, "-A", "trust", "-U", "lethe", "-E", "UTF8", "--locale=C",
                        "--no-sync"], check=True, stdout=subprocess.DEVNULL, cwd=self.dir)
        self.address = f"127.0.0.1:{self.port}"
        self.url = f"postgres://lethe@{self.address}/postgres"
        self.unix_url = f"postgresql://lethe@/postgres?host={self.dir}&port={self.port}"
        if tls:
            self._make_certificate()
        if start:
            self.start()

    def _make_certificate(self):
        self.certificate = os.path.join(self.dir, "server.crt")
        subprocess.run([*self.as_user, "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                        "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", os.path.join(self.dir, "server.key"),
                        "-out", self.certificate], check=True, stderr=subprocess.DEVNULL)
        with open(os.path.join(self.data, "pg_hba.conf"), "w", encoding="ascii") as f:
            f.write("local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")

    def argv(self):
        tls = ["-c", "ssl=on", "-c", f"ssl_cert_file={self.dir}/server.crt", "-c", f"ssl_key_file={self.dir}/server.key"] if self.tls else []
        return [*self.as_user, f"{self.programs}/postgres", "-D", self.data, "-p", str(self.port), "-c", "listen_addresses=127.0.0.1",
                "-c", f"unix_socket_directories={self.dir}", *tls]

    def ready(self):
        return accepts(self.address) and self._psql("SELECT 1").returncode == 0

    def _psql(self, text):
        return subprocess.run([f"{self.programs}/psql", "-h", self.dir, "-p", str(self.port), "-U", "lethe", "-d", "postgres", "-X", "-A", "-t", "-q",
                               "-v", "ON_ERROR_STOP=1", "-c", text], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False, timeout=20,
                              cwd=self.dir)

    def sql(self, text):
        done = self._psql(text)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    def _processes(self):
        """The server and its children, which have sessions of their own."""
        children = []
        for path in glob.glob("/proc/[0-9]*/stat"):
            with contextlib.suppress(OSError), open(path, encoding="latin-1") as f:
                fields = f.read().rsplit(")", 1)[1].split()
                if int(fields[1]) == self.pid:
                    children.append(int(path.split("/")[2]))
        return [self.pid, *children]

    def _signal_all(self, number):
        for pid in self._processes():  # the server first: it makes no new ones
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def pause(self):
        self._signal_all(signal.SIGSTOP)
        self._signal_all(signal.SIGSTOP)

    def resume(self):
        self._signal_all(signal.SIGCONT)

    def kill9(self):
        if self.process:
            pids = self._processes()
            self._signal_all(signal.SIGKILL)
            wait_for(lambda: not any(_runs(pid) for pid in pids[1:]), 20, "all of PostgreSQL is dead")
        super().kill9()

    def remove(self):
        self.kill9()
        shutil.rmtree(self.dir, ignore_errors=True)


def _runs(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="latin-1") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class StoreCluster(Cluster):
    """Replicas of the PHP applications whose sessions are in `server`."""

    def __init__(self, directory, server, options=None, **how):
        self.server = server
        super().__init__(directory, store="sealed", options={"store": server.url, **(options or {})}, **how)

    def start(self):
        if self.server.process is None:
            self.server.start()
        return super().start()


class Load:
    """Users who count without pause, a thread each. What was answered 200 is confirmed, and each further number must be larger. With
    may_forget, a user whose session is gone logs in again, and is counted in `forgotten`."""

    def __init__(self, cluster, users=4, may_forget=False):
        self.cluster, self.may_forget, self.stopping = cluster, may_forget, threading.Event()
        self.users = [cluster.browser() for _ in range(users)]
        for i, user in enumerate(self.users):
            user.login(f"user{i}", to=0)
        self.attempted, self.confirmed, self.written = [0] * users, [0] * users, [0] * users
        self.worst = 0.0
        self.failures, self.wrong, self.forgotten = [], [], 0
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(users)]
        for t in self.threads:
            t.start()

    def _run(self, i):
        while not self.stopping.is_set():
            self.attempted[i] += 1
            began = time.monotonic()
            try:
                r = self.users[i].get("/count?close=1", timeout=30)
            except requests.RequestException as e:
                self.failures.append(repr(e))
                continue
            finally:
                self.worst = max(self.worst, time.monotonic() - began)
            if r.status_code != 200:
                self._failed(r)
            elif not self._counted(i, r.json()):
                return

    def _failed(self, r):
        self.failures.append((r.status_code, r.headers.get("X-Lethe-Error")))
        if r.status_code != 503 or "Set-Cookie" in r.headers:
            self.wrong.append(f"{r.status_code} {r.headers}")
        self.stopping.wait(0.01)  # nobody hammers at a server that is down

    def _counted(self, i, page):
        if self.may_forget and page["name"] is None:
            return self._begin_anew(i)
        if page["name"] != f"user{i}" or not self.confirmed[i] < page["n"] <= self.attempted[i]:
            self.wrong.append(f"user{i}: {page} after {self.confirmed[i]} confirmed, {self.attempted[i]} attempted")
            return False
        self.confirmed[i] = page["n"]
        self.written[i] += 1
        return True

    def _begin_anew(self, i):
        self.forgotten += 1
        self.confirmed[i] = self.attempted[i] = 0
        entered = False
        while not self.stopping.wait(0.01):  # a replica may still be in its back-off
            with contextlib.suppress(requests.RequestException):
                entered = entered or self.users[i].post("/login", {"name": f"user{i}"}).status_code in (200, 302, 303)
                r = self.users[i].get("/me") if entered else None
                if r is not None and r.status_code == 200:
                    self.attempted[i] = self.confirmed[i] = r.json()["n"]
                    return True
        return False

    def total(self):
        return sum(self.written)

    def wait_more(self, n, seconds=30):
        before = self.total()
        wait_for(lambda: self.wrong or self.total() >= before + n, seconds, f"{n} more; {self.failures[-3:]}")
        assert not self.wrong, self.wrong[0]

    def wait_failures(self, n, seconds=30):
        before = len(self.failures)
        wait_for(lambda: self.wrong or len(self.failures) >= before + n, seconds, f"{n} failures")
        assert not self.wrong, self.wrong[0]

    def check(self):
        """Ends all. How many confirmed numbers the application has no more."""
        self.stopping.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()
        assert not self.wrong, self.wrong[0]
        lost = 0
        for i, user in enumerate(self.users):
            n = user.json("/me", to=i % 2)["n"]
            assert n <= self.attempted[i], (i, n, self.attempted[i])
            lost += max(0, self.confirmed[i] - n)
        return lost


def expect_refusals(cluster, user):
    """The store is away: 503 within its time limit for who has a session, the rest passes, and nobody's cookies change."""
    worst = 0.0
    for r in cluster.replicas:
        for page in ("/count", "/me", "/anonymous.php"):
            began = time.monotonic()
            answer = user.get(page, to=r.index, timeout=10)
            worst = max(worst, time.monotonic() - began)
            assert (answer.status_code, answer.headers.get("X-Lethe-Error")) == (503, "store_unavailable")
            assert answer.headers["Retry-After"] == "1" and "Set-Cookie" not in answer.headers
        assert cluster.browser().get("/anonymous.php", to=r.index).status_code == 200
        began = time.monotonic()
        new = cluster.browser().get("/count", to=r.index)
        worst = max(worst, time.monotonic() - began)
        assert new.status_code == 503 and "Set-Cookie" not in new.headers
        r.lethe.wait_metric(1, "lethe_store_breaker_open")
    assert worst < TIME_LIMIT + SLACK, worst
    return worst


def in_service(cluster):
    wait_for(cluster.serves, 30, "all replicas in service")


def record(row):
    """Merges one store's figures into build/stores.json."""
    rows = []
    with contextlib.suppress(OSError, ValueError), open(FIGURES, encoding="ascii") as f:
        rows = json.load(f)
    rows = sorted([r for r in rows if r["store"] != row["store"]] + [row], key=lambda r: r["store"])
    os.makedirs(os.path.dirname(FIGURES), exist_ok=True)
    with open(FIGURES + ".new", "w", encoding="ascii") as f:
        json.dump(rows, f, indent=1)
        f.write("\n")
    os.rename(FIGURES + ".new", FIGURES)
