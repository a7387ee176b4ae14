# SPDX-License-Identifier: Apache-2.0
"""Clients that only want to do harm (RFC 9113 section 10.5): while one of them floods, others are served all the time, the memory stays
bounded, the application is not run over, and in the end the flood is answered by GOAWAY, by resets, or simply lived through. Each runs
against the build with sanitizers and against the optimised one, whose memory is measured."""
import struct
import threading

import pytest

from h2_frames import (CONTINUATION, DATA, END_HEADERS, END_STREAM, HEADERS, INITIAL_WINDOW_SIZE, PING, PREFACE, PRIORITY, SETTINGS, encode,
                       frame, integer, literal, rst_stream, settings, window_update)
from h2_rig import H2, TARGET, memory, start
from rig import App, Client, wait_for

MB = 1 << 20
CALM = ("ENHANCE_YOUR_CALM", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "COMPRESSION_ERROR", "STREAM_CLOSED", "NO_ERROR",
        "FRAME_SIZE_ERROR")
HEAD = encode([(":method", "GET"), (":scheme", "http"), (":path", "/hold"), (":authority", "test.example")])
POST = encode([(":method", "POST"), (":scheme", "http"), (":path", "/hold"), (":authority", "test.example")])
WHOLE = END_HEADERS | END_STREAM


class Load:
    """How many requests run in the application at once, and the most there were."""

    def __init__(self):
        self.lock, self.now, self.most = threading.Lock(), 0, 0

    def __enter__(self):
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)

    def __exit__(self, *_):
        with self.lock:
            self.now -= 1


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        app.load = Load()

        @app.on("/hold")
        def _(conn, _):
            with app.load:
                while conn.reader.fill():
                    pass
            return False

        @app.on("/endless")
        def _(conn, head):
            conn.body(head)
            with app.load:
                conn.send(b"HTTP/1.1 200 OK\r\n\r\n")
                while True:
                    conn.send(b"x" * 65536)
        yield app


@pytest.fixture(name="build", scope="module", params=["checked", "optimised"] if TARGET == "lethe" else ["reference"])
def fixture_build(request):
    return request.getfixturevalue("release_binary") if request.param == "optimised" else None


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(app, build):
    with start(app, build, head="2s", upstream="3s") as proxy:
        proxy.measured = build is not None or TARGET != "lethe"
        yield proxy


class Bystander:
    """Another client, by HTTP/2 and by HTTP/1.1, one request after the other; what it did not get is in `errors`."""

    def __init__(self, proxy):
        self.proxy, self.stop, self.served, self.errors = proxy, threading.Event(), 0, []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        try:
            while not self.stop.is_set():
                with H2(self.proxy.address) as c:
                    for _ in range(20):
                        s = c.get("/bystander")
                        assert s.status == 200 and s.body == b"ok\n", s
                if TARGET != "nginx":
                    with Client(self.proxy.address) as c:
                        assert c.get("/bystander").status == 200
                self.served += 1
        except Exception as e:  # pylint: disable=broad-except
            self.errors.append(repr(e))

    def __enter__(self):
        self.thread.start()
        wait_for(lambda: self.served or self.errors, what="the bystander is served")
        return self

    def __exit__(self, kind, *_):
        before = self.served
        if kind is None:
            wait_for(lambda: self.served > before + 1 or self.errors, 20, "the bystander is served during and behind the flood")
        self.stop.set()
        self.thread.join(20)
        assert kind or not self.errors, self.errors


class Watch:
    """The most memory that the proxy had while the block ran, beyond what it had before."""

    def __init__(self, proxy):
        self.proxy, self.stop, self.most = proxy, threading.Event(), 0
        self.before = memory(proxy)
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self):
        while not self.stop.wait(0.02):
            self.most = max(self.most, memory(self.proxy) - self.before)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        self.thread.join(5)
        self.most = max(self.most, memory(self.proxy) - self.before)


def on_stream(c, block=POST):
    """An open stream that the application holds."""
    stream = c.next_stream
    c.watch(stream)
    c.send(frame(HEADERS, END_HEADERS, stream, block)).ping()
    return stream


def numbered(count, make):
    """make(stream) for `count` new streams, as one flood."""
    return lambda c: b"".join(make(1 + 2 * i) for i in range(count))


def constant(count, data):
    return lambda c: data * count


def with_stream(count, make):
    return lambda c: make(on_stream(c)) * count


def bomb(c):
    """One entry of the table that is named many thousand times: 64 KB that would be 60 MB."""
    c.send(frame(HEADERS, WHOLE, 1, HEAD + b"\x40\1x" + integer(3900, 7) + b"v" * 3900))
    c.watch(1)
    c.next_stream = 3
    reference = integer(62, 7, 0x80)
    head = frame(HEADERS, END_STREAM, 3, HEAD + reference * 16000)
    return head + frame(CONTINUATION, 0, 3, reference * 16384) * 2 + frame(CONTINUATION, END_HEADERS, 3, reference * 16000)


def short_bombs(c):
    """The same on many streams, a frame each."""
    c.send(frame(HEADERS, WHOLE, 1, HEAD + b"\x40\1x" + integer(3900, 7) + b"v" * 3900))
    return b"".join(frame(HEADERS, WHOLE, s, HEAD + integer(62, 7, 0x80) * 16000) for s in range(3, 403, 2))


FLOODS = {
    "rapid reset": numbered(20000, lambda s: frame(HEADERS, WHOLE, s, HEAD) + rst_stream(s)),
    "rapid reset of uploads": numbered(20000, lambda s: frame(HEADERS, END_HEADERS, s, POST) + frame(DATA, 0, s, b"x") + rst_stream(s)),
    "made you reset by a window's overflow":
        numbered(20000, lambda s: frame(HEADERS, WHOLE, s, HEAD) + window_update(s, 0x7fffffff)),
    "made you reset by HEADERS twice":
        numbered(20000, lambda s: frame(HEADERS, END_HEADERS, s, POST) + frame(HEADERS, END_HEADERS, s, literal(b"x", b"y"))),
    "malformed requests": numbered(20000, lambda s: frame(HEADERS, WHOLE, s, HEAD + literal(b"connection", b"close"))),
    "HEADERS without fields": numbered(50000, lambda s: frame(HEADERS, WHOLE, s)),
    "CONTINUATION without end":
        constant(1, frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1, literal(b"x", b"v" * 16000)) * 2000),
    "CONTINUATION without end, small":
        constant(1, frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1, literal(b"x", b"y")) * 200000),
    "CONTINUATION without content": constant(1, frame(HEADERS, END_STREAM, 1, HEAD) + frame(CONTINUATION, 0, 1) * 200000),
    "SETTINGS": constant(200000, settings({INITIAL_WINDOW_SIZE: 65535})),
    "SETTINGS, empty": constant(200000, settings()),
    "SETTINGS of 2730 values": constant(1000, frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 65535) * 2730)),
    "SETTINGS that move all windows": constant(100000, settings({INITIAL_WINDOW_SIZE: 0}) + settings({INITIAL_WINDOW_SIZE: 0x7fff0000})),
    "PING": constant(200000, frame(PING, 0, 0, b"flooding")),
    "PRIORITY": numbered(200000, lambda s: frame(PRIORITY, 0, s, struct.pack(">IB", max(0, s - 2), 200))),
    "WINDOW_UPDATE of the connection": constant(200000, window_update(0, 1)),
    "WINDOW_UPDATE of a stream": with_stream(200000, lambda s: window_update(s, 1)),
    "empty DATA": with_stream(200000, lambda s: frame(DATA, 0, s)),
    "DATA of padding": with_stream(30, lambda s: frame(DATA, 8, s, b"\xff" + b"\0" * 255)),
    "RST_STREAM again and again": with_stream(200000, rst_stream),
    "unknown frames": constant(2000, frame(0x42, 0, 0, b"x" * 16384)),
    "a header list of references": bomb,
    "200 header lists of references": short_bombs,
}


def survived(proxy, app, flood, watch):
    """What holds behind every flood."""
    if proxy.measured:
        assert watch.most < 24 * MB, f"{flood}: the proxy grew by {watch.most / MB:.1f} MB"
    wait_for(lambda: app.load.now == 0, 30, f"{flood}: what it left at the application ends")
    with H2(proxy.address) as c:
        c.alive(f"behind the flood {flood}")


@pytest.mark.parametrize("reads", [True, False], ids=["reading", "deaf"])
@pytest.mark.parametrize("flood", FLOODS, ids=lambda n: n.replace(" ", "-"))
def test_flood(flood, reads, proxy, app):
    """The client reads what comes, or nothing at all: what waits for it must not grow."""
    app.load.most = 0
    with Watch(proxy) as watch, Bystander(proxy), H2(proxy.address) as c:
        c.ready()
        c.replenish = False
        data = FLOODS[flood](c)
        if reads:
            c.lax = True
            c.send(data)
            ends(c, flood)
        else:
            c.pour(data)
    survived(proxy, app, flood, watch)
    assert app.load.most <= 1000, f"{flood}: {app.load.most} requests at once in the application"


def ends(c, flood):
    """The flood is over: the connection has ended for a reason that was told, or it answers PING."""
    count = len(c.pongs)
    c.send(frame(PING, 0, 0, b"are you?"))
    c.until(lambda: c.over or b"are you?" in c.pongs[count:], 60, f"{flood}: GOAWAY or an answer", or_end=True)
    if c.over:
        assert not c.goaways or c.goaways[-1][1] in CALM, f"{flood}: {c.goaways}"


# --- slow ones ---

SLOW = {
    "nothing at all": b"",
    "half a preface": PREFACE[:10],
    "a preface without SETTINGS": PREFACE,
    "half a frame's head": PREFACE + settings() + frame(HEADERS, WHOLE, 1, HEAD)[:5],
    "half a frame": PREFACE + settings() + frame(HEADERS, WHOLE, 1, HEAD)[:30],
    "half a field block": PREFACE + settings() + frame(HEADERS, END_STREAM, 1, HEAD),
}


@pytest.mark.parametrize("name", SLOW, ids=lambda n: n.replace(" ", "-"))
def test_slow_head(name, app, build):
    """timeouts.head (or timeouts.idle, where nothing has begun) ends it."""
    with start(app, build, {"timeouts.idle": "2s"}, head="1s", upstream="60s") as proxy, Bystander(proxy):
        with Client(proxy.address, timeout=30) as c:
            c.send(SLOW[name])
            c.end()  # or TimeoutError


def test_slow_head_by_drops(app, build):
    """A byte now and then does not lengthen the time that a head may take."""
    block = HEAD + literal(b"x", b"v" * 1000)
    with start(app, build, head="1s", upstream="60s") as proxy, Bystander(proxy), H2(proxy.address) as c:
        c.ready().watch(1)
        c.send(frame(HEADERS, END_STREAM, 1, b""))
        data = frame(CONTINUATION, END_HEADERS, 1, block)
        for byte in data:
            c.send(bytes([byte]))
            if c.over:
                break
            c.read(0.1)
        assert c.over, "section 10.5: a head by drops was waited for longer than ten times its limit"


def test_idle_connection(app, build):
    """It is told that it ends, without an error."""
    if TARGET != "lethe":
        pytest.skip("timeouts.idle is lethe's own")
    with start(app, build, {"timeouts.idle": "1s"}) as proxy, H2(proxy.address) as c:
        c.alive()
        c.connection_error("9.1 (timeouts.idle)", "NO_ERROR", seconds=30)


def test_slow_body(proxy, app):
    """A body that never comes ends by timeouts.upstream; the application sees its connection end, other streams are served."""
    with H2(proxy.address) as c:
        stream = c.request("/hold", [("content-length", "10")], method="POST", end=False)
        c.until(lambda: c.streams[stream].over, 30, "the end of a stream whose body does not come")
        s = c.streams[stream]
        assert s.reset or s.status in (408, 504), s
        c.alive("a slow body beside it")
    wait_for(lambda: app.load.now == 0, 20, "the request at the application ends")


def test_slow_reader(proxy, app):
    """A window that is never opened: the answer is given up, and never looks like a whole one."""
    with Bystander(proxy), H2(proxy.address, {INITIAL_WINDOW_SIZE: 0}, replenish=False) as c:
        streams = [c.request("/endless") for _ in range(10)]
        c.until(lambda: all(c.streams[s].over for s in streams) or c.over, 60, "the end of answers that nobody reads", or_end=True)
        assert not any(c.streams[s].ended for s in streams)
        if not c.over:
            c.change({INITIAL_WINDOW_SIZE: 65535}).alive("answers that nobody read beside it")
    wait_for(lambda: app.load.now == 0, 20, "the requests at the application end")


def test_slow_reader_that_reads_no_byte(proxy, app):
    """Windows are wide open, but the socket is never read."""
    with Watch(proxy) as watch, Bystander(proxy), H2(proxy.address, {INITIAL_WINDOW_SIZE: 0x7fffffff}, replenish=False) as c:
        c.send(window_update(0, 0x7fff0000 - 65535))
        for _ in range(10):
            c.request("/endless")
        wait_for(lambda: app.load.now == 10, what="ten answers run")
        wait_for(lambda: app.load.now == 0, 60, "answers that nobody reads are given up")
    survived(proxy, app, "a client that reads nothing", watch)


def test_many_connections_that_flood_a_little(proxy, app):
    """Each stays below what would be noticed; together they are 100 times as much."""
    with Watch(proxy) as watch, Bystander(proxy):
        clients = [H2(proxy.address) for _ in range(100)]
        for c in clients:
            c.ready()
            c.send(b"".join(frame(HEADERS, WHOLE, s, HEAD) + rst_stream(s) for s in range(1, 101, 2)))
            c.send(frame(PING, 0, 0, b"flooding") * 50 + settings() * 50)
        for c in clients:
            c.close()
    survived(proxy, app, "100 connections", watch)
