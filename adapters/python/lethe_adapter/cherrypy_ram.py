# SPDX-License-Identifier: Apache-2.0
"""CherryPy's RamSession. Its methods stay as they are: what changes is the dictionary that they all work on."""
import datetime
import threading
from collections.abc import MutableMapping

_here = threading.local()  # .cleaning: this thread runs clean_up(); .read: the id and version of the session that it works on


def _cleaning():
    return getattr(_here, "cleaning", False)


class Cache(MutableMapping):
    """RamSession.cache: id → (data, when it expires). Of the sessions in lethe it lists those that this process has saved, for clean_up(),
    len() and programs that look at it. clean_up() deletes what has expired as far as this replica knows; another one may have served the
    user since, so that only forgets it here."""

    def __init__(self, store):
        self.store = store
        self.seen = {}  # id → when it expires, as this process knows it

    def __contains__(self, id):
        return id in self.seen if _cleaning() else self.store.get(id) is not None

    def __getitem__(self, id):
        found = self.store.get(id)
        if found is None:
            _here.read = None
            raise KeyError(id)
        _here.read = id, found[1]
        return self.store.loads(found[0])

    def __setitem__(self, id, value):
        data, expires = value
        left = (expires - datetime.datetime.now(expires.tzinfo)).total_seconds()
        read = getattr(_here, "read", None)
        tag = self.store.put(id, self.store.dumps(value, data), left, over=read[1] if read and read[0] == id else None)
        if tag:
            _here.read = id, tag
            self.seen[id] = expires
        else:
            self.seen.pop(id, None)

    def __delitem__(self, id):
        if _cleaning():
            del self.seen[id]
        else:
            self.store.delete(id)
            self.seen.pop(id, None)

    def pop(self, id, *default):
        value = default[0] if default else self[id]
        del self[id]
        return value

    def __iter__(self):
        return iter(list(self.seen))

    def __len__(self):
        return len(self.seen)

    def copy(self):
        if _cleaning():
            return {id: (None, expires) for id, expires in self.seen.copy().items()}
        found = {id: self.get(id) for id in self}
        return {id: value for id, value in found.items() if value is not None}

    def clear(self):
        for id in self:
            del self[id]


def hook(module, store):
    cls = module.RamSession
    if type(cls.__dict__.get("cache")) is not dict or type(cls.__dict__.get("locks")) is not dict:
        raise ValueError("this CherryPy has no RamSession.cache and .locks; it was tested with 18.8")
    clean_up = cls.clean_up

    def clean_up_what_is_here(self):
        _here.cleaning = True
        try:
            clean_up(self)
        finally:
            _here.cleaning = False

    cls.cache, cls.clean_up = Cache(store), clean_up_what_is_here
    if hasattr(module, "save"):
        module.save = _follow_streams(module, cls, module.save)


def _follow_streams(module, cls, save):
    """CherryPy saves the session of a streamed answer when the server closes the body, and a server may have sent the end of a chunked
    answer by then (gunicorn has, CherryPy's own has not). Here it is saved when the body has given its last piece."""
    def all_of(body, session):
        try:
            for piece in body:
                yield piece
            session.save()
            session.loaded = False  # what CherryPy still does when the body is closed is not a second save
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
