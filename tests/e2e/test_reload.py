# SPDX-License-Identifier: Apache-2.0
"""Reloads under load: none of them loses a request or a session, a bad one changes nothing and says what is wrong."""
import signal

import pytest
from load_rig import Posts, Users
from session_rig import cluster_of_fixture

from rig import App, Client, Lethe, run_cli, wait_for

__all__ = ["cluster_of_fixture"]


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        yield app


def write(path, text):
    path.write_text(text)
    return str(path)


def ask(lethe):
    with Client(lethe.admin) as c:
        return c.ask(b"POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_a_thousand_reloads_of_a_replica_with_sessions(cluster_of):
    cluster = cluster_of(replicas=1, workers=2)
    lethe = cluster.replicas[0].lethe
    with Users(cluster, 4, to=0) as users:
        for i in range(1000):
            r = ask(lethe)
            assert (r.status, r.body) == (200, b"reloaded\n"), (i, r, r.body)
        users.more()
    users.check()
    assert len(lethe.events("reloaded")) == 1000 and users.done > 100


@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_a_restart_instead_of_a_reload_loses_requests(cluster_of):
    """The negative control."""
    cluster = cluster_of(replicas=1, workers=2)
    replica = cluster.replicas[0]
    with Users(cluster, 4, to=0) as users:
        def lost_some():
            replica.kill_lethe()
            replica.start_lethe()
            return users.failed
        wait_for(lost_some, 60, "requests that the restart broke")


@pytest.mark.slow
def test_each_takes_effect_before_it_is_answered(app, tmp_path):
    conf = tmp_path / "lethe.conf"
    with App() as other:
        other.on("/who", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        app.on("/who", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfirst")
        write(conf, f'upstream = "{app.address}";\n')
        with Lethe(config=conf, workers=3) as lethe, Posts(lethe.address) as posts:
            for i in range(50):
                write(conf, f'upstream = "{(other if i % 2 == 0 else app).address}";\n')
                assert ask(lethe).status == 200
                assert {lethe.get("/who").body for _ in range(6)} == {b"other" if i % 2 == 0 else b"first"}
        posts.check()


def test_a_bad_one_is_refused_and_says_why(app, tmp_path):
    conf = tmp_path / "lethe.conf"
    write(conf, f'upstream = "{app.address}";\n')
    with Lethe(config=conf, workers=2) as lethe, Posts(lethe.address) as posts:
        for _ in range(20):
            write(conf, f'upstream = "{app.address}";\ntimeouts: {{ idle = "30"; }};\n')
            r = ask(lethe)
            assert r.status == 409 and b'"30" has no unit' in r.body
            done = run_cli("reload", "--admin", lethe.admin)
            assert done.returncode == 1 and "has no unit" in done.stderr
        write(conf, f'upstream = "{app.address}";\n')
        done = run_cli("reload", "-c", conf, "--admin", lethe.admin)
        assert done.returncode == 0, done.stderr
        posts.more()
    posts.check()


def test_signals_and_commands_at_once(app, tmp_path):
    """Each command gets an answer, whoever else asks."""
    conf = write(tmp_path / "lethe.conf", f'upstream = "{app.address}";\n')
    with Lethe(config=conf, workers=2) as lethe, Posts(lethe.address) as posts:
        for _ in range(30):
            lethe.signal(signal.SIGHUP)
            assert ask(lethe).status == 200
    posts.check()
