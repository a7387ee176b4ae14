# SPDX-License-Identifier: Apache-2.0
"""`lethe doctor` says in plain words what is carried, what is not, and what to set; and nothing when nothing is wrong."""
import os

import pytest
from session_rig import cluster_of_fixture, keys  # noqa: F401

from rig import Redis, run_cli
from rig.base import free_port
from rig.origin import answer
from test_state_api import Api


def doctor(lethe, code):
    done = run_cli("doctor", f"--admin={lethe.admin}")
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


def findings(lethe):
    """The lines behind "!", each with its remedy."""
    lines = doctor(lethe, 1).splitlines()
    return [(line[3:], lines[i + 1].strip()) for i, line in enumerate(lines) if line.startswith(" ! ")]


def token_of(response):
    return response.get("Set-Cookie").split(";")[0]


def test_nothing_wrong(cluster_of):
    c = cluster_of()
    user = c.browser()
    user.login("alice")
    for i in range(4):
        user.count(to=i % 2)
    for r in c.replicas:
        text = doctor(r.lethe, 0)
        assert "Nothing wrong was seen." in text and "profile php" in text and " ! " not in text


def test_nobody_there():
    done = run_cli("doctor", f"--admin=127.0.0.1:{free_port()}")
    assert done.returncode == 2 and "Connection refused" in done.stderr and "--admin" in done.stderr


def test_no_carrier_while_sessions_are_in_memory(lethe, origin, client):
    """Memory sessions behind the jar alone: each replica gives an id of its own."""
    def app(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: JSESSIONID={os.urandom(8).hex()}\r\n"))
    l = lethe(origin(app), {"store": "sealed", "keys": keys()})
    http = client(l)
    http.get("/cart/show", f"Cookie: {token_of(http.get('/cart/show'))}\r\n")
    ((what, do),) = findings(l)
    assert "/cart" in what and "does not know its own id" in what and "state_api.profile" in do
    assert l.metrics().get("lethe_sessions_lost_total", reason="reissued_id", route="/cart") == 1


def test_balancer_still_sticky(lethe, origin, client):
    l = lethe(origin(), {"store": "sealed", "keys": keys()})
    client(l).get("/", "Cookie: AWSALB=x; a=b\r\n")
    ((what, do),) = findings(l)
    assert "aws-alb" in what and "stickiness.enabled=false" in do


@pytest.mark.parametrize("options,named", [
    ({}, False), ({"session.cookies": "SHOPSESS"}, True), ({"session.ignore_cookies": "SHOP*"}, True), ({"session.ignore_cookies": "SHOP"}, False)])
def test_session_cookie_that_nobody_named(lethe, origin, client, options, named):
    value = os.urandom(16).hex()

    def app(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: SHOPSESS={value}; Path=/\r\nSet-Cookie: theme=dark\r\n"))
    l = lethe(origin(app), {"store": "sealed", "keys": keys(), **options})
    client(l).get("/login?user=alice")
    if "session.cookies" not in options:
        l.wait_event("unnamed_cookie")
    if named:
        doctor(l, 0)
        assert len(l.events("unnamed_cookie")) == ("session.cookies" not in options)
        return
    ((what, do),) = findings(l)
    assert "looks like one" in what and "on /login (SHOPSESS): 1 times" in what and "write it into session.cookies" in do
    assert value not in doctor(l, 1) and value not in l.process.tail()


def test_directory_of_somebody_else(cluster_of, tmp_path):
    """files.dir is not where the application keeps its sessions."""
    other = tmp_path / "other"
    other.mkdir()
    c = cluster_of(options={"files.dir": str(other)})
    user = c.browser()
    for i in range(6):
        user.json("counter.php", to=i % 2)
    for r in c.replicas:
        assert any("never left a file" in what and "share files.dir" in do for what, do in findings(r.lethe))


@pytest.mark.skipif(os.geteuid() != 0, reason="makes files of another user")
def test_files_of_another_user(cluster_of):
    c = cluster_of()
    c.browser().count(to=0)
    path = os.path.join(c.replicas[0].sessions, "sess_foreign")
    with open(path, "w", encoding="ascii") as f:
        f.write("x")
    os.chown(path, 12345, 12345)
    assert any("uid 12345" in what and "files.owner" in do for what, do in findings(c.replicas[0].lethe))


def test_adapter_not_loaded_and_session_elsewhere(lethe, origin, client, tmp_path):
    def app(conn):
        while conn.request():
            conn.send(answer(headers="Set-Cookie: connect.sid=s%3Aabcdefgh.sig\r\n"))
    with Redis(tmp_path / "r") as redis:
        path = f"{tmp_path}/s.sock"
        l = lethe(origin(app), {"store": redis.url, "keys": keys(), "state_api.profile": "express", "state_api.listen": f"unix:{path}"})
        assert any("no adapter has hooked" in what for what, _ in findings(l))
        api = Api(f"unix:{path}")
        api.status("POST", "/v1/adapters/node", Lethe_Store="express-session MemoryStore", Lethe_Status="hooked")
        http = client(l)
        http.get("/", f"Cookie: {token_of(http.get('/'))}\r\n")
        ((what, do),) = findings(l)
        assert "keeps its sessions elsewhere" in what and "bundles" in do
        api.close()


def test_adapter_at_work_for_sessions_that_lethe_does_not_know(lethe, origin, tmp_path):
    """The application calls its cookie otherwise, and another replica gave it out: only the adapter sees it here."""
    with Redis(tmp_path / "r") as redis:
        path = f"unix:{tmp_path}/s.sock"
        l = lethe(origin(), {"store": redis.url, "keys": keys(), "state_api.profile": "rack", "state_api.listen": path})
        api = Api(path)
        api.status("POST", "/v1/adapters/ruby", Lethe_Store="Rack::Session::Pool", Lethe_Status="hooked")
        assert api.status("PUT", "/v1/sessions/abc", b"content") in (201, 204)
        for _ in range(2):
            assert api.status("GET", "/v1/sessions/abc") == 200
        doctor(l, 0)
        assert api.status("GET", "/v1/sessions/abc") == 200
        ((what, do),) = findings(l)
        assert "not locked" in what and "session.cookies" in do
        api.close()


def test_adapter_miss_is_told_from_a_strangers_question(lethe, origin, client, tmp_path):
    """The application asks for the session of a request under way, and the store has lost it."""
    with Redis(tmp_path / "r") as redis:
        path = f"unix:{tmp_path}/s.sock"

        def app(conn):
            while (request := conn.request()):
                api = Api(path)
                api.status("GET", "/v1/sessions/abcdefgh")
                api.close()
                conn.send(answer(headers="Set-Cookie: connect.sid=s%3Aabcdefgh.sig\r\n" if request.target == "/new" else ""))
        l = lethe(origin(app), {"store": redis.url, "keys": keys(), "state_api.profile": "express", "state_api.listen": path})
        http = client(l)
        token = token_of(http.get("/new"))
        assert l.metrics().sum("lethe_sessions_lost_total") == 0
        http.get("/shop/cart?x=1", f"Cookie: {token}\r\n")
        assert l.metrics().get("lethe_sessions_lost_total", reason="adapter_miss", route="/shop") == 1
        assert any("/shop" in what and "does not have" in what for what, _ in findings(l))
