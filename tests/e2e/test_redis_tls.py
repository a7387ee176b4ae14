# SPDX-License-Identifier: Apache-2.0
"""rediss://: who is believed, who is not, and what is said then."""
import pytest
from redis_rig import Authority, Cluster, Crowd, Sentinels, counting_app, crash
from session_rig import keys

from rig import Redis, free_port, run_cli, wait_for
from rig.base import dial


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture
def app():
    a = counting_app()
    yield a
    a.stop()


def tls_args(authority, cert, key, port, clients="no"):
    return ["--tls-port", str(port), "--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", authority.cert,
            "--tls-auth-clients", clients]


class TlsRedis(Redis):
    """TLS on .tls_port, plain on .port for the test's own questions."""

    def __init__(self, directory, authority, cert, key, clients="no", args=()):
        self.tls_port = free_port()
        super().__init__(directory, args=[*tls_args(authority, cert, key, self.tls_port, clients), *args])
        self.plain_url, self.url = self.url, f"rediss://127.0.0.1:{self.tls_port}/0"


def counts(lethe):
    """A session lives: two writes, two reads."""
    token = None
    for n in (1, 2):
        r = lethe.get("/write?u", f"Cookie: lethe={token}\r\n" if token else "")
        assert r.status == 200, (r.status, r.lines, lethe.process.tail())
        token = [c for c in r.all("set-cookie") if c.startswith("lethe=")][0].split(";")[0].split("=", 1)[1]
        assert lethe.get("/read?u", f"Cookie: lethe={token}\r\n").body == f"u.{n}".encode()
    return token


def plain_bytes_are_refused(redis):
    with dial(f"127.0.0.1:{redis.tls_port}") as s:
        s.sendall(b"PING\r\n")
        try:
            return b"PONG" not in s.recv(100)
        except ConnectionError:
            return True


def test_server_certificate(lethe, app, authority, tmp_path):
    with TlsRedis(tmp_path, authority, *authority.issue("server")) as redis:
        assert plain_bytes_are_refused(redis)
        l = lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert})
        token = counts(l)
        assert redis.keys(), "the records are in this Redis"
        redis.call("CLIENT", "KILL", "TYPE", "normal")
        assert l.get("/read?u", f"Cookie: lethe={token}\r\n").body == b"u.2"


def test_client_certificate(lethe, app, authority, stranger, tmp_path):
    cert, key = authority.issue("lethe", names="DNS:lethe.test")
    with TlsRedis(tmp_path, authority, *authority.issue("server"), clients="yes") as redis:
        counts(lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert, "redis.cert": cert, "redis.key": key}))
        without = lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert})
        refused(without, "certificate required")
        cert, key = stranger.issue("lethe")
        other = lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert, "redis.cert": cert, "redis.key": key})
        refused(other, "unknown ca")


def refused(lethe, why):
    """Nothing is stored, pages without a session go on, and one line says why."""
    r = lethe.get("/write?u")
    assert (r.status, r.get("x-lethe-error")) == (503, "store_unavailable")
    assert lethe.get("/anonymous").status == 200
    line = lethe.wait_event("redis_tls_failed")[0]
    assert why in line["why"] and "redis.ca" in line["do"], line
    lethe.wait_metric(1, "lethe_store_breaker_open")
    wait_for(lambda: lethe.get("/write?u").status == 503, 5)
    assert len(lethe.events("redis_tls_failed")) == 1, "once, not at each try"


@pytest.mark.parametrize("case, why", [("authority", "self-signed certificate in"), ("system", "self-signed certificate in"),
                                       ("name", "IP address mismatch"), ("server_name", "hostname mismatch"),
                                       ("expired", "certificate has expired"), ("plain", "handshake came to no end")])
def test_refused(lethe, app, authority, stranger, tmp_path, case, why):
    names = {"name": "DNS:elsewhere.test,IP:127.0.0.2"}.get(case, "IP:127.0.0.1,DNS:redis.test")
    cert, key = authority.issue("server", names, days=-1 if case == "expired" else 2)
    options = {"redis.ca": stranger.cert if case == "authority" else authority.cert}
    if case == "system":
        options = {}
    if case == "server_name":
        options["redis.server_name"] = "other.test"
    with TlsRedis(tmp_path, authority, cert, key) as redis:
        url = redis.url.replace(str(redis.tls_port), str(redis.port)) if case == "plain" else redis.url
        refused(lethe(app, store=url, keys=keys(), **options), why)
        assert not redis.keys()


def test_server_name(lethe, app, authority, tmp_path):
    """The address is in no certificate, the name is."""
    with TlsRedis(tmp_path, authority, *authority.issue("server", "DNS:redis.test")) as redis:
        counts(lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert, "redis.server_name": "redis.test"}))
        named = redis.url.replace("127.0.0.1", "localhost")
        refused(lethe(app, store=named, keys=keys(), **{"redis.ca": authority.cert}), "hostname mismatch")


def test_the_server_mends_its_certificate(lethe, app, authority, tmp_path):
    with TlsRedis(tmp_path, authority, *authority.issue("old", days=-1)) as redis:
        l = lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert})
        refused(l, "expired")
        cert, key = authority.issue("new")
        redis.call("CONFIG", "SET", "tls-cert-file", cert, "tls-key-file", key)
        wait_for(lambda: l.get("/write?u").status == 200, 10, "a good certificate")
        l.wait_metric(0, "lethe_store_breaker_open")


def test_large_records(lethe, app, authority, tmp_path):
    """Records of many TLS records, both ways, many at a time."""
    def big(conn, head):
        conn.body(head)
        seen = sum(len(c) for c in head.all("cookie"))
        lines = "".join(f"Set-Cookie: s{i}={'x' * 1500}; path=/\r\n" for i in range(16)) if "set" in head.target else ""
        conn.send(b"HTTP/1.1 200 OK\r\n" + lines.encode() + b"Content-Length: %d\r\n\r\n%d" % (len(str(seen)), seen))
    app.on("/big")(big)
    with TlsRedis(tmp_path, authority, *authority.issue("server")) as redis:
        l = lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert, "session.cookies": "s*", "limits.head": "64k"})
        tokens = []
        for _ in range(8):
            r = l.get("/big?set")
            tokens.append(r.all("set-cookie")[0].split(";")[0])
        clients = [l.client() for _ in range(8)]
        for round_ in range(5):
            for c, token in zip(clients, tokens):
                c.send(f"GET /big?{round_} HTTP/1.1\r\nHost: a\r\nCookie: {token}\r\n\r\n".encode())
            assert {int(c.response().body) for c in clients} == {sum(len(f"s{i}=") + 1500 for i in range(16)) + 2 * 15}
        for c in clients:
            c.close()


def test_crowd(lethe, app, authority, tmp_path):
    with TlsRedis(tmp_path, authority, *authority.issue("server")) as redis:
        replicas = [lethe(app, store=redis.url, keys=keys(), **{"redis.ca": authority.cert, "session.rotate_grace": "10m"}) for _ in range(2)]
        crowd = Crowd(replicas, users=200).start()
        for _ in range(3):
            redis.call("CLIENT", "KILL", "TYPE", "normal")
            crowd.wait_more(200)
        crowd.stop()
        crowd.figures("Redis, TLS", ["CLIENT KILL, 3 times"])


def tls_files(authority):
    cert, key = authority.issue("server")
    return {"tls-cert-file": cert, "tls-key-file": key, "tls-ca-cert-file": authority.cert, "tls-auth-clients": "no"}


def test_cluster_by_tls(lethe, app, authority, tmp_path):
    """The map names the TLS ports to whom asks by TLS."""
    with Cluster(tmp_path, nodes=3, replicas=0, tls=tls_files(authority)) as cluster:
        assert cluster.url.startswith("rediss+cluster://")
        l = lethe(app, store=cluster.url.split(",")[0], keys=keys(), **{"redis.ca": authority.cert, "session.rotate_grace": "10m"})
        Crowd([l], users=60, threads=4).start().stop()
        assert all(n.call("DBSIZE") > 0 for n in cluster.nodes)
        assert not l.events("redis_away")


def test_sentinel_by_tls(lethe, app, authority, tmp_path):
    with Sentinels(tmp_path, tls=tls_files(authority)) as s:
        assert s.url.startswith("rediss+sentinel://")
        l = lethe(app, store=s.url, keys=keys(), **{"redis.ca": authority.cert, "session.rotate_grace": "10m"})
        crowd = Crowd([l], users=60, threads=4).start()
        first = s.master()
        crash(first)
        l.wait_event("redis_master_moved", 20)
        crowd.wait_more(200)
        crowd.stop()
        assert s.master() is not first and s.master().call("DBSIZE") > 0


@pytest.mark.parametrize("option", ["ca", "cert", "key"])
@pytest.mark.parametrize("kind", ["missing", "not_pem"])
def test_bad_files_are_found_at_start(authority, tmp_path, option, kind):
    path = tmp_path / "file.pem"
    if kind == "not_pem":
        path.write_text("no certificate\n")
    cert, key = authority.issue("lethe")
    options = {"ca": authority.cert, "cert": cert, "key": key, option: str(path)}
    flags = [f"--redis.{k}={v}" for k, v in options.items()]
    for command in ("run", "check"):
        done = run_cli(command, "--listen=127.0.0.1:0", "--upstream=127.0.0.1:1", f"--store=rediss://127.0.0.1:1/0", *flags)
        lines = done.stderr.splitlines()
        assert done.returncode == 2 and len(lines) == 1, done.stderr
        assert lines[0].startswith(f"redis.{option}: ") and str(path) in lines[0] and "; write the path of" in lines[0], lines


def test_key_of_another_certificate(authority, tmp_path):
    cert, _ = authority.issue("one")
    _, key = authority.issue("other")
    for flags, name in ((["--redis.cert=" + cert, "--redis.key=" + key], "redis.key"), (["--redis.cert=" + cert], "redis.key"),
                        (["--redis.key=" + key], "redis.cert")):
        done = run_cli("check", "--upstream=127.0.0.1:1", "--store=rediss://127.0.0.1:1/0", *flags)
        assert done.returncode == 2 and done.stderr.startswith(name + ": "), done.stderr
