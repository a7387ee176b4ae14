# SPDX-License-Identifier: Apache-2.0
"""What an application writes behind its answer, and what a crash of lethe leaves between the application's write and the commit."""
import os

import pytest
from session_rig import Background, cluster_of_fixture  # noqa: F401
from test_session_fpm import bare_fpm, fpm  # noqa: F401

from rig import wait_for


def late_total(cluster):
    return sum(r.lethe.metrics().get("lethe_session_files_total", event="late") for r in cluster.replicas)


# --- behind the answer ---

def count_behind(cluster, user, to, released=True):
    """A page that counts only behind its answer; the answer comes while PHP stands at the gate."""
    gate = cluster.gate()
    r = user.get("behind.php", to=to, gate=gate)
    assert r.status_code == 200
    if released:
        gate.open()
    return gate


def test_session_opened_again_behind_the_answer(fpm):
    user = fpm.browser()
    user.count(to=0)
    for i in range(6):
        before = late_total(fpm)
        count_behind(fpm, user, to=i % 2)
        wait_for(lambda: late_total(fpm) == before + 1, 10, "the late write in the store")
        assert user.json("me.php", to=1 - i % 2)["n"] == i + 2


def test_it_is_lost_without_lethe(bare_fpm):
    user = bare_fpm.browser()
    user.count(to=0)
    count_behind(bare_fpm, user, to=0)
    wait_for(lambda: user.json("me.php", to=0)["n"] == 2, 10)
    assert user.json("me.php", to=1)["n"] == 0


def test_whoever_worked_on_the_session_since_counts(fpm):
    user = fpm.browser()
    user.count(to=0)
    gate = count_behind(fpm, user, to=0, released=False)
    assert user.count(to=1) == 2
    lost = fpm.replicas[0].lethe.metrics().sum("lethe_sessions_lost_total")
    gate.open()
    wait_for(lambda: fpm.replicas[0].lethe.metrics().sum("lethe_sessions_lost_total") == lost + 1, 10, "the late write, counted as lost")
    assert fpm.replicas[0].lethe.metrics().get("lethe_sessions_lost_total", reason="late_write", route="/behind.php") >= 1
    assert [user.count(to=i % 2) for i in range(4)] == [3, 4, 5, 6]


def test_a_logout_stays_one(fpm):
    user = fpm.browser()
    user.count(to=0)
    gate = count_behind(fpm, user, to=0, released=False)
    copy = user.tab()
    user.post("logout.php", {}, to=1)
    gate.open()
    files = [os.path.join(fpm.replicas[0].sessions, f) for f in fpm.replicas[0].files()]
    assert files
    for i in range(4):
        assert copy.json("me.php", to=i % 2)["n"] == 0


# --- before the end of the answer ---

def test_closed_session_is_free_while_the_answer_goes_on(cluster_of):
    """session_write_close(), then a long download: the next request need not wait for its end."""
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1
    gate = c.gate()
    first = Background(user.tab().json, "early.php?flush=1", to=0, gate=gate)
    gate.wait_reached()
    assert [user.count(to=1), user.count(to=0)] == [3, 4]
    assert not first.done()
    gate.open()
    assert first.result()["n"] == 2
    assert user.count(to=1) == 5


def test_open_session_is_not(cluster_of):
    """The same with a session that stays open behind the first bytes: the next request waits, as it would in PHP alone."""
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1
    gate = c.gate()
    first = Background(user.tab().get, "stream.php", to=0, gate=gate)
    gate.wait_reached()
    second = Background(user.tab().count, to=1)
    wait_for(lambda: c.metric("lock_waited") == 1 or second.done(), 10)
    assert not second.done()
    gate.open()
    assert first.result().status_code == 200 and second.result() == 3


# --- a crash ---

def stop_before_commit(cluster, user, to):
    """A request whose application has written while Redis is away: lethe waits with the commit, and dies."""
    gate = cluster.gate()
    first = Background(user.tab().get, "counter.php", to=to, gate=gate)
    gate.wait_reached()
    cluster.redis.kill9()
    written = len(cluster.replicas[to].files())
    gate.open()
    assert written
    path = os.path.join(cluster.replicas[to].sessions, cluster.replicas[to].files()[0])

    def has_written():
        with open(path, encoding="utf-8") as f:
            return "n|i:2" in f.read()
    wait_for(has_written, 10, "the application's write")
    cluster.replicas[to].kill_lethe()
    cluster.redis.start()
    return first


@pytest.mark.parametrize("back_on", [0, 1])
def test_crash_between_write_and_commit(cluster_of, back_on):
    """The same replica takes what the application has left, if nobody else was faster; another one goes on with what is stored. Never
    a mix, and never a step back behind what was confirmed."""
    c = cluster_of(persistence="aof", options={"session.lock_ttl": "1s", "session.store_timeout": "5s"})
    user = c.browser()
    assert user.count(to=0) == 1
    first = stop_before_commit(c, user, 0)
    assert first.error() is not None, "the client has seen no end of an answer"
    c.replicas[0].start_lethe()
    c.wait_balancer(2)
    seen = [user.count(to=back_on if i == 0 else i % 2) for i in range(5)]
    assert seen == ([3, 4, 5, 6, 7] if back_on == 0 else [2, 3, 4, 5, 6])
    recovered = c.replicas[0].lethe.metrics().get("lethe_session_files_total", event="recovered")
    assert recovered == (1 if back_on == 0 else 0)


# --- what does not belong into the directory ---

@pytest.mark.parametrize("kind", ["symlink", "hard link", "fifo", "foreign"])
def test_foreign_files_are_refused(cluster_of, tmp_path, kind):
    if kind == "foreign" and os.geteuid() != 0:
        pytest.skip("makes a file of another user")
    c = cluster_of()
    user = c.browser()
    assert user.count(to=0) == 1
    (name,) = c.replicas[0].files()
    path = os.path.join(c.replicas[1].sessions, name)
    secret = tmp_path / "secret"
    secret.write_text("not a session")
    if kind == "symlink":
        os.symlink(secret, path)
    elif kind == "hard link":
        os.link(secret, path)
    elif kind == "fifo":
        os.mkfifo(path)
    else:
        with open(path, "w", encoding="ascii") as f:
            f.write("n|i:1000;")
        os.chown(path, 12345, 12345)
    r = user.get("counter.php", to=1)
    assert (r.status_code, r.headers["X-Lethe-Error"]) == (503, "session_file_refused")
    (event,) = wait_for(lambda: c.replicas[1].lethe.events("session_file_refused"), 10)
    assert "remove it from files.dir" in event["do"]
    assert c.replicas[1].lethe.metrics().get("lethe_session_files_total", event="refused") == 1
    assert secret.read_text() == "not a session"
    os.unlink(path)
    assert [user.count(to=i) for i in (1, 0, 1)] == [2, 3, 4], "nobody was logged out"


def test_a_cleaner_between_requests_is_no_logout(cluster_of):
    c = cluster_of()
    user = c.browser()
    assert [user.count(to=i % 2) for i in range(4)] == [1, 2, 3, 4]
    for path in c.session_files():
        os.unlink(path)
    assert [user.count(to=i % 2) for i in range(4)] == [5, 6, 7, 8]


# --- custom ---

def test_custom_profile_with_two_files_a_session(lethe, tmp_path):
    """Patterns with directories, two files: both are carried; removing the first ends the session."""
    from rig import Redis
    from rig.origin import answer
    from session_rig import keys
    import rig
    folders = [tmp_path / "a", tmp_path / "b"]
    for f in folders:
        f.mkdir()

    def app(folder):
        def serve(conn):
            while (request := conn.request()):
                sid = dict(p.split("=", 1) for p in (request.get("Cookie") or "").split("; ") if "=" in p).get("sid")
                headers = "" if sid else "Set-Cookie: sid=abcdef\r\n"
                sid = sid or "abcdef"
                first, second = folder / sid[:1] / sid[:2] / f"{sid}.cache", folder / f"{sid}.meta"
                os.makedirs(first.parent, exist_ok=True)
                n = int(first.read_text()) if first.exists() else 0
                m = int(second.read_text()) if second.exists() else 0
                if request.target == "/out":
                    first.unlink()
                else:
                    for path, value in ((first, n + 1), (second, m + 10)):
                        (folder / "new").write_text(str(value))
                        os.rename(folder / "new", path)
                conn.send(answer(f"{n + 1},{m + 10}", headers=headers))
        return serve
    with Redis(tmp_path / "r") as redis:
        origins = [rig.Origin(app(f)) for f in folders]
        ls = [lethe(o, {"store": redis.url, "keys": keys(), "files.profile": "custom", "files.dir": str(f), "files.cookie": "sid",
                        "session.cookies": "sid", "files.patterns": "{1}/{2}/{id}.cache,{id}.meta", "files.barrier": "rename"})
              for o, f in zip(origins, folders)]
        clients = [rig.Client(l.address) for l in ls]
        r = clients[0].get("/")
        token = r.get("Set-Cookie").split(";")[0]
        assert r.body == b"1,10"
        seen = [clients[i % 2].get("/", f"Cookie: {token}\r\n").body for i in range(1, 6)]
        assert seen == [b"2,20", b"3,30", b"4,40", b"5,50", b"6,60"]
        clients[0].get("/out", f"Cookie: {token}\r\n")
        r = clients[1].get("/", f"Cookie: {token}\r\n")
        assert "lethe=" in r.get("Set-Cookie", "") and token not in r.get("Set-Cookie")
        for c in clients:
            c.close()
        for o in origins:
            o.stop()
