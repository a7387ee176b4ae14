# SPDX-License-Identifier: Apache-2.0
"""Sessions with php-fpm behind nginx: connections are kept, PHP is an ordinary user, and fastcgi_finish_request() ends an answer long
before its session is written."""
import os
import pwd
import shutil
import tempfile

import pytest
from session_fpm import USER, Fpm
from session_rig import Background, Cluster
from test_session_survival import count_alternating, count_in_parallel, set_and_follow

from rig import wait_for


def make(directory, **how):
    def php(cluster, index):
        place = os.path.join(cluster.dir, f"replica{index}")
        return Fpm(os.path.join(place, "run"), os.path.join(place, "sessions"), {"REPLICA": str(index)},
                   buffering=index == 0)
    return Cluster(directory, php=php, **how)


def _cluster(**how):
    directory = tempfile.mkdtemp(prefix="lt-fpm-")
    os.chmod(directory, 0o755)
    c = make(directory, **how)
    try:
        yield c.start()
    finally:
        c.stop()
        shutil.rmtree(directory)


@pytest.fixture(scope="module")
def fpm():
    """Two replicas, the second with nginx's buffering off."""
    yield from _cluster()


@pytest.fixture(scope="module")
def bare_fpm():
    yield from _cluster(lethe=False)


def test_counter(fpm):
    counts, replicas, name = count_alternating(fpm, 100)
    assert counts == list(range(1, 101)) and name == "alice" and replicas.count("0") == 50


def test_counter_fails_without_lethe(bare_fpm):
    assert count_alternating(bare_fpm, 10)[0] != list(range(1, 11))


def test_redirects(fpm):
    assert set_and_follow(fpm, 20) == [f"value{i}" for i in range(20)]


def test_parallel(fpm):
    assert count_in_parallel(fpm, 30) == (list(range(1, 31)), 30)


def test_files_belong_to_the_application(fpm):
    user = fpm.browser()
    assert user.count(to=0) == 1 and user.count(to=1) == 2
    owner = pwd.getpwnam(USER).pw_uid
    states = [os.stat(path) for path in fpm.session_files()]
    assert states and {s.st_uid for s in states} == {owner} and {s.st_mode & 0o777 for s in states} == {0o600}


@pytest.mark.parametrize("to", [0, 1])
def test_finished_answer_waits_for_its_session(fpm, to):
    user = fpm.browser()
    user.count(to=0)
    gate = fpm.gate()
    first = Background(user.tab().get, "late.php?how=finish", to=to, gate=gate)
    gate.wait_reached()
    waited = fpm.metric("lock_waited")
    second = Background(user.tab().count, to=1 - to)
    wait_for(lambda: fpm.metric("lock_waited") > waited or second.done(), 10, "the second request in line")
    assert not first.done() and not second.done()
    gate.open()
    assert first.result().json() == {"n": 2}
    assert second.result() == 3


def test_finished_answer_does_not_wait_without_lethe(bare_fpm):
    user = bare_fpm.browser()
    user.count(to=0)
    gate = bare_fpm.gate()
    first = Background(user.tab().get, "late.php?how=finish", to=0, gate=gate)
    gate.wait_reached()
    assert first.result().json() == {"n": 2}  # while PHP stands at the gate
    gate.open()


@pytest.mark.parametrize("page", ["late.php?how=finish", "late.php?how=flush", "stream.php"])
def test_late_writes_are_seen_by_the_next_request(fpm, page):
    user = fpm.browser()
    user.get("me.php", to=0)
    for i in range(20):
        assert user.get(page, to=i % 2).status_code == 200
        assert user.json("me.php", to=1 - i % 2)["n"] == i + 1


def test_fpm_dies_in_mid_request(fpm):
    user = fpm.browser()
    assert user.count(to=0) == 1
    gate = fpm.gate()
    first = Background(user.tab().get, "counter.php", to=0, gate=gate)
    gate.wait_reached()
    fpm.replicas[0].php.fpm.kill9()
    try:
        assert first.result().status_code == 502
        assert user.count(to=1) == 2
    finally:
        fpm.replicas[0].php.fpm.start()
    assert user.count(to=0) == 3
