# SPDX-License-Identifier: Apache-2.0
"""Includes point down only: main → modules → proxy → store → net → http · crypto · config → base (DESIGN, section 1).

`layers.py [ROOT]` prints each include that points up or sideways and ends with 1 when there was one."""
import os
import re
import sys

INCLUDE = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.M)
# What each layer may include beside itself. A module is a layer "modules/<name>" of its own.
BELOW = {
    "base": (),
    "http": ("base",),
    "crypto": ("base",),
    "config": ("base",),
    "net": ("http", "crypto", "config", "base"),
    "store": ("net", "crypto", "config", "base"),
    "proxy": ("store", "net", "http", "crypto", "config", "base"),
}
OF_MODULES = ("store", "net", "http", "crypto", "config", "base")
CONTRACT = ("proxy/module.h", "proxy/record.h")  # all that a module sees of the proxy
EXEMPT = ("main.c", "modules/modules.c", "modules/modules.h")  # the registry, and what starts it


def layer_of(path):
    """The layer of a file by its path below the root; None: not part of the program."""
    parts = path.split("/")
    if parts[0] == "proxy":
        return parts[1] if len(parts) > 2 else "proxy"
    if parts[0] == "modules":
        return f"modules/{parts[1]}" if len(parts) > 2 else "modules"
    return parts[0] if parts[0] == "config" else None


def resolve(root, path, name):
    """The included file as a path below the root: beside the file, below proxy/ or below the top."""
    for folder in (os.path.dirname(path), "proxy", ""):
        found = os.path.normpath(os.path.join(folder, name))
        if os.path.isfile(os.path.join(root, found)):
            return found
    return None


def finding(path, target):
    """What is wrong with `path` including `target`, or None."""
    mine, other = layer_of(path), layer_of(target)
    if other is None:
        return "is no layer of the program"
    if other == mine:
        return None
    if mine.startswith("modules/"):
        if other == "proxy":
            return None if target in CONTRACT else f"a module sees only {' and '.join(CONTRACT)} of the proxy"
        if other.startswith("modules"):
            return "a module never sees another module"
        return None if other in OF_MODULES else "is no layer below the modules"
    if mine not in BELOW:
        return f"{mine} is no known layer; write it into tests/lint/layers.py"
    return None if other in BELOW[mine] else f"{mine} stands below or beside {other}"


def sources(root):
    for top in ("config", "modules", "proxy"):
        for folder, _, names in os.walk(os.path.join(root, top)):
            for name in names:
                if name.endswith((".c", ".h")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def check(root):
    """All findings as lines, and the number of includes looked at."""
    found, seen = [], 0
    for path in sorted(sources(root)):
        if path in EXEMPT:
            continue
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        for m in INCLUDE.finditer(text):
            seen += 1
            place = f"{path}:{text.count(chr(10), 0, m.start(1)) + 1}"
            target = resolve(root, path, m.group(1))
            what = finding(path, target) if target else "there is no such file"
            if what:
                found.append(f'{place}: "{m.group(1)}": {what}')
    return found, seen


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    found, seen = check(root)
    print("\n".join(found + [f"layers: {seen} includes, {len(found)} findings"]))
    return 1 if found or not seen else 0


if __name__ == "__main__":
    sys.exit(main())
