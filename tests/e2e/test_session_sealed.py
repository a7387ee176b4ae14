# SPDX-License-Identifier: Apache-2.0
"""The store without a server: the record is an encrypted cookie. With PHP, all replicas share one session directory, since a cookie
carries no content."""
import base64

import pytest
from session_rig import TOKEN, cluster_of_fixture, keys  # noqa: F401

from rig import App, answer, run_cli, wait_for


def sealed(cluster_of, **how):
    return cluster_of(store="sealed", carrier=False, shared=True, **how)


def test_counter_through_round_robin(cluster_of):
    c = sealed(cluster_of)
    user = c.browser()
    user.login("alice", query="?regenerate=true")
    pages = [user.json("counter.php") for _ in range(10)]
    assert [p["n"] for p in pages] == list(range(1, 11))
    assert {p["replica"] for p in pages} == {"0", "1"} and {p["name"] for p in pages} == {"alice"}
    assert user.http.cookies.keys() == [TOKEN], "the application's id is not in the clear"
    user.get("logout.php?cookie=expire")
    assert user.token is None and user.name() is None


def test_cookie_survives_a_restart_when_keys_are_given(cluster_of):
    c = sealed(cluster_of)
    user = c.browser()
    user.login("alice", to=0)
    user.close()  # a drain waits for idle connections to end
    for r in c.replicas:
        r.lethe.stop()
        r.start_lethe()
    assert user.name(to=0) == "alice" and user.name(to=1) == "alice"


def test_keys_may_be_replaced_one_after_the_other(cluster_of):
    c = sealed(cluster_of)
    user = c.browser()
    user.login("alice", to=0)
    fresh = run_cli("keygen").stdout.strip()
    r = c.replicas[1]
    user.close()
    r.lethe.stop()
    r.lethe.argv = [f"--keys={fresh},{c.keys}" if a.startswith("--keys=") else a for a in r.lethe.argv]
    r.start_lethe()
    assert user.name(to=1) == "alice"
    user.close()
    r.lethe.stop()
    r.lethe.argv = [f"--keys={fresh}" if a.startswith("--keys=") else a for a in r.lethe.argv]
    r.start_lethe()
    assert user.name(to=1) is None, "the old key is gone, and so is what it sealed"


@pytest.fixture
def app():
    with App() as a:
        yield a


def test_without_keys_the_cookie_ends_with_the_process(lethe, app):
    app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
    r = lethe(app)
    cookie = r.get("/login").get("set-cookie").split(";")[0]
    r.get("/a", f"Cookie: {cookie}\r\n")
    assert r.wait_event("keys_made"), "it says so"
    r.stop()
    r.start()
    r.get("/b", f"Cookie: {cookie}\r\n")
    assert app.seen("/a")[0].all("cookie") == ["PHPSESSID=x"] and app.seen("/b")[0].all("cookie") == []


def test_tampered_cookie_is_ignored(cluster_of):
    c = sealed(cluster_of, replicas=1)
    user = c.browser()
    user.login("alice", to=0)
    good = user.token
    raw = bytearray(base64.urlsafe_b64decode(good + "=" * (-len(good) % 4)))
    assert c.browser(cookies={TOKEN: good}).name(to=0) == "alice"
    for at in range(len(raw)):
        for bit in (0, 7):
            changed = bytearray(raw)
            changed[at] ^= 1 << bit
            text = base64.urlsafe_b64encode(changed).decode().rstrip("=")
            if at % 9 == 0 or at in (len(raw) - 1, 1, 2):
                page = c.browser(cookies={TOKEN: text}).json("me.php", to=0)
                assert page["sent_id"] is None and page["name"] is None, f"byte {at}, bit {bit}"
    for text in (good[:-1], good + "A", good[:20], good.swapcase(), good[::-1], "A" * len(good), "A" * 8000, "x"):
        page = c.browser(cookies={TOKEN: text}).get("me.php", to=0)
        assert page.status_code == 200 and page.json()["sent_id"] is None, text


@pytest.mark.parametrize("limit", ["idle", "absolute"])
def test_limits(cluster_of, limit):
    options = {"session.idle_ttl": "1s"} if limit == "idle" else {"session.absolute_ttl": "1s"}
    c = sealed(cluster_of, replicas=1, options=options)
    user = c.browser()
    user.login("alice", to=0)
    cookie = {"Cookie": f"{TOKEN}={user.token}"}
    assert c.browser().get("me.php", to=0, headers=cookie).json()["name"] == "alice"
    # a copy of the cookie as it was: nothing renews it
    wait_for(lambda: c.browser().get("peek.php", to=0, headers=cookie).json()["sent_id"] is None, 10, f"the {limit} limit")


def test_idle_limit_slides(cluster_of):
    c = sealed(cluster_of, replicas=1, options={"session.idle_ttl": "2s"})
    user = c.browser()
    user.login("alice", to=0)
    first = {"Cookie": f"{TOKEN}={user.token}"}

    def first_is_over():
        assert user.name(to=0) == "alice"  # with the cookie that is renewed
        return c.browser().get("peek.php", to=0, headers=first).json()["sent_id"] is None
    wait_for(first_is_over, 10, "the idle limit of the first cookie")
    assert user.name(to=0) == "alice"


def test_too_large_a_record_fails_loudly(lethe, app):
    app.on("/big", answer(headers=f"Set-Cookie: connect.sid={'x' * 13000}; path=/\r\n"))
    app.on("/fits", answer(headers=f"Set-Cookie: connect.sid={'y' * 2500}; path=/\r\n"))
    r = lethe(app, keys=keys())
    big = r.get("/big")
    assert (big.status, big.get("x-lethe-error")) == (503, "session_too_large")
    assert big.all("set-cookie") == [] and "session.client_max" in r.wait_event("session_too_large")[0]["do"]
    cookie = r.get("/fits").get("set-cookie")
    assert len(cookie) <= 4096
    r.get("/back", "Cookie: " + cookie.split(";")[0] + "\r\n")
    assert app.seen("/back")[0].all("cookie") == [f"connect.sid={'y' * 2500}"]
