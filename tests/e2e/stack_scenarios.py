# SPDX-License-Identifier: Apache-2.0
"""What test_stacks.py has users do. Each function returns what was seen; those of the first part also mean something without lethe."""
import requests
from stack_rig import Background, together

USERS, ROUNDS, STREAMS = 6, 4, 9


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


# --- in mid-request ---

def slow_count(cluster, to):
    """A user whose counter is 1, and a request of his that stands at a gate on a replica."""
    user = cluster.browser()
    user.login("alice", to=to)
    assert user.count(to=to) == 1
    gate = cluster.gate()
    under_way = Background(user.tab().get, "/count", to=to, gate=gate)
    gate.wait_reached()
    return user, gate, under_way


def counts_and_names(user, places):
    """The user counts on each of these replicas."""
    pages = [user.tab().json("/count", to=i) for i in places]
    return [page["n"] for page in pages], {page["name"] for page in pages}


def failed(under_way):
    """Has its client seen that it failed: an error status without a cookie, or a broken connection?"""
    error = under_way.error()
    if error is not None:
        return isinstance(error, requests.exceptions.ConnectionError)
    response = under_way.future.result()
    return response.status_code >= 500 and "Set-Cookie" not in response.headers


def queued_at_redis(port):
    """Bytes that are on their way to Redis and that it has not read."""
    total = 0
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f.readlines()[1:]:
            _, local, remote, _, queues = line.split()[:5]
            sent, unread = (int(q, 16) for q in queues.split(":"))
            total += unread if int(local.split(":")[1], 16) == port else sent if int(remote.split(":")[1], 16) == port else 0
    return total
