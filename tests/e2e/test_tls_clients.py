# SPDX-License-Identifier: Apache-2.0
"""Client certificates, and who the application believes the client to be."""
import ssl
import subprocess

import pytest
from session_rig import keys
from tls_rig import Site, TlsClient, context, secure

from rig.base import dial
from rig.http1 import Ended
from rig.origin import answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def clients(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("clients"), "clients")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("stranger"), "stranger")


@pytest.fixture(scope="module")
def pem(authority):
    return authority.pem("site")


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


def is_refused(l, ctx):
    try:
        with TlsClient(l.tls, ctx) as c:
            c.get("/")
        return False
    except (ssl.SSLError, Ended, ConnectionError) as e:
        return str(e) or repr(e)


def ask(l, app, ctx, headers="", session=None):
    """The subjects that the application sees, under any name that could be taken for the header's."""
    with TlsClient(l.tls, ctx, session=session) as c:
        assert c.get("/", headers).status == 200
        kept = c.sock.session
    return [v for n, v in app.requests[-1].headers if n.lower().replace("_", "-") == "x-client-subject"], kept


@pytest.mark.parametrize("version", VERSIONS)
def test_required(lethe, origin, authority, clients, stranger, pem, version):
    app = origin()
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="require", **{"log.level": "debug"})
    good = clients.client("good", "/C=DE/O=Example, Inc./CN=Ada")
    assert ask(l, app, context(authority, good, version))[0] == ["CN=Ada,O=Example\\, Inc.,C=DE"]
    bad = {"none": None, "stranger": stranger.client("other", "/CN=Ada"), "expired": clients.client("late", "/CN=Ada", days=-1)}
    assert all(is_refused(l, context(authority, cert, version)) for cert in bad.values())
    said = [e["why"] for e in l.wait_event("tls_failed", count=3)]
    assert "peer did not return a certificate" in said[0] and "unable to get" in said[1] and "expired" in said[2], said
    assert len(app.requests) == 1
    l.wait_metric(3, "lethe_tls_handshakes_total", result="failed")


def test_the_alert_is_heard(lethe, origin, authority, clients, pem):
    """The client sends its request at once (TLS 1.3); what it reads is the reason, not a reset."""
    l = secure(lethe, origin(), pem, tls_client_ca=clients.cert, tls_client_verify="require")
    for _ in range(5):
        assert "certificate required" in is_refused(l, context(authority, versions=VERSIONS[1])).lower().replace("_", " ")


def test_optional(lethe, origin, authority, clients, stranger, pem):
    app = origin()
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="optional")
    assert ask(l, app, context(authority))[0] == []
    assert ask(l, app, context(authority, clients.client("ada", "/CN=Ada")))[0] == ["CN=Ada"]
    assert is_refused(l, context(authority, stranger.client("eve", "/CN=Ada")))


def test_forged(lethe, origin, authority, clients, pem):
    """Nobody says it but lethe: not under another spelling, not on the plain listener, not from a trusted peer, not in trailers."""
    app = origin()
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="optional", trusted_proxies="127.0.0.1")
    lies = "".join(f"{name}: CN=root\r\n" for name in ("X-Client-Subject", "x_client_subject", "X-CLIENT_Subject", "X.Client.Subject"))
    assert ask(l, app, context(authority), lies)[0] == []
    assert not [n for n in app.requests[-1].names() if "subject" in n]
    good = context(authority, clients.client("ada", "/CN=Ada"))
    assert ask(l, app, good, lies + "Connection: X-Client-Subject\r\n")[0] == ["CN=Ada"]
    assert app.requests[-1].names().count("x-client-subject") == 1
    l.get("/", lies)
    assert not [n for n in app.requests[-1].names() if "subject" in n]
    with TlsClient(l.tls, good) as c:
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX-Client-Subject: CN=root\r\nX-Mine: 1\r\n\r\n")
        assert c.response().status == 200
    assert [n for n, _ in app.requests[-1].trailers] == ["X-Mine"]
    # where no certificates are asked for, the field is an ordinary one
    plain = secure(lethe, app, pem)
    assert ask(plain, app, context(authority), "X-Client-Subject: a\r\n")[0] == ["a"]


@pytest.mark.parametrize("subject, expected", [
    ("/CN=M\u00fcller", "CN=M\\C3\\BCller"), ("/CN=a\r\nX-Admin: yes", "CN=a\\0D\\0AX-Admin: yes"),
    ("/CN= lead", "CN=\\ lead"), ('/CN=q"uote;<x>', 'CN=q\\"uote\\;\\<x\\>')])
def test_names_stay_one_field(lethe, origin, authority, clients, pem, subject, expected):
    app = origin()
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="require",
               tls_client_subject_header="X-Who")
    with TlsClient(l.tls, context(authority, clients.client("odd", subject))) as c:
        assert c.get("/").status == 200
    assert app.requests[-1].get("x-who") == expected
    assert "x-admin" not in app.requests[-1].names()


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed(lethe, origin, authority, clients, stranger, pem, version):
    """A ticket carries who the client is; but not to a lethe that believes other authorities."""
    app, ring = origin(), keys()
    how = {"keys": ring, "tls_client_verify": "optional"}
    one, two = (secure(lethe, app, pem, tls_client_ca=clients.cert, **how) for _ in range(2))
    other = secure(lethe, app, pem, tls_client_ca=stranger.cert, **how)
    ctx = context(authority, clients.client("ada", "/CN=Ada"), version)
    _, session = ask(one, app, ctx)
    assert ask(two, app, ctx, session=session)[0] == ["CN=Ada"]
    two.wait_metric(1, "lethe_tls_handshakes_total", result="resumed")
    assert is_refused(other, ctx), "a full handshake, with a stranger's certificate"
    other.wait_metric(0, "lethe_tls_handshakes_total", result="resumed")


def test_a_certificate_that_expires_meanwhile(lethe, origin, authority, clients, pem, tmp_path):
    """A ticket does not outlive the certificate that it was given for."""
    app = origin()
    l = secure(lethe, app, pem, keys=keys(), tls_client_ca=clients.cert, tls_client_verify="require", **{"log.level": "debug"})
    cert, key = clients.brief("brief", "/CN=Brief", seconds=6)
    ctx = context(authority, (cert, key), VERSIONS[1])
    _, session = ask(l, app, ctx)
    assert ask(l, app, ctx, session=session)[0] == ["CN=Brief"], "resumed, and still good"
    l.wait_metric(1, "lethe_tls_handshakes_total", result="resumed")
    clients.wait_expired(cert)
    with pytest.raises((ssl.SSLError, Ended, ConnectionError, AssertionError)):
        ask(l, app, ctx, session=session)
    assert "expired" in l.wait_event("tls_failed")[-1]["why"]


def test_plain_listener_has_none(lethe, origin, authority, clients, pem):
    app = origin(lambda conn: [conn.send(answer()) for _ in iter(conn.request, None)])
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="require")
    assert l.get("/").status == 200
    with dial(l.address):
        pass
    assert "x-client-subject" not in app.requests[-1].names()


def test_http2(lethe, origin, authority, clients, pem, tmp_path):
    """The same by HTTP/2: the subject on every stream, forged ones on none."""
    app = origin()
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify="optional")
    cert, key = clients.client("ada", "/CN=Ada")
    base = ["curl", "-sS", "--http2", "--cacert", authority.cert, "-o", "/dev/null", "-w", "%{http_version}\n", "-H", "X-Client-Subject: CN=root",
            "-H", "x_client_subject: CN=root"]
    urls = [f"https://{l.tls}/{i}" for i in range(3)]
    for more, expected in (([], []), (["--cert", cert, "--key", key], ["CN=Ada"])):
        before = len(app.requests)
        words = [w for url in urls for w in (url, "-o", "/dev/null")]
        done = subprocess.run([*base, *more, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0 and set(done.stdout.split()) == {"2"}, done
        for request in app.requests[before:]:
            assert [v for n, v in request.headers if n.lower().replace("_", "-") == "x-client-subject"] == expected
            assert request.get("x-forwarded-proto") == "https"
        assert len(app.requests) == before + 3
