# SPDX-License-Identifier: Apache-2.0
"""enforce.findings turns what the audit finds into failures, until somebody acknowledges it."""
import pytest
from test_audit import stand  # noqa: F401

from rig import Client, run_cli, wait_for

PROBES = "/healthz=livez,/ready/readyz,/up=readyz"


def status(s, path):
    return s.lethe.get(path).status


def test_report_only_is_the_default(stand):
    s = stand(paths=[])
    s.do("sticky")
    assert status(s, "/app.php") == 200 and s.lethe.get_admin("/readyz").status == 200


def test_requests_fail_until_it_is_acknowledged(stand):
    s = stand({"enforce.findings": "sticky", "health.paths": PROBES}, paths=[])
    s.do("plain")
    s.do("node")  # a finding, and none of those that are enforced
    assert s.do("").body == b"ok"
    s.do("sticky")
    r = s.lethe.get("/app.php")
    assert r.status == 503 and r.get("x-lethe-error") == "audit" and r.get("retry-after")
    assert [status(s, p) for p in ("/healthz", "/up", "/ready/readyz")] == [200, 200, 200]  # probes go on
    assert s.lethe.get_admin("/readyz").status == 200
    assert s.clear() == 200
    assert s.do("").body == b"ok" and s.findings() == []
    s.do("sticky")
    assert status(s, "/app.php") == 503  # it ends by being mended, not by being read


def test_readiness_fails_and_requests_go_on(stand):
    s = stand({"enforce.findings": "replica-id", "enforce.answer": "unready", "health.paths": PROBES}, paths=[])
    s.do("plain")
    assert [status(s, p) for p in ("/healthz", "/up", "/ready/readyz")] == [200, 200, 200]
    s.do("node")
    assert [status(s, p) for p in ("/healthz", "/up", "/ready/readyz")] == [200, 503, 503]
    r = s.lethe.get_admin("/readyz?verbose")
    assert r.status == 503 and b"[failed] audit: replica-id" in r.body
    assert s.lethe.get_admin("/livez").status == 200
    s.do("")
    s.clear()
    assert s.lethe.get_admin("/readyz").status == 200 and status(s, "/up") == 200


def test_a_file_on_disk(stand):
    s = stand({"enforce.findings": "disk,growth"})
    s.do("log")
    assert s.settle() == []  # the mark is a file
    wait_for(lambda: status(s, "/app.php") == 503, what="503")
    s.clear()
    s.upload()
    wait_for(lambda: status(s, "/app.php") == 503, what="503 after the upload")


def test_growth(stand):
    s = stand({"enforce.findings": "growth", "enforce.answer": "unready", "audit.max_growth": "32k", "audit.allow": "/"})
    wait_for(lambda: "bytes lie in it" in s.report(), what="the first measurement")
    s.do("write", name="big", size=100_000)
    wait_for(lambda: s.lethe.get_admin("/readyz").status == 503, what="unreadiness")


def test_a_lost_session(lethe, origin, client):
    from cluster_rig import keys  # pylint: disable=import-outside-toplevel
    from rig.origin import answer  # pylint: disable=import-outside-toplevel
    n = iter(range(1, 100))

    def app(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: JSESSIONID=id{next(n)}\r\n"))
    l = lethe(origin(app), {"store": "sealed", "keys": keys(), "audit.enabled": True, "enforce.findings": "lost-session"})
    token = l.get("/cart").get("set-cookie").split(";")[0]
    assert l.get("/cart").status == 200
    l.get("/cart", f"Cookie: {token}\r\n")
    wait_for(lambda: l.get("/").status == 503, what="503")
    with Client(l.admin) as c:
        assert c.ask(b"POST /audit/clear HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status == 200
    assert l.get("/").status == 200
    wait_for(lambda: l.metrics().get("lethe_audit_found", finding="lost-session") == 0, what="the next look")
    assert l.get("/").status == 200  # the old ones are not found again


def test_only_who_is_here_may_acknowledge(stand):
    s = stand({"enforce.findings": "sticky"}, paths=[], admin="0.0.0.0:0")
    s.do("sticky")
    s.lethe.admin = "127.0.0.1:" + s.lethe.admin.rsplit(":", 1)[1]
    assert s.clear() == 403 and status(s, "/app.php") == 503
    assert s.lethe.get_admin("/audit/clear").status == 404  # only POST


@pytest.mark.parametrize("flags, what", [
    (["--enforce.findings=disk"], "audit.enabled = true"),
    (["--enforce.findings=growth", "--audit.enabled"], "write audit.paths"),
    (["--enforce.findings=files", "--audit.enabled"], '"replica-id"'),
    (["--audit.paths=/x"], "audit.enabled = true"),
    (["--audit.paths=x", "--audit.enabled"], "pid:/app"),
    (["--audit.allow=x", "--audit.enabled"], "*.log"),
])
def test_what_to_write_instead(flags, what):
    done = run_cli("check", "--upstream=127.0.0.1:1", *flags)
    assert done.returncode == 2 and what in done.stderr, done.stderr
