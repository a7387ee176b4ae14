# SPDX-License-Identifier: Apache-2.0
"""What runs in the demonstration: Redis, the replicas with a lethe each, the balancers. On free ports of 127.0.0.1, in a directory of its own."""
import contextlib
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
PHPLITEADMIN = "/usr/share/phpliteadmin/phpliteadmin.php"
PASSWORD = "demo"  # of phpLiteAdmin
PATIENCE = 20  # seconds until something that was started must be there

BALANCER = """
global
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch 1
frontend all
    bind 127.0.0.1:{port}
    http-response set-header X-Replica %s
    default_backend replicas
backend replicas
    balance roundrobin
    default-server check inter 300ms fall 1 rise 1
{servers}
"""


class Failed(Exception):
    """A step did not go as it must; the text says which."""


def free_port():
    """Below the range from which the kernel takes ports of outgoing connections: so it is still free when a server is started again."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)
    return value


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A child of ours with its log. Ended by its own id, at the latest when the demo ends."""

    def __init__(self, stage, name, argv, **environment):
        self.name, self.log = name, os.path.join(stage.dir, f"{name}.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment})
        stage.servers.append(self)

    def alive(self):
        return self.process.poll() is None

    def until(self, ready, what):
        def look():
            if not self.alive():
                raise Failed(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
            return ready()
        return wait_for(look, f"{self.name}: {what}")

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f"    {self.name}: {line}" for line in f.readlines()[-12:])

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill9()


class Stage:
    """The directory and the servers of one demonstration."""

    def __init__(self, lethe):
        self.lethe, self.servers, self.dir = lethe, [], tempfile.mkdtemp(prefix="lethe-demo-")
        self.docroot, self.data = os.path.join(self.dir, "www"), os.path.join(self.dir, "data")
        os.mkdir(self.docroot)
        os.mkdir(self.data)
        self.keys = None

    def close(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C does not leave half of it running
        for server in reversed(self.servers):
            server.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def install(self):
        """The applications as every replica has them, and a database that is shared: only the sessions are a replica's own."""
        if not os.path.exists(PHPLITEADMIN):
            raise Failed(f"no {PHPLITEADMIN} (apt-get install --no-install-recommends php-cgi phpliteadmin)")
        os.symlink(PHPLITEADMIN, os.path.join(self.docroot, "phpliteadmin.php"))
        os.symlink(os.path.join(HERE, "cart"), os.path.join(self.docroot, "cart"))
        with open(os.path.join(self.docroot, "phpliteadmin.config.php"), "w", encoding="utf-8") as f:
            f.write(f"<?php\n$password = '{PASSWORD}';\n$directory = '{self.data}';\n")
        with contextlib.closing(sqlite3.connect(os.path.join(self.data, "library.sqlite"))) as db:
            db.execute("create table books (title text, year integer)")
            db.executemany("insert into books values (?, ?)", [("Theogony", -700), ("Inferno", 1321), ("Walden", 1854)])
            db.commit()

    def make_keys(self):
        """One key ring for all replicas."""
        self.keys = subprocess.run([self.lethe, "keygen"], stdout=subprocess.PIPE, check=True, timeout=PATIENCE).stdout.decode().strip()

    def redis(self):
        port = free_port()
        server = Server(self, "redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir])
        server.until(lambda: accepts(port), f"listening on port {port}")
        return f"redis://127.0.0.1:{port}/0"

    def balancer(self, name, replicas):
        """replicas: {name: port}. Takes turns, and knows nothing of sessions."""
        port = free_port()
        path = os.path.join(self.dir, f"{name}.cfg")
        with open(path, "w", encoding="utf-8") as f:
            f.write(BALANCER.format(port=port, servers="".join(f"    server {n} 127.0.0.1:{p}\n" for n, p in replicas.items())))
        Server(self, name, ["haproxy", "-db", "-f", path]).until(lambda: accepts(port), f"listening on port {port}")
        return f"http://127.0.0.1:{port}"


class Replica:
    """One copy of the application with a session directory of its own, and the lethe beside it."""

    def __init__(self, stage, number):
        self.stage, self.name, self.port, self.lethe_port = stage, f"replica-{number}", free_port(), free_port()
        self.sessions = os.path.join(stage.dir, f"sessions-{number}")
        self.php, self.lethe = None, None

    def start(self):
        os.mkdir(self.sessions, 0o700)
        self.php = Server(self.stage, f"{self.name}-php", ["php", "-d", f"session.save_path={self.sessions}", "-S", f"127.0.0.1:{self.port}",
                                                           "-t", self.stage.docroot], REPLICA=self.name)
        self.php.until(lambda: accepts(self.port), f"listening on port {self.port}")

    def start_lethe(self, store):
        self.lethe = Server(self.stage, f"{self.name}-lethe",
                            [self.stage.lethe, "run", f"--listen=127.0.0.1:{self.lethe_port}", f"--upstream=127.0.0.1:{self.port}",
                             f"--store={store}", "--files.profile=php", f"--files.dir={self.sessions}"], LETHE_KEYS=self.stage.keys)
        self.lethe.until(lambda: accepts(self.lethe_port), f"listening on port {self.lethe_port}")

    def crash(self):
        """As when its machine is gone: nothing is said good-bye to, and what was on its disk is lost."""
        self.lethe.kill9()
        self.php.kill9()
        shutil.rmtree(self.sessions)
