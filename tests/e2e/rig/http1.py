# SPDX-License-Identifier: Apache-2.0
"""Reads HTTP/1 messages off a socket, strictly: what lethe writes is checked byte by byte while it is read."""
import re

TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")


class Ended(Exception):
    """The connection ended (`how`: "eof" or "reset") in the middle of a message; `got` is what there was."""

    def __init__(self, how, got=b""):
        super().__init__(f"{how} after {got[-200:]!r}")
        self.how, self.got = how, got


class Malformed(AssertionError):
    pass


class Message:
    """A head, and what was read of its body."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw[:-4].split(b"\r\n")
        if any(b"\n" in line or b"\r" in line or b"\0" in line for line in lines):
            raise Malformed(f"bare CR, LF or NUL in {raw!r}")
        self.start = lines[0].decode("latin-1")
        self.lines = lines[1:]
        self.headers = []
        for line in lines[1:]:
            name, colon, value = line.partition(b":")
            if not colon or not TOKEN.match(name):
                raise Malformed(f"field line {line!r}")
            self.headers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        self.body = b""
        self.trailers = []
        self.chunks = []     # sizes, when it was chunked
        self.interim = []    # of a response: the 1xx before it
        self.closed = False  # of a response: the body ended with the connection

    def all(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def get(self, name, default=None):
        found = self.all(name)
        if len(found) > 1:
            raise Malformed(f"{name} stands {len(found)} times: {found}")
        return found[0] if found else default

    def names(self):
        return [n.lower() for n, _ in self.headers]

    def has_option(self, option):
        return option in [t.strip().lower() for v in self.all("connection") for t in v.split(",")]

    # request
    @property
    def method(self):
        return self.start.split(" ")[0]

    @property
    def target(self):
        return self.start.split(" ")[1]

    @property
    def version(self):
        return self.start.split(" ")[2] if self.is_request() else self.start.split(" ")[0]

    def is_request(self):
        return not self.start.startswith("HTTP/")

    # response
    @property
    def status(self):
        return int(self.start.split(" ")[1])

    @property
    def reason(self):
        return self.start.split(" ", 2)[2]

    def __repr__(self):
        return f"<{self.start!r} {self.headers} {len(self.body)} bytes>"


class Reader:
    """Buffered reading of one socket. Every method raises Ended when the connection ends too early."""

    def __init__(self, sock):
        self.sock = sock
        self.buf = b""
        self.total = 0  # bytes received
        self.over = None  # "eof" or "reset"

    def fill(self):
        """One recv more into the buffer. False at the end of the connection."""
        if self.over:
            return False
        try:
            data = self.sock.recv(1 << 18)
        except (ConnectionResetError, BrokenPipeError):
            self.over = "reset"
            return False
        if not data:
            self.over = "eof"
            return False
        self.total += len(data)
        self.buf += data
        return True

    def need(self):
        if not self.fill():
            raise Ended(self.over, self.buf)

    def until(self, mark):
        while mark not in self.buf:
            self.need()
        at = self.buf.index(mark) + len(mark)
        got, self.buf = self.buf[:at], self.buf[at:]
        return got

    def exactly(self, n, sink=None):
        """n bytes; given to sink() piece by piece instead of returned when there is one."""
        parts = []
        take = sink or parts.append
        while n:
            if not self.buf:
                try:
                    self.need()
                except Ended as e:
                    raise Ended(e.how, b"".join(parts)) from None
            piece, self.buf = self.buf[:n], self.buf[n:]
            n -= len(piece)
            take(piece)
        return b"".join(parts)

    def rest(self, sink=None):
        """All up to an orderly end; Ended("reset") when it breaks."""
        parts = []
        take = sink or parts.append
        while True:
            if self.buf:
                take(self.buf)
                self.buf = b""
            if not self.fill():
                break
        if self.over == "reset":
            raise Ended("reset", b"".join(parts))
        return b"".join(parts)

    def head(self):
        return Message(self.until(b"\r\n\r\n"))

    def chunked(self, message, sink=None):
        parts = []
        take = sink or parts.append
        try:
            while True:
                line = self.until(b"\r\n")[:-2]
                if not re.match(rb"[0-9a-fA-F]{1,16}\Z", line):
                    raise Malformed(f"chunk size {line!r}")
                size = int(line, 16)
                if size == 0:
                    break
                message.chunks.append(size)
                self.exactly(size, take)
                if self.exactly(2) != b"\r\n":
                    raise Malformed("no CRLF behind a chunk")
            while True:
                line = self.until(b"\r\n")[:-2]
                if not line:
                    break
                name, colon, value = line.partition(b":")
                if not colon or not TOKEN.match(name):
                    raise Malformed(f"trailer {line!r}")
                message.trailers.append((name.decode("latin-1"), value.strip(b" \t").decode("latin-1")))
        except Ended as e:
            raise Ended(e.how, b"".join(parts)) from None
        message.body = b"".join(parts)

    def _sized(self, message, sink):
        """The body of a message that says how long it is. False: it does not say."""
        coding, length = message.all("transfer-encoding"), message.all("content-length")
        if coding and length:
            raise Malformed(f"both framings: {message.headers}")
        if coding:
            if [c.lower() for c in coding] != ["chunked"]:
                raise Malformed(f"Transfer-Encoding {coding}")
            self.chunked(message, sink)
            return True
        if length:
            if len(length) != 1 or not re.match(r"[0-9]+\Z", length[0]):
                raise Malformed(f"Content-Length {length}")
            message.body = self.exactly(int(length[0]), sink)
            return True
        return False

    def request(self, sink=None):
        """A whole request. Ended with nothing in `got` when the peer ended between two."""
        message = self.head()
        self._sized(message, sink)
        return message

    def response(self, method="GET", sink=None):
        """A whole answer to `method`; 1xx before it are in .interim (101 is final)."""
        interim = []
        while True:
            message = self.head()
            if not re.match(r"HTTP/1\.1 [1-9][0-9][0-9] ", message.start + " "):
                raise Malformed(f"status line {message.start!r}")
            if message.status >= 200 or message.status == 101:
                break
            interim.append(message)
        message.interim = interim
        if method == "HEAD" or message.status in (101, 204, 304):
            return message
        if not self._sized(message, sink):
            message.closed = True
            message.body = self.rest(sink)
        return message
