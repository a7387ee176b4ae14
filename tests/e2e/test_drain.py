# SPDX-License-Identifier: Apache-2.0
"""The end of a process: readiness first, service until it is quiet, polite ends, limits, WebSockets, commands, sessions."""
import signal
import socket
import threading
import time

import pytest

from rig import App, Client, Ended, Lethe, answer, free_port, run_cli, wait_for

POST = b"POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
QUIET = {"timeouts.drain_quiet": "1h", "timeouts.drain": "2h"}  # until the test says otherwise


@pytest.fixture(name="app")
def fixture_app(patient_app):
    return patient_app


def post_admin(lethe, path, headers="", address=None):
    with Client(address or lethe.admin) as c:
        return c.ask(f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n{headers}\r\n".encode())


def is_refused(address):
    try:
        with Client(address, timeout=2) as c:
            return c.end() == ("reset", b"")
    except OSError:
        return True


# --- the quiet period ---

def test_readiness_fails_at_once_while_requests_succeed(app):
    with Lethe(app.address, QUIET) as lethe, Client(lethe.address) as kept:
        assert kept.ask(POST).status == 200
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        assert lethe.get_admin("/readyz").status == 503 and lethe.get_admin("/livez").status == 200
        r = kept.ask(POST)  # on a connection from before
        assert r.status == 200 and r.has_option("close")
        assert kept.end() == ("eof", b"")
        with Client(lethe.address) as new:  # and on a new one
            r = new.ask(POST)
            assert r.status == 200 and r.has_option("close")
            assert new.end() == ("eof", b"")
        assert not lethe.events("closing")
        assert post_admin(lethe, "/quit").status == 200
        assert lethe.process.wait() == 0


def test_a_kept_connection_is_not_closed_under_a_post(app):
    """The negative control is next: without the quiet period the same client loses its request."""
    with Lethe(app.address, QUIET) as lethe, Client(lethe.address) as kept:
        assert kept.ask(POST).status == 200
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        for _ in range(3):
            assert lethe.get("/").status == 200  # time goes by, and the idle connection stays
        assert kept.ask(POST).status == 200
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait() == 0


def test_without_a_quiet_period_the_post_is_lost(app):
    with Lethe(app.address, {"timeouts.drain_quiet": "0s"}) as lethe, Client(lethe.address) as kept:
        assert kept.ask(POST).status == 200
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("closing")
        wait_for(lambda: is_refused(lethe.address))
        with pytest.raises((Ended, OSError)):
            kept.ask(POST)


def test_each_request_begins_the_quiet_period_anew(app):
    with Lethe(app.address, {"timeouts.drain_quiet": "1s", "timeouts.drain": "1h"}, workers=2) as lethe:
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        end = time.monotonic() + 2.5
        while time.monotonic() < end:
            assert lethe.get("/").status == 200
        assert not lethe.events("closing")
        assert lethe.process.wait(30) == 0
        assert int(lethe.events("closing")[0]["after_ms"]) >= 2500


def test_requests_without_end_do_not_hold_it(app):
    """Half of timeouts.drain is the most."""
    with Lethe(app.address, {"timeouts.drain_quiet": "1h", "timeouts.drain": "2s"}) as lethe:
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("closing", 20)
        assert lethe.process.wait(20) == 0
        assert not lethe.events("forced_end")


def test_probes_are_no_requests(app):
    with Lethe(app.address, {"timeouts.drain_quiet": "500ms", "timeouts.drain": "1h"}, flags=["--health.paths=/readyz"]) as lethe:
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")

        def asked():
            try:
                assert lethe.get("/readyz").status == 503
            except (OSError, Ended):
                pass
            return lethe.events("closing")
        wait_for(asked, 30, "the end, though probes go on")
        assert lethe.process.wait(20) == 0


def test_pipelined_requests_are_answered(app):
    """What stands behind an answer that promised to go on is answered."""
    with Lethe(app.address, QUIET) as lethe, Client(lethe.address) as c:
        c.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        assert not head.has_option("close")
        c.send(POST)
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        app.go_on.set()
        c.reader.chunked(head)
        r = c.response()
        assert r.status == 200 and r.has_option("close")
        assert post_admin(lethe, "/quit").status == 200


def test_a_long_answer_that_promised_to_go_on_keeps_its_word(app):
    with Lethe(app.address, {"timeouts.drain_quiet": "500ms", "timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("closing", 20)
        app.go_on.set()
        c.reader.chunked(head)
        assert c.ask(POST).status == 200
        assert lethe.process.wait(20) == 0


# --- limits ---

def test_a_long_request_ends_within_the_limit(app):
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: app.seen("/slow"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("closing")
        app.go_on.set()
        assert c.response().body == b"slow"
        assert lethe.process.wait() == 0
        assert not lethe.events("forced_end")


def test_behind_the_limit_it_is_cut_visibly(app):
    with Lethe(app.address, {"timeouts.drain": "300ms"}) as lethe, Client(lethe.address) as c:
        c.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        lethe.signal(signal.SIGTERM)
        with pytest.raises(Ended) as e:
            c.reader.chunked(head)
        assert e.value.how == "reset"
        assert lethe.process.wait() == 0
        assert len(lethe.events("forced_end")) == 1 and lethe.events("ended")


# --- the admin listener ---

def test_drain_by_post(app):
    with Lethe(app.address, QUIET) as lethe:
        r = post_admin(lethe, "/drain")
        assert (r.status, r.body) == (200, b"draining\n")
        assert lethe.get_admin("/readyz").status == 503
        assert lethe.get("/").status == 200
        lethe.signal(signal.SIGTERM)  # the first signal: what follows a preStop hook does not cut the drain short
        assert lethe.get("/").status == 200
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait() == 0


def test_quit_ends_it_without_a_quiet_period(app):
    with Lethe(app.address, QUIET) as lethe:
        assert post_admin(lethe, "/quit").status == 200
        assert lethe.process.wait() == 0
        assert lethe.events("ended") and not lethe.events("forced_end")


@pytest.mark.parametrize("path", ["/drain", "/quit", "/reload", "/upgrade"])
def test_what_changes_something_is_guarded(app, path):
    with Lethe(app.address, admin="0.0.0.0:0") as lethe:
        port = lethe.admin.rsplit(":", 1)[1]
        lethe.admin = f"127.0.0.1:{port}"
        r = lethe.get_admin(path)
        assert r.status == 405 and r.get("allow") == "POST"
        assert post_admin(lethe, path, "Origin: http://evil.example\r\n").status == 403
        outside = outside_address()
        if outside:
            assert post_admin(lethe, path, address=f"{outside}:{port}").status == 403
        assert not any(lethe.events(e) for e in ("draining", "reloaded", "upgrading"))
        assert lethe.get("/").status == 200


def outside_address():
    """One of this machine that is no loopback address; None when it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address = s.getsockname()[0]
    return None if address.startswith("127.") else address


def test_by_a_unix_socket(app, short_dir):
    with Lethe(app.address, QUIET, admin=f"unix:{short_dir}/admin") as lethe:
        assert post_admin(lethe, "/quit").status == 200
        assert lethe.process.wait() == 0


def test_commands(app):
    with Lethe(app.address, QUIET) as lethe:
        done = run_cli("reload", "--admin", lethe.admin)
        assert (done.returncode, done.stdout) == (0, "reloaded\n"), done.stderr
        done = run_cli("drain", env={"LETHE_ADMIN": lethe.admin})
        assert (done.returncode, done.stdout) == (0, "draining\n")
        assert lethe.get("/").status == 200
        assert run_cli("upgrade", "--admin", lethe.admin).returncode == 1
        done = run_cli("quit", "--admin", lethe.admin)
        assert done.returncode == 0
        assert lethe.process.wait() == 0
        done = run_cli("drain", "--admin", lethe.admin)
        assert done.returncode == 2 and "--admin" in done.stderr


# --- who ends first ---

def test_the_application_is_gone_first():
    """A native sidecar's order: requests fail with 502, and the end comes all the same."""
    with App() as app, Lethe(app.address, {"timeouts.drain_quiet": "100ms", "timeouts.drain": "1h"}) as lethe:
        assert lethe.get("/").status == 200
        app.stop()
        assert lethe.get("/").status == 502
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait(20) == 0


def test_started_and_ended_without_an_application():
    with Lethe(f"127.0.0.1:{free_port()}", {"timeouts.drain_quiet": "100ms", "timeouts.drain": "1h"}) as lethe:
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait(20) == 0


# --- WebSockets ---

UPGRADE = (b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
           b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
GOING_AWAY = b"\x88\x02\x03\xe9"


def websocket(app):
    """The application's side: the test reads and writes it."""
    got = []

    @app.on("/ws")
    def _(conn, head):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        got.append(conn)
        app.go_on.wait(30)
        return False
    return got


def unmasked(frame):
    assert frame[:2] == b"\x88\x82", frame
    return bytes(b ^ frame[2 + i % 4] for i, b in enumerate(frame[6:8]))


def test_a_websocket_is_told_in_both_directions(app):
    ends = websocket(app)
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        assert c.ask(UPGRADE).status == 101
        wait_for(lambda: ends)
        c.send(b"\x81\x82\1\2\3\4xy")
        assert ends[0].reader.exactly(8) == b"\x81\x82\1\2\3\4xy"
        ends[0].send(b"\x81\x02hi")
        assert c.reader.exactly(4) == b"\x81\x02hi"
        lethe.signal(signal.SIGTERM)
        assert c.reader.exactly(4) == GOING_AWAY
        assert unmasked(ends[0].reader.exactly(8)) == b"\x03\xe9"
        c.send(b"\x88\x82\1\2\3\4\x02\xeb")  # both answer and end
        ends[0].send(GOING_AWAY)
        app.go_on.set()
        assert c.end() == ("eof", b"")
        c.close()
        assert lethe.process.wait() == 0
        assert not lethe.events("forced_end")


def test_a_frame_under_way_ends_first(app):
    ends = websocket(app)
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        assert c.ask(UPGRADE).status == 101
        wait_for(lambda: ends)
        ends[0].send(b"\x82\x7e\x01\x00" + b"a" * 100)
        assert c.reader.exactly(104)
        lethe.signal(signal.SIGTERM)
        assert unmasked(ends[0].reader.exactly(8)) == b"\x03\xe9"  # this direction stood between frames
        ends[0].send(b"b" * 156 + b"\x81\x02no")  # what follows our close frame is not for the client
        assert c.reader.exactly(160) == b"b" * 156 + GOING_AWAY
        app.go_on.set()
        assert c.end() == ("eof", b"")
        c.close()
        assert lethe.process.wait() == 0


def test_a_websocket_whose_ends_do_not_answer_ends_too(app):
    ends = websocket(app)
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        assert c.ask(UPGRADE).status == 101
        wait_for(lambda: ends)
        lethe.signal(signal.SIGTERM)
        assert c.reader.exactly(4) == GOING_AWAY
        assert c.end() == ("eof", b"")
        c.close()
        assert lethe.process.wait(20) == 0
        assert not lethe.events("forced_end")


def test_where_no_frame_ends_there_is_no_close_frame(app):
    ends = websocket(app)
    with Lethe(app.address, {"timeouts.drain": "500ms"}) as lethe, Client(lethe.address) as c:
        assert c.ask(UPGRADE).status == 101
        wait_for(lambda: ends)
        ends[0].send(b"\x82\x05abc")  # two bytes are missing, for ever
        assert c.reader.exactly(5)
        lethe.signal(signal.SIGTERM)
        assert c.end()[1] == b""
        assert lethe.process.wait() == 0
        assert lethe.events("forced_end")


def test_a_websocket_of_the_last_minute_is_told_as_well(app):
    ready = threading.Event()

    @app.on("/ws")
    def _(conn, head):
        ready.wait(30)
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
        conn.reader.exactly(8)
        return False
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        c.send(UPGRADE)
        wait_for(lambda: app.seen("/ws"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("closing")
        ready.set()
        assert c.response().status == 101
        assert c.reader.exactly(4) == GOING_AWAY
        c.close()
        assert lethe.process.wait() == 0
