# SPDX-License-Identifier: Apache-2.0
"""Every driver keeps what proxy/store/store.h promises: tests/store/ against the real servers."""
import os
import subprocess

import pytest
from session_rig import keys
from store_rig import Memcached, Postgres

from rig import Redis, run_cli
from rig.lethe import clean_env, find_binary
from rig.servers import Blackhole, closed_port_address
from rig.without import without

MEBIBYTE = 1 << 20


def conformance(*args, seconds=110):
    program = os.path.join(os.path.dirname(find_binary()), "tests", "store", "store_conformance")
    if not os.access(program, os.X_OK):
        pytest.skip(f"no {program}: the preset builds no tests")
    done = subprocess.run([program, *map(str, args)], env=clean_env(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=seconds,
                          check=False)
    said = done.stdout.decode() + done.stderr.decode()
    assert done.returncode == 0, said
    return said


@pytest.fixture(name="postgres")
def postgres_fixture():
    server = Postgres()
    yield server
    server.remove()


def test_redis(tmp_path):
    with Redis(tmp_path) as server:
        conformance(server.url, "--large", 4 * MEBIBYTE)


def test_memcached():
    """As it is by default: up to 1 MB."""
    with Memcached() as server:
        said = conformance(server.url, "--large", MEBIBYTE - 1024, "--too-large", MEBIBYTE)
        assert "event=session_too_large" in said and "-I" in said


def test_memcached_large():
    with Memcached(["-I", "8m", "-m", "256"]) as server:
        conformance(server.url, "--large", 4 * MEBIBYTE, "--quick")


def test_memcached_several():
    with Memcached() as one, Memcached() as two, Memcached() as three:
        conformance(f"memcached://{one.address},{two.address},{three.address}/", "--large", MEBIBYTE // 2, "--quick")
        held = [int(s.stats()["total_items"]) for s in (one, two, three)]
        assert min(held) > 10, f"all of them hold sessions: {held}"


def test_postgres(postgres):
    conformance(postgres.url, "--large", 4 * MEBIBYTE)


def test_postgres_by_unix_socket(postgres):
    conformance(postgres.unix_url, "--quick")


def test_postgres_with_tls_and_password():
    server = Postgres(tls=True, start=False)
    try:
        server.start()
        server.sql("CREATE ROLE shop LOGIN PASSWORD 'p@ss:w/rd'; CREATE SCHEMA shop AUTHORIZATION shop")
        where = f"{server.address}/postgres?options=-csearch_path%3Dshop"
        conformance(f"postgres://shop:p%40ss%3Aw%2Frd@{where}&sslmode=verify-full&sslrootcert={server.certificate}", "--large", 4 * MEBIBYTE, "--quick")
        assert server.sql("SELECT count(*) > 20 FROM shop.lethe_session") == "t"
    finally:
        server.remove()


@pytest.mark.parametrize("how", ["silent", "nobody", "unreachable"])
@pytest.mark.parametrize("make", [Memcached, Postgres])
def test_away(make, how):
    """Every operation ends within its time limit."""
    if how == "silent":
        server = make()
        try:
            server.pause()
            conformance(server.url, "--away")
        finally:
            server.resume()
            server.remove() if hasattr(server, "remove") else server.stop()
        return
    scheme, path = ("memcached://", "") if make is Memcached else ("postgres://lethe@", "/postgres")
    if how == "nobody":
        conformance(f"{scheme}{closed_port_address()}{path}", "--away")
        return
    with Blackhole() as hole:
        conformance(f"{scheme}{hole.address}{path}", "--away")


@pytest.mark.parametrize("store", ["memcached://", "memcached://:11211", "memcached://a:b", "memcached://one,,two", "postgres://host:port:x/db",
                                   "postgres://%zz@host/db", "mysql://host/db"])
def test_a_wrong_url_is_told(store):
    done = run_cli("check", "--upstream=127.0.0.1:3000", f"--store={store}")
    assert done.returncode == 2
    assert "store: write \"" in done.stderr + done.stdout


@pytest.mark.parametrize("store", ["memcached://host", "memcached://[::1]:11211,10.0.0.1/", "postgres:///db?host=/run/postgresql",
                                   "postgresql://user:pass@one:5432,two:5433/db?target_session_attrs=read-write&sslmode=require"])
def test_a_right_url_is_taken(store):
    done = run_cli("check", "--upstream=127.0.0.1:3000", f"--store={store}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", [["check"], ["run", "--listen=127.0.0.1:0"], ["session", "list"]])
def test_no_libpq(tmp_path, words):
    """Who writes postgres:// is told what to install; nobody else needs it."""
    store = f"postgres://lethe@{closed_port_address()}/db"
    app = [] if words[0] == "session" else ["--upstream=127.0.0.1:3000"]
    done = run_cli(*words, *app, f"--store={store}", env={**without(tmp_path, "libpq.so.5"), "LETHE_KEYS": keys()})
    assert done.returncode == 2
    assert "libpq.so.5 is not here; install libpq5" in done.stderr


def maps(lethe):
    with open(f"/proc/{lethe.pid}/maps", encoding="utf-8") as f:
        return f.read()


def test_libpq_is_loaded_for_postgresql_alone(lethe, tmp_path):
    app, away = "127.0.0.1:3000", closed_port_address()
    env = without(tmp_path, "libpq.so.5")
    assert "libpq.so" not in maps(lethe(app, store=f"redis://{away}/0", keys=keys(), env=env))
    assert "libpq.so" in maps(lethe(app, store=f"postgres://lethe@{away}/db", keys=keys()))
