# SPDX-License-Identifier: Apache-2.0
"""What lethe's adapter does with a module that keeps sessions, once that has been loaded: ../sitecustomize.py."""
import os
import sys

VARIABLE = "LETHE_STATE_API_LISTEN"

# module → what it is called, the letter of its blobs, the submodule and function here that hook it. The function returns None when it
# has, or SAID when it says itself what it did; it raises ValueError with the reason, and what to do, when it cannot.
HOOKS = {
    "cherrypy.lib.sessions": ("CherryPy RamSession", b"c", "cherrypy_ram", "hook"),
    "django.contrib.sessions.backends.cache": ("Django cache sessions", b"d", "django_cache", "hook"),
    "django.contrib.sessions.backends.cached_db": ("Django cached_db sessions", b"-", "django_cache", "refuse_cached_db"),
    "django.contrib.sessions.backends.file": ("Django file sessions", b"f", "django_file", "hook"),
    "beaker.session": ("Beaker memory sessions", b"b", "beaker_memory", "hook"),
}
SAID = "said"
_api = None


def hook(name, module):
    """Never raises: without lethe the program would run, so it runs, and somebody is told."""
    global _api
    store, tag, file, function = HOOKS[name]
    try:
        # Not at the top: this is loaded into every Python program, and most keep no sessions.
        from importlib import import_module
        from .api import Api, Store
        listen = os.environ.get(VARIABLE, "")
        if not listen:
            raise ValueError("the environment has no %s; set it to lethe's state_api.listen" % VARIABLE)
        if _api is None or _api.listen != listen:
            _api = Api(listen)
        result = getattr(import_module("." + file, __name__), function)(module, Store(_api, store, tag))
    except Exception as e:
        say(_api, store, "failed", str(e) if isinstance(e, ValueError) else "%s: %s" % (type(e).__name__, e))
    else:
        if result is not SAID:
            say(_api, store, "hooked")


def say(api, store, status, detail=""):
    """One line on stderr, one call to lethe."""
    complain("%s: hooked: they live in lethe at %s" % (store, api.listen) if status == "hooked" else "%s: NOT hooked: %s" % (store, detail))
    if api is not None:
        api.report(store, status, detail)


def complain(text):
    try:
        sys.stderr.write("lethe: %s\n" % text)
        sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # a daemon without stderr
        pass
