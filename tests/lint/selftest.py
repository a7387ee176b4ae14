# SPDX-License-Identifier: Apache-2.0
"""The checks of this folder find what they are for: each is run on a small tree with one fault in it."""
import os
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import docs  # noqa: E402
import layers  # noqa: E402
import sizes  # noqa: E402


class Tree(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = folder.name

    def write(self, path, text, mode=0o644):
        full = os.path.join(self.root, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(full, mode)
        return full


class Layers(Tree):
    """Files of every layer, and which may include which."""

    def setUp(self):
        super().setUp()
        for path in ("proxy/base/span.h", "proxy/http/headers.h", "proxy/crypto/seal.h", "config/option.h", "proxy/net/loop.h",
                     "proxy/exchange.h", "proxy/module.h", "proxy/record.h", "modules/a/a.h", "modules/b/b.h", "main.h"):
            self.write(path, "")

    def findings(self, path, include):
        self.write(path, f'// x\n#include "{include}"\n')
        return layers.check(self.root)[0]

    def test_down_is_allowed(self):
        for path, include in (("proxy/http/x.c", "base/span.h"), ("proxy/net/x.c", "http/headers.h"), ("proxy/x.c", "net/loop.h"),
                              ("proxy/x2.c", "exchange.h"), ("modules/a/x.c", "module.h"), ("modules/a/x2.c", "record.h"),
                              ("modules/a/x3.c", "modules/a/a.h"), ("modules/a/x4.c", "crypto/seal.h"), ("config/x.c", "base/span.h"),
                              ("modules/modules.c", "modules/b/b.h"), ("modules/modules.c", "exchange.h")):
            self.assertEqual(self.findings(path, include), [], (path, include))

    def test_up_and_sideways_are_found(self):
        for path, include in (("proxy/base/x.c", "http/headers.h"), ("proxy/http/x.c", "crypto/seal.h"), ("proxy/http/x.c", "net/loop.h"),
                              ("config/x.c", "http/headers.h"), ("proxy/net/x.c", "module.h"), ("proxy/x.c", "modules/a/a.h"),
                              ("modules/a/x.c", "exchange.h"), ("modules/a/x.c", "modules/b/b.h"), ("modules/a/x.c", "../b/b.h"),
                              ("proxy/x.c", "../main.h"), ("proxy/x.c", "nowhere.h")):
            with self.subTest(path=path, include=include):
                found = self.findings(path, include)
                self.assertEqual(len(found), 1, found)
                self.assertTrue(found[0].startswith(f'{path}:2: "{include}"'), found)
                os.remove(os.path.join(self.root, path))


class Sizes(Tree):
    def test_c_functions(self):
        body = "    x();\n" * 59
        self.write("a.c", "struct s {\n" + "    int x;\n" * 70 + "};\n\nint ok(int a,\n       int b) {\n" + "    x();\n" * 57 + "}\n\n"
                   f"static char *long_one(void)\n{{\n{body}out:\n    y();\n}}\n")
        found, warned = sizes.check(self.root)
        self.assertEqual(found, [f"a.c:135: long_one(): 64 lines, the most is {sizes.FUNCTION_MAX}"])
        self.assertEqual(warned, ["a.c:74: ok(): 60 lines (over 40)"])

    def test_python_functions_and_files(self):
        self.write("a.py", "def f():\n" + "    x = 1\n" * 60 + "\n\ny = 1\n" + "# x\n" * 440)
        found, _ = sizes.check(self.root)
        self.assertEqual([f.split(",")[0] for f in found], ["a.py: 504 lines", "a.py:1: f(): 61 lines"])

    def test_build_is_not_looked_at(self):
        self.write("build/a.c", "\n" * 600)
        self.assertEqual(sizes.check(self.root), ([], []))


class Docs(Tree):
    """A tree without fault, into which each test puts one."""

    def setUp(self):
        super().setUp()
        self.lethe = self.write("lethe", "#!/bin/sh\necho '# options'\n", 0o755)
        self.write("README.md", "# Top\n\n[reference](docs/reference.md) [more](docs/README.md#the-more) [top](#top) [x](https://x/y)\n"
                   "`[no](link.md)`\n\n```\n[none](either.md)\n```\n")
        self.write("docs/README.md", "## The `more`!\n[page](page.md)\n![a picture](p.svg)\n")
        self.write("docs/reference.md", "# options\n")
        for path in ("CHANGELOG.md", "LICENSE", "docs/page.md", "docs/p.svg"):
            self.write(path, "")

    def findings(self):
        return docs.check(self.root, self.lethe)

    def test_no_fault(self):
        self.assertEqual(self.findings(), [])

    def test_reference_is_old(self):
        self.write("docs/reference.md", "# other options\n")
        self.assertIn("docs/reference.md is not what the program says", self.findings()[0])

    def test_program_fails(self):
        self.write("lethe", "#!/bin/sh\nexit 1\n", 0o755)
        self.assertEqual(len(self.findings()), 1)

    def test_page_that_nobody_links(self):
        self.write("docs/lost.md", "")
        self.write("docs/lost.svg", "")
        self.assertEqual(self.findings(), ["docs/lost.md: linked neither from README.md nor from docs/README.md",
                                           "docs/lost.svg: no page links it"])

    def test_links_that_lead_nowhere(self):
        self.write("docs/page.md", "[a](gone.md) [b](../README.md#gone) [c](../../outside.md)\n")
        self.assertEqual(len(self.findings()), 3)

    def test_no_changelog(self):
        os.remove(os.path.join(self.root, "CHANGELOG.md"))
        self.assertEqual(self.findings(), ["there is no CHANGELOG.md"])


if __name__ == "__main__":
    unittest.main(verbosity=0)
