# SPDX-License-Identifier: Apache-2.0
"""`lethe probe`, the health check of a container without a shell: one line, exit code 0 or 1, by the configuration of `lethe run`."""
import threading

import pytest

from rig import App, answer, free_port, run_cli, wait_for


@pytest.fixture
def app():
    a = App()
    yield a
    a.stop()


def probe(*args, code, env=None):
    """What it printed: one line, on standard output when lethe answered, else on standard error."""
    done = run_cli("probe", *args, env=env)
    assert done.returncode == code, done.stdout + done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    return line


def test_each_probe(lethe, app):
    r = lethe(app)
    assert probe(f"--admin={r.admin}", code=0) == "livez: ok"
    for name in ("livez", "readyz", "startupz"):
        assert probe(name, "--admin", r.admin, code=0) == f"{name}: ok"


def test_not_ready_says_why(lethe, app):
    r = lethe(app)
    app.close_listener()
    app.drop_connections()
    wait_for(lambda: r.get_admin("/readyz").status == 503, 10, "not ready")
    line = probe("readyz", f"--admin={r.admin}", code=1)
    assert line.startswith("readyz: 503: [failed] app: ") and line.endswith("does not accept a connection")
    assert probe("livez", f"--admin={r.admin}", code=0) == "livez: ok"


def test_sources_of_the_address(lethe, app, tmp_path):
    """File < environment < flag, as for `lethe run`; what else must be given to run may be missing."""
    r = lethe(app)
    nobody = f"127.0.0.1:{free_port()}"
    path = tmp_path / "lethe.conf"
    path.write_text(f'admin = "{r.admin}";\n')
    assert probe("-c", path, code=0) == probe("livez", "-c", path, code=0) == "livez: ok"
    assert nobody in probe("-c", path, code=1, env={"LETHE_ADMIN": nobody})
    path.write_text(f'admin = "{nobody}";\n')
    assert nobody in probe("-c", path, code=1)
    assert probe("-c", path, code=0, env={"LETHE_ADMIN": r.admin}) == "livez: ok"
    assert probe("-c", path, f"--admin={r.admin}", code=0, env={"LETHE_ADMIN": nobody}) == "livez: ok"


def test_listener_on_all_addresses(lethe, app):
    r = lethe(app, admin="0.0.0.0:0")
    assert probe(f"--admin=0.0.0.0:{r.admin.rsplit(':', 1)[1]}", code=0) == "livez: ok"


def test_unix_socket(lethe, app, short_dir):
    r = lethe(app, admin=f"unix:{short_dir}/admin")
    assert r.admin and probe("readyz", f"--admin=unix:{short_dir}/admin", code=0) == "readyz: ok"
    assert "No such file" in probe(f"--admin=unix:{short_dir}/other", code=1)


def test_a_file_broken_since_the_start(lethe, app, tmp_path):
    """A reload refuses it and goes on, so the health check must not have the process restarted."""
    r = lethe(app)
    path = tmp_path / "lethe.conf"
    path.write_text("upstream = ;\n")
    assert probe("-c", path, code=0, env={"LETHE_ADMIN": r.admin}) == "livez: ok"
    assert "lethe.conf" in probe("-c", path, code=1)


def test_nobody_there():
    line = probe(f"--admin=127.0.0.1:{free_port()}", code=1)
    assert line.startswith("lethe: probe: livez: ") and "Connection refused" in line


def test_what_to_write_instead():
    assert '"admin" is empty' in probe(code=1) and "--admin host:port" in probe(code=1)
    assert 'write "livez", "readyz" or "startupz"' in probe("healthz", code=1)


def silent(conn):
    """As a stopped process: its kernel still accepts."""
    conn.request()
    conn.request()


def trickle(conn):
    """Always something, never all of it."""
    conn.request()
    while conn.send(b"x"):
        threading.Event().wait(0.1)


@pytest.mark.parametrize("handler", [silent, trickle])
def test_no_answer_within_the_limit(origin, handler):
    assert "timed out" in probe(f"--admin={origin(handler).address}", code=1)


def test_somebody_else_answers(origin):
    other = origin(lambda conn: conn.request() and conn.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"))
    assert "not lethe's" in probe(f"--admin={other.address}", code=1)
    full = origin(lambda conn: conn.request() and conn.send(answer(b"[failed] one\n[failed] two\n", status="503 Service Unavailable")))
    assert probe(f"--admin={full.address}", code=1) == "livez: 503: [failed] one; [failed] two"
