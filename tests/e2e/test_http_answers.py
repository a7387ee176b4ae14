# SPDX-License-Identifier: Apache-2.0
"""What the client sees of an answer: its fields, and answers without a body (RFC 9110 sections 7.6.1, 8.6, 9.3.2, 15)."""
import pytest

from rig import App, Client, Lethe, answer


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        yield app


@pytest.fixture(name="plain", scope="module")
def fixture_plain(app):
    """The peer is nobody special."""
    with Lethe(app.address) as lethe:
        yield lethe


# --- answers ---

def test_answer_keeps_order_and_bytes(plain, app):
    lines = ["Server: x/1  (y)", "x-a:1", "Set-Cookie: a=1; Path=/", "Set-Cookie: b=2", "X-b:\ttab\t",
             "Date: Mon, 01 Jan 2024 00:00:00 GMT",
             "X-Empty:", "ETag: \"caf\xe9\"", "Content-Type: text/plain", "Location: /other?x=1#frag", "x-a:2"]
    app.on("/kept", answer(headers="".join(line + "\r\n" for line in lines), status="200 Very  Fine \xe9"))
    with Client(plain.address) as c:
        r = c.get("/kept")
    assert r.start == "HTTP/1.1 200 Very  Fine \xe9"
    assert [line.decode("latin-1") for line in r.lines if line.split(b":")[0].lower() not in (b"via", b"content-length")] == lines
    assert r.get("via") == "1.1 lethe"


def test_answer_via_is_added_to(plain, app):
    app.on("/via", answer(headers="Via: 1.0 inner\r\n"))
    with Client(plain.address) as c:
        assert c.get("/via").get("via") == "1.0 inner, 1.1 lethe"


@pytest.mark.parametrize("status", ["200 ", "200", "299 Odd", "404 Not Found", "500 Broken", "599 x", "302 Found", "999 Far"])
def test_status_lines(plain, app, status):
    app.on("/status", answer(status=status))
    with Client(plain.address) as c:
        r = c.get("/status")
        assert r.status == int(status[:3]) and r.body == b"ok\n"
        assert r.reason in ((status[4:],) if len(status) > 4 else ("", "OK"))  # an empty one may be filled in


@pytest.mark.parametrize("lines", ["Connection: X-Hop\r\nX-Hop: 1\r\n",
                                   "Keep-Alive: timeout=5\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\n",
                                   "Proxy-Connection: close\r\n"])
def test_answer_hop_by_hop_fields_end_here(plain, app, lines):
    app.on("/hop", answer(headers=lines + "X-Stays: 1\r\n"))
    with Client(plain.address) as c:
        r = c.get("/hop")
        assert not {"x-hop", "keep-alive", "proxy-connection", "connection"} & set(r.names())
        assert r.get("x-stays") == "1"
        assert c.get("/").status == 200


def test_answer_end_to_end_fields_cannot_be_removed(plain, app):
    app.on("/protect", answer(headers="Connection: Set-Cookie, Location, Content-Length, Cache-Control, Content-Type\r\nSet-Cookie: a=1\r\n"
                                      "Location: /x\r\nCache-Control: no-store\r\nContent-Type: text/x\r\n"))
    with Client(plain.address) as c:
        r = c.get("/protect")
    assert [r.get(n) for n in ("set-cookie", "location", "cache-control", "content-type")] == ["a=1", "/x", "no-store", "text/x"]
    assert r.body == b"ok\n"


def test_head_says_the_length_without_a_body(plain, app):
    app.on("/head", b"HTTP/1.1 200 OK\r\nContent-Length: 12345\r\n\r\n")
    with Client(plain.address) as c:
        r = c.send(b"HEAD /head HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
        assert r.get("content-length") == "12345"
        assert c.get("/").body == b"ok\n"  # the connection is in step


def test_head_of_a_chunked_resource(plain, app):
    app.on("/headc", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with Client(plain.address) as c:
        r = c.send(b"HEAD /headc HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
        assert r.status == 200 and not r.all("content-length")
        assert c.get("/").body == b"ok\n"


def test_head_without_a_length(plain, app):
    app.on("/headn", b"HTTP/1.1 200 OK\r\n\r\n")
    with Client(plain.address) as c:
        r = c.send(b"HEAD /headn HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
        assert r.status == 200 and not r.all("content-length")
        assert c.get("/").body == b"ok\n"


def test_304_keeps_its_length_without_a_body(plain, app):
    app.on("/304", b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 777\r\n\r\n")
    with Client(plain.address) as c:
        r = c.get("/304")
        assert r.status == 304 and r.all("content-length") in (["777"], [])
        assert c.get("/").body == b"ok\n"


def test_204_has_neither_length_nor_body(plain, app):
    app.on("/204", b"HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n")
    with Client(plain.address) as c:
        r = c.get("/204")
        assert r.status == 204 and not r.all("content-length") and not r.all("transfer-encoding")
        assert c.get("/").body == b"ok\n"


def test_204_with_a_length_is_mended(plain, app):
    """RFC 9110 section 8.6: no Content-Length in a 204. What servers in the field send does no harm when it is left out."""
    app.on("/204l", b"HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n")
    with Client(plain.address) as c:
        r = c.get("/204l")
        assert r.status == 204 and not r.all("content-length")
        assert c.get("/").body == b"ok\n"


@pytest.mark.parametrize("status", ["200 OK", "404 Not Found", "302 Found"])
def test_length_of_zero(plain, app, status):
    app.on("/zero", answer(b"", status))
    with Client(plain.address) as c:
        r = c.get("/zero")
        assert r.get("content-length") == "0"
        assert c.get("/").body == b"ok\n"


def test_error_answers_have_a_reason_and_are_not_cached(app):
    with Lethe("127.0.0.1:1", {"timeouts.upstream_connect": "100ms"}) as lethe:
        r = lethe.get("/")
    assert r.status == 502 and r.get("x-lethe-error") == "upstream_connect"
    assert r.get("cache-control") == "no-store" and "upstream_connect" in r.body.decode()


def test_own_answer_to_head_has_no_body(app):
    with Lethe("127.0.0.1:1", {"timeouts.upstream_connect": "100ms"}) as lethe, Client(lethe.address) as c:
        r = c.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n").response("HEAD")
        assert r.status == 502 and int(r.get("content-length")) > 0
        r = c.send(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").response("HEAD")
        assert r.status == 502
        assert c.end() == ("eof", b"")
