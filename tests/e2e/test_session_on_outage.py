# SPDX-License-Identifier: Apache-2.0
"""session.on_outage: Redis goes away and comes back, and what it had is on its disk."""
import pytest
from held_rig import Echo, User
from session_rig import keys, together

from rig import Redis, run_cli, wait_for

TOKEN_TEXT = 43


@pytest.fixture(name="app", scope="module")
def app_fixture():
    with Echo() as a:
        yield a


@pytest.fixture(name="redis")
def redis_fixture(tmp_path):
    with Redis(tmp_path / "redis", "aof") as r:
        yield r


@pytest.fixture(name="replica")
def replica_fixture(lethe, app, redis):
    """replica("sealed"): one more lethe at the same Redis."""
    def make(on_outage, **options):
        return lethe(app, {"keys": keys(), "store": redis.url, "session.on_outage": on_outage, "session.store_timeout": "300ms", **options})
    return make


def is_token(user):
    return len(user.cookies["lethe"]) == TOKEN_TEXT


def back(redis, *replicas):
    """Redis is there again, and every replica has found it."""
    redis.start()
    for r in replicas:
        probe = User(r, cookies={"lethe": "A" * TOKEN_TEXT})
        wait_for(lambda: probe.ask(method="POST").status == 200, 10, "lethe finds Redis again")  # pylint: disable=cell-var-from-loop


def count(replica, event):
    return replica.metrics().get("lethe_sessions_total", event=event)


def test_reject(replica, redis):
    r = replica("reject")
    user = User(r).login()
    redis.kill9()
    assert user.ask().error == "store_unavailable"
    page = User(r).ask(["PHPSESSID=two; path=/"])
    assert (page.status, page.error, page.set) == (503, "store_unavailable", [])
    assert User(r).session() is None, "without a session nothing is missed"
    back(redis, r)
    assert user.session() == "one"


def test_sealed_holds_a_new_session_and_moves_it(replica, redis):
    a, b = replica("sealed"), replica("sealed")
    before = User(a).login("before")
    redis.kill9()
    user = User(a).login("during")
    assert not is_token(user) and count(a, "outage_sealed") == 1
    for r in (a, b, a):
        assert user.session(lethe=r) == "during"
    page = before.ask()
    assert (page.status, page.error, page.set) == (503, "store_unavailable", []), "a session that is in the store is not replaced"
    user.ask(["rack.session=more; path=/"], lethe=b)
    assert not is_token(user)
    copy = user.copy()
    back(redis, a, b)
    records = len(redis.keys())
    page = user.ask(lethe=b)
    assert page.session() == "during" and "rack.session=more" in page.cookie
    assert is_token(user) and len(redis.keys()) == records + 1 and count(b, "outage_moved") == 1
    assert user.session(lethe=a) == "during" and before.session(lethe=b) == "before"
    found = run_cli("session", "list", "--cookie", "PHPSESSID=during", f"--store={redis.url}", f"--keys={keys()}", "--upstream=127.0.0.1:1")
    assert found.returncode == 0 and found.stdout.count("active") == 1, (found.stdout, found.stderr)
    # a copy of the cookie leads to what the session is now, and ends with it
    user.ask(["rack.session=newer; path=/"])
    page = copy.ask()
    assert "rack.session=newer" in page.cookie and copy.cookies == user.cookies and len(redis.keys()) == records + 1


def test_sealed_a_logout_reaches_the_copies_once_it_has_moved(replica, redis):
    r = replica("sealed")
    redis.kill9()
    user = User(r).login()
    copy = user.copy()
    back(redis, r)
    assert user.session() == "one" and is_token(user)
    user.logout()
    assert "lethe" not in user.cookies and copy.session() is None and not is_token(copy)


def test_sealed_many_requests_at_once_move_it_once(replica, redis):
    a, b = replica("sealed"), replica("sealed")
    redis.kill9()
    user = User(a).login()
    back(redis, a, b)
    copies = [user.copy() for _ in range(12)]
    together([lambda c=c, r=r: c.session(lethe=r) for c, r in zip(copies, (a, b) * 6)])
    assert {c.cookies["lethe"] for c in copies} == {copies[0].cookies["lethe"]} and is_token(copies[0])
    assert len(redis.keys()) == 1 and count(a, "outage_moved") + count(b, "outage_moved") == 1


def test_sealed_login_and_logout_while_it_is_away(replica, redis):
    r = replica("sealed")
    redis.kill9()
    user = User(r).login("visitor")
    planted = user.copy()
    user.login("alice")
    assert user.session() == "alice" and planted.session() == "visitor"
    gone = User(r).login("gone")
    gone.logout()
    assert "lethe" not in gone.cookies
    back(redis, r)
    assert user.session() == "alice" and planted.session() == "visitor", "who held the cookie before the login is not logged in"
    assert is_token(user) and is_token(planted) and user.cookies != planted.cookies


def test_sealed_large_ones_leave_no_parts_behind(replica, redis):
    r = replica("sealed")
    redis.kill9()
    user = User(r)
    user.ask(["PHPSESSID=" + "x" * 5000 + "; path=/"])
    assert sorted(user.cookies) == ["lethe", "lethe.1"]
    back(redis, r)
    assert user.session() == "x" * 5000 and list(user.cookies) == ["lethe"] and is_token(user)
    assert user.session() == "x" * 5000


def test_sealed_it_never_answers(replica, redis):
    """It hangs instead of being gone: the first request waits for session.store_timeout, the others do not."""
    r = replica("sealed")
    User(r).login("before")
    redis.pause()
    user = User(r).login("during")
    assert not is_token(user) and user.session() == "during"
    redis.resume()
    wait_for(lambda: user.session() == "during" and is_token(user), 10, "it has moved")


def test_sealed_is_off_with_reject(replica, redis):
    a, b = replica("sealed"), replica("reject")
    redis.kill9()
    user = User(a).login()
    back(redis, a, b)
    assert user.session(lethe=b) is None and not is_token(user)


def test_anonymous(replica, redis):
    r = replica("anonymous")
    user = User(r).login()
    before = dict(user.cookies)
    redis.kill9()
    for method in ("GET", "HEAD"):
        page = user.ask(["PHPSESSID=forced-on-it; path=/", "theme=dark; path=/; HttpOnly; SameSite=Lax"], method=method)
        assert page.status == 200 and page.session() is None
        assert page.set == ["theme=dark; path=/; HttpOnly; SameSite=Lax"], "an id of an application that met none does not replace the session"
    assert {k: v for k, v in user.cookies.items() if k != "theme"} == before
    assert user.ask(method="POST").error == "store_unavailable"
    assert user.ask(["PHPSESSID=; Max-Age=0; path=/"]).set == [], "nor does its end"
    assert user.ask(fields=["Connection: Upgrade", "Upgrade: websocket"]).error == "store_unavailable"
    assert User(r).ask(["PHPSESSID=two; path=/"]).error == "store_unavailable", "a new one cannot be kept"
    assert count(r, "outage_anonymous") == 3
    back(redis, r)
    assert user.session() == "one"


@pytest.mark.parametrize("carrier", [["--files.profile=php", "--files.dir=/tmp"],
                                     ["--state_api.profile=express", "--state_api.listen=unix:/tmp/x"]])
@pytest.mark.parametrize("on_outage", ["sealed", "anonymous"])
def test_carriers_take_reject_only(carrier, on_outage):
    flags = ["--upstream=127.0.0.1:1", "--store=redis://127.0.0.1:1/0", f"--keys={keys()}", *carrier]
    assert run_cli("check", *flags).returncode == 0
    done = run_cli("check", *flags, f"--session.on_outage={on_outage}")
    assert done.returncode == 2 and "session.on_outage" in done.stderr and carrier[0].split("=")[0][2:] in done.stderr, done.stderr
