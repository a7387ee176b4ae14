# SPDX-License-Identifier: Apache-2.0
"""Flow control of HTTP/2 (RFC 9113 sections 5.2 and 6.9). That no window is ever overrun is checked by the client of h2_rig.py with every
DATA frame; here the windows are made small, negative or shut, and a slow end must hold back the fast one without filling the proxy."""
import hashlib
import threading

import pytest

from h2_frames import INITIAL_WINDOW_SIZE, MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE
from h2_rig import H2, TARGET, memory, start
from rig import App, wait_for

MB = 1 << 20
MOST = (1 << 31) - 1


def bytes_of(token, size):
    """Bytes that belong to one request alone."""
    return (hashlib.sha256(token.encode()).hexdigest().encode() * (size // 64 + 1))[:size]


def query(head):
    token, size = head.target.split("?")[1].split(",")
    return token, int(size)


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        @app.on("/own")
        def _(conn, head):
            conn.body(head)
            data = bytes_of(*query(head))
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data) + (b"" if head.method == "HEAD" else data))

        @app.on("/digest")
        def _(conn, head):
            digest = hashlib.sha256()
            conn.body(head, digest.update)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 64\r\n\r\n" + digest.hexdigest().encode())
        yield app


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(app):
    with start(app) as proxy:
        yield proxy


@pytest.fixture(name="optimised")
def fixture_optimised(request):
    """The binary whose memory is measured: a sanitizer keeps what was freed."""
    return request.getfixturevalue("release_binary") if TARGET == "lethe" else None


def quiet(c, seconds=0.3):
    """Nothing more comes: two answers to PING, and a little time behind them."""
    c.ping().ping()
    while c.read(seconds):
        pass


def test_6_9_a_download_byte_by_byte(proxy):
    with H2(proxy.address, {INITIAL_WINDOW_SIZE: 1}, replenish=False) as c:
        stream = c.request(f"/own?a,{MB}")
        s = c.streams[stream]
        for i in range(1, 101):
            c.until(lambda n=i: len(s.body) == n, what=f"section 6.9: byte {i}")
            c.give(stream, 1)
        while not s.ended:
            c.give(0, 65535).give(stream, 65535)
            c.until(lambda: s.ended or s.receive_window == 0, what="section 6.9: as much as the window allows")
        assert bytes(s.body) == bytes_of("a", MB)


def test_6_9_1_the_connections_window(proxy):
    """The streams' windows are wide open, the connection's is not."""
    with H2(proxy.address, {INITIAL_WINDOW_SIZE: MOST}, replenish=False) as c:
        streams = [c.request(f"/own?{i},200000") for i in range(5)]
        c.until(lambda: c.receive_window == 0, what="section 6.9.1: 65535 bytes")
        while not all(c.streams[s].ended for s in streams):
            c.give(0, 30000)
            c.until(lambda: c.receive_window == 0 or all(c.streams[s].ended for s in streams), what="section 6.9.1: 30000 bytes more")
        for i, s in enumerate(streams):
            assert bytes(c.streams[s].body) == bytes_of(str(i), 200000)


def test_6_9_2_a_negative_window(proxy):
    """SETTINGS take back what was given: nothing may come until the window is above zero again."""
    with H2(proxy.address, replenish=False) as c:
        c.give(0, 10 * MB)
        stream = c.request(f"/own?a,{MB}")
        s = c.streams[stream]
        c.until(lambda: len(s.body) == 65535, what="the first window")
        c.change({INITIAL_WINDOW_SIZE: 1000}).until(lambda: not c.pending, what="the acknowledgement")
        assert s.receive_window == 1000 - 65535
        c.give(stream, 64535)
        quiet(c)
        assert len(s.body) == 65535, "section 6.9.2: DATA came into a window of 0"
        c.give(stream, 10)
        c.until(lambda: len(s.body) == 65545, what="section 6.9.2: ten bytes more")
        quiet(c)
        assert len(s.body) == 65545
        c.change({INITIAL_WINDOW_SIZE: 2 * MB})
        assert bytes(c.response(stream).body) == bytes_of("a", MB)


def test_6_9_2_a_change_opens_all_streams(proxy):
    with H2(proxy.address, {INITIAL_WINDOW_SIZE: 0}, replenish=False) as c:
        c.give(0, 10 * MB)
        streams = [c.request(f"/own?{i},50000") for i in range(10)]
        for s in streams:
            c.until(lambda n=s: c.streams[n].headers, what="section 6.9: HEADERS are not subject to flow control")
        assert not any(c.streams[s].body for s in streams)
        c.change({INITIAL_WINDOW_SIZE: 50000})
        for i, s in enumerate(streams):
            assert bytes(c.response(s).body) == bytes_of(str(i), 50000)


def test_6_9_a_head_needs_no_window(proxy, app):
    """Flow control is for DATA alone; what has no body is whole without a window."""
    app.on("/none", b"HTTP/1.1 204 No Content\r\n\r\n")
    with H2(proxy.address, {INITIAL_WINDOW_SIZE: 0}, replenish=False) as c:
        assert c.get("/none").status == 204
        s = c.ask("/own?a,1000", method="HEAD")
        assert s.status == 200 and s.get("content-length") == "1000"
        stream = c.request("/own?a,0")
        c.until(lambda: c.streams[stream].headers, what="section 6.9: HEADERS into a window of 0")
        c.give(stream, 1)
        assert c.response(stream).body == b""


def test_4_2_larger_frames_when_they_are_allowed(proxy):
    with H2(proxy.address, {INITIAL_WINDOW_SIZE: MOST, MAX_FRAME_SIZE: 65536}) as c:
        c.give(0, 100 * MB)
        for _ in range(3):
            assert bytes(c.get(f"/own?a,{MB}").body) == bytes_of("a", MB)
        c.change({MAX_FRAME_SIZE: 16384}).until(lambda: not c.pending, what="the acknowledgement")
        assert bytes(c.get(f"/own?a,{MB}").body) == bytes_of("a", MB)


def test_5_2_a_stalled_download_stops_no_other(proxy):
    with H2(proxy.address, replenish=False) as c:
        stalled = [c.request(f"/own?{i},{MB}") for i in range(10)]
        c.give(0, 100 * MB)
        c.until(lambda: all(len(c.streams[s].body) == 65535 for s in stalled), what="ten full windows")
        for i in range(20):
            assert bytes(c.get(f"/own?x{i},60000").body) == bytes_of(f"x{i}", 60000)
        assert all(len(c.streams[s].body) == 65535 for s in stalled)
        for s in stalled:
            c.give(s, MB)
        for i, s in enumerate(stalled):
            assert bytes(c.response(s).body) == bytes_of(str(i), MB)


def test_5_2_a_stalled_upload_stops_no_other(proxy, app):
    """The application does not read one request's body; those of others on this connection arrive."""
    go = threading.Event()

    @app.on("/slow")
    def _(conn, head):
        go.wait(60)
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    try:
        with H2(proxy.address) as c:
            slow = c.request("/slow", method="POST", end=False)
            s = c.streams[slow]
            fill(c, slow, b"x" * 20 * MB)
            assert c.send_window > 0, "section 5.2.2: one stalled stream took the whole connection's window"
            for i in range(10):
                data = bytes_of(str(i), 200000)
                assert c.ask("/digest", method="POST", body=data).body.decode() == hashlib.sha256(data).hexdigest()
            assert not s.over
            go.set()
            c.body(slow, b"", end=True)
            assert c.response(slow).status == 200
    finally:
        go.set()


def fill(c, stream, data):
    """Sends until nothing more is allowed, and says how much that was."""
    s, at = c.streams[stream], 0
    while at < len(data):
        room = min(len(data) - at, c.send_window, s.send_window, c.peer[MAX_FRAME_SIZE])
        if room > 0:
            c.data(stream, data[at:at + room])
            at += room
        elif c.read(1) is None:
            break
    return at


@pytest.mark.parametrize("length", [True, False], ids=["content-length", "chunked"])
def test_5_2_a_slow_application_holds_the_upload_back(optimised, length):
    data = bytes(range(256)) * (20 * MB // 256)
    go, digest = threading.Event(), hashlib.sha256()
    with App(timeout=60) as app, start(app, optimised) as proxy:
        app.listener.setsockopt(1, 8, 16384)  # SO_RCVBUF: what the kernel would keep is no proof

        @app.on("/slow")
        def _(conn, head):
            go.wait(60)
            conn.body(head, digest.update)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        with H2(proxy.address) as c:
            c.get("/")
            before = memory(proxy)
            fields = [("content-length", str(len(data)))] if length else []
            stream = c.request("/slow", fields, method="POST", end=False)
            sent = fill(c, stream, data)
            grown = memory(proxy) - before
            try:
                assert sent < 12 * MB, f"section 5.2: {sent} bytes were taken for an application that reads nothing"
                assert grown < 4 * MB, f"the proxy grew by {grown} bytes"
            finally:
                go.set()
            c.body(stream, data[sent:], seconds=60)
            assert c.response(stream).status == 200 and digest.digest() == hashlib.sha256(data).digest()


def test_5_2_a_slow_client_holds_the_application_back(optimised):
    piece, sent = b"0123456789abcdef" * 4096, []
    with App(timeout=60) as app, start(app, optimised) as proxy:
        @app.on("/large")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (len(piece) * 640))  # 40 MB
            for _ in range(640):
                conn.send(piece)
                sent.append(1)
        with H2(proxy.address, replenish=False) as c:
            c.get("/")
            before = memory(proxy)
            stream = c.request("/large")
            c.until(lambda: c.receive_window == 0, what="the first window")
            quiet(c, 1)
            grown = memory(proxy) - before
            assert len(sent) < 400, f"{len(sent) * len(piece)} bytes were taken for a client that reads nothing"
            assert grown < 4 * MB, f"the proxy grew by {grown} bytes"
            c.replenish = True
            c.give(0, 65535).give(stream, 65535)
            assert bytes(c.response(stream, 60).body) == piece * 640


def test_100_streams_get_their_own_bytes(proxy):
    with H2(proxy.address) as c:
        c.ready()
        count = min(100, c.peer.get(MAX_CONCURRENT_STREAMS, 100))
        sizes = [(i * 7919) % 90000 for i in range(count)]
        streams = [c.request(f"/own?s{i},{n}") for i, n in enumerate(sizes)]
        for i, s in enumerate(streams):
            got = c.response(s)
            assert got.status == 200 and bytes(got.body) == bytes_of(f"s{i}", sizes[i]), f"stream {s} got other bytes"


def test_50_uploads_in_turns(proxy):
    """A frame of one, a frame of the next: each arrives as it was sent."""
    with H2(proxy.address) as c:
        bodies = [bytes_of(f"u{i}", 20000 + i * 100) for i in range(50)]
        streams = [c.request("/digest", method="POST", end=False) for _ in bodies]
        for at in range(0, 25000, 1000):
            for s, data in zip(streams, bodies):
                if at < len(data):
                    c.body(s, data[at:at + 1000], end=at + 1000 >= len(data))
        for s, data in zip(streams, bodies):
            assert c.response(s).body.decode() == hashlib.sha256(data).hexdigest()


def test_the_other_end_changes_its_mind_often(proxy):
    """Windows and frame sizes change while bodies run."""
    with H2(proxy.address, replenish=True) as c:
        streams = [c.request(f"/own?m{i},300000") for i in range(10)]
        for i in range(200):
            c.change({INITIAL_WINDOW_SIZE: (0, 1, 100000, 65535, 16384)[i % 5]})
            c.read(1)
        c.change({INITIAL_WINDOW_SIZE: MOST // 2})
        for i, s in enumerate(streams):
            assert bytes(c.response(s).body) == bytes_of(f"m{i}", 300000)


def test_a_client_that_leaves_in_the_middle(proxy, app):
    """The application sees its connections end."""
    running = []

    @app.on("/endless")
    def _(conn, head):
        conn.body(head)
        running.append(1)
        try:
            conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
            while True:
                conn.send(b"x" * 65536)
        finally:
            running.pop()
    with H2(proxy.address, replenish=False) as c:
        for _ in range(20):
            c.request("/endless")
        c.until(lambda: c.receive_window == 0, what="the first bytes")
        wait_for(lambda: len(running) == 20, what="20 requests at the application")
    wait_for(lambda: not running, 20, "the application's connections end")
