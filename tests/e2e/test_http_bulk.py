# SPDX-License-Identifier: Apache-2.0
"""Large bodies, slow readers, many connections: every buffer has a maximum, and a slow reader stops a fast writer."""
import hashlib
import os
import resource
import socket
import threading

import pytest

from rig import App, Client, Lethe, answer, wait_for

MB = 1 << 20
SIZE = 100 * MB
BLOCK = os.urandom(MB - 7)  # no power of two: pieces do not align with anybody's buffers


def digest_of(size):
    h = hashlib.sha256()
    while size:
        n = min(size, len(BLOCK))
        h.update(BLOCK[:n])
        size -= n
    return h.hexdigest()


DIGEST = digest_of(SIZE)


def send_body(send, size, chunked):
    while size:
        n = min(size, len(BLOCK))
        send(b"%x\r\n%s\r\n" % (n, BLOCK[:n]) if chunked else BLOCK[:n])
        size -= n
    if chunked:
        send(b"0\r\n\r\n")


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App(timeout=60) as app:
        @app.on("/up")
        def _(conn, head):
            h = hashlib.sha256()
            conn.body(head, h.update)
            conn.send(answer(h.hexdigest()))

        @app.on("/down")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % SIZE)
            send_body(conn.send, SIZE, False)

        @app.on("/downchunked")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            send_body(conn.send, SIZE, True)

        @app.on("/downclose")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
            send_body(conn.send, SIZE, False)
            return False
        yield app


@pytest.fixture(name="lethe", scope="module")
def fixture_lethe(app):
    with Lethe(app.address) as lethe:
        yield lethe


@pytest.mark.parametrize("chunked", [False, True], ids=["sized", "chunked"])
def test_100_mb_up(lethe, chunked):
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {SIZE}"
    with Client(lethe.address, timeout=60) as c:
        c.send(f"POST /up HTTP/1.1\r\nHost: a\r\n{framing}\r\n\r\n".encode())
        send_body(c.send, SIZE, chunked)
        assert c.response().body.decode() == DIGEST


@pytest.mark.parametrize("path", ["/down", "/downchunked", "/downclose"])
def test_100_mb_down(lethe, path):
    h = hashlib.sha256()
    with Client(lethe.address, timeout=60) as c:
        c.send(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        r = c.response(sink=h.update)
        assert r.status == 200 and h.hexdigest() == DIGEST
        assert c.get("/").body == b"ok\n"


# --- slow readers ---

def plateau(counter, seconds=10):
    """The value at which the counter stays: the same at 10 looks of 50 ms each."""
    last, same = [-1], [0]

    def stays():
        now = counter()
        same[0] = same[0] + 1 if now == last[0] else 0
        last[0] = now
        threading.Event().wait(0.05)
        return same[0] >= 10
    wait_for(stays, seconds, "the writer is stopped")
    return last[0]


def flood(app, path, total):
    """An answer of `total` bytes; counts what could be sent."""
    sent = [0]

    @app.on(path)
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % total)
        while sent[0] < total:
            sent[0] += conn.sock.send(BLOCK[:65536])
    return sent


def test_slow_reader_stops_the_application(lethe, app):
    sent = flood(app, "/gb", 1 << 30)
    with Client(lethe.address, rcvbuf=16384) as c:
        c.send(b"GET /gb HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reader.head()
        first = plateau(lambda: sent[0])
        assert first < 32 * MB  # the kernel's buffers and little more
        got = [0]
        c.reader.exactly(4 * MB, lambda piece: got.__setitem__(0, got[0] + len(piece)))
        wait_for(lambda: sent[0] > first, what="the writer goes on")
        assert plateau(lambda: sent[0]) < first + 16 * MB
        m = lethe.metrics()
        assert m.get("lethe_buffer_bytes") < MB


def test_slow_application_stops_the_client(lethe, app):
    go_on = threading.Event()

    @app.on("/lazy")
    def _(conn, head):
        assert go_on.wait(30)
        return False
    with Client(lethe.address) as c:
        c.send(b"POST /lazy HTTP/1.1\r\nHost: a\r\nContent-Length: 1073741824\r\n\r\n")
        wait_for(lambda: app.seen("/lazy"))
        c.sock.settimeout(0.5)
        sent = 0
        with pytest.raises(socket.timeout):
            while sent < 1 << 30:
                sent += c.sock.send(BLOCK[:65536])
        assert sent < 32 * MB
        go_on.set()


def test_memory_of_a_slow_reader(release_binary, app):
    """10 KB/s of a 1 GB answer: resident memory does not grow with what waits."""
    sent = flood(app, "/gbslow", 1 << 30)
    with Lethe(app.address, binary=release_binary) as lethe:
        clients = [Client(lethe.address, rcvbuf=8192) for _ in range(4)]
        for c in clients:
            c.send(b"GET /gbslow HTTP/1.1\r\nHost: a\r\n\r\n")
            c.reader.head()
        for _ in range(20):
            for c in clients:
                c.reader.exactly(1024)
            threading.Event().wait(0.1)
            assert lethe.memory()["rss"] < 20 * MB
        assert sent[0] > 0
        for c in clients:
            c.close()


def test_memory_of_slow_readers_any_build(lethe, app):
    """With a sanitizer the absolute numbers say nothing; that nothing piles up shows all the same."""
    flood(app, "/gbrel", 1 << 30)
    with Client(lethe.address, rcvbuf=8192) as c:
        c.send(b"GET /gbrel HTTP/1.1\r\nHost: a\r\n\r\n")
        c.reader.head()
        c.reader.exactly(256 << 10)
        before = lethe.memory()["rss"]
        c.reader.exactly(8 * MB, lambda piece: None)
        assert lethe.memory()["rss"] < before + 8 * MB


def test_idle_connections_cost_little(release_binary, app):
    """5,000 kept connections, each of which has carried a request, cost less than 1 KB of memory each."""
    n = 5000
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < n + 500:
        pytest.skip(f"only {hard} open files allowed (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 3 * n), hard))
    clients = []
    try:
        with Lethe(app.address, binary=release_binary) as lethe:
            def connect(count):
                for _ in range(count):
                    clients.append(Client(lethe.address))
                    assert clients[-1].get("/").status == 200
            connect(200)  # what every process needs once
            lethe.wait_metric(200, "lethe_client_connections")
            before = lethe.memory()["anon"]
            connect(n)
            lethe.wait_metric(200 + n, "lethe_client_connections")
            each = (lethe.memory()["anon"] - before) / n
            print(f"{each:.0f} bytes a connection")
            assert each < 1024
            assert lethe.metrics().get("lethe_buffer_bytes") < 4 * MB
            for c in clients:
                c.close()
            lethe.wait_metric(0, "lethe_client_connections", seconds=20)
    finally:
        for c in clients:
            c.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_no_descriptor_is_lost(app):
    """After answers, refusals, deaths and tunnels of every kind as many files are open as before."""
    app.on("/die-early")(lambda conn, head: False)
    app.on("/die-late", b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
    app.on("/garbage", b"garbage\r\n\r\n")

    @app.on("/ws")
    def _(conn, head):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        return False
    with Lethe(app.address, {"timeouts.idle": "1s", "timeouts.upstream": "300ms"}) as lethe:
        def count():
            return len(os.listdir(f"/proc/{lethe.pid}/fd"))
        before = count()
        for i in range(30):
            for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /die-early HTTP/1.1\r\nHost: a\r\n\r\n",
                         b"GET /die-late HTTP/1.1\r\nHost: a\r\n\r\n", b"GET /garbage HTTP/1.1\r\nHost: a\r\n\r\n", b"nonsense\r\n\r\n",
                         b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
                         b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n"):
                with Client(lethe.address) as c:
                    c.send(data)
                    if i % 3 == 0:
                        c.reset()
                    elif i % 3 == 1:
                        c.reader.fill()
        wait_for(lambda: count() == before, 15, "descriptors are given back")


def test_many_at_once(lethe, app):
    """300 requests under way together, over and over; their buffers are given back although the connections stay."""
    held = threading.Barrier(301)

    @app.on("/held")
    def _(conn, head):
        conn.body(head)
        held.wait(20)
        conn.send(answer())
    clients = [Client(lethe.address, timeout=60) for _ in range(300)]
    for round_ in range(3):
        for c in clients:
            c.send(b"GET /held HTTP/1.1\r\nHost: a\r\n\r\n")
        if round_ == 2:
            lethe.wait_metric(lambda v: v >= 300 * 16384, "lethe_buffer_bytes")
        held.wait(20)
        assert all(c.response().status == 200 for c in clients)
    lethe.wait_metric(lambda v: v < 3 * MB, "lethe_buffer_bytes")
    for c in clients:
        c.close()
    lethe.wait_metric(0, "lethe_client_connections")


def test_many_threads(app):
    """Both workers, 16 clients, every kind of request: each answer belongs to its request."""
    @app.on("/echo2")
    def _(conn, head):
        conn.send(answer(head.target.encode() + b"|" + conn.body(head).body))
    errors = []

    def work(k):
        try:
            with Client(lethe.address, timeout=60) as c:
                for i in range(60):
                    body = f"{k}-{i}-".encode() * (i * 11 % 300)
                    if i % 3:
                        c.send(f"POST /echo2?{k}.{i} HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
                    else:
                        c.send(f"POST /echo2?{k}.{i} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".encode() +
                               (b"%x\r\n%s\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n")
                    assert c.response().body == f"/echo2?{k}.{i}|".encode() + body
        except Exception as e:  # pylint: disable=broad-except
            errors.append(repr(e))
    with Lethe(app.address, workers=2) as lethe:
        threads = [threading.Thread(target=work, args=(k,), daemon=True) for k in range(16)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        assert not errors
        lethe.wait_metric(16 * 60, "lethe_requests_total", outcome="ok")
