# SPDX-License-Identifier: Apache-2.0
"""Runs lethe, reads what it says, and checks how it ends."""
import json
import os
import re
import shlex
import signal
import subprocess

from .base import Process, wait_for
from .client import Client

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(os.path.dirname(HERE)))

# Words that a sanitizer, an assertion or glibc writes when something is wrong.
REPORTS = re.compile(r"AddressSanitizer|LeakSanitizer|ThreadSanitizer|MemorySanitizer|UndefinedBehavior|runtime error:|"
                     r"Assertion .* failed|double free|corrupted|\[warn\]|\[err\]")


def find_binary(preset="dev"):
    """LETHE_BIN, or what the preset builds; None when there is none."""
    path = os.environ.get("LETHE_BIN") if preset == "dev" else os.environ.get("LETHE_RELEASE_BIN")
    path = path or os.path.join(ROOT, "build", preset, "lethe")
    return path if os.access(path, os.X_OK) else None


_sanitized = {}


def is_sanitized(path):
    if path not in _sanitized:
        with open(path, "rb") as f:
            _sanitized[path] = b"__asan_init" in f.read()
    return _sanitized[path]


def clean_env(extra=None):
    """The environment without LETHE_* (each one that is no option is an error), with sanitizers that fail loudly."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}
    env["ASAN_OPTIONS"] = "detect_leaks=1:exitcode=99:abort_on_error=0:detect_stack_use_after_return=0"
    env["LSAN_OPTIONS"] = "exitcode=99"
    env["UBSAN_OPTIONS"] = "halt_on_error=1:print_stacktrace=1:exitcode=98"
    env.update(extra or {})
    return env


def run_cli(*args, env=None, binary=None, seconds=20, cwd=None):
    """A command that ends by itself: subprocess.CompletedProcess with text output."""
    done = subprocess.run([binary or find_binary(), *map(str, args)], env=clean_env(env), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds, check=False, cwd=cwd)
    done.stdout, done.stderr = done.stdout.decode(), done.stderr.decode()
    assert not REPORTS.search(done.stderr), done.stderr
    return done


def parse_line(line):
    """A line of either log format as a dict, or None."""
    if line.startswith("{"):
        try:
            return json.loads(line)
        except ValueError:
            return None
    if not line.startswith("time="):
        return None
    fields = {}
    for m in re.finditer(r'([A-Za-z_][\w.]*)=("(?:[^"\\]|\\.)*"|\S*)(?: |$)', line):
        value = m.group(2)
        fields[m.group(1)] = json.loads(value) if value.startswith('"') else value
    return fields


class Metrics:
    """A scrape of /metrics, checked line by line against the text format."""

    SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{((?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\.)*",?)*)\})? (-?[0-9.e+]+|\+Inf|NaN)\Z')

    def __init__(self, text):
        self.text = text
        self.types, self.samples = {}, {}
        assert text.endswith("\n")
        for line in text.splitlines():
            if line.startswith("# HELP "):
                assert len(line.split(" ", 3)) == 4, line
            elif line.startswith("# TYPE "):
                _, _, name, kind = line.split(" ")
                assert name not in self.types, f"two TYPE lines: {line}"
                assert kind in ("counter", "gauge", "histogram"), line
                self.types[name] = kind
            else:
                m = self.SAMPLE.match(line)
                assert m, f"not a sample: {line!r}"
                base = re.sub(r"_(bucket|sum|count)\Z", "", m.group(1))
                assert m.group(1) in self.types or base in self.types, f"no TYPE before {line!r}"
                labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m.group(2) or ""))
                assert (m.group(1), labels) not in self.samples, f"doubled sample: {line}"
                self.samples[m.group(1), labels] = float(m.group(3))

    def get(self, name, **labels):
        return self.samples[name, frozenset(labels.items())]

    def sum(self, name):
        return sum(v for (n, _), v in self.samples.items() if n == name)


def _flag(name, value):
    if isinstance(value, bool):
        value = "true" if value else "false"
    elif isinstance(value, (list, tuple)):
        value = ",".join(map(str, value))
    return f"--{name}={value}"


class Lethe:
    """A running lethe.

    Lethe("127.0.0.1:3000", {"timeouts.head": "300ms"}, store="redis://…"): options as in the configuration file, names with a dot in
    the dict; `config` a file's path; `flags` more flags as they are; `env` more environment.
    .address, .admin: where it listens. .events(name), .access(): what it logged, as dicts. .stop() ends and checks it."""

    def __init__(self, upstream=None, options=None, *, config=None, flags=(), env=None, binary=None, listen="127.0.0.1:0",
                 admin="127.0.0.1:0", workers=1, start=True, **more):
        self.binary = binary or find_binary()
        assert self.binary, "no lethe: build it (cmake --preset dev && cmake --build --preset dev) or set LETHE_BIN"
        # No quiet period: nearly every test ends its lethe when nobody asks it any more.
        values = {"listen": listen, "admin": admin, "workers": workers, "upstream": upstream, "timeouts.drain_quiet": "0s",
                  **(options or {}), **more}
        self.argv = [self.binary, "run", *(["-c", str(config)] if config else []),
                     *[_flag(k, v) for k, v in values.items() if v is not None], *flags]
        self.env = clean_env(env)
        self.listeners = len(listen.split(",")) if isinstance(listen, str) else len(listen or [1])
        self.wants_admin = bool(admin)
        self.process, self.address, self.admin, self.addresses = None, None, None, []
        self.expect_reports = False
        if start:
            self.start()

    # --- life ---

    def start(self, seconds=20):
        self.process = Process(self.argv, self.env)
        try:
            self.process.wait_until(lambda: len(self.events("listening")) >= self.listeners, seconds, "listening")
            if self.wants_admin:
                self.process.wait_until(lambda: self.events("admin_listening"), seconds, "admin_listening")
        except AssertionError:
            self.process.kill()
            raise AssertionError(shlex.join(self.argv) + "\n" + self.process.tail()) from None
        self.addresses = [e["address"] for e in self.events("listening")]
        self.address = self.addresses[0]
        if self.wants_admin:
            self.admin = self.events("admin_listening")[0]["address"]
        return self

    @property
    def pid(self):
        return self.process.pid

    def signal(self, number):
        self.process.signal(number)

    def kill9(self):
        self.process.kill()

    def stop(self, seconds=20, code=0):
        """SIGTERM, end, exit code, no report of a sanitizer. A process that has ended before is only checked."""
        p = self.process
        if p is None:
            return
        if p.alive():
            p.signal(signal.SIGTERM)
        try:
            ended = p.wait(seconds)
        except AssertionError:
            p.kill()
            raise
        killed = ended == -signal.SIGKILL
        self.check_reports()
        assert killed or ended == code, f"exit code {ended}, not {code}\n{p.tail()}"

    def check_reports(self):
        bad = [i for i, line in enumerate(self.process.err) if REPORTS.search(line)]
        assert self.expect_reports or not bad, "\n".join(self.process.err[bad[0]:bad[0] + 80])

    # --- what it says ---

    def events(self, name=None):
        found = [parse_line(line) for line in list(self.process.err)]
        return [e for e in found if e and (name is None or e.get("event") == name)]

    def wait_event(self, name, seconds=10, count=1):
        self.process.wait_until(lambda: len(self.events(name)) >= count, seconds, f"{count} event={name}")
        return self.events(name)

    def access(self):
        found = [parse_line(line) for line in list(self.process.out)]
        return [e for e in found if e and e.get("event") == "access"]

    def wait_access(self, predicate=lambda e: True, count=1, seconds=10):
        """The access-log entries that the predicate picks, once there are `count` of them."""
        def found():
            hits = [e for e in self.access() if predicate(e)]
            return hits if len(hits) >= count else None
        return self.process.wait_until(found, seconds, f"{count} lines of the access log")

    # --- asking ---

    def client(self, **how):
        return Client(self.address, **how)

    def get(self, path="/", headers=""):
        """One GET on a connection of its own; back when lethe has ended it, so that it is counted and logged."""
        with self.client() as c:
            r = c.get(path, headers + "Connection: close\r\n")
            c.end()
            return r

    def get_admin(self, path):
        with Client(self.admin) as c:
            return c.get(path, "Connection: close\r\n")

    def metrics(self):
        r = self.get_admin("/metrics")
        assert r.status == 200, r
        return Metrics(r.body.decode())

    def wait_metric(self, expected, name, seconds=10, **labels):
        """Waits until the metric has this value (a number or a predicate)."""
        wanted = expected if callable(expected) else lambda v: v == expected
        wait_for(lambda: wanted(self.metrics().get(name, **labels)), seconds, f"{name}{labels} = {expected}")

    # --- measuring ---

    def memory(self):
        """Resident bytes: {"rss", "anon"}."""
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as f:
            rows = dict(line.split(":", 1) for line in f.read().splitlines()[1:])
        return {"rss": int(rows["Rss"].split()[0]) * 1024, "anon": int(rows["Anonymous"].split()[0]) * 1024}

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is None:
            self.stop()
        else:
            self.process.kill()
