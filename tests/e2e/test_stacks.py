# SPDX-License-Identifier: Apache-2.0
"""A user behind three replicas of any stack, a balancer without stickiness and lethe sees what a user of one server would have seen.

Every scenario runs over all stacks of stacks/*.py (LETHE_STACKS=a,b for some of them). Those that mean something without lethe also run
there, where they must fail: else they would prove nothing. What was seen goes to build/compatibility.json, which compatibility.py
turns into docs/compatibility.md."""
import functools
import os
import signal

import compatibility
import pytest
import requests
from stack_rig import Background, StackCluster, ending_clusters, find_stacks, open_directory
from stack_scenarios import (STREAMS, content, count_at_once, counts_and_names, failed, flush_early, keep_much, log_in_and_count,
                             log_out_elsewhere, lose_a_replica, many_users, queued_at_redis, scale, slow_count)

from rig import wait_for

STACKS = find_stacks()
REQUESTS, PARALLEL = 60, 16
BIG = (64 << 10, 1 << 20)
GRACE_MS = 1000
OPTIONS = {"session.lock_ttl": "1s", "session.rotate_grace": f"{GRACE_MS}ms"}


# --- what a run has shown ---

SHOWN = compatibility.Run()


@pytest.fixture(scope="module", autouse=True)
def _write_what_was_shown():
    yield
    SHOWN.save()


def scenario(name):
    """The test returns what it has shown: "exact", "kept" or "not applicable". One that fails has shown nothing."""
    assert name in compatibility.SCENARIOS

    def decorate(test):
        @functools.wraps(test)
        def run(**fixtures):
            stack = fixtures["cluster"].stack.name
            SHOWN.failed(stack, name)
            SHOWN.showed(stack, name, test(**fixtures))
        return run
    return decorate


def control(name):
    """The same scenario without lethe: the test asserts that it fails there."""
    assert compatibility.SCENARIOS[name].control

    def decorate(test):
        @functools.wraps(test)
        def run(**fixtures):
            stack = fixtures["bare"].stack.name
            SHOWN.control_failed(stack, name)
            test(**fixtures)
            SHOWN.control_showed(stack, name)
        return run
    return decorate


# --- clusters: one with lethe and one without for each stack ---

@pytest.fixture(name="stack", scope="module", params=STACKS, ids=repr)
def stack_fixture(request):
    todo = request.param.missing()
    if todo:
        pytest.fail(f"{request.param.name} cannot run here: {todo} (or leave it out of LETHE_STACKS)", pytrace=False)
    return request.param


@pytest.fixture(scope="module")
def running(stack):
    with open_directory() as path, ending_clusters() as made:
        made.append(StackCluster(path, stack, persistence="aof", options=OPTIONS))
        yield made[0].start()


@pytest.fixture(name="cluster")
def cluster_fixture(running):
    """Three replicas with lethe, which run again behind the test, whatever it did to them."""
    yield running
    running.restore()


@pytest.fixture(scope="module")
def running_bare(stack):
    with open_directory() as path, ending_clusters() as made:
        made.append(StackCluster(path, stack, replicas=2, lethe=False))
        yield made[0].start()


@pytest.fixture(name="bare")
def bare_fixture(running_bare):
    """The negative control: two replicas without lethe."""
    yield running_bare
    running_bare.restore()


# --- proofs and their controls ---

@scenario("round robin")
def test_login_and_counter(cluster):
    name, counts, replicas, names = log_in_and_count(cluster, REQUESTS)
    assert name == "alice" and names == {"alice"}
    assert counts == list(range(1, REQUESTS + 1))
    assert {replicas.count(r) for r in ("0", "1", "2")} == {REQUESTS // 3}
    assert all(a != b for a, b in zip(replicas, replicas[1:])), "the balancer did not take turns"
    return "exact"


@control("round robin")
def test_login_and_counter_without_lethe(bare):
    name, counts, _, names = log_in_and_count(bare, 10)
    assert name != "alice" or names != {"alice"}
    assert counts != list(range(1, 11))


@scenario("parallel")
def test_parallel_increments(cluster):
    pages, at_end = count_at_once(cluster, PARALLEL)
    counts = sorted(page["n"] for page in pages)
    assert {page["name"] for page in pages} == {"alice"} and len(set(at_end)) == 1
    if cluster.stack.locked:
        assert counts == list(range(1, PARALLEL + 1)) and at_end[0] == PARALLEL
        return "exact"
    assert 1 <= at_end[0] <= PARALLEL and counts[-1] <= PARALLEL
    user = cluster.browser()
    user.login("alice", to=0)
    seen = [user.count(to=i % 3) for i in range(6)]
    assert seen == sorted(set(seen)), "a counter went back"
    return "kept"


@control("parallel")
def test_parallel_increments_without_lethe(bare):
    pages, at_end = count_at_once(bare, PARALLEL)
    assert sorted(page["n"] for page in pages) != list(range(1, PARALLEL + 1)) or set(at_end) != {PARALLEL}


@scenario("logout")
def test_logout_is_final(cluster):
    assert log_out_elsewhere(cluster) == [None] * 3
    user, gate, slow = slow_count(cluster, to=0)
    copy = user.tab()
    waited = cluster.metric("lock_waited")
    logout = Background(user.logout, to=1)
    wait_for(lambda: logout.done() or cluster.metric("lock_waited") > waited, 20, "the logout done, or in line")
    if not cluster.stack.locked:
        logout.result()
    gate.open()
    slow.result()
    assert logout.done() or logout.result()
    stays_logged_out(user, copy)
    # the same, where the slow request's lethe has stood still meanwhile: the logout did not wait for it
    user, gate, slow = slow_count(cluster, to=0)
    copy = user.tab()
    with cluster.replicas[0].frozen("lethe"):
        user.tab().logout(to=1)
        gate.open()
    slow.result()
    stays_logged_out(user, copy)
    return "exact"


def stays_logged_out(*browsers):
    pages = [b.tab().json("/me", to=to) for b in browsers for to in range(3)]
    assert [(page["name"], page["n"]) for page in pages] == [(None, 0)] * 6, "a slow request has brought the session back"


@control("logout")
def test_logout_without_lethe(bare):
    assert log_out_elsewhere(bare)[0] == "alice"


@scenario("users")
def test_users_are_never_mixed(cluster):
    wanted, seen = many_users(cluster)
    assert seen == wanted
    return "exact"


@control("users")
def test_users_without_lethe(bare):
    wanted, seen = many_users(bare)
    assert seen != wanted


@scenario("new id")
def test_new_id_at_login(cluster):
    """Requests with the old id are under way and in line while it moves."""
    if not cluster.stack.rotates:
        return "not applicable"
    user = cluster.browser()
    before = [user.json("/count", to=0) for _ in range(2)][1]
    old = user.token
    assert old, "the application's session cookie is none that lethe knows (session.cookies)"
    stale = user.tab()
    gate = cluster.gate()
    holder = Background(user.tab().get, "/me", to=0, gate=gate)
    gate.wait_reached()
    waited = cluster.metric("lock_waited")
    login = Background(user.login, "alice", to=1)
    wait_for(lambda: login.done() or cluster.metric("lock_waited") > waited, 20, "the login done, or in line")
    behind = [Background(stale.tab().get, "/me", to=i) for i in range(3)]
    gate.open()
    login.result()
    answers = [holder.result()] + [b.result() for b in behind]
    assert [r.status_code for r in answers] == [200] * 4
    assert {r.json()["name"] for r in answers} == {None}, "the old token opens the new session"
    assert user.token and user.token != old
    for to in range(3):
        me = user.json("/me", to=to)
        assert me["name"] == "alice" and me["id"] != before["id"]
        assert stale.tab().json("/me", to=to)["name"] is None
    n = user.json("/me", to=1)["n"]
    assert [user.count(to=i) for i in range(3)] == [n + 1, n + 2, n + 3] and user.name(to=0) == "alice"
    old_token_ends(cluster)
    return "exact"


def old_token_ends(cluster):
    """A copy of the cookie from before the login leads nowhere when its grace is over, a new login from it goes well."""
    user = cluster.browser()
    before = [user.json("/count", to=0) for _ in range(2)][1]  # some frameworks choose the id behind the first page
    stale = user.tab()
    user.login("alice", to=1)
    cluster.redis.call("SET", "test:grace", "1", "PX", GRACE_MS + 200)
    wait_for(lambda: cluster.redis.call("GET", "test:grace") is None, 10, "the end of the grace, by the clock of Redis")
    page = stale.tab().json("/me", to=2)
    assert (page["sent_id"], page["name"], page["n"]) == (None, None, 0) and page["id"] != before["id"]
    stale.login("bob", to=0)
    assert [stale.name(to=i) for i in range(3)] == ["bob"] * 3 and user.name(to=0) == "alice"


@scenario("scale")
def test_scale_up_and_down(cluster):
    seen, replicas = scale(cluster)
    assert seen == [("alice", i + 1) for i in range(9)]
    assert replicas == {"0", "1", "2"}
    return "exact"


@control("scale")
def test_scale_without_lethe(bare):
    seen, _ = scale(bare)
    assert seen != [("alice", i + 1) for i in range(len(seen))]


@scenario("drain")
def test_replica_leaves_in_mid_request(cluster):
    user, gate, under_way = slow_count(cluster, to=0)
    leaving = cluster.replicas[0]
    leaving.lethe.signal(signal.SIGTERM)
    leaving.lethe.wait_event("draining")
    assert not under_way.done()
    gate.open()
    assert under_way.result().json()["n"] == 2
    leaving.leave()
    assert counts_and_names(user, (1, 2)) == ([3, 4], {"alice"})
    return "exact"


@scenario("reload")
def test_configuration_is_reloaded_in_mid_request(cluster):
    user, gate, under_way = slow_count(cluster, to=0)
    for r in cluster.replicas:
        before = len(r.lethe.events("reloaded"))
        r.lethe.signal(signal.SIGHUP)
        r.lethe.wait_event("reloaded", count=before + 1)
    gate.open()
    assert under_way.result().json()["n"] == 2
    assert counts_and_names(user, (1, 0, 2)) == ([3, 4, 5], {"alice"})
    return "exact"


@scenario("kill")
def test_replica_is_killed(cluster):
    assert lose_a_replica(cluster) == [("alice", 2), ("alice", 3)]
    # the application alone
    user, _, under_way = slow_count(cluster, to=0)
    cluster.replicas[0].kill_app()
    assert failed(under_way)
    assert user.tab().count(to=1) == 2
    cluster.replicas[0].restore()
    assert counts_and_names(user, (0, 2)) == ([3, 4], {"alice"})
    # lethe alone: the application goes on behind it and keeps what nobody has confirmed to itself
    user, gate, under_way = slow_count(cluster, to=1)
    r = cluster.replicas[1]
    r.kill_lethe()
    assert isinstance(under_way.error(), requests.exceptions.ConnectionError)
    assert user.tab().count(to=2) == 2
    gate.open()
    r.start_lethe()
    r.wait_in_service()
    assert counts_and_names(user, (1, 0, 2)) == ([3, 4, 5], {"alice"})
    return "exact"


@control("kill")
def test_replica_is_killed_without_lethe(bare):
    assert lose_a_replica(bare) != [("alice", 2), ("alice", 3)]


@scenario("lease")
def test_late_write_is_refused(cluster):
    """lethe stands still for longer than its lease while it serves a request; meanwhile others go on."""
    if not cluster.stack.locked:
        return "not applicable"
    user, gate, late = slow_count(cluster, to=0)
    with cluster.replicas[0].frozen("lethe"):
        assert [user.tab().count(to=1), user.tab().count(to=2)] == [2, 3]
        gate.open()
    late.future.exception(30)  # until it is over
    assert counts_and_names(user, range(3)) == ([4, 5, 6], {"alice"})
    assert failed(late), "a write that was refused is answered as if it had been kept"
    return "exact"


@scenario("commit")
def test_lethe_is_killed_while_it_commits(cluster):
    """Redis stands still with the write in its queue and lethe is killed: afterwards all of it is there, or nothing of it."""
    user = cluster.browser()
    user.login("alice", to=0)
    assert user.post("/big", {"size": 100_000}, to=1).status_code < 400
    assert user.count(to=0) == 1
    big = content(user, 0)
    gate, r = cluster.gate(), cluster.replicas[0]
    under_way = Background(user.tab().get, "/count", to=0, gate=gate)
    gate.wait_reached()
    cluster.redis.pause()
    try:
        assert queued_at_redis(cluster.redis.port) < 5_000
        gate.open()
        wait_for(lambda: queued_at_redis(cluster.redis.port) > 20_000, 10, "the write on its way to Redis")
        r.kill_lethe()
    finally:
        cluster.redis.resume()
    assert isinstance(under_way.error(), requests.exceptions.ConnectionError)
    seen = [user.tab().json("/me", to=i) for i in (1, 2)]
    n = seen[0]["n"]
    assert n in (1, 2) and [(page["name"], page["n"]) for page in seen] == [("alice", n)] * 2
    r.start_lethe()
    r.wait_in_service()
    assert [content(user.tab(), i) for i in range(3)] == [big] * 3
    assert [user.tab().count(to=i) for i in range(3)] == [n + 1, n + 2, n + 3] and user.name(to=0) == "alice"
    return "exact"


@scenario("store away")
def test_redis_is_away(cluster):
    user = cluster.browser()
    user.login("alice", to=0)
    assert user.count(to=1) == 1
    cluster.redis.kill9()
    for to in range(3):
        for _ in range(2):
            r = user.get("/count", to=to, timeout=5)
            assert (r.status_code, r.headers.get("X-Lethe-Error")) == (503, "store_unavailable"), r.text[:200]
            assert r.elapsed.total_seconds() < 2 and "Set-Cookie" not in r.headers
        assert cluster.browser().json("/anonymous", to=to, timeout=5)["replica"] == str(to)
    cluster.redis.start()
    wait_for(cluster.serves, 20, "sessions are served again")
    assert [user.count(to=i) for i in range(3)] == [2, 3, 4] and user.name(to=2) == "alice"
    # it dies in mid-request
    user, gate, under_way = slow_count(cluster, to=0)
    cluster.redis.kill9()
    gate.open()
    assert failed(under_way), "a success that is forgotten"
    cluster.redis.start()
    wait_for(cluster.serves, 20, "sessions are served again")
    assert counts_and_names(user, (1, 2, 0)) == ([2, 3, 4], {"alice"})
    return "exact"


@scenario("stream")
def test_answers_that_begin_early(cluster):
    assert flush_early(cluster) == list(range(1, STREAMS + 1))
    return "exact"


@control("stream")
def test_answers_that_begin_early_without_lethe(bare):
    assert flush_early(bare) != list(range(1, STREAMS + 1))


@scenario("big")
def test_big_session(cluster):
    for size in BIG:
        if size <= cluster.stack.max_big:
            mine, other = keep_much(cluster, size)
            assert other == mine, size
    return "exact"


@control("big")
def test_big_session_without_lethe(bare):
    mine, other = keep_much(bare, BIG[0])
    assert other != mine


# --- the table ---

def test_table_claims_only_what_was_shown():
    """docs/compatibility.md has a row for each stack, and says nothing that this run contradicts."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "docs", "compatibility.md")
    with open(path, encoding="utf-8") as f:
        wrong = compatibility.contradictions(f.read(), SHOWN.stacks, [s.name for s in STACKS])
    assert not wrong, "\n".join([*wrong, "write it anew: python3 tests/e2e/compatibility.py"])


