# SPDX-License-Identifier: Apache-2.0
"""The command line: what is wrong is said in one line that tells what to write; 2 for the configuration, 1 for the run."""
import os
import re
import socket

import pytest

from rig import App, Lethe, run_cli
from rig.lethe import ROOT

UP = "--upstream=127.0.0.1:1"


def conf(tmp_path, text, name="lethe.conf"):
    path = tmp_path / name
    path.write_text(text)
    return str(path)


# --- commands ---

def test_version():
    for args in (["version"], ["--version"]):
        r = run_cli(*args)
        assert r.returncode == 0 and re.fullmatch(r"lethe \d+\.\d+\.\d+\n", r.stdout) and not r.stderr


def test_help():
    for args in (["help"], ["--help"], ["-h"]):
        r = run_cli(*args)
        assert r.returncode == 0 and not r.stderr
        for word in ("run", "check", "config", "keygen", "reference", "version", "help", "--upstream", "--session.idle_ttl"):
            assert word in r.stdout, word


@pytest.mark.parametrize("args", [["frobnicate"], [], ["Run"], [""]])
def test_unknown_command(args):
    r = run_cli(*args)
    assert r.returncode == 2 and not r.stdout
    assert len(r.stderr.splitlines()) == 1 and "lethe help" in r.stderr


def test_reference_names_every_option():
    r = run_cli("reference")
    assert r.returncode == 0 and not r.stderr
    for option in ("listen", "upstream", "trusted_proxies", "timeouts.head", "limits.head", "log.format", "session.idle_ttl"):
        env = "LETHE_" + option.upper().replace(".", "_")
        assert env in r.stdout and option in r.stdout, option


# --- what is wrong ---

WRONG = [
    ("unknown flag", ["--upstrem=127.0.0.1:1"], r"upstrem.*\bupstream\b"),
    ("unknown flag in a group", ["--timeouts.hed=1s"], r"timeouts\.hed.*timeouts\.head"),
    ("no unit", ["--timeouts.head=30"], r'timeouts\.head.*"?30"?.*unit.*30'),
    ("wrong unit", ["--timeouts.head=30x"], r"timeouts\.head.*30x"),
    ("not a number", ["--workers=many"], r"workers.*many"),
    ("below the range", ["--timeouts.head=1ms"], r"timeouts\.head"),
    ("above the range", ["--workers=257"], r"workers.*256"),
    ("negative", ["--workers=-1"], r"workers"),
    ("size", ["--limits.head=32q"], r"limits\.head.*32q"),
    ("choice", ["--log.format=xml"], r"log\.format.*text.*json"),
    ("bool", ["--proxy_protocol=maybe"], r"proxy_protocol.*maybe"),
    ("address", ["--listen=8080x"], r"listen.*8080x"),
    ("one of a list", ["--listen=127.0.0.1:0,nowhere"], r"listen.*nowhere"),
    ("block", ["--trusted_proxies=10.0.0.0/33"], r"trusted_proxies.*10\.0\.0\.0/33"),
    ("malformed Redis URL", ["--store=redis:/127.0.0.1:6379"], r"store.*redis://"),
    ("Redis database", ["--store=redis://127.0.0.1:6379/x"], r"store"),
    ("other store", ["--store=mysql://127.0.0.1"], r"store.*redis://"),
    ("keys without id", ["--keys=abcdef"], r"keys.*id:"),
    ("keys with a short secret", ["--keys=k1:abcdef"], r"keys.*lethe keygen"),
    ("keys file missing", ["--keys=file:/no/such/file"], r"keys.*/no/such/file"),
    ("flag without value", ["--workers"], r"workers"),
    ("not a flag", ["workers=1"], r"workers=1"),
]


@pytest.mark.parametrize("command", ["check", "run", "config"])
@pytest.mark.parametrize("name,flags,words", WRONG, ids=[w[0] for w in WRONG])
def test_wrong_option(command, name, flags, words):
    r = run_cli(command, UP, *flags)
    assert r.returncode == 2 and not r.stdout, (name, r)
    lines = r.stderr.splitlines()
    assert len(lines) == 1 and re.search(words, lines[0]), r.stderr


def test_flag_given_twice():
    """The last one counts, as everywhere; so a wrapper script can be overruled."""
    r = run_cli("config", UP, "--workers=1", "--workers=2")
    assert r.returncode == 0 and re.search(r"workers = 2;", r.stdout)


def test_no_upstream():
    r = run_cli("check")
    assert r.returncode == 2 and "upstream" in r.stderr and len(r.stderr.splitlines()) == 1


def test_unknown_variable():
    r = run_cli("check", UP, env={"LETHE_UPSTREM": "x"})
    assert r.returncode == 2 and re.search(r"LETHE_UPSTREM.*LETHE_UPSTREAM|LETHE_UPSTREM.*upstream", r.stderr)


def test_wrong_variable():
    r = run_cli("check", UP, env={"LETHE_SESSION_IDLE_TTL": "30"})
    assert r.returncode == 2 and re.search(r"LETHE_SESSION_IDLE_TTL.*unit", r.stderr)


def test_missing_file():
    r = run_cli("check", "-c", "/no/such/lethe.conf")
    assert r.returncode == 2 and "/no/such/lethe.conf" in r.stderr


@pytest.mark.parametrize("flag", ["-c", "--config"])
def test_config_flag_without_file(flag):
    r = run_cli("check", flag)
    assert r.returncode == 2 and flag in r.stderr


def test_directory_as_file(tmp_path):
    r = run_cli("check", "-c", tmp_path)
    assert r.returncode == 2 and str(tmp_path) in r.stderr


FILES = [
    ("no semicolon is fine, nonsense is not", 'upstream = "127.0.0.1:1"\nworkers = = 1\n', 2, "syntax"),
    ("unknown option", 'upstream = "127.0.0.1:1";\n\nnonsense = 1;\n', 3, "nonsense"),
    ("unknown group", 'upstream = "127.0.0.1:1";\nnonsense: { a = 1; };\n', 2, "nonsense"),
    ("unknown in a group", 'upstream = "127.0.0.1:1";\ntimeouts: {\n  hed = "1s";\n};\n', 3, "timeouts.head"),
    ("number without unit", 'upstream = "127.0.0.1:1";\nsession: {\n  idle_ttl = 30;\n};\n', 3, "30"),
    ("text without unit", 'upstream = "127.0.0.1:1";\nsession: { idle_ttl = "30"; };\n', 2, "unit"),
    ("list for a number", 'upstream = "127.0.0.1:1";\nworkers = [1];\n', 2, "workers"),
    ("group for an option", 'upstream = "127.0.0.1:1";\nworkers: { a = 1; };\n', 2, "workers"),
    ("option for a group", 'upstream = "127.0.0.1:1";\ntimeouts = "1s";\n', 2, "timeouts"),
]


@pytest.mark.parametrize("name,text,line,word", FILES, ids=[f[0] for f in FILES])
def test_wrong_file(tmp_path, name, text, line, word):
    path = conf(tmp_path, text)
    r = run_cli("check", "-c", path)
    assert r.returncode == 2, name
    first = r.stderr.splitlines()[0]
    assert re.search(rf"lethe\.conf:{line}: ", first) and word in first, r.stderr


def test_all_findings_are_reported(tmp_path):
    path = conf(tmp_path, 'upstream = "x";\nworkers = "x";\ntimeouts: { head = "5"; idle = "x"; };\n'
                'log: { level = "loud"; };\nnonsense = 1;\n')
    r = run_cli("check", "-c", path, "--limits.head=1")
    assert r.returncode == 2
    for word in ("workers", "timeouts.head", "timeouts.idle", "log.level", "nonsense", "limits.head", "upstream"):
        assert sum(word in line for line in r.stderr.splitlines()) >= 1, (word, r.stderr)
    assert len(r.stderr.splitlines()) == 7


# --- right ---

def test_check_says_ok(tmp_path):
    path = conf(tmp_path, 'upstream = "127.0.0.1:1";\n')
    r = run_cli("check", "-c", path)
    assert (r.returncode, r.stdout, r.stderr) == (0, f"{path}: ok\n", "")


def test_flag_forms(tmp_path):
    path = conf(tmp_path, 'upstream = "127.0.0.1:1";\n')
    for args in (["-c", path], ["--config", path], [f"--config={path}"]):
        for more in (["--workers", "3"], ["--workers=3"]):
            r = run_cli("config", *args, *more)
            assert r.returncode == 0 and re.search(r"workers\s*[=:]\s*3", r.stdout), r
    r = run_cli("config", "-c", path, "--proxy_protocol", "--workers=3")
    assert r.returncode == 0 and re.search(r"proxy_protocol\s*[=:]\s*true", r.stdout)


def shown(stdout, option):
    """The lines of `lethe config` that show this option's leaf name."""
    leaf = option.split(".")[-1]
    return [line for line in stdout.splitlines() if re.match(rf"\s*(?:\S+\.)?{leaf}\s*[=:]", line)]


def test_precedence_and_origins(tmp_path):
    path = conf(tmp_path, 'upstream = "127.0.0.1:1";\nsession: {\n  idle_ttl = "10m";\n  absolute_ttl = "2h";\n'
                '  rotate_grace = "1s";\n};\n')
    env = {"LETHE_SESSION_ABSOLUTE_TTL": "3h", "LETHE_SESSION_ROTATE_GRACE": "2s"}
    r = run_cli("config", "-c", path, "--session.rotate_grace=3s", env=env)
    assert r.returncode == 0, r
    for option, value, origin in (("idle_ttl", "10m", "lethe.conf:3"), ("absolute_ttl", "3h", "LETHE_SESSION_ABSOLUTE_TTL"),
                                  ("rotate_grace", "3s", "--session.rotate_grace"), ("lock_ttl", "15s", "default")):
        lines = shown(r.stdout, option)
        assert len(lines) == 1 and value in lines[0] and origin in lines[0], (option, lines)


def test_secrets_are_hidden():
    key = run_cli("keygen").stdout.strip()
    r = run_cli("config", UP, "--store=redis://user:geheim@127.0.0.1:6379/0", f"--keys={key}")
    assert r.returncode == 0 and "geheim" not in r.stdout and key.split(":")[1] not in r.stdout
    assert "(hidden)" in r.stdout
    for args in (["--store=redis://user:geheim@127.0.0.1:badport/0"], [f"--keys={key},broken"]):
        r = run_cli("check", UP, *args)
        assert r.returncode == 2 and "geheim" not in r.stderr and key.split(":")[1] not in r.stderr


def test_what_config_prints_is_a_configuration(tmp_path):
    """It can be put into a file and says the same again."""
    first = run_cli("config", UP, "--timeouts.head=3s", "--trusted_proxies=10.0.0.0/8,unix", "--limits.head=64k")
    path = conf(tmp_path, first.stdout)
    r = run_cli("config", "-c", path)
    assert r.returncode == 0, r.stderr

    def values(text):
        return [re.sub(r"\s*(#|//).*", "", line) for line in text.splitlines()]
    assert values(r.stdout) == values(first.stdout)


def test_keygen(tmp_path):
    keys = [run_cli("keygen").stdout for _ in range(3)]
    assert len(set(keys)) == 3
    for key in keys:
        assert re.fullmatch(r"k\d{8}[0-9a-f]{6}:[A-Za-z0-9_-]{43}\n", key)
        assert run_cli("check", UP, f"--keys={key.strip()}").returncode == 0
    ring = conf(tmp_path, "# the newest first\n" + "".join(keys), "ring")
    assert run_cli("check", UP, f"--keys=file:{ring}").returncode == 0
    assert run_cli("check", UP, env={"LETHE_KEYS": ",".join(k.strip() for k in keys)}).returncode == 0


def examples():
    folder = os.path.join(ROOT, "config", "examples")
    return sorted(f for f in os.listdir(folder) if f.endswith(".conf")) if os.path.isdir(folder) else []


def test_there_are_examples():
    assert examples()


@pytest.mark.parametrize("name", examples())
def test_example_is_right(name, tmp_path):
    """Secrets that an example names by their place are given here by another."""
    path = os.path.join(ROOT, "config", "examples", name)
    pem = tmp_path / "key.pem"
    pem.write_text(run_cli("keygen", "--alg", "EdDSA").stdout)
    r = run_cli("check", "-c", path, env={"LETHE_JWT_KEYS": f"2026-11={pem}"} if name == "jwt.conf" else None)
    assert r.returncode == 0, r.stderr


# --- run ---

def test_port_taken():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        r = run_cli("run", UP, f"--listen=127.0.0.1:{s.getsockname()[1]}")
        assert r.returncode == 1 and "in use" in r.stderr
        r = run_cli("run", UP, "--listen=127.0.0.1:0", f"--admin=127.0.0.1:{s.getsockname()[1]}")
        assert r.returncode == 1 and "in use" in r.stderr


def test_port_taken_by_another_lethe():
    """SO_REUSEPORT must not share it in silence."""
    with App() as app, Lethe(app.address) as lethe:
        r = run_cli("run", UP, f"--listen={lethe.address}")
        assert r.returncode == 1 and "in use" in r.stderr
        assert lethe.get("/").status == 200


def test_socket_of_a_living_lethe_is_not_taken(short_dir):
    with App() as app, Lethe(app.address, listen=f"unix:{short_dir}/s") as lethe:
        r = run_cli("run", UP, f"--listen={lethe.address}")
        assert r.returncode == 1 and "in use" in r.stderr
        assert lethe.get("/").status == 200


def test_listener_that_cannot_be(short_dir):
    for listen, word in ((f"unix:{short_dir}/no/such/dir/s", "No such file"), ("203.0.113.1:0", "interface")):
        r = run_cli("run", UP, f"--listen={listen}")
        assert r.returncode == 1 and word in r.stderr, r


def test_a_file_is_not_replaced_by_a_socket(short_dir):
    path = os.path.join(short_dir, "precious")
    with open(path, "w", encoding="ascii") as f:
        f.write("mine")
    r = run_cli("run", UP, f"--listen=unix:{path}")
    assert r.returncode == 1
    with open(path, encoding="ascii") as f:
        assert f.read() == "mine"


def test_redis_away_does_not_stop_the_start():
    """No order of starting."""
    with App() as app, Lethe(app.address, store="redis://127.0.0.1:1/0") as lethe:
        assert lethe.get("/").status == 200
