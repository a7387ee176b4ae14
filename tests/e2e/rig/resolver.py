# SPDX-License-Identifier: Apache-2.0
"""Names with addresses of the test's choice, which it may change while the program under test runs."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Resolver:
    """`Resolver(dir, {"app.test": ["127.0.0.1"]})`; .env goes to Lethe(env=…); .set(name, addresses) changes an answer."""

    def __init__(self, dir, names):
        library = os.path.join(str(dir), "resolver.so")
        self.path = os.path.join(str(dir), "names")
        self.names = dict(names)
        subprocess.run([os.environ.get("CC", "gcc"), "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", library, os.path.join(HERE, "resolver.c"),
                        "-ldl"], check=True)
        self.env = {"LD_PRELOAD": library, "RESOLVER_FILE": self.path,
                    "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:verify_asan_link_order=0"}
        self._write()

    def set(self, name, addresses):
        self.names[name] = addresses
        self._write()

    def _write(self):
        with open(self.path + ".new", "w", encoding="ascii") as f:
            f.writelines(f"{n} {' '.join(a)}\n" for n, a in self.names.items())
        os.rename(self.path + ".new", self.path)
