# SPDX-License-Identifier: Apache-2.0
"""Django's django.contrib.sessions.backends.file. Content as Django writes it to the file: signed by the application itself."""
from django.core.exceptions import SuspiciousOperation

from .django_async import hook_async

NEEDED = ("_key_to_file", "load", "save", "exists", "delete", "create", "clear_expired")


def hook(module, store):
    cls = module.SessionStore
    for name in NEEDED:
        if not hasattr(cls, name):
            raise ValueError("this Django's file sessions have no %s(); it was tested with 3.2" % name)

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
    hook_async(cls, lambda self: True)
