# SPDX-License-Identifier: Apache-2.0
"""Watching what only the application sees: its own mount namespace, through /proc/PID/root; by fanotify and by inotify."""
import os
import subprocess

import pytest
from audit_rig import Stand, can_mount
from test_audit import stand  # noqa: F401

from rig import wait_for

pytestmark = pytest.mark.skipif(not can_mount(), reason="needs root and a mount namespace of its own")
HOW = ["inotify", "fanotify"]


@pytest.mark.parametrize("by", HOW)
def test_file_in_the_applications_own_space(stand, by):
    s = stand({"audit.watch": by}, start=False, space=True)
    s.options["audit.paths"] = [f"pid:{s.data}"]
    s.start()
    assert not os.path.exists(os.path.join(s.data, "uploads", "x")) and os.listdir(s.data) == ["uploads"]
    assert f"the application's {s.data} is watched by {by}" in s.report()
    s.do("log")
    s.do("session")
    assert s.settle() == []
    s.upload("mine.txt")
    found = [f for f in s.wait_findings() if "uploads" in f[3]]
    wait_for(lambda: any("uploads" in f[3] for f in s.findings()), what="the upload")
    (found,) = [f for f in s.findings() if "uploads" in f[3]]
    assert found[:3] == ("disk", 1, "/app.php") and found[3].endswith(f"{s.data}/uploads/mine.txt")
    assert os.listdir(os.path.join(s.data, "uploads")) == []  # nobody else sees it


def test_growth_of_the_applications_own_space(stand):
    s = stand({"audit.max_growth": "64k", "audit.allow": "/"}, start=False, space=True)
    s.options["audit.paths"] = [f"pid:{s.data}"]
    s.start()
    wait_for(lambda: "bytes lie in it" in s.report(), what="the first measurement")
    s.do("write", name="big", size=100_000)
    (found,) = s.wait_findings()
    assert found[:3] == ("growth", 1, "?") and found[3].endswith("big")


def test_the_next_process_is_found(stand):
    """The application is started anew, with another file system of its own."""
    s = stand(start=False, space=True, workers=1)
    s.options["audit.paths"] = [f"pid:{s.data}"]
    s.start()
    s.do("write", name="first")
    assert s.files(s.wait_findings()) == 1
    s.php.stop()
    wait_for(lambda: "is not watched: " in s.report(), what="the end of the process in the report")
    s.php.start()
    wait_for(lambda: "is watched by" in s.report(), 15, "the next process")
    s.do("write", name="second")
    wait_for(lambda: s.files(s.findings()) == 2, what="its file")


def test_a_given_process(stand):
    s = stand(start=False, space=True)
    s.options.update({"audit.paths": [f"pid:{s.data}"], "audit.pid": os.getpid()})
    s.start()
    s.upload("x")  # of another mount namespace: not below the given process's root
    with open(os.path.join(s.data, "mine"), "w", encoding="ascii") as f:
        f.write("x")
    assert all(f[3].endswith(f"{s.data}/mine") for f in s.wait_findings())


def test_process_that_is_not_there(stand):
    s = stand(start=False, space=True)
    s.options.update({"audit.paths": [f"pid:{s.data}", s.data], "audit.pid": 4194303})
    s.start()
    assert f" ! the application's {s.data} is not watched: the process has ended" in s.report()


def test_shared_volume_is_watched_by_fanotify(tmp_path):
    """A mount of its own: one mark, and lethe's own writes do not count. A directory below it, and the same by inotify, agree."""
    volume = str(tmp_path / "s" / "data")
    s = Stand(tmp_path / "s", {"audit.watch": "fanotify"}, start=False)
    subprocess.run(["mount", "-t", "tmpfs", "none", volume], check=True)
    try:
        os.mkdir(os.path.join(volume, "uploads"))
        s.start()
        assert "is watched by fanotify" in s.report()
        s.do("log")
        assert s.settle() == []
        s.do("slow", name="x", gate="")
        s.do("rename", name="y")
        s.do("deep")
        wait_for(lambda: any(f[3].endswith("/a/b/c/file") for f in s.findings()), what="the file in new directories")
        assert s.files(f for f in s.findings() if "settle" not in f[3]) == 3
        s.upload("z")
        wait_for(lambda: any(f[3].endswith("uploads/z") for f in s.findings()), what="the upload")
    finally:
        s.stop()
        subprocess.run(["umount", volume], check=True)


def test_without_the_right_it_falls_back(tmp_path):
    """The same mount, and lethe without CAP_SYS_ADMIN."""
    volume = str(tmp_path / "s" / "data")
    s = Stand(tmp_path / "s", {"audit.watch": "fanotify"}, start=False)
    subprocess.run(["mount", "-t", "tmpfs", "none", volume], check=True)
    wrapper = tmp_path / "lethe"
    wrapper.write_text(f'#!/bin/sh\nexec setpriv --bounding-set -sys_admin "{os.path.realpath(_binary())}" "$@"\n')
    wrapper.chmod(0o755)
    try:
        os.mkdir(os.path.join(volume, "uploads"))
        s.start(binary=str(wrapper))
        assert "is watched by inotify (fanotify is not allowed here)" in s.report()
        s.upload("z")
        assert s.wait_findings()[0][:3] == ("disk", 1, "/app.php")
    finally:
        s.stop()
        subprocess.run(["umount", volume], check=True)


def _binary():
    from rig import find_binary  # pylint: disable=import-outside-toplevel
    return find_binary()
