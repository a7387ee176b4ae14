# SPDX-License-Identifier: Apache-2.0
"""The admin listener's page, its report and its stream of events; traces in the access log. The page in a browser: test_admin_page_browser."""
import base64
import hashlib
import json
import re
import select
import signal
import threading

import pytest
from admin_rig import IDS, Events, report, requirement
from cluster_rig import keys

from rig import App, Client, answer, run_cli, wait_for
from rig.base import dial, free_port

MEMBERS = ["version", "lethe", "status", "requirements", "findings", "notes", "traffic", "latency", "sessions", "store", "stripped",
           "lost", "probes", "errors"]


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        yield app


# --- the page ---

def inline(page, tag):
    (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.S)
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_page_needs_nothing_and_allows_nothing_else(lethe, app):
    r = lethe(app.address).get_admin("/?x=1")
    page = r.body.decode()
    assert r.status == 200 and r.get("Content-Type") == "text/html; charset=utf-8"
    assert r.get("X-Content-Type-Options") == "nosniff" and r.get("Cache-Control") == "no-store" and r.get("Referrer-Policy") == "no-referrer"
    policy = dict(p.strip().split(" ", 1) for p in r.get("Content-Security-Policy").split(";"))
    assert policy == {"default-src": "'none'", "script-src": inline(page, "script"), "style-src": inline(page, "style"),
                      "connect-src": "'self'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'", "frame-ancestors": "'none'"}
    elsewhere = [u for u in re.findall(r"(?:https?:)?//[a-z0-9.]+\.[a-z]+[^\s\"']*", page) if not u.startswith("http://www.w3.org/")]
    assert not elsewhere and " style=" not in page and not re.search(r"\son\w+=", page)


def test_methods(lethe, app):
    l = lethe(app.address)
    for path, kind in (("/", "text/html"), ("/report", "application/json"), ("/events", "text/event-stream"), ("/doctor", "text/plain")):
        with Client(l.admin) as c:
            r = c.ask(f"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode(), method="HEAD")
            assert r.status == 200 and r.body == b"" and r.get("Content-Type").startswith(kind), path
            assert c.ask(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n".encode()).status == 405, path
    assert l.get_admin("/other").status == 404
    assert l.get("/report").body == b"ok\n"  # the main listener gives none of it


# --- the report ---

def test_report(lethe, app):
    l = lethe(app.address, {"store": "sealed", "keys": keys()})
    r = report(l)
    assert list(r) == MEMBERS and r["version"] == 1 and r["lethe"]["workers"] == 1
    assert [q["id"] for q in r["requirements"]] == IDS
    assert all(q["verdict"] in ("kept", "broken", "unknown") and q["title"] and q["evidence"] for q in r["requirements"])
    assert all(q["remedy"] for q in r["requirements"] if q["verdict"] != "kept")
    for name in ("files", "jobs"):
        q = requirement(l, name)
        assert q["verdict"] == "unknown" and q["evidence"].startswith("not watched") and q["remedy"]
    assert r["traffic"]["requests"] == 0 and r["errors"] == [] and r["findings"] == []
    assert r["status"]["state"] == "well"
    for _ in range(3):
        l.get("/")
    r = report(l)
    assert r["traffic"]["ok"] == r["traffic"]["requests"] == sum(r["latency"]["request"]["counts"]) == 3
    assert len(r["latency"]["request"]["counts"]) == len(r["latency"]["request"]["bounds_us"]) + 1


def verdict_of(l, name):
    return requirement(l, name)["verdict"]


def test_verdicts_follow_what_is_seen(lethe, app):
    l = lethe(app.address, {"store": "sealed", "keys": keys()})
    assert [verdict_of(l, n) for n in ("sticky", "health", "order", "store")] == ["unknown", "unknown", "unknown", "kept"]
    l.get("/")
    assert [verdict_of(l, n) for n in ("sticky", "order", "memory", "scaling")] == ["kept", "kept", "unknown", "unknown"]
    l.get_admin("/livez")
    assert verdict_of(l, "health") == "kept"
    l.get("/", "Cookie: AWSALB=x\r\n")
    assert [verdict_of(l, n) for n in ("sticky", "scaling")] == ["broken", "broken"]
    r = report(l)
    (finding,) = r["findings"]
    assert (finding["module"], finding["requirement"], finding["count"], finding["example"]) == ("sticky", "sticky", 1, "aws-alb")
    assert "stickiness.enabled=false" in finding["remedy"] == requirement(l, "sticky")["remedy"]
    assert r["stripped"] == [{"product": "aws-alb", "side": "request", "count": 1}]
    assert r["status"]["state"] == "attention" and "sticky" in r["status"]["says"]
    assert r["probes"] == {"answered": 1, "failed": 0}


def test_sticky_that_is_off_is_not_watched(lethe, app):
    l = lethe(app.address, {"sticky.enabled": False})
    l.get("/", "Cookie: AWSALB=x\r\n")
    q = requirement(l, "sticky")
    assert q["verdict"] == "unknown" and "not watched" in q["evidence"]


def test_doctor_says_the_same(lethe, app):
    l = lethe(app.address)  # without keys, and with a sticky balancer
    l.get("/", "Cookie: AWSALB=x\r\n")
    text = run_cli("doctor", f"--admin={l.admin}").stdout
    r = report(l)
    assert [q["verdict"] for q in r["requirements"]].count("broken") == 3
    for q in r["requirements"]:
        assert re.search(rf"   {q['verdict']} +{re.escape(q['title'])}\n +{re.escape(q['evidence'])}\n", text), q
        assert not q["remedy"] or f"-> {q['remedy']}\n" in text
    for f in r["findings"]:
        assert f" ! {f['text']}" in text and f"   -> {f['remedy']}\n" in text


def test_recent_errors(lethe):
    port = free_port()
    l = lethe(f"127.0.0.1:{port}", {"timeouts.upstream_connect": "50ms"})
    for _ in range(3):
        assert l.get("/cart?token=hidden", "X-Request-Id: of-a-stranger\r\n").status == 502
    r = report(l)
    (row,) = [e for e in r["errors"] if e["event"] == "request_failed"]
    assert row["reason"] == "upstream_connect" and row["count"] == 3 and row["level"] == "error"
    assert row["id"] == l.wait_access(count=3)[-1]["id"]
    assert "does not accept" in row["says"] and "start the application" in row["do"]
    assert r["status"]["state"] == "failing" and "does not accept" in r["status"]["says"]
    assert any(e["event"] == "keys_made" and e["level"] == "warn" for e in r["errors"])


# --- events ---

def test_first_event_is_all_and_later_ones_what_changed(lethe, app):
    l = lethe(app.address)
    with Events(l) as e:
        assert e.answer.headers["Content-Type"] == "text/event-stream" and e.answer.headers["X-Content-Type-Options"] == "nosniff"
        first = e.next()
        assert list(first) == MEMBERS and e.lines[0].startswith(b"retry: ")
        assert first["traffic"]["ok"] == 0
        l.get("/")
        event = e.until(lambda event: event.get("traffic", {}).get("ok") == 1)
        assert "findings" not in event and event["version"] == 1
        quiet = e.next(), e.next()
        assert "traffic" not in quiet[1] and quiet[1]["lethe"]["uptime_s"] > first["lethe"]["uptime_s"]


def test_http_1_0_gets_it_until_the_connection_ends(lethe, app):
    l = lethe(app.address)
    with Client(l.admin) as c:
        c.send(b"GET /events HTTP/1.0\r\n\r\n")
        got = b""
        while got.count(b"data: ") < 2:
            got += c.sock.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        assert b"chunked" not in head.lower() and body.startswith(b"retry: ")


def test_half_closed_client_is_let_go(lethe, app):
    l = lethe(app.address)
    with Client(l.admin) as c:
        c.send(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n").half_close()
        how, rest = c.end()
        assert how == "eof" and rest.endswith(b"0\r\n\r\n")


def test_a_few_at_once(lethe, app):
    l = lethe(app.address)
    streams = [Events(l) for _ in range(8)]
    assert all(s.status == 200 for s in streams)
    refused = Events(l)
    assert refused.status == 503 and refused.answer.headers["X-Lethe-Error"] == "too_many_streams"
    refused.close()
    assert l.get_admin("/report").status == 200
    for s in streams:
        s.close()

    def again():
        with Events(l) as e:
            return e.status == 200
    wait_for(again, 10, "a place after the others have left")


def make_it_long(l, stop):
    """Findings on many routes, of which each request changes one: every event is tens of kilobytes."""
    with Client(l.address) as c:
        token = c.get("/login").get("Set-Cookie").split(";")[0]
        i = 0
        while not stop.is_set():
            i += 1
            r = c.get(f"/{'r' * 30}{i % 30}/x", f"Cookie: {token}\r\n").get("Set-Cookie")
            token = r.split(";")[0] if r else token
            stop.wait(0.01)


@pytest.fixture(name="long_events")
def fixture_long_events(lethe, origin):
    """A lethe whose events are long, and different each time."""
    ids = iter(range(10**9))

    def handler(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: JSESSIONID={next(ids):032x}\r\n"))
    stop, threads = threading.Event(), []

    def make(options):
        l = lethe(origin(handler), {"store": "sealed", "keys": keys(), **options})
        threads.append(threading.Thread(target=make_it_long, args=(l, stop)))
        threads[0].start()
        return l
    yield make
    stop.set()
    for t in threads:
        t.join()


def deaf_reader(l):
    """Takes no byte: a small window, and nobody who reads it."""
    s = dial(l.admin, rcvbuf=2048)
    s.sendall(b"GET /events HTTP/1.1\r\nHost: a\r\n\r\n")
    return s


@pytest.mark.slow
def test_slow_reader_is_skipped_and_delays_nobody(long_events):
    """What it did not read in time was never made for it: there is a gap in its events, and none in another's."""
    l = long_events({"timeouts.idle": "60s"})
    slow = deaf_reader(l)
    with Events(l) as fast:
        seen = [fast.next()["lethe"]["uptime_s"] for _ in range(14)]
    assert all(b - a <= 2 for a, b in zip(seen, seen[1:])), seen
    got = b""

    def uptimes():
        nonlocal got
        got += slow.recv(1 << 20)
        return [int(n) for n in re.findall(rb'"uptime_s":(\d+)', got)]
    late = wait_for(lambda: (u := uptimes()) and u[-1] > seen[-1] and u, 20, "it is given events again")
    assert max(b - a for a, b in zip(late, late[1:])) > 4, late
    slow.close()


def broken_off(s):
    poll = select.poll()
    poll.register(s, 0)
    return any(what & (select.POLLHUP | select.POLLERR) for _, what in poll.poll(0))


@pytest.mark.slow
def test_reader_who_takes_nothing_is_cut_off(long_events):
    l = long_events({"timeouts.idle": "1s"})
    deaf = deaf_reader(l)
    wait_for(lambda: broken_off(deaf), 40, "cut off")
    with Events(l) as e:
        first = [e.next() for _ in range(4)]  # longer than timeouts.idle: who reads is not idle
        assert all(first)
    deaf.close()


def test_drain_is_told_and_ends_it(lethe, app):
    go = threading.Event()

    @app.on("/slow")
    def slow(conn, head):
        conn.body(head)
        go.wait(20)
        conn.send(answer("slow"))
    l = lethe(app.address)
    with Events(l) as e, l.client() as c:
        assert e.next()["lethe"]["draining"] is False
        c.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        app.wait_requests(1)
        l.signal(signal.SIGTERM)
        last = e.until(lambda event: event["lethe"]["draining"])
        assert last["status"]["state"] == "draining"
        assert e.next() is None  # the last chunk came: a whole answer
        with Events(l) as refused:
            assert refused.status == 503
        assert report(l)["status"]["state"] == "draining"
        go.set()
        assert c.response().body == b"slow"
    assert l.process.wait(10) == 0


def test_reload_ends_it_and_the_next_goes_on(lethe, app):
    """An old configuration is not held by who watches."""
    l = lethe(app.address)
    with Events(l) as e:
        assert e.next()
        l.signal(signal.SIGHUP)
        l.wait_event("reloaded")
        while e.next():
            pass
    with Events(l) as e:
        assert e.status == 200 and e.next() and e.next()


def test_end_of_the_process_with_readers(lethe, app):
    l = lethe(app.address)
    with Events(l) as e:
        assert e.next()
        l.stop()


# --- nothing secret ---

SECRETS = {"password": "hunter2-in-the-body", "query": "query-with-secret", "cookie": "0123456789abcdef0123456789abcdef", "field": "Bearer-abc.def.ghi",
           "affinity": "affinity-value-of-a-node", "store": "password-of-the-store"}


def everything(l):
    """All that the admin listener says, and one event of the stream."""
    with Events(l) as e:
        e.next()
        stream = b"".join(e.lines).decode()
    return {path: l.get_admin(path).body.decode("latin-1") for path in ("/", "/report", "/metrics", "/doctor")} | {"/events": stream}


def test_nothing_secret_is_told(lethe, app):
    """A login with known secrets, an application that fails, a store that is away; and each of the secrets was really there."""
    @app.on("/login")
    def login(conn, head):
        conn.body(head)
        conn.send(answer(headers=f"Set-Cookie: JSESSIONID={SECRETS['cookie']}; Path=/\r\nSet-Cookie: AWSALB={SECRETS['affinity']}\r\n"))

    @app.on("/broken")
    def broken(conn, head):
        conn.body(head)
        conn.send(f"HTTP/1.1 200 {SECRETS['cookie']}\r\nbad header {SECRETS['field']}\r\n\r\n".encode())
        return False
    key = keys()
    l = lethe(app.address, {"store": "sealed", "keys": key})
    with l.client() as c:
        body = f"user=alice&password={SECRETS['password']}"
        token = c.ask(f"POST /login?next={SECRETS['query']} HTTP/1.1\r\nHost: a\r\nAuthorization: {SECRETS['field']}\r\nContent-Length: "
                      f"{len(body)}\r\n\r\n{body}".encode()).get("Set-Cookie").split(";")[0].split("=", 1)[1]
        fields = f"Cookie: lethe={token}; AWSALB={SECRETS['affinity']}\r\nAuthorization: {SECRETS['field']}\r\n"
        c.get(f"/page?{SECRETS['query']}", fields)
        assert c.get(f"/broken?{SECRETS['query']}", fields).status == 502
    head = app.seen("/page")[0]
    assert SECRETS["cookie"] in head.get("Cookie") and head.get("Authorization") == SECRETS["field"] and SECRETS["query"] in head.target
    away = lethe(app.address, {"store": f"redis://user:{SECRETS['store']}@127.0.0.1:{free_port()}/0", "keys": key, "session.store_timeout": "100ms"})
    assert away.get("/page", f"Cookie: lethe={'A' * 43}\r\n").status == 503
    wait_for(lambda: {"request_failed", "redis_away"} <= {e["event"] for e in report(away)["errors"]}, 10, "errors to be told")
    secrets = [*SECRETS.values(), token, key, key.split(":", 1)[1], "alice"]
    assert len(token) > 20 and all(len(s) > 4 for s in secrets)
    for one in (l, away):
        for path, text in everything(one).items():
            assert not [s for s in secrets if s in text], path
    assert "upstream_malformed" in everything(l)["/report"]  # what failed is told


# --- traces ---

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"


@pytest.mark.parametrize("parents, logged", [
    ([PARENT], TRACE), ([f"cc-{TRACE}-00f067aa0ba902b7-01-later"], TRACE), ([], None), ([PARENT.upper()], None), ([PARENT + "-x"], None),
    ([f"00-{'0' * 32}-00f067aa0ba902b7-01"], None), ([f"ff{PARENT[2:]}"], None), ([PARENT, PARENT], None), (['"><script>'], None)])
def test_trace_is_passed_unchanged_and_logged(lethe, app, parents, logged):
    l = lethe(app.address)
    state = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
    assert l.get("/t", "".join(f"TraceParent: {p}\r\n" for p in parents) + f"tracestate: {state}\r\n").status == 200
    head = app.seen("/t")[0]
    assert head.all("traceparent") == parents and head.all("tracestate") == [state]
    (line,) = l.wait_access()
    assert line.get("trace") == logged


def test_trace_of_a_request_that_failed(lethe):
    l = lethe(f"127.0.0.1:{free_port()}", {"timeouts.upstream_connect": "50ms", "log.format": "json"})
    l.get("/", f"traceparent: {PARENT}\r\n")
    (line,) = l.wait_access()
    assert line["trace"] == TRACE and line["reason"] == "upstream_connect" and json.dumps(line)
