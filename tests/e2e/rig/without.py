# SPDX-License-Identifier: Apache-2.0
"""A machine on which a library is not installed that the program loads when it needs it."""
import os
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


def without(dir, library):
    """Environment for Lethe(env=…) and run_cli(env=…)."""
    shim = os.path.join(str(dir), "without.so")
    subprocess.run([os.environ.get("CC", "gcc"), "-D_GNU_SOURCE", "-shared", "-fPIC", "-o", shim, os.path.join(HERE, "without.c"), "-ldl"],
                   check=True)
    return {"LD_PRELOAD": shim, "WITHOUT_LIBRARY": library, "ASAN_OPTIONS": "detect_leaks=1:exitcode=99:verify_asan_link_order=0"}
