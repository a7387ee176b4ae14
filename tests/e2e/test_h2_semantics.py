# SPDX-License-Identifier: Apache-2.0
"""HTTP by HTTP/2 before an application that speaks HTTP/1.1 (RFC 9113 section 8): what the one side says is what the other one hears."""
import threading

import pytest

from h2_frames import END_HEADERS, END_STREAM, HEADERS, encode, frame
from h2_fixtures import fixture_c, fixture_proxy
from h2_rig import H2, TARGET, start
from rig import App, Client, answer, wait_for

__all__ = ["fixture_c", "fixture_proxy"]


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        @app.on("/echo")
        def _(conn, head):
            conn.body(head)
            conn.send(answer(head.body))
        yield app


# --- requests ---

@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "OPTIONS"])
def test_a_request_without_a_body(method, c, app):
    s = c.ask("/x?y=z", method=method)
    m = app.seen("/x")[-1]
    assert s.status == 200 and m.start == f"{method} /x?y=z HTTP/1.1" and m.get("host") == "test.example"
    assert not m.all("content-length") and not m.all("transfer-encoding")
    assert s.get("content-length") == "3" and s.body == (b"" if method == "HEAD" else b"ok\n")


@pytest.mark.parametrize("size", [0, 1, 16384, 16385, 300000])
@pytest.mark.parametrize("length", [True, False], ids=["content-length", "no length"])
def test_a_request_with_a_body(size, length, c, app):
    data = bytes(i * 7 & 255 for i in range(size))
    s = c.ask("/echo", [("content-length", str(size))] if length else [], method="POST", body=data)
    m = app.seen("/echo")[-1]
    assert s.status == 200 and m.body == data and bytes(s.body) == data
    assert m.get("content-length") == (str(size) if length else m.get("content-length"))
    assert length or size == 0 or m.get("transfer-encoding") == "chunked"


def test_a_body_that_ends_with_an_empty_frame(c):
    stream = c.request("/echo", method="POST", end=False)
    c.data(stream, b"abc").data(stream, b"").data(stream, b"", END_STREAM)
    assert c.response(stream).body == b"abc"


def test_content_length_0_behind_a_frame_of_its_own(c, app):
    stream = c.request("/echo", [("content-length", "0")], method="POST", end=False)
    c.data(stream, b"", END_STREAM)
    assert c.response(stream).status == 200 and app.seen("/echo")[-1].get("content-length") == "0"


def test_trailers_of_a_request(c, app):
    stream = c.request("/echo", [("trailer", "x-sum")], method="POST", end=False)
    c.data(stream, b"body").headers([("x-sum", "42")], stream=stream)
    assert c.response(stream).body == b"body" and ("x-sum", "42") in [(n.lower(), v) for n, v in app.seen("/echo")[-1].trailers]


def test_trailers_of_a_request_with_content_length(c, app):
    """HTTP/1.1 has no place for them: they may be lost, the request is not."""
    stream = c.request("/echo", [("content-length", "4")], method="POST", end=False)
    c.data(stream, b"body").headers([("x-sum", "42")], stream=stream)
    assert c.response(stream).body == b"body" and app.seen("/echo")[-1].body == b"body"


def test_trailers_behind_no_body(c, app):
    stream = c.request("/echo", method="POST", end=False)
    c.headers([("x-sum", "42")], stream=stream)
    assert c.response(stream).status == 200 and app.seen("/echo")[-1].body == b""


def test_who_forwarded_it(c, app):
    """RFC 9110 section 7.6.3: the received protocol's version."""
    c.get("/forwarded")
    m = app.seen("/forwarded")[-1]
    assert m.get("via", "").split()[0] in ("2", "2.0", "HTTP/2.0") and m.get("x-forwarded-proto") == "http"


def test_large_fields_both_ways(c, app):
    @app.on("/fields")
    def _(conn, head):
        conn.body(head)
        conn.send(answer(headers=f"X-Back: {head.get('x-large')}\r\n"))
    value = "v" * 20000
    s = c.get("/fields", ("x-large", value))
    assert s.status == 200 and s.get("x-back") == value


# --- answers ---

def test_the_head_of_an_answer(c, app):
    """In lower case, without what belongs to the other connection (section 8.2.2)."""
    app.on("/head", b"HTTP/1.1 201 Created\r\nX-Mixed-Case: Value\r\nConnection: keep-alive, X-Hop\r\nKeep-Alive: timeout=5\r\nX-Hop: 1\r\n"
           b"Proxy-Connection: keep-alive\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\nContent-Length: 2\r\n\r\nok")
    s = c.get("/head")
    assert s.status == 201 and s.get("x-mixed-case") == "Value" and s.get("x-hop") is None and s.body == b"ok"
    assert [v for n, v in s.headers if n == "set-cookie"] == ["a=1", "b=2"] and s.get("content-length") == "2"


@pytest.mark.parametrize("head", ["204 No Content", "304 Not Modified", "304 Not Modified\r\nContent-Length: 5",
                                  "200 OK\r\nContent-Length: 0"], ids=["204", "304", "304 length", "empty"])
def test_answers_without_a_body(head, c, app):
    app.on("/nobody", f"HTTP/1.1 {head}\r\n\r\n".encode())
    for _ in range(2):
        s = c.get("/nobody")
        assert s.status == int(head[:3]) and s.ended and s.body == b""
    c.alive()


def test_an_answer_by_chunks(c, app):
    app.on("/chunks", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1;x=y\r\nd\r\n0\r\n\r\n")
    s = c.get("/chunks")
    assert s.body == b"abcd" and s.ended and s.trailers is None


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_an_answer_that_ends_with_its_connection(version, c, app):
    @app.on("/close")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/%s 200 OK\r\n\r\nto the end" % version)
        return False
    s = c.get("/close")
    assert s.status == 200 and s.body == b"to the end" and s.ended
    c.alive()


def test_trailers_of_an_answer(c, app):
    """As gRPC does it, whose clients say "te: trailers"."""
    app.on("/grpc", b"HTTP/1.1 200 OK\r\nContent-Type: application/grpc\r\nTrailer: grpc-status\r\nTransfer-Encoding: chunked\r\n\r\n"
           b"5\r\nreply\r\n0\r\nGrpc-Status: 0\r\nGrpc-Message: fine\r\n\r\n")
    s = c.ask("/grpc", [("te", "trailers"), ("content-type", "application/grpc")], method="POST", body=b"call")
    assert s.body == b"reply" and ("grpc-status", "0") in s.trailers and ("grpc-message", "fine") in s.trailers
    assert app.seen("/grpc")[-1].get("te") == "trailers"


def test_interim_answers(c, app):
    hint = b"HTTP/1.1 103 Early Hints\r\nLink: </%s.css>\r\n\r\n"
    app.on("/early", hint % b"a" + hint % b"b" + answer(b"late"))
    s = c.get("/early")
    assert s.status == 200 and s.body == b"late"
    assert [(i[0][1], dict(i).get("link")) for i in s.interim] == [("103", "</a.css>"), ("103", "</b.css>")]


def test_100_continue(c, app):
    """The client waits for it; nothing of the body is needed for it (RFC 9110 section 10.1.1: a proxy "MUST … begin forwarding the request
    … by sending a request-line and header section")."""
    @app.on("/continue")
    def _(conn, head):
        assert head.get("expect") == "100-continue"
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        conn.body(head)
        conn.send(answer(head.body))
    stream = c.request("/continue", [("expect", "100-continue"), ("content-length", "4")], method="POST", end=False)
    c.until(lambda: c.streams[stream].interim, what="section 8.1: the interim answer 100")
    c.body(stream, b"body")
    s = c.response(stream)
    assert s.status == 200 and s.body == b"body" and [i[0] for i in s.interim] == [(":status", "100")]


def test_expect_that_is_refused(c, app):
    """The answer comes without the body having been sent."""
    @app.on("/refuse")
    def _(conn, _):
        conn.send(answer(b"no", "417 Expectation Failed", "Connection: close\r\n"))
        return False
    stream = c.request("/refuse", [("expect", "100-continue"), ("content-length", "4")], method="POST", end=False)
    c.until(lambda: c.streams[stream].ended, what="the final answer")
    assert c.streams[stream].status == 417
    c.cancel(stream).alive()


@pytest.mark.parametrize("data", [b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n",
                                  b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
                                  b"garbage\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"],
                         ids=["name", "two lengths", "no HTTP", "101 that nobody asked for"])
def test_an_answer_that_is_wrong(data, c, app):
    @app.on("/wrong")
    def _(conn, head):
        conn.body(head)
        conn.send(data)
        return False
    s = c.get("/wrong")
    assert s.status == 502 or s.reset, f"a malformed answer was passed on: {s}"
    c.alive()


# --- both ways at once ---

def test_both_bodies_at_once(c, app):
    """The application answers while the request still comes, piece by piece."""
    @app.on("/talk")
    def _(conn, _):
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            size = int(conn.reader.until(b"\r\n"), 16)
            data = conn.reader.exactly(size + 2)[:-2]
            conn.send(b"%x\r\n%s\r\n" % (size, data))
            if not size:
                return True
    stream = c.request("/talk", method="POST", end=False)
    s = c.streams[stream]
    c.body(stream, b"piece 0;", end=False)
    c.until(lambda: s.body, what="the answer while the request runs")
    for i in range(1, 20):
        before = len(s.body)
        c.body(stream, b"piece %d;" % i, end=False)
        c.until(lambda n=before: len(s.body) > n, what=f"the echo of piece {i}")
    c.body(stream, b"")
    assert c.response(stream).body == b"".join(b"piece %d;" % i for i in range(20))


def test_an_answer_before_the_body(c, app):
    """Section 8.1: the whole answer arrives; the rest of the body may be stopped by RST_STREAM(NO_ERROR)."""
    @app.on("/hasty")
    def _(conn, _):
        conn.send(answer(b"too large", "413 Content Too Large", "Connection: close\r\n"))
        while conn.reader.fill():
            conn.reader.buf = b""
        return False
    stream = c.request("/hasty", method="POST", end=False)
    c.body(stream, b"x" * 30000, end=False)
    c.until(lambda: c.streams[stream].over, what="the answer")
    s = c.streams[stream]
    assert s.status == 413 and s.body == b"too large" and s.ended and s.reset in (None, "NO_ERROR"), s
    c.cancel(stream).alive()


def test_other_requests_while_one_waits(c, app):
    go = threading.Event()

    @app.on("/wait")
    def _(conn, head):
        conn.body(head)
        go.wait(30)
        conn.send(answer(b"waited"))
    stream = c.request("/wait")
    try:
        for _ in range(50):
            c.alive()
        assert not c.streams[stream].over
    finally:
        go.set()
    assert c.response(stream).body == b"waited"


# --- broken off ---

def gone(app, path, before_answer):
    """A path whose request ends only with its connection; set when the application has seen that."""
    there, ended = threading.Event(), threading.Event()

    @app.on(path)
    def _(conn, _):
        if not before_answer:
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
        there.set()
        while conn.reader.fill():
            pass
        ended.set()
        return False
    return there, ended


@pytest.mark.parametrize("how", ["waiting", "answering", "sending"])
def test_rst_stream_cancels_the_request(how, c, app):
    """The application sees its connection end, and no request that looks whole; other streams live."""
    there, ended = gone(app, "/cancel", how != "answering")
    stream = c.request("/cancel", method="POST" if how == "sending" else "GET", end=how != "sending")
    if how == "sending":
        c.data(stream, b"half a body")
    if how == "answering":
        c.until(lambda: c.streams[stream].body, what="half an answer")
    assert there.wait(10)
    c.cancel(stream)
    assert ended.wait(10), "section 5.4.2: the request goes on without anybody who waits for it"
    c.alive()


@pytest.mark.parametrize("head", [b"Content-Length: 100\r\n\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
                                  b"Transfer-Encoding: chunked\r\n\r\n9\r\nhalf", b"Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n0\r\n"],
                         ids=["length", "between chunks", "within a chunk", "within the trailers"])
@pytest.mark.parametrize("reset", [False, True], ids=["eof", "reset"])
def test_an_application_that_dies_in_its_answer(head, reset, c, app):
    """What is not whole must not look whole: RST_STREAM, never END_STREAM."""
    @app.on("/die")
    def _(conn, h):
        conn.body(h)
        conn.send(b"HTTP/1.1 200 OK\r\n" + head)
        if reset:
            wait_for(lambda: any(s.body for s in list(c.streams.values())), what="the first half at the client")
            conn.reset()
        return False
    stream = c.request("/die")
    c.until(lambda: c.streams[stream].over, what="RST_STREAM")
    s = c.streams[stream]
    assert not s.ended and s.reset in ("INTERNAL_ERROR", "CANCEL", "PROTOCOL_ERROR", "CONNECT_ERROR"), f"half an answer looks whole: {s}"
    c.alive()


def test_an_application_that_says_nothing(c, app):
    @app.on("/mute")
    def _(conn, head):
        conn.body(head)
        return False
    s = c.get("/mute")
    assert s.status == 502 and s.ended
    c.alive()


def test_no_application_there(app):
    class Nowhere:
        address = "127.0.0.1:1"
    with start(Nowhere) as proxy, H2(proxy.address) as c:
        assert c.get("/").status in (502, 503)
        assert c.get("/").status in (502, 503)
    assert app


# --- HTTP/1.1 at the same listener ---

def test_http_1_at_the_same_listener(proxy, c):
    with Client(proxy.address) as one:
        for _ in range(3):
            assert one.get("/one").status == 200
            c.alive()


@pytest.mark.parametrize("method", ["P", "PR", "PRI", "PRINT", "POST", "PUT", "PATCH", "PROPFIND"])
def test_methods_that_begin_as_the_preface(method, proxy):
    """Byte by byte: the first bytes alone do not make it HTTP/2."""
    with Client(proxy.address) as one:
        one.send_pieces(f"{method} /begin HTTP/1.1\r\nHost: a.example\r\nContent-Length: 0\r\n\r\n".encode(), size=1)
        assert one.response().status in ((200, 400, 501) if method == "PRI" else (200, 501))  # section 11.6 reserves PRI


def test_no_upgrade_to_h2c(proxy, app):
    """RFC 9113 section 3.1 has taken it away; an application must not be led into it past the proxy."""
    with Client(proxy.address) as one:
        r = one.get("/h2c", "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n")
        assert r.status == (101 if TARGET == "nghttpx" else 200)
    if TARGET != "nghttpx":
        m = app.seen("/h2c")[-1]
        assert not m.all("http2-settings") and "h2c" not in [v.lower() for v in m.all("upgrade")]


def test_a_head_in_pieces(c):
    """A frame's bytes one by one."""
    block = encode([(":method", "GET"), (":scheme", "http"), (":path", "/bytes"), (":authority", "test.example")])
    c.watch(c.next_stream)
    stream = c.next_stream - 2
    for byte in frame(HEADERS, END_HEADERS | END_STREAM, stream, block):
        c.send(bytes([byte]))
    assert c.response(stream).status == 200
