# SPDX-License-Identifier: Apache-2.0
"""TLS to the application: who is believed, who is not, and what is said then."""
import os
import socket
import ssl
import threading

import pytest
from tls_rig import Site, read, replace

from rig import wait_for
from rig.origin import Conn, Origin, answer, ok


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("stranger"), "stranger")


class TlsOrigin(Origin):
    """An application that speaks TLS. `clients`: the authority of the certificates that it asks for."""

    def __init__(self, cert, handler=ok, clients=None, version=None, **how):
        self.ctx = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.ctx.load_cert_chain(*cert)
        if clients:
            self.ctx.load_verify_locations(clients.cert)
            self.ctx.verify_mode = ssl.CERT_REQUIRED
        if version:
            self.ctx.minimum_version = self.ctx.maximum_version = version
        self.refused, self.names = [], []
        self.ctx.sni_callback = lambda _sock, name, _ctx: self.names.append(name)
        super().__init__(handler, **how)

    def _serve(self, conn):
        try:
            conn.sock = self.ctx.wrap_socket(conn.sock, server_side=True)
        except OSError as e:
            self.refused.append(str(e))
            conn.sock.close()
            return
        super()._serve(Conn(self, conn.sock, conn.index))

    @property
    def url(self):
        return f"tls://{self.address}"


@pytest.fixture
def app():
    made = []

    def make(*args, **how):
        made.append(TlsOrigin(*args, **how))
        return made[-1]
    yield make
    for a in made:
        a.stop()


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_good(lethe, app, authority, version):
    a = app(authority.issue("app", "IP:127.0.0.1"), version=version)
    l = lethe(a.url, {"tls.upstream_ca": authority.cert})
    with l.client() as c:
        assert [c.get("/").status for _ in range(20)] == [200] * 20
    assert len(a.connections) == 1, "kept, whatever tickets came"
    assert a.names == [None], "an address is not sent as SNI"
    assert l.get_admin("/readyz").status == 200


def test_name(lethe, app, authority):
    a = app(authority.issue("named", "DNS:app.test"))
    l = lethe(a.url, {"tls.upstream_ca": authority.cert, "tls.upstream_name": "app.test"})
    assert l.get("/").status == 200
    assert a.names == ["app.test"]


@pytest.mark.parametrize("case, why", [("name", "IP address mismatch"), ("other_name", "hostname mismatch"), ("authority", "unable to get local issuer"),
                                       ("system", "unable to get local issuer"), ("expired", "certificate has expired"), ("plain", "wrong version number")])
def test_refused(lethe, app, origin, authority, stranger, case, why):
    cert = authority.issue("app", "DNS:elsewhere.test" if case == "name" else "IP:127.0.0.1,DNS:app.test", -1 if case == "expired" else 2)
    a = app(cert)
    plain = origin(lambda conn: (conn.sock.recv(100), conn.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")))
    url = f"tls://{plain.address}" if case == "plain" else a.url
    options = {} if case == "system" else {"tls.upstream_ca": stranger.cert if case == "authority" else authority.cert}
    if case == "other_name":
        options["tls.upstream_name"] = "other.test"
    l = lethe(url, options)
    for _ in range(3):
        r = l.get("/")
        assert (r.status, r.get("x-lethe-error")) == (502, "upstream_tls")
    assert len(l.events("upstream_tls_failed")) == 1, "once, not at each request"
    line = l.wait_event("upstream_tls_failed")[0]
    assert why in line["why"] and "tls.upstream_ca" in line["do"], line
    assert not a.requests


def test_verification_off(lethe, app, stranger):
    a = app(stranger.issue("any", "DNS:elsewhere.test", -1))
    l = lethe(a.url, {"tls.upstream_verify": False})
    assert l.get("/").status == 200
    assert l.events("upstream_not_verified")


def test_our_certificate(lethe, app, authority, stranger):
    a = app(authority.issue("app", "IP:127.0.0.1"), clients=authority)
    cert, key = authority.client("lethe", "/CN=lethe")
    good = lethe(a.url, {"tls.upstream_ca": authority.cert, "tls.upstream_cert": cert, "tls.upstream_key": key})
    assert good.get("/").status == 200
    none = lethe(a.url, {"tls.upstream_ca": authority.cert})
    assert none.get("/").status == 502


def test_a_certificate_that_is_mended(lethe, app, authority, stranger, tmp_path):
    """The authority's file is read again when it changes."""
    ca = str(tmp_path / "ca.crt")
    replace(ca, read(stranger.cert))
    l = lethe(app(authority.issue("app", "IP:127.0.0.1")).url, {"tls.upstream_ca": ca})
    assert l.get("/").status == 502
    replace(ca, read(authority.cert))
    wait_for(lambda: l.get("/").status == 200, 15)


def test_bodies(lethe, app, authority):
    def echo(conn):
        while (m := conn.request()):
            conn.send(answer(m.body))
    l = lethe(app(authority.issue("app", "IP:127.0.0.1"), echo).url, {"tls.upstream_ca": authority.cert})
    body = os.urandom(3 << 20)
    with l.client() as c:
        writer = threading.Thread(target=lambda: c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body))
        writer.start()
        assert c.response().body == body
        writer.join()


@pytest.mark.parametrize("goodbye", [True, False])
def test_a_body_that_ends_with_the_connection(lethe, app, authority, goodbye):
    """Without a goodbye somebody in between may have cut it: it is not passed on as whole (RFC 9112 section 9.8)."""
    def until_close(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        raw = conn.sock
        if goodbye:
            raw.unwrap().close()
        else:
            socket.socket(fileno=raw.detach()).close()
    l = lethe(app(authority.issue("app", "IP:127.0.0.1"), until_close).url, {"tls.upstream_ca": authority.cert})
    with l.client() as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        if goodbye:
            assert c.response().body == b"all of it"
        else:
            how, got = c.end()
            assert how == "reset" and not got.endswith(b"0\r\n\r\n")


def test_a_silent_application(lethe, authority):
    """It accepts and never shakes hands."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen(10)
        l = lethe(f"tls://127.0.0.1:{s.getsockname()[1]}", {"timeouts.upstream_connect": "300ms", "tls.upstream_ca": authority.cert})
        r = l.get("/")
        assert (r.status, r.get("x-lethe-error")) == (504, "upstream_connect_timeout")


def test_an_idle_connection_that_ends(lethe, app, authority):
    a = app(authority.issue("app", "IP:127.0.0.1"), lambda conn: (conn.request(), conn.send(answer())))
    l = lethe(a.url, {"tls.upstream_ca": authority.cert})
    for _ in range(5):
        assert l.get("/").status == 200
    l.wait_metric(0, "lethe_upstream_connections", state="idle")
