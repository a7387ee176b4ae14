# SPDX-License-Identifier: Apache-2.0
"""Where lethe listens and whom it asks: unix sockets, several listeners, names, the PROXY protocol, the limit of connections."""
import ipaddress
import os
import socket
import struct

import pytest

from rig import App, Client, Lethe, Origin, answer, wait_for
from rig.resolver import Resolver


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        yield app


# --- addresses ---

def test_unix_listener(app, short_dir):
    path = os.path.join(short_dir, "in.sock")
    with Lethe(app.address, listen=f"unix:{path}") as lethe:
        assert lethe.address == f"unix:{path}"
        with Client(lethe.address) as c:
            for _ in range(2):
                assert c.get("/unix").status == 200
            assert c.ask(b"GET / HTTP/9.9\r\n\r\n").status == 505
        seen = app.seen("/unix")[-1]
        assert seen.get("x-forwarded-for") == "unix"
        lethe.wait_access(lambda e: e["client"] == "unix")
    assert not os.path.exists(path)


def test_unix_peer_can_be_trusted(app, short_dir):
    path = os.path.join(short_dir, "in.sock")
    with Lethe(app.address, listen=f"unix:{path}", trusted_proxies="unix") as lethe, Client(lethe.address) as c:
        c.get("/unixtrust", "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Proto: https\r\n")
    seen = app.seen("/unixtrust")[-1]
    assert seen.get("x-forwarded-for").startswith("1.2.3.4") and seen.get("x-forwarded-proto") == "https"


def test_unix_upstream(short_dir):
    with App(address=f"unix:{short_dir}/app.sock") as app, Lethe(app.address) as lethe, Client(lethe.address) as c:
        for _ in range(3):
            assert c.ask(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").status == 200
        assert len(app.connections) == 1 and app.requests[-1].body == b"abc"


def test_unix_upstream_that_comes_later(short_dir):
    app = App(address=f"unix:{short_dir}/app.sock", listen=False)
    with Lethe(app.address, {"timeouts.upstream_connect": "30s"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        lethe.wait_metric(1, "lethe_client_connections")
        app.start()
        assert c.response().status == 200
    app.stop()


def test_stale_unix_socket_is_replaced(app, short_dir):
    path = os.path.join(short_dir, "in.sock")
    s = socket.socket(socket.AF_UNIX)
    s.bind(path)
    s.close()  # the file stays behind
    with Lethe(app.address, listen=f"unix:{path}", workers=2) as lethe:
        assert lethe.get("/").status == 200


def test_killed_process_leaves_no_obstacle(app, short_dir):
    path = os.path.join(short_dir, "in.sock")
    first = Lethe(app.address, listen=f"unix:{path}")
    first.kill9()
    with Lethe(app.address, listen=f"unix:{path}") as lethe:
        assert lethe.get("/").status == 200


def test_several_listeners(app, short_dir):
    with Lethe(app.address, listen=f"127.0.0.1:0,unix:{short_dir}/a.sock,127.0.0.1:0", workers=2) as lethe:
        assert len(set(lethe.addresses)) == 3
        for where in lethe.addresses:
            with Client(where) as c:
                assert c.get("/").status == 200


def test_admin_on_a_unix_socket(app, short_dir):
    with Lethe(app.address, admin=f"unix:{short_dir}/admin.sock") as lethe:
        assert lethe.get("/").status == 200
        lethe.wait_metric(1, "lethe_requests_total", outcome="ok")
    assert not os.path.exists(f"{short_dir}/admin.sock")


def test_v6_listener(app):
    try:
        with socket.socket(socket.AF_INET6) as s:
            s.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with Lethe(app.address, listen="[::1]:0") as lethe:
        assert lethe.address.startswith("[::1]:")
        with Client(lethe.address) as c:
            assert c.get("/v6").status == 200
        seen = app.seen("/v6")[-1]
        assert seen.get("x-forwarded-for") == "::1"
        assert seen.get("forwarded") == 'for="[::1]";host=test.example;proto=http'


def test_upstream_by_name(app):
    with Lethe(f"localhost:{app.port}") as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        app.drop_connections()
        lethe.wait_metric(0, "lethe_upstream_connections", state="idle")
        assert c.get("/").status == 200


def test_upstream_name_that_does_not_exist():
    with Lethe("no-such-name.invalid:80", {"timeouts.upstream_connect": "300ms"}) as lethe:
        r = lethe.get("/")
        assert r.status in (502, 504) and r.get("x-lethe-error").startswith("upstream_connect")


def ask_anew(lethe, app_or_apps, n):
    """n requests, each on a new connection to the application: their statuses."""
    apps = app_or_apps if isinstance(app_or_apps, list) else [app_or_apps]
    statuses = []
    for _ in range(n):
        statuses.append(lethe.get("/").status)
        for app in apps:
            app.drop_connections()
        lethe.wait_metric(0, "lethe_upstream_connections", state="idle")
    return statuses


@pytest.mark.parametrize("addresses", [["127.0.0.1", "127.0.0.9"], ["127.0.0.9", "127.0.0.1"], ["::1", "127.0.0.1"]])
def test_upstream_name_with_several_addresses(tmp_path, addresses):
    """Of which only one answers: "localhost" on a machine with IPv6, before an application that listens on IPv4 alone."""
    names = Resolver(tmp_path, {"app.test": addresses})
    with App() as app, Lethe(f"app.test:{app.port}", env=names.env) as lethe:
        assert ask_anew(lethe, app, 6) == [200] * 6


def test_upstream_name_moves(tmp_path):
    """A name is asked for again: the application's new address is found without a restart."""
    names = Resolver(tmp_path, {"app.test": ["127.0.0.1"]})
    with App() as first, App(address=f"127.0.0.9:{first.port}") as second:
        first.on("/who", answer(b"first"))
        second.on("/who", answer(b"second"))
        with Lethe(f"app.test:{first.port}", env=names.env) as lethe:
            assert lethe.get("/who").body == b"first"
            names.set("app.test", ["127.0.0.9"])

            def asked_anew():
                first.drop_connections()
                return lethe.get("/who").body == b"second"
            wait_for(asked_anew, 15, "the new address is used")


def test_upstream_name_that_comes_later(tmp_path):
    names = Resolver(tmp_path, {"app.test": []})
    with App() as app, Lethe(f"app.test:{app.port}", {"timeouts.upstream_connect": "30s"}, env=names.env) as lethe:
        with Client(lethe.address) as c:
            c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            lethe.wait_event("resolve_failed")
            names.set("app.test", ["127.0.0.1"])
            assert c.response().status == 200


def test_upstream_name_that_goes(tmp_path):
    """The resolver's failure is not the application's: the last good address stays."""
    names = Resolver(tmp_path, {"app.test": ["127.0.0.1"]})
    with App() as app, Lethe(f"app.test:{app.port}", env=names.env) as lethe:
        assert lethe.get("/").status == 200
        names.set("app.test", [])
        lethe.wait_event("resolve_failed", 15)
        assert ask_anew(lethe, app, 3) == [200] * 3


# --- the PROXY protocol ---

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
GET = b"GET /proxied HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


def v2(command, family, payload):
    return SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(payload)) + payload


def addresses(source, destination="192.0.2.1", sport=1234, dport=80):
    return ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed + struct.pack("!HH", sport, dport)


V6 = addresses("2001:db8::7", "2001:db8::1")
TLV = b"\x04\x00\x05hello" + b"\x20\x00\x03abc"

VALID = [
    ("v1 tcp4", b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 80\r\n", "203.0.113.7"),
    ("v1 tcp6", b"PROXY TCP6 2001:db8::7 2001:db8::1 1234 80\r\n", "2001:db8::7"),
    ("v1 port 65535", b"PROXY TCP4 203.0.113.7 192.0.2.1 65535 65535\r\n", "203.0.113.7"),
    ("v1 unknown", b"PROXY UNKNOWN\r\n", "127.0.0.1"),
    ("v1 unknown with more", b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n", "127.0.0.1"),
    ("v2 tcp4", v2(1, 0x11, addresses("203.0.113.7")), "203.0.113.7"),
    ("v2 tcp6", v2(1, 0x21, V6), "2001:db8::7"),
    ("v2 tcp4 with TLVs", v2(1, 0x11, addresses("203.0.113.7") + TLV), "203.0.113.7"),
    ("v2 tcp6 with TLVs", v2(1, 0x21, V6 + TLV), "2001:db8::7"),
    ("v2 local", v2(0, 0x00, b""), "127.0.0.1"),
    ("v2 local with addresses", v2(0, 0x11, addresses("203.0.113.7")), "127.0.0.1"),
    ("v2 unspecified", v2(1, 0x00, b""), "127.0.0.1"),
    ("v2 unix", v2(1, 0x31, b"\0" * 216), "127.0.0.1"),
]


@pytest.fixture(name="proxied", scope="module")
def fixture_proxied(app):
    with Lethe(app.address, proxy_protocol=True, options={"timeouts.head": "5s"}) as lethe:
        yield lethe


@pytest.mark.parametrize("size", [None, 1])
@pytest.mark.parametrize("name,header,client", VALID, ids=[v[0] for v in VALID])
def test_proxy_protocol(proxied, app, name, header, client, size):
    before = len(app.requests)
    with Client(proxied.address) as c:
        c.send_pieces(header + GET, size=size or len(header + GET))
        assert c.response().status == 200, name
    seen = app.requests[before]
    assert seen.all("x-forwarded-for") == [client]
    proxied.wait_access(lambda e: e["id"] == seen.get("x-request-id") and e["client"] == client)


def test_proxy_protocol_stands_once(proxied, app):
    """Before the first request only; the peer it names is that of all."""
    with Client(proxied.address) as c:
        c.send(b"PROXY TCP4 203.0.113.9 192.0.2.1 1234 80\r\n")
        for i in range(3):
            assert c.get(f"/again{i}").status == 200
            assert app.seen(f"/again{i}")[-1].get("x-forwarded-for") == "203.0.113.9"
        assert c.ask(b"PROXY TCP4 1.1.1.1 192.0.2.1 1234 80\r\n" + GET).status == 400


BAD = [
    ("none", GET),
    ("v1 lower case", b"proxy TCP4 203.0.113.7 192.0.2.1 1234 80\r\n"),
    ("v1 without CR", b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 80\n"),
    ("v1 two spaces", b"PROXY TCP4  203.0.113.7 192.0.2.1 1234 80\r\n"),
    ("v1 family", b"PROXY TCP5 203.0.113.7 192.0.2.1 1234 80\r\n"),
    ("v1 no family", b"PROXY \r\n"),
    ("v1 v6 address as TCP4", b"PROXY TCP4 2001:db8::7 2001:db8::1 1234 80\r\n"),
    ("v1 v4 address as TCP6", b"PROXY TCP6 203.0.113.7 192.0.2.1 1234 80\r\n"),
    ("v1 no address", b"PROXY TCP4 x y 1234 80\r\n"),
    ("v1 name", b"PROXY TCP4 localhost localhost 1234 80\r\n"),
    ("v1 port 65536", b"PROXY TCP4 203.0.113.7 192.0.2.1 65536 80\r\n"),
    ("v1 port is a word", b"PROXY TCP4 203.0.113.7 192.0.2.1 http 80\r\n"),
    ("v1 destination port is a word", b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 http\r\n"),
    ("v1 destination is a word", b"PROXY TCP4 203.0.113.7 here 1234 80\r\n"),
    ("v1 too few", b"PROXY TCP4 203.0.113.7 192.0.2.1 1234\r\n"),
    ("v1 too many", b"PROXY TCP4 203.0.113.7 192.0.2.1 1234 80 81\r\n"),
    ("v1 too long", b"PROXY UNKNOWN " + b"x" * 200 + b"\r\n"),
    ("v1 without end", b"PROXY TCP4 " + b"1" * 200),
    ("v2 version 1", SIGNATURE + b"\x11\x11\x00\x0c" + addresses("203.0.113.7")),
    ("v2 command 2", v2(2, 0x11, addresses("203.0.113.7"))),
    ("v2 tcp4 too short", v2(1, 0x11, addresses("203.0.113.7")[:11])),
    ("v2 tcp6 too short", v2(1, 0x21, V6[:35])),
    ("v2 too long", v2(1, 0x11, addresses("203.0.113.7") + b"\0" * 5000)),
    ("v2 broken signature", b"\r\n\r\n\0\r\nQUIX\n" + b"\x21\x11\x00\x0c" + addresses("203.0.113.7")),
]


@pytest.mark.parametrize("name,header", BAD, ids=[b[0] for b in BAD])
def test_bad_proxy_protocol(proxied, app, name, header):
    """The connection ends without an answer, is counted, and nothing goes on."""
    before, heads = proxied.metrics().get("lethe_rejects_total", reason="proxy-header"), len(app.heads)
    with Client(proxied.address) as c:
        c.send(header + GET)
        how, got = c.end()
        assert got == b"", (name, how)
    assert proxied.metrics().get("lethe_rejects_total", reason="proxy-header") == before + 1
    assert len(app.heads) == heads


@pytest.mark.parametrize("part", [b"", b"PROXY TCP4", SIGNATURE[:5], v2(1, 0x11, addresses("203.0.113.7"))[:-1]])
def test_proxy_header_that_does_not_come(app, part):
    with Lethe(app.address, {"timeouts.head": "200ms"}, proxy_protocol=True) as lethe, Client(lethe.address) as c:
        c.send(part)
        assert c.end()[1] == b""
        lethe.wait_metric(0, "lethe_client_connections")


def test_named_peer_decides_about_trust(app):
    """The balancer's own address is not the client's: X-Forwarded-* of an untrusted named peer is replaced."""
    with Lethe(app.address, proxy_protocol=True, trusted_proxies=["10.0.0.0/8"]) as lethe:
        for source, proto in (("203.0.113.7", "http"), ("10.1.2.3", "https")):
            with Client(lethe.address) as c:
                c.send(f"PROXY TCP4 {source} 192.0.2.1 1234 80\r\n".encode())
                c.get("/named", "X-Forwarded-Proto: https\r\n")
            assert app.seen("/named")[-1].get("x-forwarded-proto") == proto


# --- limits.connections ---

def test_limit_of_connections(app):
    with Lethe(app.address, {"limits.connections": 3}) as lethe:
        clients = [Client(lethe.address) for _ in range(3)]
        for c in clients:
            assert c.get("/").status == 200
        for said in (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"):
            with Client(lethe.address) as c:
                if not said:
                    r = c.response()
                    assert r.status == 503 and r.get("x-lethe-error") == "too_many_connections" and r.get("retry-after") == "1"
                    assert r.body.endswith(b"\n") and r.has_option("close")
                    assert c.end() == ("eof", b"")
                else:
                    r = c.ask(said)
                    assert r.status == 503
        assert lethe.metrics().get("lethe_rejects_total", reason="connections") == 2
        for c in clients:
            assert c.get("/").status == 200  # those inside are not touched
        clients[0].close()
        lethe.wait_metric(2, "lethe_client_connections")
        with Client(lethe.address) as c:
            assert c.get("/").status == 200
        for c in clients:
            c.close()


def test_admin_is_not_shut_out(app):
    """Health and metrics are answered however many clients there are."""
    with Lethe(app.address, {"limits.connections": 1}) as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        assert lethe.get_admin("/metrics").status == 200


def test_origin_handler_errors_are_seen():
    """The rig itself: what goes wrong in an origin's thread fails the test."""
    def broken(conn):
        conn.request()
        conn.send(answer())
        raise ValueError("seen")
    o = Origin(broken)
    with Client(o.address) as c:
        c.get("/")
        c.end()
    wait_for(lambda: o.errors)
    with pytest.raises(AssertionError, match="seen"):
        o.stop()
