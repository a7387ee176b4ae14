# SPDX-License-Identifier: Apache-2.0
"""Health: /livez and /startupz look at the process and at nothing outside, /readyz adds draining and the application's own socket."""
import contextlib
import ctypes
import os
import signal

import pytest
from session_rig import keys

from rig import App, Client, Lethe, Redis, answer, free_port, wait_for
from rig.servers import closed_port_address

PATHS = ("/livez", "/readyz", "/startupz")


def states(lethe):
    return tuple(lethe.get_admin(path).status for path in PATHS)


@pytest.fixture
def app():
    a = App()
    yield a
    a.stop()


def test_all_is_well(lethe, app):
    r = lethe(app)
    assert states(r) == (200, 200, 200)
    for path in PATHS:
        page = r.get_admin(path)
        assert page.body and page.get("content-type").startswith("text/plain")
    assert r.get_admin("/nothing").status == 404
    assert not app.requests, "probes never reach the application"


def test_probes_of_the_main_listener_reach_the_application(lethe, app):
    """Unless health.paths names them, these paths are the application's."""
    app.on("/livez", answer(b"mine"))
    assert lethe(app).get("/livez").body == b"mine"


def test_health_paths_on_the_main_listener(lethe, app):
    r = lethe(app, {"health.paths": "/livez,/healthz=livez,/in/readyz,/ready=readyz,/started=startupz"})
    for path in ("/livez", "/healthz", "/in/readyz", "/ready", "/started", "/livez?verbose"):
        assert r.get(path).status == 200 and not app.seen(path.split("?")[0]), path
    for path in ("/startupz", "/livezz", "/readyz", "/x/livez"):
        assert r.get(path).status == 200 and app.seen(path), path
    app.close_listener()
    app.drop_connections()
    assert r.get("/healthz").status == 200
    wait_for(lambda: r.get("/ready").status == 503, 10, "not ready")
    assert b"[failed] app" in r.get("/in/readyz").body and r.get("/started").status == 200


def test_probe_by_other_methods(lethe, app):
    r = lethe(app)
    with Client(r.admin) as c:
        assert c.ask(b"HEAD /livez HTTP/1.1\r\nHost: x\r\n\r\n", "HEAD").status == 200
        assert c.ask(b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n").status == 405


def test_verbose(lethe, app):
    lines = lethe(app, {"health.pressure_limit": 100, "health.cpu_limit": 100}).get_admin("/readyz?verbose").body.decode().splitlines()
    assert [line.split(":")[0] for line in lines] == [f"[ok] {what}" for what in ("workers", "memory", "cpu", "pressure", "draining", "app")]


def test_application_is_not_asked_when_told_so(lethe):
    assert states(lethe(closed_port_address(), {"health.app": False})) == (200, 200, 200)


def test_application_away(lethe, app):
    r = lethe(app)
    assert states(r) == (200, 200, 200)
    app.close_listener()
    wait_for(lambda: states(r) == (200, 503, 200), 10, "not ready, but alive")
    app.start()
    wait_for(lambda: states(r) == (200, 200, 200), 10, "ready again")


def test_application_that_never_was(lethe):
    assert states(lethe(closed_port_address())) == (200, 503, 200)


@pytest.mark.parametrize("how", ["never", "dead", "frozen"])
def test_store_away_is_no_reason_to_restart(lethe, app, tmp_path, how):
    redis = Redis(tmp_path / "redis", start=how != "never")
    r = lethe(app, store=redis.url, keys=keys())
    token = "Cookie: lethe=" + "A" * 43 + "\r\n"
    try:
        if how != "never":
            assert r.get("/", token).status == 200
            redis.kill9() if how == "dead" else redis.pause()
        assert r.get("/", token).status == 503
        assert r.get("/").status == 200
        assert states(r) == (200, 200, 200)
    finally:
        if how == "frozen":
            redis.resume()
        redis.kill9()


def test_draining(lethe, app):
    r = lethe(app)
    held = []

    @app.on("/slow")
    def slow(conn, head):
        conn.body(head)
        held.append(conn)
        wait_for(lambda: not held, 30, "the end of the test")
        conn.send(answer())
    with r.client() as c:
        c.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        wait_for(lambda: held, 10, "the slow request")
        r.signal(signal.SIGTERM)
        r.wait_event("draining")
        wait_for(lambda: states(r) == (200, 503, 200), 10, "draining: not ready, alive")
        held.clear()
        assert c.response().status == 200


PTRACE_ATTACH, PTRACE_DETACH, WALL = 16, 17, 0x40000000


def thread_name(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/comm", encoding="ascii") as f:
        return f.read().strip()


@contextlib.contextmanager
def stopped_thread(pid, name):
    """One thread of the process stands still, as if it hung."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    libc.ptrace.restype = ctypes.c_long
    threads = [int(t) for t in os.listdir(f"/proc/{pid}/task")]
    with_name = [t for t in threads if thread_name(pid, t) == name]
    assert len(with_name) == 1, with_name
    tid = with_name[0]
    if libc.ptrace(PTRACE_ATTACH, tid, None, None) != 0:
        pytest.skip(f"ptrace is not allowed here: {os.strerror(ctypes.get_errno())}")
    os.waitpid(tid, WALL)
    try:
        yield
    finally:
        libc.ptrace(PTRACE_DETACH, tid, None, None)


def test_hung_worker(lethe, app):
    r = lethe(app, {"health.heartbeat": "1s"}, workers=2)
    assert states(r) == (200, 200, 200)
    with stopped_thread(r.pid, "lethe-1"):
        wait_for(lambda: r.get_admin("/livez").status == 503, 60, "a hung worker is found out")
        assert "worker" in r.get_admin("/livez").body.decode()
    wait_for(lambda: states(r) == (200, 200, 200), 20, "it goes on")


def test_no_admin_listener(app):
    r = Lethe(app.address, admin="")
    try:
        assert r.get("/x").status == 200
    finally:
        r.stop()


def test_admin_address_in_use(app):
    port = free_port()
    r = Lethe(app.address, admin=f"127.0.0.1:{port}")
    other = Lethe(app.address, start=False, admin=f"127.0.0.1:{port}")
    try:
        with pytest.raises(AssertionError, match="in use"):
            other.start()
    finally:
        r.stop()
