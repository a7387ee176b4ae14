# SPDX-License-Identifier: Apache-2.0
"""What every command of bench/ takes and how it ends."""
import argparse
import os
import sys

from common.stage import Failed, end_on_signals

TOP = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))


def parser(doc):
    """The arguments that all have; `doc`: the module's text, whose first line is the summary."""
    p = argparse.ArgumentParser(description=doc.split("\n", 1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--lethe", metavar="FILE", default=os.path.join(TOP, "build", "release", "lethe"), help="the program to measure")
    p.add_argument("--output", metavar="FILE", help="where the report goes, besides")
    return p


def program(path):
    """The absolute path of what is measured."""
    if not os.access(path, os.X_OK):
        raise Failed(f"{path}: no such program; build it (./dev build), or write --lethe FILE")
    return os.path.abspath(path)


def publish(text, output):
    """Prints the report and, with a path, writes it there."""
    print(text)
    if output:
        with open(output, "w", encoding="utf-8") as f:
            f.write(text)


def run(main):
    """Calls `main`, ends the process with what it returns (None: 0), and says in one line why it could not go on."""
    end_on_signals()
    try:
        sys.exit(main())
    except Failed as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
