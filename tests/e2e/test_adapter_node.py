# SPDX-License-Identifier: Apache-2.0
"""adapters/node alone, against a state API that fails as a test tells it."""
import json
import os
import shutil
import subprocess
import threading
import time

import pytest
import requests
from adapter_node_state import State
from stack_rig import AppServer
from stacks.node import ADAPTER, APPS, STACKS, node_modules, with_adapter

from rig import Client, Ended, free_port, wait_for

APP_OF = {"express": "express.js", "fastify": "fastify.js", "koa": "koa.js"}


@pytest.fixture(name="state")
def state_fixture(short_dir):
    state = State(f"{short_dir}/state")
    yield state
    state.stop()


@pytest.fixture(name="folder")
def folder_fixture(tmp_path):
    """Where a test's own programs find the packages."""
    (tmp_path / "node_modules").symlink_to(node_modules())
    return tmp_path


def environment(address, how, **more):
    env = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_") and k != "NODE_OPTIONS"}
    env.update({k: str(v) for k, v in more.items()})
    if how:
        env["NODE_OPTIONS"] = with_adapter(how=how)
    if address:
        env["LETHE_STATE_API_LISTEN"] = address
    return env


def run(folder, text, address=None, how="--require", name="main.cjs"):
    """Runs a program to its end: (what it printed, as JSON; its lines on stderr that are the adapter's)."""
    (folder / name).write_text(text)
    done = subprocess.run(["node", name], cwd=folder, env=environment(address, how), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=60, check=False)
    err = done.stderr.decode()
    assert done.returncode == 0, err
    lines = [line.split(": ", 1)[1] for line in err.splitlines() if line.startswith("lethe-node[")]
    return json.loads(done.stdout) if done.stdout else None, lines


# What every program below has: call(method, …) on a MemoryStore as a promise of [error, value].
STORE = """
const session = require('express-session');
const store = new session.MemoryStore();
const call = (name, ...args) => new Promise((done) => store[name](...args, (error, value) => done([error && error.message, value])));
const print = (value) => process.stdout.write(JSON.stringify(value));
"""
SET_AND_GET = STORE + "call('set', 'id 1', {n: 1}).then(() => call('get', 'id 1')).then(print);"


# ---- where it reaches ----

ESM = SET_AND_GET.replace("const session = require('express-session')", "import session from 'express-session'")
IN_WORKER = "const { Worker } = require('worker_threads'); new Worker('./inner.cjs');"
IN_FORK = "require('child_process').fork('./inner.cjs');"
IN_CLUSTER = "const c = require('cluster'); if (c.isMaster) c.fork();" \
    "else { require('./inner.cjs'); setTimeout(() => process.exit(), 300); }"


@pytest.mark.parametrize("how", ["--require", "--import"])
@pytest.mark.parametrize("name,text", [("main.cjs", SET_AND_GET), ("main.mjs", ESM), ("worker.cjs", IN_WORKER), ("fork.cjs", IN_FORK),
                                       ("cluster.cjs", IN_CLUSTER)])
def test_reaches(folder, state, how, name, text):
    (folder / "inner.cjs").write_text(SET_AND_GET)
    printed, lines = run(folder, text, state.address, how, name)
    assert printed == [None, {"n": 1}]
    assert state.blobs == {"id 1": b'{"n":1}'}
    assert lines == [f"express-session 1.19.0 MemoryStore: hooked: its sessions are kept by lethe at {state.address}"]
    assert state.reported()[0][:2] == ("express-session 1.19.0 MemoryStore", "hooked")


def test_does_not_reach_a_program_with_options_of_its_own(folder, state):
    """What the page says: whoever replaces NODE_OPTIONS takes the adapter out."""
    (folder / "inner.cjs").write_text(SET_AND_GET)
    printed, lines = run(folder, "require('child_process').fork('./inner.cjs', { env: { NODE_OPTIONS: '' } });", state.address)
    assert printed == [None, {"n": 1}] and not lines and not state.calls


def test_library_that_is_loaded_anew_is_hooked_anew(folder, state):
    text = "require('express-session'); for (const file of Object.keys(require.cache)) delete require.cache[file];" + SET_AND_GET
    assert run(folder, text, state.address)[0] == [None, {"n": 1}] and state.blobs


def test_loaded_twice_hooks_once(folder, state):
    copy = folder / "copy.cjs"
    shutil.copy(ADAPTER, copy)
    _, lines = run(folder, SET_AND_GET, state.address, f"--require={copy} --require")
    assert len(lines) == 1 and len(state.reported()) == 1


@pytest.mark.parametrize("text,store", [
    ("const { MemoryStore } = require('@fastify/session'); const s = new MemoryStore();"
     "s.set('a', {n: 1}, () => s.get('a', (e, v) => process.stdout.write(JSON.stringify(v))))", "@fastify/session 10.9.0 MemoryStore"),
    ("const { MemoryStore } = require('koa-generic-session'); const s = new MemoryStore();"
     "s.set('a', {n: 1}).then(() => s.get('a')).then((v) => process.stdout.write(JSON.stringify(v)))",
     "koa-generic-session 2.3.1 MemoryStore")])
def test_other_libraries(folder, state, text, store):
    printed, _ = run(folder, text, state.address)
    assert printed == {"n": 1} and state.blobs == {"a": b'{"n":1}'}
    assert state.reported()[0][:2] == (store, "hooked")


# ---- what it says when it does not ----

def test_without_an_address_nothing_changes_but_the_line(folder):
    """The methods are the library's own."""
    text = SET_AND_GET + "if (!/this\\.sessions/.test(session.MemoryStore.prototype.set)) throw new Error('hooked');"
    printed, lines = run(folder, text)
    assert printed == [None, {"n": 1}]
    assert len(lines) == 1 and lines[0].startswith("NOT HOOKED: LETHE_STATE_API_LISTEN is not set"), lines


@pytest.mark.parametrize("address", ["/run/lethe.sock", "7070", "unix:run", "http://127.0.0.1:1"])
def test_bad_address(folder, address):
    printed, lines = run(folder, SET_AND_GET, address)
    assert printed == [None, {"n": 1}] and len(lines) == 1
    assert f'LETHE_STATE_API_LISTEN is "{address}"; write "unix:/path" or "127.0.0.1:port"' in lines[0]


@pytest.mark.parametrize("source,why", [
    ("exports.MemoryStore = class { async get(id) {} async set(id, s) {} async destroy(id) {} };",
     "is not the one that this adapter knows (get(), set(), destroy(), touch()"),
    ("module.exports = () => {};", "it exports no MemoryStore")])
def test_unknown_version_of_a_library(tmp_path, state, source, why):
    package = tmp_path / "node_modules" / "express-session"
    package.mkdir(parents=True)
    (package / "package.json").write_text('{"name": "express-session", "version": "9.0.0"}')
    (package / "index.js").write_text(source)
    _, lines = run(tmp_path, "require('express-session'); setTimeout(() => {}, 300);", state.address)
    assert len(lines) == 1 and lines[0].startswith("express-session 9.0.0: NOT HOOKED: ") and why in lines[0], lines
    assert state.reported()[0][:2] == ("express-session 9.0.0", "failed") and why in state.reports[0].detail


def test_inner_files_of_a_library_are_not_the_library(folder, state):
    text = "require('express-session/session/store'); require('express-session/session/memory');" + SET_AND_GET
    printed, lines = run(folder, text, state.address)
    assert printed == [None, {"n": 1}] and state.blobs and len(lines) == 1, lines


LISTEN = "require('http').createServer().listen(0, '127.0.0.1', function () { setTimeout(() => this.close(), 300); });"


def test_listens_without_a_known_library(folder, state):
    """A bundle, or a Map of its own. A program that listens is told once; one that does not, such as npm, says nothing."""
    _, lines = run(folder, LISTEN + LISTEN, state.address)
    assert len(lines) == 1, lines
    assert lines[0].startswith("none: NOT HOOKED: the application listens and has loaded none of express-session"), lines
    assert state.reported()[0][:2] == ("none", "failed")
    assert run(folder, "process.stdout.write('1')", state.address) == (1, [])


FOREIGN = STORE + """
class Mine extends session.Store { get(id, done) { done(); } }
class Derived extends session.MemoryStore { get(id, done) { done(); } }
session({ secret: 'x', resave: false, saveUninitialized: false, store: new (%s)() });
setTimeout(() => {}, 300);
"""


@pytest.mark.parametrize("store", ["Mine", "Derived"])
def test_store_of_the_applications_own(folder, state, store):
    _, lines = run(folder, FOREIGN % store, state.address)
    assert len(lines) == 2 and f"NOT HOOKED: the application gives it a store of its own, {store}" in lines[1], lines
    wait_for(lambda: len(state.reports) == 2, 10, "two reports")
    assert {r.status for r in state.reports} == {"hooked", "failed"}
    assert len(run(folder, FOREIGN % "session.MemoryStore", state.address)[1]) == 1


LOADER = """
export async function load(url, context, next) {
  const found = await next(url, context);
  if (found.format === 'commonjs' && found.source == null) found.source = (await import('fs')).readFileSync(new URL(url));
  return found;
}
"""


def test_past_a_loader_that_compiles_commonjs_itself(folder, state):
    """Module._load is not asked (Node 20 and later): it works or the line is there, never neither."""
    (folder / "loader.mjs").write_text(LOADER)
    (folder / "register.mjs").write_text("import { register } from 'module'; register('./loader.mjs', import.meta.url);")
    text = ESM + "import http from 'http'; http.createServer().listen(0, function () { this.close(); }); setTimeout(() => {}, 300);"
    printed, lines = run(folder, text, state.address, f"--import={folder}/register.mjs --require", "main.mjs")
    assert printed == [None, {"n": 1}] and len(lines) == 1
    assert bool(state.blobs) == ("MemoryStore: hooked" in lines[0]) != lines[0].startswith("none: NOT HOOKED"), lines


def test_koa_session_is_stateless(folder, state):
    _, lines = run(folder, "require('koa-session');" + LISTEN, state.address)
    assert len(lines) == 1 and lines[0].startswith("koa-session 6.4.0: nothing to hook: the session is in its cookie"), lines
    assert not state.reports


def test_report_waits_for_lethe(folder, short_dir):
    """lethe may start after the application."""
    address = f"unix:{short_dir}/late"
    (folder / "main.cjs").write_text("require('express-session'); process.stdin.resume();")
    with subprocess.Popen(["node", "main.cjs"], cwd=folder, env=environment(address, "--require"), stdin=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        assert b"hooked" in process.stderr.readline()
        state = State(f"{short_dir}/late")
        assert state.reported()[0].status == "hooked"
        process.stdin.close()
        assert process.wait(10) == 0
        state.stop()


# ---- a miss and an error are two things ----

READ = STORE + "call('get', 'a').then(print);"


@pytest.mark.parametrize("status", [404, 410])
def test_miss(folder, state, status):
    state.fault = lambda call: status
    assert run(folder, READ, state.address)[0] == [None, None]


def test_error_when_the_store_is_away(folder, state):
    state.fault = lambda call: 503
    error, value = run(folder, READ, state.address)[0]
    assert "503 store_unavailable the store does not answer" in error and value is None


@pytest.mark.parametrize("address", ["unix:/nonexistent/state", "127.0.0.1:1"])
def test_error_when_lethe_is_away(folder, address):
    """ENOENT is how the session libraries are told of a miss: it must not be the error's code."""
    text = STORE + "store.get('a', (error, value) => print([error.code, error.status, value === undefined]));"
    assert run(folder, text, address)[0] == ["ELETHESTATE", 503, True]


def test_error_when_lethe_does_not_answer(folder, state):
    go_on = threading.Event()
    state.fault = lambda call: go_on.wait(30) and None
    started = time.monotonic()
    text = STORE + "Promise.all([call('get', 'a'), call('set', 'b', {}), call('set', 'b', {}), call('get', 'b')]).then(print);"
    results = run(folder, text, state.address)[0]
    took = time.monotonic() - started
    go_on.set()
    assert all("no answer within 5000 ms" in error for error, *_ in results), results
    assert 4.5 < took < 9, "one time limit for all, those in line included"


def test_error_when_the_session_is_not_ours(folder, state):
    state.blobs["a"] = b"\x80\x04pickle"
    assert "not JSON" in run(folder, READ, state.address)[0][0]


def test_late_write_of_an_ended_session_is_dropped(folder, state):
    state.ended.add("a")
    calls = "call('set', 'a', {n: 1}), call('touch', 'a', {}), call('touch', 'new', {}), call('destroy', 'a')"
    text = STORE + f"Promise.all([{calls}]).then(print);"
    assert run(folder, text, state.address)[0] == [[None, None]] * 4
    assert not state.blobs


def test_no_list_of_sessions(folder, state):
    text = STORE + "store.clear(); Promise.all([call('all'), call('length'), call('clear')]).then(print);"
    results, lines = run(folder, text, state.address)
    assert all("does not list sessions" in error for error, *_ in results), results
    assert "does not list sessions" in lines[1], "not even without a callback is it silent"


# ---- the same as MemoryStore ----

VALUES = STORE + """
const { inspect } = require('util');
const { AsyncLocalStorage } = require('async_hooks');
const als = new AsyncLocalStorage();
class Point { constructor() { this.x = 1; } toJSON() { return { point: this.x }; } }
const values = { date: new Date(86400000), none: undefined, nil: null, nan: NaN, list: [1, undefined, () => 1], f() {}, '': 0,
  nested: { deep: { date: new Date(0) } }, text: 'ä\\u2028\\ud83d\\ude00\\ud800', map: new Map([[1, 2]]), buffer: Buffer.from('x'),
  point: new Point(), big: 'b'.repeat(200000),
  cookie: { originalMaxAge: 60000, expires: new Date(Date.now() + 60000) } };
const shown = [];
const show = (value) => { if (value) delete value.cookie.expires; shown.push(inspect(value, { depth: 9, maxStringLength: null })); };
als.run('context', async () => {
  await call('set', 'a', values);
  values.nil = 'changed afterwards';
  const [, first] = await call('get', 'a');
  show(first); first.date = 'changed in the copy'; show((await call('get', 'a'))[1]);
  await call('touch', 'a', { cookie: { originalMaxAge: 90000, expires: new Date(Date.now() + 90000) } });
  shown.push(Object.keys((await call('get', 'a'))[1]));
  await call('set', 'over', { cookie: { expires: new Date(Date.now() - 1) } });
  await call('set', 'over2', { cookie: { expires: new Date(Date.now() - 1).toISOString() } });
  show((await call('get', 'over'))[1]); show((await call('get', 'over2'))[1]); show((await call('get', 'never'))[1]);
  await call('destroy', 'a'); await call('destroy', 'never');
  show((await call('get', 'a'))[1]);
  let later = false;
  store.get('a', () => { shown.push([later, als.getStore()]); print(shown); });
  later = true;
});
"""


def test_values_are_those_of_memory_store(folder, state):
    with_lethe, _ = run(folder, VALUES, state.address)
    assert state.calls
    without, _ = run(folder, VALUES, None)
    assert with_lethe == without
    assert "date: '1970-01-02T00:00:00.000Z'" in without[0] and "none" not in without[0] and without[-1] == [True, "context"]


def test_what_a_callback_throws_is_an_uncaught_exception(folder, state):
    text = STORE + "process.on('uncaughtException', (e, kind) => print([e.message, kind]));" \
        "store.get('a', () => { throw new Error('mine'); });"
    assert run(folder, text, state.address)[0] == run(folder, text, None)[0] == ["mine", "uncaughtException"]


def test_writes_keep_their_order(folder, state):
    """Two saves under way: the first one's request hangs, the second must not overtake it. A read comes after both."""
    first = threading.Event()

    def fault(call):
        if call.method == "PUT" and not first.is_set():
            first.set()
            time.sleep(0.3)  # what is tested is that this one is slow
    state.fault = fault
    text = STORE + "call('set', 'a', {n: 1}); call('set', 'a', {n: 2}); call('get', 'a').then(print);"
    assert run(folder, text, state.address)[0] == [None, {"n": 2}]
    assert state.blobs["a"] == b'{"n":2}'


@pytest.mark.parametrize("cookie,ttl", [
    ("{ expires: new Date(Date.now() + 59500), originalMaxAge: 1 }", "60"),
    ("{ expires: new Date(Date.now() + 59500).toISOString() }", "60"), ("{ maxAge: 1500 }", "2"), ("{ originalMaxAge: 3000 }", "3"),
    ("{ originalMaxAge: null, expires: null }", None), ("{ expires: 'never' }", None), ("undefined", None)])
def test_time_to_live(folder, state, cookie, ttl):
    text = STORE + f"const s = {{ cookie: {cookie} }};" + \
        "call('set', 'a', s).then(() => call('set', 'b', s)).then(() => call('touch', 'b', s));"
    run(folder, text, state.address)
    assert [state.ttl("a"), state.ttl("b")] == [ttl, ttl]
    assert [c.action for c in state.calls] == ["", "", "touch"]


# ---- connections ----

def test_connections_are_kept_and_bounded(folder, state):
    text = STORE + "(async () => { for (let i = 0; i < 50; i++) await call('set', 'a', {i}); print(1); })();"
    run(folder, text, state.address)
    assert len(state.calls) == 50 and state.connections <= 2, "one, and one for the report"
    text = STORE + "Promise.all([...Array(300).keys()].map((i) => call('set', 'id' + i, {i}))).then(print);"
    assert run(folder, text, state.address)[0] == [[None, None]] * 300
    assert len(state.blobs) == 301 and 10 < state.most_open <= 65


def test_connection_that_lethe_has_closed(folder, state):
    """Between two calls: the second one is sent again. A connection that breaks in the first call on it is an error."""
    state.one_call_a_connection = True
    text = STORE + "(async () => { const r = []; for (let i = 0; i < 20; i++) r.push((await call('set', 'a', {i}))[0]); print(r); })();"
    assert run(folder, text, state.address)[0] == [None] * 20
    state.one_call_a_connection = False
    state.fault = lambda call: "close"
    assert "socket hang up" in run(folder, READ, state.address)[0][0]


# ---- whole applications ----

@pytest.fixture(name="serve")
def serve_fixture():
    servers = []

    def serve(app, address, how="--require"):
        port = free_port()
        env = environment(address, how, PORT=port, REPLICA=0, NODE_PATH=node_modules())
        servers.append(AppServer(port, ["node", os.path.join(APPS, app)], env).start())
        return servers[-1]
    yield serve
    for server in servers:
        server.stop()


def ask(server, path, cookies=None, method="GET"):
    return requests.request(method, f"http://{server.address}{path}", cookies=cookies, allow_redirects=False, timeout=20,
                            data={"name": "alice"} if method == "POST" else None)


@pytest.mark.parametrize("library", APP_OF)
def test_session_lives_on_in_another_process(serve, state, library):
    one, two, bare = (serve(APP_OF[library], state.address, how) for how in ("--require", "--import", None))
    first = ask(one, "/count")
    second = ask(two, "/count", first.cookies)
    assert (first.json()["n"], second.json()["n"]) == (1, 2)
    assert second.json()["id"] == first.json()["id"] == second.json()["sent_id"]
    assert ask(bare, "/me", first.cookies).json()["n"] == 0, "without the adapter it would not"
    login = ask(two, "/login", first.cookies, "POST")
    assert login.status_code == 302 and ask(one, "/me", login.cookies).json()["name"] == "alice"
    assert ask(one, "/me", first.cookies).json()["name"] is None
    ask(one, "/logout", login.cookies, "POST")
    assert ask(two, "/me", login.cookies).json()["name"] is None


@pytest.mark.parametrize("library", APP_OF)
def test_application_answers_503_when_nobody_knows(serve, state, library):
    """Neither an empty session nor a cookie that replaces the user's; afterwards all is as before."""
    server = serve(APP_OF[library], state.address)
    cookies = ask(server, "/count").cookies
    state.fault = lambda call: 503
    for path in ("/me", "/count"):
        r = ask(server, path, cookies)
        assert (r.status_code, r.headers.get("Set-Cookie")) == (503, None), r.text
    state.fault = None
    state.server_close()
    os.rename(state.server_address, state.server_address + ".away")  # new connections: ENOENT
    kept = ask(server, "/me", cookies)
    fresh = ask(serve(APP_OF[library], state.address), "/me", cookies)
    assert kept.status_code in (200, 503) and (fresh.status_code, fresh.headers.get("Set-Cookie")) == (503, None)
    os.rename(state.server_address + ".away", state.server_address)


@pytest.mark.parametrize("library", APP_OF)
def test_answer_fails_when_the_session_cannot_be_saved(serve, state, library):
    """express-session itself would send it whole, as if it had been saved."""
    server = serve(APP_OF[library], state.address)
    cookies = ask(server, "/count").cookies
    state.fault = lambda call: 503 if call.method == "PUT" else None
    if library == "express":
        cookie = "; ".join(f"{c.name}={c.value}" for c in cookies)
        for line in ("GET /count", "GET /stream", "POST /login"):
            with Client(server.address) as client, pytest.raises(Ended):
                client.ask(f"{line} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nContent-Length: 0\r\n\r\n".encode())
    else:
        assert ask(server, "/count", cookies).status_code == ask(server, "/login", cookies, "POST").status_code == 503
    state.fault = None
    assert ask(server, "/anonymous").status_code == 200


def test_stacks_have_their_applications():
    assert {s.app for s in STACKS} == set(APP_OF.values())
