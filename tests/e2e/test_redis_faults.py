# SPDX-License-Identifier: Apache-2.0
"""One Redis, and what happens to it: silent, killed, restarted with and without its data, full, cut off, far away. ACL users."""
import pytest
from redis_rig import RIGHTS, TIMEOUT_MS, USER, Crowd, Relay, counting_app
from session_rig import keys

from rig import Deadline, Redis, wait_for

OPTIONS = {"session.rotate_grace": "10m"}


@pytest.fixture
def app():
    a = counting_app()
    yield a
    a.stop()


@pytest.fixture
def relays():
    made = []

    def make(target):
        made.append(Relay(target))
        return made[-1]
    yield make
    for r in made:
        r.stop()


def breaker(lethe):
    m = lethe.metrics()
    return (m.get("lethe_store_events_total", event="breaker_opened"), m.get("lethe_store_events_total", event="breaker_closed"),
            m.get("lethe_store_breaker_open"))


def token_of(r):
    return [c for c in r.all("set-cookie") if c.startswith("lethe=")][0].split(";")[0]


@pytest.mark.slow
def test_crowd(lethe, app, tmp_path):
    redis = Redis(tmp_path, persistence="aof")
    replicas = [lethe(app, store=redis.url, keys=keys(), **OPTIONS) for _ in range(2)]
    crowd = Crowd(replicas, users=1000).start()
    for _ in range(3):
        redis.call("CLIENT", "KILL", "TYPE", "normal")
        redis.call("SCRIPT", "FLUSH")
        crowd.wait_more(200)
    assert not crowd.failed, "a connection that is cut is no news"
    assert [breaker(l) for l in replicas] == [(0, 0, 0)] * 2
    for _ in range(2):
        redis.pause()
        crowd.wait_failed(50)
        for l in replicas:
            l.wait_metric(1, "lethe_store_breaker_open")
        redis.resume()
        crowd.wait_more(200)
    redis.kill9()
    crowd.wait_failed(50)
    redis.start()
    crowd.wait_more(300)
    crowd.stop()
    for l in replicas:
        opened, closed, is_open = breaker(l)
        assert opened == closed >= 3 and not is_open
        away, back = l.wait_event("redis_away", count=opened), l.wait_event("redis_back", count=closed)
        assert (len(away), len(back)) == (opened, closed), "one line each"
    crowd.figures("Redis, AOF", ["CLIENT KILL and SCRIPT FLUSH, 3 times", "silent (SIGSTOP), twice", "kill -9, restarted from its AOF"])
    redis.stop()


def test_restarted_empty(lethe, app, tmp_path):
    """What Redis has forgotten is gone, and said to nobody else: who has lost his session gets a new one, the others keep theirs."""
    redis = Redis(tmp_path)
    l = lethe(app, store=redis.url, keys=keys(), **OPTIONS)
    crowd = Crowd([l], users=100, threads=4).start()
    crowd.forgiving = True
    with crowd.pause():  # a request in the middle, read before the end and written behind it, would lose nothing
        redis.kill9()
        redis.start()
    wait_for(lambda: crowd.forgotten >= 100, 20, "everybody begins anew")
    crowd.wait_more(300)
    crowd.stop()
    assert crowd.forgotten == 100, "once"
    redis.stop()


def test_one_slow_command(lethe, app, tmp_path):
    """Silence for longer than the time limit opens the breaker, of whatever cause; then nobody waits, and one probe finds out when it is over."""
    with Redis(tmp_path) as redis:
        l = lethe(app, store=redis.url, keys=keys(), **OPTIONS)
        token = token_of(l.get("/write?u"))
        assert breaker(l) == (0, 0, 0)
        redis.pause()
        with Deadline_of(TIMEOUT_MS + 600):
            assert l.get("/read", f"Cookie: {token}\r\n").status == 503
        assert breaker(l) == (1, 0, 1)
        for _ in range(5):
            with Deadline_of(500):
                assert l.get("/read", f"Cookie: {token}\r\n").status == 503
        redis.resume()
        l.wait_metric(1, "lethe_store_events_total", event="breaker_closed")
        assert l.get("/read", f"Cookie: {token}\r\n").body == b"u.1"
        assert breaker(l) == (1, 1, 0)


class Deadline_of:
    """A block that must not take longer."""

    def __init__(self, ms):
        self.deadline = Deadline(ms / 1000)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        assert kind or not self.deadline.over(), "it took too long"


def test_full(lethe, app, tmp_path):
    """maxmemory with noeviction: what is there is read, nothing new is written, and that is said, once a second."""
    with Redis(tmp_path) as redis:
        l = lethe(app, store=redis.url, keys=keys(), **OPTIONS)
        token = token_of(l.get("/write?u"))
        redis.call("CONFIG", "SET", "maxmemory", "1")
        for _ in range(20):
            r = l.get("/write?v")
            assert (r.status, r.get("x-lethe-error")) == (503, "store_unavailable") and not r.all("set-cookie")
            assert l.get("/read", f"Cookie: {token}\r\n").body == b"u.1"
        assert l.metrics().get("lethe_store_events_total", event="full") == 20
        lines = l.wait_event("store_full")
        assert 1 <= len(lines) < 10 and lines[0]["level"] == "error" and "maxmemory" in lines[0]["do"]
        assert not l.events("store_error") and breaker(l) == (0, 0, 0)
        redis.call("CONFIG", "SET", "maxmemory", "0")
        assert l.get("/write?v").status == 200
        assert not l.events("store_may_evict"), "noeviction is right"


def test_eviction_is_seen(lethe, app, tmp_path):
    with Redis(tmp_path, args=["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]) as redis:
        l = lethe(app, store=redis.url, keys=keys(), workers=2, **OPTIONS)
        for i in range(4):
            assert l.get(f"/write?u{i}").status == 200
        warning = l.wait_event("store_may_evict")[0]
        assert warning["maxmemory_policy"] == "allkeys-lru" and "noeviction" in warning["do"]
        for i in range(60):
            redis.call("SET", f"filler{i}", "x" * 100_000)
        evicted = redis.call("INFO", "stats").split(b"evicted_keys:")[1].split()[0]
        assert int(evicted) > 0

        def seen():
            redis.call("CLIENT", "KILL", "TYPE", "normal")  # a new connection: it looks again, and not only in a minute
            l.get("/write?x")
            return l.metrics().get("lethe_store_events_total", event="evicted") > 0
        wait_for(seen, 10, "evictions")
        assert int(l.wait_event("store_evicts")[0]["keys"]) > 0
        assert len(l.events("store_may_evict")) == 1


@pytest.mark.slow
def test_slow_network(lethe, app, relays, tmp_path):
    """60 ms to Redis and back, cuts, and packets that do not come."""
    redis = Redis(tmp_path, persistence="aof")
    paths = [relays(redis.address) for _ in range(2)]
    replicas = [lethe(app, store=f"redis://{p.address}/0", keys=keys(), **OPTIONS) for p in paths]
    for p in paths:
        p.delay = 0.03
    crowd = Crowd(replicas, users=100).start()
    assert not crowd.failed
    for p in paths * 2:
        p.cut()
        crowd.wait_more(100)
    for p in paths:
        p.holds = True
        crowd.wait_failed(20)
        p.holds = False
        crowd.wait_more(100)
    crowd.stop()
    crowd.figures("Redis, AOF, 60 ms away", ["4 connections cut", "2 times no packet for longer than the time limit"])
    redis.stop()


# --- rights ---

def lock_options(short_dir):
    return {"state_api.profile": "generic", "state_api.listen": f"unix:{short_dir}/state.sock", "session.lock_ttl": "300ms", **OPTIONS}


def test_least_rights(lethe, app, tmp_path, short_dir):
    """With these and no others everything works, with locks too; they are those of docs/redis.md."""
    with Redis(tmp_path) as redis:
        redis.call("ACL", "SETUSER", "lethe", *USER, *RIGHTS)
        redis.call("ACL", "SETUSER", "default", "off")
        redis.password = None
        l = lethe(app, store=f"redis://lethe:s3cret@{redis.address}/0", keys=keys(), **lock_options(short_dir))
        token = token_of(l.get("/write?u"))
        for n in (1, 2, 3):
            assert l.get("/read", f"Cookie: {token}\r\n").body == f"u.{n}".encode()
            token = token_of(l.get("/write?u", f"Cookie: {token}\r\n"))
        assert not l.events("store_error") and not l.events("store_unwatched") and not l.events("redis_refuses")


@pytest.mark.parametrize("right", [r for r in RIGHTS if r not in ("+eval", "+info")])
def test_each_right_is_needed(lethe, app, tmp_path, short_dir, right):
    with Redis(tmp_path) as redis:
        redis.call("ACL", "SETUSER", "lethe", *USER, *RIGHTS)
        l = lethe(app, store=f"redis://lethe:s3cret@{redis.address}/0", keys=keys(), **lock_options(short_dir))
        token = token_of(l.get("/write?u"))
        redis.call("ACL", "SETUSER", "lethe", right.replace("+", "-"))
        redis.call("CLIENT", "KILL", "TYPE", "normal")
        answers = [l.get("/write?v").status, l.get("/read", f"Cookie: {token}\r\n").status, l.get("/write?u", f"Cookie: {token}\r\n").status]
        assert 503 in answers, answers
        said = wait_for(lambda: l.events("store_error") + l.events("redis_refuses"), 10)
        assert said and "NOPERM" in said[0]["error"] or "can't run this command" in said[0]["error"], said


def test_without_info(lethe, app, tmp_path):
    with Redis(tmp_path) as redis:
        redis.call("ACL", "SETUSER", "lethe", *USER, *[r for r in RIGHTS if r != "+info"])
        l = lethe(app, store=f"redis://lethe:s3cret@{redis.address}/0", keys=keys(), **OPTIONS)
        assert l.get("/write?u").status == 200
        assert "+info" in l.wait_event("store_unwatched")[0]["do"]


def test_other_keys_are_out_of_reach(lethe, app, tmp_path):
    """The wrong prefix: 503, and it says NOPERM."""
    with Redis(tmp_path) as redis:
        redis.call("ACL", "SETUSER", "lethe", *USER, *RIGHTS)
        l = lethe(app, store=f"redis://lethe:s3cret@{redis.address}/0", keys=keys(), **{"session.prefix": "other"})
        assert l.get("/write?u").status == 503
        assert "NOPERM" in l.wait_event("store_error")[0]["error"]
