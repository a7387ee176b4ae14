# SPDX-License-Identifier: Apache-2.0
"""Sizes: a function fits a screen, a file tells one story. Over 60 or 500 lines is a finding, over 40 or 300 is shown.

`sizes.py [ROOT]` ends with 1 when there was a finding."""
import ast
import os
import re
import sys

FUNCTION_WARN, FUNCTION_MAX, FILE_WARN, FILE_MAX = 40, 60, 300, 500
SKIP = {".git", "build", "__pycache__"}
HEAD = re.compile(r"^[A-Za-z_](?!\w*:\s*$)")  # something begins in the first column that is no label


def name_of(head):
    """`static bool x(int a,` → x(); Criterion's `Test(suite, name) {` as it stands."""
    test = re.match(r"Test\([^)]*\)?", head)
    return test[0] if test else re.sub(r"\s*\(.*", "", head).split()[-1].lstrip("*") + "()"


def c_functions(lines):
    """(name, first line, number of lines) of each function: from its head in the first column to the brace in the first column."""
    head = None
    for number, line in enumerate(lines, 1):
        if line.startswith("}"):
            if head and line.rstrip() == "}":
                first, text = head
                yield name_of(text), first, number - first + 1
            head = None
        elif HEAD.match(line):
            head = (number, line) if "(" in line and not line.rstrip().endswith(";") else None


def python_functions(text):
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield f"{node.name}()", node.lineno, node.end_lineno - node.lineno + 1


def sources(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIP)
        for name in sorted(names):
            if name.endswith((".c", ".h", ".py")):
                yield os.path.relpath(os.path.join(folder, name), root)


def judge(found, warned, what, n, warn, most):
    if n > most:
        found.append(f"{what}: {n} lines, the most is {most}")
    elif n > warn:
        warned.append(f"{what}: {n} lines (over {warn})")


def check(root):
    found, warned = [], []
    for path in sources(root):
        with open(os.path.join(root, path), encoding="utf-8") as f:
            text = f.read()
        lines = text.splitlines()
        judge(found, warned, path, len(lines), FILE_WARN, FILE_MAX)
        functions = python_functions(text) if path.endswith(".py") else c_functions(lines)
        for name, first, n in functions:
            judge(found, warned, f"{path}:{first}: {name}", n, FUNCTION_WARN, FUNCTION_MAX)
    return found, warned


def main():
    found, warned = check(sys.argv[1] if len(sys.argv) > 1 else ".")
    for line in warned:
        print("warning:", line)
    for line in found:
        print("FINDING:", line)
    print(f"sizes: {len(found)} findings, {len(warned)} warnings")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
