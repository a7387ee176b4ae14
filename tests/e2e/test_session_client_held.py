# SPDX-License-Identifier: Apache-2.0
"""Sessions that the client holds, in both forms: large ones in several cookies, and a list of revocations."""
import re

import pytest
from held_rig import Echo, User
from session_rig import keys

from rig import App, Redis, answer, run_cli, wait_for

STORES = ["sealed", "jwt"]
PARTS = re.compile(r"(__Host-)?lethe(\.[1-8])?\Z")


@pytest.fixture(name="app", scope="module")
def app_fixture():
    with Echo() as a:
        yield a


@pytest.fixture(name="user_of")
def user_of_fixture(lethe, app):
    def make(store, https=False, **options):
        return User(lethe(app, {"keys": keys(), "store": store, "trusted_proxies": "127.0.0.0/8", **options}), https)
    return make


def big(size, letter="x"):
    return f"PHPSESSID={letter * size}; path=/"


def lethes(user):
    return sorted(n for n in user.cookies if PARTS.match(n))


@pytest.mark.parametrize("store", STORES)
@pytest.mark.parametrize("https", [False, True])
def test_large_records_take_several_cookies(user_of, store, https):
    user = user_of(store, https)
    prefix = "__Host-" if https else ""
    page = user.ask([big(7000), "theme=dark; Path=/; HttpOnly; SameSite=Lax"])
    assert page.status == 200
    assert lethes(user) == [f"{prefix}lethe", f"{prefix}lethe.1", f"{prefix}lethe.2"]
    assert all(("; Secure" in line) == https for line in page.set if not line.startswith("theme"))
    page = user.ask()
    assert page.cookie == "theme=dark; PHPSESSID=" + "x" * 7000, "the parts do not reach the application"
    # a shorter one: parts that are not needed any more are deleted
    assert user.ask([big(10, "y")]).status == 200
    assert lethes(user) == [f"{prefix}lethe"] and user.session() == "y" * 10
    assert user.ask([big(4000, "z")]).status == 200
    assert len(lethes(user)) > 1 and user.session() == "z" * 4000
    user.logout()
    assert lethes(user) == [] and user.session() is None


@pytest.mark.parametrize("store", STORES)
def test_a_part_that_is_missing_foreign_or_changed_makes_the_whole_unknown(user_of, store):
    user, other = user_of(store), None
    assert user.ask([big(7000)]).status == 200
    other = User(user.lethe)
    assert other.ask([big(7000, "o")]).status == 200
    good, names = dict(user.cookies), lethes(user)
    assert len(names) == 3

    def seen(changes):
        cookies = {k: v for k, v in {**good, **changes}.items() if v is not None}
        page = User(user.lethe, cookies=cookies).ask()
        assert page.status == 200 and "lethe" not in page.cookie
        return page.session()
    assert seen({}) == "x" * 7000
    for name in names:
        assert seen({name: None}) is None, f"{name} is missing"
        assert seen({name: other.cookies[name]}) is None, f"{name} is another session's"
        at = len(good[name]) // 2
        assert seen({name: good[name][:at] + ("A" if good[name][at] != "A" else "B") + good[name][at + 1:]}) is None
        assert seen({name: good[name][:-1]}) is None
    assert seen({names[1]: good[names[2]], names[2]: good[names[1]]}) is None, "out of order"
    assert seen({names[0]: good[names[0]].replace("3~", "2~")}) is None
    assert seen({names[0]: good[names[0]].replace("3~", "4~")}) is None
    assert seen({"lethe.3": "left-over"}) == "x" * 7000, "what was left over from a longer one is nobody's"
    assert seen({"lethe": None, "lethe.8": "x"}) is None


@pytest.mark.parametrize("store", STORES)
def test_the_limit(user_of, store):
    user = user_of(store, **{"session.client_max": "5k"})
    user.login()
    page = user.ask([big(6000)])
    assert (page.status, page.error, page.set) == (503, "session_too_large", [])
    assert "session.client_max" in user.lethe.wait_event("session_too_large")[0]["do"]
    assert user.session() == "one", "what the client has stays"
    wide = user_of(store, **{"session.client_max": "34k", "limits.head": "64k"})
    assert wide.ask([big(16000)]).status == 200
    assert wide.session() == "x" * 16000 and len(lethes(wide)) >= 6


def test_what_would_not_come_back_is_not_given(user_of):
    """The limit is three quarters of the head that lethe itself takes."""
    user = user_of("sealed", **{"limits.head": "6k"})
    assert user.ask([big(3300)]).status == 200 and len(lethes(user)) == 2 and user.session() == "x" * 3300
    page = User(user.lethe).ask([big(3600)])
    assert (page.status, page.error) == (503, "session_too_large")
    assert "limits.head" in user.lethe.wait_event("session_too_large")[0]["do"]
    assert user.session() == "x" * 3300


@pytest.mark.parametrize("store", STORES)
def test_a_copy_outlives_the_logout_unless_there_is_a_list(user_of, tmp_path, store):
    user = user_of(store).login()
    copy = user.copy()
    user.logout()
    assert user.session() is None and copy.session() == "one", "the limit that the documentation tells"
    with Redis(tmp_path / "redis") as redis:
        user = user_of(store, **{"session.revocations": redis.url}).login()
        copy, other = user.copy(), User(user.lethe).login("other")
        assert copy.session() == "one" and redis.keys() == [], "nothing is kept of those that live"
        user.logout()
        assert user.session() is None and copy.session() is None
        assert other.session() == "other"
        assert len(redis.keys()) == 1
        ttl = redis.call("PTTL", redis.keys()[0])
        assert 11.9 * 3600 * 1000 < ttl <= 12 * 3600 * 1000, "as long as a copy could live"
        assert user.lethe.metrics().get("lethe_sessions_total", event="revoked") == 1
        copy.login("two")
        assert copy.session() == "two", "a new session of the same browser"


@pytest.mark.parametrize("store", STORES)
def test_a_login_does_not_share_its_end_with_what_was_before(user_of, tmp_path, store):
    """Somebody who has planted the cookie before the login can end only what was planted."""
    with Redis(tmp_path / "redis") as redis:
        user = user_of(store, **{"session.revocations": redis.url}).login("before")
        planted = user.copy()
        user.login("after")
        planted.logout()
        assert user.session() == "after" and planted.session() is None


@pytest.mark.parametrize("store", STORES)
def test_the_list_is_away(user_of, tmp_path, store):
    with Redis(tmp_path / "redis", "aof") as redis:
        user = user_of(store, **{"session.revocations": redis.url, "session.store_timeout": "300ms"}).login()
        ended = user.copy().login("ended")
        ended_copy = ended.copy()
        ended.logout()
        redis.kill9()
        page = user.ask()
        assert (page.status, page.error) == (503, "store_unavailable") and not page.set
        assert User(user.lethe).session() is None, "requests without a session go on"
        assert User(user.lethe).ask(["PHPSESSID=new; path=/"]).status == 200, "a new one needs no list"
        redis.start()
        wait_for(lambda: user.ask().status == 200, 10, "lethe finds Redis again")
        assert user.session() == "one" and ended_copy.session() is None


def test_a_logout_that_is_not_written_down_is_none(user_of, lethe, tmp_path):
    with Redis(tmp_path / "redis") as redis, App() as app:
        user = user_of("sealed").login()
        before = dict(user.cookies)

        @app.on("/page")
        def _(conn, head):
            conn.body(head)
            redis.kill9()  # between the look-up and the answer
            conn.send(answer(headers="Set-Cookie: PHPSESSID=; Max-Age=0; path=/\r\n"))
        user.lethe = lethe(app, {"keys": keys(), "store": "sealed", "session.revocations": redis.url, "session.store_timeout": "300ms"})
        page = user.ask()
        assert len(app.seen("/page")) == 1 and (page.status, page.error) == (503, "store_unavailable")
        assert user.cookies == before, "the client is told that it is still logged in"


@pytest.mark.parametrize("flags, words", [
    (["--store=sealed", "--session.client_max=40k"], ["session.client_max"]),
    (["--store=sealed", "--session.revocations=sealed"], ["session.revocations", "redis://"]),
    (["--store=jwt", "--session.revocations=http://a"], ["session.revocations", "redis://"]),
    (["--store=redis://127.0.0.1:1/0", "--session.revocations=redis://127.0.0.1:1/0"], ["session.revocations", "sealed"]),
    (["--store=sealed", "--session.on_outage=sealed"], ["session.on_outage", "redis://"]),
    (["--store=sealed", "--session.cookie_name=" + "x" * 65], ["session.cookie_name", "64"]),
    (["--store=jwt", "--files.profile=php", "--files.dir=/tmp"], ["files.profile", "redis://"]),
    (["--store=jwt", "--state_api.profile=express", "--state_api.listen=unix:/tmp/x"], ["state_api.profile", "redis://"]),
    (["--store=sealed", "--state_api.profile=express", "--state_api.listen=unix:/tmp/x"], ["state_api.profile", "redis://"]),
])
def test_findings(flags, words):
    done = run_cli("check", "--upstream=127.0.0.1:1", f"--keys={keys()}", *flags)
    assert done.returncode == 2 and all(w in done.stderr for w in words), done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
