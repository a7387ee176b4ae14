# SPDX-License-Identifier: Apache-2.0
"""Replicas with sessions that end: one after the other behind a balancer under load, and in the middle of a request. With kill -9 requests
fail, and a session stays locked."""
import signal

import pytest
from load_rig import Users
from session_rig import Background, cluster_of_fixture

from rig import run_cli, wait_for

__all__ = ["cluster_of_fixture"]
# The balancer probes every 100 ms.
OPTIONS = {"timeouts.drain_quiet": "500ms", "timeouts.drain": "20s"}


def drain(replica, how):
    if how == "signal":
        replica.lethe.signal(signal.SIGTERM)
    else:
        done = run_cli("drain", "--admin", replica.admin)
        assert done.returncode == 0, done.stderr
    assert replica.lethe.process.wait(60) == 0
    assert replica.lethe.events("ended") and not replica.lethe.events("forced_end")


@pytest.mark.slow
@pytest.mark.watchdog(170)
@pytest.mark.parametrize("how", ["signal", "command"])
def test_rolling_restart(cluster_of, how):
    cluster = cluster_of(replicas=3, options=OPTIONS, workers=2)
    with Users(cluster, 6) as users:
        for r in cluster.replicas:
            drain(r, how)
            cluster.wait_balancer(2)
            users.more(30)
            r.start_lethe()
            cluster.wait_balancer(3)
            users.more(30)
    users.check()


@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_without_the_drain_requests_fail(cluster_of):
    """The negative control: the same with kill -9."""
    cluster = cluster_of(replicas=3, options=OPTIONS, workers=2)
    with Users(cluster, 6) as users:
        def lost_some():
            for r in cluster.replicas:
                r.kill_lethe()
                cluster.wait_balancer(2)
                r.start_lethe()
                cluster.wait_balancer(3)
                users.more(10)
            return users.failed
        wait_for(lost_some, 120, "requests that kill -9 broke")


def stands_at_a_gate(cluster):
    """A user whose request stands in replica 0, its session locked for a minute."""
    user = cluster.browser()
    assert user.count(0) == 1
    gate = cluster.gate()
    call = Background(user.tab().get, "/count", 0, gate=gate)
    gate.wait_reached()
    return user, gate, call


LOCKED = {"session.lock_ttl": "60s", "session.lock_wait": "500ms"}


def test_a_session_is_committed_and_unlocked(cluster_of):
    cluster = cluster_of(replicas=2, options=LOCKED)
    user, gate, call = stands_at_a_gate(cluster)
    lethe = cluster.replicas[0].lethe
    lethe.signal(signal.SIGTERM)
    lethe.wait_event("closing")
    gate.open()
    assert call.result().status_code == 200
    assert lethe.process.wait(20) == 0
    assert user.count(1) == 3


def test_a_request_that_is_cut_gives_its_lock_back(cluster_of):
    cluster = cluster_of(replicas=2, options={**LOCKED, "timeouts.drain": "300ms"})
    user, _, call = stands_at_a_gate(cluster)
    lethe = cluster.replicas[0].lethe
    lethe.signal(signal.SIGTERM)
    assert lethe.process.wait(20) == 0
    assert lethe.events("forced_end") and lethe.events("ended")
    assert call.error() is not None
    assert user.count(1) == 2  # what the request did was not confirmed, and does not count


def test_killed_it_stays_locked(cluster_of):
    """The negative control of both."""
    cluster = cluster_of(replicas=2, options=LOCKED)
    user, _, call = stands_at_a_gate(cluster)
    cluster.replicas[0].kill_lethe()
    assert call.error() is not None
    assert user.get("/count", 1).status_code == 503
