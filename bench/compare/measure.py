# SPDX-License-Identifier: Apache-2.0
"""One measurement: a case, through one program, for some seconds. Whatever went wrong on the way raises Failed."""
import contextlib
import dataclasses
import http.client
import json
import os
import socket
import subprocess

from common.quiet import Distance
from common.reading import Reading, counted, counter, rss_mb
from common.stage import Failed, find, wait_for
from compare.cases import COOKIES

HERE = os.path.dirname(os.path.abspath(__file__))


@dataclasses.dataclass
class Result:
    requests: int
    rate: float         # requests a second
    cpu: float          # the program's CPU time: microseconds a request, or seconds a GB (Case.unit)
    p50: float          # milliseconds
    p99: float
    rss: float          # MB
    lookups: float      # commands that Redis did, a request; those inside a script count too
    store_cpu: float    # microseconds a request, of Redis or what else keeps the sessions
    foreign: float      # share of the machine's CPU time that nothing of this measurement used
    distance: float     # between the CPUs, ns (common/quiet.py)


def send(port, request, method="GET"):
    """One request as it stands: (status, fields, body)."""
    with contextlib.closing(socket.create_connection(("127.0.0.1", port), 10)) as s:
        s.sendall(request)
        answer = http.client.HTTPResponse(s, method=method)
        answer.begin()
        return answer.status, answer.headers, answer.read()


def ask(program, path, cookie=""):
    fields = f"Cookie: {cookie}\r\n" if cookie else ""
    return send(program.port, f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{program.port}\r\n{fields}\r\n".encode())


def request_of(program, case):
    return case.request(program.port, program.cookie)


def check_one(program, case):
    status, _, body = send(program.port, request_of(program, case))
    right = f"{case.body}\n".encode() if case.body else b"x" * case.answer
    if status != 200 or body != right:
        raise Failed(f"{program.name}: {case.title}: status {status}, {len(body)} bytes")
    if not case.browser:
        return
    _, _, seen = send(program.port, request_of(program, dataclasses.replace(case, path="/cookie")))
    others = set(COOKIES.split("; ")) - {"{}"}
    cookies = seen.decode().split("; ")
    sixth = [c for c in cookies if c.startswith("connect.sid=s%3A" if case.session else "visitor=")]
    if len(cookies) != 6 or len(sixth) != 1 or not others < set(cookies):
        raise Failed(f"{program.name}: {case.title}: the application does not see the six cookies, but {seen.decode()!r}")


def log_in(program):
    """Gets a session as a client would; whoever stands between, the application must see its own cookie again."""
    if program.log_in:
        program.cookie = program.log_in()
    else:
        status, fields, _ = ask(program, "/login")
        program.cookie = (fields["Set-Cookie"] or "").partition(";")[0]
        hidden = program.name.startswith("lethe")
        if status != 200 or program.cookie.startswith("connect.sid=") == hidden or "=" not in program.cookie:
            raise Failed(f"{program.name}: a login ended with status {status} and the cookie {program.cookie.partition('=')[0]!r}")
    _, _, seen = ask(program, "/cookie", cookie=program.cookie)
    if not seen.startswith(b"connect.sid=s%3A") or b";" in seen:
        raise Failed(f"{program.name}: the application does not see its session cookie, and nothing else")
    if ask(program, "/private")[0] != 403:
        raise Failed(f"{program.name}: a client without a cookie is let in: the check proves nothing")


def run_child(command, env=None):
    return subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)


def run_wrk(stage, program, case, seconds, before=()):
    """wrk's own summary; `before` stands before its command line (perf stat ...)."""
    env = dict(os.environ, BENCH_REQUEST=stage.write_bytes("request", request_of(program, case)))
    done = run_child([*before, find("wrk"), f"-t{case.threads}", f"-c{case.connections}", f"-d{seconds}s", "-s",
                      os.path.join(HERE, "wrk.lua"), f"http://127.0.0.1:{program.port}{case.path}"], env)
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise Failed(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    wrk = json.loads(lines[0])
    errors = {k: wrk[k] for k in ("connect", "read", "write", "status", "timeout") if wrk[k]}
    if errors or wrk["requests"] == 0 or wrk["bytes"] < wrk["requests"] * case.answer:
        raise Failed(f"{program.name}: {case.title}: {wrk['requests']} answers of {wrk['bytes']} bytes, errors: {errors or 'none'}")
    return wrk


def pace(stage, how, program, case, *more):
    """The command line of our own client (pace.c)."""
    request = stage.write_bytes("request", request_of(program, case))
    return [stage.binaries["pace"], how, str(program.port), request, str(case.answer), *map(str, more)]


def run_pace(stage, program, case, seconds, before=()):
    done = run_child([*before, *pace(stage, "rate", program, case, case.connections, case.rate, seconds)])
    if done.returncode != 0:
        raise Failed(f"{program.name}: {case.title}: {done.stderr.strip()}")
    return json.loads(done.stdout)


def generate(case):
    return run_pace if case.rate else run_wrk


def count_lines(path):
    with open(path, "rb") as f:
        return sum(chunk.count(b"\n") for chunk in iter(lambda: f.read(1 << 20), b""))


def check_log(program, requests):
    """Each request has its line (in the end: a log may be written a moment later). Empties the log."""
    try:
        wait_for(f"{program.name}: {requests} lines of access log", lambda: count_lines(program.log) >= requests)
    except Failed as e:
        raise Failed(f"{e}, but {count_lines(program.log)}") from e
    os.truncate(program.log, 0)


def asked(stage, path):
    """A number that the origin counts."""
    return int(ask(stage.origin, path)[2])


def check_measured(stage, program, case, accepted, lookups, requests):
    if program.name not in ("relay", "direct") and accepted > 4 * case.connections:
        raise Failed(f"{program.name}: {case.title}: connections to the origin are not kept")
    if case.session and program.store and program.store is stage.redis and lookups < 1:
        raise Failed(f"{program.name}: {case.title}: {lookups:.2f} look-ups a request: sessions are not looked up")
    if program.log:
        check_log(program, requests)


def measure(stage, program, case, seconds):
    if case.session:
        log_in(program)  # the generator keeps the cookie it has: an older one would be made anew with every answer
    if program.log:
        os.truncate(program.log, 0)
    accepted, traffic = asked(stage, "/connections"), asked(stage, "/traffic")
    apart = Distance(stage, 0 if case.rate else seconds)  # looking costs others' latency
    reading = Reading(program.pids(), stage.helpers(program), program.store)
    said = generate(case)(stage, program, case, seconds)
    distance, used, requests = apart.end(), reading.end(), said["requests"]
    lookups = used.commands / requests
    check_measured(stage, program, case, asked(stage, "/connections") - accepted, lookups, requests)
    moved = asked(stage, "/traffic") - traffic
    if moved < requests * case.size():
        raise Failed(f"{program.name}: {case.title}: {requests} requests moved {moved} bytes of bodies at the origin")
    cpu = used.cpu / (moved / 1e9) if case.unit == "GB" else used.cpu / requests * 1e6
    return Result(requests=requests, rate=requests / (said["us"] / 1e6), cpu=cpu, p50=said["p50"] / 1e3, p99=said["p99"] / 1e3,
                  rss=rss_mb(program.pids()), lookups=lookups, store_cpu=used.store_cpu / requests * 1e6, foreign=used.foreign,
                  distance=distance)


def system_calls(stage, program, case, seconds):
    """System calls of the program, a request (or 64 KB of bodies). Tracing costs time, so nothing else is measured in this run."""
    if case.session:
        log_in(program)
    traffic = asked(stage, "/traffic")
    requests = generate(case)(stage, program, case, seconds, counter(stage, program.pids()))["requests"]
    if program.log:
        os.truncate(program.log, 0)
    return counted(stage) / ((asked(stage, "/traffic") - traffic) / 65536 if case.unit == "GB" else requests)
