# SPDX-License-Identifier: Apache-2.0
"""The largest heads, and messages cut at every possible place."""
import random

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


def request(lines="", target="/", method="GET", version="HTTP/1.1", host="test.example", body=b""):
    return f"{method} {target} {version}\r\nHost: {host}\r\n{lines}\r\n".encode("latin-1") + body


# --- the head's limit ---

@pytest.fixture(name="brisk", scope="module")
def fixture_brisk(app):
    """Whatever gets stuck ends soon."""
    with Lethe(app.address, {"timeouts.upstream": "3s", "timeouts.drain": "5s"}) as lethe:
        yield lethe


def head_of(size, more=b""):
    start = b"GET /size HTTP/1.1\r\nHost: a\r\n" + more + b"X-Fill: "
    return start + b"a" * (size - len(start) - 4) + b"\r\n\r\n"


@pytest.mark.parametrize("size,status", [(32767, 200), (32768, 200), (32769, 431)])
@pytest.mark.parametrize("piece", [None, 1000])
def test_limit_of_a_request_head(brisk, size, status, piece):
    with Client(brisk.address) as c:
        c.send_pieces(head_of(size), size=piece or size)
        assert c.response().status == status


def test_limit_of_a_request_head_without_its_end(brisk):
    """At the limit nothing more can come that would make it right: the answer does not wait for a timeout."""
    with Client(brisk.address, timeout=5) as c:
        c.send(head_of(40000)[:32769])
        assert c.response().status == 431


@pytest.mark.parametrize("size", [32768, 32767, 32000])
def test_body_behind_the_largest_head(brisk, app, size):
    body = b"0123456789" * 10000
    with Client(brisk.address, timeout=5) as c:
        c.send(head_of(size, b"Content-Length: %d\r\n" % len(body)) + body)
        assert c.response().status == 200
    assert app.requests[-1].body == body


@pytest.mark.parametrize("size,status", [(32767, 200), (32768, 200), (32769, 502)])
def test_limit_of_an_answer_head(brisk, app, size, status):
    body = b"0123456789" * 10000
    start = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\nX-Fill: "
    app.on("/big", start + b"a" * (size - len(start) - 4) + b"\r\n\r\n" + body)
    with Client(brisk.address, timeout=5) as c:
        r = c.get("/big")
        assert r.status == status
        assert status != 200 or r.body == body


def test_smaller_limit(app):
    with Lethe(app.address, {"limits.head": "1k"}) as lethe:
        for size, status in ((1024, 200), (1025, 431)):
            with Client(lethe.address) as c:
                assert c.ask(head_of(size)).status == status


# --- client and server split everything everywhere ---

def test_request_byte_by_byte(plain, app):
    data = request("X-A: b\r\nTransfer-Encoding: chunked\r\nTrailer: X-T\r\n", method="POST",
                   body=b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: end\r\n\r\n")
    with Client(plain.address) as c:
        for _ in range(3):
            before = len(app.requests)
            c.send_pieces(data, size=1)
            assert c.response().status == 200
            assert app.requests[before].body == b"hello world"


def test_answer_byte_by_byte(plain, app):
    whole = (b"HTTP/1.1 200 OK\r\nX-A: b\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nX-T: end\r\n\r\n")

    @app.on("/drip")
    def _(conn, head):
        conn.body(head)
        for i in range(len(whole)):
            conn.send(whole[i:i + 1])
    with Client(plain.address) as c:
        for _ in range(3):
            r = c.get("/drip")
            assert r.body == b"hello world" and r.trailers == [("X-T", "end")]


@pytest.mark.parametrize("seed", range(12))
def test_random_splits(plain, app, seed):
    """Three pipelined requests and their answers, cut at random places."""
    rng = random.Random(seed)
    bodies = [bytes(rng.randrange(256) for _ in range(rng.choice((0, 1, 5, 300, 5000)))) for _ in range(3)]

    @app.on("/echo")
    def _(conn, head):
        body = conn.body(head).body
        if rng.random() < 0.5:
            data = answer(body)
        else:
            at, data = 0, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            while at < len(body):
                n = rng.randrange(1, 700)
                data += b"%x\r\n%s\r\n" % (len(body[at:at + n]), body[at:at + n])
                at += n
            data += b"0\r\n\r\n"
        at = 0
        while at < len(data):
            n = rng.choice((1, 2, 3, 50, 1000))
            conn.send(data[at:at + n])
            at += n
    data = b""
    for i, body in enumerate(bodies):
        if i % 2:
            data += request(f"Content-Length: {len(body)}\r\n", target="/echo", method="POST", body=body)
        else:
            half = len(body) // 2
            chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[:half], body[half:]) if p)
            data += request("Transfer-Encoding: chunked\r\n", target="/echo", method="POST", body=chunks + b"0\r\n\r\n")
    with Client(plain.address) as c:
        c.send_pieces(data, seed=seed)
        assert [c.response().body for _ in bodies] == bodies
