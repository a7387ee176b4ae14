# SPDX-License-Identifier: Apache-2.0
"""lethe's state API (modules/state_api/openapi.yaml), and sessions on it.

On pickle. RamSession, LocMemCache and Beaker keep Python objects, so what is stored is a pickle, and loading a pickle that somebody else
made runs their code. No second signature is put around it, because a key for it would have to be here, with the application, and add
nothing: the bytes come from lethe, which opened them with AES-GCM under a key that neither the store nor a client has, and they come over a
socket in a directory where only lethe (and root) can make files; who can answer in lethe's place there, or who holds lethe's keys, has
the application already. (On loopback any user of the machine could take the port while lethe is away: a unix socket is the rule, the port
is for containers that share nothing but their network.) Three things keep this true: an address that is not a unix socket or loopback is
refused, what does not begin with this adapter's own header and the letter of the same store is refused, and no byte that a client sent is
ever part of what is loaded but as the application's own data."""
import math
import os
import pickle
import socket
import time

from . import complain

TIMEOUT = 5.0  # of each wait: for a connection, for an answer, for more of it
IDLE = 64  # connections kept
HEADER = b"LETHEPY\x01"


class StateApiError(RuntimeError):
    """Nobody knows whether the session exists, or it could not be stored. Not an OSError, which frameworks take for an absent file."""

    answered = False  # lethe has, and refused


class _Closed(Exception):
    """A kept connection has ended before it answered."""


class _Connection:
    def __init__(self, family, address):
        self.sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            self.sock.settimeout(TIMEOUT)
            self.sock.connect(address)
            if family != getattr(socket, "AF_UNIX", None):
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.file = self.sock.makefile("rb")
        except BaseException:
            self.sock.close()
            raise

    def ask(self, request):
        """(status, headers with lower-case names, body, whether the connection may be kept)."""
        try:
            self.sock.sendall(request)
            line = self.file.readline(1024)
        except (BrokenPipeError, ConnectionResetError) as e:
            raise _Closed(str(e)) from None
        if not line:
            raise _Closed("it closed the connection")
        words = line.split(None, 2)
        if len(words) < 2 or words[0] != b"HTTP/1.1" or not words[1].isdigit():
            raise StateApiError("lethe's state API: this is no HTTP answer: %r" % line[:80])
        status, headers = int(words[1]), {}
        while True:
            line = self.file.readline(8192)
            if line in (b"\r\n", b"\n"):
                break
            name, colon, value = line.partition(b":")
            if not colon or len(headers) > 100:
                raise StateApiError("lethe's state API: this is no HTTP header: %r" % line[:80])
            headers[name.decode("latin-1").lower()] = value.strip().decode("latin-1")
        length = 0 if status in (204, 304) else int(headers.get("content-length", "-1"))
        if length < 0:
            raise StateApiError("lethe's state API: an answer without a length")
        body = self.file.read(length)
        if len(body) != length:
            raise StateApiError("lethe's state API: the answer ended early")
        return status, headers, body, headers.get("connection", "").lower() != "close"

    def close(self):
        try:
            self.file.close()
        finally:
            self.sock.close()


class Api:
    """Calls of any number of threads, each on a connection of its own that is kept for the next one.

    The connections lie in a list: pop and append are atomic, so it needs no lock (a lock that another thread holds while the process forks
    would stay locked in the child), it is right for greenlets too, and a server that makes a thread for each request keeps its connections
    all the same. A forked child must not speak on its parent's connections: the list belongs to a process id. os.register_at_fork would
    not do, uWSGI forks without telling Python."""

    def __init__(self, listen):
        self.listen = listen
        self.family, self.address, self.host = address_of(listen)
        self.pid, self.idle = os.getpid(), []
        self.unsent = []  # what lethe has not heard yet

    def _take(self):
        pid = os.getpid()
        if self.pid != pid:
            self.idle, self.pid = [], pid
        try:
            return self.idle.pop(), True
        except IndexError:
            return _Connection(self.family, self.address), False

    def _keep(self, connection):
        if len(self.idle) < IDLE and self.pid == os.getpid():
            self.idle.append(connection)
        else:
            connection.close()

    def _drop(self):
        try:
            while True:
                self.idle.pop().close()
        except IndexError:
            pass

    def call(self, method, path, headers=(), body=b""):
        """(status, ETag, body). A request may be sent twice, so a kept connection that lethe has closed meanwhile (its time-out, a restart)
        costs one more try; a conditional write that had been done after all then fails, which is the safe side."""
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: " + self.host, "Content-Length: %d" % len(body)]
        request = "\r\n".join(lines + ["%s: %s" % h for h in headers] + ["", ""]).encode("ascii") + body
        try:
            for last in (False, True):
                if last:
                    self._drop()  # the others are as old
                connection, kept = self._take()
                try:
                    status, answer, content, reusable = connection.ask(request)
                except _Closed as e:
                    connection.close()
                    if last or not kept:
                        raise StateApiError("lethe's state API at %s: %s" % (self.listen, e)) from None
                    continue
                except BaseException:
                    connection.close()  # it is in the middle of something
                    raise
                (self._keep if reusable else _Connection.close)(connection)
                break
        except (OSError, ValueError) as e:
            raise StateApiError("lethe's state API at %s: %s" % (self.listen, e or type(e).__name__)) from None
        if status >= 400 and status not in (404, 410, 412):
            error = StateApiError("lethe's state API: %d %s: %s" % (
                status, answer.get("x-lethe-error", ""), content.decode("latin-1").strip()[:300]))
            error.answered = True
            raise error
        return status, answer.get("etag"), content

    def report(self, store, status, detail):
        headers = [("Lethe-Store", ascii_of(store)), ("Lethe-Status", status)] + ([("Lethe-Detail", ascii_of(detail))] if detail else [])
        self.unsent.append(headers)
        self.flush()

    def flush(self):
        """Tells lethe what it has not heard: it may start after the application. Tried again with the next session that is read."""
        while self.unsent:
            try:
                headers = self.unsent.pop(0)
            except IndexError:  # another thread was faster
                return
            try:
                self.call("POST", "/v1/adapters/python", headers)
            except StateApiError as e:
                if not e.answered:
                    self.unsent.insert(0, headers)
                    return
                complain(e)  # the next call, for a session, would be refused in the same way


def address_of(listen):
    """(family, address, Host). ValueError says what is wrong with it."""
    if listen.startswith("unix:"):
        if not listen[5:].startswith("/"):
            raise ValueError('"%s" is no absolute path; write unix:/run/lethe/state.sock' % listen)
        return socket.AF_UNIX, listen[5:], "lethe"
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    if not port.isdigit() or not host:
        raise ValueError('"%s" is no address; write unix:/run/lethe/state.sock or 127.0.0.1:7070' % listen)
    if host not in ("localhost", "::1") and not (host.startswith("127.") and host.replace(".", "").isdigit()):
        raise ValueError('"%s" is not this machine; sessions are pickles, they are taken from a unix socket or from loopback only' % listen)
    return (socket.AF_INET6 if ":" in host else socket.AF_INET), (host, int(port)), listen


def ascii_of(text):
    return "".join(c if " " <= c <= "~" else "?" for c in str(text))[:900]


class Store:
    """Sessions of one framework as bytes. `tag`: one letter that tells its blobs from those of the others."""

    def __init__(self, api, name, tag):
        self.api, self.name, self.header = api, name, HEADER + tag

    @staticmethod
    def _path(id):
        """None for an id that no session can have; a client may send anything."""
        raw = id.encode("utf-8", "surrogateescape") if isinstance(id, str) else bytes(id)
        if not 1 <= len(raw) <= 512:
            return None
        # Dots too: "..", from a cookie, is an id like any other and no way up.
        return "/v1/sessions/" + "".join(chr(b) if b < 128 and chr(b).isalnum() or b in b"-_" else "%%%02X" % b for b in raw)

    def get(self, id):
        """(content, its version), or None: a miss."""
        path = self._path(id)
        if path is None:
            return None
        status, tag, blob = self.api.call("GET", path)
        if self.api.unsent:
            self.api.flush()
        if status != 200:
            return self._must(status, (404, 410), None)
        if not blob.startswith(self.header):
            raise StateApiError("%s: what is stored under this id was not stored by this adapter for it; it is not loaded" % self.name)
        at = len(self.header)
        ends = int.from_bytes(blob[at:at + 8], "big")
        return None if ends and ends <= time.time() else (blob[at + 8:], tag)

    def put(self, id, content, ttl=None, ends=False, new=False, over=None):
        """The new version, or False when it was not written: after a logout, or with `new` because there is one. `ends`: over after `ttl`
        seconds however often it is read meanwhile (a read slides lethe's own time to live). `over`: the version that was read."""
        path = self._path(id)
        if path is None:
            raise StateApiError("%s: a session id has 1 to 512 bytes" % self.name)
        headers = [("Content-Type", "application/octet-stream")]
        if ttl is not None:
            headers.append(("Lethe-TTL", "%d" % max(1, math.ceil(ttl))))
        if new:
            headers.append(("If-None-Match", "*"))
        elif over:
            headers.append(("If-Match", over))
        until = math.ceil(time.time() + ttl) if ends and ttl is not None else 0
        status, tag, _ = self.api.call("PUT", path, headers, self.header + until.to_bytes(8, "big") + content)
        if status == 412 and over:
            raise StateApiError("%s: another request has written this session since this one read it; this one was stopped for longer than "
                                "lethe holds a lock, and what it changed is dropped" % self.name)
        return (tag or True) if status in (200, 201, 204) else self._must(status, (410, 412) if new else (410,), False)

    def delete(self, id):
        path = self._path(id)
        if path is not None:
            self._must(self.api.call("DELETE", path)[0], (200, 204, 404, 410), None)

    def _must(self, status, known, result):
        if status not in known:
            raise StateApiError("%s: lethe's state API answered %d" % (self.name, status))
        return result

    def dumps(self, value, fields):
        """A pickle. `fields`: the dict in it where a person looks when it fails. Protocol 4: while a new version is rolled out, replicas
        may run different Pythons."""
        try:
            return pickle.dumps(value, 4)
        except Exception as e:
            for key, field in fields.items() if isinstance(fields, dict) else ():
                try:
                    pickle.dumps(field, 4)
                except Exception as inner:
                    raise StateApiError("%s: session[%r] is a %s, which exists in this process only and cannot be stored (%s)" % (
                        self.name, key, type(field).__name__, inner)) from e
            raise StateApiError("%s: the session cannot be stored: %s" % (self.name, e)) from e

    def loads(self, content):
        """A class that this version of the program lacks is an error, as in the frameworks' own file sessions, and never a miss."""
        try:
            return pickle.loads(content)
        except Exception as e:
            raise StateApiError("%s: the stored session does not load: %s: %s" % (self.name, type(e).__name__, e)) from e
