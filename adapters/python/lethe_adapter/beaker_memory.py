# SPDX-License-Identifier: Apache-2.0
"""Beaker's sessions of type memory. Session asks a namespace manager for its content; MemoryNamespaceManager, which Beaker's caches use
too, becomes another one for sessions alone."""
import sys

from beaker.container import MemoryNamespaceManager

from . import say
from .api import StateApiError


class Namespace(MemoryNamespaceManager):
    """What one Session uses of it: the key "session". Made by hook() with the store."""

    store = None
    deleted = False  # the application has called session.delete()
    read = None  # the version

    def __init__(self, namespace, timeout=None, **_):
        self.namespace = namespace
        self.timeout = timeout  # Session adds two minutes to its own
        self.dictionary = {}  # of the class that it inherits; nothing is kept there

    def __getitem__(self, key):
        found = self.store.get(self.namespace) if key == "session" else None
        if found is None:
            raise KeyError(key)
        self.read = found[1]
        return self.store.loads(found[0])

    def __contains__(self, key):
        return key == "session" and self.store.get(self.namespace) is not None

    has_key = __contains__

    def __setitem__(self, key, value):
        if key != "session":
            raise StateApiError("%s: no place for %r beside the session" % (self.store.name, key))
        # Beaker would keep an emptied session after a delete(); in lethe a logout is final, no slower request brings it back.
        if self.deleted and isinstance(value, dict) and not set(value) - {"_domain", "_path"}:
            self.store.delete(self.namespace)
        else:
            self.read = self.store.put(self.namespace, self.store.dumps(value, value), self.timeout, over=self.read)

    def __delitem__(self, key):
        self.store.delete(self.namespace)

    def keys(self):
        return [k for k in ("session",) if k in self]

    def do_remove(self):
        self.store.delete(self.namespace)


def hook(module, store):
    cls = module.Session
    names = getattr(getattr(cls.__init__, "__code__", None), "co_names", ())
    if "namespace_class" not in names or "invalidate_corrupt" not in names:
        raise ValueError("this Beaker's Session has no namespace_class and invalidate_corrupt; it was tested with 1.11")
    ours = type("Namespace", (Namespace,), {"store": store})
    said, delete = [], cls.delete

    def get_class(self):
        return self.__dict__["namespace_class"]

    def set_class(self, value):
        self.__dict__["namespace_class"] = ours if value is MemoryNamespaceManager else value
        if value is not MemoryNamespaceManager and not said:
            said.append(True)
            say(store.api, store.name, "failed", "session.type is %r; it is left alone and must be a store that all replicas share"
                % getattr(self, "type", value.__name__))

    def get_invalidate(self):
        # Session.__init__ asks this in its `except Exception` around load(): with the middleware's default a store that is away would be
        # taken for a corrupt session and replaced by an empty one.
        return self.__dict__["invalidate_corrupt"] and not isinstance(sys.exc_info()[1], StateApiError)

    def set_invalidate(self, value):
        self.__dict__["invalidate_corrupt"] = value

    def delete_for_good(self):
        delete(self)
        if isinstance(getattr(self, "namespace", None), Namespace):
            self.namespace.deleted = True

    cls.namespace_class, cls.invalidate_corrupt = property(get_class, set_class), property(get_invalidate, set_invalidate)
    cls.delete = delete_for_good
