# SPDX-License-Identifier: Apache-2.0
"""Every wait has an end: each time-out with a small value, and what must not run into it."""
import threading

import pytest

from rig import App, Client, Ended, Lethe, answer, wait_for
from rig.servers import Blackhole

TICK = 0.08  # how fast the slow ones go, in seconds: well below the time-outs that they must not run into


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        yield app


def tick():
    threading.Event().wait(TICK)


# --- head ---

@pytest.mark.parametrize("part", [b"G", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX-A: b\r\n", b"\r\n"])
def test_head(app, part):
    with Lethe(app.address, {"timeouts.head": "200ms"}) as lethe, Client(lethe.address) as c:
        r = c.ask(part)
        assert r.status == 408 and r.get("x-lethe-error") == "head-timeout" and r.has_option("close")
        assert c.end() == ("eof", b"")
        assert lethe.metrics().get("lethe_rejects_total", reason="head-timeout") == 1
        assert not app.heads


def test_head_that_drips(app):
    """It counts from the first byte: a byte now and then does not help (slowloris)."""
    with Lethe(app.address, {"timeouts.head": "500ms"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n")
        stop = threading.Event()

        def drip():
            while not stop.wait(TICK):
                try:
                    c.send(b"X-A: b\r\n")
                except OSError:
                    return
        t = threading.Thread(target=drip, daemon=True)
        t.start()
        assert c.response().status == 408
        stop.set()
        t.join(5)


def test_head_counts_from_its_first_byte(app):
    """Neither an idle connection nor a second request on a kept one runs into it."""
    with Lethe(app.address, {"timeouts.head": "200ms"}) as lethe:
        with Client(lethe.address) as idle, Client(lethe.address) as kept:
            assert kept.get("/").status == 200
            for _ in range(2):
                with Client(lethe.address) as c:
                    assert c.ask(b"G").status == 408  # so much time has passed
                assert kept.get("/").status == 200
            assert idle.get("/").status == 200


def test_head_of_a_second_request(app):
    with Lethe(app.address, {"timeouts.head": "200ms"}) as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        assert c.ask(b"GET /half HTTP/1.1\r\n").status == 408
        c.close()
        with Client(lethe.address) as c2:
            c2.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /half")
            assert c2.response().status == 200
            assert c2.response().status == 408


def test_head_that_its_client_has_given_up(app):
    """It ended its side in the middle of a head, which stood behind a whole request: nothing is left to wait for."""
    go_on = threading.Event()

    @app.on("/held")
    def _(conn, head):
        conn.body(head)
        assert go_on.wait(10)
        conn.send(answer(b"held"))
    with Lethe(app.address, {"timeouts.head": "60s", "timeouts.drain": "1s"}) as lethe, Client(lethe.address, timeout=5) as c:
        c.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\nGET /half HTTP/1.1\r\nHo").half_close()
        wait_for(lambda: app.seen("/held"))
        assert lethe.get("/").status == 200  # lethe has had time to see the end
        go_on.set()
        assert c.response().body == b"held"
        c.end()
        lethe.wait_metric(0, "lethe_client_connections")


# --- idle ---

@pytest.mark.parametrize("requests", [0, 1, 3])
def test_idle(app, requests):
    """Between two requests a connection ends without a word."""
    with Lethe(app.address, {"timeouts.idle": "200ms"}) as lethe, Client(lethe.address) as c:
        for _ in range(requests):
            assert c.get("/").status == 200
        assert c.end() == ("eof", b"")
        lethe.wait_metric(0, "lethe_client_connections")


def test_idle_to_the_application(app):
    with Lethe(app.address, {"timeouts.idle": "300ms"}) as lethe:
        assert lethe.get("/").status == 200
        lethe.wait_metric(0, "lethe_upstream_connections", state="idle")
        assert lethe.get("/").status == 200
        assert len(app.connections) == 2


def test_idle_does_not_end_a_waiting_request(app):
    @app.on("/slow")
    def _(conn, head):
        conn.body(head)
        with Client(lethe.address) as other:
            assert other.end() == ("eof", b"")  # so much time has passed
        conn.send(answer(b"late"))
    with Lethe(app.address, {"timeouts.idle": "200ms"}) as lethe:
        assert lethe.get("/slow").body == b"late"


# --- upstream_connect ---

def test_connect(app):
    del app
    with Blackhole() as hole, Lethe(hole.address, {"timeouts.upstream_connect": "200ms"}) as lethe, Client(lethe.address) as c:
        r = c.get("/")
        assert r.status == 504 and r.get("x-lethe-error") == "upstream_connect_timeout"
        assert c.get("/").status == 504  # the client's connection lives on


def test_waiting_for_a_free_connection(app):
    """limits.upstream_connections: the next request waits, at most upstream_connect; and gets its turn when one is free."""
    go_on = threading.Event()

    @app.on("/busy")
    def _(conn, head):
        conn.body(head)
        assert go_on.wait(10)
        conn.send(answer(b"busy"))
    with Lethe(app.address, {"timeouts.upstream_connect": "300ms", "limits.upstream_connections": 1}) as lethe:
        with Client(lethe.address) as a, Client(lethe.address) as b:
            a.send(b"GET /busy HTTP/1.1\r\nHost: a\r\n\r\n")
            wait_for(lambda: app.seen("/busy"))
            r = b.get("/next")
            assert r.status == 504 and r.get("x-lethe-error") == "upstream_connect_timeout"
            go_on.set()
            assert a.response().body == b"busy"
            assert b.get("/next").status == 200
        assert len(app.connections) == 1 and len(app.seen("/next")) == 1


def test_requests_queue_for_a_free_connection(app):
    with Lethe(app.address, {"limits.upstream_connections": 2}) as lethe:
        clients = [Client(lethe.address) for _ in range(30)]
        for c in clients:
            c.send(b"GET /queue HTTP/1.1\r\nHost: a\r\n\r\n")
        assert [c.response().status for c in clients] == [200] * 30
        for c in clients:
            c.close()
    assert len(app.connections) <= 2


# --- upstream ---

def test_silence_before_the_answer(app):
    ended = threading.Event()

    @app.on("/mute")
    def _(conn, head):
        conn.body(head)
        conn.reader.fill()  # until lethe ends it
        ended.set()
        return False
    with Lethe(app.address, {"timeouts.upstream": "200ms"}) as lethe, Client(lethe.address) as c:
        r = c.get("/mute")
        assert r.status == 504 and r.get("x-lethe-error") == "upstream_timeout"
        assert ended.wait(10)
        assert c.get("/").status == 200
        assert len(app.seen("/mute")) == 1  # not sent again


@pytest.mark.parametrize("framing", [b"Content-Length: 10\r\n\r\nabc", b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", b"\r\nabc"])
def test_silence_in_the_answer(app, framing):
    @app.on("/stuck")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\n" + framing)
        conn.reader.fill()
        return False
    with Lethe(app.address, {"timeouts.upstream": "200ms"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET /stuck HTTP/1.1\r\nHost: a\r\n\r\n")
        with pytest.raises(Ended):
            c.response()
        lethe.wait_access(lambda e: e["path"] == "/stuck" and e["outcome"] == "upstream_failed")


def test_slow_but_alive_application(app):
    @app.on("/drip")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            tick()
            conn.send(b"x")
    with Lethe(app.address, {"timeouts.upstream": "500ms"}) as lethe:
        assert lethe.get("/drip").body == b"x" * 10


def test_slow_but_alive_client(app):
    with Lethe(app.address, {"timeouts.upstream": "500ms"}) as lethe, Client(lethe.address) as c:
        c.send(b"POST /slow HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n")
        for _ in range(10):
            tick()
            c.send(b"x")
        assert c.response().status == 200
    assert app.requests[-1].body == b"x" * 10


@pytest.mark.parametrize("framing,part", [("Content-Length: 10", b"abc"), ("Transfer-Encoding: chunked", b"3\r\nabc\r\n")])
def test_client_silent_in_its_body(app, framing, part):
    """Its connection ends; the application sees no whole request."""
    ended = []

    @app.on("/halfbody")
    def _(conn, head):
        try:
            conn.body(head)
            ended.append("whole")
        except Ended as e:
            ended.append(e.how)
        return False
    with Lethe(app.address, {"timeouts.upstream": "200ms"}) as lethe, Client(lethe.address) as c:
        c.send(f"POST /halfbody HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode() + part)
        try:
            assert c.response().status == 408
        except Ended:
            pass
        wait_for(lambda: ended)
        assert ended[0] != "whole"
        lethe.wait_access(lambda e: e["path"] == "/halfbody" and e["outcome"] == "aborted")


def test_client_that_does_not_read(app):
    """The answer cannot be brought to it: its connection ends, and with it the application's."""
    ended = threading.Event()

    @app.on("/flood")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        try:
            while True:
                conn.send(b"x" * 65536)
        except OSError:
            ended.set()
        return False
    with Lethe(app.address, {"timeouts.upstream": "400ms"}) as lethe, Client(lethe.address, rcvbuf=8192) as c:
        c.send(b"GET /flood HTTP/1.1\r\nHost: a\r\n\r\n")
        assert ended.wait(20)
        lethe.wait_metric(0, "lethe_client_connections")
        lethe.wait_access(lambda e: e["path"] == "/flood" and e["outcome"] == "aborted")


def test_application_that_does_not_read(app):
    """It takes neither the request's body nor answers: its fault, not the client's."""
    go_on = threading.Event()

    @app.on("/deaf")
    def _(conn, head):
        go_on.wait(20)
        return False
    with Lethe(app.address, {"timeouts.upstream": "300ms"}) as lethe, Client(lethe.address) as c:
        c.send(b"POST /deaf HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000000\r\n\r\n")

        def push():
            try:
                while True:
                    c.send(b"x" * 65536)
            except OSError:
                pass
        t = threading.Thread(target=push, daemon=True)
        t.start()
        try:
            r = c.response()
        finally:
            go_on.set()
        assert r.status == 504 and r.get("x-lethe-error") == "upstream_timeout"
        c.reset()
        t.join(5)


def test_slow_reader_is_no_silent_one(app):
    """It takes a little all the time, for longer than the time-out."""
    size = 12 << 20

    @app.on("/large")
    def _(conn, head):
        conn.body(head)
        conn.send(answer(b"x" * size))
    # 600 KB/s: well above what TCP reports at once on this interface, well below what wakes the writer within a second.
    with Lethe(app.address, {"timeouts.upstream": "1s"}) as lethe, Client(lethe.address, rcvbuf=131072) as c:
        c.send(b"GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reader.head()
        for _ in range(40):
            tick()
            c.reader.exactly(49152)
        c.reader.exactly(size - 40 * 49152)
        assert c.get("/").status == 200


# --- tunnel ---

UPGRADE = b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"


def test_tunnel(app):
    ended = threading.Event()

    @app.on("/ws")
    def _(conn, head):
        conn.send(SWITCH)
        try:
            conn.reader.rest()
        except Ended:
            pass
        ended.set()
        return False
    with Lethe(app.address, {"timeouts.tunnel": "300ms"}) as lethe, Client(lethe.address) as c:
        assert c.ask(UPGRADE).status == 101
        c.end()
        assert ended.wait(10)
        lethe.wait_metric(0, "lethe_client_connections")


@pytest.mark.parametrize("who", ["client", "application"])
def test_tunnel_with_one_side_alive(app, who):
    """Silence means both ways; neither `idle` nor `upstream` ends a tunnel."""
    @app.on("/ws")
    def _(conn, head):
        conn.send(SWITCH)
        if who == "application":
            for _ in range(15):
                tick()
                conn.send(b"x")
        else:
            conn.reader.exactly(15)
            conn.send(b"x" * 15)
        return False
    with Lethe(app.address, {"timeouts.tunnel": "600ms", "timeouts.upstream": "100ms", "timeouts.idle": "100ms"}) as lethe:
        with Client(lethe.address) as c:
            assert c.ask(UPGRADE).status == 101
            if who == "client":
                for _ in range(15):
                    tick()
                    c.send(b"x")
            assert c.end() == ("eof", b"x" * 15)
