# SPDX-License-Identifier: Apache-2.0
"""The documentation is what the program says: docs/reference.md equals `lethe reference`, every file in docs/ is linked from README.md or
docs/README.md, relative links lead somewhere, and there is a CHANGELOG.md.

`docs.py LETHE [ROOT]` ends with 1 when there was a finding."""
import os
import re
import subprocess
import sys

SKIP = {".git", "build", "__pycache__", "node_modules"}
LINK = re.compile(r"!?\[[^\]]*\]\(\s*<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\s*\)")
FENCE = re.compile(r"^(```|~~~).*?^\1\s*$", re.M | re.S)


def read(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def prose(text):
    """The text without code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", lambda m: "`" + "x" * (len(m.group()) - 2) + "`", FENCE.sub("", text))


def anchors(text):
    """The names that headings get: lower case, blanks to dashes, punctuation dropped, the second of a name with -1."""
    found = set()
    for line in FENCE.sub("", text).splitlines():
        m = re.match(r"#{1,6}\s+(.*?)\s*#*$", line)
        if m:
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", m.group(1)).lower()
            name = re.sub(r"\s", "-", re.sub(r"[^\w\- ]", "", words))
            n = 1
            unique = name
            while unique in found:
                unique = f"{name}-{n}"
                n += 1
            found.add(unique)
    return found


def markdown(root):
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIP)
        for name in sorted(names):
            if name.endswith(".md"):
                yield os.path.relpath(os.path.join(folder, name), root)


def links(root, path):
    """(text of the link, path below the root, anchor) of each relative link."""
    for target in LINK.findall(prose(read(os.path.join(root, path)))):
        if re.match(r"[a-z][a-z0-9+.-]*:|//", target):
            continue
        name, _, anchor = target.partition("#")
        yield target, os.path.normpath(os.path.join(os.path.dirname(path), name)) if name else path, anchor


def check_links(root):
    for path in markdown(root):
        for target, leads_to, anchor in links(root, path):
            full = os.path.join(root, leads_to)
            if leads_to.startswith("..") or not os.path.exists(full):
                yield f"{path}: the link ({target}) leads nowhere"
            elif anchor and full.endswith(".md") and anchor not in anchors(read(full)):
                yield f"{path}: the link ({target}): no such heading"


def check_linked(root):
    """Every page of docs/ is found by a reader of the two READMEs; what is no page (a picture) is used by some page."""
    used = {page: {leads_to for _, leads_to, _ in links(root, page)} for page in markdown(root)}
    starts = used.get("README.md", set()) | used.get("docs/README.md", set())
    for folder, _, names in os.walk(os.path.join(root, "docs")):
        for name in sorted(names):
            path = os.path.relpath(os.path.join(folder, name), root)
            if name.endswith(".md"):
                if path != "docs/README.md" and path not in starts:
                    yield f"{path}: linked neither from README.md nor from docs/README.md"
            elif not any(path in leads_to for leads_to in used.values()):
                yield f"{path}: no page links it"


def check_reference(root, lethe):
    try:
        said = subprocess.run([lethe, "reference"], stdout=subprocess.PIPE, check=True, timeout=20).stdout.decode()
    except (OSError, subprocess.SubprocessError) as e:
        yield f"{lethe} reference: {e}"
        return
    path = os.path.join(root, "docs/reference.md")
    if not os.path.exists(path) or read(path) != said:
        yield f"docs/reference.md is not what the program says; write: {lethe} reference > docs/reference.md"


def check(root, lethe):
    found = [f"there is no {name}" for name in ("README.md", "CHANGELOG.md", "LICENSE") if not os.path.exists(os.path.join(root, name))]
    return [*found, *check_links(root), *check_linked(root), *check_reference(root, lethe)]


def main():
    if len(sys.argv) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    root = sys.argv[2] if len(sys.argv) > 2 else "."
    found = check(root, os.path.abspath(sys.argv[1]))
    print("\n".join(found + [f"docs: {len(list(markdown(root)))} pages, {len(found)} findings"]))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
