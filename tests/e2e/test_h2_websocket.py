# SPDX-License-Identifier: Apache-2.0
"""WebSocket by HTTP/2's extended CONNECT (RFC 8441), before an application that knows HTTP/1.1's Upgrade (RFC 6455)."""
import base64
import hashlib
import os
import threading

import pytest

from h2_frames import END_STREAM, ENABLE_CONNECT_PROTOCOL
from h2_fixtures import fixture_c, fixture_proxy
from rig import App, answer, wait_for

__all__ = ["fixture_c", "fixture_proxy"]

GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


def accept_of(head):
    return base64.b64encode(hashlib.sha1((head.get("sec-websocket-key") + GUID).encode()).digest()).decode()


def switch(conn, head, more=""):
    conn.send(("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
               f"Sec-WebSocket-Accept: {accept_of(head)}\r\n{more}\r\n").encode())


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        app.closed = []

        @app.on("/echo")
        def _(conn, head):
            switch(conn, head, "Sec-WebSocket-Protocol: chat\r\n")
            while conn.reader.buf or conn.reader.fill():
                data, conn.reader.buf = conn.reader.buf, b""
                conn.send(data)
            app.closed.append((head.target, conn.reader.over))
            return False
        yield app


def connect(c, path="/echo", *more, protocol="websocket"):
    return c.headers([(":method", "CONNECT"), (":protocol", protocol), (":scheme", "http"), (":path", path), (":authority", "test.example"),
                      ("sec-websocket-version", "13"), ("origin", "http://test.example"), *more], end=False)


def opened(c, *how):
    stream = connect(c, *how)
    s = c.streams[stream]
    c.until(lambda: s.headers or s.over, what=lambda: f"RFC 8441 section 5: 200: {s}")
    assert s.status == 200 and not s.over, s
    return stream, s


def test_it_is_announced(c):
    assert c.peer.get(ENABLE_CONNECT_PROTOCOL) == 1, f"RFC 8441 section 3: SETTINGS_ENABLE_CONNECT_PROTOCOL=1 is missing: {c.peer}"


def test_the_application_sees_an_upgrade(c, app):
    """RFC 6455 section 4.1: with a key that the proxy makes; the client never sees its answer (RFC 8441 section 5)."""
    _, s = opened(c, "/echo?x", ("sec-websocket-protocol", "chat, other"))
    m = app.seen("/echo")[-1]
    assert m.start == "GET /echo?x HTTP/1.1" and m.get("host") == "test.example" and m.get("upgrade").lower() == "websocket"
    assert m.has_option("upgrade") and m.get("sec-websocket-version") == "13" and m.get("origin") == "http://test.example"
    assert len(base64.b64decode(m.get("sec-websocket-key"), validate=True)) == 16 and m.get("sec-websocket-protocol") == "chat, other"
    assert not m.all("content-length") and not m.all("transfer-encoding") and ":protocol" not in m.names()
    assert s.get("sec-websocket-protocol") == "chat" and s.get("content-length") is None


def test_each_connection_has_a_key_of_its_own(c, app):
    for _ in range(5):
        opened(c)
    keys = [m.get("sec-websocket-key") for m in app.seen("/echo")[-5:]]
    assert len(set(keys)) == 5, keys


def test_bytes_go_both_ways(c):
    stream, s = opened(c)
    for data in (b"\x81\x05hello", b"\0\r\n\r\n\xff", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100000):
        before = len(s.body)
        c.body(stream, data, end=False)
        c.until(lambda n=before + len(data): len(s.body) >= n, what="the echo")
        assert bytes(s.body[before:]) == data
    c.alive()


def test_megabytes_both_ways(c):
    stream, s = opened(c)
    data = os.urandom(1 << 16) * 80  # 5 MB
    c.body(stream, data, end=False)
    c.until(lambda: len(s.body) == len(data), 60, "all of the echo")
    assert hashlib.sha256(s.body).digest() == hashlib.sha256(data).digest()


def test_many_at_once(c):
    streams = [opened(c) for _ in range(30)]
    for i, (stream, _) in enumerate(streams):
        c.body(stream, f"message {i};".encode() * 50, end=False)
    for i, (_, s) in enumerate(streams):
        c.until(lambda n=i, x=s: len(x.body) == len(f"message {n};") * 50, what=f"echo {i}")
        assert bytes(s.body) == f"message {i};".encode() * 50
    c.alive()


def test_the_client_ends_it(c, app):
    """RFC 8441 section 5: "orderly TCP-level closures are represented as END_STREAM flags"."""
    stream, s = opened(c, "/echo?fin")
    c.body(stream, b"last words", end=False)
    c.until(lambda: s.body == b"last words", what="the echo")
    c.data(stream, b"", END_STREAM)
    wait_for(lambda: ("/echo?fin", "eof") in app.closed, what="the application sees the end")
    c.until(lambda: s.over, what="the end of the stream")
    assert s.reset in (None, "NO_ERROR", "CANCEL")
    c.alive()


def test_the_application_ends_it(c, app):
    @app.on("/bye")
    def _(conn, head):
        switch(conn, head)
        conn.send(b"bye")
        return False
    _, s = opened(c, "/bye")
    c.until(lambda: s.over, what="the end of the stream")
    assert s.body == b"bye" and s.reset in (None, "NO_ERROR", "CANCEL"), s
    c.alive()


def test_the_client_resets_it(c, app):
    stream, _ = opened(c, "/echo?reset")
    c.cancel(stream)
    wait_for(lambda: "/echo?reset" in [t for t, _ in app.closed], what="RFC 8441 section 5: the application sees its connection end")
    c.alive()


def test_bytes_right_behind_the_head(c):
    """They wait for the 101, as those of HTTP/1.1 do (test_http_upgrade.py)."""
    stream = connect(c)
    c.body(stream, b"early", end=False)
    c.until(lambda: c.streams[stream].body == b"early", what="the echo")


@pytest.mark.parametrize("status", ["403 Forbidden", "404 Not Found", "200 OK"])
def test_an_application_that_refuses(status, c, app):
    """Its answer goes to the client; a 200 without an upgrade must not look as one."""
    @app.on("/refuse")
    def _(conn, _):
        conn.send(answer(b"no", status, "Connection: close\r\n"))
        return False
    stream = connect(c, "/refuse")
    s = c.streams[stream]
    c.until(lambda: s.over, what="the refusal")
    if status.startswith("200"):
        assert s.reset or s.status == 502, f"no upgrade looks as one: {s}"
    else:
        assert s.status == int(status[:3]) and s.body == b"no", s
    c.cancel(stream).alive()


@pytest.mark.parametrize("how", ["wrong", "missing"])
def test_an_application_that_did_not_understand(how, c, app):
    """RFC 6455 section 4.1: without the right Sec-WebSocket-Accept it is no WebSocket; the client cannot check that, so the proxy must."""
    @app.on("/parrot")
    def _(conn, head):
        accept = f"Sec-WebSocket-Accept: {head.get('sec-websocket-key')}\r\n" if how == "wrong" else ""
        conn.send(f"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{accept}\r\n".encode())
        conn.reader.fill()
        return False
    s = c.streams[connect(c, "/parrot")]
    c.until(lambda: s.headers or s.over, what="the answer")
    assert s.reset or s.status == 502, s
    c.alive()


def test_another_protocol(c, app):
    """What the proxy does not know as a way to tunnel is refused, not tried on the application as something else."""
    stream = connect(c, "/unknown", protocol="no-such-protocol")
    s = c.streams[stream]
    c.until(lambda: s.over or s.headers, what="the refusal")
    assert s.reset or s.status in (400, 501), s
    assert not app.seen("/unknown")
    c.cancel(stream).alive()


@pytest.mark.parametrize("without", [":scheme", ":path", ":authority"])
def test_extended_connect_is_whole(without, c):
    """RFC 8441 section 4."""
    fields = [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "http"), (":path", "/echo"), (":authority", "test.example"),
              ("sec-websocket-version", "13")]
    stream = c.headers([f for f in fields if f[0] != without], end=False)
    c.stream_error(stream, "RFC 8441 4", "PROTOCOL_ERROR")


def test_others_are_served_beside_it(c, app):
    go = threading.Event()

    @app.on("/still")
    def _(conn, head):
        switch(conn, head)
        go.wait(30)
        return False
    stream, _ = opened(c, "/still")
    try:
        for _ in range(20):
            c.alive()
        assert not c.streams[stream].over
    finally:
        go.set()
