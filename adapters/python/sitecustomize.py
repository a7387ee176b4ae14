# SPDX-License-Identifier: Apache-2.0
"""lethe's adapter for Python: sessions that a framework keeps in this process's memory (or in this replica's files) live in lethe instead.

    PYTHONPATH=/opt/lethe/python:$PYTHONPATH  LETHE_STATE_API_LISTEN=unix:/run/lethe/state.sock

Python loads this file by its name before the program. It puts a finder on sys.meta_path that changes a session store right after the
store's own module has run, and then runs the sitecustomize that it hides. Hooked are CherryPy's RamSession, Django's cache sessions on
LocMemCache, Django's file sessions, and Beaker's sessions of type memory. For each one that the program loads it says in one line on
stderr, and to lethe, that it is hooked or why it could not be.

Three rules run through all of it. A session that is not there (404, 410) is a miss. A write that comes after a logout (410) is dropped.
When nobody knows (503, no connection, an answer that makes no sense) StateApiError is raised and the user sees a 5xx: a miss would make the
framework delete the user's cookie. A write says which version was read (If-Match): lethe lets one request at a time work on a session, so
nobody has written since, unless this request has lost its lock (it stood still for too long), and then it must not overwrite (StateApiError).

On pickle. RamSession, LocMemCache and Beaker keep Python objects, so what is stored is a pickle, and loading a pickle that somebody else
made runs their code. No second signature is put around it, because a key for it would have to be here, with the application, and add
nothing: the bytes come from lethe, which opened them with AES-GCM under a key that neither the store nor a client has, and they come over a
socket in a directory where only lethe (and root) can make files; who can answer in lethe's place there, or who holds lethe's keys, has
the application already. Three things keep this true: an address that is not a unix socket or loopback is refused, what does not begin with
this adapter's own header and the letter of the same store is refused, and no byte that a client sent is ever part of what is loaded but as
the application's own data."""
import os
import sys

VARIABLE = "LETHE_STATE_API_LISTEN"
TIMEOUT = 5.0   # of each wait: for a connection, for an answer, for more of it
IDLE = 64       # connections kept
HEADER = b"LETHEPY\x01"


class StateApiError(RuntimeError):
    """Nobody knows whether the session exists, or it could not be stored. Not an OSError, which frameworks take for a file that is absent."""

    answered = False  # lethe has, and refused


# --- lethe's state API: modules/state_api/openapi.yaml -------------------------------------------------------------------------------------


class _Closed(Exception):
    """A kept connection has ended before it answered."""


class _Connection:
    def __init__(self, family, address):
        import socket
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


class _Api:
    """Calls of any number of threads, each on a connection of its own that is kept for the next one.

    The connections lie in a list: pop and append are atomic, so it needs no lock (a lock that another thread holds while the process forks
    would stay locked in the child), it is right for greenlets too, and a server that makes a thread for each request keeps its connections
    all the same. A forked child must not speak on its parent's connections: the list belongs to a process id. os.register_at_fork would
    not do, uWSGI forks without telling Python."""

    def __init__(self, listen):
        self.listen = listen
        self.family, self.address, self.host = _address(listen)
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
        headers = [("Lethe-Store", _ascii(store)), ("Lethe-Status", status)] + ([("Lethe-Detail", _ascii(detail))] if detail else [])
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


def _address(listen):
    """(family, address, Host). ValueError says what is wrong with it."""
    import socket
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


def _ascii(text):
    return "".join(c if " " <= c <= "~" else "?" for c in str(text))[:900]


class _Store:
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
        import time
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
        import math
        import time
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
        """A pickle. `fields`: the dict in it where a person looks when it fails. Protocol 4: while a new version is rolled out, replicas may
        run different Pythons."""
        import pickle
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
        import pickle
        try:
            return pickle.loads(content)
        except Exception as e:
            raise StateApiError("%s: the stored session does not load: %s: %s" % (self.name, type(e).__name__, e)) from e


# --- CherryPy: RamSession ------------------------------------------------------------------------------------------------------------------


def _hook_cherrypy(module, store):
    """RamSession's methods stay as they are: what changes is the dictionary that they all work on. Of the sessions in lethe it lists those
    that this process has saved, for clean_up(), len() and programs that look at RamSession.cache."""
    import datetime
    import threading
    from collections.abc import MutableMapping
    cls = module.RamSession
    if type(cls.__dict__.get("cache")) is not dict or type(cls.__dict__.get("locks")) is not dict:
        raise ValueError("this CherryPy has no RamSession.cache and .locks; known are 3.2 to 18")
    here = threading.local()  # .cleaning: this thread runs clean_up(); .read: the id and version of the session that it works on

    class Cache(MutableMapping):
        def __init__(self):
            self.seen = {}  # id → when it expires, as this process knows it

        def __contains__(self, id):
            if getattr(here, "cleaning", False):
                return id in self.seen
            return store.get(id) is not None

        def __getitem__(self, id):
            found = store.get(id)
            if found is None:
                here.read = None
                raise KeyError(id)
            here.read = id, found[1]
            return store.loads(found[0])

        def __setitem__(self, id, value):
            data, expires = value
            left = (expires - datetime.datetime.now(expires.tzinfo)).total_seconds()
            read = getattr(here, "read", None)
            tag = store.put(id, store.dumps(value, data), left, over=read[1] if read and read[0] == id else None)
            if tag:
                here.read = id, tag
                self.seen[id] = expires
            else:
                self.seen.pop(id, None)

        def __delitem__(self, id):
            # clean_up() deletes what has expired as far as this replica knows; another one may have served the user since.
            if not getattr(here, "cleaning", False):
                store.delete(id)
                self.seen.pop(id, None)
            else:
                del self.seen[id]

        def pop(self, id, *default):
            value = None if default else self[id]
            del self[id]
            return default[0] if default else value

        def __iter__(self):
            return iter(list(self.seen))

        def __len__(self):
            return len(self.seen)

        def copy(self):
            if getattr(here, "cleaning", False):
                return {id: (None, expires) for id, expires in self.seen.copy().items()}
            found = {id: self.get(id) for id in self}
            return {id: value for id, value in found.items() if value is not None}

        def clear(self):
            for id in self:
                del self[id]

    clean_up = cls.clean_up

    def clean_up_what_is_here(self):
        here.cleaning = True
        try:
            clean_up(self)
        finally:
            here.cleaning = False

    cls.cache, cls.clean_up = Cache(), clean_up_what_is_here
    if hasattr(module, "save"):
        module.save = _save_streams(module, cls, module.save)


def _save_streams(module, cls, save):
    """CherryPy saves the session of a streamed answer when the server closes the body, and a server may have sent the end of a chunked
    answer by then (gunicorn has, CherryPy's own has not). Here it is saved when the body has given its last piece."""
    def all_of(body, session):
        try:
            for piece in body:
                yield piece
            session.save()
            session.loaded = False  # what CherryPy still does when it is closed is not a second save
        finally:
            if hasattr(body, "close"):
                body.close()

    def save_and_follow():
        save()
        serving = module.cherrypy.serving
        if serving.response.stream and isinstance(getattr(serving, "session", None), cls) and serving.response.body:
            serving.response.body = all_of(serving.response.body, serving.session)

    save_and_follow.__dict__.update(save.__dict__)
    return save_and_follow


# --- Django: backends.cache on LocMemCache, backends.file ----------------------------------------------------------------------------------


def _hook_django_cache(module, store):
    """The session's cache becomes one that asks lethe, where it was LocMemCache. Says so once the settings are known."""
    from django.conf import settings
    from django.core.cache import caches
    from django.core.cache.backends.locmem import LocMemCache
    cls = module.SessionStore
    init, load, save = cls.__init__, cls.load, cls.save
    said = []

    class Cache:
        """What one SessionStore, which serves one request, uses of its cache."""

        def __init__(self, prefix):
            self.prefix = prefix
            self.read = {}  # id → version

        def _id(self, key):
            return key[len(self.prefix):] if key.startswith(self.prefix) else key

        def get(self, key, default=None):
            found = store.get(self._id(key))
            if found is None:
                return default
            self.read[self._id(key)] = found[1]
            return store.loads(found[0])

        def __contains__(self, key):
            return store.get(self._id(key)) is not None

        def add(self, key, value, timeout=None):
            id = self._id(key)
            tag = timeout != 0 and store.put(id, store.dumps(value, value), timeout, ends=True, new=True)
            self.read.update({id: tag} if tag else {})
            return bool(tag)

        def set(self, key, value, timeout=None):
            id = self._id(key)
            if timeout is not None and timeout <= 0:  # expired as it is set
                return store.delete(id)
            tag = store.put(id, store.dumps(value, value), timeout, ends=True, over=self.read.get(id))
            if not tag:
                raise module.UpdateError
            self.read[id] = tag
            return None

        def delete(self, key):
            store.delete(self._id(key))
            return True

    def say(cache):
        if said:
            return
        said.append(True)
        if isinstance(cache, LocMemCache):
            _say(store.api, store.name, "hooked", "")
        else:
            _say(store.api, store.name, "failed", "the session's cache is %s, not LocMemCache; it is left alone and must be one that all "
                 "replicas share" % type(cache).__name__)

    def __init__(self, *args, **named):
        init(self, *args, **named)
        say(self._cache)
        if isinstance(self._cache, LocMemCache):
            self._cache = Cache(getattr(self, "cache_key_prefix", module.KEY_PREFIX))

    def load_or_raise(self):
        """As Django's, which takes any exception of the cache for a session that is not there."""
        if not isinstance(self._cache, Cache):
            return load(self)
        data = self._cache.get(self.cache_key)
        if data is not None:
            return data
        self._session_key = None
        return {}

    def save_what_was_read(self, must_create=False):
        """Django's looks once more whether the session is still there. Where this request has read it, the write itself says so."""
        id = self.session_key
        if must_create or id is None or not isinstance(self._cache, Cache) or id not in self._cache.read:
            return save(self, must_create)
        return self._cache.set(self.cache_key, self._get_session(), self.get_expiry_age())

    cls.__init__, cls.load, cls.save = __init__, load_or_raise, save_what_was_read
    _hook_async(cls, lambda self: isinstance(self._cache, Cache))
    if settings.configured:
        say(caches[settings.SESSION_CACHE_ALIAS])
    return "later"


def _hook_django_file(module, store):
    """Content as Django writes it to the file: signed by the application itself."""
    from django.core.exceptions import SuspiciousOperation
    cls = module.SessionStore
    for name in ("_key_to_file", "load", "save", "exists", "delete", "create", "clear_expired"):
        if not hasattr(cls, name):
            raise ValueError("this Django's file sessions have no %s(); known are 1.11 to 5" % name)

    def load(self):
        try:
            self._key_to_file()  # for its check: an id that could not be a file's is none
            found = store.get(self.session_key)
        except SuspiciousOperation:
            found = None
        if found is None:
            self._session_key = None
            return {}
        self.lethe_read = self.session_key, found[1]
        return self.decode(found[0].decode("ascii")) if found[0] else {}

    def save(self, must_create=False):
        if self.session_key is None:
            return self.create()
        data = self._get_session(no_load=must_create)
        self._key_to_file()
        id, tag = getattr(self, "lethe_read", (None, None))
        if not must_create and id != self.session_key:
            # Never under an id that only the client knows (session fixation): Django makes a file only where it chose the id itself.
            found = store.get(self.session_key)
            if found is None:
                raise module.UpdateError
            tag = found[1]
        age = self.get_expiry_age()
        if age <= 0:
            return store.delete(self.session_key)
        tag = store.put(self.session_key, self.encode(data).encode("ascii"), age, ends=True, new=must_create, over=tag)
        if not tag:
            raise module.CreateError if must_create else module.UpdateError
        self.lethe_read = self.session_key, tag
        return None

    def exists(self, session_key):
        self._key_to_file(session_key)
        return store.get(session_key) is not None

    def delete(self, session_key=None):
        session_key = session_key or self.session_key
        if session_key is not None:
            self._key_to_file(session_key)
            store.delete(session_key)

    def clear_expired(cls):
        """Nothing: lethe's time to live does it."""

    cls.load, cls.save, cls.exists, cls.delete, cls.clear_expired = load, save, exists, delete, classmethod(clear_expired)
    _hook_async(cls, lambda self: True)


def _hook_async(cls, ours):
    """Django 5.1 has every method again with an "a" in front, written anew for the cache: there, too, what was hooked must be called."""
    def through(name, own):
        async def call(self, *args, **named):
            from asgiref.sync import sync_to_async
            if not ours(self):
                return await own(self, *args, **named)
            return await sync_to_async(getattr(self, name))(*args, **named)
        return call
    for name in ("load", "save", "create", "exists", "delete"):
        if "a" + name in cls.__dict__:
            setattr(cls, "a" + name, through(name, cls.__dict__["a" + name]))


def _refuse_django_cached_db(module, store):
    """Its content is in the database, which replicas share or nothing helps; but a LocMemCache in front of it hides what others wrote."""
    from django.conf import settings
    from django.core.cache import caches
    from django.core.cache.backends.locmem import LocMemCache
    if settings.configured and not isinstance(caches[settings.SESSION_CACHE_ALIAS], LocMemCache):
        return "silent"
    raise ValueError("it reads LocMemCache before the database and misses what other replicas wrote; set SESSION_ENGINE to "
                     "django.contrib.sessions.backends.db, or to …backends.cache, which is hooked")


# --- Beaker: session.type = memory ---------------------------------------------------------------------------------------------------------


def _hook_beaker(module, store):
    """Session asks a namespace manager for its content; MemoryNamespaceManager, which Beaker's caches use too, becomes another for
    sessions alone."""
    from beaker.container import AbstractDictionaryNSManager, MemoryNamespaceManager
    cls = module.Session
    names = getattr(getattr(cls.__init__, "__code__", None), "co_names", ())
    if "namespace_class" not in names or "invalidate_corrupt" not in names:
        raise ValueError("this Beaker's Session has no namespace_class and invalidate_corrupt; known are 1.6 to 1.13")
    said = []

    class Namespace(MemoryNamespaceManager):
        deleted = False  # the application has called session.delete()
        read = None  # the version

        def __init__(self, namespace, timeout=None, **_):
            AbstractDictionaryNSManager.__init__(self, namespace)
            self.timeout = timeout  # Session adds two minutes to its own
            self.dictionary = {}

        def __getitem__(self, key):
            found = store.get(self.namespace) if key == "session" else None
            if found is None:
                raise KeyError(key)
            self.read = found[1]
            return store.loads(found[0])

        def __contains__(self, key):
            return key == "session" and store.get(self.namespace) is not None

        has_key = __contains__

        def __setitem__(self, key, value):
            if key != "session":
                raise StateApiError("%s: no place for %r beside the session" % (store.name, key))
            # Beaker would keep an emptied session after a delete(); in lethe a logout is final, no slower request brings it back.
            if self.deleted and isinstance(value, dict) and not set(value) - {"_domain", "_path"}:
                store.delete(self.namespace)
            else:
                self.read = store.put(self.namespace, store.dumps(value, value), self.timeout, over=self.read)

        def __delitem__(self, key):
            store.delete(self.namespace)

        def keys(self):
            return [k for k in ("session",) if k in self]

        def do_remove(self):
            store.delete(self.namespace)

    def get_class(self):
        return self.__dict__["namespace_class"]

    def set_class(self, value):
        self.__dict__["namespace_class"] = Namespace if value is MemoryNamespaceManager else value
        if value is not MemoryNamespaceManager and not said:
            said.append(True)
            _say(store.api, store.name, "failed", "session.type is %r; it is left alone and must be a store that all replicas share"
                 % getattr(self, "type", value.__name__))

    def get_invalidate(self):
        # Session.__init__ asks this in its `except Exception` around load(): with the middleware's default a store that is away would be
        # taken for a corrupt session and replaced by an empty one.
        return self.__dict__["invalidate_corrupt"] and not isinstance(sys.exc_info()[1], StateApiError)

    def set_invalidate(self, value):
        self.__dict__["invalidate_corrupt"] = value

    delete = cls.delete

    def delete_for_good(self):
        delete(self)
        if isinstance(getattr(self, "namespace", None), Namespace):
            self.namespace.deleted = True

    cls.namespace_class, cls.invalidate_corrupt = property(get_class, set_class), property(get_invalidate, set_invalidate)
    cls.delete = delete_for_good


# --- the hooks' table, and how they get in -------------------------------------------------------------------------------------------------

# module → what it is called, the letter of its blobs, the function that hooks it: None as a result is "hooked", "later" that it says so itself
HOOKS = {
    "cherrypy.lib.sessions": ("CherryPy RamSession", b"c", _hook_cherrypy),
    "django.contrib.sessions.backends.cache": ("Django cache sessions", b"d", _hook_django_cache),
    "django.contrib.sessions.backends.file": ("Django file sessions", b"f", _hook_django_file),
    "django.contrib.sessions.backends.cached_db": ("Django cached_db sessions", b"-", _refuse_django_cached_db),
    "beaker.session": ("Beaker memory sessions", b"b", _hook_beaker),
}
_api = None


def _say(api, store, status, detail):
    """One line on stderr, one call to lethe."""
    where = "they live in lethe at %s" % api.listen if status == "hooked" else detail
    try:
        sys.stderr.write("lethe: %s: %s: %s\n" % (store, "hooked" if status == "hooked" else "NOT hooked", where))
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # a daemon without stderr
        pass
    if api is not None:
        api.report(store, status, detail)


def _hook(name, module):
    global _api
    store, tag, hook = HOOKS[name]
    try:
        listen = os.environ.get(VARIABLE, "")
        if not listen:
            raise ValueError("the environment has no %s; set it to lethe's state_api.listen" % VARIABLE)
        if _api is None or _api.listen != listen:
            _api = _Api(listen)
        result = hook(module, _Store(_api, store, tag))
    except Exception as e:  # the program goes on as it would without lethe, and somebody must know
        _say(_api, store, "failed", str(e) if isinstance(e, ValueError) else "%s: %s" % (type(e).__name__, e))
    else:
        if result is None:
            _say(_api, store, "hooked", "")


class _Loader:
    """In place of the module's own loader until that has run."""

    def __init__(self, loader):
        self.loader = loader

    def __getattr__(self, name):
        return getattr(self.loader, name)

    def create_module(self, spec):
        return self.loader.create_module(spec) if hasattr(self.loader, "create_module") else None

    def exec_module(self, module):
        module.__loader__ = module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        FINDER.waiting.discard(module.__name__)
        _hook(module.__name__, module)


class _Finder:
    def __init__(self):
        self.waiting = set(HOOKS)
        self.lethe_ran = set()

    def find_spec(self, name, path=None, target=None):
        if self.waiting:
            self.look_back()
        if name not in HOOKS:
            return None
        for finder in list(sys.meta_path):
            spec = finder.find_spec(name, path, target) if finder is not self and hasattr(finder, "find_spec") else None
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    spec.loader = _Loader(spec.loader)
                return spec  # else look_back() finds it
        return None

    def look_back(self):
        """Modules that were loaded past this finder: before it was there, or by one that somebody put in front of it."""
        for name in list(self.waiting):
            module = sys.modules.get(name)
            if module is not None and not getattr(getattr(module, "__spec__", None), "_initializing", False):
                try:
                    self.waiting.remove(name)
                except KeyError:  # another thread was faster
                    continue
                _hook(name, module)


def _run_hidden(ran):
    """The sitecustomize that Python would have loaded if this one were not there (Debian has one) is the program's `sitecustomize`, errors
    and all; this one stays as `_lethe_adapter`. Others chain in the same way and may come back to this file: `ran` is what has been run."""
    import importlib.machinery
    import importlib.util
    ran.add(os.path.realpath(__file__))
    own, paths = os.path.realpath(os.path.dirname(__file__)), [os.path.realpath(p) for p in sys.path]
    loaded = sys.modules.get(__name__)
    if getattr(loaded, "__dict__", None) is not globals():  # one before it in the path has run this file and is the program's
        loaded = None
    else:
        sys.modules["_lethe_adapter"] = loaded
    for path in sys.path[paths.index(own) + 1 if own in paths else 0:]:
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [path])
        if spec is not None and spec.origin and spec.loader is not None and os.path.realpath(spec.origin) not in ran:
            ran.add(os.path.realpath(spec.origin))
            module = importlib.util.module_from_spec(spec)
            if loaded is not None:
                sys.modules[__name__] = module
            spec.loader.exec_module(module)
            return


if __name__ == "sitecustomize":
    FINDER = next((f for f in sys.meta_path if hasattr(f, "lethe_ran")), None)
    if FINDER is None:
        FINDER = _Finder()
        sys.meta_path.insert(0, FINDER)
        FINDER.look_back()
    _run_hidden(FINDER.lethe_ran)
