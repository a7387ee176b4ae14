# SPDX-License-Identifier: Apache-2.0
"""One request at a time works on a session, across replicas; a lock ends with its holder, and a holder that lost it writes nothing."""
import signal
import threading

import pytest
import requests
from session_rig import TOKEN, Background, bare_fixture, cluster_fixture, cluster_of_fixture, keys  # noqa: F401

from rig import App, Redis, answer, wait_for


def test_second_request_waits_for_the_first(cluster):
    user = cluster.browser()
    user.count(to=0)
    gate = cluster.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    waited = cluster.metric("lock_waited")
    second = Background(user.tab().count, to=1)
    wait_for(lambda: cluster.metric("lock_waited") > waited, 10, "a request in line")
    assert not second.done()
    gate.open()
    assert first.result() == 2
    assert second.result() == 3


def test_second_request_does_not_wait_without_lethe(bare):
    user = bare.browser()
    user.count(to=0)
    gate = bare.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    user.tab().count(to=1)
    assert not first.done()
    gate.open()
    first.result()


def test_others_do_not_wait(cluster):
    user, other = cluster.browser(), cluster.browser()
    user.count(to=0)
    other.count(to=0)
    gate = cluster.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    for to in (0, 1):
        assert other.count(to=to) == 2 + to
        assert cluster.browser().get("anonymous.php", to=to).status_code == 200
        assert cluster.browser().count(to=to) == 1
    assert not first.done()
    gate.open()
    assert first.result() == 2


def test_order_of_arrival(cluster):
    """Within one lethe the requests of a session go on in the order in which they came."""
    c = cluster
    user = c.browser()
    user.count(to=0)
    gate = c.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    line = []
    for _ in range(4):
        waited = c.metric("lock_waited")
        line.append(Background(user.tab().count, to=0))
        wait_for(lambda waited=waited: c.metric("lock_waited") > waited, 10, "one more in line")
    gate.open()
    answers = [first.result()] + [b.result() for b in line]
    assert sorted(answers) == [2, 3, 4, 5, 6]


def test_early_close(cluster):
    """session_write_close() in a page that works on: whoever comes next finds what was written."""
    user = cluster.browser()
    user.get("me.php", to=0)
    gate = cluster.gate()
    first = Background(user.tab().json, "early.php", to=0, gate=gate)
    gate.wait_reached()
    waited = cluster.metric("lock_waited")
    second = Background(user.tab().count, to=1)
    wait_for(lambda: second.done() or cluster.metric("lock_waited") > waited, 10, "the second request")
    gate.open()
    assert first.result()["n"] == 1
    assert second.result() == 2
    assert user.count(to=0) == 3


def test_event_stream_lets_go_of_the_lock(cluster):
    """A stream whose application has closed its session lasts as long as it likes; others go on meanwhile."""
    user = cluster.browser()
    user.get("me.php", to=0)
    gate = cluster.gate()
    stream = user.tab().get("events.php", to=0, gate=gate, stream=True)
    events = stream.iter_lines()
    assert next(events) == b"data: 1"
    gate.wait_reached()
    assert [user.count(to=i % 2) for i in range(4)] == [2, 3, 4, 5]
    gate.open()
    assert [e for e in events if e] == [b"data: end"]
    assert user.count(to=1) == 6


def test_lock_wait_has_a_limit(cluster_of):
    c = cluster_of(options={"session.lock_wait": "300ms"})
    user = c.browser()
    user.count(to=0)
    gate = c.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    for to in (0, 1):  # behind it in the same lethe; at the lock in the store
        r = user.tab().get("counter.php", to=to)
        assert (r.status_code, r.headers["X-Lethe-Error"]) == (503, "session_locked")
        assert r.headers["Retry-After"] and "Set-Cookie" not in r.headers
    assert c.metric("lock_timeout") == 2
    gate.open()
    assert first.result() == 2
    assert user.count(to=1) == 3, "the ones that gave up have left nothing behind"


def test_client_that_leaves_the_line_leaves_nothing_behind(cluster):
    user = cluster.browser()
    user.count(to=0)
    gate = cluster.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    for to in (0, 1):
        try:
            user.tab().get("counter.php", to=to, timeout=0.3)
            raise AssertionError("it did not wait")
        except requests.exceptions.ReadTimeout:
            pass
    gate.open()
    assert first.result() == 2
    assert user.count(to=1) in (3, 4, 5)


def test_client_that_leaves_in_mid_request(cluster):
    """PHP finishes what it was told to do; the session is stored and the lock given back."""
    user = cluster.browser()
    user.count(to=0)
    gate = cluster.gate()
    gone = Background(user.tab().get, "counter.php", to=0, gate=gate, timeout=0.5)
    gate.wait_reached()
    assert isinstance(gone.error(), requests.exceptions.ReadTimeout)
    behind = Background(user.tab().count, to=1)
    gate.open()
    assert behind.result() == 3


def test_client_that_leaves_in_mid_answer(cluster):
    """The same with the answer half read."""
    user = cluster.browser()
    user.get("me.php", to=0)
    gate = cluster.gate()
    page = user.tab().get("stream.php", to=0, gate=gate, stream=True)
    assert page.raw.read(1000)
    gate.wait_reached()
    page.raw.close()
    page.close()
    behind = Background(user.tab().json, "get.php?key=after", to=1)
    gate.open()
    assert behind.result()["value"] == 1


@pytest.fixture
def app():
    with App() as a:
        yield a


def test_client_that_is_gone_when_its_answer_comes(lethe, app, tmp_path):
    """The answer's bytes are there before the news that nobody reads them: writing fails, the session is stored all the same."""
    (tmp_path / "sessions").mkdir()
    go_on, sent = threading.Event(), threading.Event()
    app.on("/login", answer(headers="Set-Cookie: PHPSESSID=abc; path=/\r\n"))

    @app.on("/long")
    def long(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n8000\r\n" + b"x" * 0x8000 + b"\r\n8000\r\n" + b"x" * 0x8000 + b"\r\n")
        assert go_on.wait(30)
        conn.send(b"4000\r\n" + b"y" * 0x4000 + b"\r\n0\r\n\r\n")
        sent.set()
    with Redis(tmp_path / "redis") as redis:
        r = lethe(app, {"files.profile": "php", "files.dir": tmp_path / "sessions"}, store=redis.url, keys=keys())
        token = r.get("/login").get("set-cookie").split(";")[0]
        with r.client() as c:
            c.send(f"GET /long HTTP/1.1\r\nHost: x\r\nCookie: {token}\r\n\r\n".encode())
            c.reader.head()
            while len(c.reader.buf) <= 0x10000:
                assert c.reader.fill()
            r.signal(signal.SIGSTOP)
            go_on.set()
            assert sent.wait(10)
            c.reset()
            r.signal(signal.SIGCONT)
        assert r.get("/after", f"Cookie: {token}\r\n").status == 200, "the lock was given back"
        assert app.seen("/after")[0].all("cookie") == ["PHPSESSID=abc"]


def test_long_request_keeps_its_lock(cluster_of):
    """The lease is renewed while the request runs: many times its length."""
    c = cluster_of(options={"session.lock_ttl": "300ms"})
    user = c.browser()
    user.count(to=0)
    gate = c.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    second = Background(user.tab().count, to=1)
    lock = [k for k in c.redis.keys("*:lock")]
    assert len(lock) == 1
    owner = c.redis.call("GET", lock[0])
    renewed = []

    def renewals():
        assert c.redis.call("GET", lock[0]) == owner and not second.done()
        left = c.redis.call("PTTL", lock[0])
        if renewed and left > renewed[-1]:
            renewals.n += 1
        renewed.append(left)
        return renewals.n >= 5
    renewals.n = 0
    wait_for(renewals, 20, "5 renewals of the lease")
    gate.open()
    assert first.result() == 2 and second.result() == 3


def test_holder_dies(cluster_of):
    """lethe is killed in mid-request: the client sees a broken connection, the next request goes on when the lease has ended."""
    c = cluster_of(options={"session.lock_ttl": "1s"})
    user = c.browser()
    assert [user.count(to=i % 2) for i in range(3)] == [1, 2, 3]
    gate = c.gate()
    first = Background(user.tab().count, to=0, gate=gate)
    gate.wait_reached()
    c.replicas[0].kill_lethe()
    assert isinstance(first.error(), requests.exceptions.ConnectionError)
    second = Background(user.tab().count, to=1)
    assert second.result() == 4, "what was not confirmed is not there, what was confirmed is"
    gate.open()  # PHP on replica 0 now writes its 4 into its own file
    c.replicas[0].start_lethe()
    c.replicas[0].wait_in_service()
    assert user.count(to=0) == 5
    assert user.count(to=1) == 6


def test_late_write_of_a_holder_that_lost_its_lease_is_refused(cluster_of):
    """lethe stands still (a paused machine) for longer than its lease. Somebody else goes on; what it then wants to write is refused and
    its client sees that."""
    c = cluster_of(options={"session.lock_ttl": "500ms"})
    user = c.browser()
    assert [user.count(to=i % 2) for i in range(3)] == [1, 2, 3]
    gate = c.gate()
    first = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    sleeper = c.replicas[0].lethe
    sleeper.signal(signal.SIGSTOP)
    try:
        assert user.tab().count(to=1) == 4
        assert user.tab().count(to=1) == 5
        gate.open()
    finally:
        sleeper.signal(signal.SIGCONT)
    r = first.result()
    assert (r.status_code, r.headers["X-Lethe-Error"]) == (503, "session_lease_lost")
    assert sleeper.metrics().get("lethe_sessions_total", event="fenced") == 1
    assert user.count(to=0) == 6 and user.count(to=1) == 7


def stand_still(c, page, data, meanwhile):
    """page on replica 0, whose lethe is stopped in mid-request for longer than its lease; meanwhile() runs on replica 1. The answer."""
    user = c.browser()
    user.login("alice", to=0)
    assert [user.count(to=i % 2) for i in range(2)] == [1, 2]
    gate = c.gate()
    tab = user.tab()
    first = Background(tab.ask, "POST", page, 0, data=data, gate=gate)
    gate.wait_reached()
    sleeper = c.replicas[0].lethe
    sleeper.signal(signal.SIGSTOP)
    try:
        meanwhile(user.tab())
        gate.open()
    finally:
        sleeper.signal(signal.SIGCONT)
    return user, tab, first.result()


@pytest.mark.parametrize("drop", ["true", "false"])
def test_late_rotation_of_a_holder_that_lost_its_lease_is_refused(cluster_of, drop):
    """A new id is a write like any other: it must not carry what somebody else has overtaken to a new token."""
    c = cluster_of(options={"session.lock_ttl": "500ms"})

    def count(tab):
        assert tab.count(to=1) == 3
    user, tab, r = stand_still(c, f"login.php?regenerate={drop}", {"name": "bob"}, count)
    assert (r.status_code, r.headers.get("X-Lethe-Error")) == (503, "session_lease_lost"), r.headers
    assert "Set-Cookie" not in r.headers and tab.token == user.token
    assert [user.count(to=i % 2) for i in range(2)] == [4, 5] and user.name(to=0) == "alice"


def test_late_rotation_after_a_logout_is_refused(cluster_of):
    c = cluster_of(options={"session.lock_ttl": "500ms"})

    def log_out(tab):
        assert tab.get("logout.php?cookie=expire", to=1).status_code == 200
    user, tab, _ = stand_still(c, "login.php?regenerate=false", {"name": "alice"}, log_out)
    for b in (user, tab):
        assert b.json("me.php", to=1)["n"] == 0, "a slow request has brought the session back under a new token"


def test_logout_while_the_holder_stood_still(cluster_of):
    """The same, with a logout in between: the late write must not bring the session back."""
    c = cluster_of(options={"session.lock_ttl": "500ms"})
    user = c.browser()
    user.login("alice", to=0)
    token = {TOKEN: user.token}
    gate = c.gate()
    first = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    sleeper = c.replicas[0].lethe
    sleeper.signal(signal.SIGSTOP)
    try:
        assert user.tab().get("logout.php?cookie=expire", to=1).status_code == 200
        gate.open()
    finally:
        sleeper.signal(signal.SIGCONT)
    first.result()
    for to in (0, 1):
        page = c.browser(cookies=token).json("me.php", to=to)
        assert (page["name"], page["n"], page["sent_id"]) == (None, 0, None)


def test_holders_php_dies(cluster_of):
    """PHP is killed in mid-request: 502, the lock is given back at once, the session is as it was."""
    cluster = cluster_of()
    r = cluster.replicas[0]
    user = cluster.browser()
    assert user.count(to=0) == 1
    gate = cluster.gate()
    first = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    r.php.kill9()
    answer = first.result()
    assert (answer.status_code, answer.headers["X-Lethe-Error"]) == (502, "upstream_closed")
    assert user.count(to=1) == 2
    assert user.get("me.php", to=0).status_code == 502
    r.php.start()
    assert user.count(to=0) == 3
