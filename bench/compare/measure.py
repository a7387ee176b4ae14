# SPDX-License-Identifier: Apache-2.0
"""One measurement: a case, through one program, for some seconds. Whatever went wrong on the way raises Failed."""
import contextlib
import dataclasses
import http.client
import json
import os
import subprocess

from common.reading import Reading, counted, counter, rss_mb
from common.stage import Failed, find, wait_for

HERE = os.path.dirname(os.path.abspath(__file__))
CONNECTIONS = 32


@dataclasses.dataclass(frozen=True)
class Case:
    key: str
    title: str
    path: str
    answer: int            # bytes of body
    method: str = "GET"
    body: int = 0
    session: bool = False  # the client is logged in
    logs: bool = False


CASES = (
    Case("small", "GET, 1 KB, no session", "/1k", 1024),
    Case("large", "GET, 64 KB", "/64k", 65536),
    Case("post", "POST, 4 KB", "/post", 5, method="POST", body=4096),
    Case("session", "GET, 1 KB, in a session", "/private", 1024, session=True),
    Case("log", "GET, 1 KB, access log on", "/1k", 1024, logs=True),
)


@dataclasses.dataclass
class Result:
    requests: int
    rate: float         # requests a second
    cpu: float          # microseconds of the program's CPU time a request
    p50: float          # milliseconds
    p99: float
    rss: float          # MB
    lookups: float      # commands that Redis did, a request; those inside a script count too
    store_cpu: float    # microseconds a request, of Redis or what else keeps the sessions
    foreign: float      # share of the machine's CPU time that nothing of this measurement used


def ask(program, path, method="GET", body=None, cookie=""):
    """One request through a program: (status, fields, body)."""
    connection = http.client.HTTPConnection("127.0.0.1", program.port, timeout=10)
    with contextlib.closing(connection):
        connection.request(method, path, body=body, headers={"Cookie": cookie} if cookie else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def check_one(program, case):
    status, _, body = ask(program, case.path, case.method, b"b" * case.body or None, program.cookie if case.session else "")
    right = f"{case.body}\n".encode() if case.body else b"x" * case.answer
    if status != 200 or body != right:
        raise Failed(f"{program.name}: {case.title}: status {status}, {len(body)} bytes")


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


def run_wrk(program, case, seconds, before=()):
    """wrk's own summary; `before` stands before its command line (perf stat ...)."""
    env = dict(os.environ, BENCH_METHOD=case.method, BENCH_BODY=str(case.body),
               BENCH_COOKIE=program.cookie if case.session else "")
    command = [*before, find("wrk"), "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", os.path.join(HERE, "wrk.lua"),
               f"http://127.0.0.1:{program.port}{case.path}"]
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = [line for line in done.stderr.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise Failed(f"wrk: {done.stderr.strip() or done.stdout.strip()}")
    wrk = json.loads(lines[0])
    errors = {k: wrk[k] for k in ("connect", "read", "write", "status", "timeout") if wrk[k]}
    if errors or wrk["requests"] == 0 or wrk["bytes"] < wrk["requests"] * case.answer:
        raise Failed(f"{program.name}: {case.title}: {wrk['requests']} answers of {wrk['bytes']} bytes, errors: {errors or 'none'}")
    return wrk


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


def origin_connections(stage):
    return int(ask(stage.origin, "/connections")[2])


def measure(stage, program, case, seconds):
    if case.session:
        log_in(program)  # wrk keeps the cookie it has: an older one would be made anew with every answer
    if program.log:
        os.truncate(program.log, 0)
    accepted = origin_connections(stage)
    reading = Reading(program.pids(), stage.origin.pids(), program.store)
    wrk = run_wrk(program, case, seconds)
    used, requests = reading.end(), wrk["requests"]
    if origin_connections(stage) - accepted > 4 * CONNECTIONS:
        raise Failed(f"{program.name}: {case.title}: connections to the origin are not kept")
    lookups = used.commands / requests
    if case.session and program.store is stage.redis and lookups < 1:
        raise Failed(f"{program.name}: {case.title}: {lookups:.2f} look-ups a request: sessions are not looked up")
    if program.log:
        check_log(program, requests)
    return Result(requests=requests, rate=requests / (wrk["us"] / 1e6), cpu=used.cpu / requests * 1e6, p50=wrk["p50"] / 1e3,
                  p99=wrk["p99"] / 1e3, rss=rss_mb(program.pids()), lookups=lookups, store_cpu=used.store_cpu / requests * 1e6,
                  foreign=used.foreign)


def system_calls(stage, program, case, seconds):
    """System calls of the program, a request. Tracing costs time, so nothing else is measured in this run."""
    if case.session:
        log_in(program)
    requests = run_wrk(program, case, seconds, counter(stage, program.pids()))["requests"]
    if program.log:
        os.truncate(program.log, 0)
    return counted(stage) / requests
