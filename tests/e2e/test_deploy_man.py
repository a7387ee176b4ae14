# SPDX-License-Identifier: Apache-2.0
"""The manual pages are what the program prints, and troff without faults."""
import os
import re
import shutil
import subprocess

import pytest

from rig import run_cli
from rig.lethe import ROOT

PAGES = {"5": "lethe.conf.5", "8": "lethe.8"}


def committed(section):
    return os.path.join(ROOT, "docs", "man", PAGES[section])


@pytest.mark.parametrize("section", PAGES)
def test_committed_is_printed(section):
    r = run_cli("reference", "--man", section)
    assert r.returncode == 0 and not r.stderr
    with open(committed(section), encoding="utf-8") as f:
        assert f.read() == r.stdout, f"write: build/release/lethe reference --man {section} > docs/man/{PAGES[section]}"


@pytest.mark.parametrize("section", PAGES)
@pytest.mark.parametrize("command", [["mandoc", "-T", "lint", "-W", "warning"],
                                     ["man", "-l", "--warnings=all", "-E", "UTF-8", "-Tutf8"]], ids=lambda c: c[0])
def test_it_is_troff(section, command):
    if not shutil.which(command[0]):
        pytest.skip(f"apt-get install {'man-db' if command[0] == 'man' else 'mandoc'}")
    done = subprocess.run([*command, committed(section)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
                          env={**os.environ, "MANWIDTH": "100", "MANROFFSEQ": ""})
    said = done.stderr.decode() + (done.stdout.decode() if command[0] == "mandoc" else "")
    assert (done.returncode, said) == (0, "")


def test_every_option_and_command_is_there():
    """As a reader sees it: no markup of Markdown or troff is left."""
    pages = {s: subprocess.run(["mandoc", "-T", "utf8", committed(s)], stdout=subprocess.PIPE, check=True).stdout.decode() for s in PAGES}
    seen = {s: re.sub(r".\x08", "", text) for s, text in pages.items()}
    reference = run_cli("reference").stdout
    for option in re.findall(r"^### `(.*)`$", reference, re.M):
        assert re.search(rf"^ +{re.escape(option)}$", seen["5"], re.M) or re.search(rf"^ +{re.escape(option)} ", seen["5"], re.M), option
    for command in re.findall(r"^  ([a-z]+) +[a-z]", run_cli("help").stdout, re.M):
        assert re.search(rf"^ +{command}\b", seen["8"], re.M), command
    assert "`" not in seen["5"] + seen["8"] and r"\f" not in seen["5"]


@pytest.mark.parametrize("args", [["--man"], ["--man", "1"], ["--man", "5", "x"], ["x"]])
def test_other_arguments(args):
    r = run_cli("reference", *args)
    assert r.returncode == 2 and not r.stdout and "--man 5" in r.stderr
