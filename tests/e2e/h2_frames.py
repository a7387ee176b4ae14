# SPDX-License-Identifier: Apache-2.0
"""HTTP/2's frames and HPACK's literals as bytes, right or broken (RFC 9113 section 6, RFC 7541), and the rules for fields that come."""
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
TYPES = ("DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE", "CONTINUATION")
END_STREAM, ACK, END_HEADERS, PADDED, PRIO = 1, 1, 4, 8, 0x20

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS, INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = range(1, 7)
ENABLE_CONNECT_PROTOCOL = 8

CODES = ("NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED", "FRAME_SIZE_ERROR",
         "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM", "INADEQUATE_SECURITY",
         "HTTP_1_1_REQUIRED")


def code_name(number):
    return CODES[number] if number < len(CODES) else hex(number)


def frame(kind, flags=0, stream=0, payload=b"", length=None):
    """A frame's bytes; `length` when the frame shall lie about it."""
    size = len(payload) if length is None else length
    return struct.pack(">I", size)[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def settings(values=(), flags=0, stream=0):
    """SETTINGS of {id: value} or [(id, value), …]."""
    pairs = values.items() if isinstance(values, dict) else values
    return frame(SETTINGS, flags, stream, b"".join(struct.pack(">HI", k, v) for k, v in pairs))


def window_update(stream, increment):
    return frame(WINDOW_UPDATE, 0, stream, struct.pack(">I", increment))


def rst_stream(stream, code="CANCEL"):
    return frame(RST_STREAM, 0, stream, struct.pack(">I", CODES.index(code)))


def integer(value, bits, first=0):
    """HPACK's integer with a prefix of `bits` bits (RFC 7541 section 5.1)."""
    most = (1 << bits) - 1
    if value < most:
        return bytes([first | value])
    out, value = [first | most], value - most
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def literal(name, value):
    """A field as HPACK's literal, not indexed, without Huffman: any bytes are possible."""
    return b"\0" + integer(len(name), 7) + name + integer(len(value), 7) + value


def encode(fields):
    """A whole block of literals."""
    return b"".join(literal(n, v) for n, v in as_bytes(fields))


def as_bytes(fields):
    return [tuple(x if isinstance(x, bytes) else x.encode("latin-1") for x in field) for field in fields]


class Broken(AssertionError):
    """The other side broke a rule, or did not do what was expected."""


class Frame:
    def __init__(self, kind, flags, stream, payload):
        self.kind, self.flags, self.stream, self.payload = kind, flags, stream, payload

    def number(self, at=0):
        return struct.unpack_from(">I", self.payload, at)[0]

    def __repr__(self):
        name = TYPES[self.kind] if self.kind < len(TYPES) else f"type {self.kind:#x}"
        return f"<{name} flags {self.flags:#x} stream {self.stream} {self.payload[:24]!r}>"


FORBIDDEN = {"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade"}


def check_fields(fields, trailers):
    """Section 8.2 and 8.3 for what comes."""
    pseudo = [n for n, _ in fields if n.startswith(":")]
    if pseudo != ([] if trailers else [":status"]) or (pseudo and fields[0][0] != ":status"):
        raise Broken(f"section 8.3.2: pseudo-header fields {pseudo} in {fields}")
    for name, value in fields:
        if name != name.lower() or not name or any(c in name[1:] for c in ": \t\r\n\0"):
            raise Broken(f"section 8.2.1: name {name!r}")
        if name in FORBIDDEN or name == "te":
            raise Broken(f"section 8.2.2: {name}: {value}")
        if any(c in value for c in "\r\n\0") or value != value.strip(" \t"):
            raise Broken(f"section 8.2.1: {name}: {value!r}")
