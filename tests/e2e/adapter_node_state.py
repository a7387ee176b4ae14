# SPDX-License-Identifier: Apache-2.0
"""A state API as modules/state_api/openapi.yaml says, in this process, that fails as a test tells it."""
import collections
import http.server
import socketserver
import threading
from urllib.parse import unquote

from rig import wait_for

Call = collections.namedtuple("Call", "method id action headers")
Report = collections.namedtuple("Report", "store status detail")


class StateHandler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        super().setup()
        with self.server.changed:
            self.server.connections += 1
            self.server.open += 1
            self.server.most_open = max(self.server.most_open, self.server.open)

    def finish(self):
        super().finish()
        with self.server.changed:
            self.server.open -= 1

    def reply(self, status, body=b"", **headers):
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        if status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        _, _, kind, name, *action = self.path.split("/")
        if kind == "adapters":
            self.server.reports.append(Report(*(self.headers.get(f"Lethe-{n}") for n in ("Store", "Status", "Detail"))))
            return self.reply(204)
        call = Call(self.command, unquote(name), "".join(action), self.headers)
        self.server.calls.append(call)
        fault = self.server.fault and self.server.fault(call)
        if fault == "close":  # without a word, as a server that is going away
            self.close_connection = True
            return None
        if fault:
            return self.reply(fault, b"the store does not answer\n", X_Lethe_Error="store_unavailable", Retry_After="1")
        self.close_connection = self.close_connection or self.server.one_call_a_connection
        return self.serve(call, body)

    do_GET = do_PUT = do_POST = do_DELETE = do

    def serve(self, call, body):
        state = self.server
        with state.changed:
            if call.method == "DELETE":
                state.blobs.pop(call.id, None)
                state.ended.add(call.id)
                return self.reply(204)
            if call.id in state.ended:
                return self.reply(410)
            if call.method == "PUT":
                state.blobs[call.id] = body
                return self.reply(204)
            if call.id not in state.blobs:
                return self.reply(404)
            return self.reply(204) if call.action == "touch" else self.reply(200, state.blobs[call.id])

    def log_message(self, *_):
        pass


class State(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """The state API at .address. fault(call) gives a status to answer with, "close", or None; it may also wait."""

    daemon_threads, request_queue_size, block_on_close = True, 256, False

    def __init__(self, path):
        self.blobs, self.ended, self.calls, self.reports = {}, set(), [], []
        self.fault, self.one_call_a_connection = None, False
        self.connections = self.open = self.most_open = 0
        self.changed = threading.Lock()
        self.address = f"unix:{path}"
        super().__init__(path, StateHandler)
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()

    def reported(self):
        wait_for(lambda: self.reports, 10, "a report of the adapter")
        return self.reports

    def ttl(self, id):
        return [c.headers.get("Lethe-TTL") for c in self.calls if c.id == id and c.method in ("PUT", "POST")][-1]

    def handle_error(self, request, client_address):
        """A client that has given up is no news."""

    def stop(self):
        self.shutdown()
        self.server_close()
