# SPDX-License-Identifier: Apache-2.0
"""A user behind two replicas and a balancer without stickiness sees what a user of one server would have seen. Each scenario also runs
without lethe, where it must fail: else it would prove nothing."""
import os
import time

import pytest
from session_rig import (TOKEN, Background, bare_fixture, cluster_fixture, cluster_of_fixture, curl,  # noqa: F401
                         together)

from rig import wait_for

REQUESTS, PARALLEL, USERS, ROUNDS = 200, 50, 12, 6


# --- scenarios: each returns what it saw ---

def count_alternating(cluster, n):
    """A login, then n requests through round robin: the counters and the replicas seen."""
    user = cluster.browser()
    user.login("alice")
    seen = [user.json("counter.php") for _ in range(n)]
    return [s["n"] for s in seen], [s["replica"] for s in seen], seen[-1]["name"]


def set_and_follow(cluster, n):
    """POSTs that set state and redirect, each followed at once on the other replica: what was found there."""
    user = cluster.browser()
    user.get("me.php", to=0)
    found = []
    for i in range(n):
        r = user.post("set.php", {"key": "v", "value": f"value{i}"}, to=i % 2)
        assert r.status_code == 302, (r.status_code, r.text)
        found.append(user.json(r.headers["Location"], to=1 - i % 2)["value"])
    return found


def count_in_parallel(cluster, n):
    """n increments of one session at once, half of them on each replica: the counters that were answered, the one at the end."""
    user = cluster.browser()
    user.get("me.php", to=0)
    tabs = [user.tab() for _ in range(n)]
    answers = together([lambda t=t, i=i: t.count(to=i % 2) for i, t in enumerate(tabs)])
    return sorted(answers), user.json("me.php", to=0)["n"]


def many_users(cluster, n, rounds):
    """n users at once, each logs in under a name and asks who it is: the names it was called."""
    def use(name):
        user = cluster.browser()
        user.login(name)
        return [user.name() for _ in range(rounds)]
    names = [f"user{i}" for i in range(n)]
    return names, together([lambda name=name: use(name) for name in names])


# --- proofs ---

def test_counter_is_exact_through_round_robin(cluster):
    counts, replicas, name = count_alternating(cluster, REQUESTS)
    assert counts == list(range(1, REQUESTS + 1))
    assert name == "alice"
    assert {replicas.count("0"), replicas.count("1")} == {REQUESTS // 2}
    assert all(a != b for a, b in zip(replicas, replicas[1:])), "the balancer did not alternate"


def test_counter_is_not_exact_without_lethe(bare):
    counts, _, _ = count_alternating(bare, 20)
    assert counts != list(range(1, 21))


def test_redirect_is_followed_on_the_other_replica(cluster):
    assert set_and_follow(cluster, 30) == [f"value{i}" for i in range(30)]


def test_redirect_loses_its_state_without_lethe(bare):
    assert set_and_follow(bare, 10) != [f"value{i}" for i in range(10)]


def login_with_curl(cluster, tmp_path):
    jar, address = tmp_path / "jar", f"http://{cluster.address}"
    args = ("-L", "-c", str(jar), "-b", str(jar))
    curl(*args, f"{address}/anonymous.php")
    curl(*args, "-d", "name=bob", f"{address}/login.php?regenerate=true&to=/me.php")
    return [curl(*args, f"{address}/counter.php")[1] for _ in range(6)]


def test_curl_logs_in_over_a_redirect(cluster, tmp_path):
    answers = login_with_curl(cluster, tmp_path)
    assert ['"name":"bob"' in a for a in answers] == [True] * 6, answers
    assert [f'"n":{i + 1},' in a for i, a in enumerate(answers)] == [True] * 6, answers


def test_curl_is_not_logged_in_without_lethe(bare, tmp_path):
    assert not all('"name":"bob"' in a for a in login_with_curl(bare, tmp_path))


def test_parallel_increments_are_all_kept(cluster):
    answers, at_end = count_in_parallel(cluster, PARALLEL)
    assert answers == list(range(1, PARALLEL + 1))
    assert at_end == PARALLEL


def test_parallel_increments_are_lost_without_lethe(bare):
    answers, at_end = count_in_parallel(bare, PARALLEL)
    assert answers != list(range(1, PARALLEL + 1)) and at_end != PARALLEL


def test_users_are_never_mixed(cluster):
    names, answers = many_users(cluster, USERS, ROUNDS)
    assert answers == [[name] * ROUNDS for name in names]


def test_users_are_unknown_without_lethe(bare):
    names, answers = many_users(bare, USERS, ROUNDS)
    assert answers != [[name] * ROUNDS for name in names]


def ids_seen(cluster):
    user = cluster.browser()
    user.count(to=0)  # the first one has no cookie to send yet
    seen = [user.json("counter.php", to=i % 2) for i in range(1, 7)]
    return {s["id"] for s in seen}, {s["sent_id"] for s in seen}


def test_application_sees_one_id_on_every_replica(cluster):
    ids, sent = ids_seen(cluster)
    assert len(ids) == 1 and sent == ids


def test_big_session(cluster):
    user = cluster.browser()
    for size, seed in ((1 << 20, 7), (3 << 20, 8), (10, 9)):
        r = user.post("big.php", {"size": size, "seed": seed}, to=seed % 2)
        assert r.status_code == 200
        wanted = r.json()
        assert wanted["length"] == size
        found = user.json("big.php", to=1 - seed % 2)
        assert (found["length"], found["sha256"]) == (size, wanted["sha256"])


def test_too_big_a_session_fails_loudly(cluster_of):
    c = cluster_of(options={"files.max_size": "64k"})
    user = c.browser()
    assert user.count(to=0) == 1
    r = user.post("big.php", {"size": 1 << 20, "seed": 1}, to=0)
    assert r.status_code == 503 and r.headers["X-Lethe-Error"], (r.status_code, dict(r.headers))
    assert "Set-Cookie" not in r.headers
    assert user.count(to=1) == 2, "what was stored before is still there"


@pytest.mark.parametrize("how", ["strict", "depth", "name", "serializer"])
def test_settings_of_php(cluster_of, how):
    c = cluster_of(**{
        "strict": {"php_ini": {"session.use_strict_mode": "1"}},
        "depth": {"depth": 1},
        "name": {"php_ini": {"session.name": "SHOP"}, "options": {"session.cookies": "SHOP", "files.cookie": "SHOP"}},
        "serializer": {"php_ini": {"session.serialize_handler": "php_serialize", "session.sid_length": "96", "session.lazy_write": "0"}},
    }[how])
    user = c.browser()
    user.login("alice", to=0, query="?regenerate=true")
    assert [user.count(to=i % 2) for i in range(6)] == [1, 2, 3, 4, 5, 6]
    assert user.http.cookies.keys() == [TOKEN] and user.name(to=0) == "alice"
    files = c.session_files()
    assert files and all(("/sess_" in f) and (how != "depth" or f.split("/")[-2] == f.split("sess_")[1][0]) for f in files)
    user.get("logout.php?cookie=keep", to=1)
    assert user.name(to=0) is None and user.name(to=1) is None


def test_ids_that_php_escapes_in_the_cookie(cluster_of):
    """With 6 bits a character PHP's ids may hold a comma, which its cookie carries as %2C."""
    c = cluster_of(php_ini={"session.sid_bits_per_character": "6", "session.sid_length": "64"})
    with_comma = 0
    while with_comma < 2:
        user = c.browser()
        with_comma += "," in user.json("counter.php", to=0)["id"]
        assert [user.count(to=i % 2) for i in (1, 2, 3)] == [2, 3, 4]
        user.close()


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_every_method_has_its_session(cluster, method):
    user = cluster.browser()
    user.count(to=0)
    for i in range(4):
        assert user.ask(method, "counter.php", to=i % 2, data=b"x" * 100_000 if method in ("POST", "PUT", "PATCH") else None).status_code == 200
    assert user.count(to=0) == 6


def test_read_and_close(cluster):
    user = cluster.browser()
    for i in range(6):
        assert user.count(to=i % 2) == i + 1
        assert user.json("peek.php", to=1 - i % 2)["n"] == i + 1


# --- answers that are complete before the session is written ---

def late_write(cluster, how):
    """late.php answers and only then writes. Its client, and whether the whole answer came while PHP stood at the gate."""
    user = cluster.browser()
    user.count(to=0)
    gate = cluster.gate()
    first = Background(user.tab().get, f"late.php?how={how}", to=0, gate=gate)
    gate.wait_reached()
    return user, gate, first


def test_answer_ends_only_when_the_session_is_written(cluster):
    user, gate, first = late_write(cluster, "flush")
    before = cluster.metric("lock_waited")
    second = Background(user.tab().count, to=1)  # in line behind it, on the other replica
    wait_for(lambda: cluster.metric("lock_waited") > before or second.done(), 10, "the second request in line")
    assert not first.done(), "the client had the whole answer before the session was written"
    assert not second.done()
    gate.open()
    assert first.result().json() == {"n": 2}
    assert second.result() == 3
    assert user.json("me.php", to=1)["n"] == 3


def test_answer_comes_before_the_session_without_lethe(bare):
    _, gate, first = late_write(bare, "flush")
    assert first.result().json() == {"n": 2}  # PHP still stands at the gate
    gate.open()


@pytest.mark.parametrize("page", ["late.php?how=flush", "stream.php"])
def test_late_writes_are_seen_by_the_next_request(cluster, page):
    user = cluster.browser()
    user.get("me.php", to=0)
    for i in range(20):
        assert user.get(page, to=i % 2).status_code == 200
        assert user.json("me.php", to=1 - i % 2)["n"] == i + 1
        if page == "stream.php":
            assert user.json("get.php?key=after", to=i % 2)["value"] == i + 1


def test_streamed_answer_is_whole(cluster):
    user = cluster.browser()
    user.get("me.php", to=0)
    wanted = "".join(chr(97 + i) * 10000 + "\n" for i in range(5))
    assert [user.get("stream.php", to=i % 2).text == wanted for i in range(4)] == [True] * 4


# --- a replica that dies with its disk, one that comes anew ---

def lose_a_replica(cluster):
    """Users log in, replica 0 and its disk are lost and replaced: the names that the users then have."""
    users = [(f"user{i}", cluster.browser()) for i in range(6)]
    for name, user in users:
        user.login(name, to=0)
    r = cluster.replicas[0]
    r.php.kill9()
    if r.lethe:
        r.kill_lethe()
    r.wipe()
    r.start()
    return [name for name, _ in users], [user.name(to=0) for _, user in users]


def test_replica_may_lose_its_disk(cluster_of):
    wanted, found = lose_a_replica(cluster_of())
    assert found == wanted


def test_replica_loses_its_users_without_lethe(cluster_of):
    wanted, found = lose_a_replica(cluster_of(lethe=False))
    assert found == [None] * len(wanted)


def read(path):
    with open(path, "rb") as f:
        return f.read()


def test_old_files_on_a_volume_do_not_count(cluster):
    """A file that a replica kept from earlier is older than the store's."""
    user = cluster.browser()
    assert user.count(to=0) == 1
    stale = {path: read(path) for path in cluster.session_files()}
    assert user.count(to=1) == 2
    for path, content in stale.items():
        with open(path, "wb") as f:
            f.write(content)
        os.utime(path, (time.time() + 60, time.time() + 60))
    assert user.count(to=0) == 3
    assert user.count(to=1) == 4
