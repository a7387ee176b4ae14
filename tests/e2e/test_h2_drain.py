# SPDX-License-Identifier: Apache-2.0
"""The end of HTTP/2 connections: GOAWAY when the proxy is asked to end (RFC 9113 section 6.8). What runs is served, what comes too late is
known to the client as not done, so that no request is lost or done twice."""
import signal
import threading

import pytest

from h2_frames import END_HEADERS, END_STREAM, HEADERS, encode, frame
from h2_rig import H2, TARGET, start
from h2_targets import drain
from rig import App, answer, wait_for

MAX = 0x7fffffff


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        app.go = threading.Event()

        @app.on("/wait")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            app.go.wait(30)
            conn.send(b"world")
        app.on("/echo")(lambda conn, head: conn.send(answer(conn.body(head).body)) and None)
        yield app
        app.go.set()


@pytest.fixture(name="proxy")
def fixture_proxy(app):
    with start(app) as proxy:
        yield proxy


def told(c):
    """The last GOAWAY, the one that names a stream."""
    c.until(lambda: (c.goaways and c.goaways[-1][0] < MAX) or c.over, what="section 6.8: GOAWAY that names a stream", or_end=True)
    assert c.goaways and c.goaways[-1][0] < MAX, f"section 6.8: the connection ended without GOAWAY that names a stream: {c.goaways}"
    assert {code for _, code, _ in c.goaways} == {"NO_ERROR"}, c.goaways
    return c.goaways[-1][0]


def ends(c):
    c.until(lambda: False, 30, "section 6.8: the connection ends when nothing runs on it", or_end=True)
    assert c.over


def test_what_runs_is_served(proxy, app):
    """An answer that runs, and an upload that runs."""
    with H2(proxy.address) as c:
        waiting, upload = c.request("/wait"), c.request("/echo", method="POST", end=False)
        c.data(upload, b"first ")
        c.until(lambda: c.streams[waiting].body == b"hello", what="half an answer")
        drain(proxy)
        c.until(lambda: c.goaways, what="section 6.8: GOAWAY")
        c.ping()
        assert told(c) >= upload, f"section 6.8: streams that run are left out: {c.goaways}"
        c.body(upload, b"and last")
        assert c.response(upload).body == b"first and last"
        app.go.set()
        s = c.response(waiting)
        assert s.ended and s.body == b"helloworld", s
        ends(c)
    assert proxy.process.wait(30) == 0


def test_what_comes_too_late_is_not_done(proxy, app):
    with H2(proxy.address) as c:
        waiting = c.request("/wait")
        c.until(lambda: c.streams[waiting].body == b"hello", what="half an answer")
        drain(proxy)
        c.ping()
        last = told(c)
        late = [c.request("/late") for _ in range(5)]
        assert min(late) > last
        c.ping()
        app.go.set()
        assert c.response(waiting).body == b"helloworld"
        ends(c)
        assert not app.seen("/late"), "section 6.8: a stream beyond GOAWAY's number was done"
        for s in late:
            assert c.streams[s].headers is None and c.streams[s].reset in (None, "REFUSED_STREAM"), c.streams[s]
    assert proxy.process.wait(30) == 0


def test_idle_connections_end_at_once(proxy, app):
    """Nobody waits for the drain's limit when nothing runs."""
    clients = [H2(proxy.address) for _ in range(5)]
    for c in clients:
        c.ready().alive()
    drain(proxy)
    for c in clients:
        told(c)
        ends(c)
        c.close()
    assert proxy.process.wait(20) == 0 and app


def test_a_request_that_crosses_goaway(proxy, app):
    """Bytes that were sent before the client saw GOAWAY: done, or not done and named as such."""
    block = encode([(":method", "GET"), (":scheme", "http"), (":path", "/crossing"), (":authority", "test.example")])
    with H2(proxy.address) as c:
        c.ready().alive()
        drain(proxy)
        c.lax = True
        for stream in range(3, 203, 2):
            c.watch(stream)
            c.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
        ends(c)
        last = c.goaways[-1][0]
        for stream in range(3, 203, 2):
            s = c.streams[stream]
            if stream <= last:
                assert (s.status == 200 and s.ended) or s.reset == "REFUSED_STREAM", f"section 6.8: stream {stream} of {last}: {s}"
            else:
                assert s.headers is None, s
        done = sum(c.streams[s].ended for s in range(3, 203, 2))
        assert len(app.seen("/crossing")) == done, f"{len(app.seen('/crossing'))} done in the application, {done} told to the client"


def worker(proxy, n, log):
    """Requests one behind the other, several at once; after GOAWAY no more. Notes what became of each."""
    with H2(proxy.address) as c:
        number = 0
        while not c.goaways and not c.over:
            batch = []
            for _ in range(5):
                batch.append((c.request(f"/count?{n}.{number}"), number))
                number += 1
            c.until(lambda b=batch: all(c.streams[s].over for s, _ in b) or (c.goaways and c.goaways[-1][0] < MAX), or_end=True)
            if c.goaways:
                c.until(lambda: False, 30, "the end", or_end=True)
            for s, i in batch:
                x = c.streams[s]
                last = c.goaways[-1][0] if c.goaways else MAX
                served, not_done = x.ended and x.status == 200, s > last or x.reset == "REFUSED_STREAM"
                log[f"{n}.{i}"] = "served" if served else "not done" if not_done else repr(x)


@pytest.mark.parametrize("run", [1, 2, 3])
def test_no_request_is_lost(run, proxy, app):
    """Many clients at work while it is asked to end: every request was served, or the client knows that it was not done."""
    log = {}
    threads = [threading.Thread(target=worker, args=(proxy, n, log), daemon=True) for n in range(4)]
    for t in threads:
        t.start()
    wait_for(lambda: len(log) > 50 * run, what="requests are served")
    drain(proxy)
    for t in threads:
        t.join(40)
        assert not t.is_alive()
    assert proxy.process.wait(30) == 0
    lost = {k: v for k, v in log.items() if v not in ("served", "not done")}
    assert not lost, f"lost: {lost}"
    seen = [m.target.split("?")[1] for m in app.seen("/count")]
    assert sorted(seen) == sorted(k for k, v in log.items() if v == "served"), "done twice, or done and not told"


def test_a_drain_has_an_end(app):
    """timeouts.drain: what does not end by itself is broken off, visibly."""
    if TARGET != "lethe":
        pytest.skip("timeouts.drain is lethe's own")
    with start(app, drain="1s") as proxy, H2(proxy.address) as c:
        stream = c.request("/wait")
        c.until(lambda: c.streams[stream].body == b"hello", what="half an answer")
        drain(proxy)
        ends(c)
        assert not c.streams[stream].ended
        app.go.set()
        proxy.process.wait(20)


def test_a_reload_leaves_connections_alone(app):
    if TARGET != "lethe":
        pytest.skip("SIGHUP is lethe's reload")
    with start(app) as proxy, H2(proxy.address) as c:
        stream = c.request("/wait")
        c.until(lambda: c.streams[stream].body == b"hello", what="half an answer")
        proxy.signal(signal.SIGHUP)
        proxy.wait_event("reloaded")
        c.alive()
        app.go.set()
        assert c.response(stream).body == b"helloworld"
        assert not c.goaways
