# SPDX-License-Identifier: Apache-2.0
"""lethe's adapter for Python: sessions that a framework keeps in this process's memory (or in this replica's files) live in lethe instead.

    PYTHONPATH=/opt/lethe/adapters/python:$PYTHONPATH  LETHE_STATE_API_LISTEN=unix:/run/lethe/state.sock

Python loads this file by its name before the program. It puts a finder on sys.meta_path that changes a session store right after the
store's own module has run (lethe_adapter/), and then runs the sitecustomize that it hides. Hooked are CherryPy's RamSession, Django's
cache sessions on LocMemCache, Django's file sessions, and Beaker's sessions of type memory. For each one that the program loads it says in
one line on stderr, and to lethe, that it is hooked or why it could not be.

Three rules run through all of it. A session that is not there (404, 410) is a miss. A write that comes after a logout (410) is dropped.
When nobody knows (503, no connection, an answer that makes no sense) StateApiError is raised and the user sees a 5xx: a miss would make the
framework delete the user's cookie. A write says which version was read (If-Match): lethe lets one request at a time work on a session,
so nobody has written since, unless this request has lost its lock (it stood still for too long), and then it must not overwrite."""
import importlib.machinery
import importlib.util
import os
import sys

import lethe_adapter


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
        lethe_adapter.hook(module.__name__, module)


class _Finder:
    def __init__(self):
        self.waiting = set(lethe_adapter.HOOKS)
        self.lethe_ran = set()

    def find_spec(self, name, path=None, target=None):
        if self.waiting:
            self.look_back()
        if name not in lethe_adapter.HOOKS:
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
                lethe_adapter.hook(name, module)


def _run_hidden(ran):
    """The sitecustomize that Python would have loaded if this one were not there (Debian has one) is the program's `sitecustomize`, errors
    and all. Others chain in the same way and may come back to this file: `ran` is what has been run."""
    ran.add(os.path.realpath(__file__))
    own, paths = os.path.realpath(os.path.dirname(__file__)), [os.path.realpath(p) for p in sys.path]
    loaded = sys.modules.get(__name__)
    own_turn = getattr(loaded, "__dict__", None) is globals()  # or one before it in the path has run this file, and is the program's
    for path in sys.path[paths.index(own) + 1 if own in paths else 0:]:
        spec = importlib.machinery.PathFinder.find_spec("sitecustomize", [path])
        if spec is not None and spec.origin and spec.loader is not None and os.path.realpath(spec.origin) not in ran:
            ran.add(os.path.realpath(spec.origin))
            module = importlib.util.module_from_spec(spec)
            if own_turn:
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
