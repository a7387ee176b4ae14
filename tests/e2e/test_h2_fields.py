# SPDX-License-Identifier: Apache-2.0
"""HPACK, right and broken (RFC 7541), and the rules for fields (RFC 9113 section 8), each row with its section's number.

A malformed request is a stream error or a 400, the connection lives on, and nothing of it reaches the application. A broken field block is
a connection error: both sides' tables are no longer the same."""
from typing import NamedTuple

import pytest

from h2_frames import END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, HEADERS, encode, frame, integer, literal
from h2_fixtures import fixture_c, fixture_proxy
from h2_rig import H2
from rig import App

__all__ = ["fixture_c", "fixture_proxy"]

START = encode([(":method", "GET"), (":scheme", "http"), (":path", "/block"), (":authority", "test.example")])


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        yield app


# --- HPACK: what cannot be decoded ---

X = b"\0\1x"  # a literal named "x"; its value follows

BROKEN = {
    "6.1 index 0": START + b"\x80",
    "2.3.3 an index beyond both tables": START + integer(62, 7, 0x80),
    "2.3.3 an index far beyond both tables": START + integer(1 << 20, 7, 0x80),
    "2.3.3 a name's index beyond both tables": START + integer(80, 4) + b"\1v",
    "6.2.1 a name's index beyond both tables, to be indexed": START + integer(70, 6, 0x40) + b"\1v",
    "4.2 a table larger than the setting": integer(4097, 5, 0x20) + START,
    "4.2 a table of 1 GB": integer(1 << 30, 5, 0x20) + START,
    "4.2 a table's size behind a field": START + integer(0, 5, 0x20),
    "5.1 an integer that overflows, as an index": START + b"\xff" + b"\xff" * 10 + b"\x01",
    "5.1 an integer that overflows, as a length": START + X + b"\x7f" + b"\xff" * 10 + b"\x01",
    "5.1 an integer without its end": START + b"\xff\x80\x80",
    "5.1 an integer of zeros without end": START + b"\x7f" + b"\x80" * 2000 + b"\0",
    "5.2 a string longer than the block": START + X + b"\x05ab",
    "5.2 a string of 4 GB": START + X + integer((1 << 32) - 1, 7),
    "5.2 a name longer than the block": START + b"\0\x30x",
    "5.2 a literal without a value": START + b"\0\1x",
    "5.2 Huffman: padding of 8 bits": START + X + b"\x82\x1f\xff",
    "5.2 Huffman: padding of zeros": START + X + b"\x81\x18",
    "5.2 Huffman: padding alone": START + X + b"\x81\xff",
    "5.2 Huffman: EOS inside": START + X + b"\x85\xff\xff\xff\xff\xff",
    "5.2 Huffman: EOS at its end": START + X + b"\x84\xff\xff\xff\xff",
    "5.2 Huffman: a name with padding of 8 bits": START + b"\0\x82\x1f\xff\1v",
}


@pytest.mark.parametrize("name", BROKEN, ids=lambda n: n.replace(" ", "-"))
def test_broken_block(name, c, app):
    before = len(app.seen("/block"))
    c.headers((), block=BROKEN[name])
    c.connection_error(f"RFC 7541, {name}", "COMPRESSION_ERROR")
    assert len(app.seen("/block")) == before, f"{name}: the request reached the application"


def test_broken_trailers(c):
    """Trailers are a field block like the others."""
    stream = c.request("/trailers", method="POST", end=False)
    c.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, b"\x80")).connection_error("4.3", "COMPRESSION_ERROR")


# --- HPACK: what is right ---

RIGHT = {
    "6.2.1 a literal to be indexed": (START + b"\x40\1x\1v", "v"),
    "6.2.2 a literal": (START + b"\0\1x\1v", "v"),
    "6.2.3 a literal never to be indexed": (START + b"\x10\1x\1v", "v"),
    "5.2 Huffman": (START + X + b"\x81\x1f", "a"),
    "5.2 Huffman: an empty string": (START + X + b"\x80", ""),
    "5.1 an integer with zeros behind": (START + X + b"\x7f\x80\x80\x00" + b"v" * 127, "v" * 127),
    "6.3 a table of 0": (integer(0, 5, 0x20) + START + b"\x40\1x\1v", "v"),
    "4.2 two sizes of the table": (integer(0, 5, 0x20) + integer(4096, 5, 0x20) + START + X + b"\1v", "v"),
    "4.4 an entry larger than the table": (START + b"\x40\1x" + integer(5000, 7) + b"v" * 5000, "v" * 5000),
    "6.1 an entry of the static table": (b"\x82\x86" + literal(b":path", b"/right") + literal(b":authority", b"a") + X + b"\1v", "v"),
}


@pytest.mark.parametrize("name", RIGHT, ids=lambda n: n.replace(" ", "-"))
def test_right_block(name, c, app):
    block, value = RIGHT[name]
    s = c.response(c.headers((), block=block.replace(b"/block", b"/right")))
    assert s.status == 200 and app.seen("/right")[-1].get("x") == value, f"RFC 7541, {name}: {s}"
    c.alive(f"RFC 7541, {name}")


def test_4_4_the_table_is_kept_and_evicted(c, app):
    """Entries are found again by their index, on other streams; the oldest ones leave the table when it is full."""
    values = [f"{i:03d}" + "v" * 300 for i in range(40)]
    for v in values + values[-5:] + values[:3]:
        assert c.get("/table", ("x-table", v)).status == 200
        assert app.seen("/table")[-1].get("x-table") == v
    c.encoder.header_table_size = 100
    for v in values[:3] + ["short"] * 2:
        assert c.get("/table", ("x-table", v)).status == 200 and app.seen("/table")[-1].get("x-table") == v


@pytest.mark.parametrize("size", [0, 64, 65536])
def test_4_2_the_clients_own_table(proxy, app, size):
    """SETTINGS_HEADER_TABLE_SIZE binds what the server's encoder keeps: the decoder of this test refuses what is beyond."""
    app.on("/many", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + b"".join(b"X-%d: value-%d\r\n" % (i, i) for i in range(20)) + b"\r\n")
    with H2(proxy.address, {HEADER_TABLE_SIZE: size}) as c:
        c.ready()
        for _ in range(5):
            s = c.get("/many")
            assert s.status == 200 and [s.get(f"x-{i}") for i in range(20)] == [f"value-{i}" for i in range(20)]
        c.change({HEADER_TABLE_SIZE: 0})
        for _ in range(3):
            assert c.get("/many").get("x-19") == "value-19"


# --- section 8: malformed requests ---

class Bad(NamedTuple):
    name: str
    fields: list
    body: bytes = None       # DATA behind it
    statuses: tuple = (400,)
    head_may_pass: bool = False


def request(*more, method="GET", scheme="http", path="/bad", authority="test.example"):
    head = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority)]
    return [(n, v) for n, v in head if v is not None] + list(more)


def field(name, *more, **how):
    return Bad(name, request(*more), **how)


def characters(what, where, characters_of_it):
    return [Bad(f"{what} {c!r}", where(c)) for c in characters_of_it]


TE = ("transfer-encoding", "chunked")

NAMES = [
    field("8.2.1 upper case", ("X-A", "b")),
    field("8.2.1 one letter in upper case", ("x-aB", "b")),
    field("8.2.1 an empty name", ("", "b")),
    *characters("8.2.1 name with", lambda c: request((f"x{c}a", "b")),
                ("\0", "\1", "\t", "\n", "\r", " ", "\x7f", "\x80", "\xff", ":", '"', "(", ")", ",", "/", ";", "<", "=", ">", "?", "@", "[",
                 "\\", "]", "{", "}")),
    field("8.2.1 name with a whole line", ("x: y\r\nx-smuggled", "b")),
    field("8.2.1 a colon at the name's end", ("x:", "b")),
]
VALUES = [
    *characters("8.2.1 value with", lambda c: request(("x-a", f"b{c}c")), ("\0", "\n", "\r")),
    *characters("8.2.1 value that begins with", lambda c: request(("x-a", f"{c}b")), ("\0", "\n", "\r", " ", "\t")),
    *characters("8.2.1 value that ends with", lambda c: request(("x-a", f"b{c}")), ("\0", "\n", "\r", " ", "\t")),
    field("8.2.1 value of a blank", ("x-a", " ")),
    field("8.2.1 value with a whole request", ("x-a", "b\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n")),
    field("8.2.1 value with a line", ("x-a", "b\r\nTransfer-Encoding: chunked")),
    field("8.2.1 cookie with a line", ("cookie", "a=b\r\nx: y")),
    # RFC 9110 section 5.5: no other control belongs into a value; lethe refuses it in HTTP/1.1 as well
    *characters("8.2.1 control in a value", lambda c: request(("x-a", f"b{c}c")), ("\1", "\x08", "\x0b", "\x0c", "\x1b", "\x7f")),
]
CONNECTION = [
    field("8.2.2 connection", ("connection", "close")),
    field("8.2.2 connection that names a field", ("connection", "x-a"), ("x-a", "b")),
    field("8.2.2 keep-alive", ("keep-alive", "timeout=5")),
    field("8.2.2 proxy-connection", ("proxy-connection", "keep-alive")),
    field("8.2.2 upgrade", ("upgrade", "websocket")),
    field("8.2.2 upgrade to h2c", ("upgrade", "h2c"), ("http2-settings", "AAMAAABkAARAAAAAAAIAAAAA")),
    field("8.2.2 transfer-encoding", TE),
    Bad("8.2.2 transfer-encoding with a chunked body", request(TE, method="POST"), b"0\r\n\r\nGET /bad HTTP/1.1\r\nHost: a\r\n\r\n"),
    Bad("8.2.2 transfer-encoding and content-length", request(TE, ("content-length", "5"), method="POST"), b"0\r\n\r\n"),
    field("8.2.2 te: gzip", ("te", "gzip")),
    field("8.2.2 te: trailers, gzip", ("te", "trailers, gzip")),
    field("8.2.2 te: chunked", ("te", "chunked")),
]
PSEUDO = [
    Bad("8.3 a pseudo-header field behind a regular one", [request()[0], ("x-a", "b"), *request()[1:]]),
    field("8.3 an unknown pseudo-header field", (":unknown", "b")),
    field("8.3 :status in a request", (":status", "200")),
    Bad("8.3 an unknown pseudo-header field first", [(":unknown", "b"), *request()]),
    field("8.3 two :method", (":method", "GET")),
    Bad("8.3 two :path", [*request(), (":path", "/bad2")]),
    Bad("8.3 two :scheme", [*request(), (":scheme", "https")]),
    Bad("8.3 two :authority", [*request(), (":authority", "other.example")]),
    Bad("8.3.1 no :method", request(method=None)),
    Bad("8.3.1 no :scheme", request(scheme=None)),
    Bad("8.3.1 no :path", request(path=None)),
    Bad("8.3.1 no field at all", []),
    Bad("8.3.1 regular fields alone", [("x-a", "b")]),
    Bad("8.3.1 neither :authority nor host", request(authority=None)),
    Bad("8.3.1 an empty :path", request(path="")),
    Bad("8.3.1 a :path without its slash", request(path="bad")),
    Bad("8.3.1 * with GET", request(path="*")),
    Bad("8.3.1 a :path that is an URL", request(path="http://test.example/bad")),
    *characters("8.3.1 :path with", lambda c: request(path=f"/bad{c}x"), ("\0", "\t", "\n", "\r", " ", "\x7f", "#")),
    Bad("8.3.1 :path with a version", request(path="/bad HTTP/1.1\r\nx-smuggled: 1\r\nx: ")),
    Bad("8.3.1 an empty :method", request(method="")),
    *characters("8.3.1 :method with", lambda c: request(method=f"GE{c}T"), ("\0", "\t", "\n", "\r", " ", "/", "(", ":")),
    Bad("8.3.1 :method with a whole request", request(method="GET /bad HTTP/1.1\r\nhost: a\r\n\r\nGET")),
    Bad("8.3.1 an empty :scheme", request(scheme="")),
    *characters("8.3.1 :scheme with", lambda c: request(scheme=f"ht{c}tp"), ("\0", "\n", " ", "/")),
    *characters("8.3.1 :authority with", lambda c: request(authority=f"a{c}b"), ("\0", "\t", "\n", "\r", " ", "/", "\\", "\x7f", "@")),
    Bad("8.3.1 an empty :authority", request(authority="")),
    Bad("8.3.1 userinfo in :authority", request(authority="user:secret@test.example")),
    field("8.3.1 host is another than :authority", ("host", "other.example")),
    field("8.3.1 two hosts", ("host", "test.example"), ("host", "test.example")),
    Bad("8.3.1 two hosts without :authority", request(("host", "a.example"), ("host", "b.example"), authority=None)),
    field("RFC 8441 4 :protocol without CONNECT", (":protocol", "websocket")),
    Bad("8.5 CONNECT with :path and :scheme", request(method="CONNECT"), statuses=(400, 405, 501)),
    Bad("8.5 CONNECT without :authority", [(":method", "CONNECT")], statuses=(400, 405, 501)),
]
LENGTHS = [
    Bad("8.1.1 content-length and no body", request(("content-length", "5"), method="POST"), None, head_may_pass=True),
    Bad("8.1.1 a body shorter than content-length", request(("content-length", "9"), method="POST"), b"short", head_may_pass=True),
    Bad("8.1.1 a body longer than content-length", request(("content-length", "5"), method="POST"), b"too long", head_may_pass=True),
    Bad("8.1.1 content-length 0 and a body", request(("content-length", "0"), method="POST"), b"body", head_may_pass=True),
    Bad("8.1.1 GET with content-length and no body", request(("content-length", "5")), None, head_may_pass=True),
    *[Bad(f"RFC 9110 8.6 content-length {v!r}", request(("content-length", v), method="POST"), b"body")
      for v in ("", "x", "-4", "+4", "4x", "0x4", "4.0", "4, 5", "99999999999999999999999999")],
    Bad("RFC 9110 8.6 two content-lengths", request(("content-length", "4"), ("content-length", "5"), method="POST"), b"body"),
]
ROWS = NAMES + VALUES + CONNECTION + PSEUDO + LENGTHS


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name.replace(" ", "-"))
def test_malformed(row, c, app):
    """It is sent as literals, and again as entries that the table keeps."""
    section = row.name.split()[0] if row.name[0].isdigit() else row.name
    heads, whole = len(app.heads), len(app.requests)
    for block in (encode(row.fields), None):
        stream = c.headers(row.fields, end=row.body is None, block=block)
        if row.body is not None:
            c.data(stream, row.body, END_STREAM)
        c.stream_error(stream, f"{section} ({row.name})", "PROTOCOL_ERROR", refused=row.statuses)
    came = app.requests[whole:] + ([] if row.head_may_pass else app.heads[heads:])
    assert not [m for m in came if m.target != "/alive"], f"section {row.name}: it reached the application: {came}"


TRAILERS = [(":path", "/x"), (":status", "200"), ("X-T", "1"), ("x-t", "a\r\nb"), ("connection", "close"), TE, ("x t", "1")]


@pytest.mark.parametrize("trailers", [[t] for t in TRAILERS], ids=str)
def test_8_1_malformed_trailers(trailers, c, app):
    whole = len(app.requests)
    stream = c.request("/bad", method="POST", end=False)
    c.data(stream, b"body")
    c.headers(trailers, stream=stream, block=encode(trailers))
    c.stream_error(stream, "8.1 (trailers)", "PROTOCOL_ERROR")
    assert not [m for m in app.requests[whole:] if m.target != "/alive"], "malformed trailers ended a request at the application"


# --- section 8: right ones, as the application sees them ---

def seen(app, c, fields, body=None):
    """The request as the application got it."""
    stream = c.headers(fields, end=body is None)
    if body is not None:
        c.body(stream, body)
    s = c.response(stream)
    assert s.status == 200, f"a good request was refused: {fields}: {s}"
    return app.heads[-1]


def test_8_3_1_the_request_in_http_1(c, app):
    m = seen(app, c, request(("x-a", "b"), ("x-empty", ""), path="/a/b?c=d&e=%20", authority="name.example:8080"))
    assert m.start == "GET /a/b?c=d&e=%20 HTTP/1.1" and m.get("host") == "name.example:8080"
    assert m.get("x-a") == "b" and m.get("x-empty") == "" and not [n for n in m.names() if n.startswith(":")]


def test_8_3_1_host_alone(c, app):
    assert seen(app, c, request(("host", "alone.example"), authority=None)).get("host") == "alone.example"


def test_8_3_1_host_as_authority_says(c, app):
    assert seen(app, c, request(("host", "test.example"))).get("host") == "test.example"


def test_8_3_1_options_of_the_server(c, app):
    assert seen(app, c, request(method="OPTIONS", path="*")).start == "OPTIONS * HTTP/1.1"


def test_8_2_3_crumbs_of_a_cookie(c, app):
    m = seen(app, c, request(("cookie", "a=1"), ("x-a", "b"), ("cookie", "b=2; c=3"), ("cookie", "d=4")))
    assert m.get("cookie") == "a=1; b=2; c=3; d=4", f"section 8.2.3: {m.all('cookie')}"


def test_8_2_2_te_trailers(c, app):
    """It is allowed; HTTP/1.1 wants it named by Connection (RFC 9110 section 10.1.4), if it is passed on."""
    m = seen(app, c, request(("te", "trailers")))
    assert m.get("te") in (None, "trailers") and (m.get("te") is None or m.has_option("te"))


def test_repeated_fields_stay_in_order(c, app):
    m = seen(app, c, request(("x-a", "1"), ("x-b", "2"), ("x-a", "3"), ("accept", "a, b"), ("accept", "c")))
    assert m.all("x-a") == ["1", "3"] and ", ".join(m.all("accept")) == "a, b, c"


@pytest.mark.parametrize("value", ["a\tb", "a  b", "\xe9\xff", '"quoted\\""', ":", "a,b;c=d"], ids=ascii)
def test_8_2_1_what_a_value_may_have(value, c, app):
    assert seen(app, c, request(("x-a", value))).get("x-a") == value


@pytest.mark.parametrize("method", ["DELETE", "PATCH", "REPORT", "M-SEARCH"])
def test_8_3_1_any_method(method, c, app):
    assert seen(app, c, request(method=method)).method == method


LARGE = [[("x-a", "v" * 40000)], [(f"x-{i}", "v") for i in range(200)], [("x" * 40000, "v")], [("x-a", "v" * 4000)] * 25]


@pytest.mark.parametrize("fields", LARGE, ids=["one value", "200 fields", "one name", "25 large fields"])
def test_10_5_1_fields_over_the_limit(fields, c, app):
    """431, or the stream's reset; the connection lives on, or is sent away to be calm."""
    stream = c.headers((), block=encode(request(*fields, path="/large")))
    s = c.streams[stream]
    c.until(lambda: s.over or c.over, what="section 10.5.1: the end of a request over the limit", or_end=True)
    if c.over:
        c.connection_error("10.5.1", "ENHANCE_YOUR_CALM")
    else:
        codes = ("ENHANCE_YOUR_CALM", "REFUSED_STREAM", "CANCEL", "PROTOCOL_ERROR", "INTERNAL_ERROR")
        c.stream_error(stream, "10.5.1", *codes, refused=(431,))
    assert not app.seen("/large")
