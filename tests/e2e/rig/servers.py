# SPDX-License-Identifier: Apache-2.0
"""Launchers of the real servers that tests talk to: Redis, PHP's own server, HAProxy. Each ends with stop(), at the latest by the
context manager; kill9() is a crash."""
import os
import shutil
import signal
import socket

from .base import Process, accepts, dial, free_port, wait_for

__all__ = ["Haproxy", "Php", "Redis", "free_port", "wait_for"]


def _program(name):
    path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    assert path, f"{name} is not installed (apt install {name})"
    return path


class _Server:
    """Start, readiness, end. A subclass has argv() and is ready when `address` accepts, or as ready() says."""

    end_signal = signal.SIGTERM

    def __init__(self):
        self.process, self.address = None, None

    def argv(self):
        raise NotImplementedError

    def env(self):
        return None

    def ready(self):
        return accepts(self.address)

    def start(self, seconds=15):
        assert self.process is None, "it runs already"
        self.process = Process(self.argv(), self.env())

        def up():
            assert self.process.alive(), f"{self.process.argv} ended\n" + "\n".join(self.process.out[-20:] + self.process.err[-20:])
            return self.ready()
        try:
            wait_for(up, seconds, f"{self.process.argv[0]} at {self.address}")
        except AssertionError:
            self.process.kill()
            self.process = None
            raise
        return self

    @property
    def pid(self):
        return self.process.pid

    def pause(self):
        """SIGSTOP: it takes connections (the kernel does) and never answers."""
        os.killpg(self.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.pid, signal.SIGCONT)

    def stop(self, seconds=10):
        if self.process is None:
            return
        if self.process.alive():
            self.resume()
            os.killpg(self.pid, self.end_signal)
            try:
                self.process.wait(seconds)
            except AssertionError:
                pass
        self.process.kill()
        self.process = None

    def kill9(self):
        if self.process:
            self.process.kill()
            self.process = None

    def __enter__(self):
        if self.process is None:
            self.start()
        return self

    def __exit__(self, *_):
        self.stop()


class RedisError(Exception):
    pass


class Redis(_Server):
    """redis-server on a free port. `dir` holds its data and outlives it. `persistence`: "none", "aof" (every write is on disk before
    it is answered) or "aof-everysec". .url is lethe's option `store`; .call("GET", "x") asks it."""

    def __init__(self, dir, persistence="none", port=None, unix=False, args=(), start=True):
        super().__init__()
        self.dir, self.persistence, self.args = str(dir), persistence, list(args)
        os.makedirs(self.dir, exist_ok=True)
        self.port = port or free_port()
        self.socket_path = os.path.join(self.dir, "redis.sock") if unix else None
        self.address = f"unix:{self.socket_path}" if unix else f"127.0.0.1:{self.port}"
        self.url = f"redis+unix://{self.socket_path}?db=0" if unix else f"redis://127.0.0.1:{self.port}/0"
        self.password = None
        if start:
            self.start()

    def argv(self):
        keep = {"none": ["--appendonly", "no"], "aof": ["--appendonly", "yes", "--appendfsync", "always"],
                "aof-everysec": ["--appendonly", "yes", "--appendfsync", "everysec"]}[self.persistence]
        where = ["--port", "0", "--unixsocket", self.socket_path] if self.socket_path else ["--port", str(self.port)]
        return [_program("redis-server"), *where, "--bind", "127.0.0.1", "--dir", self.dir, "--save", "", "--daemonize", "no",
                "--enable-debug-command", "yes", *keep, *self.args]

    def ready(self):
        if not accepts(self.address):
            return False
        try:
            return self.call("PING") == b"PONG"
        except (RedisError, OSError):  # loading its data, or asking for a password
            return self.password is not None or "--requirepass" in self.args

    def call(self, *words):
        """One command on a connection of its own: bytes, int, list or None. RedisError for an error."""
        return self.pipeline([words])[0]

    def pipeline(self, commands):
        with dial(self.address, 5) as s:
            f = s.makefile("rb")
            for words in ([("AUTH", self.password)] if self.password else []) + list(commands):
                raw = [w if isinstance(w, bytes) else str(w).encode() for w in words]
                s.sendall(b"*%d\r\n" % len(raw) + b"".join(b"$%d\r\n%s\r\n" % (len(w), w) for w in raw))
            if self.password:
                self._read(f)
            return [self._read(f) for _ in commands]

    def _read(self, f):
        line = f.readline()
        if not line.endswith(b"\r\n"):
            raise ConnectionError("redis ended the connection")
        kind, text = line[:1], line[1:-2]
        if kind == b"+":
            return text
        if kind == b"-":
            raise RedisError(text.decode())
        if kind == b":":
            return int(text)
        if kind == b"$":
            n = int(text)
            return None if n < 0 else f.read(n + 2)[:-2]
        if kind == b"*":
            return None if int(text) < 0 else [self._read(f) for _ in range(int(text))]
        raise AssertionError(f"redis said {line!r}")

    def keys(self, pattern="*"):
        return sorted(k.decode("latin-1") for k in self.call("KEYS", pattern))


class Php(_Server):
    """`php -S`. `workers` > 1 forks that many; sessions in files below `session_dir`; `ini` more settings; `router` a script for all
    requests."""
    end_signal = signal.SIGINT  # it passes over SIGTERM while it waits

    def __init__(self, docroot, session_dir, ini=None, port=None, workers=1, router=None, env=None, start=True):
        super().__init__()
        self.docroot, self.session_dir = str(docroot), str(session_dir)
        os.makedirs(self.session_dir, exist_ok=True)
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.ini = {"session.save_handler": "files", "session.save_path": self.session_dir, "display_errors": "0", "log_errors": "1",
                    "error_log": "/dev/stderr", **(ini or {})}
        self.workers, self.router, self.more_env = workers, router, env or {}
        if start:
            self.start()

    def argv(self):
        return [_program("php"), *[w for k, v in self.ini.items() for w in ("-d", f"{k}={v}")], "-S", self.address,
                "-t", self.docroot, *([self.router] if self.router else [])]

    def env(self):
        env = {**os.environ, **self.more_env}
        if self.workers > 1:
            env["PHP_CLI_SERVER_WORKERS"] = str(self.workers)
        return env

    def log(self):
        return list(self.process.err)


class Haproxy(_Server):
    """HAProxy with the given configuration; "{port}" in it becomes the port of .address. Written to `dir`/haproxy.cfg."""

    def __init__(self, config, dir, port=None, start=True):
        super().__init__()
        self.port = port or free_port()
        self.address = f"127.0.0.1:{self.port}"
        os.makedirs(str(dir), exist_ok=True)
        self.path = os.path.join(str(dir), f"haproxy-{self.port}.cfg")
        with open(self.path, "w", encoding="utf-8") as f:
            f.write(config.replace("{port}", str(self.port)))
        if start:
            self.start()

    def argv(self):
        return [_program("haproxy"), "-db", "-f", self.path]

    @staticmethod
    def round_robin(backends, extra=""):
        """A balancer without stickiness over "host:port" backends."""
        servers = "\n".join(f"    server s{i} {b}" for i, b in enumerate(backends))
        return ("global\n    nbthread 1\ndefaults\n    mode http\n    timeout connect 5s\n    timeout client 60s\n    timeout server 60s\n"
                f"    option redispatch\n    retries 3\nfrontend f\n    bind 127.0.0.1:{{port}}\n    default_backend b\nbackend b\n"
                f"    balance roundrobin\n{extra}{servers}\n")


def closed_port_address():
    """An address where a connection is refused."""
    return f"127.0.0.1:{free_port()}"


class Blackhole:
    """An address where a connection is never completed: the listener's queue is full."""

    def __init__(self):
        self.listener = socket.socket()
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(0)
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        self.fillers = []
        for _ in range(4):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(self.listener.getsockname())
            self.fillers.append(s)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for s in [*self.fillers, self.listener]:
            s.close()
