# SPDX-License-Identifier: Apache-2.0
"""Certificates that change under a running lethe, and those that it refuses."""
import os
import signal
import ssl
import threading

import pytest
from tls_rig import SITE, Site, TlsClient, context, read, replace, s_client, secure, shown

from rig import free_port, run_cli, wait_for


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


def test_a_changed_file_is_noticed(lethe, origin, authority, tmp_path):
    pem, cert, key = (str(tmp_path / n) for n in ("one.pem", "two.crt", "two.key"))
    replace(pem, read(authority.pem("old")))
    first = authority.issue("two-old", "DNS:two.test")
    replace(cert, read(first[0]))
    replace(key, read(first[1]))
    l = secure(lethe, origin(), [pem, f"{cert}:{key}"])
    with TlsClient(l.tls, context(authority)) as c:
        c.get("/")
        replace(pem, read(authority.pem("new")))
        wait_for(lambda: shown(l.tls, "site.test") == "new", 15, "the new certificate")
        assert c.get("/").status == 200, "a connection stays as it was"
    second = authority.issue("two-new", "DNS:two.test")
    replace(cert, read(second[0]))  # for a moment the two do not fit
    l.wait_event("reload_failed", 15)
    assert shown(l.tls, "two.test") == "two-old"
    replace(key, read(second[1]))
    wait_for(lambda: shown(l.tls, "two.test") == "two-new", 15, "both")
    authority.staple(pem)  # a staple that appears is noticed as well
    wait_for(lambda: "Cert Status: good" in s_client(l.tls, "-status"), 15, "the staple")


@pytest.mark.parametrize("bad, why", [
    (lambda a: b"", "there is no certificate in it"),
    (lambda a: read(a.issue("lone")[0]), "there is no private key in it"),
    (lambda a: read(a.issue("x")[0]) + read(a.issue("y")[1]), "the key does not belong to the certificate"),
    (lambda a: read(a.pem("half"))[:400], "there is no certificate in it"),
    (lambda a: None, "No such file")])
def test_a_bad_file_changes_nothing(lethe, origin, authority, tmp_path, bad, why):
    pem = str(tmp_path / "site.pem")
    replace(pem, read(authority.pem("good")))
    l = secure(lethe, origin(), pem)
    data = bad(authority)
    if data is None:
        os.unlink(pem)
    else:
        replace(pem, data)
    l.signal(signal.SIGHUP)
    l.wait_event("reload_failed")
    assert any("tls.certificates" in line and why in line and "; write" in line for line in l.process.err), l.process.tail()
    assert shown(l.tls, "site.test") == "good"
    replace(pem, read(authority.pem("mended")))
    wait_for(lambda: shown(l.tls, "site.test") == "mended", 15)


def test_an_expired_certificate_is_a_warning(lethe, origin, authority):
    l = secure(lethe, origin(), authority.pem("gone", days=-1))
    assert l.events("tls_certificate")[0]["why"] == "it has expired"
    with pytest.raises(ssl.SSLError, match="expired"):
        TlsClient(l.tls, context(authority))
    with TlsClient(l.tls) as c:
        assert c.get("/").status == 200


@pytest.mark.slow
def test_a_hundred_changes_under_load(lethe, origin, authority, tmp_path):
    """No handshake fails, no request is lost, and each client sees one of the two."""
    pem = str(tmp_path / "site.pem")
    both = [read(authority.pem(n)) for n in ("even", "odd")]
    replace(pem, both[1])
    l = secure(lethe, origin(), pem, workers=2)
    over, failed, counts = threading.Event(), [], []
    ctx = context(authority)

    def visit():
        n, session = 0, None
        while not over.is_set():
            try:
                with TlsClient(l.tls, ctx, session=session if n % 3 else None) as c:
                    if [c.get("/").status for _ in range(2)] != [200, 200]:
                        failed.append("status")
                    session = c.sock.session
                n += 1
            except Exception as e:  # whatever it is, the test names it
                failed.append(repr(e))
        counts.append(n)
    threads = [threading.Thread(target=visit) for _ in range(4)]
    for t in threads:
        t.start()
    for i in range(100):
        replace(pem, both[i % 2])
        l.signal(signal.SIGHUP)
        l.wait_event("reloaded", 20, i + 1)
        wait_for(lambda i=i: shown(l.tls, "site.test") == ("even", "odd")[i % 2], 10)
    over.set()
    for t in threads:
        t.join()
    assert not failed, failed[:5]
    assert min(counts) > 10
    assert l.metrics().get("lethe_tls_handshakes_total", result="failed") == 0
    l.wait_metric(0, "lethe_client_connections")


# --- lethe check ---

def check(*flags):
    done = run_cli("check", "--upstream=127.0.0.1:1", *flags)
    return done.returncode, done.stderr


@pytest.mark.parametrize("flags, words", [
    (["--tls.listen=127.0.0.1:0"], "tls.listen: there is no certificate; write tls.certificates ="),
    (["--listen=tls://127.0.0.1:8443"], "write it into tls.listen"),
    (["--listen="], "there is no address; write one here or in tls.listen"),
    (["--tls.certificates=/no/such.pem"], '"/no/such.pem": cannot be read (No such file or directory); write'),
    (["--tls.certificates=PEM", "--tls.ciphers=NONSENSE"], 'tls.ciphers: "NONSENSE"'),
    (["--tls.certificates=PEM", "--tls.groups=P-257"], 'tls.groups: "P-257"'),
    (["--tls.certificates=PEM", "--tls.client_verify=require"], "write tls.client_ca"),
    (["--tls.certificates=PEM", "--tls.client_ca=PEM"], "write tls.client_verify"),
    (["--tls.certificates=PEM", "--tls.client_verify=require", "--tls.client_ca=/no/such"], 'tls.client_ca: "/no/such"'),
    (["--tls.certificates=PEM", "--tls.client_subject_header=Host"], "write the name of a field of your own"),
    (["--tls.certificates=WEAK"], "write a certificate that TLS clients take today"),
    (["--tls.certificates=SEALED"], "without a pass phrase"),
    (["--tls.certificates=PEM", "--keys=nonsense"], "keys: "),
    (["--upstream=tls://nowhere"], 'with "tls://" before it for TLS'),
    (["--upstream=tls://unix:/run/app.sock"], "write tls.upstream_name"),
    (["--upstream=tls://127.0.0.1:1", "--tls.upstream_ca=/no/such"], 'tls.upstream_ca: "/no/such"'),
    (["--upstream=tls://127.0.0.1:1", "--tls.upstream_key=PEM"], "tls.upstream_cert")])
def test_check(authority, flags, words):
    if "SEALED" in flags[0]:
        cert, key = authority.issue("sealed", SITE)
        authority._openssl("ec", "-in", key, "-aes256", "-passout", "pass:secret", "-out", f"{key}.sealed")
        replace(f"{authority.dir}/sealed.pem", read(cert) + read(f"{key}.sealed"))
    made = {"PEM": lambda: authority.pem("check"), "WEAK": lambda: authority.pem("weak", key=["-newkey", "rsa:1024"]),
            "SEALED": lambda: f"{authority.dir}/sealed.pem"}
    for word, make in made.items():
        flags = [f.replace(f"={word}", f"={make()}") if f.endswith(f"={word}") else f for f in flags]
    code, said = check(*flags)
    assert code == 2 and words in said, said


def test_check_says_yes(authority):
    pem = authority.pem("fine")
    assert check(f"--tls.certificates={pem}", "--tls.listen=127.0.0.1:0", f"--tls.client_ca={pem}",
                 "--tls.client_verify=optional") == (0, "")


def test_only_tls(lethe, origin, authority):
    port = free_port()
    l = lethe(origin(), {"tls.listen": f"127.0.0.1:{port}", "tls.certificates": authority.pem("only")}, listen="")
    l.wait_event("listening")
    with TlsClient(f"127.0.0.1:{port}", context(authority)) as c:
        assert c.get("/").status == 200
    assert [e["tls"] for e in l.events("listening")] == ["yes"]
