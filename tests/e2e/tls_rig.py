# SPDX-License-Identifier: Apache-2.0
"""Certificates, clients and servers for the tests of TLS."""
import os
import re
import select
import socket
import ssl
import subprocess
import time

from redis_rig import EC_KEY, Authority

from rig.base import dial
from rig.http1 import Reader
from rig import Client, wait_for

SITE = "DNS:site.test,IP:127.0.0.1"


class Site(Authority):
    """An authority whose .pem("site", …) is one file as tls.certificates wants it."""

    def pem(self, name, names=SITE, days=2, key=None):
        cert, secret = self.issue(name, names, days) if key is None else self.issue_with(name, names, days, key)
        path = os.path.join(self.dir, f"{name}.pem")
        replace(path, read(cert) + read(secret))
        return path

    def issue_with(self, name, names, days, key):
        """With another kind of key: ["-newkey", "rsa:2048"]."""
        base = os.path.join(self.dir, name)
        with open(f"{base}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
        self.count += 1
        self._openssl("req", "-new", *key, "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.cert, "-CAkey", self.key, "-set_serial", str(self.count),
                      "-days", str(days), "-extfile", f"{base}.ext", "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"

    def client(self, name, subject, days=2):
        """(certificate, key) of a client whose subject is as "openssl req -subj" has it."""
        base = os.path.join(self.dir, name)
        self.count += 1
        self._openssl("req", "-new", "-utf8", *EC_KEY, "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", subject)
        self._openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.cert, "-CAkey", self.key, "-set_serial", str(self.count),
                      "-days", str(days), "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"

    def brief(self, name, subject, seconds):
        """A client certificate that ends `seconds` from now: "openssl ca" alone takes such an end."""
        base = os.path.join(self.dir, name)
        conf = os.path.join(self.dir, "ca.conf")
        for path, text in ((f"{self.dir}/db", ""), (f"{self.dir}/serial", "7000"),
                           (conf, f"[ca]\ndefault_ca=d\n[d]\ndatabase={self.dir}/db\nserial={self.dir}/serial\nnew_certs_dir={self.dir}\n"
                                  f"default_md=sha256\npolicy=p\n[p]\ncommonName=supplied\n")):
            with open(path, "w", encoding="ascii") as f:
                f.write(text)
        self._openssl("req", "-new", *EC_KEY, "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", subject)
        end = time.strftime("%Y%m%d%H%M%SZ", time.gmtime(time.time() + seconds))
        self._openssl("ca", "-batch", "-config", conf, "-cert", self.cert, "-keyfile", self.key, "-in", f"{base}.csr", "-out",
                      f"{base}.crt", "-startdate", "20250101000000Z", "-enddate", end)
        return f"{base}.crt", f"{base}.key"

    @staticmethod
    def wait_expired(cert):
        wait_for(lambda: openssl("x509", "-in", cert, "-noout", "-checkend", "0").returncode == 1, 20, "its end")

    def staple(self, pem, status="V", days=1):
        """<pem>.ocsp, as the authority would answer about this certificate."""
        serial = openssl("x509", "-in", pem, "-noout", "-serial").stdout.strip().split("=")[1]
        index = os.path.join(self.dir, "index.txt")
        with open(index, "w", encoding="ascii") as f:
            f.write(f"{status}\t400101000000Z\t{'250101000000Z' if status == 'R' else ''}\t{serial}\tunknown\t/CN=x\n")
        request = os.path.join(self.dir, "ocsp.req")
        openssl("ocsp", "-issuer", self.cert, "-cert", pem, "-reqout", request)
        openssl("ocsp", "-index", index, "-CA", self.cert, "-rsigner", self.cert, "-rkey", self.key, "-reqin", request, "-respout",
                f"{pem}.ocsp", "-ndays", str(days))
        return f"{pem}.ocsp"


def read(path):
    with open(path, "rb") as f:
        return f.read()


def replace(path, data):
    """As a certificate manager does it: whole or not at all."""
    with open(f"{path}.new", "wb") as f:
        f.write(data)
    os.rename(f"{path}.new", path)


def openssl(*words, data=b"", seconds=20):
    done = subprocess.run(["openssl", *words], input=data, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=seconds, check=False)
    done.stdout = done.stdout.decode("utf-8", "backslashreplace")
    return done


def s_client(address, *words, data=b"", seconds=20):
    """What `openssl s_client` says; its input ends at once unless `data` asks for something."""
    return openssl("s_client", "-connect", address, *words, data=data, seconds=seconds).stdout


def context(authority=None, cert=None, versions=None, alpn=None):
    c = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if authority:
        c.load_verify_locations(authority.cert)
    else:
        c.check_hostname, c.verify_mode = False, ssl.CERT_NONE
    if cert:
        c.load_cert_chain(*cert)
    if versions:
        c.minimum_version = c.maximum_version = versions
    if alpn:
        c.set_alpn_protocols(alpn)
    return c


class TlsClient(Client):
    """A Client over TLS. `session`: one to resume."""

    def __init__(self, address, ctx=None, name="site.test", session=None, timeout=15, before=b""):
        raw = dial(address, timeout)
        try:
            if before:
                raw.sendall(before)
            self.sock = (ctx or context()).wrap_socket(raw, server_hostname=name, session=session, suppress_ragged_eofs=False)
        except BaseException:
            raw.close()
            raise
        self.reader = Reader(self.sock)

    @property
    def reused(self):
        return self.sock.session_reused


def tls_address(lethe):
    """Of the (last) TLS listener."""
    return [e["address"] for e in lethe.events("listening") if e["tls"] == "yes"][-1]


def subject_of(peer_cert):
    return dict(part[0] for part in peer_cert["subject"])["commonName"]


def shown(address, name, **how):
    """The common name of the certificate that somebody sees who asks for `name`."""
    text = s_client(address, *(["-servername", name] if name else ["-noservername"]), **how)
    return re.search(r"subject=.*CN ?= ?(\S+)", text)[1]


def has_no_more(sock):
    sock.settimeout(5)
    try:
        return sock.recv(1) == b""
    except (ssl.SSLError, ConnectionError):
        return True
    except socket.timeout:
        return False


def secure(lethe, app, pem, **options):
    """A running lethe with a TLS listener beside the plain one; .tls is its address."""
    names = {f"tls.{k[4:]}" if k.startswith("tls_") else k: v for k, v in options.items()}
    before = {k: names.pop(k) for k in list(names) if "." not in k}
    l = lethe(app, {"tls.listen": "127.0.0.1:0", "tls.certificates": pem, **names}, **before)
    l.wait_event("listening", count=2)
    l.tls = tls_address(l)
    return l


class Memory:
    """A TLS client without a socket: its bytes go out as the test wants."""

    def __init__(self, address, ctx):
        self.sock = dial(address)
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = ctx.wrap_bio(self.incoming, self.outgoing, server_hostname="site.test")

    def push(self, size=None):
        data = self.outgoing.read()
        for i in range(0, len(data), size or len(data) or 1):
            self.sock.sendall(data[i:i + (size or len(data))])

    def pull(self):
        data = self.sock.recv(1 << 16)
        self.incoming.write(data) if data else self.incoming.write_eof()

    def until_done(self, call, size=None):
        while True:
            try:
                value = call()
                self.push(size)
                return value
            except ssl.SSLWantReadError:
                self.push(size)
                self.pull()

    def exchange(self, request, size):
        """Sends while it receives; what came, once a head and `size` bytes behind it are there."""
        self.tls.write(request)
        out, got = self.outgoing.read(), b""
        while b"\r\n\r\n" not in got or len(got) - got.index(b"\r\n\r\n") - 4 < size:
            readable, writable, _ = select.select([self.sock], [self.sock] if out else [], [], 15)
            assert readable or writable, "nothing moves"
            if writable:
                out = out[self.sock.send(out[:1 << 16]):]
            if readable:
                self.pull()
                got += self.drain()
        assert not out
        return got

    def drain(self):
        parts = []
        try:
            while (data := self.tls.read(1 << 16)):
                parts.append(data)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)
