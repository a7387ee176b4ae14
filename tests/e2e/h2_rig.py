# SPDX-License-Identifier: Apache-2.0
"""An HTTP/2 client of exact frames (RFC 9113): it sends what a test wants, right or broken, and checks all that the other side sends
while it reads it: frame sizes, stream states, flow control, the order and the names of fields. HPACK is python3-hpack.

`start(app)` runs what is tested: lethe, or, to prove the tests themselves, the reference that LETHE_H2_TARGET names (h2_targets.py)."""
import select
import struct

import hpack

from h2_frames import (ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, GOAWAY, HEADER_TABLE_SIZE, HEADERS, INITIAL_WINDOW_SIZE,
                       MAX_FRAME_SIZE, PADDED, PING, PREFACE, PRIO, PUSH_PROMISE, RST_STREAM, SETTINGS, WINDOW_UPDATE, Broken, Frame,
                       as_bytes, check_fields, code_name, frame, rst_stream, settings, window_update)
from h2_targets import TARGET, memory, start
from rig import Deadline
from rig.base import dial

__all__ = ["H2", "TARGET", "Broken", "Stream", "memory", "start"]


class Stream:
    """What came on a stream. `headers` is None before the answer's head; `ended` by END_STREAM; `reset` is a code's name."""

    def __init__(self, number, send_window, receive_window):
        self.number, self.send_window, self.receive_window = number, send_window, receive_window
        self.interim, self.headers, self.trailers = [], None, None
        self.body, self.ended, self.reset = bytearray(), False, None
        self.pieces = []  # sizes of the DATA frames

    @property
    def over(self):
        return self.ended or self.reset is not None

    @property
    def status(self):
        return None if self.headers is None else int(self.get(":status"))

    def get(self, name, default=None):
        found = [v for n, v in self.headers if n == name]
        assert len(found) < 2, f"{name} stands {len(found)} times: {found}"
        return found[0] if found else default

    def __repr__(self):
        how = "END_STREAM" if self.ended else f"RST_STREAM({self.reset})" if self.reset else "no end"
        return f"<stream {self.number}: {self.headers} {len(self.body)} bytes, trailers {self.trailers}, {how}>"


class H2:
    """One connection.

    with H2(proxy.address) as c:
        s = c.get("/x")             # a Stream that is over; c.request() sends without waiting, c.response(stream) waits
        c.send(frame(PING, …))      # any bytes
        c.connection_error("6.7", "FRAME_SIZE_ERROR")

    `announce`: the first SETTINGS. `replenish`: windows are given back as DATA comes. `hello`: send preface and SETTINGS at once."""

    def __init__(self, address, announce=None, *, replenish=True, hello=True, timeout=20, rcvbuf=None):
        self.sock = dial(address, timeout, rcvbuf)
        self.sock.setblocking(False)
        self.timeout, self.replenish, self.acknowledge = timeout, replenish, True
        self.lax = False  # for floods: streams and SETTINGS that the test has sent as bytes are not accounted for
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder(max_header_list_size=1 << 24)
        self.inbox, self.at = b"", 0              # what came, and how far it is read
        self.over = None                          # "eof" or "reset"
        self.streams, self.next_stream = {}, 1
        self.frames, self.goaways, self.pongs = [], [], []
        self.peer = {INITIAL_WINDOW_SIZE: 65535, MAX_FRAME_SIZE: 16384, HEADER_TABLE_SIZE: 4096}
        self.peer_settings, self.acks = 0, 0      # SETTINGS frames that came, acknowledgements that came
        self.pending = []                         # our SETTINGS that are not acknowledged
        self.mine = {INITIAL_WINDOW_SIZE: 65535, MAX_FRAME_SIZE: 16384}
        self.send_window, self.receive_window = 65535, 65535
        self.block = None                         # (frame, bytes) of a field block without its end
        if hello:
            self.hello(announce or {})

    # --- sending ---

    def hello(self, announce):
        self.pending.append(dict(announce))
        self.send(PREFACE + settings(announce))

    def change(self, values):
        """New SETTINGS of ours; they count for what we check once they are acknowledged."""
        self.pending.append(dict(values))
        return self.send(settings(values))

    def send(self, data):
        """All of it. What comes meanwhile is kept for later. A connection that is ended is no error here: reading tells it."""
        view, deadline = memoryview(data), Deadline(self.timeout)
        while view and self.over is None:
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                if deadline.over():
                    raise Broken(f"nothing is taken for {self.timeout} s") from None
                if select.select([self.sock], [self.sock], [], deadline.left())[0]:
                    self._receive()
            except (BrokenPipeError, ConnectionResetError):
                while self._receive():
                    pass
                self.over = self.over or "reset"
        return self

    def pour(self, data, patience=3):
        """Sends without reading a byte, as a hostile client does. False when it was not taken for so long, or the connection ended."""
        view = memoryview(data)
        while view:
            if not select.select([], [self.sock], [], patience)[1]:
                return False
            try:
                view = view[self.sock.send(view):]
            except BlockingIOError:
                pass
            except (BrokenPipeError, ConnectionResetError):
                return False
        return True

    def headers(self, fields, end=True, stream=None, block=None, size=16384):
        """HEADERS (and CONTINUATION in pieces of `size`) on a new stream. Returns its number."""
        if stream is None:
            stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.watch(stream)
        block = self.encoder.encode(as_bytes(fields)) if block is None else block
        pieces = [block[i:i + size] for i in range(0, len(block), size)] or [b""]
        data = b""
        for i, piece in enumerate(pieces):
            flags = (END_HEADERS if i + 1 == len(pieces) else 0) | (END_STREAM if end and i == 0 else 0)
            data += frame(CONTINUATION if i else HEADERS, flags, stream, piece)
        self.send(data)
        return stream

    def watch(self, stream):
        """Stream `stream` is opened by bytes that the test sends itself."""
        if stream not in self.streams:
            self.streams[stream] = Stream(stream, self.peer[INITIAL_WINDOW_SIZE], self.mine[INITIAL_WINDOW_SIZE])
            self.next_stream = max(self.next_stream, stream + 2 - (stream + 1) % 2)
        return self.streams[stream]

    def request(self, path="/", fields=(), *, method="GET", body=None, end=True, authority="test.example", scheme="http"):
        """A request, with `body` all of it; else without a body when `end`. Returns the stream's number."""
        head = [(":method", method), (":scheme", scheme), (":path", path), (":authority", authority), *fields]
        stream = self.headers(head, end=end and body is None)
        if body is not None:
            self.body(stream, body, end)
        return stream

    def body(self, stream, data, end=True, seconds=None):
        """DATA, as the windows allow it. Stops early when the stream or the connection is ended by the other side."""
        s, view, deadline = self.streams[stream], memoryview(data), Deadline(seconds or self.timeout)
        while view or end:
            room = min(len(view), self.send_window, s.send_window, self.peer[MAX_FRAME_SIZE])
            if s.reset is not None or self.over:
                return self
            if view and room <= 0:
                self.until(lambda: (self.send_window > 0 and s.send_window > 0) or s.reset, deadline.left(), "WINDOW_UPDATE", True)
                continue
            last = room == len(view)
            self.data(stream, bytes(view[:room]), END_STREAM if last and end else 0)
            view = view[room:]
            if last:
                return self
        return self

    def data(self, stream, payload, flags=0):
        """One DATA frame, whether the windows allow it or not."""
        self.send_window -= len(payload)
        self.streams[stream].send_window -= len(payload)
        return self.send(frame(DATA, flags, stream, payload))

    def cancel(self, stream, code="CANCEL"):
        return self.send(rst_stream(stream, code))

    # --- reading ---

    def _receive(self):
        """What is there, into the inbox. False: nothing, or the end."""
        try:
            data = self.sock.recv(1 << 18)
        except BlockingIOError:
            return False
        except (ConnectionResetError, BrokenPipeError):
            self.over = "reset"
            return False
        if not data:
            self.over = "eof"
        self.inbox, self.at = self.inbox[self.at:] + data, 0
        return bool(data)

    def _take(self):
        """The next whole frame of the inbox, or None."""
        if len(self.inbox) - self.at < 9:
            return None
        size = int.from_bytes(self.inbox[self.at:self.at + 3], "big")
        kind, flags, stream = struct.unpack_from(">BBI", self.inbox, self.at + 3)
        if size > max([self.mine[MAX_FRAME_SIZE], *(p.get(MAX_FRAME_SIZE, 0) for p in self.pending)]):
            raise Broken(f"section 4.2: a frame of {size} bytes: {self.inbox[self.at:self.at + 40]!r}")
        if len(self.inbox) - self.at < 9 + size:
            return None
        payload, self.at = self.inbox[self.at + 9:self.at + 9 + size], self.at + 9 + size
        return Frame(kind, flags, stream & 0x7fffffff, payload)

    def read(self, seconds):
        """The next frame, accounted for; None when the time is over or the connection has ended."""
        deadline = Deadline(seconds)
        while True:
            f = self._take()
            if f:
                self._account(f)
                return f
            if self.over or deadline.over() or not select.select([self.sock], [], [], deadline.left())[0]:
                return None
            self._receive()

    def until(self, predicate, seconds=None, what="", or_end=False):
        """Reads frames until the predicate is true. Broken when the time is over, or (unless `or_end`) when the connection ends."""
        seconds = self.timeout if seconds is None else seconds
        deadline = Deadline(seconds)
        while not predicate():
            if self.read(deadline.left()) is None:
                if predicate() or (self.over and or_end):
                    break
                state = f"the connection ended ({self.over})" if self.over else f"not within {seconds:.0f} s"
                raise Broken(f"{what() if callable(what) else what}: {state}; GOAWAY {self.goaways}; {self.last_frames()}")
        return self

    def last_frames(self):
        return "it sent " + (", ".join(map(repr, self.frames[-6:])) or "nothing")

    def _account(self, f):
        """Checks a frame that came and applies it."""
        if not self.frames and (f.kind != SETTINGS or f.flags & ACK):
            raise Broken(f"section 3.4: the first frame is {f}, not SETTINGS")
        self.frames.append(f)
        del self.frames[:-2000]
        if self.block and (f.kind != CONTINUATION or f.stream != self.block[0].stream):
            raise Broken(f"section 6.10: {f} within a field block")
        handler = {DATA: self._data, HEADERS: self._headers, RST_STREAM: self._reset, SETTINGS: self._settings, PING: self._ping,
                   GOAWAY: self._goaway, WINDOW_UPDATE: self._window_update, CONTINUATION: self._continuation}.get(f.kind)
        if f.kind == PUSH_PROMISE:
            raise Broken("section 8.4: a push that nobody wants")
        if handler:
            handler(f)

    def _known(self, f):
        s = self.streams.get(f.stream)
        if s is None and self.lax:
            return self.watch(f.stream)
        if s is None:
            raise Broken(f"section 5.1: {f} on a stream that was never opened")
        return s

    def _open(self, f):
        s = self._known(f)
        if s.over:
            raise Broken(f"section 5.1: {f} behind the end of {s}")
        return s

    @staticmethod
    def _unpadded(f):
        if not f.flags & PADDED:
            return f.payload
        pad = f.payload[0]
        if pad >= len(f.payload):
            raise Broken(f"section 6.1: {pad} bytes of padding in {f}")
        return f.payload[1:len(f.payload) - pad]

    def _data(self, f):
        s, size = self._open(f), len(f.payload)
        if s.headers is None:
            raise Broken(f"section 8.1: {f} before HEADERS")
        self.receive_window -= size
        s.receive_window -= size
        if size and min(self.receive_window, s.receive_window) < 0:
            raise Broken(f"section 6.9.1: {f} overruns the window: connection {self.receive_window}, stream {s.receive_window}")
        data = self._unpadded(f)
        s.body += data
        s.pieces.append(len(data))
        s.ended = bool(f.flags & END_STREAM)
        if self.replenish and size:
            self.give(0, size)
            if not s.ended:
                self.give(f.stream, size)

    def give(self, stream, increment):
        """WINDOW_UPDATE for what the other side may send."""
        if stream:
            self.streams[stream].receive_window += increment
        else:
            self.receive_window += increment
        return self.send(window_update(stream, increment))

    def _headers(self, f):
        self._open(f)
        payload = self._unpadded(f)
        self.block = (f, payload[5:] if f.flags & PRIO else payload)
        self._block_end(f)

    def _continuation(self, f):
        if not self.block:
            raise Broken(f"section 6.10: {f} without HEADERS")
        self.block = (self.block[0], self.block[1] + f.payload)
        self._block_end(f)

    def _block_end(self, f):
        if not f.flags & END_HEADERS:
            return
        (first, data), self.block = self.block, None
        try:
            fields = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in self.decoder.decode(data, raw=True)]
        except hpack.HPACKError as e:
            raise Broken(f"RFC 7541: {e!r} in {data!r}") from None
        self._fields(self.streams[first.stream], fields, bool(first.flags & END_STREAM))

    def _fields(self, s, fields, end):
        check_fields(fields, trailers=s.headers is not None)
        if s.headers is not None:
            if not end:
                raise Broken(f"section 8.1: trailers without END_STREAM: {fields}")
            s.trailers = fields
        elif fields[0][1].startswith("1"):
            if end:
                raise Broken(f"section 8.1: END_STREAM on an interim answer: {fields}")
            s.interim.append(fields)
        else:
            s.headers = fields
        s.ended = end

    def _reset(self, f):
        if len(f.payload) != 4:
            raise Broken(f"section 6.4: {f}")
        s = self._known(f)
        s.reset = s.reset or code_name(f.number())

    def _settings(self, f):
        if f.stream or len(f.payload) % 6 or (f.flags & ACK and f.payload):
            raise Broken(f"section 6.5: {f}")
        if f.flags & ACK:
            self.acks += 1
            if not self.pending and not self.lax:
                raise Broken("section 6.5.3: an acknowledgement too many")
            self._apply_mine(self.pending.pop(0) if self.pending else {})
            return
        self.peer_settings += 1
        for at in range(0, len(f.payload), 6):
            key, value = struct.unpack_from(">HI", f.payload, at)
            if key == INITIAL_WINDOW_SIZE:
                for s in self.streams.values():
                    s.send_window += value - self.peer[key]
            if key == HEADER_TABLE_SIZE:
                self.encoder.header_table_size = min(value, 4096)
            self.peer[key] = value
        if self.acknowledge:
            self.send(settings(flags=ACK))

    def _apply_mine(self, values):
        for s in self.streams.values():
            s.receive_window += values.get(INITIAL_WINDOW_SIZE, self.mine[INITIAL_WINDOW_SIZE]) - self.mine[INITIAL_WINDOW_SIZE]
        if HEADER_TABLE_SIZE in values:
            self.decoder.max_allowed_table_size = values[HEADER_TABLE_SIZE]
        self.mine.update(values)

    def _ping(self, f):
        if f.stream or len(f.payload) != 8:
            raise Broken(f"section 6.7: {f}")
        if f.flags & ACK:
            self.pongs.append(f.payload)
        else:
            self.send(frame(PING, ACK, 0, f.payload))

    def _goaway(self, f):
        if f.stream or len(f.payload) < 8:
            raise Broken(f"section 6.8: {f}")
        last, code = f.number() & 0x7fffffff, code_name(f.number(4))
        if self.goaways and last > self.goaways[-1][0]:
            raise Broken(f"section 6.8: a GOAWAY with {last} behind {self.goaways}")
        self.goaways.append((last, code, f.payload[8:].decode("latin-1")))

    def _window_update(self, f):
        increment = f.number() & 0x7fffffff if len(f.payload) == 4 else 0
        if not increment:
            raise Broken(f"section 6.9: {f}")
        if f.stream:
            self._known(f).send_window += increment
        else:
            self.send_window += increment
        if not self.lax and max(self.send_window, *(s.send_window for s in self.streams.values()), 0) > 0x7fffffff:
            raise Broken(f"section 6.9.1: {f} makes a window larger than 2^31-1")

    # --- asking ---

    def response(self, stream, seconds=None):
        """The Stream, once it is over."""
        s = self.streams[stream]
        self.until(lambda: s.over, seconds, lambda: f"the end of stream {stream}: {s!r}")
        return s

    def ask(self, *args, **how):
        return self.response(self.request(*args, **how))

    def get(self, path="/", *fields):
        return self.ask(path, fields)

    def ready(self):
        """SETTINGS of both sides are exchanged and acknowledged."""
        return self.until(lambda: self.peer_settings and not self.pending, what="SETTINGS and its acknowledgement").ping()

    def ping(self, data=b"are you?"):
        """PING and its answer: all that was sent before is read by then."""
        count = len(self.pongs)
        self.send(frame(PING, 0, 0, data))
        self.until(lambda: len(self.pongs) > count, what="the answer to PING")
        assert self.pongs[-1] == data, f"section 6.7: PING {data} was answered by {self.pongs[-1]}"
        return self

    # --- expecting ---

    def connection_error(self, section, *codes, seconds=None, silent=False):
        """GOAWAY with one of the codes, then the end (section 5.4.1); `silent`: GOAWAY may be left out."""
        wanted = f"section {section}: expected GOAWAY {' or '.join(codes)} and the connection's end"
        self.until(lambda: False, seconds, wanted, or_end=True)
        if silent and not self.goaways:
            return
        if not self.goaways:
            raise Broken(f"{wanted}; it ended ({self.over}) without GOAWAY; {self.last_frames()}")
        if self.goaways[-1][1] not in codes:
            raise Broken(f"{wanted}; GOAWAY was {self.goaways[-1]}")

    def stream_error(self, stream, section, *codes, refused=(400,)):
        """RST_STREAM with one of the codes, or an answer with a status of `refused` that ends; and the connection lives on."""
        s = self.streams[stream]
        wanted = f"section {section}: expected RST_STREAM {' or '.join(codes)}, or status {refused}, on stream {stream}"
        self.until(lambda: s.over, what=lambda: f"{wanted}: {s!r}")
        if s.status not in refused and s.reset not in codes:
            raise Broken(f"{wanted}; it was {s}")
        self.alive(wanted)

    def either_error(self, stream, section, *codes):
        """A stream error, or a connection error of the same code, which section 5.4.1 allows ("an endpoint MAY choose to treat a
        stream error as a connection error")."""
        s = self.streams[stream]
        self.until(lambda: s.over or self.over, what=f"section {section}: expected {codes} on stream {stream}, or GOAWAY", or_end=True)
        if self.over or self.goaways:
            self.connection_error(section, *codes)
        else:
            self.stream_error(stream, section, *codes, refused=())

    def alive(self, why=""):
        """A good request on this connection is answered."""
        s = self.get("/alive")
        if s.status != 200 or not s.ended:
            raise Broken(f"{why}; the request behind it was not served: {s}")
        return self

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
