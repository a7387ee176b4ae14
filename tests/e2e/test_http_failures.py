# SPDX-License-Identifier: Apache-2.0
"""Applications that answer wrongly, die, or are away; which requests are sent again (DESIGN section 5)."""
import signal
import threading

import pytest

from rig import App, Client, Ended, Lethe, Origin, answer
from rig.servers import closed_port_address


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        yield app


@pytest.fixture(name="lethe", scope="module")
def fixture_lethe(app):
    with Lethe(app.address, {"timeouts.upstream": "5s"}) as lethe:
        yield lethe


OK = b"HTTP/1.1 200 OK\r\n"
LEN = b"Content-Length: 3\r\n"
TE = b"Transfer-Encoding: chunked\r\n"

MALFORMED = {
    "not HTTP": b"hello, world\r\n\r\n",
    "HTTP/2.0": b"HTTP/2.0 200 OK\r\n" + LEN + b"\r\nabc",
    "HTTP/1.10": b"HTTP/1.10 200 OK\r\n" + LEN + b"\r\nabc",
    "lower case": b"http/1.1 200 OK\r\n" + LEN + b"\r\nabc",
    "status of two digits": b"HTTP/1.1 20 OK\r\n" + LEN + b"\r\nabc",
    "status of four digits": b"HTTP/1.1 2000 OK\r\n" + LEN + b"\r\nabc",
    "status below 100": b"HTTP/1.1 099 OK\r\n" + LEN + b"\r\nabc",
    "status with sign": b"HTTP/1.1 +20 OK\r\n" + LEN + b"\r\nabc",
    "no status": b"HTTP/1.1 OK\r\n" + LEN + b"\r\nabc",
    "two spaces": b"HTTP/1.1  200 OK\r\n" + LEN + b"\r\nabc",
    "control in the reason": b"HTTP/1.1 200 O\x01K\r\n" + LEN + b"\r\nabc",
    "LF lines": b"HTTP/1.1 200 OK\nContent-Length: 3\n\nabc",
    "LF behind a field": OK + b"X-A: b\n" + LEN + b"\r\nabc",
    "CR in a value": OK + b"X-A: b\rSet-Cookie: evil=1\r\n" + LEN + b"\r\nabc",
    "NUL in a value": OK + b"X-A: b\0c\r\n" + LEN + b"\r\nabc",
    "control in a value": OK + b"X-A: \x07\r\n" + LEN + b"\r\nabc",
    "fold": OK + b"X-A: b\r\n c\r\n" + LEN + b"\r\nabc",
    "space before the colon": OK + b"Content-Length : 3\r\n\r\nabc",
    "no colon": OK + b"X-A\r\n" + LEN + b"\r\nabc",
    "no name": OK + b": b\r\n" + LEN + b"\r\nabc",
    "both framings": OK + LEN + TE + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "lengths differ": OK + LEN + b"Content-Length: 4\r\n\r\nabcd",
    "length list differs": OK + b"Content-Length: 3, 4\r\n\r\nabcd",
    "length negative": OK + b"Content-Length: -3\r\n\r\nabc",
    "length plus": OK + b"Content-Length: +3\r\n\r\nabc",
    "length hex": OK + b"Content-Length: 0x3\r\n\r\nabc",
    "length too large": OK + b"Content-Length: 99999999999999999999\r\n\r\nabc",
    "length empty": OK + b"Content-Length:\r\n\r\n",
    "unknown coding": OK + b"Transfer-Encoding: xchunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked twice": OK + TE + TE + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked not last": OK + b"Transfer-Encoding: chunked, gzip\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "chunked in 1.0": b"HTTP/1.0 200 OK\r\n" + TE + b"\r\n3\r\nabc\r\n0\r\n\r\n",
    "130 fields": OK + b"X-A: b\r\n" * 130 + LEN + b"\r\nabc",
    "head over the limit": OK + b"X-A: " + b"b" * 40000 + b"\r\n" + LEN + b"\r\nabc",
    "101 nobody asked for": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
    "malformed interim": b"HTTP/1.1 103 Early Hints\r\nBad Name: 1\r\n\r\n" + OK + LEN + b"\r\nabc",
    "malformed behind an interim": b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length : 3\r\n\r\nabc",
}


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_answer(lethe, app, name, how):
    """502, nothing of it reaches the client, and that connection is not used again."""
    data = MALFORMED[name]
    indices = []

    @app.on("/malformed")
    def _(conn, head):
        indices.append(conn.index)
        conn.body(head)
        step = len(data) if how == "whole" else 1 if len(data) < 2000 else 997
        for i in range(0, len(data), step):
            conn.send(data[i:i + step])
        conn.reader.rest()  # until lethe ends it
        return False
    with Client(lethe.address) as c:
        r = c.get("/malformed")
        assert r.status == 502 and r.get("x-lethe-error") == "upstream_malformed", r
        assert not {"set-cookie", "x-a"} & set(r.names())
        assert c.get("/malformed-behind").status == 200
    assert app.seen("/malformed-behind") and len(set(indices)) == len(indices)


BROKEN_BODIES = {
    "chunk size": TE + b"\r\n3\r\nabc\r\nxyz\r\n",
    "chunk size with sign": TE + b"\r\n+3\r\nabc\r\n0\r\n\r\n",
    "chunk end": TE + b"\r\n3\r\nabcd\r\n0\r\n\r\n",
    "chunk LF": TE + b"\r\n3\nabc\n0\n\n",
    "trailer": TE + b"\r\n3\r\nabc\r\n0\r\nX A: b\r\n\r\n",
    "trailer with CR": TE + b"\r\n3\r\nabc\r\n0\r\nX-A: b\rc\r\n\r\n",
}


@pytest.mark.parametrize("name", BROKEN_BODIES)
def test_malformed_body(lethe, app, name):
    """The head may be out already: then the end must not look like one."""
    @app.on("/badbody")
    def _(conn, head):
        conn.body(head)
        conn.send(OK + BROKEN_BODIES[name])
        conn.reader.rest()
        return False
    with Client(lethe.address) as c:
        c.send(b"GET /badbody HTTP/1.1\r\nHost: a\r\n\r\n")
        try:
            r = c.response()
        except Ended:
            return
        assert r.status == 502, "a complete answer was made of a malformed one"


@pytest.mark.parametrize("end", ["close", "reset"])
@pytest.mark.parametrize("framing,part", [
    (b"Content-Length: 10\r\n\r\n", b"12345"),
    (b"Content-Length: 10\r\n\r\n", b""),
    (TE + b"\r\n", b"5\r\n12345\r\n"),
    (TE + b"\r\n", b"5\r\n123"),
    (TE + b"\r\n", b"5\r\n12345\r\n0\r\n"),
    (TE + b"\r\n", b""),
])
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_application_dies_in_its_answer(lethe, app, framing, part, end, version):
    """The client's connection is broken off visibly, never ended cleanly (1.0: by RST, since its bodies end with the connection)."""
    @app.on("/die")
    def _(conn, head):
        conn.body(head)
        conn.send(OK + framing + part)
        assert went_on.wait(10)
        getattr(conn, end)()
        return False
    went_on = threading.Event()
    with Client(lethe.address) as c:
        c.send(f"GET /die HTTP/{version}\r\nHost: a\r\n\r\n".encode())
        head = c.reader.head()
        assert head.status == 200
        went_on.set()
        with pytest.raises(Ended) as e:
            if head.all("transfer-encoding"):
                c.reader.chunked(head)
            elif head.all("content-length"):
                c.reader.exactly(10)
            else:
                c.reader.rest()
        assert e.value.how == "reset" or version == "1.1"
        assert not e.value.got or b"12345".startswith(e.value.got)
    lethe.wait_access(lambda e: e["path"] == "/die" and e["outcome"] == "upstream_failed")


def test_reset_ends_a_close_delimited_answer(lethe, app):
    """A reset is not the end of a body (RFC 9112 section 8: an incomplete message)."""
    @app.on("/die-close")
    def _(conn, head):
        conn.body(head)
        conn.send(OK + b"\r\n12345")
        assert went_on.wait(10)
        conn.reset()
        return False
    went_on = threading.Event()
    with Client(lethe.address) as c:
        c.send(b"GET /die-close HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        went_on.set()
        with pytest.raises(Ended):
            c.reader.chunked(head)


@pytest.mark.parametrize("part", [b"", b"HTTP/1.1 200", OK, OK + LEN, b"HTTP/1.1 100 Continue\r\n\r\n"])
@pytest.mark.parametrize("end", ["close", "reset"])
def test_application_dies_before_its_answer(lethe, app, part, end):
    @app.on("/early-death")
    def _(conn, head):
        conn.body(head)
        if part:
            conn.send(part)
        if end == "reset" and part:
            conn.sock.shutdown(1)  # so that the part is not lost
        else:
            getattr(conn, end)()
        return False
    with Client(lethe.address) as c:
        r = c.ask(b"POST /early-death HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        assert r.status == 502 and r.get("x-lethe-error") == "upstream_closed"
        assert c.get("/").status == 200


def test_bytes_behind_an_answer_are_never_the_next_one(lethe, app):
    """Response splitting: what stands behind the answer makes the connection unusable and answers nobody."""
    used = []

    @app.on("/two")
    def _(conn, head):
        used.append(conn.index)
        conn.body(head)
        conn.send(answer(b"good") + answer(b"evil"))
    for _ in range(5):
        with Client(lethe.address) as c:
            assert c.get("/two").body == b"good"
            assert c.get("/").body == b"ok\n"
    assert len(set(used)) == len(used)


@pytest.mark.parametrize("method,status", [("HEAD", "200 OK"), ("GET", "204 No Content"), ("GET", "304 Not Modified")])
def test_body_where_none_may_be(lethe, app, method, status):
    """The answer has no body whatever its fields say (RFC 9112 section 6.3): what comes all the same is nobody's answer."""
    app.on("/bodiless", f"HTTP/1.1 {status}\r\nContent-Length: 60\r\n\r\n".encode() + answer(b"poison"))
    for _ in range(5):
        with Client(lethe.address) as c:
            r = c.send(f"{method} /bodiless HTTP/1.1\r\nHost: a\r\n\r\n".encode()).response(method)
            assert r.status == int(status[:3])
            assert c.get("/").body == b"ok\n"


def test_answer_before_the_request(origin, lethe):
    """A server that speaks first: its bytes must not answer the request."""
    def early(conn):
        if conn.index == 0:  # the first answer, and one more, later
            conn.request()
            conn.send(answer(b"first"))
            conn.send(answer(b"poison"))
        while conn.request():
            conn.send(answer(b"right"))
    del lethe
    o = origin(early)
    with Lethe(o.address) as proxy, Client(proxy.address) as c:
        assert c.get("/").body == b"first"
        proxy.wait_metric(0, "lethe_upstream_connections", state="idle")
        assert c.get("/").body == b"right"


# --- sent again, or not ---

class Dying(Origin):
    """Answers `alive` requests on a connection; ends it when the next one arrives (`late`), or as soon as told."""

    def __init__(self):
        self.counts, self.end_now = [], threading.Event()
        super().__init__(self._run)

    def _run(self, conn):
        if conn.index > 0:
            while conn.request():
                conn.send(answer(b"second"))
            return
        conn.request()
        conn.send(answer(b"first"))
        conn.head()  # the next one arrives, and nobody answers it
        conn.close()


METHODS = [("GET", True), ("HEAD", True), ("PUT", True), ("DELETE", True), ("OPTIONS", True), ("TRACE", True), ("POST", False),
           ("PATCH", False), ("PURGE", False)]


@pytest.mark.parametrize("method,again", METHODS)
def test_retry_on_a_connection_used_before(method, again):
    with Dying() as origin, Lethe(origin.address) as lethe, Client(lethe.address) as c:
        assert c.get("/").body == b"first"
        r = c.ask(f"{method} /again HTTP/1.1\r\nHost: a\r\n\r\n".encode(), method)
        if again:
            assert r.status == 200
            assert method == "HEAD" or r.body == b"second"
        else:
            assert r.status == 502 and r.get("x-lethe-error") == "upstream_closed"
        assert sum(h.target == "/again" for h in origin.heads) == (2 if again else 1)
        assert lethe.metrics().get("lethe_upstream_retries_total") == (1 if again else 0)


@pytest.mark.parametrize("end", ["close", "reset"])
def test_retry_leaves_the_clients_connection_alone(origin, end):
    """The idle connection breaks while lethe looks away; request and break are both there when it looks again."""
    leave, left = threading.Event(), threading.Event()

    def handler(conn):
        while conn.request():
            conn.send(answer())
            if conn.index == 0:
                assert leave.wait(10)
                getattr(conn, end)()
                left.set()
                return
    o = origin(handler)
    with Lethe(o.address) as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        lethe.wait_metric(1, "lethe_upstream_connections", state="idle")
        lethe.signal(signal.SIGSTOP)
        c.send(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\nGET /two HTTP/1.1\r\nHost: a\r\n\r\n")
        leave.set()
        assert left.wait(10)
        lethe.signal(signal.SIGCONT)
        for _ in range(2):
            r = c.response()
            assert r.status == 200 and not r.has_option("close")


def test_no_retry_with_a_body():
    """Of an idempotent request with a body nobody keeps a copy."""
    with Dying() as origin, Lethe(origin.address) as lethe, Client(lethe.address) as c:
        assert c.get("/").body == b"first"
        r = c.ask(b"PUT /again HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc")
        assert r.status == 502
        assert sum(h.target == "/again" for h in origin.heads) == 1


def test_no_retry_on_a_new_connection(origin):
    def never(conn):
        conn.head()
    o = origin(never)
    with Lethe(o.address) as lethe:
        r = lethe.get("/")
        assert r.status == 502 and r.get("x-lethe-error") == "upstream_closed"
        assert len(o.heads) == 1


@pytest.mark.parametrize("part", [b"H", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n"])
def test_no_retry_once_a_byte_came_back(origin, part):
    def handler(conn):
        if conn.index == 0:
            conn.request()
            conn.send(answer(b"first"))
            conn.head()
            conn.send(part)
            return
        while conn.request():
            conn.send(answer(b"second"))
    o = origin(handler)
    with Lethe(o.address) as lethe, Client(lethe.address) as c:
        assert c.get("/").body == b"first"
        r = c.get("/again")
        assert r.status == 502
        assert sum(h.target == "/again" for h in o.heads) == 1


def test_retried_only_once(origin):
    """The second connection is a new one: its end is the answer."""
    def handler(conn):
        if conn.index == 0:
            conn.request()
            conn.send(answer(b"first"))
        conn.head()
    o = origin(handler)
    with Lethe(o.address) as lethe, Client(lethe.address) as c:
        assert c.get("/").body == b"first"
        assert c.get("/again").status == 502
        assert sum(h.target == "/again" for h in o.heads) == 2


def test_idle_connections_that_the_application_ended(origin):
    """A restart of the application between two requests: no request fails, POST neither, since the end is seen before it is sent."""
    o = origin()
    with Lethe(o.address) as lethe, Client(lethe.address) as c:
        for _ in range(5):
            assert c.get("/").status == 200
            o.drop_connections()
            lethe.wait_metric(0, "lethe_upstream_connections", state="idle")
            assert c.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx").status == 200


# --- away ---

def test_application_is_away():
    where = closed_port_address()
    with Lethe(where, {"timeouts.upstream_connect": "200ms"}) as lethe, Client(lethe.address) as c:
        for _ in range(2):
            r = c.get("/")
            assert r.status == 502 and r.get("x-lethe-error") == "upstream_connect"
        lethe.wait_metric(2, "lethe_requests_total", outcome="upstream_failed")


def test_application_goes_away_and_comes_back(origin):
    """Once it was reached, a refused connection is answered at once; when it is back, nothing needs a restart."""
    o = origin()
    with Lethe(o.address, {"timeouts.upstream_connect": "60s"}) as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        o.close_listener()
        o.drop_connections()
        lethe.wait_metric(0, "lethe_upstream_connections", state="idle")
        assert c.get("/").status == 502  # within the client's 15 s, not the 60 s of the time-out
        o.start()
        assert c.get("/").status == 200


def test_application_that_starts_later(origin):
    """At start, requests wait for the application as long as upstream_connect."""
    o = origin(listen=False, address=closed_port_address())
    with Lethe(o.address, {"timeouts.upstream_connect": "30s"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET /patient HTTP/1.1\r\nHost: a\r\n\r\n")
        lethe.wait_metric(1, "lethe_client_connections")
        o.start()
        assert c.response().status == 200
