# SPDX-License-Identifier: Apache-2.0
"""A client that sends exact bytes."""
import random
import socket
import struct

from .base import dial
from .http1 import Ended, Reader


class Client:
    """One connection. `with Client(lethe.address) as c: c.send(b"GET …"); r = c.response()`."""

    def __init__(self, address, timeout=15, rcvbuf=None):
        self.sock = dial(address, timeout, rcvbuf)
        self.reader = Reader(self.sock)

    def send(self, data):
        self.sock.sendall(data)
        return self

    def send_pieces(self, data, seed=None, size=None):
        """In pieces of `size` bytes, or of random sizes by `seed`, each in a segment of its own (TCP_NODELAY, as far as the kernel
        keeps them apart)."""
        rng = random.Random(seed)
        at = 0
        while at < len(data):
            n = size or rng.choice((1, 1, 2, 3, 5, 17, 64, 500))
            self.sock.sendall(data[at:at + n])
            at += n
        return self

    def response(self, method="GET", sink=None):
        return self.reader.response(method, sink)

    def ask(self, data, method="GET"):
        return self.send(data).response(method)

    def get(self, path="/", headers=""):
        return self.ask(f"GET {path} HTTP/1.1\r\nHost: test.example\r\n{headers}\r\n".encode("latin-1"))

    def end(self):
        """How the connection ends: ("eof" or "reset", the bytes that came before)."""
        try:
            return "eof", self.reader.rest()
        except Ended as e:
            return e.how, e.got

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)
        return self

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
