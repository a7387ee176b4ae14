# SPDX-License-Identifier: Apache-2.0
"""An application made of exact bytes: a thread and a handler function for each connection."""
import os
import socket
import struct
import threading
import traceback

from .base import split_address, wait_for
from .http1 import Ended, Reader


def answer(body=b"ok\n", status="200 OK", headers="", length=True):
    """The bytes of an answer with Content-Length."""
    body = body if isinstance(body, bytes) else body.encode("latin-1")
    size = f"Content-Length: {len(body)}\r\n" if length else ""
    return f"HTTP/1.1 {status}\r\n{size}{headers}\r\n".encode("latin-1") + body


class Conn:
    """One connection at the origin, as its handler sees it."""

    def __init__(self, origin, sock, index):
        self.origin, self.sock, self.index = origin, sock, index
        self.reader = Reader(sock)
        self.requests = []  # whole ones

    def head(self):
        """The next request's head alone."""
        message = self.reader.head()
        with self.origin.lock:
            self.origin.heads.append(message)
        return message

    def body(self, message, sink=None):
        self.reader._sized(message, sink)
        with self.origin.lock:
            self.requests.append(message)
            self.origin.requests.append(message)
        return message

    def request(self, sink=None):
        """The next whole request, or None at the connection's end between two requests."""
        try:
            message = self.head()
        except Ended as e:
            if e.got:
                raise
            return None
        return self.body(message, sink)

    def send(self, data):
        self.sock.sendall(data)
        return self

    def half_close(self):
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self):
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self):
        self.sock.close()


def ok(conn):
    """The plainest handler: 200 to every request."""
    while conn.request():
        conn.send(answer())


class Origin:
    """Listens at `address`. `handler(conn)` runs in a thread of its own for each connection; when it returns, the connection is
    closed. What it raises, but for the peer's leaving, fails the test at stop(). `handler` may be replaced at any time."""

    def __init__(self, handler=ok, address="127.0.0.1:0", timeout=30, listen=True):
        self.handler, self.timeout = handler, timeout
        self.lock = threading.Lock()
        self.connections, self.heads, self.requests, self.errors = [], [], [], []
        self.family, self.where = split_address(address)
        self.listener, self.thread, self.address = None, None, address
        self.threads = []
        if listen:
            self.start()

    def start(self):
        s = socket.socket(self.family, socket.SOCK_STREAM)
        s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        s.bind(self.where)
        s.listen(1024)
        if self.family == socket.AF_INET:
            self.where = s.getsockname()
            self.address = f"{self.where[0]}:{self.where[1]}"
        self.listener = s
        self.thread = threading.Thread(target=self._accept, args=(s,), daemon=True)
        self.thread.start()
        return self

    @property
    def port(self):
        return self.where[1]

    def _accept(self, listener):
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            sock.settimeout(self.timeout)
            if self.family != socket.AF_UNIX:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = Conn(self, sock, len(self.connections))
            t = threading.Thread(target=self._serve, args=(conn,), daemon=True)
            with self.lock:
                self.connections.append(conn)
                self.threads.append(t)
            t.start()

    def _serve(self, conn):
        try:
            self.handler(conn)
        except (Ended, ConnectionError, BrokenPipeError):
            pass  # lethe left: the test sees that on its own side
        except OSError as e:
            if isinstance(e, TimeoutError) and not conn.reader.buf:
                pass  # nothing came for long: applications end such connections as well
            elif conn.sock.fileno() != -1:  # else closed by stop()
                self.errors.append(e)
        except Exception:  # pylint: disable=broad-except
            self.errors.append(traceback.format_exc())
        finally:
            conn.close()

    def wait_requests(self, n, seconds=10):
        wait_for(lambda: len(self.requests) >= n, seconds, f"{n} requests at the origin")
        return self.requests

    def close_listener(self):
        if self.listener:
            try:
                self.listener.shutdown(socket.SHUT_RDWR)  # wakes accept()
            except OSError:
                pass
            self.listener.close()
            self.thread.join(5)
            self.listener = None
            if self.family == socket.AF_UNIX and os.path.exists(self.where):
                os.unlink(self.where)

    def drop_connections(self):
        """Ends every connection that is open now."""
        with self.lock:
            conns = list(self.connections)
        for c in conns:
            try:
                c.sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    def stop(self):
        self.close_listener()
        self.drop_connections()
        for t in self.threads:
            t.join(5)
        errors, self.errors = self.errors, []
        assert not errors, f"the origin's handler failed: {errors[0]}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class App(Origin):
    """An origin with a function for each path: `app.on("/x")(lambda conn, head: …)`. A function gets the head, reads the body itself
    (conn.body(head)) and sends; False ends the connection. Other paths: 200 "ok"."""

    def __init__(self, **how):
        self.routes = {}
        super().__init__(self._run, **how)

    def on(self, path, fixed=None):
        """Decorator for a path's function; with `fixed`, the bytes of its answer."""
        def plain(conn, head):
            conn.body(head)
            conn.send(fixed)
        if fixed is not None:
            self.routes[path] = plain
            return plain

        def register(function):
            self.routes[path] = function
            return function
        return register

    def _run(self, conn):
        while True:
            try:
                head = conn.head()
            except Ended as e:
                if e.got:
                    raise
                return
            function = self.routes.get(head.target.split("?")[0])
            if function is None:
                conn.body(head)
                conn.send(answer())
            elif function(conn, head) is False:
                return

    def seen(self, path):
        """The heads that came for this path."""
        with self.lock:
            return [h for h in self.heads if h.target.split("?")[0] == path]
