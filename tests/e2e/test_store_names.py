# SPDX-License-Identifier: Apache-2.0
"""A store by name, when nobody knows the name yet: no order of starting."""
import contextlib

import pytest
from redis_rig import Cluster, Sentinels, counting_app
from session_rig import keys
from store_rig import Memcached, Postgres

from rig import Client, Redis, wait_for
from rig.resolver import Resolver

PATIENT = {"session.store_timeout": "20s"}


@pytest.fixture
def app():
    a = counting_app()
    yield a
    a.stop()


@contextlib.contextmanager
def postgres(_):
    server = Postgres()
    try:
        yield server
    finally:
        server.remove()


STORES = {"redis": Redis, "cluster": lambda where: Cluster(where, nodes=3, replicas=0), "memcached": lambda _: Memcached(), "postgres": postgres}


def by_name(url):
    return url.replace("127.0.0.1", "store.test")


def token_of(r):
    return [c for c in r.all("set-cookie") if c.startswith("lethe=")][0].split(";")[0]


def send_read(client, token):
    client.send(f"GET /read HTTP/1.1\r\nHost: a\r\nCookie: {token}\r\n\r\n".encode())


@pytest.mark.parametrize("kind", STORES)
def test_requests_wait_for_the_name(lethe, app, tmp_path, kind):
    ring, names = keys(), Resolver(tmp_path, {"store.test": []})
    with STORES[kind](tmp_path) as server:
        token = token_of(lethe(app, store=server.url, keys=ring).get("/write?u"))
        l = lethe(app, {**PATIENT, "store": by_name(server.url), "keys": ring}, env=names.env)
        with Client(l.address, timeout=30) as c:
            send_read(c, token)
            l.wait_metric(1, "lethe_client_connections")
            # The one worker answers this behind the other, if that could not wait.
            assert l.get("/read").body == b"none"
            l.wait_event("resolve_failed")
            assert not l.events("redis_away") + l.events("store_away")
            names.set("store.test", ["127.0.0.1"])
            assert c.response().body == b"u.1"
        assert not l.events("redis_away") + l.events("store_away")
        assert l.metrics().get("lethe_store_events_total", event="breaker_opened") == 0


def test_requests_wait_for_the_names_of_sentinels(lethe, app, tmp_path):
    """Even for longer than one question to a sentinel may take."""
    ring, names = keys(), Resolver(tmp_path, {"store.test": []})
    with Sentinels(tmp_path) as s:
        token = token_of(lethe(app, store=s.url, keys=ring).get("/write?u"))
        l = lethe(app, {"session.store_timeout": "9s", "store": by_name(s.url), "keys": ring}, env=names.env)
        with Client(l.address, timeout=30) as c:
            send_read(c, token)
            l.wait_event("resolve_failed")
            away = l.wait_event("redis_away", count=6)  # of each sentinel one connection asks, and one listens
            assert all(e["address"].startswith("store.test:") for e in away)
            names.set("store.test", ["127.0.0.1"])
            assert c.response().body == b"u.1"
        assert l.metrics().get("lethe_store_events_total", event="breaker_opened") == 0


@pytest.mark.parametrize("kind", ["redis", "memcached", "postgres"])
def test_a_name_that_does_not_come_is_a_store_that_is_away(lethe, app, tmp_path, kind):
    ring, names = keys(), Resolver(tmp_path, {"store.test": []})
    with STORES[kind](tmp_path) as server:
        token = token_of(lethe(app, store=server.url, keys=ring).get("/write?u"))
        l = lethe(app, {"store": by_name(server.url), "keys": ring}, env=names.env)
        for _ in range(2):
            r = l.get("/read", f"Cookie: {token}\r\n")
            assert (r.status, r.get("x-lethe-error")) == (503, "store_unavailable")
        l.wait_metric(1, "lethe_store_breaker_open")
        names.set("store.test", ["127.0.0.1"])
        wait_for(lambda: l.get("/read", f"Cookie: {token}\r\n").body == b"u.1", 20, "the store is found")
