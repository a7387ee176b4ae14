# SPDX-License-Identifier: Apache-2.0
"""adapters/python inside a process: connections, threads, forks, and what the frameworks' own parts still do."""
import json
import os
import subprocess

import pytest
import requests
from adapter_python_rig import APPS, FAILURES, PYTHON, State, User, count_of, environment, run, running_sites

from rig.base import wait_for


@pytest.fixture(name="state")
def state_fixture(short_dir):
    it = State(os.path.join(short_dir, "state"))
    yield it
    it.close()


@pytest.fixture(name="sites")
def sites_fixture():
    with running_sites() as make:
        yield make


# --- connections, threads, forks ---

def test_connections_are_kept_and_replaced(state):
    code = ("import json, lethe_adapter.api as a\napi = a.Api(%r)\nstore = a.Store(api, 'test', b't')\nout = []\n"
            "for i in range(50):\n    store.put('x', b'%%d' %% i)\n    assert store.get('x')[0] == b'%%d' %% i\n"
            "input()\n"
            "out.append(store.get('x')[0].decode())\nprint(json.dumps(out))") % state.listen
    p = subprocess.Popen([PYTHON, "-c", code], env=environment(state), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: count_of(state, "GET") == 50, 20, "fifty rounds")
    assert state.accepted == 1
    wait_for(lambda: state.sessions["x"][1] == 50)
    state.hang_up()
    out, _ = p.communicate(b"\n", timeout=20)
    assert p.returncode == 0 and json.loads(out) == ["49"] and state.accepted == 2


PARALLEL = """
import json, os, sys, threading, lethe_adapter.api as a
store = a.Store(a.Api(%r), 'test', b't')
store.put('before', b'fork')
wrong = []

def work(name):
    for i in range(40):
        id, text = '%%s-%%d' %% (name, i), ('%%s %%d ' %% (name, i)).encode() * 50
        store.put(id, text)
        if store.get(id)[0] != text or store.get('before')[0] != b'fork':
            wrong.append(id)

def threads(name):
    all = [threading.Thread(target=work, args=('%%s.%%d' %% (name, i),)) for i in range(4)]
    for t in all: t.start()
    for t in all: t.join()
    return len(wrong)
"""


def test_threads_have_connections_of_their_own(state):
    assert run(PARALLEL % state.listen + "print(json.dumps(threads('t')))", state)[0] == 0
    assert 1 <= state.accepted <= 4 and len(state.sessions) == 161


def test_children_of_a_fork_have_connections_of_their_own(state):
    """As gunicorn and uWSGI do it: the parent has used the API, children and parent go on at the same time; a child is also forked while
    threads are in the middle of a call."""
    code = PARALLEL % state.listen + """
threads('before')  # leaves some connections that are kept
busy = threading.Thread(target=work, args=('busy',))
busy.start()
pids = []
for i in range(4):
    pid = os.fork()
    if pid == 0:
        os._exit(threads('child%d' % i))
    pids.append(pid)
ends = [os.waitstatus_to_exitcode(os.waitpid(p, 0)[1]) for p in pids]
busy.join()
print(json.dumps(ends + [threads('parent')]))
"""
    assert run(code, state)[0] == [0] * 5
    assert len(state.sessions) == 1 + 40 + 6 * 160


# --- what the frameworks' own parts still do ---

CHERRYPY = """
import datetime, json, threading, cherrypy
from cherrypy.lib.sessions import RamSession
out = {}
s = RamSession(); s.acquire_lock(); s['a'] = [1]; s.save(); first = s.id
out['lock released'] = s.locked
t = RamSession(first); t.acquire_lock(); out['loaded'] = [t.id == first, t['a'], t.missing]
t.regenerate(); t['b'] = 2; t.save()
out['regenerated'] = [t.id != first, t.regenerated, RamSession(first).missing, dict(RamSession(t.id).items())]
out['len'] = [len(t), len(RamSession.cache)]
u = RamSession('made up'); out['fixation'] = [u.id != 'made up', u.missing]
out['cache'] = [first in RamSession.cache, t.id in RamSession.cache, RamSession.cache[t.id][0], list(RamSession.cache),
                list(RamSession.cache.copy()) == [t.id], RamSession.cache.get('x', 5), RamSession.cache.pop('x', 6)]
v = RamSession(t.id); v.delete(); out['deleted'] = [RamSession(t.id).missing, len(v)]
v = RamSession(); v.acquire_lock(); v['x'] = 1; v.timeout = -1; v.save(); gone = v.id
w = RamSession(); w.acquire_lock(); w['x'] = 2; w.save()
held = RamSession(); held.acquire_lock()
done = threading.Thread(target=w.clean_up); done.start(); done.join()
out['cleaned'] = [len(w), gone in RamSession.locks, held.id in RamSession.locks, w.id in RamSession.cache]
try:
    held['db'] = threading.Lock(); held.save()
except Exception as e:
    out['refused'] = [type(e).__name__, str(e), held.locked]
print(json.dumps(out))
"""


def test_cherrypy_works_as_it_did(state):
    out, _ = run(CHERRYPY, state)
    assert out["lock released"] is False and out["loaded"] == [True, [1], False]
    assert out["regenerated"] == [True, True, True, {"a": [1], "b": 2}]
    assert out["len"] == [1, 1] and out["fixation"] == [True, True]
    assert out["cache"][:3] == [False, True, {"a": [1], "b": 2}] and len(out["cache"][3]) == 1 and out["cache"][4:] == [True, 5, 6]
    assert out["deleted"] == [True, 0] and out["cleaned"] == [1, False, True, True]
    assert out["refused"][0] == "StateApiError" and out["refused"][2] is False
    assert out["refused"][1].startswith("CherryPy RamSession: session['db'] is a lock, which exists in this process only")
    deleted = [p for m, p, _ in state.calls if m == "DELETE"]
    assert len(deleted) == 3  # regenerate(), delete() and pop("x"): what clean_up() forgets here may be alive elsewhere


def test_cherrypy_clean_up_leaves_what_others_use(state):
    """A session that has expired as far as this replica knows has been used on another one since."""
    code = """
import datetime, json, cherrypy
from cherrypy.lib.sessions import RamSession
s = RamSession(); s.acquire_lock(); s['a'] = 1; s.save()
RamSession.cache.seen[s.id] = datetime.datetime.now() - datetime.timedelta(seconds=1)
s.clean_up()
print(json.dumps([len(s), dict(RamSession(s.id).items())]))"""
    assert run(code, state)[0] == [0, {"a": 1}]


STREAM = """
import json, sys, cherrypy
sys.path.insert(0, %r)
import cherrypy_app
cherrypy.config.update({'environment': 'embedded'})
app = cherrypy.Application(cherrypy_app.Site(), '', {'/': {'tools.sessions.on': True}})
def ask(path, cookie=None):
    headers = []
    environ = {'REQUEST_METHOD': 'GET', 'PATH_INFO': path, 'SCRIPT_NAME': '', 'QUERY_STRING': '', 'SERVER_PROTOCOL': 'HTTP/1.1',
               'HTTP_HOST': 'a', 'SERVER_NAME': 'a', 'SERVER_PORT': '80', 'wsgi.url_scheme': 'http', 'wsgi.input': sys.stdin.buffer,
               'wsgi.errors': sys.stderr, 'wsgi.multithread': True, 'wsgi.multiprocess': False, 'wsgi.run_once': False,
               'wsgi.version': (1, 0)}
    if cookie: environ['HTTP_COOKIE'] = 'session_id=' + cookie
    return app(environ, lambda status, h, exc_info=None: headers.extend(h)), dict(headers)
body, _ = ask('/count'); id = json.loads(b''.join(body))['id']; body.close()
def stored(): return cherrypy.lib.sessions.RamSession.cache[id][0]['n']
body, _ = ask('/stream', id)
out, pieces = [stored()], iter(body)
next(pieces); out.append(stored())
for _ in pieces: pass
out.append(stored())
body.close(); out.append(stored())
print(json.dumps([out, cherrypy.lib.sessions.RamSession.locks[id].acquire(blocking=False)]))
""" % APPS


def test_cherrypy_s_streams_are_saved_before_they_end(state):
    """Also under a server that ends a chunked answer before it closes the body, as gunicorn does."""
    (seen, unlocked), _ = run(STREAM, state)
    assert seen == [1, 1, 2, 2] and unlocked is True
    assert count_of(state, "PUT") == 2


def test_cherrypy_s_stream_that_cannot_be_saved_does_not_end_well(state, sites):
    user = User(sites("cherrypy", state, 1))
    assert user.json("/count")["n"] == 1
    state.broken = lambda m, p: FAILURES["503"](m, p) if m == "PUT" else None
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        user.ask("GET", "/stream")
    state.broken = None
    assert user.json("/me")["n"] == 1


DJANGO = """
import json, sys, time, importlib
from django.conf import settings
settings.configure(SECRET_KEY='x', SESSION_FILE_PATH='/tmp')
import django; django.setup()
m = importlib.import_module('django.contrib.sessions.backends.' + sys.argv[1])
out = {}
s = m.SessionStore(); s['n'] = 1; s.save(); key = s.session_key
t = m.SessionStore(key); out['loaded'] = [t['n'], t.exists(key), t.exists('0' * 32)]
made = m.SessionStore('madeup00'); made.clear(); made['n'] = 9
try:
    made.save(); out['fixation'] = made.session_key
except m.UpdateError: out['fixation'] = 'UpdateError'
unknown = m.SessionStore('unknown0'); out['unknown'] = [dict(unknown.items()), unknown.session_key]
t.cycle_key(); t.save(); out['cycled'] = [t.session_key != key, t.exists(key), m.SessionStore(t.session_key)['n']]
late = m.SessionStore(t.session_key); late['n']
t.delete()
try:
    late['n'] = 2; late.save(); out['late'] = 'written'
except m.UpdateError: out['late'] = 'UpdateError'
e = m.SessionStore(); e['n'] = 1; e.set_expiry(1); e.save(); out['ttl'] = e.session_key
e2 = m.SessionStore(e.session_key); out['before'] = e2.get('n')
real = time.time; time.time = lambda: real() + 3
e3 = m.SessionStore(e.session_key); out['after'] = e3.get('n')
m.SessionStore.clear_expired()
print(json.dumps(out))
"""


@pytest.mark.parametrize("backend", ["cache", "file"])
def test_django_works_as_it_did(backend, state):
    out, _ = run(DJANGO.replace("sys.argv[1]", repr(backend)), state)
    assert out["loaded"] == [1, True, False] and out["fixation"] == "UpdateError" and out["unknown"] == [{}, None]
    assert out["cycled"] == [True, False, 1] and out["late"] == "UpdateError"
    assert out["before"] == 1 and out["after"] is None  # reading has not kept it alive
    assert state.sessions[out["ttl"]][2] == "1"
    assert [(r[1], r[2]) for r in state.reports] == [(f"Django {backend} sessions", "hooked")]
    if backend == "cache":
        without = subprocess.run([PYTHON, "-c", DJANGO.replace("sys.argv[1]", repr(backend))], env={"PATH": "/usr/bin"},
                                 stdout=subprocess.PIPE, check=True)
        assert {**json.loads(without.stdout), "ttl": 0} == {**out, "ttl": 0}, "Django alone does something else"


def test_django_s_file_sessions_are_signed_by_django(state):
    code = ("from django.conf import settings; settings.configure(SECRET_KEY='x', SESSION_FILE_PATH='/tmp')\n"
            "import json\nfrom django.contrib.sessions.backends.file import SessionStore as S\n"
            "s = S(); s['n'] = 1; s.save(); print(json.dumps([s.session_key, s.encode({'n': 1})]))")
    (key, encoded), _ = run(code, state)
    blob = state.sessions[key][0]
    assert blob.startswith(b"LETHEPY\x01f") and blob[17:].decode().split(":")[0] == encoded.split(":")[0]


def test_django_s_asynchronous_calls(state):
    """Django 5.1's second set of methods, which its cache backend writes anew over the cache's own asynchronous ones."""
    code = """
import asyncio, json, types
from django.conf import settings
settings.configure(SECRET_KEY='x')
import lethe_adapter.api as a
from importlib.machinery import PathFinder
import django.contrib.sessions.backends as backends
source = open(backends.__path__[0] + '/cache.py').read()
more = '''
    async def aload(self):
        try: data = await self._cache.aget(self.cache_key)
        except Exception: data = None
        return {} if data is None else data
    async def asave(self, must_create=False): raise NotImplementedError
    async def aexists(self, key): raise NotImplementedError
'''
at = source.index('    @classmethod')
module = types.ModuleType('cache51')
exec(source[:at] + more + source[at:], module.__dict__)
import lethe_adapter.django_cache
lethe_adapter.django_cache.hook(module, a.Store(a.Api(%r), 'Django cache sessions', b'd'))
async def use():
    s = module.SessionStore(); s['n'] = 4; s._session_key = s._get_new_session_key(); s._session_key = None
    s.create(); s._session_cache = {'n': 4}; await s.asave()
    t = module.SessionStore(s.session_key)
    return [(await t.aload())['n'], await t.aexists(s.session_key)]
print(json.dumps(asyncio.run(use())))""" % state.listen
    assert run(code, state)[0] == [4, True]


BEAKER = """
import json, cherrypy.lib
from beaker.session import Session
from beaker.container import MemoryNamespaceManager
from beaker.cache import CacheManager
out = {}
s = Session({}, use_cookies=False, timeout=60); s['n'] = [1]; s.save(); first = s.id
t = Session({}, use_cookies=False, id=first, timeout=60); out['loaded'] = [t['n'], t.is_new]
t.regenerate_id(); t.save(); out['regenerated'] = [t.id != first, Session({}, use_cookies=False, id=t.id)['n']]
explicit = Session({}, use_cookies=False, namespace_class=MemoryNamespaceManager, id=t.id); out['explicit'] = explicit['n']
t = Session({}, use_cookies=False, id=t.id); t.delete(); t.save(); out['deleted'] = Session({}, use_cookies=False, id=t.id).is_new
c = Session({}, use_cookies=False, id=first); c.clear(); c.save(); c = Session({}, use_cookies=False, id=first); c['again'] = 1; c.save()
out['cleared'] = Session({}, use_cookies=False, id=first).get('again')
cache = CacheManager(type='memory').get_cache('c'); out['cache'] = [cache.get(key='k', createfunc=lambda: 5), cache.get(key='k')]
print(json.dumps(out))
"""


def test_beaker_works_as_it_did(state):
    out, _ = run(BEAKER, state)
    assert out == {"loaded": [[1], False], "regenerated": [True, [1]], "explicit": [1], "deleted": True, "cleared": 1, "cache": [5, 5]}
    assert {s[2] for s in state.sessions.values()} <= {"180", None} and "180" in {h.get("Lethe-TTL") for _, _, h in state.calls}
    assert count_of(state, "DELETE") == 1
