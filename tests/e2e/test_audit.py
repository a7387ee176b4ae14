# SPDX-License-Identifier: Apache-2.0
"""The audit finds what an application keeps outside its sessions, each thing with route, count, example and remedy, and nothing in a clean one."""
import json
import os
import threading

import pytest
from audit_rig import Gate, Stand

from rig import wait_for
from rig.origin import answer


@pytest.fixture
def stand(tmp_path):
    """stand(options, …): a Stand of this test alone."""
    made = []

    def make(options=None, **how):
        made.append(Stand(tmp_path / f"stand{len(made)}", options, **how))
        return made[-1]
    os.chmod(tmp_path, 0o755)
    yield make
    for s in made:
        s.stop()


def test_clean_application(stand):
    """The negative control: pages, cookies, sessions, logs, allowed files; and the watch is at work."""
    s = stand({"audit.allow": "*.log,/*/data/cache/*"})
    token = s.do("session").get("set-cookie").split(";")[0]
    for _ in range(3):
        s.do("session", f"Cookie: {token}\r\n")
        s.do("log")
        s.do("plain")
        s.do("")
    os.mkdir(os.path.join(s.data, "cache"))
    s.do("write", name="cache/x")
    assert s.settle() == []
    assert s.clear() == 200
    assert "Nothing wrong was seen." in s.report() and s.doctor() == 0
    metrics = s.lethe.metrics()
    assert metrics.get("lethe_audit_found", finding="sticky") == metrics.get("lethe_audit_found", finding="replica-id") == 0


def test_upload_on_disk(stand):
    s = stand()
    s.upload("photo.txt")
    (found,) = s.wait_findings()
    kind, count, route, what, remedy = found
    assert (kind, count, route) == ("disk", 1, "/app.php")
    assert f"in {s.data}/uploads," in what and what.endswith(f"the last: {s.data}/uploads/photo.txt")
    assert "object store" in remedy and "audit.allow" in remedy and s.doctor() == 1
    s.upload("second.txt")
    wait_for(lambda: s.files(s.findings()) == 2, what="the second file")
    assert any(f[3].endswith("second.txt") for f in s.findings())
    (event,) = s.lethe.events("audit_finding")[:1]
    assert event["finding"] == "disk" and event["route"] == "/app.php"


def test_each_way_to_write(stand):
    """One opening is one file, however often it is written to; a file that is renamed has been counted; directories that are made at once
    with what is in them are seen."""
    s = stand()
    s.do("write", name="empty", size=0)
    assert s.files(s.settle()) == 1
    s.do("rename", name="renamed")
    assert s.files(s.settle()) == 2
    s.do("deep")
    wait_for(lambda: s.files(s.findings()) == 3 + 2, what="the file in directories that are looked at one after the other")  # two marks
    (deep,) = [f for f in s.findings() if "/a/b/c," in f[3]]
    assert deep[1] == 1 and deep[3].endswith("/a/b/c/file")


def test_file_that_stays_open_is_seen(stand, tmp_path):
    s = stand()
    gate = Gate(str(tmp_path))
    request = threading.Thread(target=s.do, args=("slow",), kwargs={"name": "open", "gate": gate.path})
    request.start()
    gate.wait_reached()
    assert s.wait_findings()[0][:3] == ("disk", 1, "/app.php")  # before it is closed
    gate.open()
    request.join()
    assert s.settle()[0][:3] == ("disk", 1, "/app.php")


def test_route_is_told_only_of_one_exchange(stand, tmp_path):
    """Two requests are under way: which one wrote is not known."""
    s = stand()
    gate = Gate(str(tmp_path))
    request = threading.Thread(target=s.do, args=("wait",), kwargs={"gate": gate.path})
    request.start()
    gate.wait_reached()
    s.do("write", name="x")
    assert s.wait_findings()[0][:3] == ("disk", 1, "?")
    gate.open()
    request.join()


def test_nobody_asked(stand):
    """A file that is written with no request under way has no route."""
    s = stand()
    with open(os.path.join(s.data, "cron"), "w", encoding="ascii") as f:
        f.write("x")
    assert s.wait_findings()[0][:3] == ("disk", 1, "?")


def test_log_is_found_when_it_is_not_allowed(stand):
    """The control of what audit.allow does in the clean application."""
    s = stand({"audit.allow": "*.pid"})
    s.do("log")
    assert s.wait_findings()[0][3].endswith("app.log")


def test_session_files_are_allowed_by_themselves(stand, tmp_path):
    """files.dir lies in the watched tree; the same without files.profile is a finding."""
    from rig import Redis  # pylint: disable=import-outside-toplevel
    with Redis(tmp_path / "redis") as redis:
        carried = stand(start=False)
        sessions = carried.php.session_dir
        carried.options.update({"audit.paths": [carried.dir], "store": redis.url, "files.profile": "php", "files.dir": sessions})
        carried.start()
        carried.do("session")
        assert carried.settle() == []
        bare = stand(start=False)
        bare.options["audit.paths"] = [bare.dir]
        bare.start()
        bare.do("session")
        assert f"in {bare.php.session_dir}," in bare.wait_findings()[0][3]


def test_sticky_cookie(stand):
    s = stand(paths=[])
    r = s.do("sticky")
    assert r.all("set-cookie") == []
    (found,) = s.findings()
    assert found[:3] == ("sticky", 1, "/app.php") and "BALANCEID" in found[3] and "balancer.node1" not in s.report()
    assert "between it and lethe" in found[4] and s.doctor() == 1


def test_session_id_that_names_a_replica(stand):
    s = stand(paths=[])
    s.do("node")
    s.do("node")
    (found,) = s.findings()
    assert found[:3] == ("replica-id", 2, "/app.php")
    assert found[3].endswith("the last: JSESSIONID=<id>.node1") and "jvmRoute" in found[4]


def test_lost_session(lethe, origin, client):
    """Planted as in test_doctor: an application that does not know its own ids. The session module tells it, the audit counts it."""
    def app(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: JSESSIONID={os.urandom(16).hex()}\r\n"))
    from cluster_rig import keys  # pylint: disable=import-outside-toplevel
    l = lethe(origin(app), {"store": "sealed", "keys": keys(), "audit.enabled": True})
    http = client(l)

    def report():
        return l.get_admin("/doctor").body.decode()
    token = http.get("/cart/show").get("set-cookie").split(";")[0]
    assert " ! " not in report() and "lost-session" not in report()
    http.get("/cart/show", f"Cookie: {token}\r\n")
    wait_for(lambda: "lost-session: 1" in report(), what="the lost session in the audit")
    (found,) = json.loads(l.get_admin("/report").body)["findings"]
    assert (found["module"], found["route"], found["count"]) == ("session", "/cart", 1) and found["remedy"]
    assert l.metrics().get("lethe_audit_found", finding="lost-session") == 1


def test_growth(stand):
    """Allowed files count as well: a disk is filled by them all the same. Each further step is counted, none twice."""
    s = stand({"audit.max_growth": "64k", "audit.allow": "/"})
    wait_for(lambda: "bytes lie in it" in s.report(), what="the first measurement")
    s.do("write", name="small.log", size=4096)
    s.do("write", name="big.log", size=100_000)
    (found,) = s.wait_findings()
    assert found[:3] == ("growth", 1, "?") and s.data in found[3] and found[3].endswith("big.log")
    assert "logs to standard output" in found[4]
    s.do("write", name="more.log", size=100_000)
    wait_for(lambda: s.findings()[0][1] == 3, what="the third step")
    assert len(s.findings()) == 1


def test_watch_survives_a_reload(stand, tmp_path):
    """A write is told once, by whichever configuration counts."""
    config = tmp_path / "lethe.conf"
    config.write_text('audit: { max_findings = 32; };\n')
    s = stand(config=config)
    s.do("write", name="one")
    assert s.files(s.settle()) == 1
    s.lethe.signal(1)
    s.lethe.wait_event("reloaded")
    s.do("write", name="two")
    assert s.files(s.settle()) == 2
    config.write_text('audit: { allow = ["/"]; paths = ["relative"]; };\n')
    s.lethe.signal(1)
    s.lethe.wait_event("reload_failed")
    s.do("write", name="three")
    assert s.files(s.settle()) == 3


def test_without_an_admin_listener(stand):
    """The first worker watches, once for all of them."""
    s = stand(start=False)
    s.start(admin=None, workers=3)
    wait_for(lambda: s.do("write", name="x") and s.lethe.events("audit_finding"), what="a finding in the log")
    assert len(s.lethe.events("audit_finding")) == 1


def test_limits_are_told(stand):
    s = stand(start=False)
    for i in range(8):
        os.mkdir(os.path.join(s.data, f"d{i}"))
    s.options["audit.max_watches"] = 4
    s.start()
    assert "6 directories in it are not watched" in s.report()  # the top and three of nine
    assert "audit.max_watches" in s.report()


def test_what_the_kernel_dropped_is_told(stand):
    """More happens than its queue holds while lethe stands still; the watch goes on, also in directories of that time."""
    with open("/proc/sys/fs/inotify/max_queued_events", encoding="ascii") as f:
        queue = int(f.read())
    if queue > 100_000:
        pytest.skip("the kernel's queue is long here")
    s = stand()
    s.lethe.signal(19)  # SIGSTOP
    try:
        for i in range(queue // 2 + 1000):  # each is written and closed
            with open(os.path.join(s.data, f"f{i % 50}"), "w", encoding="ascii") as f:
                f.write("x")
        os.mkdir(os.path.join(s.data, "late"))
    finally:
        s.lethe.signal(18)
    wait_for(lambda: "some writes were not seen" in s.report(), what="the overflow in the report")
    wait_for(lambda: "so far" not in s.report())
    s.do("write", name="late/x")
    wait_for(lambda: any(f"{s.data}/late/x" in f[3] for f in s.findings()), what="a file in the directory that was missed")


def test_a_path_that_is_not_there_is_told_and_comes(stand):
    s = stand(start=False)
    later = os.path.join(s.dir, "later")
    s.options["audit.paths"] = [s.data, later]
    s.start()
    assert f"! {later} is not watched: No such file or directory" in s.report()
    os.mkdir(later)
    wait_for(lambda: f"{later} is watched by" in s.report(), what="the path that came")


def test_names_are_shown_plain(stand):
    """A file's name may hold anything; it must not break the report or the log."""
    s = stand()
    with open(os.path.join(s.data, "a\n ! b\x1b[31m"), "w", encoding="ascii") as f:
        f.write("x")
    assert s.wait_findings()[0][3].endswith("a? ! b?[31m")


def test_off_by_default(stand):
    s = stand(start=False)
    s.options = {k: v for k, v in s.options.items() if not k.startswith("audit.")} | {"audit.paths": []}
    s.start()
    s.do("sticky")
    s.do("node")
    s.do("write", name="x")
    assert s.findings() == [] and s.doctor() == 0
    assert s.clear() == 404
