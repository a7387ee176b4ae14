# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 frames and streams, right and broken (RFC 9113 sections 3 to 7): each row has the section's number in its name. A connection
error is GOAWAY and the connection's end; a stream error leaves the connection alive; and whatever one client does, another is served."""
import struct
import threading
from typing import Callable, NamedTuple

import pytest

from h2_frames import (ACK, CONTINUATION, DATA, ENABLE_PUSH, END_HEADERS, END_STREAM, GOAWAY, HEADERS, INITIAL_WINDOW_SIZE,
                       MAX_CONCURRENT_STREAMS, MAX_FRAME_SIZE, PADDED, PING, PREFACE, PRIO, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
                       WINDOW_UPDATE, encode, frame, rst_stream, settings, window_update)
from h2_fixtures import fixture_c, fixture_proxy
from h2_rig import H2
from rig import App, Client, wait_for

__all__ = ["fixture_c", "fixture_proxy"]

HEAD = encode([(":method", "GET"), (":scheme", "http"), (":path", "/plain"), (":authority", "test.example")])
HOLD = encode([(":method", "GET"), (":scheme", "http"), (":path", "/hold"), (":authority", "test.example")])
POST = encode([(":method", "POST"), (":scheme", "http"), (":path", "/hold"), (":authority", "test.example")])
DEAF = encode([(":method", "POST"), (":scheme", "http"), (":path", "/deaf"), (":authority", "test.example")])
LATER = encode([(":method", "GET"), (":scheme", "http"), (":path", "/late"), (":authority", "test.example")])
TRAILER = encode([("x-t", "1")])
WHOLE = END_HEADERS | END_STREAM


@pytest.fixture(name="app", scope="module")
def fixture_app():
    leave = threading.Event()
    with App() as app:
        @app.on("/hold")
        def _(conn, _):
            while conn.reader.fill():  # no answer, until the other side leaves
                pass
            return False

        @app.on("/deaf")
        def _(_conn, _head):
            leave.wait(60)
            return False

        @app.on("/sink")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(head.body), head.body))
        yield app
        leave.set()


def held(c, block=HOLD, flags=WHOLE):
    """A stream without an answer: half-closed (remote), or open."""
    stream = c.next_stream
    c.watch(stream)
    c.send(frame(HEADERS, flags, stream, block))
    return stream


def opened(c):
    return held(c, POST, END_HEADERS)


def closed(c):
    return c.get("/plain").number


def cancelled(c):
    stream = held(c)
    c.cancel(stream)
    return stream


def bad(section, does, *codes, kind="connection"):
    return Row(section, does, codes, kind)


class Row(NamedTuple):
    name: str
    does: Callable      # sends it; returns the stream that it is about
    codes: tuple
    kind: str           # "connection", "stream", or "either" (section 5.4.1 lets a stream error end the connection)


def sends(*parts):
    return lambda c: c.watch(1) and c.send(b"".join(parts)) and None


def on(where, *makers):
    """Sends frames on the stream that `where` makes."""
    def does(c):
        stream = where(c)
        c.send(b"".join(m(stream) for m in makers))
        return stream
    return does


def data(payload=b"x", flags=0):
    return lambda s: frame(DATA, flags, s, payload)


def more(payload=HEAD, flags=WHOLE, kind=HEADERS):
    return lambda s: frame(kind, flags, s, payload)


def overflowed(c):
    c.pending.append({})
    return on(opened, lambda s: window_update(s, 100) + settings({INITIAL_WINDOW_SIZE: 0x7fffffff}))(c)


PROTOCOL, SIZE, CLOSED, FLOW = "PROTOCOL_ERROR", "FRAME_SIZE_ERROR", "STREAM_CLOSED", "FLOW_CONTROL_ERROR"

ROWS = [
    bad("4.2 HEADERS over the frame size", lambda c: c.send(frame(HEADERS, WHOLE, 1, b"\0" * (c.peer[MAX_FRAME_SIZE] + 1))) and None, SIZE),
    bad("4.2 SETTINGS over the frame size", lambda c: c.send(settings([(99, 0)] * (c.peer[MAX_FRAME_SIZE] // 6 + 1))) and None, SIZE),
    bad("4.2 DATA over the frame size", lambda c: on(opened, data(b"\0" * (c.peer[MAX_FRAME_SIZE] + 1)))(c), SIZE, kind="either"),
    bad("4.3 PRIORITY within a field block", sends(frame(HEADERS, END_STREAM, 1, HEAD), frame(PRIORITY, 0, 3, b"\0\0\0\0\x10")), PROTOCOL),
    bad("4.3 HEADERS of another stream within a field block",
        sends(frame(HEADERS, END_STREAM, 1, HEAD[:9]), frame(HEADERS, WHOLE, 3, HEAD)), PROTOCOL),
    bad("5.1 idle: DATA", sends(frame(DATA, END_STREAM, 1, b"x")), PROTOCOL),
    bad("5.1 idle: RST_STREAM", sends(rst_stream(1)), PROTOCOL),
    bad("5.1 idle: WINDOW_UPDATE", sends(window_update(1, 100)), PROTOCOL),
    bad("5.1 idle: CONTINUATION", sends(frame(CONTINUATION, END_HEADERS, 1, HEAD)), PROTOCOL),
    bad("5.1 half-closed (remote): DATA", on(held, data()), CLOSED, kind="either"),
    bad("5.1 half-closed (remote): HEADERS", on(held, more(TRAILER)), CLOSED, kind="either"),
    bad("5.1 half-closed (remote): CONTINUATION", on(held, more(kind=CONTINUATION)), PROTOCOL),
    bad("5.1.1 an even number", sends(frame(HEADERS, WHOLE, 2, HEAD)), PROTOCOL),
    bad("5.5 an unknown frame within a field block", sends(frame(HEADERS, END_STREAM, 1, HEAD[:9]), frame(0x42, 0, 0, b"x")), PROTOCOL),
    bad("6.1 DATA on stream 0", sends(frame(DATA, END_STREAM, 0, b"x")), PROTOCOL),
    bad("6.1 DATA padded beyond its end", on(opened, data(b"\x05abcd", PADDED)), PROTOCOL),
    bad("6.1 DATA padded without a length", on(opened, data(b"", PADDED)), PROTOCOL, SIZE),
    bad("6.2 HEADERS on stream 0", sends(frame(HEADERS, WHOLE, 0, HEAD)), PROTOCOL),
    bad("6.2 HEADERS padded beyond its end", sends(frame(HEADERS, WHOLE | PADDED, 1, b"\xff" + HEAD)), PROTOCOL),
    bad("6.2 HEADERS padded without a length", sends(frame(HEADERS, WHOLE | PADDED, 1)), PROTOCOL, SIZE),
    bad("6.2 HEADERS too short for its priority", sends(frame(HEADERS, WHOLE | PRIO, 1, b"\0\0\0")), PROTOCOL, SIZE),
    bad("6.3 PRIORITY on stream 0", sends(frame(PRIORITY, 0, 0, b"\0\0\0\x01\x10")), PROTOCOL),
    bad("6.3 PRIORITY of 4 bytes", on(opened, lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0")), SIZE, kind="either"),
    bad("6.4 RST_STREAM on stream 0", sends(rst_stream(0)), PROTOCOL),
    bad("6.4 RST_STREAM of 3 bytes", on(opened, lambda s: frame(RST_STREAM, 0, s, b"\0\0\0")), SIZE),
    bad("6.4 RST_STREAM of 5 bytes", on(opened, lambda s: frame(RST_STREAM, 0, s, b"\0\0\0\x08\0")), SIZE),
    bad("6.5 SETTINGS acknowledged with a payload", sends(settings({INITIAL_WINDOW_SIZE: 1}, ACK)), SIZE),
    bad("6.5 SETTINGS on a stream", sends(settings(stream=1)), PROTOCOL),
    bad("6.5 SETTINGS of 5 bytes", sends(frame(SETTINGS, 0, 0, b"\0\x04\0\0\0")), SIZE),
    bad("6.5.2 ENABLE_PUSH of 2", sends(settings({ENABLE_PUSH: 2})), PROTOCOL),
    bad("6.5.2 INITIAL_WINDOW_SIZE of 2^31", sends(settings({INITIAL_WINDOW_SIZE: 1 << 31})), FLOW),
    bad("6.5.2 INITIAL_WINDOW_SIZE of 2^32-1", sends(settings({INITIAL_WINDOW_SIZE: 0xffffffff})), FLOW),
    bad("6.5.2 MAX_FRAME_SIZE of 16383", sends(settings({MAX_FRAME_SIZE: 16383})), PROTOCOL),
    bad("6.5.2 MAX_FRAME_SIZE of 2^24", sends(settings({MAX_FRAME_SIZE: 1 << 24})), PROTOCOL),
    bad("6.6 PUSH_PROMISE of a client", on(opened, lambda s: frame(PUSH_PROMISE, END_HEADERS, s, b"\0\0\0\x02" + HEAD)), PROTOCOL),
    bad("6.7 PING of 7 bytes", sends(frame(PING, 0, 0, b"x" * 7)), SIZE),
    bad("6.7 PING of 9 bytes", sends(frame(PING, 0, 0, b"x" * 9)), SIZE),
    bad("6.7 PING on a stream", sends(frame(PING, 0, 1, b"x" * 8)), PROTOCOL),
    bad("6.8 GOAWAY on a stream", sends(frame(GOAWAY, 0, 1, b"\0" * 8)), PROTOCOL),
    bad("6.8 GOAWAY of 7 bytes", sends(frame(GOAWAY, 0, 0, b"\0" * 7)), SIZE),
    bad("6.9 WINDOW_UPDATE of 0 on the connection", sends(window_update(0, 0)), PROTOCOL),
    bad("6.9 WINDOW_UPDATE of 0 on a stream", on(opened, lambda s: window_update(s, 0)), PROTOCOL, kind="either"),
    bad("6.9 WINDOW_UPDATE of 3 bytes", sends(frame(WINDOW_UPDATE, 0, 0, b"\0\0\1")), SIZE),
    bad("6.9 WINDOW_UPDATE of 5 bytes on a stream", on(opened, lambda s: frame(WINDOW_UPDATE, 0, s, b"\0\0\0\1\0")), SIZE),
    bad("6.9.1 the connection's window over 2^31-1", sends(window_update(0, 0x7fffffff)), FLOW),
    bad("6.9.1 a stream's window over 2^31-1", on(opened, lambda s: window_update(s, 0x7fffffff)), FLOW, kind="stream"),
    # "MUST treat … as a connection error"; nghttp2, nginx and HAProxy reset the stream, and the rest goes on as well as without it.
    bad("6.9.2 INITIAL_WINDOW_SIZE makes a window larger than 2^31-1", overflowed, FLOW, kind="either"),
    bad("6.10 CONTINUATION without HEADERS", on(opened, more(kind=CONTINUATION)), PROTOCOL),
    bad("6.10 CONTINUATION behind the end of a field block",
        sends(frame(HEADERS, END_STREAM, 1, HEAD[:9]), frame(CONTINUATION, END_HEADERS, 1, HEAD[9:]), frame(CONTINUATION, 4, 1)), PROTOCOL),
    bad("6.10 CONTINUATION on stream 0", sends(frame(HEADERS, END_STREAM, 1, HEAD[:9]), frame(CONTINUATION, 4, 0, HEAD[9:])), PROTOCOL),
    bad("6.10 CONTINUATION on another stream",
        sends(frame(HEADERS, END_STREAM, 1, HEAD[:9]), frame(CONTINUATION, END_HEADERS, 3, HEAD[9:])), PROTOCOL),
    bad("6.10 DATA within a field block", sends(frame(HEADERS, 0, 1, HEAD[:9]), frame(DATA, END_STREAM, 1, b"x")), PROTOCOL),
    bad("8.1 a second HEADERS that does not end the stream", on(opened, more(TRAILER, END_HEADERS)), PROTOCOL, kind="stream"),
]


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name.replace(" ", "-"))
def test_error(row, c):
    stream = row.does(c)
    section = row.name.split()[0]
    if row.kind == "connection":
        c.connection_error(section, *row.codes)
    else:
        (c.stream_error if row.kind == "stream" else c.either_error)(stream, section, *row.codes)


# On a closed stream a frame may be an error of type STREAM_CLOSED or pass without effect (section 5.1: "MAY"; a reset may cross what
# the other side had sent). What it never does is reach the application.
LATE = {
    "DATA behind the end": on(closed, data()),
    "HEADERS behind the end": on(closed, more(LATER)),
    "CONTINUATION behind the end": on(closed, more(kind=CONTINUATION)),
    "WINDOW_UPDATE behind the end": on(closed, lambda s: window_update(s, 1)),
    "RST_STREAM behind the end": on(closed, rst_stream),
    "PRIORITY behind the end": on(closed, lambda s: frame(PRIORITY, 0, s, b"\0\0\0\0\x10")),
    "DATA behind RST_STREAM": on(cancelled, data()),
    "HEADERS behind RST_STREAM": on(cancelled, more(LATER)),
    "WINDOW_UPDATE behind RST_STREAM": on(cancelled, lambda s: window_update(s, 1)),
    "a smaller number": lambda c: c.send(frame(HEADERS, WHOLE, 1, LATER)),
}
HARMLESS = ("WINDOW_UPDATE", "RST_STREAM", "PRIORITY")


@pytest.mark.parametrize("name", LATE, ids=lambda n: "5.1-closed:-" + n.replace(" ", "-"))
def test_closed(name, app, c):
    if name == "a smaller number":
        c.next_stream = 9
        c.get("/plain")
    LATE[name](c)
    try:
        c.alive(f"section 5.1: {name}")
    except AssertionError:
        assert not name.startswith(HARMLESS), f"section 5.1: {name} is no error: {c.goaways}"
        c.connection_error("5.1", "STREAM_CLOSED", "PROTOCOL_ERROR")
    assert not app.seen("/late"), "a request on a closed stream reached the application"


# --- what is right ---

IGNORED = {
    "4.1 an unknown frame type": lambda c: c.send(frame(0x16, 0xff, 0, b"x" * 100)),
    "4.1 an unknown frame type on a stream, of the largest size": on(opened, lambda s: frame(0xfe, 0xff, s, b"x" * 16384)),
    "4.1 an unknown frame type without a payload": lambda c: c.send(frame(0x20)),
    "4.1 undefined flags of PING": lambda c: c.send(frame(PING, 0xfe, 0, b"x" * 8)).until(lambda: len(c.pongs) > 1),
    "4.1 the reserved bit": lambda c: c.send(frame(PING, 0, 1 << 31, b"x" * 8)).until(lambda: len(c.pongs) > 1),
    "5.3.1 PRIORITY on an idle stream": lambda c: c.send(frame(PRIORITY, 0, 101, b"\0\0\0\x07\x10")),
    "6.5.2 an unknown setting": lambda c: c.send(settings([(0x99, 1), (0xffff, 0xffffffff)])) and c.pending.append({}),
    "6.5.2 one setting twice, the last one counts": lambda c: c.send(settings([(4, 0), (4, 65535)])) and c.pending.append({}),
    "6.7 an answer to a PING that was never sent": lambda c: c.send(frame(PING, ACK, 0, b"x" * 8)),
    "7 an unknown error code of RST_STREAM": on(opened, lambda s: frame(RST_STREAM, 0, s, b"\xff" * 4)),
    "6.1 an empty DATA": on(opened, data(b"")),
}


@pytest.mark.parametrize("name", IGNORED, ids=lambda n: n.replace(" ", "-"))
def test_ignored(name, c):
    IGNORED[name](c)
    c.ping().alive(f"section {name} is no error")
    assert not c.goaways, f"section {name} is no error: {c.goaways}"


def test_5_3_1_a_stream_that_depends_on_itself(c):
    """RFC 7540 called it an error, RFC 9113 took priorities away: tolerated or refused, both are right."""
    stream = opened(c)
    c.send(frame(PRIORITY, 0, stream, struct.pack(">IB", stream, 16)))
    try:
        c.ping().alive()
    except AssertionError:
        c.connection_error("5.3.1", "PROTOCOL_ERROR")


def test_6_1_padding_is_no_data(c, app):
    stream = c.next_stream
    c.watch(stream)
    block = encode([(":method", "POST"), (":scheme", "http"), (":path", "/sink"), (":authority", "test.example")])
    c.send(frame(HEADERS, END_HEADERS | PADDED | PRIO, stream, b"\x07" + b"\0\0\0\0\x10" + block + b"\0" * 7))
    c.data(stream, b"\x00abc", PADDED).data(stream, b"\xff" + b"\0" * 255, PADDED)
    c.data(stream, b"\x05def" + b"\0" * 5, PADDED | END_STREAM)
    s = c.response(stream)
    assert s.status == 200 and s.body == b"abcdef" and app.seen("/sink")[-1].body == b"abcdef"


@pytest.mark.parametrize("size", [1, 400, 1000])
def test_6_10_a_field_block_in_pieces(c, app, size):
    """CONTINUATION frames, among them empty ones."""
    long = [(f"x-{i}", "v" * 100) for i in range(20)]
    block = encode([(":method", "GET"), (":scheme", "http"), (":path", "/pieces"), (":authority", "a.example"), *long])
    if size > 1:
        s = c.response(c.headers((), block=block, size=size))
    else:  # one byte in HEADERS, nothing, the rest
        stream = c.next_stream
        c.watch(stream)
        c.send(frame(HEADERS, END_STREAM, stream, block[:1]) + frame(CONTINUATION, 0, stream) +
               frame(CONTINUATION, END_HEADERS, stream, block[1:]))
        s = c.response(stream)
    assert s.status == 200 and [app.seen("/pieces")[-1].get(n) for n, _ in long] == [v for _, v in long]


def test_5_1_2_the_most_streams(c, app):
    """What is over the announced limit is refused and never reaches the application; a client that has acknowledged the limit may be
    sent away (section 5.4.1)."""
    most = c.peer.get(MAX_CONCURRENT_STREAMS)
    assert most, "section 5.1.2: no limit is announced: one client could open streams without end"
    streams = [held(c) for _ in range(most)]
    c.ping()
    assert not any(c.streams[s].over for s in streams), "section 5.1.2: a stream within the limit was ended"
    over = c.headers([(":method", "GET"), (":scheme", "http"), (":path", "/over"), (":authority", "test.example")])
    c.until(lambda: c.streams[over].over or c.over, what="section 5.1.2: the end of a stream over the limit", or_end=True)
    assert not app.seen("/over")
    if c.over:
        c.connection_error("5.1.2", "PROTOCOL_ERROR", "REFUSED_STREAM")
        return
    assert c.streams[over].reset in ("REFUSED_STREAM", "PROTOCOL_ERROR"), f"section 5.1.2: {c.streams[over]}"
    assert not any(c.streams[s].over for s in streams)
    for s in streams:
        c.cancel(s)
    c.ping().alive("section 5.1.2: the streams are ended, there is room again")


def test_5_1_2_more_streams_than_the_client_could_know(proxy, app):
    """Before it has seen the limit, a client is not to blame: what is over it gets REFUSED_STREAM, by which it knows that it may send it
    again (section 8.7), and all else is served."""
    with H2(proxy.address) as c:
        c.acknowledge = False
        c.until(lambda: c.peer_settings, what="SETTINGS")
        most = c.peer[MAX_CONCURRENT_STREAMS]
        streams = [held(c) for _ in range(most)]
        over = [c.request("/over") for _ in range(20)]
        c.until(lambda: all(c.streams[s].over for s in over), what="section 5.1.2: the end of the streams over the limit")
        assert {c.streams[s].reset for s in over} == {"REFUSED_STREAM"} and not app.seen("/over")
        assert not any(c.streams[s].over for s in streams)
        for s in streams:
            c.cancel(s)
        c.send(settings(flags=ACK)).ping().alive("section 5.1.2: there is room again")


# --- section 3.4: the connection's beginning ---

@pytest.mark.parametrize("data", [b"INVALID CONNECTION PREFACE\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n" + settings(),
                                  b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX" + settings()], ids=["garbage", "XX", "its last byte"])
def test_3_4_a_wrong_preface(proxy, data):
    """The connection ends; a GOAWAY, or HTTP/1.1's 400, may say why."""
    with Client(proxy.address) as c:
        _, got = c.send(data).end()
        assert b"200 OK" not in got and not b":status" in got
    with H2(proxy.address) as c:
        c.alive()


@pytest.mark.parametrize("first", [frame(PING, 0, 0, b"x" * 8), frame(HEADERS, WHOLE, 1, HEAD), settings(flags=ACK)],
                         ids=["PING", "HEADERS", "an acknowledgement"])
def test_3_4_the_first_frame_is_not_settings(proxy, first):
    with H2(proxy.address, hello=False) as c:
        c.watch(1)
        c.send(PREFACE + first).connection_error("3.4", "PROTOCOL_ERROR", silent=True)


def test_3_4_the_preface_byte_by_byte(proxy):
    """HTTP/1.1 and HTTP/2 are told apart by the first bytes, however they arrive."""
    with H2(proxy.address, hello=False) as c:
        for byte in PREFACE + settings():
            c.send(bytes([byte]))
        c.pending.append({})
        c.ready().alive("section 3.4: the preface in pieces")


@pytest.mark.parametrize("cut", [1, 3, 14, 16, 23, 24, 27, 33])
def test_3_4_the_preface_in_two(proxy, cut):
    data = PREFACE + settings() + frame(HEADERS, WHOLE, 1, HEAD)
    with H2(proxy.address, hello=False) as c:
        c.watch(1)
        c.pending.append({})
        c.acknowledge = False  # not before our own SETTINGS
        c.send(data[:cut])
        c.read(0.05)
        c.send(data[cut:] + settings(flags=ACK))
        assert c.response(1).status == 200


def test_3_4_a_request_before_the_servers_settings(proxy):
    """The client need not wait for them."""
    with H2(proxy.address, hello=False) as c:
        c.watch(1)
        c.pending.append({})
        c.send(PREFACE + settings() + frame(HEADERS, WHOLE, 1, HEAD))
        assert c.response(1).status == 200


def test_6_5_3_every_settings_is_acknowledged(c):
    before = c.acks
    for i in range(5):
        c.change({INITIAL_WINDOW_SIZE: 65535 + i})
    c.change({MAX_FRAME_SIZE: 20000})
    c.until(lambda: c.acks == before + 6, what="section 6.5.3: six acknowledgements")
    c.alive()


def test_6_7_a_ping_comes_back_as_it_was(c):
    for data in (b"\0" * 8, b"\xff" * 8, b"12345678"):
        c.ping(data)


def test_6_8_goaway_of_the_client(c):
    """Its open streams are served to their end."""
    stream = c.request("/sink", method="POST", end=False)
    c.ping()
    c.send(frame(GOAWAY, 0, 0, b"\0" * 8))
    c.body(stream, b"behind GOAWAY")
    s = c.response(stream)
    assert s.status == 200 and s.body == b"behind GOAWAY", f"section 6.8: {s}"


def test_6_9_1_data_over_the_servers_window(c):
    """A client that does not mind the window is ended, and the proxy does not keep what it sends."""
    stream = held(c, DEAF, END_HEADERS)  # an application that reads would open the window again
    c.ping()
    for _ in range(2 + (max(c.send_window, 65535) + (16 << 20)) // 16384):
        c.data(stream, b"x" * 16384)
        if c.over or c.streams[stream].over:
            break
    c.either_error(stream, "6.9.1", "FLOW_CONTROL_ERROR")
