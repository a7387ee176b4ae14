# SPDX-License-Identifier: Apache-2.0
"""Sessions over HTTP/2: two replicas with PHP's session files, Redis, and one connection to each replica that carries all requests. Where a
test is about what survives, its control speaks HTTP/1.1 to the same two replicas without lethe."""
import contextlib
import json
import os

import pytest
from h2_rig import H2
from session_rig import TOKEN, bare_fixture, cluster_fixture  # noqa: F401

from rig import wait_for

FORM = ("content-type", "application/x-www-form-urlencoded")
PARALLEL = 8


class User:
    """A browser that holds one connection to each replica."""

    def __init__(self, cluster, stack):
        self.cookies = {}
        self.to = [stack.enter_context(H2(r.address)) for r in cluster.replicas]

    def send(self, to, path, body=None, end=True):
        """A request that is under way: its connection and its stream's number."""
        crumbs = [("cookie", f"{k}={v}") for k, v in self.cookies.items()]  # one field each, as browsers do (RFC 9113 section 8.2.3)
        fields = crumbs if body is None else [*crumbs, FORM]
        return self.to[to], self.to[to].request(path, fields, method="GET" if body is None else "POST", body=body, end=end)

    def take(self, connection, stream):
        s = connection.response(stream)
        assert s.ended and s.headers, s
        for name, value in s.headers:
            if name == "set-cookie":
                self.cookies.update([value.partition(";")[0].split("=", 1)])
        return s

    def ask(self, to, path, body=None):
        return self.take(*self.send(to, path, body))

    def json(self, to, path, body=None):
        s = self.ask(to, path, body)
        assert s.status == 200, s
        return json.loads(s.body)


@pytest.fixture(name="user")
def fixture_user(cluster):
    with contextlib.ExitStack() as stack:
        yield User(cluster, stack)


def waited(cluster):
    return cluster.metric("lock_waited")


def test_a_login_and_two_replicas_in_turn(cluster, user):
    assert user.json(0, "/login.php", b"name=alice")["name"] == "alice"
    assert list(user.cookies) == [TOKEN]
    seen = [user.json(i % 2, "/counter.php") for i in range(20)]
    assert [s["n"] for s in seen] == list(range(1, 21)) and {s["name"] for s in seen} == {"alice"}
    assert [s["replica"] for s in seen] == ["0", "1"] * 10
    assert len({s["id"] for s in seen}) == 1 and seen[0]["id"] != user.cookies[TOKEN]


def test_a_login_and_two_replicas_in_turn_without_lethe(bare):
    browser = bare.browser()
    browser.login("alice", to=0)
    seen = [browser.json("counter.php", to=i % 2) for i in range(4)]
    assert [s["n"] for s in seen] != [1, 2, 3, 4]


@pytest.mark.parametrize("replicas", [[0], [0, 1]])
def test_parallel_streams_of_one_session_keep_all(cluster, user, replicas):
    """Eight increments that all read before the first has written, were it not for the lock: the first stands at a gate."""
    user.json(0, "/me.php")
    before, gate = waited(cluster), cluster.gate()
    asked = [user.send(0, f"/counter.php?gate={gate.path}")]
    gate.wait_reached()
    asked += [user.send(replicas[i % len(replicas)], "/counter.php") for i in range(1, PARALLEL)]
    wait_for(lambda: waited(cluster) >= before + PARALLEL - 1, 10, "all of them in line")
    for connection in user.to:
        connection.ping()  # the connection is not held up by its streams
    gate.open()
    assert sorted(json.loads(user.take(*each).body)["n"] for each in asked) == list(range(1, PARALLEL + 1))
    assert user.json(1, "/me.php")["n"] == PARALLEL


def test_parallel_requests_of_one_session_lose_some_without_lethe(bare):
    """The replica that is asked at the end knows its own only."""
    browser = bare.browser()
    browser.get("me.php", to=0)
    for i in range(PARALLEL):
        browser.tab().count(to=i % 2)
    assert browser.json("me.php", to=1)["n"] < PARALLEL


def test_others_go_on_beside_a_stream_that_waits(cluster, user):
    """A stream in line for its session's lock holds up neither other sessions nor requests without one on the same connection."""
    user.json(0, "/me.php")
    gate, before = cluster.gate(), waited(cluster)
    first = user.send(0, f"/counter.php?gate={gate.path}")
    gate.wait_reached()
    second = user.send(0, "/counter.php")
    wait_for(lambda: waited(cluster) > before, 10, "the second one in line")
    c = user.to[0]
    for _ in range(3):
        s = c.get("/counter.php")  # no cookie: a session of its own
        assert s.status == 200 and json.loads(s.body)["n"] == 1
        assert c.get("/style.css").status == 200
    assert not c.streams[first[1]].over and not c.streams[second[1]].over
    gate.open()
    assert [json.loads(user.take(*each).body)["n"] for each in (first, second)] == [1, 2]


def test_a_redirect_comes_behind_the_commit(cluster, user):
    """A browser follows a redirect as soon as its head is there: the other replica knows by then, every time."""
    user.json(0, "/me.php")
    found = []
    for i in range(20):
        connection, stream = user.send(i % 2, "/set.php", f"key=v&value=value{i}".encode())
        s = connection.streams[stream]
        connection.until(lambda s=s: s.headers, what="the redirect's head")
        assert s.status == 302
        found.append(user.json(1 - i % 2, s.get("location"))["value"])
    assert found == [f"value{i}" for i in range(20)]


def written(replica):
    """All that its session files say."""
    text = ""
    for name in replica.files():
        with contextlib.suppress(FileNotFoundError), open(os.path.join(replica.sessions, name), encoding="latin-1") as f:
            text += f.read()
    return text


def test_a_redirect_waits_for_the_store(cluster, user):
    """No head while the store does not answer, though the application has said all; the connection carries another request meanwhile."""
    user.json(0, "/me.php")
    gate = cluster.gate()
    connection, stream = user.send(0, f"/login.php?to=/me.php&gate={gate.path}", b"name=bob")
    gate.wait_reached()
    cluster.redis.pause()
    try:
        gate.open()
        wait_for(lambda: "bob" in written(cluster.replicas[0]), 10, "PHP has ended and written")
        assert connection.get("/style.css").status == 200
        assert connection.streams[stream].headers is None, connection.streams[stream]
    finally:
        cluster.redis.resume()
    s = user.take(connection, stream)
    assert s.status == 302 and user.json(1, s.get("location"))["name"] == "bob"


@pytest.mark.parametrize("code", ["CANCEL", "PROTOCOL_ERROR"])
def test_a_reset_in_mid_request_does_not_lose_the_commit(cluster, user, code):
    """The application works on (PHP does not see its client leave before it writes), so what it did is in the session."""
    user.json(0, "/me.php")
    gate = cluster.gate()
    connection, stream = user.send(0, f"/counter.php?gate={gate.path}")
    gate.wait_reached()
    connection.cancel(stream, code).ping()
    gate.open()
    assert user.json(1, "/counter.php")["n"] == 2
    assert user.json(0, "/counter.php")["n"] == 3


def test_a_connection_that_is_cut_does_not_lose_the_commit(cluster, user):
    """With several streams on it: one at work, others in line, which never run."""
    user.json(0, "/me.php")
    before, gate = waited(cluster), cluster.gate()
    connection, _ = user.send(0, f"/counter.php?gate={gate.path}")
    gate.wait_reached()
    for _ in range(3):
        user.send(0, "/counter.php")
    wait_for(lambda: waited(cluster) >= before + 3, 10, "three in line")
    connection.close()
    wait_for(lambda: cluster.replicas[0].lethe.metrics().get("lethe_client_connections") == 0, 10, "lethe has seen it")
    gate.open()
    assert user.json(1, "/counter.php")["n"] == 2


def test_a_reset_in_line_leaves_nothing_behind(cluster, user):
    user.json(0, "/me.php")
    before, gate = waited(cluster), cluster.gate()
    first = user.send(0, f"/counter.php?gate={gate.path}")
    gate.wait_reached()
    line = [user.send(0, "/counter.php") for _ in range(4)]
    wait_for(lambda: waited(cluster) >= before + 4, 10, "four in line")
    for connection, stream in line[::2]:
        connection.cancel(stream)
    user.to[0].ping()
    gate.open()
    assert json.loads(user.take(*first).body)["n"] == 1
    assert [json.loads(user.take(*each).body)["n"] for each in line[1::2]] == [2, 3]
    assert user.json(1, "/me.php")["n"] == 3
