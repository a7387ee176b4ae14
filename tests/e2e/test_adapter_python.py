# SPDX-License-Identifier: Apache-2.0
"""adapters/python against a state API of the test's own: what sessions do on three replicas that take turns, and what errors do to them.
How the adapter is loaded: test_adapter_python_load.py; inside a process: test_adapter_python_parts.py; through lethe: test_stacks.py."""
import os
import pickle
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from adapter_python_rig import COOKIE, FAILURES, STACKS, State, User, running_sites


@pytest.fixture(name="state")
def state_fixture(short_dir):
    it = State(os.path.join(short_dir, "state"))
    yield it
    it.close()


@pytest.fixture(name="sites")
def sites_fixture():
    with running_sites() as make:
        yield make


# --- sessions on three replicas ---

def live(user):
    """What a user sees who counts, logs in, counts, streams, keeps much and logs out while replicas take turns."""
    seen = [user.json("/count")["n"] for _ in range(4)]
    before = user.json("/me")
    assert user.ask("POST", "/login", data={"name": "alice"}).status_code in (302, 303)
    after = user.json("/me")
    seen += [after["name"], after["id"] != before["id"]] + [user.json("/count")["n"] for _ in range(4)]
    assert user.ask("GET", "/stream").status_code == 200
    seen.append(user.json("/me")["n"])
    user.ask("POST", "/big", data={"size": "100000"})
    seen.append(user.json("/big")["length"])
    assert user.ask("POST", "/logout").status_code == 200
    last = user.json("/me")
    return seen + [last["name"], last["n"]]


LIVED = [1, 2, 3, 4, "alice", True, 5, 6, 7, 8, 9, 100000, None, 0]


@pytest.mark.parametrize("stack", STACKS)
def test_three_replicas_are_one(stack, state, sites):
    assert live(User(sites(stack, state))) == LIVED
    assert [s[0] for s in state.reports] == ["python"] * 3 and {s[2] for s in state.reports} == {"hooked"}, state.reports


@pytest.mark.parametrize("stack", STACKS)
def test_three_replicas_without_it_are_not(stack, sites, tmp_path):
    replicas = [sites(stack, None, 1, tmp_path / str(i) if not (tmp_path / str(i)).mkdir() else None)[0] for i in range(3)] \
        if stack == "django-file" else sites(stack, None)
    assert live(User(replicas)) != LIVED


@pytest.mark.parametrize("stack", STACKS)
def test_one_replica_without_it_is_what_three_are_with_it(stack, sites, tmp_path):
    assert live(User(sites(stack, None, 1, tmp_path if stack == "django-file" else None))) == LIVED


# --- errors ---

@pytest.mark.parametrize("stack", STACKS)
def test_not_knowing_is_an_error_and_never_a_miss(stack, state, sites):
    user = User(sites(stack, state, 1))
    assert [user.json("/count")["n"] for _ in range(2)] == [1, 2]
    cookie = user.http.cookies[COOKIE[stack]]
    for name, failure in FAILURES.items():
        state.broken = failure
        for path in ("/count", "/me"):
            r = user.ask("GET", path)
            assert r.status_code >= 500 and "set-cookie" not in r.headers, (name, path, r.status_code, dict(r.headers))
        # only writes fail: what was changed is not there, and the user is not told that it is
        state.broken = lambda m, p, f=failure: f(m, p) if m == "PUT" else None
        assert user.ask("GET", "/count").status_code >= 500, name
        state.broken = None
    path = state.path
    state.close()
    os.unlink(path)
    assert user.ask("GET", "/count").status_code >= 500
    state.open()
    assert user.json("/count")["n"] == 3 and user.http.cookies[COOKIE[stack]] == cookie


@pytest.mark.parametrize("stack", STACKS)
def test_one_call_that_fails_is_enough(stack, state, sites):
    """Whatever the framework does about an error of its store, it does not get around it with a new session."""
    user = User(sites(stack, state, 1))
    assert user.json("/count")["n"] == 1
    cookie = user.http.cookies[COOKIE[stack]]
    for nth in range(1, 5):
        left = [nth]

        def fail(method, path, left=left):
            left[0] -= 1
            return FAILURES["503"](method, path) if left[0] == 0 else None
        before, state.broken = len(state.calls), fail
        r = user.ask("GET", "/count")
        calls, state.broken = len(state.calls) - before, None
        if left[0] > 0:  # it makes fewer calls: all of them have had their turn
            assert r.status_code == 200 and nth > 2
            break
        assert r.status_code == 500 and calls == nth and user.http.cookies[COOKIE[stack]] == cookie
    else:
        raise AssertionError("more calls than there should be")
    assert user.json("/count")["n"] == 3


def test_a_state_api_that_is_silent_costs_five_seconds(state, sites):
    user = User(sites("cherrypy", state, 1))
    assert user.json("/count")["n"] == 1
    release = threading.Event()
    state.broken = lambda m, p: (release.wait(30), (None, {}, b""))[1]
    r = user.ask("GET", "/me")
    release.set()
    state.broken = None
    assert r.status_code == 500 and 4.5 < r.elapsed.total_seconds() < 8
    assert user.json("/me")["n"] == 1


@pytest.mark.parametrize("stack", STACKS)
def test_a_logout_is_not_undone_by_a_slower_request(stack, state, sites, tmp_path):
    user = User(sites(stack, state, 2))
    assert user.json("/count")["n"] == 1
    id = next(iter(state.sessions))
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(user.ask, "GET", f"/count?gate={gate}", 0)
        with open(gate, "w", encoding="ascii") as f:  # opens once the application reads
            with state.lock:
                state.sessions.pop(id)
                state.dead.add(id)
            f.write("go\n")
        assert slow.result().status_code in (200, 400)  # Django says 400: the session was deleted meanwhile
    assert id not in state.sessions
    assert user.json("/me", 1)["n"] == 0


@pytest.mark.parametrize("stack", STACKS)
def test_a_request_that_has_lost_its_lock_overwrites_nothing(stack, state, sites, tmp_path):
    """lethe lets one request at a time work on a session; one that stood still for longer than its lease finds another version."""
    user = User(sites(stack, state, 2))
    assert user.json("/count")["n"] == 1
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with ThreadPoolExecutor(1) as pool:
        slow = pool.submit(user.ask, "GET", f"/count?gate={gate}", 0)
        with open(gate, "w", encoding="ascii") as f:
            assert [user.json("/count", 1)["n"] for _ in range(2)] == [2, 3]
            f.write("go\n")
        assert slow.result().status_code == 500
    assert [user.json("/count", i % 2)["n"] for i in range(3)] == [4, 5, 6]


@pytest.mark.parametrize("stack", STACKS)
def test_a_session_that_is_not_there_is_a_new_one(stack, state, sites):
    user = User(sites(stack, state, 1))
    assert user.json("/count")["n"] == 1
    state.sessions.clear()
    assert user.json("/count")["n"] == 1 and user.json("/count")["n"] == 2
    odd = User(user.sites)  # ids that no session has, from a cookie
    for id in ("../../v1/adapters/x", "a" * 600, "%2e%2e", "a b?c=d"):
        r = odd.ask("GET", "/count", headers={"Cookie": f'{COOKIE[stack]}="{id}"'})
        assert r.status_code in (200, 400, 500), r.text
        odd.http.cookies.clear()
    assert not [p for _, p, _ in state.calls if "/sessions/" in p and ".." in p]
    assert len([p for _, p, _ in state.calls if p.startswith("/v1/adapters")]) == 1


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("stack", ["cherrypy", "django-cache", "beaker"])
def test_what_the_adapter_did_not_store_is_not_unpickled(stack, state, sites, tmp_path):
    user = User(sites(stack, state, 1))
    assert user.json("/count")["n"] == 1
    id, blob = next((i, s[0]) for i, s in state.sessions.items())
    evil = pickle.dumps(Evil(str(tmp_path / "evil")))
    other = b"dcb".replace(blob[8:9], b"")[:1]
    for content in (evil, b"", blob[:8], blob[:7] + b"\x02" + blob[8:17] + evil, blob[:8] + other + blob[9:17] + evil):
        state.sessions[id][0] = content
        r = user.ask("GET", "/count")
        assert r.status_code == 500 and "set-cookie" not in r.headers
        assert not (tmp_path / "evil").exists() and state.sessions[id][0] == content
    state.sessions[id][0] = blob[:17] + evil  # the control: with the header it would have been loaded
    user.ask("GET", "/count")
    assert (tmp_path / "evil").exists()
    state.sessions[id][0] = blob
    assert user.json("/count")["n"] == 2
