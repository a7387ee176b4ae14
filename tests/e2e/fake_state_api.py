# SPDX-License-Identifier: Apache-2.0
"""A stand-in for lethe's state API, for the tests of adapters: it follows modules/state_api/openapi.yaml as far as they use it, remembers
what it was asked and can be told to misbehave. The end-to-end tests of the stacks talk to the real one."""
import itertools
import os
import socketserver
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler


class FakeStateApi:
    """with FakeStateApi(directory) as api: api.address is LETHE_STATE_API_LISTEN. `port` makes it listen on TCP. .away answers 503 to all,
    .hang not at all, .broken ends the connection inside a body, .close_after ends each connection that many answers old."""

    def __init__(self, directory, port=None):
        self.path = None if port else os.path.join(str(directory), "state.sock")
        self.address = f"127.0.0.1:{port}" if port else f"unix:{self.path}"
        self.port, self.server = port, None
        self.blobs, self.dead, self.versions = {}, set(), itertools.count(1)
        self.calls, self.reports, self.connections, self.ttls = [], [], 0, {}
        self.away, self.hang, self.broken, self.close_after = False, threading.Event(), False, None
        self.sleepers = threading.Event()  # set at the end: those that hang go on

    def start(self):
        api = self

        class Handler(_Handler):
            fake = api
        if self.path and os.path.exists(self.path):
            os.unlink(self.path)
        kind = _Unix if self.path else _Tcp
        self.server = kind(self.path or ("127.0.0.1", self.port), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def stop(self):
        """Also the connections that are kept end, as in a restart of lethe."""
        if self.server:
            self.sleepers.set()
            self.server.shutdown()
            self.server.end_all()
            self.server.server_close()
            self.server, self.sleepers = None, threading.Event()

    def asked(self, method=None, suffix=""):
        """The ids of the calls."""
        return [i for m, s, i in self.calls if (method is None or m == method) and s == suffix]

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()


class _Ending:
    """Remembers its connections, so that all can be ended."""
    daemon_threads = allow_reuse_address = True
    request_queue_size = 64

    def get_request(self):
        request, address = super().get_request()
        self.__dict__.setdefault("open", []).append(request)
        return request, address

    def end_all(self):
        for s in self.__dict__.get("open", []):
            try:
                s.shutdown(2)
            except OSError:
                pass

    def handle_error(self, request, client_address):
        pass  # a client that is gone


class _Unix(_Ending, socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass


class _Tcp(_Ending, socketserver.ThreadingMixIn, socketserver.TCPServer):
    pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake = None
    wbufsize = -1
    answered = 0

    def setup(self):
        super().setup()
        self.fake.connections += 1

    def log_message(self, *_):
        pass

    def answer(self, status, word="", body=b"", **headers):
        fake = self.fake
        self.answered += 1
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if status >= 400:
            self.send_header("X-Lethe-Error", word)
            self.send_header("Content-Type", "text/plain")
            body = f"lethe: {word}: so it is\n".encode()
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if fake.broken and body:
            body = body[:len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        self.wfile.flush()
        if fake.close_after and self.answered >= fake.close_after:
            self.close_connection = True

    def handle_any(self):
        fake = self.fake
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        _, version, kind, key, *rest = self.path.split("/")
        assert version == "v1"
        key, suffix = urllib.parse.unquote_to_bytes(key).decode("latin-1"), rest[0] if rest else ""
        if kind == "adapters":
            fake.reports.append((key, self.headers["Lethe-Store"], self.headers["Lethe-Status"], self.headers.get("Lethe-Detail")))
            return self.answer(204)
        fake.calls.append((self.command, suffix, key))
        if fake.hang.is_set():
            fake.sleepers.wait(60)
            self.close_connection = True
            return None
        if fake.away:
            return self.answer(503, "store_unavailable", **{"Retry-After": "1"})
        return getattr(self, f"do_{self.command}_{suffix}")(fake, key, body)

    do_GET = do_PUT = do_POST = do_DELETE = handle_any

    def missing(self, fake, key):
        return self.answer(410, "session_ended") if key in fake.dead else self.answer(404, "no_session")

    def do_GET_(self, fake, key, _):
        return self.answer(200, body=fake.blobs[key], ETag=f'"{next(fake.versions)}"') if key in fake.blobs else self.missing(fake, key)

    def do_PUT_(self, fake, key, body):
        if key in fake.dead:
            return self.answer(410, "session_ended")
        if len(body) > 4 << 20:
            return self.answer(413, "blob_too_large")
        fake.blobs[key] = body
        fake.ttls[key] = self.headers.get("Lethe-TTL")
        return self.answer(204, ETag=f'"{next(fake.versions)}"')

    def do_DELETE_(self, fake, key, _):
        fake.blobs.pop(key, None)
        fake.dead.add(key)
        return self.answer(204)

    def do_POST_touch(self, fake, key, _):
        return self.answer(204) if key in fake.blobs else self.missing(fake, key)

    def do_POST_rename(self, fake, key, _):
        if key not in fake.blobs:
            return self.missing(fake, key)
        fake.blobs[urllib.parse.unquote(self.headers["Lethe-To"])] = fake.blobs.pop(key)
        fake.dead.add(key)
        return self.answer(204, ETag=f'"{next(fake.versions)}"')
