# SPDX-License-Identifier: Apache-2.0
"""Bodies: both framings both ways, trailers, pipelining, 100-continue and other interim answers (RFC 9112 sections 6, 7, 9)."""
import threading

import pytest

from rig import App, Client, Ended, Lethe, answer, wait_for


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
    app.on("/trailers", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\nx-b:2\r\n\r\n")
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.get("/trailers")
            assert r.trailers == [("X-Sum", "1"), ("x-b", "2")] and r.get("trailer") == "X-Sum"


FORBIDDEN = ["Content-Length: 5", "Transfer-Encoding: chunked", "Host: evil.example", "Cookie: a=1", "Authorization: x", "Content-Type: text/x",
             "Content-Encoding: gzip", "Trailer: X", "Connection: close", "Expect: 100-continue", "Set-Cookie: a=1"]


@pytest.mark.parametrize("line", FORBIDDEN)
def test_trailers_that_must_not_be(lethe, app, line):
    """RFC 9110 section 6.5.1: fields of framing, routing, authentication have no meaning there; they go no further."""
    with Client(lethe.address) as c:
        assert c.ask(post_chunks([b"abc"], trailers=f"X-A: 1\r\n{line}\r\nX-B: 2\r\n")).body == b"abc"
    assert app.requests[-1].trailers == [("X-A", "1"), ("X-B", "2")]
    app.on("/badtrailers", f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n{line}\r\nX-B: 2\r\n\r\n".encode())
    with Client(lethe.address) as c:
        assert c.get("/badtrailers").trailers == [("X-A", "1"), ("X-B", "2")]


# --- pipelining ---

def test_pipelined_gets(lethe, app):
    @app.on("/number")
    def _(conn, head):
        conn.body(head)
        conn.send(answer(head.target.split("?")[1]))
    n = 50
    with Client(lethe.address) as c:
        c.send(b"".join(b"GET /number?%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(n)))
        assert [c.response().body for _ in range(n)] == [b"%d" % i for i in range(n)]


def test_pipelined_posts_of_both_framings(lethe):
    bodies = [b"x" * i * 37 for i in range(30)]
    with Client(lethe.address) as c:
        c.send(b"".join(post(b) if i % 2 else post_chunks([b] if b else []) for i, b in enumerate(bodies)))
        assert [c.response().body for _ in bodies] == bodies


def test_pipelined_with_heads_and_errors_between(lethe, app):
    app.on("/204", b"HTTP/1.1 204 No Content\r\n\r\n")
    app.on("/404", answer(b"none", "404 Not Found"))
    asks = [("HEAD", "/"), ("GET", "/204"), ("GET", "/404"), ("HEAD", "/404"), ("GET", "/")]
    with Client(lethe.address) as c:
        c.send(b"".join(f"{m} {p} HTTP/1.1\r\nHost: a\r\n\r\n".encode() for m, p in asks))
        assert [c.response(m).status for m, _ in asks] == [200, 204, 404, 404, 200]


def test_pipelined_while_the_first_is_slow(lethe, app):
    """The second is sent on only when the first was answered: order without buffers."""
    go_on = threading.Event()

    @app.on("/slow")
    def _(conn, head):
        conn.body(head)
        assert go_on.wait(10)
        conn.send(answer(b"slow"))
    with Client(lethe.address) as c:
        c.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /fast1 HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: app.seen("/slow"))
        assert not app.seen("/fast1")
        go_on.set()
        assert [c.response().body for _ in range(2)] == [b"slow", b"ok\n"]


def test_pipelined_then_half_closed(lethe, app):
    """A client may end its side once it has asked (RFC 9112 section 9.6): all is answered, then the connection ends."""
    with Client(lethe.address) as c:
        c.send(b"".join(b"GET /half?%d HTTP/1.1\r\nHost: a\r\n\r\n" % i for i in range(5))).half_close()
        assert [c.response().status for _ in range(5)] == [200] * 5
        assert c.end() == ("eof", b"")
    assert len(app.seen("/half")) == 5


def test_half_closed_and_patient(lethe, app):
    """The answer comes long after the client has ended its side."""
    go_on = threading.Event()

    @app.on("/patient")
    def _(conn, head):
        conn.body(head)
        assert go_on.wait(10)
        conn.send(answer(b"here"))
    with Client(lethe.address) as c:
        c.send(b"GET /patient HTTP/1.1\r\nHost: a\r\n\r\n").half_close()
        wait_for(lambda: app.seen("/patient"))
        assert lethe.get("/").status == 200  # lethe has had time to see the end
        go_on.set()
        assert c.response().body == b"here"
        assert c.end() == ("eof", b"")


@pytest.mark.parametrize("size,n", [(4096, 8000), (65536, 500)])
def test_pipelined_and_nothing_read(lethe, app, size, n):
    """Who does not read his answers gets no more of them made; when he reads again, all come."""
    made = [0]

    @app.on("/unread")
    def _(conn, head):
        conn.body(head)
        made[0] += 1
        conn.send(answer(b"x" * size))
    with Client(lethe.address, rcvbuf=16384) as c:
        sender = threading.Thread(target=c.send, args=(b"GET /unread HTTP/1.1\r\nHost: a\r\n\r\n" * n,), daemon=True)
        sender.start()
        last, same = -1, 0
        while same < 10:
            same = same + 1 if made[0] == last else 0
            last = made[0]
            threading.Event().wait(0.03)
        assert 0 < last < n // 2
        assert all(c.response().body == b"x" * size for _ in range(n))
        sender.join(5)


def test_more_pipelined_than_any_buffer(lethe):
    """200 requests of 1 KB each before the first answer is read."""
    n = 200
    with Client(lethe.address) as c:
        sender = threading.Thread(target=c.send, args=(b"".join(post(b"%04d" % i * 250) for i in range(n)),), daemon=True)
        sender.start()
        assert [c.response().body for _ in range(n)] == [b"%04d" % i * 250 for i in range(n)]
        sender.join(10)


def test_pipelined_behind_close_is_not_run(lethe, app):
    with Client(lethe.address) as c:
        c.send(b"GET /one HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET /never HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.response().status == 200
        assert c.end() == ("eof", b"")
    assert not app.seen("/never")


# --- interim answers ---

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def test_expect_continue_and_the_origin_says_so(lethe, app):
    asked = []

    @app.on("/expect")
    def _(conn, head):
        asked.append(head.get("expect"))
        assert conn.reader.buf == b""
        conn.send(CONTINUE)
        conn.send(answer(conn.body(head).body))
    with Client(lethe.address) as c:
        for _ in range(2):
            c.send(b"POST /expect HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
            assert c.reader.head().status == 100
            c.send(b"body")
            assert c.response().body == b"body"
    assert asked == ["100-continue"] * 2


def test_expect_continue_and_the_origin_answers_finally(lethe, app):
    """It does not want the body. Whether the client sends it is open, so the connection ends behind the answer."""
    app.on("/refuse")(lambda conn, head: conn.send(answer(b"no", "403 Forbidden")) and False)
    before = len(app.requests)
    with Client(lethe.address) as c:
        c.send(b"POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n")
        r = c.response()
        assert r.status == 403 and r.body == b"no" and not r.interim
        assert r.has_option("close")
        assert c.end() == ("eof", b"")
    assert len(app.requests) == before


def test_expect_continue_and_the_client_does_not_wait(lethe, app):
    @app.on("/eager")
    def _(conn, head):
        body = conn.body(head).body
        conn.send(answer(body))
    with Client(lethe.address) as c:
        r = c.ask(post(b"body", "/eager", "Expect: 100-continue\r\n"))
        assert r.body == b"body" and not r.interim


def test_expect_of_a_1_0_client_is_passed_over(lethe, app):
    """RFC 9110 section 10.1.1."""
    with Client(lethe.address) as c:
        c.send(b"POST /echo HTTP/1.0\r\nHost: a\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\nbody")
        r = c.response()
        assert r.body == b"body" and not r.interim
    assert not app.requests[-1].all("expect")


def test_early_answer_without_reading_the_body(lethe, app):
    """413 in the middle of an upload: the client gets it although it goes on sending."""
    @app.on("/early")
    def _(conn, head):
        conn.send(answer(b"too large", "413 Content Too Large", "Connection: close\r\n"))
        return False
    with Client(lethe.address) as c:
        c.send(b"POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        r = c.response()
        assert r.status == 413 and r.body == b"too large" and r.has_option("close")


def test_interim_answers_pass(lethe, app):
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\nConnection: X-Hop\r\nX-Hop: 1\r\n\r\n"
    app.on("/hints", b"HTTP/1.1 102 Processing\r\n\r\n" + hints + hints + answer(b"final"))
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.get("/hints")
            assert [i.status for i in r.interim] == [102, 103, 103]
            assert r.interim[1].get("link") == "</style.css>; rel=preload"
            assert "x-hop" not in r.interim[1].names() and not r.interim[1].all("content-length")
            assert r.body == b"final"


def test_many_interim_answers(lethe, app):
    """102 now and then while a long job runs."""
    app.on("/many-interim", b"HTTP/1.1 102 Processing\r\nX-Progress: some\r\n\r\n" * 1000 + answer(b"final"))
    with Client(lethe.address) as c:
        r = c.get("/many-interim")
        assert r.body == b"final" and len(r.interim) == 1000


def test_interim_answer_comes_before_the_final_one_is_made(lethe, app):
    go_on = threading.Event()

    @app.on("/hint-first")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n")
        assert go_on.wait(10)
        conn.send(answer())
    with Client(lethe.address) as c:
        c.send(b"GET /hint-first HTTP/1.1\r\nHost: a\r\n\r\n")
        assert c.reader.head().status == 103
        go_on.set()
        assert c.response().status == 200


def test_interim_answers_are_not_for_1_0(lethe, app):
    app.on("/hints10", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + answer(b"final"))
    with Client(lethe.address) as c:
        r = c.ask(b"GET /hints10 HTTP/1.0\r\nHost: a\r\n\r\n")
        assert r.status == 200 and not r.interim and r.body == b"final"


def test_100_nobody_asked_for(lethe, app):
    """RFC 9110 section 15.2: a client takes 1xx whether or not it expects them."""
    app.on("/unasked", CONTINUE + answer(b"final"))
    with Client(lethe.address) as c:
        for _ in range(2):
            r = c.get("/unasked")
            assert r.status == 200 and r.body == b"final"


# --- clients that leave ---

def test_client_leaves_in_its_body(lethe, app):
    """The application must not take the part for the whole."""
    outcome = []

    @app.on("/leave")
    def _(conn, head):
        try:
            conn.body(head)
            outcome.append("whole")
        except Ended as e:
            outcome.append((e.how, e.got))
        return False
    for framing, part in (("Content-Length: 10", b"half"), ("Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
        for leave in ("close", "half_close", "reset"):
            outcome.clear()
            n = len(app.heads)
            with Client(lethe.address) as c:
                c.send(f"POST /leave HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode() + part)
                wait_for(lambda n=n: len(app.heads) > n)
                getattr(c, leave)()
                wait_for(lambda: outcome, what=f"the application sees {leave}")
            assert outcome[0] != "whole", (framing, leave)
    lethe.wait_metric(0, "lethe_client_connections")


def test_client_leaves_while_it_waits(lethe, app):
    """Nobody reads the answer any more: the connection to the application is given up or used again, never mixed up."""
    arrived, go_on = threading.Event(), threading.Event()

    @app.on("/bye")
    def _(conn, head):
        conn.body(head)
        arrived.set()
        go_on.wait(10)
        conn.send(answer(b"for nobody"))
    with Client(lethe.address) as c:
        c.send(b"GET /bye HTTP/1.1\r\nHost: a\r\n\r\n")
        assert arrived.wait(10)
        c.reset()
    lethe.wait_metric(0, "lethe_client_connections")
    go_on.set()
    for _ in range(5):
        assert lethe.get("/").body == b"ok\n"


def test_client_leaves_in_the_answer(lethe, app):
    ended = threading.Event()

    @app.on("/stream")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            while True:
                conn.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        except OSError:
            ended.set()
        return False
    with Client(lethe.address) as c:
        c.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reader.head()
        c.reset()
    assert ended.wait(10), "the application's connection is ended"
    lethe.wait_access(lambda e: e["path"] == "/stream" and e["outcome"] == "aborted")
