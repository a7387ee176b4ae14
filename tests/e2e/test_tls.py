# SPDX-License-Identifier: Apache-2.0
"""TLS listeners: versions, names, bodies, ends, limits."""
import os
import socket
import ssl
import threading
import time

import pytest
from tls_rig import SITE, Memory, Site, TlsClient, context, has_no_more, openssl, replace, s_client, secure, shown

from rig import wait_for
from rig.base import dial
from rig.http1 import Ended
from rig.origin import answer


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pem(authority):
    return authority.pem("site")


# --- versions, ciphers, names ---

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(lethe, origin, authority, pem, version):
    app = origin()
    l = secure(lethe, app, pem)
    with TlsClient(l.tls, context(authority, versions=version)) as c:
        assert [c.get("/").status for _ in range(3)] == [200] * 3
        assert c.sock.version() == version.name.replace("_", ".")
        assert c.sock.cipher()[0].startswith(("ECDHE", "TLS_"))
    seen = app.requests[-1]
    assert seen.get("x-forwarded-proto") == "https" and "proto=https" in seen.get("forwarded")
    assert l.get("/").status == 200 and app.requests[-1].get("x-forwarded-proto") == "http"
    l.wait_metric(1, "lethe_tls_handshakes_total", result="full")


def test_old_versions_are_refused(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem)
    for old in ("-tls1", "-tls1_1"):
        assert "alert protocol version" in s_client(l.tls, old, "-cipher", "ALL:@SECLEVEL=0")
    modern = secure(lethe, origin(), pem, tls_min_version="1.3")
    assert "alert protocol version" in s_client(modern.tls, "-tls1_2")
    assert "TLSv1.3" in s_client(modern.tls, "-tls1_3")


def test_ciphers_and_groups(lethe, origin, pem):
    chosen = {"tls_ciphers": "ECDHE-ECDSA-CHACHA20-POLY1305:TLS_CHACHA20_POLY1305_SHA256", "tls_groups": "P-384"}
    l = secure(lethe, origin(), pem, **chosen)
    assert "Cipher is ECDHE-ECDSA-CHACHA20-POLY1305" in s_client(l.tls, "-tls1_2")
    assert "Cipher is TLS_CHACHA20_POLY1305_SHA256" in s_client(l.tls, "-tls1_3")
    assert "Server Temp Key: ECDH, secp384r1" in s_client(l.tls, "-tls1_3")
    assert "alert handshake failure" in s_client(l.tls, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")
    # by default nothing without forward secrecy or authenticated encryption
    default = secure(lethe, origin(), pem)
    for weak in ("AES128-SHA", "ECDHE-ECDSA-AES128-SHA", "ECDHE-ECDSA-AES128-SHA256"):
        assert "alert handshake failure" in s_client(default.tls, "-tls1_2", "-cipher", weak)


def test_names(lethe, origin, authority, pem):
    two = authority.pem("two", "DNS:two.test,DNS:zwei.test")
    wild = authority.pem("wild", "DNS:*.wild.test,DNS:wild.test")
    deep = authority.pem("deep", "DNS:b.wild.test")
    l = secure(lethe, origin(), [pem, two, wild, deep])
    expected = {"site.test": "site", "two.test": "two", "ZWEI.Test": "two", "a.wild.test": "wild", "wild.test": "wild",
                "b.wild.test": "deep", "a.b.wild.test": "site", "unknown.test": "site", "wild.test.": "wild", None: "site"}
    assert {name: shown(l.tls, name) for name in expected} == expected


def test_two_kinds_of_key(lethe, origin, authority, pem):
    rsa = authority.pem("rsa", SITE, key=["-newkey", "rsa:2048"])
    l = secure(lethe, origin(), [pem, rsa])
    assert "Cipher is ECDHE-RSA" in s_client(l.tls, "-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256")
    assert "Cipher is ECDHE-ECDSA" in s_client(l.tls, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256")


def test_key_in_a_file_of_its_own(lethe, origin, authority):
    cert, key = authority.issue("apart", SITE)
    l = secure(lethe, origin(), f"{cert}:{key}")
    with TlsClient(l.tls, context(authority)) as c:
        assert c.get("/").status == 200


def test_protocols(lethe, origin, authority, pem):
    """ALPN: HTTP/2 is dearer, unless it is switched off; who wants only something else is refused (RFC 7301)."""
    l = secure(lethe, origin(), pem)
    plain = secure(lethe, origin(), pem, http2="false")
    for address, offered, chosen in ((l.tls, ["http/1.1", "h2"], "h2"), (l.tls, ["http/1.1"], "http/1.1"), (plain.tls, ["h2", "http/1.1"], "http/1.1")):
        with TlsClient(address, context(authority, alpn=offered)) as c:
            assert c.sock.selected_alpn_protocol() == chosen
    with pytest.raises(ssl.SSLError, match="NO_APPLICATION_PROTOCOL|alert"):
        TlsClient(l.tls, context(authority, alpn=["imap"]))


def test_staple(lethe, origin, authority, tmp_path):
    fresh, old, other, none = (authority.pem(n, f"DNS:{n}.test") for n in ("fresh", "old", "other", "none"))
    authority.staple(fresh)
    os.rename(authority.staple(fresh), f"{other}.ocsp")  # it is about another certificate
    authority.staple(fresh)
    replace(f"{old}.ocsp", b"no response")
    l = secure(lethe, origin(), [fresh, old, other, none])

    def status(name):
        text = s_client(l.tls, "-status", "-servername", f"{name}.test")
        return "good" if "Cert Status: good" in text else "none" if "no response sent" in text else text
    assert {n: status(n) for n in ("fresh", "old", "other", "none")} == {"fresh": "good", "old": "none", "other": "none", "none": "none"}
    assert {os.path.basename(e["path"]): e["why"] for e in l.events("tls_staple")} == {
        "old.pem.ocsp": "it is no OCSP response in DER", "other.pem.ocsp": "it is about another certificate"}
    off = secure(lethe, origin(), [fresh], tls_ocsp=False)
    assert "no response sent" in s_client(off.tls, "-status")


# --- bodies and ends ---

def echo(conn):
    while (m := conn.request()):
        conn.send(answer(m.body))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_large_bodies(lethe, origin, authority, pem, version):
    """Both ways at once. By one thread: an SSL object is not for two."""
    l = secure(lethe, origin(echo), pem)
    body = os.urandom(1 << 20)
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in (body[i:i + 70001] for i in range(0, len(body), 70001)))
    sized = b"POST / HTTP/1.1\r\nHost: site.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    chunked = b"POST / HTTP/1.1\r\nHost: site.test\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"
    m = Memory(l.tls, context(authority, versions=version))
    m.until_done(m.tls.do_handshake)
    for request in (sized, chunked, sized):
        head, _, got = m.exchange(request, len(body)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200") and got == body
    m.sock.close()


def test_a_slow_reader_stops_the_application(lethe, origin, authority, pem):
    size = 64 << 20
    sent = []

    def flood(conn):
        conn.request()
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        piece = bytes(1 << 16)
        for _ in range(size >> 16):
            conn.send(piece)
            sent.append(len(piece))
    l = secure(lethe, origin(flood), pem)
    with TlsClient(l.tls, context(authority), timeout=60) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: sent, 10)
        last = [0, time.monotonic()]  # how much was sent, and since when

        def has_stopped():
            if last[0] != len(sent):
                last[:] = [len(sent), time.monotonic()]
            return time.monotonic() - last[1] > 0.5
        wait_for(has_stopped, 30)
        assert sum(sent) < size // 2
        got = []
        c.response(sink=lambda b: got.append(len(b)))
        assert sum(got) == size


def test_records_of_one_byte(lethe, origin, authority, pem):
    l = secure(lethe, origin(echo), pem)
    with TlsClient(l.tls, context(authority)) as c:
        c.send_pieces(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 300\r\n\r\n" + b"x" * 300, size=1)
        assert c.response().body == b"x" * 300


def test_bytes_one_by_one(lethe, origin, authority, pem):
    """Handshake and request cut into segments of one byte; then two requests and the end in one segment."""
    l = secure(lethe, origin(echo), pem)
    m = Memory(l.tls, context(authority))
    m.until_done(m.tls.do_handshake, size=1)
    m.tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    m.push(size=1)
    assert m.until_done(lambda: m.tls.read(1 << 16)).startswith(b"HTTP/1.1 200")
    for _ in range(2):
        m.tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    m.push()
    got = b""
    while got.count(b"HTTP/1.1 200") < 2:
        got += m.until_done(lambda: m.tls.read(1 << 16))
    m.sock.close()


def test_a_whole_flight_at_once(lethe, origin, authority, pem):
    """The request comes in one segment with the end of the handshake: no event of the socket tells of it."""
    l = secure(lethe, origin(echo), pem)
    m = Memory(l.tls, context(authority, versions=ssl.TLSVersion.TLSv1_3))
    while True:
        try:
            m.tls.do_handshake()
            break
        except ssl.SSLWantReadError:
            m.push()
            m.pull()
    m.tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    m.push()
    assert m.until_done(lambda: m.tls.read(1 << 16)).startswith(b"HTTP/1.1 200")
    m.sock.close()


def test_half_close(lethe, origin, authority, pem):
    """A client that has said goodbye still gets its answer."""
    l = secure(lethe, origin(lambda conn: (conn.request(), gate.wait(10), conn.send(answer(b"late")))), pem)
    gate = threading.Event()
    m = Memory(l.tls, context(authority))
    m.until_done(m.tls.do_handshake)
    m.tls.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    try:
        m.tls.unwrap()
    except ssl.SSLWantReadError:
        pass
    m.push()
    gate.set()
    raw = b""
    while (data := m.sock.recv(1 << 16)):
        raw += data
    m.incoming.write(raw)
    m.sock.close()
    # OpenSSL does not give out data behind its own goodbye: lethe's log says that the answer went out whole
    assert l.wait_access()[0]["status"] == "200" and l.wait_access()[0]["outcome"] == "ok"


def test_goodbye(lethe, origin, authority, pem):
    """An end that is meant says so; one in the middle of an answer does not."""
    def cut(conn):
        m = conn.request()
        if m.target == "/cut":
            conn.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        else:
            conn.send(answer())
    l = secure(lethe, origin(cut), pem)
    with TlsClient(l.tls, context(authority)) as c:
        c.get("/", "Connection: close\r\n")
        assert c.end() == ("eof", b"")
    with TlsClient(l.tls, context(authority)) as c:  # HTTP/1.0: only the end says that the body is whole
        c.send(b"GET /cut HTTP/1.0\r\n\r\n")
        with pytest.raises((ssl.SSLEOFError, Ended, ConnectionError)):
            c.response()


def test_an_end_without_goodbye_is_an_abort(lethe, origin, authority, pem):
    released = threading.Event()

    def slow(conn):
        conn.request()
        released.wait(10)
    l = secure(lethe, origin(slow), pem)
    with TlsClient(l.tls, context(authority)) as c:
        c.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: l.metrics().get("lethe_upstream_connections", state="active") == 1, 10)
        os.close(c.sock.detach())
    assert l.wait_access()[0]["outcome"] == "aborted"
    released.set()


def test_renegotiation_is_refused(lethe, origin, pem):
    l = secure(lethe, origin(), pem)
    with dial(l.tls):
        pass
    text = s_client(l.tls, "-tls1_2", data=b"R\n")
    assert "RENEGOTIATING" in text and "no renegotiation" in text
    assert "Secure Renegotiation IS supported" in text


# --- limits ---

def test_slow_handshakes_end(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem, **{"timeouts.head": "300ms", "timeouts.idle": "30s"})
    silent = dial(l.tls)
    half = dial(l.tls)
    half.sendall(b"\x16\x03\x01\x02\x00\x01")
    for s in (silent, half):
        assert has_no_more(s), "the limit"
        s.close()
    l.wait_metric(2, "lethe_tls_handshakes_total", result="failed")
    with TlsClient(l.tls, context(authority)) as c:
        assert c.get("/").status == 200
        l.wait_metric(1, "lethe_client_connections")


def test_plain_http_on_a_tls_port(lethe, origin, pem):
    l = secure(lethe, origin(), pem, **{"log.level": "debug"})
    with dial(l.tls) as s:
        s.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b"HTTP" not in s.recv(100)  # at most an alert
    assert "http request" in l.wait_event("tls_failed")[0]["why"]
    l.wait_metric(0, "lethe_client_connections")


def test_drain(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem)
    with TlsClient(l.tls, context(authority)) as c:
        c.get("/")
        l.signal(15)
        assert c.end() == ("eof", b"")
    l.process.wait(10)


@pytest.mark.parametrize("header", [b"PROXY TCP4 192.0.2.9 192.0.2.1 5000 443\r\n",
                                    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x09\xc0\0\x02\x01\x13\x88\x01\xbb"])
def test_behind_a_proxy_header(lethe, origin, authority, pem, header):
    app = origin()
    l = secure(lethe, app, pem, proxy_protocol=True)
    with TlsClient(l.tls, context(authority), before=header) as c:
        c.get("/")
    assert app.requests[-1].get("x-forwarded-for") == "192.0.2.9"
    with dial(l.tls) as raw:  # byte by byte, with the hello behind
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context(authority).wrap_bio(incoming, outgoing, server_hostname="site.test")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        for b in header[:-3]:
            raw.sendall(bytes([b]))
        raw.sendall(header[-3:] + outgoing.read())
        assert raw.recv(1) == b"\x16"


def test_over_the_limit(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem, **{"limits.connections": 1})
    with TlsClient(l.tls, context(authority)) as c:
        c.get("/")
        with pytest.raises((ssl.SSLError, ConnectionError)):
            TlsClient(l.tls, context(authority))
        assert c.get("/").status == 200


def test_secure_cookies(lethe, origin, authority, pem):
    """The token of a session is for https alone where the client speaks TLS; a trusted peer's word goes before."""
    def login(conn):
        while conn.request():
            conn.send(answer(headers="Set-Cookie: PHPSESSID=abcdefgh; path=/\r\n"))
    l = secure(lethe, origin(login), pem, trusted_proxies="127.0.0.1")
    with TlsClient(l.tls, context(authority)) as c:
        assert c.get("/").get("set-cookie").startswith("__Host-")
        assert not c.get("/", "X-Forwarded-Proto: http\r\n").get("set-cookie").startswith("__Host-")
    assert not l.get("/").get("set-cookie").startswith("__Host-")


def test_speaks_no_early_data(lethe, origin, pem, tmp_path):
    l = secure(lethe, origin(), pem)
    session, early = str(tmp_path / "session"), tmp_path / "early"
    early.write_bytes(b"GET /early HTTP/1.1\r\nHost: a\r\n\r\n")
    s_client(l.tls, "-sess_out", session, "-ign_eof", data=b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    text = openssl("s_client", "-connect", l.tls, "-sess_in", session, "-early_data", str(early)).stdout
    assert "Reused, TLSv1.3" in text and "Early data was not sent" in text
    assert not l.access()[1:]
