# SPDX-License-Identifier: Apache-2.0
"""deploy/systemd under a real systemd, installed as docs/quickstart/bare-metal.md says."""
import os
import re
import shutil
import subprocess

import docs_rig
import machine_rig
import pytest

from rig import wait_for
from rig.lethe import ROOT

PAGE = "docs/quickstart/bare-metal.md"
UNIT = os.path.join(ROOT, "deploy/systemd/lethe.service")


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="apt-get install systemd")
def test_score():
    """The page names it: a line of hardening that is lost raises it."""
    done = subprocess.run(["systemd-analyze", "security", "--offline=yes", "--no-pager", UNIT], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, check=True)
    score = re.search(r"exposure level for lethe.service: ([0-9.]+)", done.stdout.decode())
    assert score, done.stdout.decode()[-500:]
    assert float(score[1]) <= 1.4
    assert "gives it 1.4" in docs_rig.read(PAGE)


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="apt-get install systemd")
def test_every_line_of_the_unit_is_known(tmp_path):
    text = docs_rig.read("deploy/systemd/lethe.service")
    # Neither the program nor its manual is installed on this machine.
    text = re.sub(r"^Documentation=.*$", "", text, flags=re.M).replace("/usr/local/bin/lethe", "/bin/true")
    (tmp_path / "lethe.service").write_text(text)
    done = subprocess.run(["systemd-analyze", "verify", str(tmp_path / "lethe.service")], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                          check=False)
    assert (done.returncode, done.stdout.decode()) == (0, "")


@pytest.fixture(scope="module")
def machine():
    lacking = machine_rig.cannot()
    if lacking:
        pytest.skip(lacking)
    if not os.path.exists(os.path.join(ROOT, "build/release/lethe")):
        pytest.skip("no build/release/lethe: the page installs that (./dev build release)")
    with machine_rig.machines(1) as (m,):
        m.run("systemd-run --unit=redis --property=StateDirectory=r redis-server --port 6379 --save '' --bind 127.0.0.1")
        m.run("systemd-run --unit=app --working-directory=/tmp python3 -m http.server --bind 127.0.0.1 3000")
        docs_rig.follow(m, PAGE, "bare-metal")
        yield m


def show(machine, name):
    return machine.run(f"systemctl show -P {name} lethe").stdout.strip()


def test_it_serves(machine):
    assert (show(machine, "ActiveState"), show(machine, "StatusText")) == ("active", "serving")
    wait_for(lambda: machine.run("curl -fsS http://127.0.0.1:9090/readyz", check=False).returncode == 0, 20, "readiness")
    assert "Directory listing" in machine.run("curl -fsS http://127.0.0.1:8080/").stdout
    pid = show(machine, "MainPID")
    status = machine.run(f"cat /proc/{pid}/status").stdout
    assert re.search(r"^CapEff:\t0+$", status, re.M) and "NoNewPrivs:\t1" in status and "Seccomp:\t2" in status
    assert machine.run(f"ps -o user= -p {pid}").stdout.strip() == "lethe"


def test_reload(machine):
    pid = show(machine, "MainPID")
    docs_rig.follow(machine, PAGE, "reload")
    wait_for(lambda: "event=reloaded" in machine.run("journalctl -u lethe --no-pager").stdout, 20, "the reload")
    machine.run("cp /etc/lethe/lethe.conf /tmp/good; echo 'nonsense = 1;' >> /etc/lethe/lethe.conf")
    done = machine.run("systemctl reload lethe", check=False)
    assert done.returncode != 0
    wait_for(lambda: "nonsense" in machine.run("journalctl -u lethe --no-pager").stdout, 20, "the finding in the journal")
    assert (show(machine, "ActiveState"), show(machine, "MainPID")) == ("active", pid)
    machine.run("cat /tmp/good > /etc/lethe/lethe.conf; systemctl reload lethe")


def test_upgrade(machine):
    pid = show(machine, "MainPID")
    docs_rig.follow(machine, PAGE, "upgrade")
    wait_for(lambda: show(machine, "MainPID") not in (pid, "0"), 40, "systemd follows the new process")
    assert machine.run("curl -fsS http://127.0.0.1:9090/readyz", check=False).returncode == 0
    wait_for(lambda: "event=ended" in machine.run("journalctl -u lethe --no-pager").stdout, 40, "the old process ends")
    assert (show(machine, "ActiveState"), show(machine, "StatusText"), show(machine, "NRestarts")) == ("active", "serving", "0")


def test_a_crash_and_a_wrong_configuration(machine):
    pid = show(machine, "MainPID")
    machine.run(f"kill -9 {pid}")
    wait_for(lambda: show(machine, "MainPID") not in (pid, "0") and show(machine, "ActiveState") == "active", 20, "started anew")
    machine.run("cp /etc/lethe/lethe.conf /tmp/good; echo 'nonsense = 1;' >> /etc/lethe/lethe.conf")
    machine.run("systemctl restart lethe", check=False)
    wait_for(lambda: show(machine, "ActiveState") == "failed", 20, "given up")
    assert show(machine, "NRestarts") == "0"
    machine.run("cat /tmp/good > /etc/lethe/lethe.conf; systemctl restart lethe")


def test_watchdog(machine):
    """The whole process stands still (SIGSTOP): no sign of life, and systemd starts another."""
    machine.run("mkdir -p /etc/systemd/system/lethe.service.d; printf '[Service]\\nWatchdogSec=1s\\n' > "
                "/etc/systemd/system/lethe.service.d/watchdog.conf; systemctl daemon-reload; systemctl restart lethe")
    pid = show(machine, "MainPID")
    machine.run(f"kill -STOP {pid}")
    wait_for(lambda: show(machine, "MainPID") not in (pid, "0"), 40, "another process")
    assert show(machine, "NRestarts") == "1"
    machine.run("rm /etc/systemd/system/lethe.service.d/watchdog.conf; systemctl daemon-reload; systemctl restart lethe")


def test_as_another_user(machine):
    machine.run("install -d -o www-data -g www-data -m 700 /srv/sessions")
    docs_rig.follow(machine, PAGE, "as-www-data")
    machine.run("sed -i '$ a files: { profile = \"php\"; dir = \"/srv/sessions\"; };' /etc/lethe/lethe.conf; "
                "systemctl daemon-reload; systemctl restart lethe; curl -fsS http://127.0.0.1:8080/ > /dev/null")
    assert machine.run(f"ps -o user= -p {show(machine, 'MainPID')}").stdout.strip() == "www-data"
