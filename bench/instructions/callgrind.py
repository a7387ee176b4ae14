# SPDX-License-Identifier: Apache-2.0
"""Instructions of a program under valgrind's callgrind, as a whole and by function (self cost)."""
import os
import re

from common.stage import Failed, find


def command(output):
    return [find("valgrind"), "--tool=callgrind", f"--callgrind-out-file={output}", "--quiet"]


def name_of(text, names):
    """The format's short names: `(3) strlen` says what `(3)` is from then on."""
    number, _, name = text.partition(" ")
    if name:
        names[number] = name
    return names.get(number, text)


def costs(output):
    """(all instructions, {function: its own}) of callgrind's file. Functions without a name are put together by library."""
    found, total, stated, names, objects = {}, 0, 0, {}, {}
    function = library = ""
    called = False  # the next line is what a call cost inside, which is counted there
    with open(output, encoding="utf-8", errors="replace") as f:
        for line in f:
            if line.startswith("fn="):
                function = name_of(line[3:].strip(), names)
                function = f"({os.path.basename(library)})" if re.match(r"0x[0-9a-f]+$", function) else function.partition("'")[0]
            elif line.startswith("ob="):
                library = name_of(line[3:].strip(), objects)
            elif line.startswith(("cfn=", "cob=")):
                name_of(line[4:].strip(), names if line.startswith("cfn=") else objects)
            elif line.startswith("summary:"):
                stated = int(line.split()[1])
            elif line.startswith("calls="):
                called = True
            elif line[0] in "0123456789+-*":
                cost = 0 if called else int((line.split() + ["0"])[1])
                called = False
                found[function] = found.get(function, 0) + cost
                total += cost
    if not total or total != stated:
        raise Failed(f"valgrind: {output} says {stated} instructions, and its functions have {total}")
    return total, found
