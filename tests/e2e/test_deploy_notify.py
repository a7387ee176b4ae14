# SPDX-License-Identifier: Apache-2.0
"""What lethe tells a service manager ($NOTIFY_SOCKET), heard by a socket of the test's own."""
import os
import re
import signal
import socket

import pytest
from test_health import stopped_thread

from rig import App, Lethe, wait_for


class Manager:
    """A service manager's ear. `name` as in NOTIFY_SOCKET: /path or @abstract."""

    def __init__(self, name):
        self.name, self.said = name, []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(name.replace("@", "\0", 1))
        self.socket.setblocking(False)

    def hear(self):
        while True:
            try:
                self.said.append(dict(line.split("=", 1) for line in self.socket.recv(4096).decode().split("\n")))
            except BlockingIOError:
                return self.said

    def wait(self, count):
        wait_for(lambda: len(self.hear()) >= count, 20, f"{count} messages of lethe")
        return self.said

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()


@pytest.fixture
def app():
    with App() as a:
        yield a


@pytest.fixture(params=["path", "abstract"])
def manager(request, short_dir):
    with Manager(f"{short_dir}/notify" if request.param == "path" else f"@lethe-test-{os.getpid()}") as m:
        yield m


def conf(tmp_path, text):
    path = tmp_path / "lethe.conf"
    path.write_text(f'upstream = "127.0.0.1:1";\n{text}')
    return path


def test_start_reload_end(manager, tmp_path):
    path = conf(tmp_path, "")
    with Lethe(None, config=path, env={"NOTIFY_SOCKET": manager.name}) as lethe:
        assert manager.wait(1) == [{"READY": "1", "STATUS": "serving"}]
        assert lethe.get_admin("/startupz").status == 200
        lethe.signal(signal.SIGHUP)
        assert [list(m)[0] for m in manager.wait(3)] == ["READY", "RELOADING", "READY"]
        assert re.fullmatch(r"\d+", manager.said[1]["MONOTONIC_USEC"])
        lethe.wait_event("reloaded")
    assert [list(m)[0] for m in manager.hear()] == ["READY", "RELOADING", "READY", "STOPPING"]
    assert int(manager.said[-1]["EXTEND_TIMEOUT_USEC"]) == 35_000_000  # timeouts.drain and a little
    assert "30000 ms" in manager.said[-1]["STATUS"]


def test_a_reload_that_fails_is_over_too(manager, tmp_path):
    path = conf(tmp_path, "")
    with Lethe(None, config=path, env={"NOTIFY_SOCKET": manager.name}) as lethe:
        manager.wait(1)
        conf(tmp_path, "nonsense = 1;")
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reload_failed")
        assert [list(m)[0] for m in manager.wait(3)] == ["READY", "RELOADING", "READY"]


def test_nothing_is_said_before_the_listeners_are_there(manager):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        lethe = Lethe("127.0.0.1:1", listen=f"127.0.0.1:{taken.getsockname()[1]}", env={"NOTIFY_SOCKET": manager.name}, start=False)
        with pytest.raises(AssertionError):
            lethe.start()
    assert manager.hear() == []


def test_a_reload_in_a_drain_is_no_readiness(manager, app):
    """What still runs keeps the drain open: no READY=1 behind STOPPING=1."""
    with Lethe(app.address, {"timeouts.drain": "1m"}, env={"NOTIFY_SOCKET": manager.name}) as lethe, lethe.client() as c:
        manager.wait(1)
        c.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\n")
        lethe.wait_metric(1, "lethe_upstream_connections", state="active")
        lethe.signal(signal.SIGTERM)
        lethe.wait_event("draining")
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reloaded")
        c.send(b"x")
    assert [list(m)[0] for m in manager.hear()] == ["READY", "STOPPING"]


def test_a_reload_changes_the_limit_of_the_drain(manager, tmp_path):
    path = conf(tmp_path, "")
    with Lethe(None, config=path, env={"NOTIFY_SOCKET": manager.name}) as lethe:
        conf(tmp_path, 'timeouts: { drain = "7s"; };')
        lethe.signal(signal.SIGHUP)
        lethe.wait_event("reloaded")
    assert lethe.events("draining")[0]["limit_ms"] == "7000"
    assert int(manager.hear()[-1]["EXTEND_TIMEOUT_USEC"]) == 12_000_000


def test_watchdog_until_a_worker_hangs(manager, app):
    def signs():
        return sum("WATCHDOG" in m for m in manager.hear())
    with Lethe(app.address, env={"NOTIFY_SOCKET": manager.name, "WATCHDOG_USEC": "200000"}, workers=2) as lethe:
        wait_for(lambda: signs() >= 3, 20, "signs of life")
        with stopped_thread(lethe.pid, "lethe-1"):
            def silent():
                before = signs()
                try:
                    wait_for(lambda: signs() > before, 1)
                    return False
                except AssertionError:
                    return True
            wait_for(silent, 30, "no sign of life any more")
        before = signs()
        wait_for(lambda: signs() > before, 20, "signs of life again")


@pytest.mark.parametrize("env", [{"WATCHDOG_USEC": "100000", "WATCHDOG_PID": "1"}, {"WATCHDOG_USEC": "nonsense"}, {}])
def test_no_watchdog_for_somebody_else(manager, app, env):
    with Lethe(app.address, env={"NOTIFY_SOCKET": manager.name, **env}) as lethe:
        manager.wait(1)
        for _ in range(3):  # the first sign comes with the first turn of the loop, before any reload
            lethe.signal(signal.SIGHUP)
            count = len(manager.said)
            manager.wait(count + 2)
    assert not any("WATCHDOG" in m for m in manager.hear())


@pytest.mark.parametrize("name", ["", "relative", "/no/such/socket", "/" + "x" * 200])
def test_a_manager_that_is_not_there_stops_nothing(app, name):
    with Lethe(app.address, env={"NOTIFY_SOCKET": name}) as lethe:
        assert lethe.get("/").status == 200
        assert len(lethe.events("notify_failed")) == (name == "/no/such/socket")
