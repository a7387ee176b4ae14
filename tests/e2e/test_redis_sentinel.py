# SPDX-License-Identifier: Apache-2.0
"""redis+sentinel://: the master moves, lethe follows, no session is lost."""
import pytest
from redis_rig import RIGHTS, SENTINEL_RIGHTS, USER, Crowd, Sentinels, counting_app, crash
from session_rig import keys

from rig import wait_for

OPTIONS = {"session.rotate_grace": "10m"}


@pytest.fixture
def app():
    a = counting_app()
    yield a
    a.stop()


def moves(lethes, count):
    for l in lethes:
        l.wait_event("redis_master_moved", 30, count)


def served(lethe):
    return lambda: lethe.get("/write?x").status == 200


@pytest.mark.slow
def test_failovers_during_traffic(lethe, app, tmp_path):
    with Sentinels(tmp_path) as s:
        replicas = [lethe(app, store=s.url, keys=keys(), **OPTIONS) for _ in range(2)]
        crowd = Crowd(replicas, users=1000).start()

        first = s.master()
        crash(first)
        moves(replicas, 1)
        crowd.wait_more(500)
        first.start()
        wait_for(lambda: s.master().call("INFO", "replication").count(b"state=online") == 2, 20, "the old master as a replica")

        s.sentinels[1].call("SENTINEL", "FAILOVER", "mymaster")  # ordered: the old master lives and would take writes
        moves(replicas, 2)
        crowd.wait_more(500)

        s.sentinels.pop().stop()  # one may be missing
        wait_for(lambda: s.master().call("INFO", "replication").count(b"state=online") == 2, 20, "two replicas again")
        silent = s.master()
        silent.pause()
        moves(replicas, 3)
        silent.resume()
        crowd.wait_more(500)
        wait_for(lambda: silent.call("ROLE")[0] == b"slave", 20, "the silent one is a replica now")
        crowd.wait_more(200)

        crowd.stop()
        for l in replicas:
            m = l.metrics()
            opened, closed = (m.get("lethe_store_events_total", event=f"breaker_{e}") for e in ("opened", "closed"))
            assert opened == closed >= 3, (opened, closed)
            assert m.get("lethe_store_breaker_open") == 0
        crowd.figures("Redis, 3 Sentinels, 2 replicas", ["master crashed", "fail-over ordered", "a sentinel ended", "master silent (SIGSTOP)"])


def test_a_demoted_master_is_never_written(lethe, app, tmp_path):
    """Nobody uses lethe while the master stands still and another one is made: its connection still looks good when it wakes up."""
    with Sentinels(tmp_path) as s:
        l = lethe(app, store=s.url, keys=keys(), **OPTIONS)
        assert served(l)()
        old = s.master()
        old.pause()
        wait_for(lambda: s.master() is not old, 20, "a fail-over")
        l.wait_event("redis_master_moved")
        for sentinel in s.sentinels:
            sentinel.pause()  # nobody makes it a replica when it wakes up: it takes itself for a master
        old.resume()
        assert old.call("ROLE")[0] == b"master"
        before = old.call("DBSIZE")
        wait_for(served(l), 10, "service")
        assert served(l)()
        assert old.call("DBSIZE") == before
        for sentinel in s.sentinels:
            sentinel.resume()


def test_role_is_verified(lethe, app, tmp_path):
    """The sentinels do not know yet that their master is a replica of somebody else: it is not used."""
    with Sentinels(tmp_path) as s:
        master = s.master()
        for sentinel in s.sentinels:
            sentinel.call("SENTINEL", "SET", "mymaster", "down-after-milliseconds", "60000")
        l = lethe(app, store=s.url, keys=keys(), **OPTIONS)
        assert served(l)()
        for sentinel in s.sentinels[1:]:
            sentinel.pause()  # no majority for a fail-over
        master.call("REPLICAOF", "127.0.0.1", s.redises[1].port)
        master.call("CLIENT", "KILL", "TYPE", "normal")
        wait_for(lambda: l.events("redis_is_no_master"), 20, "it is seen")
        assert l.get("/write?x").status == 503 and l.get("/anonymous").status == 200
        for sentinel in s.sentinels[1:]:
            sentinel.resume()


def test_password(lethe, app, tmp_path):
    """The sentinels have none: what is meant for Redis does not disturb them."""
    with Sentinels(tmp_path, password="s3cret") as s:
        assert ":s3cret@" in s.url
        l = lethe(app, store=s.url, keys=keys(), **OPTIONS)
        assert served(l)()
        assert "s3cret" not in l.process.tail()


def test_least_rights(lethe, app, tmp_path):
    with Sentinels(tmp_path) as s:
        for r in s.redises:
            r.call("ACL", "SETUSER", "lethe", *USER, *RIGHTS, *SENTINEL_RIGHTS)
        l = lethe(app, store=s.url.replace("://", "://lethe:s3cret@"), keys=keys(), **OPTIONS)
        assert served(l)() and not l.events("redis_refuses")
        s.master().call("ACL", "SETUSER", "lethe", "-role")
        s.master().call("CLIENT", "KILL", "TYPE", "normal")
        wait_for(lambda: l.events("redis_refuses"), 10, "it cannot verify")
        assert "role" in l.wait_event("redis_refuses")[0]["error"]


def test_unknown_master(lethe, app, tmp_path):
    with Sentinels(tmp_path) as s:
        l = lethe(app, store=s.url.replace("mymaster", "nobody"), keys=keys(), **OPTIONS)
        assert l.get("/write?x").status == 503 and l.get("/anonymous").status == 200
        assert l.wait_event("sentinel_knows_no_master")[0]["master"] == "nobody"


def test_all_sentinels_away(lethe, app, tmp_path):
    """Who is connected stays connected; who comes anew waits for one of them."""
    with Sentinels(tmp_path) as s:
        l = lethe(app, store=s.url, keys=keys(), **OPTIONS)
        assert served(l)()
        for sentinel in s.sentinels:
            sentinel.kill9()
        assert served(l)()
        fresh = lethe(app, store=s.url, keys=keys(), **OPTIONS)
        assert fresh.get("/write?x").status == 503
        s.sentinels[0].start()
        wait_for(served(fresh), 20, "one sentinel is enough to find a master")
        assert served(l)()
