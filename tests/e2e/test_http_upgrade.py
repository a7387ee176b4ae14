# SPDX-License-Identifier: Apache-2.0
"""Upgrade (RFC 9110 section 7.8): WebSocket and whatever else the two ends agree on, as a tunnel behind the 101."""
import hashlib
import os
import threading

import pytest

from rig import App, Client, Ended, Lethe, answer, wait_for

ASK = (b"GET %s HTTP/1.1\r\nHost: test.example\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
       b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
SWITCH = (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
          b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        @app.on("/echo")
        def _(conn, head):
            assert conn.reader.buf == b"" or head.target.endswith("early")
            conn.send(SWITCH)
            while conn.reader.buf or conn.reader.fill():
                data, conn.reader.buf = conn.reader.buf, b""
                conn.send(data)
            return False
        yield app


@pytest.fixture(name="lethe", scope="module")
def fixture_lethe(app):
    with Lethe(app.address) as lethe:
        yield lethe


def test_tunnel(lethe, app):
    with Client(lethe.address) as c:
        r = c.ask(ASK % b"/echo")
        assert r.status == 101 and r.get("upgrade") == "websocket" and r.has_option("upgrade")
        assert r.get("sec-websocket-accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert not r.all("content-length") and not r.all("transfer-encoding")
        for data in (b"\x81\x05hello", b"\0\r\n\r\n\xff", b"GET / HTTP/1.1\r\n\r\n", b"x" * 100000):
            c.send(data)
            assert c.reader.exactly(len(data)) == data
    seen = app.seen("/echo")[-1]
    assert seen.get("upgrade") == "websocket" and [o.lower() for o in seen.all("connection")] == ["upgrade"]
    assert seen.get("sec-websocket-key") == "dGhlIHNhbXBsZSBub25jZQ==" and not seen.all("content-length")


def test_megabytes_both_ways_at_once(lethe):
    data = os.urandom(1 << 16) * 320  # 20 MB
    with Client(lethe.address) as c:
        assert c.ask(ASK % b"/echo").status == 101
        sender = threading.Thread(target=c.send, args=(data,), daemon=True)
        sender.start()
        digest = hashlib.sha256()
        c.reader.exactly(len(data), digest.update)
        sender.join(10)
        assert digest.digest() == hashlib.sha256(data).digest()


def test_bytes_right_behind_both_heads(lethe, app):
    """What the client sends behind its request, and the application behind its 101, belongs to the tunnel."""
    @app.on("/eager")
    def _(conn, head):
        conn.send(SWITCH + b"from the application")
        assert conn.reader.exactly(15) == b"from the client"
        conn.send(b"; got it")
        return False
    with Client(lethe.address) as c:
        c.send(ASK % b"/eager" + b"from the client")
        assert c.response().status == 101
        assert c.end() == ("eof", b"from the application; got it")


def test_early_bytes_are_no_request(lethe, app):
    """They wait for the 101, and are never taken for the next request."""
    with Client(lethe.address) as c:
        c.send(ASK % b"/echo?early" + b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.response().status == 101
        assert c.reader.until(b"\r\n\r\n") == b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
    assert not app.seen("/smuggled")


def test_early_bytes_when_the_application_declines(lethe, app):
    """Then they are what comes behind the request: the next one."""
    app.on("/nope", answer(b"no"))
    with Client(lethe.address) as c:
        c.send(ASK % b"/nope" + b"GET /after HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [c.response().body for _ in range(2)] == [b"no", b"ok\n"]
    assert len(app.seen("/after")) == 1


def test_client_ends_its_side_before_the_101(lethe, app):
    @app.on("/soon")
    def _(conn, head):
        conn.send(SWITCH)
        assert conn.reader.rest() == b"all I have"
        conn.send(b"and the answer to it")
        return False
    with Client(lethe.address) as c:
        c.send(ASK % b"/soon" + b"all I have").half_close()
        assert c.response().status == 101
        assert c.end() == ("eof", b"and the answer to it")


def test_half_close_of_the_client(lethe, app):
    @app.on("/half")
    def _(conn, head):
        conn.send(SWITCH)
        assert conn.reader.rest() == b"all I have"
        conn.send(b"and the answer to it")
        return False
    with Client(lethe.address) as c:
        assert c.ask(ASK % b"/half").status == 101
        c.send(b"all I have").half_close()
        assert c.end() == ("eof", b"and the answer to it")


def test_half_close_of_the_application(lethe, app):
    """Each direction ends on its own."""
    got = []

    @app.on("/half2")
    def _(conn, head):
        conn.send(SWITCH + b"all I have")
        conn.half_close()
        got.append(conn.reader.rest())
        return False
    with Client(lethe.address) as c:
        assert c.ask(ASK % b"/half2").status == 101
        assert c.reader.rest() == b"all I have"
        c.send(b"and the answer to it").half_close()
        wait_for(lambda: got)
    assert got == [b"and the answer to it"]


def test_a_large_last_word_of_the_application(lethe, app):
    data = os.urandom(1 << 16) * 100

    @app.on("/last")
    def _(conn, head):
        conn.send(SWITCH + data)
        return False
    with Client(lethe.address, rcvbuf=65536) as c:
        assert c.ask(ASK % b"/last").status == 101
        assert c.end() == ("eof", data)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_application_leaves(lethe, app, end):
    @app.on("/leave")
    def _(conn, head):
        conn.send(SWITCH)
        getattr(conn, end)()
        return False
    with Client(lethe.address) as c:
        c.send(ASK % b"/leave")
        if end == "reset":
            try:
                status = c.response().status
            except Ended:
                return
            assert status in (101, 502)
        else:
            assert c.response().status == 101
        c.end()
    lethe.wait_metric(0, "lethe_client_connections")


@pytest.mark.parametrize("first", ["client", "application"])
def test_tunnels_connection_is_not_used_again(app, first):
    """Not even for a moment: a POST right behind it would fail."""
    @app.on("/once")
    def _(conn, head):
        conn.send(SWITCH)
        if first == "client":
            conn.reader.rest()
        return False
    with Lethe(app.address) as lethe, Client(lethe.address) as other:
        for _ in range(300):
            with Client(lethe.address) as c:
                assert c.ask(ASK % b"/once").status == 101
                if first == "client":
                    c.half_close()
                c.end()
                r = other.ask(b"POST /behind HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
                assert r.status == 200 and not r.has_option("close")


@pytest.mark.parametrize("end", ["close", "reset"])
def test_client_leaves(lethe, app, end):
    ended = threading.Event()

    @app.on("/left")
    def _(conn, head):
        conn.send(SWITCH)
        try:
            conn.reader.rest()
        except Ended:
            pass
        ended.set()
        return False
    with Client(lethe.address) as c:
        assert c.ask(ASK % b"/left").status == 101
        getattr(c, end)()
    assert ended.wait(10)
    lethe.wait_metric(0, "lethe_client_connections")


@pytest.mark.parametrize("status", ["200 OK", "426 Upgrade Required", "403 Forbidden"])
def test_application_declines(lethe, app, status):
    app.on("/decline", answer(b"no", status))
    with Client(lethe.address) as c:
        r = c.ask(ASK % b"/decline")
        assert r.status == int(status[:3]) and r.body == b"no" and not r.all("upgrade")
        assert c.get("/").status == 200


@pytest.mark.parametrize("data", [
    b"GET /noup HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
    b"GET /noup HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n",
    b"GET /noup HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\n\r\n",
    b"POST /noup HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
], ids=["1.0", "no Connection", "no Upgrade", "with a body"])
def test_what_is_no_upgrade(lethe, app, data):
    """RFC 9110 section 7.8: passed over, and so not passed on; a 101 to it is malformed."""
    app.on("/noup", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    with Client(lethe.address) as c:
        assert c.ask(data).status == 502
    seen = app.seen("/noup")[-1]
    assert not seen.all("upgrade") and not seen.has_option("upgrade")


@pytest.mark.parametrize("protocol", ["h2c", "H2C", "websocket, h2c"])
def test_h2c_is_never_asked_for(lethe, app, protocol):
    """Behind it requests would pass that nobody has looked at (h2c smuggling): it is a plain request without an upgrade."""
    app.on("/h2c", answer(b"plain"))
    with Client(lethe.address) as c:
        r = c.get("/h2c", f"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: {protocol}\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n")
        assert r.body == b"plain"
        assert c.get("/").status == 200
    seen = app.seen("/h2c")[-1]
    assert not {"upgrade", "http2-settings", "connection"} & set(seen.names())


def test_101_without_upgrade_field(lethe, app):
    app.on("/bare101", b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    with Client(lethe.address) as c:
        assert c.ask(ASK % b"/bare101").status == 502


def test_tunnel_is_logged_and_counted(app):
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        assert c.ask(ASK % b"/echo?logged").status == 101
        c.send(b"12345")
        assert c.reader.exactly(5) == b"12345"
        assert lethe.metrics().get("lethe_client_connections") == 1
        c.half_close()
        assert c.end() == ("eof", b"")
        lethe.wait_metric(1, "lethe_requests_total", outcome="ok")
        lethe.wait_access(lambda e: e["path"] == "/echo" and str(e["status"]) == "101" and e["outcome"] == "ok")
