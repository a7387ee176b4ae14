# SPDX-License-Identifier: Apache-2.0
"""Sessions in memcached: kept through silence and cut connections, gone with a restart, and never anybody else's."""
import pytest
from cluster_rig import ending_clusters, keys
from session_rig import Cluster
from store_rig import Load, Memcached, StoreCluster, expect_refusals, in_service, record

from rig import App, answer, wait_for


@pytest.fixture(name="cluster_of")
def cluster_of_fixture(tmp_path_factory):
    with ending_clusters() as made:
        def make(server, **how):
            made.append(StoreCluster(tmp_path_factory.mktemp("cluster"), server, **how))
            return made[-1].start()
        yield make


@pytest.fixture(name="memcached")
def memcached_fixture():
    with Memcached(["-I", "2m"]) as server:
        yield server


def test_raw_origin(lethe, memcached):
    """Cookies only, no lock: an application on two replicas, a login on one, a change on the other, a logout on the first."""
    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
        app.on("/more", answer(headers="Set-Cookie: connect.sid=y; path=/\r\n"))
        app.on("/logout", answer(headers="Set-Cookie: PHPSESSID=; Max-Age=0; path=/\r\nSet-Cookie: connect.sid=; Max-Age=0; path=/\r\n"))
        a, b = lethe(app, store=memcached.url, keys=keys()), lethe(app, store=memcached.url, keys=keys())
        r = a.get("/login")
        assert r.status == 200
        token = r.get("set-cookie").split(";")[0]
        assert "PHPSESSID" not in token
        r = b.get("/more", f"Cookie: {token}\r\n")
        token = (r.all("set-cookie") or [token])[0].split(";")[0]
        a.get("/seen", f"Cookie: {token}\r\n")
        assert app.seen("/seen")[0].all("cookie") == ["PHPSESSID=x; connect.sid=y"]
        assert a.get("/logout", f"Cookie: {token}\r\n").status == 200
        b.get("/gone", f"Cookie: {token}\r\n")
        assert app.seen("/gone")[0].all("cookie") == []


def test_negative_control(tmp_path):
    """The same replicas without lethe: the user of one is nobody on the other."""
    with ending_clusters() as made:
        made.append(Cluster(tmp_path, lethe=False))
        user = made[0].start().browser()
        user.login("alice", to=0)
        assert user.name(to=0) == "alice" and user.name(to=1) is None


def test_faults(cluster_of, memcached):
    c = cluster_of(memcached)
    alice = c.browser()
    alice.login("alice", to=0, query="?regenerate=true")
    assert [alice.count(to=i % 2) for i in range(4)] == [1, 2, 3, 4]
    load = Load(c)
    load.wait_more(40)

    for _ in range(2):  # silence
        memcached.pause()
        load.wait_failures(8)
        worst = expect_refusals(c, alice)
        memcached.resume()
        in_service(c)
        load.wait_more(20)
    assert alice.name(to=1) == "alice" and alice.count(to=0) == 5, "memcached kept it"
    assert load.forgotten == 0 and load.check() == 0
    written, worst = load.total(), max(worst, load.worst)

    load = Load(c, may_forget=True)  # it dies, and comes back empty: the application begins anew
    load.wait_more(20)
    memcached.kill9()
    load.wait_failures(8)
    worst = max(worst, expect_refusals(c, alice))
    memcached.start()
    in_service(c)
    load.wait_more(20)
    assert load.forgotten == len(load.users)
    assert load.check() == 0
    assert alice.json("/me", to=0)["name"] is None
    alice.login("alice", to=1)
    assert alice.name(to=0) == "alice" and alice.count(to=1) == 1
    record({"store": "memcached", "written": written + load.total(), "faults": ["silence", "silence", "killed, restarted empty"],
            "lost": load.forgotten, "worst_wait_ms": round(max(worst, load.worst) * 1000)})


def test_one_of_two_servers_dies(cluster_of, memcached):
    """Its sessions are answered 503 and begun nowhere else; those of the other go on."""
    with Memcached() as other:
        c = cluster_of(memcached, options={"store": f"{memcached.url},{other.address}"})
        users = [c.browser() for _ in range(12)]
        for i, user in enumerate(users):
            user.login(f"user{i}", to=0)
        other.pause()
        status = [user.get("/me", to=i % 2).status_code for i, user in enumerate(users)]
        assert set(status) == {200, 503}, status
        other.resume()
        wait_for(lambda: all(user.get("/me", to=r).status_code == 200 for user in users for r in (0, 1)), 30, "all sessions are served")
        assert [user.name(to=1) for user in users] == [f"user{i}" for i in range(12)]


def test_a_session_that_is_too_large(cluster_of):
    """1 MB by default. The write is refused; what was there before stays."""
    with Memcached() as server:
        c = cluster_of(server)
        user = c.browser()
        user.login("alice", to=0)
        assert user.count(to=0) == 1
        r = user.post("/big.php", {"size": 1 << 20}, to=0)
        assert (r.status_code, r.headers.get("X-Lethe-Error")) == (503, "store_unavailable")
        assert c.replicas[0].lethe.wait_event("session_too_large")[0]["do"].startswith("start memcached with a larger -I")
        assert user.name(to=1) == "alice" and user.count(to=1) == 2


def test_a_full_memcached_forgets_the_oldest(cluster_of):
    """It evicts: whom nobody has seen for longest is a new visitor, nobody becomes somebody else, and nothing fails."""
    with Memcached(["-m", "8"]) as server:
        c = cluster_of(server)
        users = []

        def forgotten():
            user = c.browser()
            user.login(f"user{len(users)}", to=0)
            assert user.post("/big.php", {"size": 60000}, to=0).status_code == 200
            users.append(user)
            return int(server.stats()["evictions"]) > 20
        wait_for(forgotten, 90, "memcached evicts")
        names = [user.name(to=1) for user in reversed(users)][::-1]
        assert names[0] is None and names[-1] == f"user{len(users) - 1}"
        assert all(name in (None, f"user{i}") for i, name in enumerate(names))


def test_a_full_memcached_without_eviction(cluster_of):
    """-M: the write fails and is answered 503; memcached has deleted what it should have replaced."""
    with Memcached(["-M", "-m", "2"]) as server:
        c = cluster_of(server)
        user = None

        def full():
            nonlocal user
            user = c.browser()
            return user.post("/big.php", {"size": 60000}, to=0).status_code == 503
        wait_for(full, 60, "no more memory")
        assert "out of memory" in c.replicas[0].lethe.wait_event("store_error")[0]["error"]
        assert server.stats()["evictions"] == "0"
