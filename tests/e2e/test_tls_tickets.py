# SPDX-License-Identifier: Apache-2.0
"""Session tickets: any replica with the same ring resumes them, old keys open, other rings do not."""
import ssl

import pytest
from session_rig import keys
from tls_rig import Site, TlsClient, context, replace, secure

from rig import run_cli

VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pem(authority):
    return authority.pem("site")


def key():
    return run_cli("keygen").stdout.strip()


def visit(l, ctx, session=None):
    """(resumed?, the session to come back with)."""
    with TlsClient(l.tls, ctx, session=session) as c:
        assert c.get("/").status == 200  # tickets of TLS 1.3 come with the answer
        return c.reused, c.sock.session


@pytest.mark.parametrize("version", VERSIONS)
def test_any_replica_resumes(lethe, origin, authority, pem, version):
    ring = key()
    one, two = (secure(lethe, origin(), pem, keys=ring) for _ in range(2))
    stranger, keyless = secure(lethe, origin(), pem, keys=key()), secure(lethe, origin(), pem)
    ctx = context(authority, versions=version)
    reused, session = visit(one, ctx)
    assert not reused
    assert [visit(l, ctx, session)[0] for l in (one, two, stranger, keyless)] == [True, True, False, False]
    two.wait_metric(1, "lethe_tls_handshakes_total", result="resumed")
    stranger.wait_metric(1, "lethe_tls_handshakes_total", result="full")


@pytest.mark.parametrize("version", VERSIONS)
def test_again_and_again(lethe, origin, authority, pem, version):
    """Who resumes gets the ticket for the next time."""
    l = secure(lethe, origin(), pem, keys=key())
    ctx = context(authority, versions=version)
    _, session = visit(l, ctx)
    for _ in range(5):
        reused, following = visit(l, ctx, session)
        assert reused
        assert following.id != session.id or version == ssl.TLSVersion.TLSv1_2, "a ticket of TLS 1.3 is used once"
        session = following
    l.wait_metric(5, "lethe_tls_handshakes_total", result="resumed")


@pytest.mark.parametrize("version", VERSIONS)
def test_rotation(lethe, origin, authority, pem, tmp_path, version):
    """A new first key issues, the old one opens still; a ring without it does not."""
    old, new = key(), key()
    ring = tmp_path / "ring"
    replace(str(ring), old.encode())
    rotated = secure(lethe, origin(), pem, keys=f"file:{ring}")
    after = secure(lethe, origin(), pem, keys=new)
    ctx = context(authority, versions=version)
    _, session = visit(rotated, ctx)
    assert visit(after, ctx, session)[0] is False
    replace(str(ring), f"{new}\n{old}".encode())
    rotated.wait_event("reloaded", 15)
    reused, renewed = visit(rotated, ctx, session)
    assert reused, "the old key opens"
    assert visit(after, ctx, renewed)[0], "what is issued now is under the new one"


def test_without_tickets(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem, keys=keys(), tls_tickets=False)
    for version in VERSIONS:
        ctx = context(authority, versions=version)
        _, session = visit(l, ctx)
        assert not visit(l, ctx, session)[0]


def test_after_a_reload(lethe, origin, authority, pem):
    l = secure(lethe, origin(), pem, keys=key())
    ctx = context(authority)
    _, session = visit(l, ctx)
    l.signal(1)
    l.wait_event("reloaded")
    assert visit(l, ctx, session)[0]
