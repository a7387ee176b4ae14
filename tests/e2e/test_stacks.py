# SPDX-License-Identifier: Apache-2.0
"""A user behind three replicas of any stack, a balancer without stickiness and lethe sees what a user of one server would have seen.

Every scenario runs over all stacks of stacks/*.py (LETHE_STACKS=a,b for some of them). Those that mean something without lethe also run
there, where they must fail: else they would prove nothing. What was seen goes to build/compatibility.json, which compatibility.py
turns into docs/compatibility.md."""
import functools
import os

import compatibility
import pytest
import requests
from stack_rig import Background, StackCluster, ending_clusters, find_stacks, open_directory, together

from rig import wait_for

STACKS = find_stacks()
REQUESTS, PARALLEL, USERS, ROUNDS, STREAMS = 60, 16, 6, 4, 9
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


# --- scenarios that also run without lethe: each returns what it saw ---

def log_in_and_count(cluster, n):
    """A login, its redirect followed at once on another replica, then n requests in turns."""
    user = cluster.browser()
    r = user.login("alice", to=0)
    assert r.status_code in (302, 303), "the contract's login redirects"
    name = user.name(to=1)
    seen = [user.json("/count") for _ in range(n)]
    return name, [s["n"] for s in seen], [s["replica"] for s in seen], {s["name"] for s in seen}


def count_at_once(cluster, n):
    """n increments of one session at once over all replicas: the counters that were answered, the one at the end on each."""
    user = cluster.browser()
    user.login("alice", to=0)
    tabs = [user.tab() for _ in range(n)]
    places = len(cluster.replicas)
    pages = together([lambda t=t, i=i: t.json("/count", to=i % places) for i, t in enumerate(tabs)])
    return pages, [user.json("/me", to=i)["n"] for i in range(places)]


def log_out_elsewhere(cluster):
    """A login on one replica, a logout on another: the name that a copy of the cookie still has on each."""
    user = cluster.browser()
    user.login("alice", to=0)
    copy = user.tab()
    user.post("/logout", to=1)
    return [copy.tab().name(to=i) for i in range(len(cluster.replicas))]


def many_users(cluster):
    """Users at once, each logs in under a name, counts and asks who it is."""
    def use(name):
        user = cluster.browser()
        user.login(name)
        return [(page["name"], page["n"]) for page in (user.json("/count") for _ in range(ROUNDS))]
    names = [f"user{i}" for i in range(USERS)]
    return [[(name, i + 1) for i in range(ROUNDS)] for name in names], together([lambda name=name: use(name) for name in names])


def scale(cluster):
    """One replica, then all, then only the last one: what a user sees who stays."""
    places = range(len(cluster.replicas))
    cluster.scale({0})
    user = cluster.browser()
    user.login("alice")
    seen = [user.json("/count")]
    cluster.scale(places)
    seen += [user.json("/count") for _ in range(2 * len(places))]
    cluster.scale({places[-1]})
    seen += [user.json("/count") for _ in range(2)]
    return [(page["name"], page["n"]) for page in seen], {page["replica"] for page in seen}


def lose_a_replica(cluster):
    """A replica is killed while it serves a request of the user: what the user sees on another one, and on the replacement."""
    user = cluster.browser()
    user.login("alice", to=0)
    user.count(to=0)
    gate = cluster.gate()
    under_way = Background(user.tab().get, "/count", to=0, gate=gate)
    gate.wait_reached()
    cluster.replicas[0].kill9()
    assert isinstance(under_way.error(), requests.exceptions.ConnectionError)
    elsewhere = user.tab().json("/count", to=1)
    cluster.replicas[0].restore()
    cluster.replicas[0].wait_in_service()
    anew = user.tab().json("/count", to=0)
    return [(page["name"], page["n"]) for page in (elsewhere, anew)]


def flush_early(cluster):
    """Answers that begin before they end: what the next request finds on another replica."""
    user = cluster.browser()
    user.login("alice", to=0)
    found, places = [], len(cluster.replicas)
    for i in range(STREAMS):
        r = user.get("/stream", to=i % places)
        assert r.status_code == 200 and len(r.content) > 0
        found.append(user.json("/me", to=(i + 1) % places)["n"])
    return found


def keep_much(cluster, size):
    """A big session: as the replica that made it and as the next one see it."""
    user = cluster.browser()
    user.login("alice", to=0)
    r = user.post("/big", {"size": size}, to=0)
    assert r.status_code < 400, (r.status_code, r.text[:200])
    mine, other = content(user, 0), content(user, 1)
    assert mine[0] == size
    return mine, other


def content(user, to):
    """What the application has of a big session: its length and its SHA-256."""
    page = user.json("/big", to=to)
    assert len(page["sha256"]) == 64
    return page["length"], page["sha256"]


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
    user = cluster.browser()
    user.login("alice", to=0)
    assert user.count(to=1) == 1
    copy, gate = user.tab(), cluster.gate()
    slow = Background(user.tab().get, "/count", to=0, gate=gate)
    gate.wait_reached()
    waited = cluster.metric("lock_waited")
    logout = Background(user.logout, to=1)
    wait_for(lambda: logout.done() or cluster.metric("lock_waited") > waited, 20, "the logout done, or in line")
    if not cluster.stack.locked:
        logout.result()
    gate.open()
    slow.result()
    assert logout.done() or logout.result()
    pages = [b.tab().json("/me", to=to) for b in (user, copy) for to in range(3)]
    assert [(page["name"], page["n"]) for page in pages] == [(None, 0)] * 6, "a slow request has brought the session back"
    return "exact"


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


@scenario("kill")
def test_replica_is_killed(cluster):
    assert lose_a_replica(cluster) == [("alice", 2), ("alice", 3)]
    # lethe alone: the application goes on behind it and keeps what nobody has confirmed to itself
    user = cluster.browser()
    user.login("alice", to=0)
    assert user.count(to=1) == 1
    gate, r = cluster.gate(), cluster.replicas[1]
    under_way = Background(user.tab().get, "/count", to=1, gate=gate)
    gate.wait_reached()
    r.kill_lethe()
    assert isinstance(under_way.error(), requests.exceptions.ConnectionError)
    assert user.tab().count(to=2) == 2
    gate.open()
    r.start_lethe()
    r.wait_in_service()
    assert [user.tab().count(to=i) for i in (1, 0, 2)] == [3, 4, 5]
    assert user.name(to=1) == "alice"
    return "exact"


@control("kill")
def test_replica_is_killed_without_lethe(bare):
    assert lose_a_replica(bare) != [("alice", 2), ("alice", 3)]


@scenario("lease")
def test_late_write_is_refused(cluster):
    """lethe stands still for longer than its lease while it serves a request; meanwhile others go on."""
    if not cluster.stack.locked:
        return "not applicable"
    user = cluster.browser()
    user.login("alice", to=0)
    assert user.count(to=0) == 1
    gate, sleeper = cluster.gate(), cluster.replicas[0]
    late = Background(user.tab().get, "/count", to=0, gate=gate)
    gate.wait_reached()
    with sleeper.frozen("lethe"):
        assert [user.tab().count(to=1), user.tab().count(to=2)] == [2, 3]
        gate.open()
    r = late.result()
    assert [user.tab().count(to=i) for i in range(3)] == [4, 5, 6] and user.name(to=1) == "alice"
    assert r.status_code >= 500, "a write that was refused is answered as if it had been kept"  # by lethe, or by the application
    return "exact"


def queued_at_redis(port):
    """Bytes that are on their way to Redis and that it has not read."""
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            _, local, remote, _, queues = line.split()[:5]
            sent, unread = (int(q, 16) for q in queues.split(":"))
            total += unread if int(local.split(":")[1], 16) == port else sent if int(remote.split(":")[1], 16) == port else 0
    return total


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


