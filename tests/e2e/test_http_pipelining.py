# SPDX-License-Identifier: Apache-2.0
"""Several requests on one connection, and clients that leave in the middle of one (RFC 9112 section 9)."""
import random
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


def holds(lethe, c):
    """Does a process still hold the other end? Of a socket that was closed, the kernel knows no inode any more."""
    ends = [f"{port:04X}" for _, port in (c.sock.getpeername(), c.sock.getsockname())]
    with open("/proc/net/tcp", encoding="ascii") as f:
        rows = [line.split() for line in f]
    return any([row[1][-4:], row[2][-4:]] == ends and row[9] != "0" for row in rows)


@pytest.mark.parametrize("request_,last", [
    (b"GET /end HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", True),
    (b"POST /end HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx", False),
    (b"GET /end HTTP/1.0\r\nHost: a\r\n\r\n", False),
    (b"GET /end\r\n\r\n", False),
])
def test_who_says_the_last_request_is_not_waited_for(lethe, request_, last):
    """Everybody else may have something on its way, for which the kernel would take back an answer that is not read yet."""
    with Client(lethe.address) as c:
        c.send(request_)
        how, text = c.end()
        assert how == "eof" and text.startswith(b"HTTP/1.")
        if last:
            wait_for(lambda: not holds(lethe, c), seconds=1)
        else:
            assert holds(lethe, c)


def test_last_answer_is_whole_for_a_slow_reader(lethe, app):
    body = random.Random(1).randbytes(6 << 20)

    @app.on("/large")
    def _(conn, head):
        conn.send(answer(body))
        return True
    with Client(lethe.address, rcvbuf=4096) as c:
        c.send(b"GET /large HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        r = c.response()
        assert r.has_option("close") and r.body == body and c.end() == ("eof", b"")


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
