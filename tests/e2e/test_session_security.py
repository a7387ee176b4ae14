# SPDX-License-Identifier: Apache-2.0
"""What a client may not do with a session, and what nobody may read: unknown tokens, fixation, rotation, logout, a dump of the store."""
import base64
import glob
import os
import random
import re

import pytest
from session_rig import (TOKEN, TOKEN_ALPHABET, Background, bare_fixture, cluster_fixture,  # noqa: F401
                         cluster_of_fixture)

from rig import wait_for

COOKIE = re.compile(r"lethe=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax\Z")


def made_up_token(seed):
    # the last character of 32 bytes carries 4 bits
    rng = random.Random(seed)
    return "".join(rng.choice(TOKEN_ALPHABET) for _ in range(42)) + rng.choice(TOKEN_ALPHABET[::4])


def set_cookies(response):
    return response.raw.headers.getlist("Set-Cookie")


# --- the token ---

def test_client_gets_one_opaque_cookie(cluster):
    user = cluster.browser()
    r = user.get("counter.php", to=0)
    assert len(set_cookies(r)) == 1 and COOKIE.match(set_cookies(r)[0]), set_cookies(r)
    assert set_cookies(user.get("counter.php", to=1)) == [], "nothing new, no cookie"


def test_php_alone_gives_its_id_to_the_client(bare):
    assert set_cookies(bare.browser().get("counter.php", to=0))[0].startswith("PHPSESSID=")


def test_cookie_is_host_bound_and_secure_behind_a_trusted_tls_end(cluster_of):
    c = cluster_of(options={"trusted_proxies": "127.0.0.1"})
    user = c.browser()
    https = {"X-Forwarded-Proto": "https"}
    r = user.get("counter.php", to=0, headers=https)
    assert re.match(r"__Host-lethe=[A-Za-z0-9_-]{43}; Path=/; HttpOnly; SameSite=Lax; Secure\Z", set_cookies(r)[0])
    token = {"__Host-lethe": user.http.cookies["__Host-lethe"]}
    assert c.browser(cookies=token).get("counter.php", to=1, headers=https).json()["n"] == 2
    # the name without the prefix may have been set by anybody on the way
    assert c.browser(cookies={TOKEN: token["__Host-lethe"]}).get("counter.php", to=1, headers=https).json()["n"] == 1


def test_forwarded_proto_of_a_stranger_is_not_believed(cluster):
    r = cluster.browser().get("counter.php", to=0, headers={"X-Forwarded-Proto": "https"})
    assert COOKIE.match(set_cookies(r)[0])


FORGED = {
    "unknown": made_up_token(1), "short": made_up_token(2)[:42], "long": made_up_token(3) + "A", "empty": "",
    "spare bits": made_up_token(4)[:42] + "B", "not base64url": made_up_token(5)[:42] + "+", "zero": "A" * 43, "huge": "A" * 6000,
    "redis": "*" * 43, "key": "lethe:{x}", "traversal": "../../../../etc/passwd", "quoted": '"' + made_up_token(6) + '"',
}


@pytest.mark.parametrize("kind", FORGED)
def test_forged_token_is_never_adopted(cluster, kind):
    forged = FORGED[kind]
    keys = set(cluster.redis.keys("lethe:{*}"))
    anonymous = cluster.browser()
    page = anonymous.get("counter.php", to=0, headers={"Cookie": f"{TOKEN}={forged}"})
    assert page.status_code == 200
    assert page.json()["n"] == 1 and page.json()["sent_id"] is None
    token = anonymous.token
    assert token and token != forged
    assert len(set(cluster.redis.keys("lethe:{*}")) - keys) == 1, "one new session, under the new token"
    for to in (0, 1):
        again = cluster.browser().get("me.php", to=to, headers={"Cookie": f"{TOKEN}={forged}"})
        assert again.json()["n"] == 0 and again.json()["sent_id"] is None


def test_clients_own_session_id_never_reaches_the_application(cluster):
    evil = "attackerattackerattacker01"
    victim = cluster.browser(cookies={"PHPSESSID": evil})
    page = victim.json("counter.php", to=0)
    assert page["sent_id"] is None and page["id"] != evil
    # with a session there is one id, and it is not the client's
    page = victim.get("counter.php", to=1, headers={"Cookie": f"PHPSESSID={evil}; {TOKEN}={victim.token}; PHPSESSID={evil}"}).json()
    assert page["n"] == 2 and page["sent_id"] == page["id"] != evil
    assert not [f for f in cluster.session_files() if evil in f]


def test_clients_own_session_id_is_adopted_without_lethe(bare):
    evil = "attackerattackerattacker01"
    assert bare.browser(cookies={"PHPSESSID": evil}).json("counter.php", to=0)["id"] == evil


def test_session_fixation_fails(cluster):
    attacker = cluster.browser()
    attacker.count(to=0)
    victim = cluster.browser(cookies={TOKEN: attacker.token})
    victim.login("victim", to=1, query="?regenerate=true")
    assert victim.token != attacker.token
    assert victim.name(to=0) == "victim"
    for to in (0, 1):
        assert attacker.name(to=to) is None


def test_session_fixation_by_php_id_fails(cluster):
    evil = "attackerattackerattacker02"
    victim = cluster.browser(cookies={"PHPSESSID": evil})
    victim.login("victim", to=0)
    assert victim.name(to=1) == "victim"
    for to in (0, 1):
        assert cluster.browser(cookies={"PHPSESSID": evil}).name(to=to) is None


def test_session_fixation_succeeds_without_lethe(bare):
    evil = "attackerattackerattacker02"
    bare.browser(cookies={"PHPSESSID": evil}).login("victim", to=0)
    assert bare.browser(cookies={"PHPSESSID": evil}).name(to=0) == "victim"


# --- rotation ---

@pytest.mark.parametrize("drop", ["true", "false"])
def test_new_id_gives_a_new_token(cluster, drop):
    user = cluster.browser()
    before = user.json("counter.php", to=0)
    old_token = user.token
    page = user.login("alice", to=1, query=f"?regenerate={drop}")
    after = page.json()
    assert after["id"] != before["id"] and after["old_id"] == before["id"]
    assert user.token != old_token and COOKIE.match(set_cookies(page)[0])
    for to in (0, 1):
        me = user.json("me.php", to=to)
        assert (me["name"], me["n"], me["sent_id"]) == ("alice", 1, after["id"])
        old = cluster.browser(cookies={TOKEN: old_token})
        seen = old.json("me.php", to=to)
        assert seen["name"] is None, "the old token opens the new session"
        # with "false" the application itself still honours the old id
        assert (seen["sent_id"], seen["n"]) == (before["id"], 1 if drop == "false" else 0)


def test_old_token_ends_with_rotate_grace(cluster_of):
    c = cluster_of(options={"session.rotate_grace": "1s"})
    user = c.browser()
    before = user.json("counter.php", to=0)
    old_token, old_keys = user.token, c.redis.keys("lethe:{*}")
    user.login("alice", to=1, query="?regenerate=false")
    assert len(c.redis.keys("lethe:{*}")) == 2
    # nothing that is done with the old token prolongs it
    old = c.browser(cookies={TOKEN: old_token})
    wait_for(lambda: old.json("peek.php", to=0)["sent_id"] is None, 10, "the old token's end")
    assert not set(old_keys) & set(c.redis.keys())
    assert user.json("me.php", to=1)["name"] == "alice"
    assert c.browser(cookies={TOKEN: old_token}).json("counter.php", to=1)["id"] != before["id"]


def test_request_under_way_while_the_id_moves(cluster):
    """A request with the old token that waits behind the login still gets an answer from the application, and no name."""
    user = cluster.browser()
    user.count(to=0)
    gate = cluster.gate()
    holder = Background(user.tab().get, "me.php", to=0, gate=gate)
    gate.wait_reached()
    waited = cluster.metric("lock_waited")
    login = Background(user.post, "login.php?regenerate=true", {"name": "alice"}, 1)
    wait_for(lambda: cluster.metric("lock_waited") == waited + 1, 10, "the login in line")
    behind = Background(cluster.browser(cookies={TOKEN: user.token}).json, "me.php", to=1)
    wait_for(lambda: cluster.metric("lock_waited") == waited + 2, 10, "a request in line")
    gate.open()
    assert holder.result().status_code == 200 and login.result().status_code == 200
    assert behind.result()["name"] is None
    assert user.name(to=0) == "alice"


# --- logout ---

@pytest.mark.parametrize("cookie", ["expire", "keep"])
def test_logout_ends_the_session_everywhere(cluster, cookie):
    user = cluster.browser()
    user.login("alice", to=0, query="?regenerate=true")
    stolen, old_id = user.token, user.json("me.php", to=1)["id"]
    r = user.get(f"logout.php?cookie={cookie}", to=1)
    assert r.status_code == 200
    if cookie == "expire":
        assert set_cookies(r) == [f"{TOKEN}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"]
        assert user.token is None
    for to in (0, 1):
        thief = cluster.browser(cookies={TOKEN: stolen})
        page = thief.json("counter.php", to=to)
        assert page["name"] is None
        if cookie == "expire":
            assert page["n"] == 1 and page["id"] != old_id and page["sent_id"] is None
        else:  # destroyed, but its id not taken back: PHP alone would begin anew under the same id
            assert page["n"] <= to + 1
    assert user.name(to=0) is None and user.name(to=1) is None


def test_logout_does_not_reach_the_other_replica_without_lethe(bare):
    user = bare.browser()
    user.login("alice", to=0)
    for path in bare.session_files():  # the session on both replicas, as a copy of files would bring it there
        with open(os.path.join(bare.replicas[1].sessions, os.path.basename(path)), "wb") as f:
            f.write(read(path))
    stolen = user.http.cookies["PHPSESSID"]
    user.get("logout.php?cookie=expire", to=0)
    assert bare.browser(cookies={"PHPSESSID": stolen}).name(to=1) == "alice"


@pytest.mark.parametrize("cookie", ["expire", "keep"])
def test_logout_is_final_against_a_slow_request(cluster, cookie):
    """A request that began before the logout lets go of its session, and writes to it again after the logout."""
    user = cluster.browser()
    user.login("alice", to=0)
    stolen = user.token
    gate = cluster.gate()
    slow = Background(user.tab().get, "reopen.php", to=0, gate=gate)
    gate.wait_reached()
    # With the lock freed early the logout is done now; else it waits for the slow one. Both are right, if the end is final.
    waited = cluster.metric("lock_waited")
    logout = Background(user.tab().get, f"logout.php?cookie={cookie}", to=1)
    wait_for(lambda: logout.done() or cluster.metric("lock_waited") > waited, 10, "the logout")
    gate.open()
    slow.result()
    assert logout.result().status_code == 200
    for to in (0, 1, 0, 1):
        page = cluster.browser(cookies={TOKEN: stolen}).json("me.php", to=to)
        assert page["name"] is None, "a slow request has brought the session back"
        if cookie == "expire":
            assert page["n"] == 0 and page["sent_id"] is None


def test_slow_request_brings_a_session_back_in_php_alone(bare):
    user = bare.browser()
    user.login("alice", to=0)
    stolen = user.http.cookies["PHPSESSID"]
    gate = bare.gate()
    slow = Background(user.tab().get, "reopen.php", to=0, gate=gate)
    gate.wait_reached()
    user.tab().get("logout.php?cookie=expire", to=0)
    gate.open()
    slow.result()
    assert bare.browser(cookies={"PHPSESSID": stolen}).name(to=0) == "alice"


# --- what can be read ---

def read(path):
    with open(path, "rb") as f:
        return f.read()


def everything_in(redis):
    dump = []
    for key in redis.keys():
        kind = redis.call("TYPE", key).decode()
        dump.append(key.encode("latin-1"))
        dump += redis.call("HGETALL", key) if kind == "hash" else [redis.call("GET", key)] if kind == "string" else [kind.encode()]
    for path in glob.glob(os.path.join(redis.dir, "**"), recursive=True):
        if os.path.isfile(path):
            dump.append(read(path))
    return b"\n".join(dump)


def test_dump_of_the_store_shows_nothing(cluster_of):
    c = cluster_of(persistence="aof")
    users = [c.browser() for _ in range(3)]
    secrets = []
    for i, user in enumerate(users):
        before = user.json("counter.php", to=0)["id"]
        secrets += [user.token, before]
        name = f"confidential-name-{i}"
        user.login(name, to=1, query="?regenerate=true")
        secrets += [user.token, user.json("me.php", to=0)["id"], name]
    plain = b"\n".join(path.encode() + read(path) for path in c.session_files())
    assert all(s.encode() in plain for s in secrets[4::5]), "the needles are right: PHP's own files have them"
    assert all(s.encode() in plain for s in secrets[3::5])
    dump = everything_in(c.redis)
    assert len(dump) > 1000 and b"lethe:{" in dump
    for s in secrets:
        assert s.encode() not in dump, s
        if len(s) == 43:
            assert base64.urlsafe_b64decode(s + "=") not in dump
    assert b"PHPSESSID" not in dump and b"name|s:" not in dump


def test_logs_show_no_token_and_no_id(cluster_of):
    c = cluster_of(options={"log.level": "debug"})
    user = c.browser()
    secrets = [user.json("counter.php", to=0)["id"], user.token]
    user.login("confidential-name", to=1, query="?regenerate=true")
    secrets += [user.token, user.json("me.php", to=0)["id"], "confidential-name"]
    user.get("logout.php?cookie=expire", to=0)
    for r in c.replicas:
        r.lethe.wait_access(count=1)
        text = "\n".join(r.lethe.process.out + r.lethe.process.err)
        assert not [s for s in secrets if s in text]


def test_answers_never_show_the_applications_id(cluster):
    user = cluster.browser()
    for path in ("counter.php", "login.php?regenerate=true", "login.php?regenerate=false", "logout.php?cookie=expire"):
        r = user.post(path, {"name": "x"})
        assert not [h for h in set_cookies(r) if not h.startswith(f"{TOKEN}=")], set_cookies(r)
        assert "PHPSESSID" not in str(r.headers)
