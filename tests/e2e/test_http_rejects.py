# SPDX-License-Identifier: Apache-2.0
"""What lethe refuses (DESIGN section 6): each row is sent whole and byte by byte. It is answered and the connection is closed, it is
counted by its reason, and nothing of it, nor of what stands behind it, reaches the application."""
from typing import NamedTuple

import pytest

from rig import Client, Lethe, Origin

SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: test.example\r\n\r\n"


class Row(NamedTuple):
    name: str
    data: bytes
    status: int = 400
    reasons: tuple = ()
    metric: str = ""   # the metric's label where it is another word than the reason
    body: bool = False  # the head is right, the body is not: the head may reach the application, a whole request must not


def get(lines, target=b"/bad", method=b"GET", version=b"HTTP/1.1", host=b"Host: test.example\r\n"):
    return method + b" " + target + b" " + version + b"\r\n" + host + lines + b"\r\n"


def row(name, data, *reasons, status=400, **more):
    return Row(name, data, status, reasons, **more)


def fields(name, text, *reasons, **more):
    """A GET with these bytes between Host and the empty line."""
    return row(name, get(text), *reasons, **more)


def post(name, lines, body, *reasons, **more):
    return row(name, get(lines, method=b"POST") + body, *reasons, **more)


def chunked(name, body, *reasons):
    return row(name, get(b"Transfer-Encoding: chunked\r\n", method=b"POST") + body, *reasons, body=True)


TE = b"Transfer-Encoding: chunked\r\n"
LAST = b"3\r\nabc\r\n0\r\n\r\n"

FRAMING = [
    post("cl and te", b"Content-Length: 3\r\n" + TE, LAST, "transfer-encoding"),
    post("te and cl", TE + b"Content-Length: 13\r\n", LAST, "transfer-encoding"),
    post("cl 0 and te", b"Content-Length: 0\r\n" + TE, LAST, "transfer-encoding"),
    post("cl and te identity", b"Content-Length: 3\r\nTransfer-Encoding: identity\r\n", b"abc", "transfer-encoding"),
    post("cl list differs", b"Content-Length: 3, 4\r\n", b"abc", "content-length"),
    post("cl fields differ", b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd", "content-length"),
    post("cl fields differ in zeros", b"Content-Length: 3\r\nContent-Length: 03\r\n", b"abc", "content-length"),
    post("cl comma behind", b"Content-Length: 3,\r\n", b"abc", "content-length"),
    post("cl comma before", b"Content-Length: ,3\r\n", b"abc", "content-length"),
    post("cl plus", b"Content-Length: +3\r\n", b"abc", "content-length"),
    post("cl minus", b"Content-Length: -3\r\n", b"abc", "content-length"),
    post("cl minus zero", b"Content-Length: -0\r\n", b"", "content-length"),
    post("cl hex", b"Content-Length: 0x3\r\n", b"abc", "content-length"),
    post("cl fraction", b"Content-Length: 3.0\r\n", b"abc", "content-length"),
    post("cl exponent", b"Content-Length: 1e1\r\n", b"0123456789", "content-length"),
    post("cl inner space", b"Content-Length: 1 3\r\n", b"abc", "content-length"),
    post("cl empty", b"Content-Length:\r\n", b"", "content-length"),
    post("cl blank", b"Content-Length: \t \r\n", b"", "content-length"),
    post("cl word", b"Content-Length: three\r\n", b"abc", "content-length"),
    post("cl quoted", b'Content-Length: "3"\r\n', b"abc", "content-length"),
    post("cl semicolon", b"Content-Length: 3;a=b\r\n", b"abc", "content-length"),
    post("cl 2^63", b"Content-Length: 9223372036854775808\r\n", b"", "content-length"),
    post("cl 2^64 + 3", b"Content-Length: 18446744073709551619\r\n", b"abc", "content-length"),
    post("cl 100 digits", b"Content-Length: " + b"1" * 100 + b"\r\n", b"", "content-length"),
    post("cl non-ASCII digit", b"Content-Length: \xb2\r\n", b"ab", "content-length"),
    post("te unknown", b"Transfer-Encoding: xchunked\r\n", LAST, "transfer-encoding"),
    post("te chunkedx", b"Transfer-Encoding: chunkedx\r\n", LAST, "transfer-encoding"),
    post("te chunked twice", b"Transfer-Encoding: chunked, chunked\r\n", LAST, "transfer-encoding"),
    post("te two fields", TE + TE, LAST, "transfer-encoding"),
    post("te identity", b"Transfer-Encoding: identity\r\n", b"", "transfer-encoding"),
    post("te chunked, identity", b"Transfer-Encoding: chunked, identity\r\n", LAST, "transfer-encoding"),
    post("te identity, chunked", b"Transfer-Encoding: identity, chunked\r\n", LAST, "transfer-encoding"),
    post("te gzip", b"Transfer-Encoding: gzip\r\n", b"", "transfer-encoding"),
    post("te gzip, chunked", b"Transfer-Encoding: gzip, chunked\r\n", LAST, "transfer-encoding"),
    post("te in two fields", b"Transfer-Encoding: gzip\r\n" + TE, LAST, "transfer-encoding"),
    post("te chunked first", b"Transfer-Encoding: chunked, gzip\r\n", LAST, "transfer-encoding"),
    post("te parameter", b"Transfer-Encoding: chunked;q=1\r\n", LAST, "transfer-encoding"),
    post("te quoted", b'Transfer-Encoding: "chunked"\r\n', LAST, "transfer-encoding"),
    post("te single quotes", b"Transfer-Encoding: 'chunked'\r\n", LAST, "transfer-encoding"),
    post("te inner space", b"Transfer-Encoding: chun ked\r\n", LAST, "transfer-encoding"),
    post("te comma before", b"Transfer-Encoding: , chunked\r\n", LAST, "transfer-encoding"),
    post("te comma behind", b"Transfer-Encoding: chunked,\r\n", LAST, "transfer-encoding"),
    post("te empty", b"Transfer-Encoding:\r\n", b"", "transfer-encoding"),
    post("te vertical tab", b"Transfer-Encoding: \x0bchunked\r\n", LAST, "field-value"),
    post("te form feed", b"Transfer-Encoding: chunked\x0c\r\n", LAST, "field-value"),
    post("te no-break space", b"Transfer-Encoding: \xa0chunked\r\n", LAST, "transfer-encoding"),
    post("te NUL", b"Transfer-Encoding: chunked\0\r\n", LAST, "field-value"),
    post("te space before colon", b"Transfer-Encoding : chunked\r\n", LAST, "field-name"),
    post("te tab before colon", b"Transfer-Encoding\t: chunked\r\n", LAST, "field-name"),
    post("te folded", b"Transfer-Encoding:\r\n chunked\r\n", LAST, "fold"),
    post("te on a folded line", b"X-A: b\r\n Transfer-Encoding: chunked\r\n", LAST, "fold"),
    post("te behind a bare CR", b"X-A: b\rTransfer-Encoding: chunked\r\n", LAST, "bare-cr"),
    post("te behind a bare LF", b"X-A: b\nTransfer-Encoding: chunked\r\n", LAST, "bare-lf"),
    row("te in 1.0", get(TE, method=b"POST", version=b"HTTP/1.0") + LAST, "transfer-encoding"),
    fields("te on GET with cl", b"Content-Length: 3\r\n" + TE, "transfer-encoding"),
]

LINES = [
    row("LF only", b"GET /bad HTTP/1.1\nHost: test.example\n\n", "bare-lf"),
    row("LF behind the request line", b"GET /bad HTTP/1.1\nHost: test.example\r\n\r\n", "bare-lf"),
    fields("LF behind a field", b"X-A: b\n", "bare-lf"),
    row("LF as the empty line", b"GET /bad HTTP/1.1\r\nHost: test.example\r\n\n", "bare-lf"),
    row("LF before the request line", b"\nGET /bad HTTP/1.1\r\nHost: test.example\r\n\r\n", "bare-lf"),
    fields("CR within a value", b"X-A: b\rc\r\n", "bare-cr"),
    fields("CR CR LF", b"X-A: b\r\r\n", "bare-cr"),
    fields("CR before the name", b"\rX-A: b\r\n", "bare-cr", "field-name"),
    fields("CR within a name", b"X-\rA: b\r\n", "bare-cr", "field-name"),
    row("CR within the target", get(b"", target=b"/b\rad"), "bare-cr", "target"),
    row("CR behind the request line", b"GET /bad HTTP/1.1\rHost: test.example\r\n\r\n", "bare-cr", "version", "target"),
    row("CR before the request line", b"\rGET /bad HTTP/1.1\r\nHost: test.example\r\n\r\n", "bare-cr", "method"),
    row("two empty lines before", b"\r\n\r\nGET /bad HTTP/1.1\r\nHost: test.example\r\n\r\n"),
    fields("fold by space", b"X-A: b\r\n c\r\n", "fold"),
    fields("fold by tab", b"X-A: b\r\n\tc\r\n", "fold"),
    fields("fold of blanks", b"X-A: b\r\n  \r\n", "fold"),
    row("space before the first field", b"GET /bad HTTP/1.1\r\n Host: test.example\r\n\r\n", "fold"),
    row("tab before the first field", b"GET /bad HTTP/1.1\r\n\tX-A: b\r\nHost: test.example\r\n\r\n", "fold"),
]

FIELDS = [
    fields("space before the colon", b"X-A : b\r\n", "field-name"),
    fields("tab before the colon", b"X-A\t: b\r\n", "field-name"),
    row("space before Host's colon", b"GET /bad HTTP/1.1\r\nHost : test.example\r\n\r\n", "field-name"),
    fields("no colon", b"X-A\r\n", "field-name"),
    fields("no name", b": b\r\n", "field-name"),
    fields("space in a name", b"X A: b\r\n", "field-name"),
    fields("parentheses in a name", b"X(A): b\r\n", "field-name"),
    fields("@ in a name", b"X@A: b\r\n", "field-name"),
    fields("quote in a name", b'X"A: b\r\n', "field-name"),
    fields("slash in a name", b"X/A: b\r\n", "field-name"),
    fields("non-ASCII in a name", b"X\xe9: b\r\n", "field-name"),
    fields("NUL in a name", b"X\0A: b\r\n", "field-name", "field-value"),
    fields("DEL in a name", b"X\x7fA: b\r\n", "field-name"),
    *[fields(f"control {c:#04x} in a value", b"X-A: b%cc\r\n" % c, "field-value")
      for c in (0, 1, 7, 8, 0x0b, 0x0c, 0x0e, 0x1b, 0x1f, 0x7f)],
    fields("NUL ends a value", b"X-A: b\0\r\n", "field-value"),
    fields("NUL alone", b"X-A: \0\r\n", "field-value"),
    row("129 fields", get(b"".join(b"X-%d: a\r\n" % i for i in range(128))), "too-many", status=431),
    row("10,000 small fields", get(b"a:b\r\n" * 10000), "too-many", "too-large", status=431),
    row("a value over the limit", get(b"X-A: " + b"a" * 33000 + b"\r\n"), "too-large", status=431),
    row("a name over the limit", get(b"a" * 33000 + b": b\r\n"), "too-large", status=431),
    row("a target over the limit", get(b"", target=b"/" + b"a" * 33000), "too-large", status=431),
    row("a head without end over the limit", b"GET /bad HTTP/1.1\r\nHost: test.example\r\nX-A: " + b"a" * 33000, "too-large",
        status=431),
    row("a method without end", b"A" * 40000, "too-large", "method", status=(400, 431)),
]

HOST = [
    row("no Host", get(b"X-A: b\r\n", host=b""), "host"),
    row("no Host with absolute target", get(b"", host=b"", target=b"http://test.example/bad"), "host"),
    fields("two Hosts", b"Host: test.example\r\n", "host"),
    fields("two Hosts that differ", b"Host: other.example\r\n", "host"),
    fields("two Hosts, one empty", b"Host:\r\n", "host"),
    row("two Hosts in 1.0", get(b"Host: other.example\r\n", version=b"HTTP/1.0"), "host"),
    *[row(f"Host {bad.decode('latin-1')!r}", get(b"", host=b"Host: " + bad + b"\r\n"), "host")
      for bad in (b"a b", b"a/b", b"user@a", b"a?b", b"a#b", b"a\\b", b"a:port", b"a:80:80", b"a:-1", b"a:+1", b"[::1", b"[::1]x",
                  b"[zz]", b"a<b>", b'a"b', b"a\xe9", b"a, b", b"http://a", b"a%zz", b":80")],
    row("absolute target of another host", get(b"", target=b"http://other.example/bad"), "host"),
    row("absolute target of another port", get(b"", target=b"http://test.example:81/bad"), "host"),
    row("absolute target with userinfo", get(b"", target=b"http://user@test.example/bad"), "host", "target"),
]

START = [
    row("HTTP/2.0", get(b"", version=b"HTTP/2.0"), "version", status=505),
    row("HTTP/3.1", get(b"", version=b"HTTP/3.1"), "version", status=505),
    row("HTTP/0.9", get(b"", version=b"HTTP/0.9"), "version", status=505),
    *[row(f"version {bad.decode()!r}", get(b"", version=bad), "version", "target")
      for bad in (b"HTTP/1.10", b"HTTP/01.1", b"HTTP/11", b"HTTP/1", b"HTTP/1.", b"HTTP/.1", b"http/1.1", b"HTTP 1.1", b"HTTPS/1.1",
                  b"HTTP/1.1 ", b"HTTP/1.1 x", b"HTTP/1.1\t", b"HTTP/-1.1", b"HTTP/1.1a", b"ICY/1.1", b"HTTP/1,1", b"")],
    row("no version", b"GET /bad\r\nHost: test.example\r\n\r\n", "version", "target"),
    row("HTTP/0.9 request", b"GET /bad\r\n\r\n", "version", "target"),
    row("two spaces behind the method", get(b"", target=b" /bad"), "target", "version"),
    row("two spaces behind the target", get(b"", target=b"/bad "), "version", "target"),
    row("tab behind the method", b"GET\t/bad HTTP/1.1\r\nHost: test.example\r\n\r\n", "method"),
    row("space before the method", get(b"", method=b" GET"), "method", "fold"),
    row("no method", b" /bad HTTP/1.1\r\nHost: test.example\r\n\r\n", "method", "fold"),
    row("method of 33", get(b"", method=b"A" * 33), "method"),
    *[row(f"method {bad!r}", get(b"", method=bad), "method") for bad in (b"G@T", b"GE(T)", b"G\xc9T", b"G\0T", b"GET,", b"{GET}")],
    row("CONNECT", get(b"", method=b"CONNECT", target=b"test.example:443"), "method", status=405, metric="connect"),
    row("CONNECT with a path", get(b"", method=b"CONNECT", target=b"/bad"), "target"),
    *[row(f"target {bad.decode('latin-1')!r}", get(b"", target=bad), "target", "host")
      for bad in (b"bad", b"*", b"/b\0ad", b"/b\x01ad", b"/b\x7fad", b"/b\tad", b"/bad#part", b"/b\xc3\xa9", b"/b\xffd", b"#",
                  b"http://", b"http:///bad", b"http:bad", b"test.example:80")],
    row("space in the target", get(b"", target=b"/b ad"), "target", "version"),
    fields("Expect other", b"Expect: 200-ok\r\n", "expect", status=417),
    fields("Expect list", b"Expect: 100-continue, x\r\n", "expect", status=417),
    post("Expect other with body", b"Expect: 100-continues\r\nContent-Length: 3\r\n", b"abc", "expect", status=417),
]

CHUNKS = [
    *[chunked(f"size {bad.decode('latin-1')!r}", bad + b"\r\nhello\r\n0\r\n\r\n", "chunk-size", "chunk-ext", "bare-cr")
      for bad in (b"+5", b"-5", b"0x5", b"5 ", b"5\t", b" 5", b"5 5", b"5h", b"h5", b"5.", b"5,", b"'5'", b"\x005", b"5\x00", b"5\xa0",
                  b"_5", b"5_0", b"5\r")],
    chunked("no size", b"\r\nhello\r\n0\r\n\r\n", "chunk-size"),
    chunked("only an extension", b";a=b\r\nhello\r\n0\r\n\r\n", "chunk-size"),
    chunked("size of 16 digits", b"0000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size"),
    chunked("size 2^64 + 5", b"10000000000000005\r\nhello\r\n0\r\n\r\n", "chunk-size"),
    chunked("size 2^64 - 1", b"FFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n", "chunk-size"),
    chunked("second size is bad", b"5\r\nhello\r\n0x1\r\na\r\n0\r\n\r\n", "chunk-size"),
    chunked("LF behind the size", b"5\nhello\r\n0\r\n\r\n", "bare-lf", "chunk-size"),
    chunked("CR behind the size", b"5\rhello\r\n0\r\n\r\n", "bare-cr", "chunk-size"),
    chunked("LF behind the data", b"5\r\nhello\n0\r\n\r\n", "chunk-end", "bare-lf"),
    chunked("CR behind the data", b"5\r\nhello\r0\r\n\r\n", "chunk-end", "bare-cr"),
    chunked("data longer than its size", b"5\r\nhello!\r\n0\r\n\r\n", "chunk-end"),
    chunked("data shorter than its size", b"5\r\nhell\r\n0\r\n\r\n", "chunk-end"),
    chunked("no CRLF behind the data", b"5\r\nhello0\r\n\r\n", "chunk-end"),
    chunked("LF behind the last size", b"5\r\nhello\r\n0\n\r\n", "bare-lf", "chunk-size"),
    chunked("LF as the last line", b"5\r\nhello\r\n0\r\n\n", "bare-lf", "trailer", "chunk-end"),
    chunked("control in an extension", b"5;a=\x01\r\nhello\r\n0\r\n\r\n", "chunk-ext"),
    chunked("NUL in an extension", b"5;a=\0\r\nhello\r\n0\r\n\r\n", "chunk-ext"),
    chunked("LF ends an extension", b"5;a=b\nhello\r\n0\r\n\r\n", "bare-lf", "chunk-ext"),
    chunked("CR in an extension", b"5;a=\rb\r\nhello\r\n0\r\n\r\n", "bare-cr", "chunk-ext"),
    chunked("LF in a quoted extension", b'5;a="\n"\r\nhello\r\n0\r\n\r\n', "bare-lf", "chunk-ext"),
    chunked("an extension over 4,096", b"5;a=" + b"b" * 5000 + b"\r\nhello\r\n0\r\n\r\n", "chunk-ext"),
    chunked("trailer with a space before the colon", b"0\r\nX-A : b\r\n\r\n", "trailer", "field-name"),
    chunked("trailer without a colon", b"0\r\nX-A\r\n\r\n", "trailer", "field-name"),
    chunked("trailer without a name", b"0\r\n: b\r\n\r\n", "trailer", "field-name"),
    chunked("trailer with NUL", b"0\r\nX-A: b\0\r\n\r\n", "trailer", "field-value"),
    chunked("trailer with a control", b"0\r\nX-A: \x01\r\n\r\n", "trailer", "field-value"),
    chunked("trailer with LF", b"0\r\nX-A: b\n\r\n", "trailer", "bare-lf"),
    chunked("trailer with CR", b"0\r\nX-A: b\rc\r\n\r\n", "trailer", "bare-cr"),
    chunked("folded trailer", b"0\r\nX-A: b\r\n c\r\n\r\n", "trailer", "fold"),
    chunked("trailers over 8 KB", b"0\r\nX-A: " + b"b" * 9000 + b"\r\n\r\n", "trailer"),
    chunked("many trailers over 8 KB", b"0\r\n" + b"X-A: bbbbbbbb\r\n" * 700 + b"\r\n", "trailer"),
    chunked("a request in the trailers", b"0\r\nGET /smuggled HTTP/1.1\r\n\r\n", "trailer", "field-name"),
]

ROWS = FRAMING + LINES + FIELDS + HOST + START + CHUNKS


@pytest.fixture(name="stack", scope="module")
def fixture_stack():
    with Origin() as origin, Lethe(origin.address) as lethe:
        yield lethe, origin


def test_rows_have_names_of_their_own():
    assert len({r.name for r in ROWS}) == len(ROWS)


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name.replace("\\x", "x")[:60])
def test_refused(stack, row, how):
    lethe, origin = stack
    before, heads, whole = lethe.metrics(), len(origin.heads), len(origin.requests)
    with Client(lethe.address) as c:
        data = row.data + SMUGGLED
        if how == "whole":
            c.send(data)
        else:
            c.send_pieces(data, size=1 if len(data) < 2000 else 997)
        r = c.response()
        statuses = row.status if isinstance(row.status, tuple) else (row.status,)
        assert r.status in statuses, r
        reason = r.get("x-lethe-error")
        assert not row.reasons or reason in row.reasons
        assert reason in r.body.decode()
        assert r.get("content-type").startswith("text/plain")
        assert r.has_option("close")
        assert c.end() == ("eof", b"")
    after = lethe.metrics()
    assert after.get("lethe_rejects_total", reason=row.metric or reason) == \
        before.get("lethe_rejects_total", reason=row.metric or reason) + 1
    assert after.sum("lethe_rejects_total") == before.sum("lethe_rejects_total") + 1
    assert after.get("lethe_requests_total", outcome="rejected") == before.get("lethe_requests_total", outcome="rejected") + 1
    assert lethe.get("/behind").status == 200
    assert [m.target for m in origin.requests[whole:]] == ["/behind"]
    if not row.body:
        assert [m.target for m in origin.heads[heads:]] == ["/behind"]


def test_405_says_what_is_allowed(stack):
    with Client(stack[0].address) as c:
        r = c.ask(b"CONNECT test.example:443 HTTP/1.1\r\nHost: test.example:443\r\n\r\n")
    assert r.status == 405 and r.get("allow")


def test_a_bad_request_behind_a_good_one(stack):
    """The good one is answered, then the bad one, then the connection ends."""
    lethe, origin = stack
    before = len(origin.heads)
    with Client(lethe.address) as c:
        c.send(b"GET /good HTTP/1.1\r\nHost: test.example\r\n\r\n" + get(b"X-A : b\r\n") + SMUGGLED)
        assert c.response().status == 200
        assert c.response().status == 400
        assert c.end() == ("eof", b"")
    assert [m.target for m in origin.heads[before:]] == ["/good"]


# What looks odd and is right: it must not be refused.
GOOD = [
    ("one empty line before", b"\r\n" + get(b"")),
    ("HTTP/1.2", get(b"", version=b"HTTP/1.2")),
    ("HTTP/1.9", get(b"", version=b"HTTP/1.9")),
    ("HTTP/1.0 without Host", get(b"", host=b"", version=b"HTTP/1.0")),
    ("unknown method", get(b"", method=b"PURGE")),
    ("method of 32", get(b"", method=b"A" * 32)),
    ("method of all token characters", get(b"", method=b"!#$%&'*+-.^_`|~09azAZ")),
    ("lower-case method", get(b"", method=b"get")),
    ("128 fields", get(b"".join(b"X-%d: a\r\n" % i for i in range(127)))),
    ("empty value", get(b"X-A:\r\n")),
    ("blank value", get(b"X-A: \t \r\n")),
    ("no space behind the colon", get(b"X-A:b\r\n")),
    ("tabs around the value", get(b"X-A:\t b\tc \t\r\n")),
    ("obs-text in a value", get(b"X-A: caf\xe9\xff\x80\r\n")),
    ("odd name", get(b"!#$%&'*+-.^_`|~9: b\r\n")),
    ("empty path with a query", get(b"", target=b"/?a=b&c=%20")),
    ("two slashes", get(b"", target=b"//a//b")),
    ("OPTIONS *", get(b"", method=b"OPTIONS", target=b"*")),
    ("absolute form", get(b"", target=b"http://test.example/a?b")),
    ("absolute form without path", get(b"", target=b"http://test.example")),
    ("Host with port", get(b"", host=b"Host: test.example:8080\r\n")),
    ("Host v6", get(b"", host=b"Host: [::1]:8080\r\n")),
    ("cl with blanks around", get(b"Content-Length:  3\t\r\n", method=b"POST") + b"abc"),
    ("cl repeated in a list", get(b"Content-Length: 3, 3\r\n", method=b"POST") + b"abc"),
    ("cl repeated in fields", get(b"Content-Length: 3\r\nContent-Length: 3\r\n", method=b"POST") + b"abc"),
    ("cl on GET", get(b"Content-Length: 3\r\n") + b"abc"),
    ("te in other letters", get(b"Transfer-Encoding: ChunKed\r\n", method=b"POST") + LAST),
    ("te with a tab behind", get(b"Transfer-Encoding: chunked\t\r\n", method=b"POST") + LAST),
    ("chunk sizes of many forms", get(TE, method=b"POST") +
     b"3\r\nabc\r\nA\r\n0123456789\r\na\r\n0123456789\r\n00b\r\n01234567890\r\n000\r\n\r\n"),
    ("size of 15 digits", get(TE, method=b"POST") + b"000000000000003\r\nabc\r\n0\r\n\r\n"),
    ("chunk extensions", get(TE, method=b"POST") + b"3;a\r\nabc\r\n3;a=b;c=\"d;\te\"\r\nabc\r\n0;last\r\n\r\n"),
    ("trailers", get(TE, method=b"POST") + b"3\r\nabc\r\n0\r\nX-A: b\r\nX-B:\r\n\r\n"),
    ("Expect", get(b"Expect: 100-continue\r\n")),
    ("Expect in other letters", get(b"Expect: 100-Continue\r\n")),
]


@pytest.mark.parametrize("how", ["whole", "bytes"])
@pytest.mark.parametrize("name,data", GOOD, ids=[g[0] for g in GOOD])
def test_accepted(stack, name, data, how):
    lethe, origin = stack
    before = len(origin.requests)
    with Client(lethe.address) as c:
        if how == "whole":
            c.send(data)
        else:
            c.send_pieces(data, size=1)
        assert c.response().status == 200, name
    assert len(origin.requests) == before + 1


def test_http_2_is_a_version_like_any_other_where_it_is_switched_off():
    with Origin() as origin, Lethe(origin.address, options={"http2": "false"}) as lethe, Client(lethe.address) as c:
        c.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        assert c.response().status == 505
