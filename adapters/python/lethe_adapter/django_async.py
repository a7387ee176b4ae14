# SPDX-License-Identifier: Apache-2.0
"""Django 5.1 has every method of a session again with an "a" in front, written anew for the cache and its asynchronous calls."""


def _through(name, own, ours):
    async def call(self, *args, **named):
        from asgiref.sync import sync_to_async
        if not ours(self):
            return await own(self, *args, **named)
        return await sync_to_async(getattr(self, name))(*args, **named)
    return call


def hook_async(cls, ours):
    """Makes them call what was hooked, for the sessions of which ours(session) is true."""
    for name in ("load", "save", "create", "exists", "delete"):
        if "a" + name in cls.__dict__:
            setattr(cls, "a" + name, _through(name, cls.__dict__["a" + name], ours))
