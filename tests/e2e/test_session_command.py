# SPDX-License-Identifier: Apache-2.0
"""`lethe session`: what an operator sees of the sessions in Redis, and how he ends them on every replica at once."""
import pytest
from session_rig import Background, cluster_of_fixture, keys  # noqa: F401

from rig import run_cli


def session(cluster, *words, code=0, **options):
    flags = [f"--{k.replace('_', '.')}={v}" for k, v in {"store": cluster.store, **options}.items()]
    done = run_cli("session", *words, *flags)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout if code == 0 else done.stderr


def rows(text):
    return [line.split() for line in text.splitlines()[1:]]


@pytest.fixture(name="c")
def cluster(cluster_of):
    return cluster_of()


def logged_in(c, *names):
    users = []
    for name in names:
        users.append(c.browser())
        users[-1].login(name)
    return users


def test_list_and_revoke_one(c):
    alice, bob = logged_in(c, "alice", "bob")
    found = rows(session(c, "list"))
    assert len(found) == 2 and all(len(r[0]) == 43 and r[1] == "active" for r in found)
    (mine,) = rows(session(c, "show", "--token", alice.token, keys=keys()))[:1]
    assert mine[0] in [r[0] for r in found]
    assert "1 session ended" in session(c, "revoke", mine[0])
    assert [alice.name(to=0), alice.name(to=1)] == [None, None], "on every replica, with the very next request"
    assert bob.name(to=0) == bob.name(to=1) == "bob"
    assert sorted(r[1] for r in rows(session(c, "list"))) == ["active", "active", "ended"], "alice has begun a new one"
    assert "no such session" in session(c, "revoke", mine[0], code=1)
    for start in ("A", "-", "--"):
        assert "no such session" in session(c, "revoke", start.ljust(43, "A"), code=1)


def test_contents_stay_sealed_without_keys_and_token(c):
    (alice,) = logged_in(c, "alice")
    sid = alice.json("me.php")["id"]
    (row,) = rows(session(c, "list"))
    shown = session(c, "show", row[0], keys=keys())
    assert sid not in shown and "alice" not in shown, "the keys alone open nothing"
    opened = session(c, "show", "--token", alice.token, keys=keys())
    assert f"cookie     PHPSESSID={sid}" in opened and f"content    files:sess_{sid}," in opened
    other = run_cli("keygen").stdout.strip()
    assert "does not open" in session(c, "show", "--token", alice.token, code=2, keys=other)


def test_revoke_by_the_applications_cookie(c):
    alice, bob = logged_in(c, "alice", "bob")
    sid = alice.json("me.php")["id"]
    assert len(rows(session(c, "show", "--cookie", f"PHPSESSID={sid}"))) == 1
    assert "1 session ended" in session(c, "revoke", "--cookie", f"PHPSESSID={sid}")
    assert alice.name(to=1) is None and bob.name(to=0) == "bob"
    assert "no such session" in session(c, "revoke", "--cookie", "PHPSESSID=unknown", code=1)


def test_revoke_all_of_an_application(c):
    users = logged_in(c, *[f"user{i}" for i in range(25)])
    others = [k for k in c.redis.keys("*")]
    c.redis.call("HSET", "other:{%s}" % ("B" * 43), "d", "x", "e", "99999999999999", "f", "1")
    assert "25 sessions ended" in session(c, "revoke", "--all")
    assert [u.name() for u in users] == [None] * 25
    assert c.redis.call("HGET", "other:{%s}" % ("B" * 43), "d") == b"x", "another application's are not touched"
    assert others


def test_revoked_while_a_request_runs(c):
    """Its answer may still come; the session does not come back."""
    (alice,) = logged_in(c, "alice")
    gate = c.gate()
    slow = Background(alice.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    (row,) = rows(session(c, "list"))
    assert row[1] == "locked"
    session(c, "revoke", row[0])
    gate.open()
    slow.result()
    assert alice.name(to=0) is None and alice.name(to=1) is None


def test_looking_does_not_prolong(c):
    (alice,) = logged_in(c, "alice")
    (key,) = [k for k in c.redis.keys("lethe:{*}")]
    c.redis.call("PEXPIRE", key, 60_000)
    session(c, "list")
    session(c, "show", "--token", alice.token, keys=keys())
    assert c.redis.call("PTTL", key) <= 60_000


def test_what_cannot_be_done(c, tmp_path):
    assert "the store does not answer" in session(c, "list", code=1, store="redis://127.0.0.1:1/0")
    assert "with their clients" in session(c, "list", code=2, store="sealed")
    assert 'write "list"' in session(c, "destroy", code=2)
    assert "which?" in session(c, "revoke", code=2)
    assert "which one?" in session(c, "show", code=2)
    assert "NAME=VALUE" in session(c, "revoke", "--cookie", "PHPSESSID", code=2)
    assert "no token" in session(c, "show", "--token", "x", code=2)
    assert "sesion" in session(c, "list", "--sesion.prefix=x", code=2)


def test_old_token_ends_with_its_grace_even_when_it_is_used(cluster_of):
    """A rotation gives the old token a near end; a request with it meanwhile does not move that away."""
    from rig import wait_for
    c = cluster_of(options={"session.rotate_grace": "1s"})
    user = c.browser()
    user.count(to=0)
    old = user.tab()
    user.login("alice", to=1, query="?regenerate=true")
    old.get("me.php", to=0)
    assert old.token != user.token
    wait_for(lambda: session_state(c, old.token) in ("ended", None), 10, "the end of the old token")
    assert user.name(to=0) == "alice"


def session_state(c, token):
    done = run_cli("session", "show", "--token", token, f"--store={c.store}", f"--keys={keys()}")
    found = rows(done.stdout)
    return found[0][1] if found else None
