# SPDX-License-Identifier: Apache-2.0
"""The program is replaced while it serves: the listening sockets pass from process to process, nothing in their queues is lost."""
import os
import shutil
import signal
import socket
import subprocess
import sys

import pytest
from load_rig import Posts, Users
from session_rig import cluster_of_fixture
from test_deploy_notify import Manager

from rig import Client, Lethe, find_binary, free_port, run_cli, wait_for

__all__ = ["cluster_of_fixture"]


@pytest.fixture(name="app")
def fixture_app(patient_app):
    return patient_app


def ended(pid):
    """Is it gone? One that nobody has waited for yet is."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Chain:
    """A lethe at a path of its own, and those that come after it."""

    def __init__(self, lethe):
        self.lethe, self.pids = lethe, [lethe.pid]

    def upgrade(self, how="command"):
        n = len(self.lethe.events("upgraded"))
        if how == "command":
            done = run_cli("upgrade", "--admin", self.lethe.admin, seconds=90)
            assert done.returncode == 0, done.stderr
        else:
            os.kill(self.pids[-1], signal.SIGUSR2)
        pid = int(self.lethe.wait_event("upgraded", 60, n + 1)[-1]["pid"])
        self.pids.append(pid)
        return pid

    def wait_alone(self, seconds=60):
        """All but the last have ended."""
        self.lethe.process.popen.wait(seconds)
        wait_for(lambda: all(ended(p) for p in self.pids[:-1]), seconds, "the old processes end")

    def stop(self):
        for pid in self.pids:
            if not ended(pid):
                os.kill(pid, signal.SIGTERM)
        self.wait_alone()
        wait_for(lambda: ended(self.pids[-1]), 60, "the last process ends")
        self.lethe.check_reports()


@pytest.fixture(name="chain")
def fixture_chain(tmp_path):
    chains = []

    def make(upstream, options=None, **how):
        path = str(tmp_path / f"lethe{len(chains)}")
        shutil.copy(find_binary(), path)
        options = {"timeouts.drain_quiet": "200ms", "timeouts.drain": "30s", **(options or {})}
        lethe = Lethe(upstream, options, binary=path, listen=f"127.0.0.1:{free_port()}", **{"admin": f"127.0.0.1:{free_port()}", **how})
        chains.append(Chain(lethe))
        return chains[-1]
    yield make
    for c in chains:
        c.stop()


# --- under load ---

@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_twenty_upgrades_under_load(chain, app):
    c = chain(app.address, workers=2)
    with Posts(c.lethe.address) as posts:
        for i in range(20):
            c.upgrade("command" if i % 2 else "signal")
            posts.more(30)
        c.wait_alone()
        posts.more(30)
    posts.check()
    assert len(set(c.pids)) == 21


@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_a_restart_instead_loses_connections(app, tmp_path):
    """The negative control: the sockets do not pass from one to the other."""
    address, admin = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
    with Lethe(app.address, {"timeouts.drain_quiet": "200ms"}, listen=address, admin=admin, workers=2) as lethe:
        with Posts(address) as posts:
            def lost_some():
                lethe.signal(signal.SIGTERM)
                assert lethe.process.wait(30) == 0
                lethe.start()
                return posts.failed
            wait_for(lost_some, 60, "requests that the restart broke")


@pytest.mark.slow
@pytest.mark.watchdog(170)
def test_sessions_stay(cluster_of):
    cluster = cluster_of(replicas=1, workers=2, options={"timeouts.drain_quiet": "200ms"})
    c = Chain(cluster.replicas[0].lethe)
    try:
        with Users(cluster, 4, to=0) as users, Users(cluster, 2, to=0, fresh=True) as others:
            for _ in range(5):
                c.upgrade()
                users.more(20)
            c.wait_alone()
            users.more(20)
        users.check()
        others.check()
    finally:
        c.stop()


@pytest.mark.parametrize("before,after", [(1, 4), (4, 1), (3, 2)])
def test_another_number_of_workers(chain, app, tmp_path, before, after):
    conf = tmp_path / "lethe.conf"
    conf.write_text(f"workers = {before};\n")
    c = chain(app.address, config=conf, workers=None)
    with Posts(c.lethe.address) as posts:
        conf.write_text(f"workers = {after};\n")
        c.upgrade()
        posts.more(50)
        c.wait_alone()
        posts.more(50)
    posts.check()
    assert c.lethe.metrics().get("lethe_client_connections") >= 0


@pytest.mark.parametrize("after", [1, 4])
def test_connections_in_the_queues_are_served(chain, app, tmp_path, after):
    """The old process stands still: the kernel takes connections into the queue of each of its sockets, and the new one serves them."""
    conf = tmp_path / "lethe.conf"
    conf.write_text("workers = 4;\n")
    c = chain(app.address, config=conf, workers=None)
    conf.write_text(f"workers = {after};\n")
    old = c.pids[0]
    os.kill(old, signal.SIGSTOP)
    clients = [Client(c.lethe.address, timeout=60) for _ in range(60)]
    for k in clients:
        k.send(b"GET /queued HTTP/1.1\r\nHost: a\r\n\r\n")
    os.kill(old, signal.SIGUSR2)
    os.kill(old, signal.SIGCONT)
    c.pids.append(int(c.lethe.wait_event("upgraded", 60)[-1]["pid"]))
    assert [k.response().status for k in clients] == [200] * 60
    for k in clients:
        k.close()


# --- what stays ---

def test_a_long_request_ends_in_the_old_one(chain, app):
    c = chain(app.address)
    with c.lethe.client() as slow:
        slow.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        wait_for(lambda: app.seen("/slow"))
        c.upgrade()
        assert c.lethe.get_admin("/readyz").status == 200, "the replica does not go"
        assert c.lethe.get("/").status == 200
        assert not ended(c.pids[0])
        app.go_on.set()
        assert slow.response().body == b"slow"
    c.wait_alone()
    assert c.lethe.get("/").status == 200


def test_unix_sockets(chain, app, short_dir):
    path = f"{short_dir}/listen"
    c = Chain(Lethe(app.address, {"timeouts.drain_quiet": "200ms"}, listen=f"unix:{path}", admin=f"unix:{short_dir}/admin", workers=2))
    try:
        with Posts(f"unix:{path}") as posts:
            for _ in range(3):
                inode = os.stat(path).st_ino
                c.upgrade()
                posts.more(30)
                c.wait_alone()
                assert os.stat(path).st_ino == inode, "the old one has not removed it"
        posts.check()
    finally:
        c.stop()
    assert os.listdir(short_dir) == []


# --- what goes wrong ---

def test_a_new_program_that_is_none(chain, app):
    c = chain(app.address)
    os.unlink(c.lethe.binary)
    with open(c.lethe.binary, "w", encoding="ascii") as f:
        f.write("no program\n")
    done = run_cli("upgrade", "--admin", c.lethe.admin)
    assert done.returncode == 1 and "put the new program there" in done.stderr
    os.chmod(c.lethe.binary, 0o755)
    done = run_cli("upgrade", "--admin", c.lethe.admin)
    assert done.returncode == 1 and "cannot be run" in done.stderr
    assert c.lethe.get("/").status == 200 and c.lethe.get_admin("/readyz").status == 200
    os.unlink(c.lethe.binary)
    shutil.copy(find_binary(), c.lethe.binary)
    c.upgrade()


def test_a_configuration_that_is_wrong_by_now(chain, app, tmp_path):
    conf = tmp_path / "lethe.conf"
    conf.write_text("")
    c = chain(app.address, config=conf)
    conf.write_text('timeouts: { idle = "30"; };\n')
    with Posts(c.lethe.address) as posts:
        for _ in range(3):
            done = run_cli("upgrade", "--admin", c.lethe.admin)
            assert done.returncode == 1 and "ended with 2" in done.stderr
        c.lethe.wait_event("upgrade_failed", count=3)
        assert any("has no unit" in line for line in c.lethe.process.err)
        posts.more()
        conf.write_text("")
        c.upgrade()
        posts.more()
    posts.check()


def test_a_new_program_that_hangs_is_ended_with_the_old_one(chain, app):
    """SIGTERM while the new one starts: both end."""
    c = chain(app.address)
    os.unlink(c.lethe.binary)
    with open(c.lethe.binary, "w", encoding="ascii") as f:
        f.write("#!/bin/sh\nexec sleep 1000\n")
    os.chmod(c.lethe.binary, 0o755)
    os.kill(c.pids[0], signal.SIGUSR2)
    c.lethe.wait_event("upgrading")
    assert c.lethe.get("/").status == 200
    with open(f"/proc/{c.pids[0]}/task/{c.pids[0]}/children", encoding="ascii") as f:
        child = int(f.read())
    c.lethe.signal(signal.SIGTERM)
    assert c.lethe.process.wait(30) == 0
    assert ended(child)


# --- a service manager ---

def test_the_manager_hears_of_it(app, short_dir):
    with Manager(f"{short_dir}/notify") as manager:
        c = Chain(Lethe(app.address, {"timeouts.drain_quiet": "100ms"}, listen=f"127.0.0.1:{free_port()}", admin=f"127.0.0.1:{free_port()}",
                        env={"NOTIFY_SOCKET": manager.name}))
        pid = c.upgrade()
        c.wait_alone()
        assert {"MAINPID": str(pid)} in manager.hear()
        assert not any("STOPPING" in m for m in manager.said)
        c.stop()
        assert "STOPPING" in manager.hear()[-1]


def activate(argv, sockets, names, env):
    """As a service manager does it: the sockets are 3, 4, …, LISTEN_PID is the new process's."""
    code = ("import os, sys\n"
            "fds = [os.dup(int(f)) for f in sys.argv[1].split(',')]\n"
            "high = [__import__('fcntl').fcntl(f, __import__('fcntl').F_DUPFD, 100) for f in fds]\n"
            "for i, f in enumerate(high): os.dup2(f, 3 + i); os.close(f)\n"
            "os.environ.update(LISTEN_FDS=str(len(fds)), LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES=sys.argv[2])\n"
            "os.execv(sys.argv[3], sys.argv[3:])\n")
    fds = [s.fileno() for s in sockets]
    return [sys.executable, "-c", code, ",".join(map(str, fds)), ":".join(names), *argv], fds, env


def listening(address=("127.0.0.1", 0)):
    s = socket.socket()
    s.bind(address)
    s.listen(128)
    return s


@pytest.mark.parametrize("named", [True, False])
def test_socket_activation(app, named):
    """A connection that came before lethe is served by it, through an upgrade as well."""
    with listening() as main, listening() as admin:
        at, admin_at = (f"127.0.0.1:{s.getsockname()[1]}" for s in (main, admin))
        names = ["listen", "admin"] if named else ["lethe.socket", "unknown"]
        lethe = Lethe(app.address, {"timeouts.drain_quiet": "100ms"}, listen="127.0.0.1:1" if named else at,
                      admin="127.0.0.1:2" if named else admin_at, workers=2, start=False)
        early = Client(at)
        early.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        argv, fds, _ = activate(lethe.argv, [main, admin], names, lethe.env)
        lethe.argv = argv
        popen = subprocess.Popen
        try:
            subprocess.Popen = lambda *a, **k: popen(*a, **{**k, "pass_fds": fds})
            lethe.start()
        finally:
            subprocess.Popen = popen
        assert early.response().status == 200
        early.close()
        assert (lethe.address, lethe.admin) == (at, admin_at)
        c = Chain(lethe)
        with Posts(at) as posts:
            c.upgrade()
            c.wait_alone()
            posts.more()
        posts.check()
        c.stop()
