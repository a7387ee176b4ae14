# SPDX-License-Identifier: Apache-2.0
"""How streams and connections of HTTP/2 end where somebody does not do his part: a stream that nobody wants any more is ended, not kept;
what the application has done wrong is not laid to the client; what the client has done wrong is named before the connection ends."""
import signal
import threading

import pytest

from h2_frames import END_HEADERS, END_STREAM, HEADERS, PREFACE, encode, frame, settings
from h2_rig import H2, TARGET
from rig import App, Client, Lethe, answer, wait_for
from test_h2_websocket import connect, switch

pytestmark = pytest.mark.skipif(TARGET != "lethe", reason="limits, signals and metrics of lethe's own")

GOING_AWAY = b"\x88\x02\x03\xe9"


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        app.ends, app.go = [], threading.Event()

        @app.on("/ws")
        def _(conn, head):
            switch(conn, head)
            app.ends.append(conn)
            app.go.wait(30)
            return False

        @app.on("/dies")
        def _(_conn, _head):
            return False
        app.on("/early")(lambda conn, head: conn.send(answer(b"no", status="413 Too Large")) and None)
        yield app
        app.go.set()


def opened(c, app):
    stream, before = connect(c, "/ws"), len(app.ends)
    s = c.streams[stream]
    c.until(lambda: s.headers or s.over, what="RFC 8441 section 5: 200")
    assert s.status == 200 and not s.over, s
    wait_for(lambda: len(app.ends) > before)
    return stream, s


def unmasked(data):
    assert data[:2] == b"\x88\x82", data
    return bytes(b ^ data[2 + i % 4] for i, b in enumerate(data[6:8]))


# --- a drain ---

def test_a_websocket_is_told_in_both_directions(app):
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, H2(lethe.address) as c:
        stream, s = opened(c, app)
        lethe.signal(signal.SIGTERM)
        c.until(lambda: len(s.body) >= 4 or s.over, what="RFC 6455 section 5.5.1: a close frame")
        assert bytes(s.body) == GOING_AWAY
        assert unmasked(app.ends[0].reader.exactly(8)) == b"\x03\xe9"
        app.ends[0].send(GOING_AWAY)
        app.go.set()
        c.data(stream, b"\x88\x82\1\2\3\4\x02\xeb", END_STREAM)
        c.until(lambda: False, what="the connection's end", or_end=True)
        assert s.over and c.goaways[-1][1] == "NO_ERROR"
        c.close()
        assert lethe.process.wait(20) == 0
        assert not lethe.events("forced_end")


def test_a_websocket_whose_ends_do_not_answer_ends_too(app):
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, H2(lethe.address) as c:
        _, s = opened(c, app)
        lethe.signal(signal.SIGTERM)
        c.until(lambda: False, what="the connection's end", or_end=True)
        assert bytes(s.body) == GOING_AWAY and s.over
        c.close()
        assert lethe.process.wait(20) == 0
        assert not lethe.events("forced_end")


def test_what_is_cut_is_told_stream_by_stream(app):
    """Behind the drain's limit: RST_STREAM for what ran, and GOAWAY."""
    @app.on("/wait")
    def _(conn, _head):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
        app.go.wait(30)
        return False
    with Lethe(app.address, {"timeouts.drain": "1s"}) as lethe, H2(lethe.address) as c:
        streams = [c.streams[c.request("/wait")] for _ in range(3)]
        c.until(lambda: all(s.body == b"hello" for s in streams), what="half an answer")
        lethe.signal(signal.SIGTERM)
        c.until(lambda: False, what="the connection's end", or_end=True)
        assert [s.reset for s in streams] == ["INTERNAL_ERROR"] * 3 and c.goaways[-1][1] == "NO_ERROR"
        lethe.process.wait(20)
        assert [e["status"] for e in lethe.access() if e["path"] == "/wait"] == ["200"] * 3


# --- streams that nobody wants any more ---

def is_ended(c, stream):
    s = c.streams[stream]
    c.until(lambda: s.reset or c.over, 10, "RST_STREAM: the rest of the request is not wanted")
    assert s.reset == "NO_ERROR", s


def test_too_large_a_head_of_a_request_without_end(app):
    with Lethe(app.address) as lethe, H2(lethe.address) as c:
        stream = c.request("/", [("x", "v" * 40000)], end=False)
        s = c.streams[stream]
        c.until(lambda: s.headers or s.over, what="431")
        assert s.status == 431
        is_ended(c, stream)


def test_an_answer_without_a_body_before_the_request_has_ended(app):
    """Its END_STREAM goes out with the head, before the exchange itself is over."""
    app.on("/none")(lambda conn, head: conn.send(b"HTTP/1.1 204 No Content\r\n\r\n") and None)
    with Lethe(app.address) as lethe, H2(lethe.address) as c:
        stream = c.request("/none", method="POST", end=False)
        s = c.streams[stream]
        c.until(lambda: s.headers or s.over, what="204")
        assert s.status == 204
        is_ended(c, stream)


def test_a_tunnel_whose_client_does_not_end_it(app):
    """The application ends its side, the client does not: timeouts.tunnel ends the stream."""
    with Lethe(app.address, {"timeouts.tunnel": "1s"}) as lethe, H2(lethe.address) as c:
        stream, s = opened(c, app)
        app.go.set()
        c.until(lambda: s.over, what="END_STREAM")
        is_ended(c, stream)


# --- whose fault it is ---

def test_an_application_that_dies_is_not_the_clients_fault(app):
    with Lethe(app.address) as lethe, H2(lethe.address) as c:
        @app.on("/half")
        def _(conn, _head):
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
            return False
        for _ in range(30):
            for s in [c.streams[c.request("/half")] for _ in range(50)]:
                c.until(lambda s=s: s.over or c.over, what="the stream's end")
                assert s.reset == "INTERNAL_ERROR" and not c.over
        c.alive("behind 1500 answers that the application broke off")


def test_malformed_requests_without_end_are_named(app):
    """Each ends its stream; too many of them the connection, with a reason."""
    block = encode([(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "x"), ("connection", "close")])
    with Lethe(app.address) as lethe, H2(lethe.address) as c:
        c.ready()
        c.lax = True
        stream = 1
        while not c.over and stream < 6000:
            for _ in range(50):
                c.watch(stream)
                c.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, block))
                stream += 2
            c.until(lambda last=stream - 2: c.streams[last].over, 30, "RST_STREAM", or_end=True)
        assert c.goaways and c.goaways[-1][1] == "ENHANCE_YOUR_CALM", c.goaways
        assert lethe.metrics().get("lethe_rejects_total", reason="flood") == 1
        assert not app.seen("/")


# --- the preface ---

def test_a_preface_whose_rest_does_not_come(app):
    with Lethe(app.address, {"timeouts.head": "1s"}) as lethe, Client(lethe.address) as c:
        c.send(PREFACE[:10])
        assert c.response().status == 408


@pytest.mark.parametrize("pieces", [1, 2], ids=["in one piece", "in two"])
def test_behind_a_proxy_header(pieces, app):
    header = b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 80\r\n"
    block = encode([(":method", "GET"), (":scheme", "http"), (":path", "/named"), (":authority", "test.example")])
    with Lethe(app.address, proxy_protocol=True) as lethe, H2(lethe.address, hello=False) as c:
        if pieces == 2:
            c.send(header)
            header = b""
        c.pending.append({})
        c.watch(1)
        c.send(header + PREFACE + settings({}) + frame(HEADERS, END_HEADERS | END_STREAM, 1, block))
        assert c.response(1).status == 200
        assert app.seen("/named")[0].get("x-forwarded-for") == "203.0.113.7"
