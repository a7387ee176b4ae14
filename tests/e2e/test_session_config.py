# SPDX-License-Identifier: Apache-2.0
"""Wrong configuration: nothing starts, one line says what to write instead."""
import os
import pwd
import subprocess

import pytest
from session_rig import keys

from rig import Lethe, find_binary, free_port, run_cli
from rig.lethe import clean_env

REDIS = "redis://127.0.0.1:6379/0"


def refused(*flags, code=2, words=()):
    done = run_cli("run", f"--listen=127.0.0.1:{free_port()}", "--upstream=127.0.0.1:1", *flags, seconds=8)
    lines = [line for line in done.stderr.splitlines() if "keys_m" not in line]
    assert done.returncode == code, (done.returncode, done.stderr)
    assert len(lines) == 1, done.stderr
    for word in words:
        assert word in lines[0], lines[0]
    assert done.stdout == ""
    return lines[0]


@pytest.mark.parametrize("url", ["redis://", "redis://host:port/0", "redis://h:6379/x", "redis:/h", "http://h/", "h:6379", "redis+unix://relative",
                                 "redis://:1/0", "redis://h:6379/0?x=1", "redis://user@h:1/0", "redis://h:99999/0", "mysql://h/0",
                                 "redis://u:%zz@h:1/0", "redis+unix:///s?db=x"])
def test_malformed_store(url):
    line = refused(f"--store={url}", words=["store", "redis://"])
    assert "%zz" not in line, "a password is never shown"


@pytest.mark.parametrize("url", ["redis://h:6379/0", "redis://h", "redis://user:p%40ss@h:1/3", "redis+unix:///run/r.sock?db=0", "sealed", ""])
def test_good_store(url):
    done = run_cli("check", "--upstream=127.0.0.1:1", f"--store={url}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("store", ["sealed", ""])
def test_session_files_need_a_server(tmp_path, store):
    refused(f"--store={store}", f"--keys={keys()}", "--files.profile=php", f"--files.dir={tmp_path}", words=["files.profile", "redis://"])


def test_profile_without_a_directory():
    refused(f"--store={REDIS}", "--files.profile=php", words=["files.dir"])


def test_unknown_profile(tmp_path):
    refused(f"--store={REDIS}", "--files.profile=pph", f"--files.dir={tmp_path}", words=["files.profile", "php"])


def test_directory_is_missing(tmp_path):
    refused(f"--store={REDIS}", f"--keys={keys()}", "--files.profile=php", f"--files.dir={tmp_path}/no", code=1, words=[f"{tmp_path}/no"])


def test_directory_is_a_file(tmp_path):
    (tmp_path / "f").write_text("x")
    refused(f"--store={REDIS}", f"--keys={keys()}", "--files.profile=php", f"--files.dir={tmp_path}/f", code=1, words=[f"{tmp_path}/f"])


@pytest.mark.parametrize("more,name", [(["--session.cookies=SHOP"], "PHPSESSID"), (["--files.cookie=SHOP"], "SHOP"),
                                       (["--session.cookies=PHP", "--files.cookie=PHPSESSID"], "PHPSESSID")])
def test_files_of_a_cookie_that_is_no_sessions(tmp_path, more, name):
    refused(f"--store={REDIS}", "--files.profile=php", f"--files.dir={tmp_path}", *more, words=["files.cookie", f'"{name}"', "session.cookies", "both"])


@pytest.mark.parametrize("more", [["--session.cookies=SHOP,PHPSESSID"], ["--session.cookies=PHP*"], ["--session.cookies=*", "--files.cookie=SHOP"], []])
def test_files_of_a_sessions_cookie(tmp_path, more):
    done = run_cli("check", f"--store={REDIS}", f"--keys={keys()}", "--upstream=127.0.0.1:1", "--files.profile=php", f"--files.dir={tmp_path}", *more)
    assert done.returncode == 0, done.stderr


def test_unknown_owner(tmp_path):
    refused(f"--store={REDIS}", f"--keys={keys()}", "--files.profile=php", f"--files.dir={tmp_path}", "--files.owner=nobody-of-that-name", code=1,
            words=["files.owner"])


def run_as_nobody(directory):
    """As an ordinary user, who is not root. The binary's copy lies where that user may read it."""
    nobody = pwd.getpwnam("nobody")

    def become():
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
    return subprocess.run([find_binary(), "run", f"--listen=127.0.0.1:{free_port()}", "--upstream=127.0.0.1:1", f"--store={REDIS}",
                           f"--keys={keys()}", "--files.profile=php", f"--files.dir={directory}"], env=clean_env(), stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=20, check=False, cwd="/", preexec_fn=become)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
@pytest.mark.parametrize("owner, mode, words", [(0, 0o777, "must belong to uid 0"), ("nobody", 0o555, "let lethe write there")])
def test_directory_of_another_owner_or_not_writable(short_dir, owner, mode, words):
    os.chmod(short_dir, 0o755)
    directory = os.path.join(short_dir, "sessions")
    os.mkdir(directory)
    os.chown(directory, pwd.getpwnam(owner).pw_uid if owner else 0, 0)
    os.chmod(directory, mode)
    done = run_as_nobody(directory)
    lines = done.stderr.decode().splitlines()
    assert done.returncode == 1, (done.returncode, lines)
    assert len(lines) == 1 and directory in lines[0] and words in lines[0], lines


@pytest.mark.parametrize("flag", ["--session.idle_ttl=30", "--session.idle_ttl=0s", "--session.lock_ttl=1ms", "--session.cookie_name=a b",
                                  "--session.cookie_name=__Host-x",
                                  "--session.prefix=a{b}", "--session.prefix=", "--session.cookie_name=", "--files.max_size=4q",
                                  "--keys=abc", "--keys=a:short", "--keys=file:/nowhere/keys",
                                  "--health.paths=healthz", "--health.paths=/healthz", "--health.paths=/x=alive"])
def test_malformed_option(flag):
    refused(f"--store={REDIS}", flag, words=[flag[2:].split("=")[0]])


def test_two_of_the_same_key():
    refused(f"--store={REDIS}", f"--keys={keys()},{keys()}", words=["keys"])


def test_password_of_the_store_is_never_printed(tmp_path):
    args = ("--upstream=127.0.0.1:1", "--store=redis://user:topsecret@127.0.0.1:1/0", f"--keys={keys()}")
    done = run_cli("config", *args)
    assert done.returncode == 0 and "topsecret" not in done.stdout + done.stderr and keys().split(":")[1] not in done.stdout
    lethe = Lethe("127.0.0.1:1", {"store": "redis://user:topsecret@127.0.0.1:1/0", "keys": keys()})
    lethe.get("/", "Cookie: lethe=" + "A" * 43 + "\r\n")
    lethe.stop()
    assert "topsecret" not in "\n".join(lethe.process.err + lethe.process.out)
