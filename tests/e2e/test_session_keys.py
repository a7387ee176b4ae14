# SPDX-License-Identifier: Apache-2.0
"""The key ring: out of several files, noticed when it changes, and replaced on replicas one after the other under load without one lost
session (docs/keys.md)."""
import os
import signal
import threading
import time

import pytest
from held_rig import Echo, User

from rig import Redis, run_cli, wait_for

STORES = ["sealed", "jwt", "redis"]


def key():
    return run_cli("keygen").stdout.strip()


@pytest.fixture(name="app", scope="module")
def app_fixture():
    with Echo() as a:
        yield a


def replace(path, *lines):
    """As a careful administrator does it, and as Kubernetes does."""
    new = f"{path}.new"
    with open(new, "w", encoding="ascii") as f:
        f.write("".join(f"{line}\n" for line in lines))
    os.rename(new, path)


def check(option, tmp_path):
    return run_cli("check", "--upstream=127.0.0.1:1", f"--keys={option}", cwd=str(tmp_path))


def test_several_files_and_a_directory(lethe, app, tmp_path):
    a, b, c = key(), key(), key()
    replace(tmp_path / "a", "# the newest", a)
    replace(tmp_path / "b", b, c)
    mounted = tmp_path / "mounted"
    mounted.mkdir()
    (mounted / "..2026").mkdir()  # a mounted secret: links to files below a hidden link to a hidden directory
    replace(mounted / "..2026" / "20-old", b)
    replace(mounted / "..2026" / "10-new", a)
    os.symlink("..2026", mounted / "..data")
    for name in ("10-new", "20-old"):
        os.symlink(f"..data/{name}", mounted / name)
    of_a, of_b = [User(lethe(app, {"keys": k})).login(v) for k, v in ((a, "one"), (b, "two"))]
    for option in (f"file:{tmp_path}/a,file:{tmp_path}/b", f"dir:{mounted}", f"file:{tmp_path}/a {b}", f"{a},file:{tmp_path}/b"):
        r = lethe(app, {"keys": option})
        assert of_a.session(lethe=r) == "one" and of_b.session(lethe=r) == "two", option
        fresh = User(r).login("three")
        assert fresh.session(lethe=of_a.lethe) == "three" and fresh.session(lethe=of_b.lethe) is None, f"the first one seals: {option}"


@pytest.mark.parametrize("option, words", [
    ("file:/none", "/none: No such file"), ("dir:/none", "/none: No such file"), ("file:{d}/empty", "empty: there is no key"),
    ("dir:{d}/void", "void: there is no file with a key"), ("file:{d}/bad", 'bad: key 2 has no ":"'),
    ("file:{d}/good,file:{d}/good", "good: key 1 has the id of an earlier one"), ("file:{d}/good,nonsense", 'has no ":"'), ("dir:{d}/good", "Not a directory"),
])
def test_findings(tmp_path, option, words):
    (tmp_path / "void").mkdir()
    good = key()
    replace(tmp_path / "good", good)
    replace(tmp_path / "empty", "# nothing")
    replace(tmp_path / "bad", key(), "secret-with-a-slip")
    done = check(option.format(d=tmp_path), tmp_path)
    assert done.returncode == 2 and words in done.stderr, done.stderr
    assert "secret" not in done.stderr.replace("id:secret", "") and good.split(":")[1] not in done.stderr


def test_a_changed_file_is_noticed_and_a_bad_one_changes_nothing(lethe, app, tmp_path):
    old, new = key(), key()
    ring = tmp_path / "ring"
    replace(ring, old)
    r = lethe(app, {"keys": f"file:{ring}"})
    only_new = lethe(app, {"keys": new})
    user = User(r).login()
    replace(ring, "broken")
    r.wait_event("reload_failed")
    assert user.session() == "one"
    os.unlink(ring)
    r.wait_event("reload_failed", count=2)
    assert user.session() == "one"
    replace(ring, new, old)
    r.wait_event("reloaded")
    fresh = User(r)
    wait_for(lambda: fresh.login("two").session(lethe=only_new) == "two", 5, "the new one seals")
    assert user.session() == "one"


def test_sighup_reads_it_at_once(lethe, app, tmp_path):
    old, new = key(), key()
    ring = tmp_path / "ring"
    replace(ring, old)
    r, only_new = lethe(app, {"keys": f"file:{ring}"}), lethe(app, {"keys": new})
    began = time.monotonic()
    replace(ring, new)
    r.signal(signal.SIGHUP)
    r.wait_event("reloaded")
    assert time.monotonic() - began < 1.5, "sooner than the look at the files"
    fresh = User(r)
    wait_for(lambda: fresh.login("two").session(lethe=only_new) == "two", 5, "the new one seals")


def test_a_written_record_is_sealed_under_the_new_key(lethe, app, tmp_path):
    with Redis(tmp_path / "redis") as redis:
        old, new = key(), key()
        before, both, after = [lethe(app, {"keys": k, "store": redis.url}) for k in (old, f"{new},{old}", new)]
        user = User(before).login()
        assert user.session(lethe=both) == "one"
        page = user.ask(lethe=after)
        assert (page.status, page.error) == (503, "session_unreadable"), "read only: it is as it was; and no logout"
        user.ask(["rack.session=more; path=/"], lethe=both)
        page = user.ask(lethe=after)
        assert page.session() == "one" and "rack.session=more" in page.cookie
        assert user.ask(lethe=before).status == 503


class Users:
    """Log in, ask through all replicas in turn, and log in anew when the absolute limit comes near. A session that is younger and not
    there is lost."""

    LIMIT, MARGIN = 3.0, 0.8

    def __init__(self, replicas, n=4):
        self.replicas, self.stopping, self.lost, self.broken, self.asked = replicas, threading.Event(), [], [], 0
        self.threads = [threading.Thread(target=self._guarded, args=(f"u{i}",), daemon=True) for i in range(n)]
        for t in self.threads:
            t.start()

    def _guarded(self, name):
        try:
            self._run(name)
        except Exception as e:  # a user who has left sees no loss: the test must not pass on his silence
            self.broken.append(f"{name}: {e!r}")

    def _run(self, name):
        turn = 0
        while not self.stopping.is_set():
            name = f"{name.split('-')[0]}-{turn}"
            user, began = User(self.replicas[turn % len(self.replicas)]), time.monotonic()
            user.login(name)
            while time.monotonic() - began < self.LIMIT - self.MARGIN and not self.stopping.is_set():
                turn += 1
                page = user.ask(["rack.session=%d; path=/" % turn] if turn % 3 == 0 else [], lethe=self.replicas[turn % len(self.replicas)])
                self.asked += 1
                if page.status != 200 or page.session() != name:
                    self.lost.append((name, page.status, page.error, page.cookie))
                self.stopping.wait(0.005)

    def stop(self):
        self.stopping.set()
        for t in self.threads:
            t.join(20)
        assert not self.broken, self.broken[:3]

    def wait_more(self, n):
        before = self.asked
        wait_for(lambda: self.lost or self.asked >= before + n, 20, f"{n} more requests")
        assert not self.lost, self.lost[:3]


def roll_out(replicas, rings, *lines, users):
    """One replica after the other, with load between, so that they hold different rings for a while."""
    for r, ring in zip(replicas, rings):
        count = len(r.events("reloaded"))
        replace(ring, *lines)
        r.signal(signal.SIGHUP)
        r.wait_event("reloaded", count=count + 1)
        users.wait_more(60)


def stage(lethe, app, tmp_path, store, first):
    rings = [tmp_path / "ring0", tmp_path / "ring1"]
    for ring in rings:
        replace(ring, first)
    # mounted files are looked at, too: the same ring twice does no harm
    return [lethe(app, {"keys": f"file:{ring}", "store": store, "session.absolute_ttl": "3s"}) for ring in rings], rings


@pytest.mark.parametrize("store", STORES)
def test_keys_are_replaced_under_load_without_one_lost_session(lethe, app, tmp_path, store):
    redis = Redis(tmp_path / "redis") if store == "redis" else None
    old, new = key(), key()
    replicas, rings = stage(lethe, app, tmp_path, redis.url if redis else store, old)
    users = Users(replicas)
    try:
        users.wait_more(60)
        roll_out(replicas, rings, old, new, users=users)  # behind: everybody can open it
        roll_out(replicas, rings, new, old, users=users)  # in front: it seals
        done = time.monotonic() + Users.LIMIT
        wait_for(lambda: users.lost or time.monotonic() > done, 10, "the absolute limit")
        roll_out(replicas, rings, new, users=users)  # what the old one has sealed is over
    finally:
        users.stop()
        if redis:
            redis.stop()
    assert not users.lost, users.lost[:3]


@pytest.mark.parametrize("store", ["sealed", "redis"])
def test_a_new_key_in_front_at_once_loses_sessions(lethe, app, tmp_path, store):
    """The negative control: without the first step, the other replica cannot open what the first one has sealed."""
    redis = Redis(tmp_path / "redis") if store == "redis" else None
    old, new = key(), key()
    replicas, rings = stage(lethe, app, tmp_path, redis.url if redis else store, old)
    users = Users(replicas)
    try:
        users.wait_more(20)
        replace(rings[0], new, old)
        wait_for(lambda: users.lost or users.broken, 20, "a lost session")
    finally:
        users.stop()
        if redis:
            redis.stop()
