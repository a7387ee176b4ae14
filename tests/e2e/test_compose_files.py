# SPDX-License-Identifier: Apache-2.0
"""What docker-compose.yml is made of, as far as it can be tried without a Docker engine; test_image.py has the rest."""
import os
import re
import shutil
import signal
import subprocess

import pytest

from rig import Client, find_binary, free_port, wait_for
from rig.base import Process, accepts
from rig.lethe import ROOT, clean_env


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


@pytest.mark.skipif(not shutil.which("haproxy", path="/usr/sbin:" + os.environ["PATH"]), reason="no haproxy")
@pytest.mark.parametrize("more", [{}, {"WITHOUT_LETHE": "1"}])
def test_balancer_configuration(more):
    done = subprocess.run(["haproxy", "-c", "-f", "deploy/compose/haproxy.cfg"], cwd=ROOT, text=True, check=False, timeout=30,
                          env={"PATH": "/usr/sbin:" + os.environ["PATH"], **more}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert done.returncode == 0 and "WARNING" not in done.stdout, done.stdout


def test_what_the_build_copies_is_there():
    """The context of the build is a list of what may enter it."""
    allowed = [line[1:] for line in read(".dockerignore").splitlines() if line.startswith("!")]
    copied = [word for line in re.findall(r"^COPY (?!--from)(.*) \S+$", read("deploy/Dockerfile"), re.M) for word in line.split()]
    assert len(copied) > 6
    for path in copied:
        assert os.path.exists(os.path.join(ROOT, path)), path
        assert any(path == a or path.startswith(a + "/") for a in allowed), f"{path} is not in .dockerignore's list"


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


@pytest.fixture(name="replica")
def _replica(tmp_path):
    """(process, its address): replica.sh with an application that listens at once, or when it is started again."""
    (tmp_path / "lethe").symlink_to(os.path.abspath(find_binary()))
    listen, app = f"127.0.0.1:{free_port()}", free_port()
    process = Process(["/bin/sh", os.path.join(ROOT, "deploy/compose/replica.sh"), "/usr/bin/python3", "-m", "http.server", app,
                       "--bind", "127.0.0.1", "--directory", tmp_path],
                      clean_env({"PATH": f"{tmp_path}:/usr/bin:/bin", "LETHE_LISTEN": listen, "LETHE_UPSTREAM": f"127.0.0.1:{app}"}))
    wait_for(lambda: accepts(listen) and accepts(f"127.0.0.1:{app}"), 20, "the replica")
    yield process, listen
    process.kill()


def status(address):
    with Client(address) as c:
        return c.get("/").status


def test_an_application_that_ends_is_started_again(replica):
    process, address = replica
    assert status(address) == 200
    (loop,) = children(process.pid)
    (app,) = children(loop)
    os.kill(app, signal.SIGKILL)
    wait_for(lambda: children(loop) not in ([], [app]) and status(address) == 200, 20, "the application again")
    assert any("ended with 137" in line for line in process.err)


def test_lethe_is_the_process_that_is_told_to_end(replica):
    """It drains, and its end is the container's."""
    process, address = replica
    with open(f"/proc/{process.pid}/cmdline", encoding="utf-8") as f:
        assert f.read() == "lethe\0run\0"
    (loop,) = children(process.pid)
    (app,) = children(loop)
    process.signal(signal.SIGTERM)
    assert process.popen.wait(20) == 0 and not accepts(address)
    assert os.path.exists(f"/proc/{app}"), "the application still answers while lethe drains; the container's end ends it"
