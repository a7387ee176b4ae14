# SPDX-License-Identifier: Apache-2.0
"""Parts die, come back, start in any order, come and go: nothing that was confirmed is lost, nobody is logged out."""
import contextlib
import itertools
import os
import signal
import threading

import pytest
import requests
from session_rig import Background, cluster_of_fixture, keys  # noqa: F401

from rig import App, Redis, answer, run_cli, wait_for


class Load:
    """Users who count without pause, one thread each. A counter that was answered is confirmed; each further one must be larger."""

    def __init__(self, cluster, users):
        self.cluster, self.stopping = cluster, threading.Event()
        self.users = [cluster.browser() for _ in range(users)]
        for i, user in enumerate(self.users):
            user.login(f"user{i}", to=0)
        self.attempted, self.confirmed = [0] * users, [0] * users
        self.failures, self.wrong = [], []
        self.threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(users)]
        for t in self.threads:
            t.start()

    def _run(self, i):
        while not self.stopping.is_set():
            self.attempted[i] += 1
            try:
                r = self.users[i].get("counter.php?close=1", timeout=30)
            except requests.RequestException as e:
                self.failures.append(repr(e))
                continue
            if r.status_code != 200:
                self.failures.append((r.status_code, r.headers.get("X-Lethe-Error"), r.text[:80]))
                if "Set-Cookie" in r.headers:
                    self.wrong.append(f"a failure sets cookies: {r.headers}")
                self.stopping.wait(0.01)  # nobody hammers at a server that is down
                continue
            page = r.json()
            if page["name"] != f"user{i}" or not self.confirmed[i] < page["n"] <= self.attempted[i]:
                self.wrong.append(f"user{i}: {page} after {self.confirmed[i]} confirmed, {self.attempted[i]} attempted")
                return
            self.confirmed[i] = page["n"]

    def total(self):
        return sum(self.confirmed)

    def wait_more(self, n, seconds=30):
        """Until n more have been confirmed."""
        before = self.total()
        wait_for(lambda: self.wrong or self.total() >= before + n, seconds, f"{n} more; {self.failures[-3:]}")
        assert not self.wrong, self.wrong[0]

    def stop(self):
        """Ends all; the counters as the application has them now."""
        self.stopping.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()
        assert not self.wrong, self.wrong[0]
        return [user.json("me.php", to=i % 2)["n"] for i, user in enumerate(self.users)]

    def check(self):
        found = self.stop()
        for i, n in enumerate(found):
            assert self.confirmed[i] <= n <= self.attempted[i], (i, n, self.confirmed[i], self.attempted[i])


def service(cluster):
    """Everybody is served again, on every replica."""
    def good():
        try:
            return all(cluster.browser().get("counter.php", to=r.index, timeout=10).status_code == 200 for r in cluster.replicas)
        except requests.RequestException:
            return False
    wait_for(good, 30, "all replicas in service")


# --- deaths ---

def test_deaths_lose_nothing_that_was_confirmed(cluster_of):
    c = cluster_of(persistence="aof", options={"session.lock_ttl": "600ms"})
    load = Load(c, 4)
    load.wait_more(20)
    for round_ in range(2):
        a, b = c.replicas[round_ % 2], c.replicas[1 - round_ % 2]
        a.php.kill9()
        load.wait_more(10)
        a.php.start()
        b.kill_lethe()
        load.wait_more(10)
        b.start_lethe()
        c.wait_balancer(2)
        c.redis.kill9()
        seen = len(load.failures)
        wait_for(lambda: len(load.failures) > seen + 3, 20, "requests without Redis")
        c.redis.start()
        load.wait_more(20)
    load.check()


def test_php_dies_while_it_writes(cluster_of):
    """PHP empties its file before it writes it anew (strace shows it). Killed in between it leaves an empty one, and no answer: that is not
    what the session is now."""
    c = cluster_of()
    user = c.browser()
    user.login("alice", to=0)
    assert [user.count(to=i % 2) for i in range(3)] == [1, 2, 3]
    r = user.get("torn.php", to=1)
    assert (r.status_code, r.headers["X-Lethe-Error"]) == (502, "upstream_closed")
    assert user.name(to=0) == "alice" and user.count(to=1) == 4


def test_kill_of_redis_in_mid_request(cluster_of):
    """The answer to a request whose session cannot be stored any more is an error, never a success that is forgotten."""
    c = cluster_of(persistence="aof")
    user = c.browser()
    user.login("alice", to=0)
    assert user.count(to=0) == 1
    gate = c.gate()
    under_way = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    c.redis.kill9()
    gate.open()
    r = under_way.result()
    assert (r.status_code, r.headers["X-Lethe-Error"]) == (503, "store_unavailable")
    c.redis.start()
    service(c)
    assert user.count(to=1) == 2
    assert user.name(to=0) == "alice"


def test_restart_of_redis_in_mid_request(cluster_of):
    """Redis comes back with its data while the request runs: it ends as if nothing had been."""
    c = cluster_of(persistence="aof")
    user = c.browser()
    assert user.count(to=0) == 1
    gate = c.gate()
    under_way = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    c.redis.kill9()
    c.redis.start()
    gate.open()
    answer = under_way.result()
    found = user.count(to=1)
    if answer.status_code == 200:
        assert answer.json()["n"] == 2 and found == 3
    else:
        assert answer.headers["X-Lethe-Error"] == "store_unavailable" and found == 2


def test_long_answer_breaks_off_when_its_session_cannot_be_stored(cluster_of):
    """The head of a long answer is out already: its end must never come."""
    c = cluster_of(persistence="aof")
    user = c.browser()
    user.get("me.php", to=0)
    assert len(user.get("stream.php", to=0).content) == 50_005
    gate = c.gate()
    under_way = Background(user.tab().get, "stream.php", to=0, gate=gate)
    gate.wait_reached()
    c.redis.kill9()
    gate.open()
    assert isinstance(under_way.error(), (requests.exceptions.ChunkedEncodingError, requests.exceptions.ConnectionError))
    c.redis.start()
    service(c)
    assert user.json("me.php", to=1)["n"] == 1


def test_reload_in_mid_request(cluster_of):
    """SIGHUP: who holds the lock under the old configuration keeps it, who comes under the new one waits."""
    c = cluster_of()
    user = c.browser()
    user.count(to=0)
    gate = c.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    lethe = c.replicas[0].lethe
    waited = lethe.metrics().get("lethe_sessions_total", event="lock_waited")
    line = [Background(user.tab().count, to=0)]
    lethe.wait_metric(waited + 1, "lethe_sessions_total", event="lock_waited")
    for n in range(2, 5):
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reloaded", count=n - 1)
        line.append(Background(user.tab().count, to=0))
        lethe.wait_metric(waited + n, "lethe_sessions_total", event="lock_waited")
    gate.open()
    assert first.result() == 2
    assert sorted(b.result() for b in line) == [3, 4, 5, 6]


# --- Redis away ---

@pytest.mark.parametrize("how", ["dead", "frozen"])
def test_redis_away(cluster_of, how):
    c = cluster_of(persistence="aof")
    user = c.browser()
    user.login("alice", to=0, query="?regenerate=true")
    assert user.count(to=1) == 1
    token = user.token
    if how == "dead":
        c.redis.kill9()
    else:
        c.redis.pause()
    for r in c.replicas:
        for _ in range(4):
            page = user.get("counter.php", to=r.index, timeout=3)  # the store's own time limit is 900 ms
            assert (page.status_code, page.headers.get("X-Lethe-Error")) == (503, "store_unavailable")
            assert page.headers["Retry-After"] == "1" and "Set-Cookie" not in page.headers
            assert user.get("anonymous.php", to=r.index, timeout=3).status_code == 503, "the application must not see a miss"
            assert c.browser().get("anonymous.php", to=r.index, timeout=3).status_code == 200
            assert c.browser().get("style.css", to=r.index, timeout=3).status_code == 200
        new = c.browser().get("counter.php", to=r.index, timeout=3)
        assert (new.status_code, new.headers.get("X-Lethe-Error")) == (503, "store_unavailable")
        assert "Set-Cookie" not in new.headers
        r.lethe.wait_metric(1, "lethe_store_breaker_open")
    if how == "dead":
        c.redis.start()
    else:
        c.redis.resume()
    service(c)
    for r in c.replicas:
        assert user.json("me.php", to=r.index)["name"] == "alice"
        r.lethe.wait_metric(0, "lethe_store_breaker_open")
    assert user.token == token
    assert user.count(to=0) == 2 and user.count(to=1) == 3


def test_redis_connection_cut(cluster_of):
    """CLIENT KILL, a fail-over of a proxy: nobody notices."""
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1 and user.count(to=1) == 2

    def connected():
        clients = c.redis.call("CLIENT", "LIST", "TYPE", "normal").decode().splitlines()
        return sum("cmd=client" not in line and "cmd=NULL" not in line for line in clients) == 2
    for i in range(2, 12):
        c.redis.call("CLIENT", "KILL", "TYPE", "normal")
        if i % 3 == 0:
            wait_for(connected, 10, "both connected again, by themselves")
        assert user.count(to=i % 2) == i + 1
        wait_for(connected, 10, "both connected again")  # one that is cut off while it greets takes a rest


def test_redis_connections_cut_under_load(cluster_of):
    """Answers of Redis are lost on the way: what was asked is asked again, and nothing is done twice."""
    c = cluster_of()
    load = Load(c, 4)
    for _ in range(15):
        load.wait_more(5)
        c.redis.call("CLIENT", "KILL", "TYPE", "normal")
        c.redis.call("SCRIPT", "FLUSH")
    load.check()


def test_redis_forgot_its_scripts(cluster_of):
    c = cluster_of()
    user = c.browser()
    for i in range(6):
        assert user.count(to=i % 2) == i + 1
        c.redis.call("SCRIPT", "FLUSH")


@pytest.mark.parametrize("trouble, cure", [(("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory", "0")),
                                           (("REPLICAOF", "127.0.0.1", "1"), ("REPLICAOF", "NO", "ONE"))], ids=["full", "replica"])
def test_redis_that_cannot_write(cluster_of, trouble, cure):
    """Out of memory, or demoted by a fail-over: sessions cannot be stored, and that is said."""
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1
    c.redis.call(*trouble)
    for to in (0, 1):
        r = user.get("counter.php", to=to, timeout=5)
        assert (r.status_code, r.headers.get("X-Lethe-Error")) == (503, "store_unavailable")
        assert c.browser().get("anonymous.php", to=to).status_code == 200
    c.redis.call(*cure)
    wait_for(lambda: user.get("me.php", to=0).status_code == 200 and user.get("me.php", to=1).status_code == 200, 10, "recovery")
    assert user.count(to=1) == 2


def login_works(lethe, app):
    r = lethe.get("/login")
    assert r.status == 200, r
    token = r.get("set-cookie").split(";")[0]
    lethe.get("/back", f"Cookie: {token}\r\n")
    assert app.seen("/back")[-1].all("cookie") == ["PHPSESSID=x"]
    return token


@pytest.fixture
def app():
    a = App()
    a.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
    yield a
    a.stop()


def test_redis_by_unix_socket(lethe, app, short_dir):
    with Redis(short_dir, unix=True) as redis:
        login_works(lethe(app, store=redis.url, keys=keys()), app)


def test_redis_with_password_and_database(lethe, app, tmp_path):
    with Redis(tmp_path, args=["--requirepass", "p@ss:w/rd", "--user", "shop", "on", ">s3cret", "~shop:*", "+@all"], start=False) as redis:
        redis.password = "p@ss:w/rd"
        where = f"127.0.0.1:{redis.port}"
        login_works(lethe(app, store=f"redis://:p%40ss%3Aw%2Frd@{where}/3", keys=keys()), app)
        assert redis.pipeline([("SELECT", "3"), ("DBSIZE",)])[1] == 1
        login_works(lethe(app, store=f"redis://shop:s3cret@{where}/0", keys=keys(), **{"session.prefix": "shop"}), app)
        wrong = lethe(app, store=f"redis://shop:wrong@{where}/0", keys=keys(), **{"session.prefix": "shop"})
        assert (wrong.get("/login").status, wrong.get("/anonymous").status) == (503, 200)
        assert wrong.wait_event("redis_refuses")
        assert "wrong@" not in wrong.process.tail()
        redis.call("ACL", "SETUSER", "shop", ">wrong")
        wait_for(lambda: wrong.get("/login").status == 200, 10, "the right password")


def test_keys_are_replaced_while_sessions_live(lethe, app, tmp_path):
    """The new key in front, the old one behind it, then the new one alone: what was written in between lives on."""
    with Redis(tmp_path) as redis:
        fresh = run_cli("keygen").stdout.strip()
        token = login_works(lethe(app, store=redis.url, keys=keys()), app)
        app.on("/more", answer(headers="Set-Cookie: connect.sid=y; path=/\r\n"))
        both = lethe(app, store=redis.url, keys=f"{fresh},{keys()}")
        more = both.get("/more", f"Cookie: {token}\r\n")
        token = (more.all("set-cookie") or [token])[0].split(";")[0]
        new = lethe(app, store=redis.url, keys=fresh)
        assert new.get("/last", f"Cookie: {token}\r\n").status == 200
        assert app.seen("/last")[0].all("cookie") == ["PHPSESSID=x; connect.sid=y"]


# --- starting ---

ORDERS = list(itertools.permutations(["app", "lethe", "redis", "balancer"]))


@pytest.mark.parametrize("order", ORDERS, ids=["-".join(o) for o in ORDERS])
def test_every_order_of_starting_ends_in_service(cluster_of, order):
    c = cluster_of(start=False)
    start = {
        "app": lambda: [r.php.start() for r in c.replicas],
        "lethe": lambda: [r.start_lethe() for r in c.replicas],
        "redis": c.redis.start,
        "balancer": c.haproxy.start,
    }
    for part in order:
        start[part]()
    c.wait_balancer(2)
    service(c)
    user = c.browser()
    user.login("alice")
    pages = [user.json("counter.php") for _ in range(6)]
    assert [p["n"] for p in pages] == [1, 2, 3, 4, 5, 6]
    assert {p["replica"] for p in pages} == {"0", "1"} and {p["name"] for p in pages} == {"alice"}


# --- scaling ---

def test_replicas_come_and_go_without_a_failed_request(cluster_of):
    c = cluster_of(spare=1)
    load = Load(c, 4)
    load.wait_more(20)
    c.replicas[2].start()
    c.wait_balancer(3)
    served = c.replicas[2].lethe
    wait_for(lambda: served.metrics().get("lethe_requests_total", outcome="ok") > 5, 20, "the new replica serves")
    load.wait_more(20)
    leaving = c.replicas[0]
    leaving.lethe.stop()  # SIGTERM: drains, ends with 0
    c.wait_balancer(2)
    leaving.php.stop()
    load.wait_more(20)
    load.stopping.set()
    for t in load.threads:
        t.join(30)
    assert load.failures == [] and load.wrong == []
    for i, user in enumerate(load.users):
        page = user.json("me.php", to=1 + i % 2)
        assert (page["n"], page["name"]) == (load.attempted[i], f"user{i}"), "confirmed, attempted and stored are the same"


def test_drain_serves_what_has_arrived(lethe, origin):
    """Connections that the kernel has taken, with requests on them, are served; idle ones too if a request came before the end."""
    r = lethe(origin())
    with contextlib.ExitStack() as stack:
        idle = [stack.enter_context(r.client()) for _ in range(5)]
        for c in idle:
            assert c.get("/").status == 200
        r.signal(signal.SIGSTOP)
        new = [stack.enter_context(r.client()) for _ in range(100)]
        for c in new + idle:
            c.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        r.signal(signal.SIGTERM)
        r.signal(signal.SIGCONT)
        assert [c.response().status for c in new + idle] == [200] * 105


def test_drain_lets_a_running_request_end(cluster_of):
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1
    gate = c.gate()
    under_way = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    leaving = c.replicas[0].lethe
    in_line = Background(user.tab().count, to=0)
    leaving.wait_metric(1, "lethe_sessions_total", event="lock_waited")
    leaving.signal(signal.SIGTERM)
    leaving.wait_event("draining")
    assert not under_way.done() and leaving.process.alive()
    gate.open()
    assert (under_way.result(), in_line.result()) == (2, 3)
    user.close()
    leaving.stop()
    assert user.count(to=1) == 4


def test_bare_replica_drops_a_running_request(cluster_of):
    c = cluster_of(lethe=False)
    user = c.browser()
    gate = c.gate()
    under_way = Background(user.count, to=0, gate=gate)
    gate.wait_reached()
    os.killpg(c.replicas[0].php.pid, signal.SIGTERM)
    assert isinstance(under_way.error(), requests.exceptions.ConnectionError)
