# SPDX-License-Identifier: Apache-2.0
"""The code blocks of a page. The words behind the fence say what a block is for:

    ```sh run=php                         commands of the recipe "php", run as root at the top of the repository
    ```nginx run=php file=/etc/nginx/x    a file of that recipe, written with exactly this text
    ```sh install=php                     packages that the recipe needs: the tests have them already, and look whether all are named
    ```sh shown                           is not run; the page says why
"""
import os
import re

from rig.lethe import ROOT

FENCE = re.compile(r"^```(?P<info>[^\n`]*)\n(?P<text>.*?)^```\s*$", re.M | re.S)
INDENTED = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.M)


class Block:
    def __init__(self, page, info, text, line):
        self.page, self.text, self.line = page, text, line
        words = info.split()
        assert not words or "=" not in words[0], f"{page}:{line}: the first word behind a fence is the language"
        self.language = words[0] if words else ""
        self.words = {w.split("=", 1)[0]: w.split("=", 1)[-1] for w in words[1:]}

    def __repr__(self):
        return f"{self.page}:{self.line}"


def read(page):
    with open(os.path.join(ROOT, page), encoding="utf-8") as f:
        return f.read()


def blocks(page):
    text = read(page)
    return [Block(page, m["info"], m["text"], text.count("\n", 0, m.start()) + 1) for m in FENCE.finditer(text)]


def indented(page):
    """The texts of blocks by indentation, without it."""
    return [re.sub(r"^    ", "", m.group(), flags=re.M).strip("\n") + "\n" for m in INDENTED.finditer(FENCE.sub("\n", read(page)))]


def recipe(page, name):
    found = [b for b in blocks(page) if b.words.get("run") == name]
    assert found, f"{page} has no recipe {name}"
    return found


def recipes(page):
    return sorted({b.words["run"] for b in blocks(page) if "run" in b.words})


def follow(machine, page, name):
    """Does on the machine what the page says."""
    for block in recipe(page, name):
        if "file" in block.words:
            machine.write(block.words["file"], block.text)
        else:
            assert block.language == "sh", block
            machine.run(block.text)


def pages():
    for folder, folders, names in os.walk(ROOT):
        folders[:] = sorted(f for f in folders if f not in (".git", "build", "__pycache__", "node_modules"))
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), ROOT)
