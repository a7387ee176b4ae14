# SPDX-License-Identifier: Apache-2.0
"""What the application sees of a request: fields, forms, versions (RFC 9110 section 7, RFC 9112)."""
import re

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


@pytest.fixture(name="trusting", scope="module")
def fixture_trusting(app):
    """The peer is a proxy that is believed."""
    with Lethe(app.address, trusted_proxies=["10.0.0.0/8", "127.0.0.0/8"]) as lethe:
        yield lethe


def sent(lethe, app, data, method="GET"):
    """Sends these bytes; (the answer, what the application saw)."""
    before = len(app.requests)
    with Client(lethe.address) as c:
        r = c.ask(data, method)
    assert len(app.requests) == before + 1, r
    return r, app.requests[-1]


def request(lines="", target="/", method="GET", version="HTTP/1.1", host="test.example", body=b""):
    return f"{method} {target} {version}\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1") + body


OWN = {"x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "forwarded", "via", "x-request-id"}


# --- requests: what is kept ---

def test_fields_keep_order_and_bytes(plain, app):
    lines = ["X-b:  two  spaces\tand a tab ", "x-A:no-space", "ACCEPT: */*", "X-b: again", "Cookie: a=1; b=\"2\"", "cookie: c=3",
             "X-Empty:", "User-Agent: caf\xe9 \xff", "!odd#name: 1", "Authorization: Basic Zm9v", "Proxy-Authorization: Basic eA==",
             "If-None-Match: W/\"x\"", "Range: bytes=0-1", "Accept-Encoding: gzip", "X-b:third"]
    _, seen = sent(plain, app, request("".join(line + "\r\n" for line in lines)))
    assert seen.start == "GET / HTTP/1.1"
    kept = [line.decode("latin-1") for line in seen.lines if line.split(b":")[0].decode("latin-1").lower() not in OWN | {"host"}]
    assert kept == lines
    assert seen.lines[0] == b"Host: test.example"


@pytest.mark.parametrize("target", ["/", "/a/b?c=d&e=%20%2F", "/%e2%82%ac", "//x//y", "/a;b=c", "/?", "/?a?b/c", "/.", "/a/../b", "/~",
                                    "/a%00", "/x=[1]", "/a|b^c`{}", "/" + "a" * 8000])
def test_target_is_kept(plain, app, target):
    _, seen = sent(plain, app, request(target=target))
    assert seen.target == target


@pytest.mark.parametrize("host", ["test.example", "test.example:8080", "TEST.Example", "[::1]:80", "127.0.0.1", "a_b", "a:",
                                  "xn--caf-dma.example", "a.example."])
def test_host_is_kept(plain, app, host):
    _, seen = sent(plain, app, request(host=host))
    assert seen.get("host") == host
    assert seen.get("x-forwarded-host") == host


@pytest.mark.parametrize("target,path", [("http://test.example/a?b", "/a?b"), ("http://test.example", "/"),
                                         ("http://test.example?q", "/?q"), ("HTTP://test.example/x", "/x"),
                                         ("http://test.example/", "/")])
def test_absolute_form_becomes_origin_form(plain, app, target, path):
    _, seen = sent(plain, app, request(target=target))
    assert (seen.target, seen.get("host")) == (path, "test.example")


def test_absolute_form_gives_the_host(plain, app):
    """A client of 1.0 may leave Host out; the application of 1.1 needs it."""
    _, seen = sent(plain, app, b"GET http://test.example:81/x HTTP/1.0\r\n\r\n")
    assert (seen.target, seen.get("host")) == ("/x", "test.example:81")


def test_absolute_form_of_options_becomes_asterisk(plain, app):
    """RFC 9112 section 3.2.4: the last proxy sends "*" for an absolute form with neither path nor query."""
    _, seen = sent(plain, app, request(method="OPTIONS", target="http://test.example"))
    assert seen.target == "*"


def test_options_asterisk(plain, app):
    _, seen = sent(plain, app, request(method="OPTIONS", target="*"))
    assert seen.start == "OPTIONS * HTTP/1.1"


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PURGE", "get", "M-SEARCH"])
def test_methods(plain, app, method):
    _, seen = sent(plain, app, request(method=method))
    assert seen.method == method


# --- requests: what ends here ---

def test_trailers_are_passed_on_so_the_application_may_be_told(plain, app):
    """RFC 9110 section 10.1.4: our own TE, named in our own Connection."""
    _, seen = sent(plain, app, request("Connection: TE\r\nTE: gzip, trailers\r\nX-Behind: 1\r\n"))
    assert (seen.get("te"), seen.get("connection"), seen.get("x-behind")) == ("trailers", "TE", "1")


HOP = ["Connection: close", "Connection: keep-alive", "Keep-Alive: timeout=5", "Proxy-Connection: keep-alive", "TE: gzip",
       "Connection: TE", "Transfer-Encoding: chunked", "Upgrade: h2c", "Connection: upgrade"]


@pytest.mark.parametrize("line", HOP)
def test_hop_by_hop_fields_end_here(plain, app, line):
    body = b"0\r\n\r\n" if line.startswith("Transfer") else b""
    _, seen = sent(plain, app, request(line + "\r\nX-Behind: 1\r\n", body=body))
    name = line.split(":")[0].lower()
    if name == "transfer-encoding":  # this hop's own framing
        assert seen.all("transfer-encoding") in (["chunked"], [])
    else:
        assert name not in seen.names()
    assert seen.get("x-behind") == "1"


@pytest.mark.parametrize("connection", ["X-Hop", "close, X-Hop", "x-HOP", " ,, X-Hop ,", "keep-alive,X-Hop,foo",
                                        "X-Hop\r\nConnection: close"])
def test_fields_that_connection_names_end_here(plain, app, connection):
    _, seen = sent(plain, app, request(f"X-Hop: secret\r\nConnection: {connection}\r\nx-hop: more\r\nX-Hopper: stays\r\n"))
    assert "x-hop" not in seen.names() and "connection" not in seen.names()
    assert seen.get("x-hopper") == "stays"


@pytest.mark.parametrize("name,value", [
    ("Host", None), ("Cookie", "a=1"), ("Authorization", "Basic Zm9v"), ("Content-Type", "text/x"), ("Content-Encoding", "gzip"),
    ("Cache-Control", "no-cache"), ("Via", "1.1 other"), ("Date", "Mon, 01 Jan 2024 00:00:00 GMT"), ("Expires", "0")])
def test_end_to_end_fields_cannot_be_removed(plain, app, name, value):
    """`Connection: Cookie` is an attack on whoever stands behind (RFC 9110 section 7.6.1 forbids to name such fields)."""
    line = f"{name}: {value}\r\n" if value else ""
    _, seen = sent(plain, app, request(f"{line}Connection: {name}\r\n"))
    assert (value or "test.example") in ", ".join(seen.all(name))


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "Forwarded", "Via", "X-Request-Id"])
def test_own_fields_cannot_be_removed(plain, trusting, app, name):
    for lethe in (plain, trusting):
        _, seen = sent(lethe, app, request(f"Connection: close, {name}\r\n"))
        assert len(seen.all(name)) == 1 and seen.get(name)


def test_content_length_cannot_be_removed(plain, app):
    _, seen = sent(plain, app, request("Connection: Content-Length\r\nContent-Length: 4\r\n", method="POST", body=b"abcd"))
    assert seen.body == b"abcd" and seen.get("content-length") == "4"


def test_content_length_is_written_once(plain, app):
    _, seen = sent(plain, app, request("Content-Length: 4, 4\r\nContent-Length: 4\r\n", method="POST", body=b"abcd"))
    assert seen.all("content-length") == ["4"] and seen.body == b"abcd"


@pytest.mark.parametrize("method,length", [("POST", ["0"]), ("PUT", ["0"]), ("PATCH", ["0"]), ("GET", []), ("HEAD", []), ("DELETE", [])])
def test_no_body(plain, app, method, length):
    """RFC 9110 section 8.6: a length for methods that anticipate content, none for the others."""
    _, seen = sent(plain, app, request(method=method), method)
    assert seen.all("content-length") == length and not seen.all("transfer-encoding")


# --- requests: what lethe says of itself and of the client ---

def test_untrusted_peer_is_told_of_anew(plain, app):
    lies = ("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: evil.example\r\n"
            "Forwarded: for=1.2.3.4;proto=https\r\nForwarded: for=unknown\r\nX-Request-Id: mine\r\nVia: 1.0 before\r\n")
    _, seen = sent(plain, app, request(lies))
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-forwarded-host") == ["test.example"]
    assert seen.all("forwarded") == ["for=127.0.0.1;host=test.example;proto=http"]
    assert seen.get("x-request-id") != "mine" and re.fullmatch(r"[0-9a-f]{32}", seen.get("x-request-id"))
    assert seen.all("via") == ["1.0 before, 1.1 lethe"]  # a trace, not a claim: added to whoever sent it


def test_trusted_peer_is_added_to(trusting, app):
    told = ("X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-For: 5.6.7.8\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: public.example\r\n"
            "Forwarded: for=1.2.3.4;proto=https\r\nX-Request-Id: theirs-1\r\nVia: 1.0 before\r\nVia: 2 next\r\n")
    _, seen = sent(trusting, app, request(told))
    assert seen.all("x-forwarded-for") == ["1.2.3.4, 5.6.7.8, 127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["https"]
    assert seen.all("x-forwarded-host") == ["public.example"]
    assert seen.all("forwarded") == ["for=1.2.3.4;proto=https, for=127.0.0.1;host=test.example;proto=https"]
    assert seen.all("x-request-id") == ["theirs-1"]
    assert seen.all("via") == ["1.0 before, 2 next, 1.1 lethe"]


def test_trusted_peer_that_says_nothing(trusting, app):
    _, seen = sent(trusting, app, request())
    assert seen.all("x-forwarded-for") == ["127.0.0.1"]
    assert seen.all("x-forwarded-proto") == ["http"]
    assert seen.all("x-forwarded-host") == ["test.example"]
    assert seen.all("forwarded") == ["for=127.0.0.1;host=test.example;proto=http"]
    assert re.fullmatch(r"[0-9a-f]{32}", seen.get("x-request-id"))


def test_forwarded_quotes_what_is_no_token(plain, app):
    """RFC 7239 section 4: a host with a port is a quoted string."""
    _, seen = sent(plain, app, request(host="test.example:8080"))
    assert seen.get("forwarded") == 'for=127.0.0.1;host="test.example:8080";proto=http'


@pytest.mark.parametrize("value", ["", "a" * 129])
def test_request_id_of_a_trusted_peer_must_be_sane(trusting, app, value):
    _, seen = sent(trusting, app, request(f"X-Request-Id: {value}\r\n"))
    assert re.fullmatch(r"[0-9a-f]{32}", seen.get("x-request-id"))


def test_request_ids_differ_and_are_logged(plain, app):
    ids = [sent(plain, app, request(target="/ids"))[1].get("x-request-id") for _ in range(20)]
    assert len(set(ids)) == 20
    logged = plain.wait_access(lambda e: e["path"] == "/ids", 20)
    assert [e["id"] for e in logged] == ids


def test_forwarded_fields_stand_once(plain, app):
    _, seen = sent(plain, app, request("X-Forwarded-Proto: a\r\nX-Forwarded-Proto: b\r\nx-forwarded-host: c\r\nX-FORWARDED-FOR: d\r\n"))
    for name in OWN:
        assert len(seen.all(name)) == 1, name


# --- versions ---

def test_client_of_1_0(plain, app):
    """The application is asked in 1.1 all the same; the client's connection ends behind the answer."""
    before = len(app.requests)
    with Client(plain.address) as c:
        c.send(b"GET /old HTTP/1.0\r\n\r\n")
        r = c.response()
        assert r.status == 200 and r.body == b"ok\n"
        assert c.end() == ("eof", b"")
    assert app.requests[before].start == "GET /old HTTP/1.1"


def test_client_of_1_0_that_keeps_alive(plain):
    with Client(plain.address) as c:
        for _ in range(3):
            r = c.ask(b"GET /old HTTP/1.0\r\nHost: test.example\r\nConnection: keep-alive\r\n\r\n")
            assert r.status == 200 and r.has_option("keep-alive")


def test_client_of_1_0_gets_no_chunks(plain, app):
    app.on("/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-T: 1\r\n\r\n")
    for more in ("", "Connection: keep-alive\r\n"):
        with Client(plain.address) as c:
            r = c.ask(f"GET /chunks HTTP/1.0\r\nHost: a\r\n{more}\r\n".encode())
            assert not r.all("transfer-encoding") and r.closed and r.body == b"abcdefg"
            assert not r.has_option("keep-alive")


def test_client_of_1_0_with_body(plain, app):
    r, seen = sent(plain, app, request("Content-Length: 3\r\n", method="POST", version="HTTP/1.0", body=b"abc"))
    assert r.status == 200 and seen.body == b"abc"


def test_origin_of_1_0(plain, app):
    """Its answer ends with its connection; the client's goes on."""
    @app.on("/v10")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nold body")
        return False
    with Client(plain.address) as c:
        for _ in range(2):
            r = c.get("/v10")
            assert r.start == "HTTP/1.1 200 OK" and r.body == b"old body" and not r.closed
            assert r.all("transfer-encoding") == ["chunked"]


def test_origin_of_1_0_with_length(plain, app):
    @app.on("/v10l")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc")
        return False
    with Client(plain.address) as c:
        for _ in range(2):
            assert c.get("/v10l").body == b"abc"


def test_origin_of_1_0_that_keeps_alive(plain, app):
    used = set()

    @app.on("/v10k")
    def _(conn, head):
        used.add(conn.index)
        conn.body(head)
        conn.send(b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc")
    with Client(plain.address) as c:
        for _ in range(3):
            assert c.get("/v10k").body == b"abc"
    assert len(used) == 1


def test_connection_close_of_the_client(plain):
    with Client(plain.address) as c:
        r = c.get("/", "Connection: close\r\n")
        assert r.status == 200 and r.has_option("close")
        assert c.end() == ("eof", b"")


def test_connection_close_of_the_origin_ends_only_that_one(plain, app):
    @app.on("/cc")
    def _(conn, head):
        conn.body(head)
        conn.send(answer(headers="Connection: close\r\n"))
        return False
    with Client(plain.address) as c:
        for _ in range(3):
            r = c.get("/cc")
            assert r.status == 200 and not r.has_option("close")


def test_upstream_connection_is_used_again(plain, app):
    used = []

    @app.on("/reuse")
    def _(conn, head):
        used.append(conn.index)
        conn.body(head)
        conn.send(answer())
    for _ in range(5):
        assert plain.get("/reuse").status == 200
    assert len(set(used)) == 1
