# SPDX-License-Identifier: Apache-2.0
"""What the tests of the audit stand on: a PHP application in apps/audit with a directory of its own, and lethe that watches that."""
import json
import os
import shutil
import subprocess

from cluster_rig import Gate, keys
from stack_rig import APPS

from rig import Client, Lethe, Php, run_cli, wait_for

ALLOW = "*.log,*.pid"  # the tests' own directories lie below /tmp, which the default allows
KINDS = ("disk", "sticky", "replica-id", "lost-session", "growth")
UPLOAD = (b"--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"%s\"\r\nContent-Type: text/plain\r\n\r\nhello\r\n--B--\r\n")


class SpacePhp(Php):
    """PHP in a mount namespace of its own: `data` is a file system that nobody else sees."""

    def __init__(self, data, *args, **how):
        self.data = data
        super().__init__(*args, **how)

    def argv(self):
        script = 'mount -t tmpfs none "$0" && mkdir "$0/uploads" && exec "$@"'
        return [shutil.which("unshare"), "-m", "--propagation", "private", "sh", "-c", script, self.data, *super().argv()]


class Stand:
    """One application and its lethe. `paths`: audit.paths; `space`: the application has a mount namespace of its own."""

    def __init__(self, directory, options=None, paths=None, space=False, workers=4, start=True, **more):
        self.dir, self.data = str(directory), os.path.join(directory, "data")
        os.makedirs(os.path.join(self.data, "uploads"))
        kind, first = (SpacePhp, (self.data,)) if space else (Php, ())
        self.php = kind(*first, os.path.join(APPS, "audit"), os.path.join(self.dir, "sessions"), workers=workers,
                        env={"DATA": self.data}, ini={"upload_tmp_dir": self.dir, "session.gc_probability": "0"})
        self.where = f"/proc/{self.php.pid}/root{self.data}" if space else self.data  # as the test sees it
        self.options = {"store": "sealed", "keys": keys(), "audit.enabled": True, "audit.allow": ALLOW, "audit.measure_every": "100ms",
                        "audit.paths": [self.data] if paths is None else paths, **(options or {})}
        self.lethe = None
        if start:
            self.start(**more)

    def start(self, **more):
        self.lethe = Lethe(self.php.address, self.options, **more)
        if self.lethe.admin and self.options["audit.paths"]:
            wait_for(lambda: "is watched by" in self.report() and "so far" not in self.report(), what="the watch")
        return self

    def do(self, what, fields="", **arguments):
        query = "".join(f"&{k}={v}" for k, v in arguments.items())
        r = self.lethe.get(f"/app.php?do={what}{query}", fields)
        assert r.status == 200, (r, r.body)
        return r

    def upload(self, name="photo.txt", path="/app.php"):
        body = UPLOAD % name.encode()
        with Client(self.lethe.address) as c:
            r = c.ask(f"POST {path}?do=upload HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=B\r\n"
                      f"Content-Length: {len(body)}\r\n\r\n".encode() + body)
        assert r.status == 200 and r.body == b"ok", (r, r.body)

    def report(self):
        return self.lethe.get_admin("/doctor").body.decode()

    def findings(self):
        """[(kind, count, route, what, remedy)] of the audit alone; a route that is not told is "?"."""
        all_of_them = json.loads(self.lethe.get_admin("/report").body)["findings"]
        found = [(f["text"].split(": ")[0], f) for f in all_of_them if f["module"] == "audit"]
        return [(kind, f["count"], f["route"] or "?", f"{f['text']}, the last: {f['example']}", f["remedy"])
                for kind, f in found if kind in KINDS]

    @staticmethod
    def files(findings):
        """How many files were found; a route is told only where it is certain, so they may stand in several rows."""
        return sum(f[1] for f in findings if f[0] == "disk")

    def wait_findings(self, n=1, seconds=10):
        wait_for(lambda: len(self.findings()) >= n, seconds, f"{n} findings\n{self.report()}")
        return self.findings()

    def settle(self):
        """What was written before this call has been seen: a file that is written now is found, and its row taken off again."""
        mark = f"settle-{os.urandom(4).hex()}"
        os.mkdir(os.path.join(self.where, mark))
        with open(os.path.join(self.where, mark, "x"), "w", encoding="ascii") as f:
            f.write("x")
        wait_for(lambda: any(mark in f[3] for f in self.findings()), what="the mark")
        shutil.rmtree(os.path.join(self.where, mark))
        return [f for f in self.findings() if "settle-" not in f[3]]

    def doctor(self):
        return run_cli("doctor", f"--admin={self.lethe.admin}").returncode

    def clear(self):
        with Client(self.lethe.admin) as c:
            return c.ask(b"POST /audit/clear HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status

    def stop(self):
        try:
            if self.lethe:
                self.lethe.stop()
        finally:
            self.php.stop()


def can_mount():
    """Is a mount namespace of our own to be had?"""
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0


__all__ = ["ALLOW", "Gate", "SpacePhp", "Stand", "can_mount"]
