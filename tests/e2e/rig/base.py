# SPDX-License-Identifier: Apache-2.0
"""What every part of the rig uses: waiting with a deadline, free ports, sockets by lethe's address texts, processes."""
import os
import random
import signal
import socket
import subprocess
import threading
import time


class Deadline:
    """A point in time by which something must have happened."""

    def __init__(self, seconds):
        self.end = time.monotonic() + seconds

    def left(self):
        return max(0.0, self.end - time.monotonic())

    def over(self):
        return self.left() == 0.0


def wait_for(predicate, seconds=10, what=None):
    """Polls until the predicate gives a true value and returns that; AssertionError after `seconds`."""
    deadline = Deadline(seconds)
    pause = 0.001
    while True:
        value = predicate()
        if value:
            return value
        if deadline.over():
            raise AssertionError(f"not within {seconds} s: {what or getattr(predicate, '__name__', predicate)}")
        time.sleep(min(pause, 0.05, deadline.left() + 0.001))
        pause *= 1.5


_ports = random.Random(os.getpid() ^ time.time_ns())
_given = set()


def free_port():
    """A TCP port that nobody listens on, below the range from which the kernel takes ports of outgoing connections: so a server
    that is restarted finds it free again."""
    for _ in range(1000):
        port = _ports.randrange(20000, 32000)
        if port in _given:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise AssertionError("no free port")


def split_address(address):
    """"host:port", "[v6]:port" or "unix:/path" → (family, address for the socket module)."""
    if address.startswith("unix:"):
        return socket.AF_UNIX, address[5:]
    host, port = address.rsplit(":", 1)
    if host.startswith("["):
        return socket.AF_INET6, (host[1:-1], int(port))
    return socket.AF_INET, (host, int(port))


def dial(address, timeout=10, rcvbuf=None):
    family, where = split_address(address)
    s = socket.socket(family, socket.SOCK_STREAM)
    try:
        s.settimeout(timeout)
        if rcvbuf:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        s.connect(where)
        if family != socket.AF_UNIX:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError:
        s.close()
        raise
    return s


def accepts(address):
    """Does somebody listen there?"""
    try:
        dial(address, 2).close()
        return True
    except OSError:
        return False


class Process:
    """A child whose output is collected by threads. Ended by its own id only; a group of its own holds its children."""

    def __init__(self, argv, env=None, cwd=None):
        self.argv = [str(a) for a in argv]
        self.out, self.err = [], []  # lines without their ends
        self.changed = threading.Condition()
        self.popen = subprocess.Popen(self.argv, env=env, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                      stderr=subprocess.PIPE, start_new_session=True)
        self.readers = [threading.Thread(target=self._collect, args=(pipe, lines), daemon=True)
                        for pipe, lines in ((self.popen.stdout, self.out), (self.popen.stderr, self.err))]
        for r in self.readers:
            r.start()

    def _collect(self, pipe, lines):
        for raw in pipe:
            with self.changed:
                lines.append(raw.decode("utf-8", "backslashreplace").rstrip("\n"))
                self.changed.notify_all()
        pipe.close()

    @property
    def pid(self):
        return self.popen.pid

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        os.kill(self.pid, number)

    def wait(self, seconds=10):
        """Its exit code, with all its output read. AssertionError when it does not end."""
        try:
            code = self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.argv[0]} (pid {self.pid}) does not end within {seconds} s\n" + self.tail()) from None
        for r in self.readers:
            r.join(5)
        return code

    def wait_until(self, found, seconds=10, what=""):
        """Waits until found() is true; looked at whenever a line comes."""
        deadline = Deadline(seconds)
        with self.changed:
            while True:
                value = found()
                if value:
                    return value
                if not self.alive() and not any(r.is_alive() for r in self.readers):
                    raise AssertionError(f"{self.argv[0]} ended with {self.popen.returncode} before: {what}\n" + self.tail())
                if deadline.over():
                    raise AssertionError(f"{self.argv[0]}: not within {seconds} s: {what}\n" + self.tail())
                self.changed.wait(min(0.2, deadline.left() + 0.001))

    def tail(self, n=60):
        return "\n".join(self.err[-n:])

    def kill(self):
        """Ends it and its children at once."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.popen.wait()
        for r in self.readers:
            r.join(5)
