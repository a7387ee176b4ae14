# SPDX-License-Identifier: Apache-2.0
"""100-continue and other interim answers (RFC 9110 sections 10.1.1 and 15.2), and answers before the request has ended."""
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
