# SPDX-License-Identifier: Apache-2.0
"""Bodies: both framings both ways, streaming, trailers (RFC 9112 sections 6 and 7)."""
import threading

import pytest

from rig import App, Client, Lethe, answer


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        @app.on("/echo")
        def _(conn, head):
            conn.send(answer(conn.body(head).body))
        yield app


@pytest.fixture(name="lethe", scope="module")
def fixture_lethe(app):
    with Lethe(app.address) as lethe:
        yield lethe


def post(body, path="/echo", lines=""):
    return f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode() + body


def post_chunks(chunks, path="/echo", lines="", trailers=""):
    text = f"POST {path} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n{lines}\r\n".encode()
    return text + b"".join(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks) + b"0\r\n" + trailers.encode() + b"\r\n"


# --- framing ---

@pytest.mark.parametrize("size", [0, 1, 100, 16 << 10, (32 << 10) + 1, 1 << 20])
def test_sized_both_ways(lethe, app, size):
    body = bytes(i * 7 % 256 for i in range(size))
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.ask(post(body))
            assert r.body == body and r.get("content-length") == str(size)
    assert app.requests[-1].get("content-length") == str(size)


@pytest.mark.parametrize("chunks", [[], [b"a"], [b"abc", b"d" * 10, b"e" * 5000], [b"x"] * 500, [b"y" * 70000, b"z"]],
                         ids=["none", "one byte", "three", "500 of one", "large"])
def test_chunked_both_ways(lethe, app, chunks):
    whole = b"".join(chunks)

    @app.on("/chunks")
    def _(conn, head):
        body = conn.body(head).body
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
                  b"".join(b"%X;ext=1\r\n%s\r\n" % (len(p), p) for p in chunks) + b"000\r\n\r\n")
        assert body == whole
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.ask(post_chunks(chunks, "/chunks"))
            assert r.body == whole and r.all("transfer-encoding") == ["chunked"]
    assert app.requests[-1].body == whole and app.requests[-1].all("transfer-encoding") == ["chunked"]


def test_chunk_extensions_end_here(lethe, app):
    """RFC 9112 section 7.1.1: they belong to one hop. The rig's reader takes none."""
    with Client(lethe.address) as c:
        r = c.ask(b"POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;a=\"b;\";c\r\nabc\r\n0;d\r\n\r\n")
    assert r.body == b"abc" and app.requests[-1].body == b"abc"


def test_close_delimited_answer(lethe, app):
    @app.on("/close")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"part one, ")
        conn.send(b"part two")
        return False
    with Client(lethe.address) as c:
        for _ in range(2):  # the client's connection lives on
            r = c.get("/close")
            assert r.body == b"part one, part two" and r.all("transfer-encoding") == ["chunked"]


def test_close_delimited_answer_without_a_body(lethe, app):
    @app.on("/close0")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
        return False
    with Client(lethe.address) as c:
        for _ in range(2):
            assert c.get("/close0").body == b""


def test_body_of_get_goes_on(lethe, app):
    with Client(lethe.address) as c:
        r = c.ask(b"GET /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
    assert r.body == b"abc"


# --- what comes flows on at once ---

def test_request_body_streams(lethe, app):
    """The application has the first part before the client has sent the second."""
    got_first = threading.Event()

    @app.on("/streamup")
    def _(conn, head):
        first = conn.reader.exactly(5)
        got_first.set()
        conn.send(answer(first + conn.reader.exactly(5)))
    with Client(lethe.address) as c:
        c.send(b"POST /streamup HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        assert got_first.wait(10)
        c.send(b"again")
        assert c.response().body == b"firstagain"


def test_answer_streams(lethe, app):
    """The client has the head and the first part before the application has sent the second."""
    go_on = threading.Event()

    @app.on("/streamdown")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst")
        assert go_on.wait(10)
        conn.send(b"again")
    with Client(lethe.address) as c:
        c.send(b"GET /streamdown HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reader.head()
        assert c.reader.exactly(5) == b"first"
        go_on.set()
        assert c.reader.exactly(5) == b"again"


def test_head_alone_flows_on(lethe, app):
    """Server-sent events: a head, and nothing for a while."""
    go_on = threading.Event()

    @app.on("/sse")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert go_on.wait(10)
        conn.send(b"7\r\ndata: 1\r\n0\r\n\r\n")
    with Client(lethe.address) as c:
        c.send(b"GET /sse HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        go_on.set()
        c.reader.chunked(head)
        assert head.body == b"data: 1"


def test_full_duplex(lethe, app):
    """An answer that begins before the request has ended, and goes along with it."""
    @app.on("/duplex")
    def _(conn, head):
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n")
        for _ in range(4):
            conn.send(conn.reader.exactly(5))
    with Client(lethe.address) as c:
        c.send(b"POST /duplex HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\n")
        c.reader.head()
        for part in (b"aaaaa", b"bbbbb", b"ccccc", b"ddddd"):
            c.send(part)
            assert c.reader.exactly(5) == part


# --- trailers ---

def test_request_trailers(lethe, app):
    with Client(lethe.address) as c:
        assert c.ask(post_chunks([b"abc"], lines="Trailer: X-Sum\r\n", trailers="X-Sum: 1\r\nx-b:2\r\n")).body == b"abc"
    seen = app.requests[-1]
    assert seen.trailers == [("X-Sum", "1"), ("x-b", "2")]
    assert seen.get("trailer") == "X-Sum"


def test_answer_trailers(lethe, app):
    app.on("/trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
                        b"3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n")
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.get("/trailers")
            assert r.trailers == [("X-Sum", "1"), ("x-b", "2")] and r.get("trailer") == "X-Sum"


FORBIDDEN = ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil.example", "Cookie: a=1", "Authorization: x",
             "Content-Type: text/x", "Content-Encoding: gzip", "Trailer: X", "Connection: close", "Expect: 100-continue", "Set-Cookie: a=1"]


@pytest.mark.parametrize("line", FORBIDDEN)
def test_trailers_that_must_not_be(lethe, app, line):
    """RFC 9110 section 6.5.1: fields of framing, routing, authentication have no meaning there; they go no further."""
    with Client(lethe.address) as c:
        assert c.ask(post_chunks([b"abc"], trailers=f"X-A: 1\r\n{line}\r\nX-B: 2\r\n")).body == b"abc"
    assert app.requests[-1].trailers == [("X-A", "1"), ("X-B", "2")]
    app.on("/badtrailers", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n{line}\r\nX-B: 2\r\n\r\n".encode())
    with Client(lethe.address) as c:
        assert c.get("/badtrailers").trailers == [("X-A", "1"), ("X-B", "2")]
