# SPDX-License-Identifier: Apache-2.0
"""Sessions in PostgreSQL: kept through silence, cut connections, a crash of the server; the table is made, or asked for."""
import os
import re

import pytest
from cluster_rig import ending_clusters, keys
from session_rig import Background, Cluster
from store_rig import Load, Postgres, StoreCluster, expect_refusals, in_service, record

from rig import App, answer, run_cli, wait_for
from rig.lethe import ROOT


@pytest.fixture(name="cluster_of")
def cluster_of_fixture(tmp_path_factory):
    with ending_clusters() as made:
        def make(server, **how):
            made.append(StoreCluster(tmp_path_factory.mktemp("cluster"), server, **how))
            return made[-1].start()
        yield make


@pytest.fixture(name="postgres", scope="module")
def postgres_fixture():
    server = Postgres()
    yield server
    server.remove()


def test_raw_origin(lethe, postgres):
    """Cookies only, no lock: an application on two replicas, a login on one, a change on the other, a logout on the first."""
    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
        app.on("/more", answer(headers="Set-Cookie: connect.sid=y; path=/\r\n"))
        app.on("/logout", answer(headers="Set-Cookie: PHPSESSID=; Max-Age=0; path=/\r\nSet-Cookie: connect.sid=; Max-Age=0; path=/\r\n"))
        a, b = lethe(app, store=postgres.url, keys=keys()), lethe(app, store=postgres.unix_url, keys=keys())
        token = a.get("/login").get("set-cookie").split(";")[0]
        assert "PHPSESSID" not in token
        r = b.get("/more", f"Cookie: {token}\r\n")
        token = (r.all("set-cookie") or [token])[0].split(";")[0]
        a.get("/seen", f"Cookie: {token}\r\n")
        assert app.seen("/seen")[0].all("cookie") == ["PHPSESSID=x; connect.sid=y"]
        assert postgres.sql("SELECT count(*) FROM lethe_session WHERE key LIKE '%PHPSESSID%' OR position('PHPSESSID'::bytea in data) > 0") == "0"
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


def test_faults(cluster_of, postgres):
    """Silence, cut connections, a crash, an orderly restart: nothing that was confirmed is lost, nobody is logged out."""
    c = cluster_of(postgres)
    alice = c.browser()
    alice.login("alice", to=0, query="?regenerate=true")
    assert [alice.count(to=i % 2) for i in range(4)] == [1, 2, 3, 4]
    token, load, worst, faults = alice.token, Load(c), 0.0, []
    load.wait_more(40)

    def away(name, break_, mend):
        nonlocal worst
        break_()
        load.wait_failures(8)
        worst = max(worst, expect_refusals(c, alice))
        mend()
        in_service(c)
        load.wait_more(20)
        faults.append(name)

    away("silence", postgres.pause, postgres.resume)
    away("killed", postgres.kill9, postgres.start)
    away("silence", postgres.pause, postgres.resume)
    away("stopped in order", postgres.stop, postgres.start)
    assert alice.name(to=1) == "alice" and alice.token == token
    assert alice.count(to=0) == 5 and alice.count(to=1) == 6
    lost = load.check()
    assert lost == 0 and load.forgotten == 0
    record({"store": "postgres", "written": load.total(), "faults": faults, "lost": lost,
            "worst_wait_ms": round(max(worst, load.worst) * 1000)})


def test_cut_connections_are_not_noticed(cluster_of, postgres):
    c = cluster_of(postgres)
    load = Load(c)
    for _ in range(8):
        load.wait_more(10)
        postgres.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lethe'")
    load.wait_more(10)
    assert load.check() == 0
    assert not [f for f in load.failures if f[0] == 503], load.failures


def test_killed_in_mid_request(cluster_of, postgres):
    """The answer to a request whose session cannot be stored is an error, never a success that is forgotten."""
    c = cluster_of(postgres)
    user = c.browser()
    assert user.count(to=0) == 1
    gate = c.gate()
    under_way = Background(user.tab().get, "/count", to=0, gate=gate)
    gate.wait_reached()
    postgres.kill9()
    gate.open()
    r = under_way.result()
    assert (r.status_code, r.headers["X-Lethe-Error"]) == (503, "store_unavailable")
    postgres.start()
    in_service(c)
    assert user.count(to=1) == 2


def test_what_is_over_is_swept(lethe, postgres):
    """Rows whose time is over go, a lock that runs and what lives stay."""
    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
        one = lethe(app, store=postgres.url, keys=keys())
        assert one.get("/login").status == 200
        postgres.sql("INSERT INTO lethe_session (key, data, ends, idle_ends, number, lock_owner, lock_ends) "
                     "SELECT 'old:' || n, '\\x00', now(), now() - interval '1 s', 1, NULL, NULL FROM generate_series(1, 1200) n")
        postgres.sql("INSERT INTO lethe_session (key, ends, idle_ends, number, lock_owner, lock_ends) "
                     "VALUES ('old:locked', now(), now(), 0, 'x', now() + interval '1 h')")
        wait_for(lambda: postgres.sql("SELECT count(*) FROM lethe_session WHERE key LIKE 'old:%'") == "1", 20, "the sweep")
        assert postgres.sql("SELECT count(*) > 0 FROM lethe_session WHERE key LIKE 'lethe:%'") == "t"


def test_an_operator_lists(lethe, postgres):
    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=listed; path=/\r\n"))
        more = {"store": postgres.url, "keys": keys(), "session.prefix": "listing"}
        one = lethe(app, more)
        token = one.get("/login").get("set-cookie").split(";")[0]
        flags = [f"--{name}={value}" for name, value in {"upstream": "127.0.0.1:1", **more}.items()]
        listed = run_cli("session", "list", *flags)
        assert listed.returncode == 0, listed.stderr
        key = postgres.sql("SELECT key FROM lethe_session WHERE key LIKE 'listing:%'").split(":")[1]
        assert key[:8] in listed.stdout, listed.stdout
        assert one.get("/seen", f"Cookie: {token}\r\n").status == 200 and app.seen("/seen")[0].all("cookie") == ["PHPSESSID=listed"]


def documented_ddl():
    with open(os.path.join(ROOT, "docs", "stores.md"), encoding="utf-8") as f:
        return re.search(r"```sql\n(.*?)```", f.read(), re.S).group(1)


def test_a_role_that_may_not_create_tables(lethe, postgres):
    """It says what is missing, sessions are refused; and once the documented table is there, they go on without a restart."""
    postgres.sql("CREATE ROLE guest LOGIN; CREATE SCHEMA closed; GRANT USAGE ON SCHEMA closed TO guest")
    url = f"postgres://guest@{postgres.address}/postgres?options=-csearch_path%3Dclosed"
    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
        one = lethe(app, store=url, keys=keys())
        assert (one.get("/login").status, one.get("/anonymous").status) == (503, 200)
        assert "permission denied" in one.wait_event("postgres_refuses")[0]["error"]
        postgres.sql("SET search_path = closed; " + documented_ddl().replace("TO lethe;", "TO guest;"))
        wait_for(lambda: one.get("/login").status == 200, 20, "the documented table is used")
        assert postgres.sql("SELECT count(*) FROM closed.lethe_session") == "1"


def test_a_wrong_password_is_told_and_not_shown(lethe):
    server = Postgres(tls=True)
    try:
        server.sql("CREATE ROLE shop LOGIN PASSWORD 'right'; GRANT CREATE ON SCHEMA public TO shop")
        with App() as app:
            app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
            one = lethe(app, store=f"postgres://shop:s3cret@{server.address}/postgres?sslmode=require", keys=keys())
            assert (one.get("/login").status, one.get("/anonymous").status) == (503, 200)
            assert "password authentication failed" in one.wait_event("postgres_refuses")[0]["error"]
            assert "s3cret" not in one.process.tail()
            server.sql("ALTER ROLE shop PASSWORD 's3cret'")
            wait_for(lambda: one.get("/login").status == 200, 20, "the right password")
            assert server.sql("SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'shop' LIMIT 1") == "t"
    finally:
        server.remove()


def test_a_big_session(cluster_of, postgres):
    c = cluster_of(postgres)
    user = c.browser()
    big = user.post("/big.php", {"size": 3 << 20}, to=0).json()
    again = user.json("/big.php", to=1)
    assert again["length"] == 3 << 20 and again["sha256"] == big["sha256"]
