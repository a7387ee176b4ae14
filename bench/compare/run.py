#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what lethe, HAProxy, nginx and a bare relay cost a request, in one interleaved run: see ../README.md.

It fails (1) when an answer was wrong or missing, never because a program was slow."""
import argparse
import datetime
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from common import figures, reading  # noqa: E402 (our own modules, after the lines above)
from common.stage import Failed, end_on_signals, helper, rotated  # noqa: E402
from compare import measure, report  # noqa: E402
from compare.programs import Compared  # noqa: E402


def arguments():
    p = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0], formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    p.add_argument("--lethe", metavar="FILE", default=os.path.join(TOP, "build", "release", "lethe"), help="the program to measure")
    p.add_argument("--without-lethe", action="store_true", help="only the others")
    p.add_argument("--quick", action="store_true", help="about 1½ minutes; prints, writes nothing (unless --output); this is the default")
    p.add_argument("--full", action="store_true", help="about 3 minutes; writes ../results/<date>.md")
    p.add_argument("--rounds", type=int, metavar="N", help="3 (quick) or 7 (full)")
    p.add_argument("--seconds", type=int, metavar="N", help="of each measurement; 1")
    p.add_argument("--cases", metavar="a,b", help="some of: " + " ".join(c.key for c in measure.CASES))
    p.add_argument("--output", metavar="FILE", help="where the report goes")
    p.add_argument("--no-system-calls", action="store_true", help="leave the count of system calls out (it needs perf and root)")
    a = p.parse_args()
    if a.quick and a.full:
        p.error("--quick or --full, not both")
    keys = {c.key for c in measure.CASES}
    if a.cases and not set(a.cases.split(",")) <= keys:
        p.error(f"--cases: write some of {','.join(sorted(keys))}")
    return a


def set_up(stage, args):
    """Starts everything; returns {case key: programs}."""
    stage.start_origin()
    stage.start_redis()
    plain = [stage.start_relay(), stage.start_haproxy(False), stage.start_nginx(False)]
    logging = [stage.start_haproxy(True), stage.start_nginx(True)]
    sealed = []
    if not args.without_lethe:
        plain.append(stage.start_lethe("lethe", stage.redis_url(), False))
        logging.append(stage.start_lethe("lethe+log", stage.redis_url(), True))
        sealed.append(stage.start_lethe("lethe, sealed", "sealed", False))
    for program in plain + logging:
        program.store = stage.redis if program.name.startswith("lethe") else None
    taking_part = {c.key: logging if c.logs else plain + sealed if c.session else plain for c in measure.CASES}
    for case in measure.CASES:
        for program in taking_part[case.key]:
            if case.session:
                measure.log_in(program)
            measure.check_one(program, case)
    return taking_part


def run_rounds(stage, cases, taking_part, rounds, seconds):
    found = {(c.key, p.name): [] for c in cases for p in taking_part[c.key]}
    for number in range(rounds):
        for place, case in enumerate(cases):
            for program in rotated(taking_part[case.key], number + place):
                result = measure.measure(stage, program, case, seconds)
                found[case.key, program.name].append(result)
                print(f"round {number + 1}/{rounds}  {case.key:8} {program.name:14} {result.cpu:7.1f} µs a request "
                      f"{result.rate:8.0f}/s", file=sys.stderr, flush=True)
    return found


def count_system_calls(stage, cases, taking_part, args):
    if args.no_system_calls or not reading.can_count(stage):
        return {}
    return {(c.key, p.name): measure.system_calls(stage, p, c, 1) for c in cases for p in taking_part[c.key]}


def main():
    args = arguments()
    end_on_signals()
    rounds, seconds = args.rounds or (7 if args.full else 3), args.seconds or 1
    cases = [c for c in measure.CASES if not args.cases or c.key in args.cases.split(",")]
    today = datetime.date.today().isoformat()
    output = args.output or (os.path.join(HERE, "..", "results", f"{today}.md") if args.full else None)
    lethe = os.path.abspath(args.lethe)
    if not args.without_lethe and not os.access(lethe, os.X_OK):
        raise Failed(f"{args.lethe}: no such program; build it (./dev build), or write --lethe FILE or --without-lethe")
    machine = figures.machine(None if args.without_lethe else lethe, figures.PROGRAMS)  # now: the checkout may move on meanwhile
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        os.chmod(folder, 0o755)
        binaries = {"lethe": lethe, "origin": helper("compare/origin.c", lethe, folder), "relay": helper("compare/relay.c", lethe, folder)}
        with Compared(folder, binaries) as stage:
            taking_part = set_up(stage, args)
            found = run_rounds(stage, cases, taking_part, rounds, seconds)
            calls = count_system_calls(stage, cases, taking_part, args)
    how = (f"Medians of {rounds} rounds; in each round every program has its turn of {seconds} s, in rotating order; {measure.CONNECTIONS} "
           f"connections kept alive, one worker a program. bench/README.md says what was set up and how to read this.\n")
    text = report.render(f"Measured on {today}", machine, how, cases, found, calls)
    print(text)
    if output:
        with open(output, "w", encoding="utf-8") as f:
            f.write(text)


if __name__ == "__main__":
    try:
        main()
    except Failed as e:
        sys.exit(f"bench: {e}")
    except KeyboardInterrupt:
        sys.exit(130)
