#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What single operations cost, in nanoseconds and in instructions: see ../README.md."""
import os
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from common import command, figures  # noqa: E402 (our own modules, after the lines above)
from common.stage import Failed  # noqa: E402
from compare.cases import BY_KEY  # noqa: E402
from instructions import callgrind  # noqa: E402

ROUNDS, SECONDS = 7, 0.05
FEW, MANY = 20, 120


def run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"micro: {done.stderr.strip()}")
    return done.stdout


def nanoseconds(program, name, request):
    """[of one operation, a round each]"""
    count = 200
    while (took := int(run(program, name, str(count), request))) < SECONDS * 1e9:
        count = max(2 * count, int(count * SECONDS * 1e9 / max(1, took)))
    return [int(run(program, name, str(count), request)) / count for _ in range(ROUNDS)]


def instructions(program, name, request, folder):
    totals = []
    for count in (FEW, MANY):
        output = os.path.join(folder, "costs")
        run(*callgrind.command(output), program, name, str(count), request)
        totals.append(callgrind.costs(output)[0])
    return (totals[1] - totals[0]) / (MANY - FEW)


def measure(program, request, folder):
    rows = "| operation | ns (smallest–largest) | instructions |\n|---|---|---|\n"
    for name in run(program).splitlines():
        ns = nanoseconds(program, name, request)
        rows += (f"| {name} | {statistics.median(ns):.0f} ({min(ns):.0f}–{max(ns):.0f}) "
                 f"| {instructions(program, name, request, folder):,.0f} |\n")
    return rows


def main():
    args = command.parser(__doc__).parse_args()
    lethe = command.program(args.lethe)
    program = command.program(os.path.join(os.path.dirname(lethe), "bench", "bench_micro"))
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        request = os.path.join(folder, "request")
        with open(request, "wb") as f:
            f.write(BY_KEY["browser"].request(80))
        rows = measure(program, request, folder)
    text = f"# Single operations\n\n{rows}\n{figures.machine(lethe, ())}"
    command.publish(text, args.output)


if __name__ == "__main__":
    command.run(main)
