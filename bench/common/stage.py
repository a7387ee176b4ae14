# SPDX-License-Identifier: Apache-2.0
"""The programs of a measurement: started in a folder of their own, ended with the run."""
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import time

START_SECONDS = 10
BENCH = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


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
        raise Failed(f"{name} is not here; on Debian: apt-get install haproxy nginx-light redis-server wrk nghttp2-client valgrind")
    return path


def helper(source, lethe, folder):
    """A program of ours, compare/origin.c for example: what CMake built beside lethe, else compiled here and now."""
    path, name = os.path.join(BENCH, source), os.path.basename(source).removesuffix(".c")
    built = os.path.join(os.path.dirname(os.path.abspath(lethe)), "bench", f"bench_{name}")
    if os.access(built, os.X_OK) and os.path.getmtime(built) >= os.path.getmtime(path):
        return built
    output = os.path.join(folder, name)
    done = subprocess.run(["cc", "-O2", "-std=c17", "-D_GNU_SOURCE", "-pthread", "-o", output, path],
                          capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"cc: {done.stderr.strip()}")
    return output


def rotated(items, by):
    by %= len(items)
    return items[by:] + items[:by]


class Program:
    """One running process, with its children if it has any. `cookie` is what a client sends once it has logged in; `store`: the Program
    that keeps its sessions; `log_in`: gives such a cookie, where it is not the application's own answer that does."""

    def __init__(self, name, process, port, log=None):
        self.name, self.process, self.port, self.log, self.cookie = name, process, port, log, ""
        self.store = self.log_in = None

    def pids(self):
        """Itself and its worker processes."""
        found = [self.process.pid]
        for pid in found:
            with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
                found += [int(child) for child in f.read().split()]
        return found

    def stop(self, seconds=5):
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Stage:
    """Starts programs in a folder of their own, and ends them all at the end, the last one first."""

    def __init__(self, folder, binaries):
        self.folder, self.binaries = folder, binaries  # binaries: paths of lethe, origin, relay
        self.running = contextlib.ExitStack()
        self.programs = []
        self.origin = self.redis = None
        self.env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.running.close()

    def path(self, name):
        """Of a file of this name; programs have blanks in theirs, which no configuration should have to quote."""
        return os.path.join(self.folder, re.sub(r"[^\w.+-]+", "-", name))

    def text(self, name):
        with open(self.path(name), encoding="utf-8", errors="replace") as f:
            return f.read()

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8") as f:
            f.write(text)
        return self.path(name)

    def write_bytes(self, name, data):
        with open(self.path(name), "wb") as f:
            f.write(data)
        return self.path(name)

    def known(self, program):
        self.programs.append(program)
        return program

    def helpers(self, program):
        """The processes of all other programs: idle ones, the origin; not those of the program's store, which is read by itself."""
        own = {*program.pids(), *(program.store.pids() if program.store else ())}
        return sorted({pid for other in self.programs if other.process.poll() is None for pid in other.pids()} - own)

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
        return self.known(Program(name, process, self.read_port(name, process, r"^(\d+)\n", ".out")))

    def start_on(self, name, port, command, log=None):
        process = self.spawn(name, command)
        try:
            wait_for(f"{name}: to listen", lambda: accepts(port), process)
        except Failed as e:
            raise Failed(f"{e}: {self.text(name + '.err').strip()}") from e
        return self.known(Program(name, process, port, log))

    def start_origin(self):
        self.origin = self.start_printing("origin", self.binaries["origin"], 0)

    def start_redis(self):
        port = free_port()
        self.redis = self.start_on("redis", port, [find("redis-server"), "--port", str(port), "--bind", "127.0.0.1",
                                                   "--save", "", "--appendonly", "no"])

    def start_lethe(self, name, store, logs=False, upstream=None, options=(), workers=1, under=()):
        """`upstream`: a Program, the origin unless given; `options`: more flags; `under`: a command that runs it."""
        command = [*under, self.binaries["lethe"], "run", "--listen=127.0.0.1:0", f"--upstream=127.0.0.1:{(upstream or self.origin).port}",
                   f"--workers={workers}", f"--store={store}", f"--log.access={'true' if logs else 'false'}", *options]
        process = self.spawn(name, command)
        port = self.read_port(name, process, r"event=listening address=127\.0\.0\.1:(\d+)", ".err")
        return self.known(Program(name, process, port, self.path(name + ".out") if logs else None))

    def redis_url(self):
        return f"redis://127.0.0.1:{self.redis.port}/0"


def end_on_signals():
    """SIGTERM ends the run as Ctrl-C does: everything that was started is stopped."""
    def stop(number, _frame):
        raise Failed(f"ended by signal {number}")
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop)
