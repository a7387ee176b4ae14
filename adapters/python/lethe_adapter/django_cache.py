# SPDX-License-Identifier: Apache-2.0
"""Django's django.contrib.sessions.backends.cache, where the session's cache is LocMemCache: SessionStore then asks lethe."""
from django.conf import settings
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache

from . import SAID, say
from .django_async import hook_async


class Cache:
    """What one SessionStore, which serves one request, uses of its cache. Content as LocMemCache keeps it: pickles."""

    def __init__(self, store, prefix, gone):
        self.store, self.prefix, self.gone = store, prefix, gone
        self.read = {}  # id → version

    def id_of(self, key):
        return key[len(self.prefix):] if key.startswith(self.prefix) else key

    def get(self, key, default=None):
        found = self.store.get(self.id_of(key))
        if found is None:
            return default
        self.read[self.id_of(key)] = found[1]
        return self.store.loads(found[0])

    def __contains__(self, key):
        return self.store.get(self.id_of(key)) is not None

    def add(self, key, value, timeout=None):
        return self._put(key, value, timeout, True)

    def set(self, key, value, timeout=None):
        if timeout is not None and timeout <= 0:  # expired as it is set
            self.store.delete(self.id_of(key))
        elif not self._put(key, value, timeout, False):
            raise self.gone

    def _put(self, key, value, timeout, new):
        id = self.id_of(key)
        tag = self.store.put(id, self.store.dumps(value, value), timeout, ends=True, new=new, over=self.read.get(id))
        if tag:
            self.read[id] = tag
        return bool(tag)

    def delete(self, key):
        self.store.delete(self.id_of(key))
        return True


def hook(module, store):
    cls = module.SessionStore
    init, load, save = cls.__init__, cls.load, cls.save
    said = []

    def tell(cache):
        if said:
            return
        said.append(True)
        if isinstance(cache, LocMemCache):
            say(store.api, store.name, "hooked")
        else:
            say(store.api, store.name, "failed", "the session's cache is %s, not LocMemCache; it is left alone and must be one that all "
                "replicas share" % type(cache).__name__)

    def init_with_lethe(self, *args, **named):
        init(self, *args, **named)
        tell(self._cache)
        if isinstance(self._cache, LocMemCache):
            self._cache = Cache(store, getattr(self, "cache_key_prefix", module.KEY_PREFIX), module.UpdateError)

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

    cls.__init__, cls.load, cls.save = init_with_lethe, load_or_raise, save_what_was_read
    hook_async(cls, lambda self: isinstance(self._cache, Cache))
    if settings.configured:
        tell(caches[settings.SESSION_CACHE_ALIAS])
    return SAID  # else by the first session


def refuse_cached_db(module, store):
    """Its content is in the database, which replicas share or nothing helps; but a LocMemCache in front of it hides what others wrote."""
    if settings.configured and not isinstance(caches[settings.SESSION_CACHE_ALIAS], LocMemCache):
        return SAID
    raise ValueError("it reads LocMemCache before the database and misses what other replicas wrote; set SESSION_ENGINE to "
                     "django.contrib.sessions.backends.db, or to django.contrib.sessions.backends.cache, which is hooked")
