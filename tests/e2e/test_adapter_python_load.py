# SPDX-License-Identifier: Apache-2.0
"""adapters/python: how it is loaded, which other sitecustomize it runs, what it says when it hooks a store and when it cannot."""
import os
import subprocess

import pytest
from adapter_python_rig import ADAPTER, PYTHON, State, User, run, running_sites


@pytest.fixture(name="state")
def state_fixture(short_dir):
    it = State(os.path.join(short_dir, "state"))
    yield it
    it.close()


@pytest.fixture(name="sites")
def sites_fixture():
    with running_sites() as make:
        yield make


IMPORTS = {"CherryPy RamSession": "import cherrypy", "Django cache sessions": "from django.conf import settings; settings.configure()\n"
           "import django.contrib.sessions.backends.cache", "Beaker memory sessions": "import beaker.middleware",
           "Django file sessions": "from django.conf import settings; settings.configure()\nimport django.contrib.sessions.backends.file"}


@pytest.mark.parametrize("store", IMPORTS)
def test_it_says_that_it_hooked(store, state):
    _, lines = run(IMPORTS[store], state)
    assert lines == [f"lethe: {store}: hooked: they live in lethe at {state.listen}"]
    assert state.reports == [("python", store, "hooked", None)]


def test_a_program_without_sessions_hears_nothing(state):
    assert run("import json, http.client", state) == (None, []) and not state.calls


@pytest.mark.parametrize("listen, says", [
    (None, "the environment has no LETHE_STATE_API_LISTEN; set it to lethe's state_api.listen"),
    ("unix:run/x", "is no absolute path"), ("7070", "is no address"), ("10.1.2.3:7070", "is not this machine"),
    ("127.evil.example:7070", "is not this machine")])
def test_an_address_that_it_cannot_use(listen, says):
    _, lines = run("import cherrypy", listen)
    assert len(lines) == 1 and lines[0].startswith("lethe: CherryPy RamSession: NOT hooked: ") and says in lines[0]
    assert run("import json, cherrypy; print(json.dumps(type(cherrypy.lib.sessions.RamSession.cache).__name__))", listen)[0] == "dict"


SETTINGS = "from django.conf import settings\nsettings.configure(CACHES={'default': {'BACKEND': 'django.core.cache.backends.%s'}})\n"
CANNOT = {
    "another cache": (SETTINGS % "dummy.DummyCache" + "import django.contrib.sessions.backends.cache", "the session's cache is DummyCache"),
    "cached_db": (SETTINGS % "locmem.LocMemCache" + "import django.contrib.sessions.backends.cached_db", "it reads LocMemCache before"),
    "Beaker's files": ("from beaker.session import Session\nSession({}, type='file', data_dir='/tmp')", "session.type is 'file'")}


@pytest.mark.parametrize("case", CANNOT)
def test_it_says_why_it_could_not_hook(case, state):
    code, says = CANNOT[case]
    _, lines = run(code, state)
    assert len([line for line in lines if "NOT hooked: " + says in line]) == 1, lines
    assert [r[3] for r in state.reports if r[2] == "failed" and says in r[3]], state.reports


UNKNOWN = {"cherrypy/lib/sessions.py": ("class RamSession:\n    pass\n", "this CherryPy has no RamSession.cache"),
           "beaker/session.py": ("class Session(dict):\n    pass\n", "this Beaker's Session has no namespace_class"),
           "django/contrib/sessions/backends/file.py": ("class SessionStore:\n    pass\n", "this Django's file sessions have no")}


@pytest.mark.parametrize("file", UNKNOWN)
def test_a_framework_of_another_shape(file, state, tmp_path):
    """The program runs as if the adapter were not there, and somebody is told."""
    text, says = UNKNOWN[file]
    (tmp_path / file).parent.mkdir(parents=True)
    (tmp_path / file).write_text(text)
    folder = (tmp_path / file).parent
    while folder != tmp_path:
        (folder / "__init__.py").touch()
        folder = folder.parent
    if file.startswith("beaker"):
        (tmp_path / "beaker" / "container.py").write_text("class AbstractDictionaryNSManager: pass\nclass MemoryNamespaceManager: pass\n")
    if file.startswith("django"):
        (tmp_path / "django" / "core").mkdir()
        (tmp_path / "django" / "core" / "__init__.py").touch()
        (tmp_path / "django" / "core" / "exceptions.py").write_text("class SuspiciousOperation(Exception): pass\n")
    ran, lines = run(f"import {file[:-3].replace('/', '.')}\nprint(1)", state, tmp_path)
    assert ran == 1 and len(lines) == 1 and "NOT hooked: " + says in lines[0], lines
    assert [(r[2], says in r[3]) for r in state.reports] == [("failed", True)]


def test_the_sitecustomize_that_it_hides_is_run(state, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['RAN'] = os.environ.get('RAN', '') + 'x'\nmine = 7\n")
    code = "import json, os, sitecustomize, cherrypy; print(json.dumps([os.environ['RAN'], sitecustomize.mine]))"
    printed, lines = run(code, state, tmp_path)
    assert printed == ["x", 7] and len(lines) == 1 and ": hooked: " in lines[0]
    # Debian's, which is in the standard library, when there is no other
    debian = "import json, sitecustomize; print(json.dumps(sitecustomize.__file__))"
    assert run(debian, state)[0] == subprocess.run([PYTHON, "-c", debian], env={"PATH": "/usr/bin"}, stdout=subprocess.PIPE,
                                                   check=True).stdout.decode().strip().strip('"')


def test_a_hidden_sitecustomize_that_fails(state, tmp_path):
    """Python says so as it would have without the adapter, which is in place all the same."""
    (tmp_path / "sitecustomize.py").write_text("1 / 0\n")
    _, lines = run("import cherrypy", state, tmp_path)
    without = subprocess.run([PYTHON, "-c", ""], env={"PYTHONPATH": str(tmp_path)}, stderr=subprocess.PIPE, check=True)
    assert lines[:-1] == without.stderr.decode().splitlines() and len(lines) == 3 and ": hooked: " in lines[-1]


def test_others_that_chain_do_not_loop(state, tmp_path):
    """As New Relic's and others do: take their own folder away, and load what is found then. First behind the adapter, then before it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery, importlib.util, os, sys\n"
        "os.environ['RAN'] = os.environ.get('RAN', '') + 'x'\n"
        "own = os.path.dirname(__file__)\n"
        "spec = importlib.machinery.PathFinder.find_spec('sitecustomize', [p for p in sys.path if p != own])\n"
        "spec.loader.exec_module(importlib.util.module_from_spec(spec))\n")
    code = "import json, os, sys, cherrypy\nprint(json.dumps([os.environ['RAN'], sum(hasattr(f, 'lethe_ran') for f in sys.meta_path)]))"
    for path in (f"{ADAPTER}:{tmp_path}", f"{tmp_path}:{ADAPTER}"):
        printed, lines = run(code, state, PYTHONPATH=path)
        assert printed == ["x", 1] and len(lines) == 1 and ": hooked: " in lines[0]


def test_a_module_that_is_loaded_past_the_finder(state, tmp_path):
    """Another finder stands in front and takes it, or the hidden sitecustomize has loaded it."""
    (tmp_path / "sitecustomize.py").write_text(
        "import importlib.machinery, sys\n"
        "class First:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        return importlib.machinery.PathFinder.find_spec(name, path, target) if name == 'cherrypy.lib.sessions' else None\n"
        "sys.meta_path.insert(0, First())\n")
    kind = "import json, cherrypy; print(json.dumps(type(cherrypy.lib.sessions.RamSession.cache).__name__))"
    printed, lines = run(kind, state, tmp_path)
    assert printed == "Cache" and len(lines) == 1 and ": hooked: " in lines[0]
    (tmp_path / "sitecustomize.py").write_text("import cherrypy\n")
    printed, lines = run(kind, state, tmp_path)
    assert printed == "Cache" and len(lines) == 1 and ": hooked: " in lines[0]


def test_a_module_that_is_loaded_again_is_hooked_again(state):
    code = ("import json, importlib, cherrypy.lib.sessions as s\nimportlib.reload(s)\n"
            "print(json.dumps([type(s.RamSession.cache).__name__, type(s.__loader__).__name__, type(s.__spec__.loader).__name__]))")
    assert run(code, state)[0] == ["Cache", "SourceFileLoader", "SourceFileLoader"]


def test_lethe_refuses_this_user(state):
    """As with a user who is not in state_api.allow_uids: known at the start, not with the first session."""
    state.broken = lambda m, p: (403, {"X-Lethe-Error": "peer"}, b"write its id into state_api.allow_uids\n")
    _, lines = run("import cherrypy", state)
    assert lines[1:] == ["lethe: lethe's state API: 403 peer: write its id into state_api.allow_uids"]


def test_lethe_may_start_later(state, sites):
    path = state.path
    state.close()
    os.unlink(path)
    user = User(sites("beaker", state, 1))
    assert user.ask("GET", "/count").status_code == 500
    state.open()
    assert user.json("/count")["n"] == 1 and user.json("/count")["n"] == 2
    assert state.reports == [("python", "Beaker memory sessions", "hooked", None)]
