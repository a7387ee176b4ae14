# SPDX-License-Identifier: Apache-2.0
"""How long a session lasts: the idle limit slides with use, the absolute one does not, and nothing stays in Redis for ever."""
import time

from session_rig import TOKEN, cluster_fixture, cluster_of_fixture  # noqa: F401

from rig import wait_for


def records(redis):
    return [k for k in redis.keys("lethe:{*}") if not k.endswith(":lock")]


def test_idle_session_ends(cluster_of):
    c = cluster_of(options={"session.idle_ttl": "1s"})
    user = c.browser()
    user.login("alice", to=0)
    assert user.count(to=1) == 1
    token, old_id = user.token, user.json("me.php", to=0)["id"]
    wait_for(lambda: not c.redis.keys(), 10, "the end of the idle session")
    assert [f for r in c.replicas for f in r.files()], "PHP's files are still there, and must not count"
    for to in (0, 1):
        page = c.browser(cookies={TOKEN: token}).json("counter.php", to=to)
        assert page["n"] == 1 and page["name"] is None and page["sent_id"] is None and page["id"] != old_id
    assert user.count(to=0) == 1 and user.token != token


def test_used_session_does_not_end(cluster_of):
    """Reading is use, like writing."""
    c = cluster_of(options={"session.idle_ttl": "2s"})
    user = c.browser()
    user.login("alice", to=0)
    began, uses = time.monotonic(), 0

    def long_enough():
        nonlocal uses
        uses += 1
        assert user.json("peek.php", to=uses % 2)["name"] == "alice"
        return time.monotonic() > began + 4.5
    wait_for(long_enough, 20, "more than twice the idle limit")


def test_used_session_ends_at_the_absolute_limit(cluster_of):
    c = cluster_of(options={"session.absolute_ttl": "2s"})
    began = time.monotonic()
    user = c.browser()
    user.login("alice", to=0)
    old_id = user.json("me.php", to=0)["id"]
    wait_for(lambda: user.json("counter.php", to=1)["id"] != old_id, 10, "the absolute limit")
    assert time.monotonic() > began + 1.9
    assert user.json("me.php", to=0)["name"] is None


def test_new_id_does_not_prolong_the_absolute_limit(cluster):
    user = cluster.browser()
    before = set(records(cluster.redis))
    user.count(to=0)
    old = (set(records(cluster.redis)) - before).pop()
    end = int(cluster.redis.call("HGET", old, "e"))
    user.login("alice", to=1, query="?regenerate=false")
    fresh = (set(records(cluster.redis)) - before - {old}).pop()
    assert int(cluster.redis.call("HGET", fresh, "e")) == end
    assert int(cluster.redis.call("HGET", old, "e")) < end and 0 < cluster.redis.call("PTTL", old) <= 30_000


def test_every_key_has_an_end(cluster):
    user = cluster.browser()
    user.count(to=0)
    user.login("alice", to=1, query="?regenerate=true")
    gone = cluster.browser()
    gone.count(to=0)
    gone.get("logout.php?cookie=expire", to=1)
    left = {k: cluster.redis.call("PTTL", k) for k in cluster.redis.keys()}
    assert left and all(v > 0 for v in left.values()), left
    tombs = [k for k in records(cluster.redis) if cluster.redis.call("HGET", k, "d") == b""]
    assert tombs and all(left[k] > 60_000 for k in tombs), "a tombstone outlives the longest request"
