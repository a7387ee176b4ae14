# SPDX-License-Identifier: Apache-2.0
"""Starting, draining, reloading: no request is lost by it."""
import os
import signal
import threading

import pytest

from rig import App, Client, Ended, Lethe, answer, free_port, wait_for


@pytest.fixture(name="app")
def fixture_app(patient_app):
    return patient_app


SLOW = b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n"


def is_refused(address):
    try:
        with Client(address, timeout=2) as c:
            return c.end() == ("reset", b"")
    except OSError:
        return True


# --- drain ---

def test_running_request_finishes(app):
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        c.send(SLOW)
        wait_for(lambda: app.seen("/slow"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        wait_for(lambda: is_refused(lethe.address), what="new connections are refused")
        assert lethe.process.alive()
        app.go_on.set()
        r = c.response()
        assert r.body == b"slow" and r.has_option("close")
        assert c.end() == ("eof", b"")
        c.close()
        assert lethe.process.wait() == 0
        assert lethe.events("ended") and not lethe.events("forced_end")


def test_answer_under_way_finishes(app):
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        c.send(b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n")
        head = c.reader.head()
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        app.go_on.set()
        c.reader.chunked(head)
        assert head.body == b"firstlast"
        assert c.end() == ("eof", b"")
        c.close()
        assert lethe.process.wait() == 0


def test_upload_under_way_finishes(app):
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        c.send(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nfirst")
        wait_for(lambda: app.seen("/up"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        c.send(b"other")
        assert c.response().status == 200
        c.close()
        assert lethe.process.wait() == 0
    assert app.requests[-1].body == b"firstother"


def test_head_under_way_finishes(app):
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        c.send(b"GET /half HTTP/1.1\r\nHo")
        wait_for(lambda: lethe.metrics().get("lethe_buffer_bytes") > 0, what="the part has been read")
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        wait_for(lambda: is_refused(lethe.address))
        c.send(b"st: a\r\n\r\n")
        r = c.response()
        assert r.status == 200 and r.has_option("close")
        c.close()
        assert lethe.process.wait() == 0


def test_idle_connections_end(app):
    with Lethe(app.address) as lethe:
        clients = [Client(lethe.address) for _ in range(5)]
        for c in clients[:3]:
            assert c.get("/").status == 200
        lethe.wait_metric(5, "lethe_client_connections")
        lethe.signal(signal.SIGTERM)
        assert [c.end() for c in clients] == [("eof", b"")] * 5
        for c in clients:
            c.close()
        assert lethe.process.wait() == 0


def test_drain_without_anything_to_do_is_quick(app):
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe:
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait(5) == 0


def test_sigint_is_the_same(app):
    with Lethe(app.address) as lethe:
        lethe.signal(signal.SIGINT)
        assert lethe.process.wait(5) == 0


def test_queued_connections_are_served(app):
    """Whoever was accepted by the kernel before the signal is answered."""
    with Lethe(app.address) as lethe:
        lethe.signal(signal.SIGSTOP)
        clients = [Client(lethe.address) for _ in range(20)]
        for c in clients:
            c.send(b"GET /queued HTTP/1.1\r\nHost: a\r\n\r\n")
        lethe.signal(signal.SIGTERM)
        lethe.signal(signal.SIGCONT)
        assert [c.response().status for c in clients] == [200] * 20
        for c in clients:
            c.close()
        assert lethe.process.wait() == 0


def test_drain_is_limited(app):
    with Lethe(app.address, {"timeouts.drain": "200ms"}) as lethe, Client(lethe.address) as c:
        c.send(SLOW)
        wait_for(lambda: app.seen("/slow"))
        lethe.signal(signal.SIGTERM)
        assert lethe.process.wait(10) == 0
        assert lethe.events("forced_end")
        with pytest.raises(Ended):
            c.response()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_second_signal_ends_at_once(app, second):
    with Lethe(app.address, {"timeouts.drain": "1h"}) as lethe, Client(lethe.address) as c:
        c.send(SLOW)
        wait_for(lambda: app.seen("/slow"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        lethe.signal(second)
        assert lethe.process.wait(10) == 0
        with pytest.raises(Ended):
            c.response()


def test_readiness_tells_of_the_drain(app):
    """/readyz says no from the signal on; /livez stays well."""
    with Lethe(app.address) as lethe, Client(lethe.address) as c:
        wait_for(lambda: lethe.get_admin("/readyz").status == 200)
        c.send(SLOW)
        wait_for(lambda: app.seen("/slow"))
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        assert lethe.get_admin("/readyz").status == 503
        assert lethe.get_admin("/livez").status == 200
        app.go_on.set()
        assert c.response().status == 200
        c.close()
        assert lethe.process.wait() == 0


def test_tunnel_holds_the_drain_until_its_limit(app):
    @app.on("/ws")
    def _(conn, head):
        conn.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
        conn.send(conn.reader.exactly(2))
        conn.reader.fill()
        return False
    with Lethe(app.address, {"timeouts.drain": "500ms"}) as lethe, Client(lethe.address) as c:
        assert c.ask(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n").status == 101
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        c.send(b"hi")
        assert c.reader.exactly(2) == b"hi"
        assert lethe.process.wait(10) == 0


def test_two_workers_drain(app):
    with Lethe(app.address, workers=2) as lethe:
        clients = [Client(lethe.address) for _ in range(8)]
        for c in clients:
            c.send(SLOW)
        wait_for(lambda: len(app.seen("/slow")) == 8)
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        app.go_on.set()
        assert [c.response().body for c in clients] == [b"slow"] * 8
        for c in clients:
            c.close()
        assert lethe.process.wait() == 0


# --- reload ---

class Conf:
    """A configuration file that changes."""

    def __init__(self, path, **values):
        self.path, self.values = str(path), values
        self.write()

    def write(self, raw="", **changes):
        self.values.update(changes)
        text = raw
        for name, value in self.values.items():
            group, _, leaf = name.rpartition("__")
            line = f'{leaf} = {value if value.startswith("[") or value.isdigit() else chr(34) + value + chr(34)};\n'
            text += f"{group}: {{ {line} }};\n" if group else line
        with open(self.path + ".new", "w", encoding="utf-8") as f:
            f.write(text)
        os.rename(self.path + ".new", self.path)


def reload(lethe, conf, raw="", **changes):
    done = len(lethe.events("reloaded"))
    conf.write(raw, **changes)
    lethe.signal(signal.SIGHUP)
    lethe.wait_event("reloaded", count=done + 1)


def test_reload_takes_effect(app, tmp_path):
    conf = Conf(tmp_path / "lethe.conf", trusted_proxies="[]")
    with Lethe(app.address, config=conf.path) as lethe, Client(lethe.address) as c:
        def proto():
            assert c.get("/r", "X-Forwarded-Proto: https\r\n").status == 200
            return app.seen("/r")[-1].get("x-forwarded-proto")
        assert proto() == "http"
        reload(lethe, conf, trusted_proxies='["127.0.0.1"]')
        wait_for(lambda: proto() == "https", what="the new configuration counts on a connection that was open before")
        reload(lethe, conf, trusted_proxies="[]")
        wait_for(lambda: proto() == "http")


def test_reload_to_another_application(app, tmp_path):
    with App() as other:
        other.on("/who", answer(b"other"))
        app.on("/who", answer(b"first"))
        conf = Conf(tmp_path / "lethe.conf", upstream=app.address)
        with Lethe(config=conf.path) as lethe, Client(lethe.address) as c, Client(lethe.address) as d:
            assert c.get("/who").body == b"first"
            d.send(SLOW)
            wait_for(lambda: app.seen("/slow"))
            reload(lethe, conf, upstream=other.address)
            wait_for(lambda: c.get("/who").body == b"other")
            app.go_on.set()
            assert d.response().body == b"slow"  # a running exchange keeps its configuration
            assert d.get("/who").body == b"other"
            lethe.wait_metric(1, "lethe_upstream_connections", state="idle")


@pytest.mark.parametrize("raw", ["this is no configuration\n", 'nonsense = "1";\n', 'timeouts: { idle = "30" };\n', 'workers = "many";\n'])
def test_bad_reload_changes_nothing(app, tmp_path, raw):
    conf = Conf(tmp_path / "lethe.conf", upstream=app.address)
    with Lethe(config=conf.path) as lethe, Client(lethe.address) as c:
        assert c.get("/").status == 200
        conf.write(raw)
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reload_failed")
        assert any("lethe.conf:" in line for line in lethe.process.err), "the place is named"
        assert c.get("/").status == 200 and lethe.get("/").status == 200
        reload(lethe, conf)
        assert c.get("/").status == 200


def test_missing_file_at_reload_changes_nothing(app, tmp_path):
    conf = Conf(tmp_path / "lethe.conf", upstream=app.address)
    with Lethe(config=conf.path) as lethe:
        os.unlink(conf.path)
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reload_failed")
        assert lethe.get("/").status == 200


def test_reload_under_load(app, tmp_path):
    """No request fails while the configuration changes again and again."""
    conf = Conf(tmp_path / "lethe.conf", upstream=app.address)
    stop, errors, done = threading.Event(), [], [0]

    def work(address):
        try:
            while not stop.is_set():
                with Client(address) as c:
                    for _ in range(5):
                        assert c.ask(b"POST /load HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc").status == 200
                        done[0] += 1
        except Exception as e:  # pylint: disable=broad-except
            errors.append(repr(e))
    with Lethe(config=conf.path, workers=2) as lethe:
        threads = [threading.Thread(target=work, args=(lethe.address,), daemon=True) for _ in range(4)]
        for t in threads:
            t.start()
        for i in range(10):
            before = done[0]
            reload(lethe, conf, timeouts__idle=f"{30 + i}s")
            wait_for(lambda before=before: done[0] > before + 10 or errors)
        stop.set()
        for t in threads:
            t.join(10)
        assert not errors


def test_reload_of_the_heads_limit(app, tmp_path):
    """Buffers are as large as the limit at the start: a larger one must not make a request hang."""
    conf = Conf(tmp_path / "lethe.conf", upstream=app.address, limits__head="16k")
    with Lethe(config=conf.path) as lethe:
        reload(lethe, conf, limits__head="64k")

        def status():
            with Client(lethe.address, timeout=5) as c:
                return c.ask(b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"a" * 40000 + b"\r\n\r\n").status
        for _ in range(3):
            assert status() in (200, 431)
        reload(lethe, conf, limits__head="1k")
        wait_for(lambda: status() == 431)


def test_reload_of_the_log(app, tmp_path):
    conf = Conf(tmp_path / "lethe.conf", upstream=app.address, log__format="text")
    with Lethe(config=conf.path) as lethe:
        assert lethe.get("/a").status == 200
        lethe.wait_access(lambda e: e["path"] == "/a")
        reload(lethe, conf, log__format="json")
        wait_for(lambda: lethe.get("/b").status == 200 and any(line.startswith("{") for line in lethe.process.out))


# --- start ---

def test_start_without_the_application():
    with Lethe(f"127.0.0.1:{free_port()}") as lethe:
        assert lethe.get_admin("/livez").status == 200


def test_same_port_after_a_restart(app):
    port = free_port()
    for _ in range(3):
        with Lethe(app.address, listen=f"127.0.0.1:{port}") as lethe, Client(lethe.address) as c:
            assert c.get("/").status == 200
