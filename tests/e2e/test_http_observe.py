# SPDX-License-Identifier: Apache-2.0
"""What lethe tells of itself: metrics, the access log, the admin listener."""
import json
import os
import re
import subprocess
import threading
import time

import pytest

from rig import App, Client, Lethe, answer, find_binary, wait_for
from rig.lethe import clean_env
from rig.servers import free_port


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        yield app


# --- metrics ---

def test_metrics_are_valid_and_whole(app):
    """The rig's Metrics checks each line against the text format; here are the names that must be there."""
    with Lethe(app.address) as lethe:
        r = lethe.get_admin("/metrics")
        assert r.status == 200 and r.get("content-type").startswith("text/plain; version=0.0.4")
        m = lethe.metrics()
        kinds = {"lethe_requests_total": "counter", "lethe_rejects_total": "counter", "lethe_request_seconds": "histogram",
                 "lethe_client_connections": "gauge", "lethe_upstream_connections": "gauge", "lethe_buffer_bytes": "gauge",
                 "lethe_upstream_retries_total": "counter", "lethe_sessions_total": "counter", "lethe_store_seconds": "histogram",
                 "lethe_store_breaker_open": "gauge", "lethe_sticky_stripped_total": "counter"}
        assert {n: m.types.get(n) for n in kinds} == kinds
        assert all(v == 0 for (n, _), v in m.samples.items() if n == "lethe_rejects_total")


def test_requests_are_counted(app):
    @app.on("/slow")
    def slow(conn, head):
        conn.body(head)
        time.sleep(0.01)  # lethe counts whole milliseconds: requests that take less add nothing to the sum
        conn.send(answer("slow"))

    with Lethe(app.address, workers=2) as lethe:
        for i in range(20):
            assert lethe.get("/slow" if i == 0 else "/").status == 200
        m = lethe.metrics()
        assert m.get("lethe_requests_total", outcome="ok") == 20
        assert m.get("lethe_request_seconds_count") == 20
        assert m.get("lethe_request_seconds_sum") > 0
        buckets = [(float("inf") if dict(labels)["le"] == "+Inf" else float(dict(labels)["le"]), v)
                   for (n, labels), v in m.samples.items() if n == "lethe_request_seconds_bucket"]
        values = [v for _, v in sorted(buckets)]
        assert values == sorted(values) and values[-1] == 20


def test_scrapes_do_not_count(app):
    with Lethe(app.address) as lethe:
        for _ in range(3):
            m = lethe.metrics()
        assert m.sum("lethe_requests_total") == 0 and m.get("lethe_client_connections") == 0


def test_connections_are_counted(app):
    go_on = threading.Event()

    @app.on("/hold")
    def _(conn, head):
        conn.body(head)
        assert go_on.wait(10)
        conn.send(answer())
    with Lethe(app.address) as lethe, Client(lethe.address) as a, Client(lethe.address) as b:
        assert b.get("/").status == 200
        lethe.wait_metric(2, "lethe_client_connections")
        a.send(b"GET /hold HTTP/1.1\r\nHost: a\r\n\r\n")
        lethe.wait_metric(1, "lethe_upstream_connections", state="active")
        go_on.set()
        assert a.response().status == 200
        lethe.wait_metric(0, "lethe_upstream_connections", state="active")
        assert lethe.metrics().get("lethe_upstream_connections", state="idle") >= 1
        a.close()
        b.close()
        lethe.wait_metric(0, "lethe_client_connections")


def test_outcomes_are_counted(app):
    app.on("/die")(lambda conn, head: False)
    with Lethe(app.address, {"health.paths": "/healthz=livez"}) as lethe:
        assert lethe.get("/").status == 200
        assert lethe.get("/healthz").status == 200
        assert lethe.get("/die").status == 502
        with Client(lethe.address) as c:
            assert c.ask(b"GET / HTTP/1.1\r\n\r\n").status == 400
        lethe.wait_metric(1, "lethe_requests_total", outcome="rejected")
        m = lethe.metrics()
        assert m.get("lethe_requests_total", outcome="ok") == 1
        assert m.get("lethe_requests_total", outcome="local") == 1
        assert m.get("lethe_requests_total", outcome="upstream_failed") == 1
        assert m.get("lethe_requests_total", outcome="rejected") == 1
        assert m.get("lethe_rejects_total", reason="host") == 1


def test_error_of_the_application_is_not_lethes(app):
    app.on("/500", answer(b"oops", "500 Internal Server Error"))
    with Lethe(app.address) as lethe:
        r = lethe.get("/500")
        assert r.status == 500 and r.body == b"oops" and not r.all("x-lethe-error")
        lethe.wait_metric(1, "lethe_requests_total", outcome="ok")


# --- the admin listener ---

@pytest.mark.parametrize("path,status", [("/livez", 200), ("/startupz", 200), ("/metrics", 200), ("/metrics?x=1", (200, 404)), ("/", 200),
                                         ("/other", 404)])
def test_admin_paths(app, path, status):
    with Lethe(app.address) as lethe:
        wait_for(lambda: lethe.get_admin("/startupz").status == 200, what="all listeners accept")
        assert lethe.get_admin(path).status in (status if isinstance(status, tuple) else (status,))


def test_admin_head_and_post(app):
    with Lethe(app.address) as lethe, Client(lethe.admin) as c:
        r = c.send(b"HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
        assert r.status == 200
        assert c.ask(b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status == 405


def test_admin_is_as_strict(app):
    with Lethe(app.address) as lethe, Client(lethe.admin) as c:
        assert c.ask(b"GET /metrics HTTP/1.1\nHost: a\n\n").status == 400


def test_main_listener_tells_nothing(app):
    """/metrics there is the application's."""
    with Lethe(app.address) as lethe:
        for path in ("/metrics", "/livez", "/readyz", "/startupz"):
            before = len(app.seen(path))
            assert lethe.get(path).body == b"ok\n"
            assert len(app.seen(path)) == before + 1


def test_no_admin(app):
    with Lethe(app.address, admin=None) as lethe:
        assert lethe.get("/").status == 200


# --- the access log ---

FIELDS = ["time", "level", "event", "id", "client", "method", "path", "status", "bytes", "ms", "upstream_ms", "outcome"]


@pytest.mark.parametrize("form", ["text", "json"])
def test_access_line(app, form):
    app.on("/logged", answer(b"12345", "201 Created"))
    with Lethe(app.address, {"log.format": form}) as lethe:
        lethe.get("/logged?secret=1", "Cookie: a=hidden\r\nAuthorization: Basic hidden\r\n")
        e = lethe.wait_access(lambda e: e["path"] == "/logged")[0]
        line = lethe.process.out[-1]
    assert list(e) == FIELDS
    assert line.startswith("{") == (form == "json")
    assert (e["level"], e["event"], e["client"], e["method"], e["outcome"]) == ("info", "access", "127.0.0.1", "GET", "ok")
    assert (int(e["status"]), int(e["bytes"])) == (201, 5)
    assert int(e["ms"]) >= int(e["upstream_ms"]) >= 0
    assert e["id"] == app.seen("/logged")[-1].get("x-request-id")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", e["time"])
    assert "hidden" not in line and "secret" not in line
    if form == "json":
        assert all(isinstance(e[k], int) for k in ("status", "bytes", "ms", "upstream_ms"))
    else:
        assert not re.search(r'status="', line)


@pytest.mark.parametrize("form", ["text", "json"])
@pytest.mark.parametrize("target", ["/a=b", '/a"b', "/a\\b", "/%0aevent=access", "/a{b}"])
def test_access_line_cannot_be_forged(app, form, target):
    with Lethe(app.address, {"log.format": form}) as lethe:
        with Client(lethe.address) as c:
            r = c.get(target)
        if r.status != 200:
            return
        e = lethe.wait_access(lambda e: True)[0]
        assert e["path"] == target and list(e) == FIELDS


def test_access_line_of_a_reject(app):
    with Lethe(app.address, {"log.format": "json"}) as lethe:
        with Client(lethe.address) as c:
            c.ask(b"GET / HTTP/1.1\r\nX A: b\r\n\r\n")
        e = lethe.wait_access(lambda e: e["outcome"] == "rejected")[0]
        assert e["status"] == 400 and e["reason"] == "field-name"


def test_access_line_of_bytes_that_are_no_utf_8(app):
    """JSON stays JSON whatever a client sends."""
    with Lethe(app.address, {"log.format": "json"}) as lethe:
        with Client(lethe.address) as c:
            c.ask(b"G\xff\xfeT /\xff\x00 HTTP/1.1\r\n\r\n")
        lethe.wait_access(lambda e: e["outcome"] == "rejected")
        assert all(json.loads(line) for line in lethe.process.out)


def test_access_bytes(app):
    app.on("/chunks3", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")
    with Lethe(app.address) as lethe:
        with Client(lethe.address) as c:
            c.get("/chunks3")
            c.send(b"HEAD /bytes HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
            c.get("/n404")
        assert int(lethe.wait_access(lambda e: e["path"] == "/chunks3")[0]["bytes"]) == 7
        assert int(lethe.wait_access(lambda e: e["path"] == "/bytes")[0]["bytes"]) == 0


def test_access_log_off(app):
    with Lethe(app.address, {"log.access": False}) as lethe:
        assert lethe.get("/").status == 200
        lethe.stop()
        assert not lethe.process.out


def test_level(app):
    with Lethe(app.address, {"log.level": "debug", "log.format": "json"}) as lethe:
        assert lethe.get("/").status == 200
        lethe.stop()
        assert all(json.loads(line) for line in lethe.process.err), "events are JSON as well"


def test_a_line_for_each_of_many(app):
    n = 300
    with Lethe(app.address, workers=2) as lethe:
        with Client(lethe.address) as c:
            c.send(b"".join(b"GET /line%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(n)))
            for _ in range(n):
                assert c.response().status == 200
        wait_for(lambda: len(lethe.access()) == n)
        assert {e["path"] for e in lethe.access()} == {f"/line{i}" for i in range(n)}


def test_last_lines_are_not_lost_at_the_end(app):
    with Lethe(app.address) as lethe:
        for _ in range(5):
            assert lethe.get("/end").status == 200
        lethe.stop()
        assert len(lethe.access()) == 5


def test_access_log_that_nobody_reads(app):
    """A pipe whose reader stands still: lines are lost in the end, requests are not."""
    port = free_port()
    out, ours = os.pipe()
    try:
        with subprocess.Popen([find_binary(), "run", f"--listen=127.0.0.1:{port}", f"--upstream={app.address}", "--workers=1"],
                              env=clean_env(), stdout=ours, stderr=subprocess.PIPE) as lethe:
            os.close(ours)
            assert b"listening" in wait_for(lambda: next(line for line in lethe.stderr if b"event=listening" in line))
            with Client(f"127.0.0.1:{port}", timeout=10) as c:
                for _ in range(1000):  # some 250 bytes each: four times what a pipe holds
                    assert c.get("/").status == 200
            lethe.terminate()
            assert lethe.wait(10) == 0, lethe.stderr.read().decode()
            first = os.read(out, 65536).decode()
        assert all("event=access" in line for line in first.splitlines()[:-1]) and len(first) > 30000
    finally:
        os.close(out)
