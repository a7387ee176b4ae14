#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Compares what lethe, HAProxy, nginx and a bare relay cost, in one interleaved run, and holds it against the goals: see ../README.md.

Ends with 1 when an answer was wrong or missing, with 3 when something is not measured because the machine was disturbed (or a part was left
out); never because a program was slow."""
import dataclasses
import datetime
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from common import command, figures, quiet, reading  # noqa: E402 (our own modules, after the lines above)
from common.stage import Failed, helper, rotated  # noqa: E402
from compare import crowd, goals, measure, plots, report  # noqa: E402
from compare.cases import BY_KEY, CASES  # noqa: E402
from stores.servers import Stores  # noqa: E402
from compare.troupe import programs_for  # noqa: E402
from instructions.requests import count  # noqa: E402

PARTS = (*BY_KEY, "memory", "instructions")
PROGRAMS = {"origin": "compare/origin.c", "relay": "compare/relay.c", "pace": "compare/pace.c", "distance": "common/distance.c"}


def arguments():
    p = command.parser(__doc__)
    p.add_argument("--quick", action="store_true", help="about 2 minutes: one round; writes nothing")
    p.add_argument("--rounds", type=int, metavar="N", help="5, or 1 (quick)")
    p.add_argument("--seconds", type=int, metavar="N", default=1, help="of each measurement")
    p.add_argument("--patience", type=int, metavar="N", help="seconds for repeating what was disturbed: 240, or 30 (quick)")
    p.add_argument("--cases", metavar="a,b", help="some of: " + " ".join(PARTS))
    p.add_argument("--add", action="store_true", help="keep what --output's figures have of other cases: a run in pieces")
    p.add_argument("--no-system-calls", action="store_true", help="leave the count of system calls out (it needs perf and root)")
    a = p.parse_args()
    a.keys = a.cases.split(",") if a.cases else list(PARTS)
    if not set(a.keys) <= set(PARTS):
        p.error(f"--cases: write some of {','.join(PARTS)}")
    a.rounds = a.rounds or (1 if a.quick else 5)
    a.patience = (30 if a.quick else 240) if a.patience is None else a.patience
    if not a.output and (a.add or not (a.quick or a.cases)):
        a.output = os.path.join(HERE, "..", "results", f"{datetime.date.today().isoformat()}.md")
    return a


def say(number, case, program, result):
    print(f"round {number + 1}  {case.key:8} {program.name:22} {result.cpu:8.2f} {case.per} {result.rate:8.0f}/s  p99 {result.p99:.2f} ms "
          f"other work {100 * result.foreign:.1f} %, CPUs {result.distance:.0f} ns apart", file=sys.stderr, flush=True)


class Run:
    """What has been found so far: see goals.Judge."""

    def __init__(self, args, stage):
        self.args, self.stage = args, stage
        self.found, self.rounds, self.calls, self.instructions = {}, {}, {}, {}
        self.patience = quiet.Patience(args.patience)

    def measure_one(self, number, case, program, seconds, why=""):
        result = self.patience.take(lambda: measure.measure(self.stage, program, case, seconds), why)
        self.found[f"{case.key}/{program.name}"][number] = result
        say(number, case, program, result)

    def bad_one(self, cases, taking_part):
        """The first that does not count: (round, case, program), or None."""
        return next(((number, case, program) for number in range(self.args.rounds) for case in cases for program in taking_part[case.key]
                     if not self.patience.counts(self.found[f"{case.key}/{program.name}"][number])), None)

    def measure_rounds(self, cases, taking_part, seconds):
        """In each round all cases, in each case all programs, so that they meet the same machine. Then, when it is calm, once more what
        does not count."""
        for case in cases:
            self.found |= {f"{case.key}/{program.name}": [None] * self.args.rounds for program in taking_part[case.key]}
            self.rounds[case.key] = self.args.rounds
        for number in range(self.args.rounds):
            for place, case in enumerate(cases):
                for program in rotated(taking_part[case.key], number + place):
                    self.measure_one(number, case, program, seconds)
        while (bad := self.bad_one(cases, taking_part)) and self.patience.await_calm(self.stage):
            self.measure_one(*bad, seconds, f"{bad[1].key}, {bad[2].name}, round {bad[0] + 1}")

    def with_system_calls(self, cases, seconds):
        taking_part = {case.key: programs_for(self.stage, case) for case in cases}
        self.measure_rounds(cases, taking_part, seconds)
        if self.args.no_system_calls or not reading.can_count(self.stage):
            return
        for case in cases:
            if not case.rate and (case.key == "session" or not self.args.quick):
                self.calls |= {f"{case.key}/{p.name}": measure.system_calls(self.stage, p, case, 1) for p in taking_part[case.key]}

    def load(self):
        """At 70 % of what the better of the peers can do, all of them."""
        rates = [goals.Judge(self.found, self.rounds, {}, {}).median("two", name, "rate") for name in ("HAProxy, 2", "nginx, 2")]
        if None in rates:
            print("load: left out, the rate of the peers is not known (the case two)", file=sys.stderr)
            return
        self.with_system_calls([dataclasses.replace(BY_KEY["load"], rate=round(0.7 * max(rates)))], 2)

    def everything(self):
        keys, args = self.args.keys, self.args
        self.with_system_calls([c for c in CASES if c.key in keys and c.key not in ("load", "slow", "crowd")], args.seconds)
        if "load" in keys:
            self.load()
        if "slow" in keys:
            self.with_system_calls([BY_KEY["slow"]], 4)
        if "memory" in keys:
            self.found |= crowd.measure_memory(self.stage, min(3, args.rounds))
        if "crowd" in keys:
            with crowd.crowded(self.stage) as programs:
                self.measure_rounds([BY_KEY["crowd"]], {"crowd": programs}, args.seconds)
        if "instructions" in keys:
            self.instructions = count(self.stage, 1 if args.quick else 2)

    def as_json(self, machine, lethe):
        found = {key: [dataclasses.asdict(r) for r in results] for key, results in self.found.items()}
        return {"lethe": lethe, "machine": machine, "rounds": self.rounds, "found": found, "calls": self.calls,
                "instructions": self.instructions}

    def add(self, before):
        """Puts what an earlier run of the same program has found to what this one has."""
        def results(key, rows):
            return [(crowd.Memory if key.startswith("memory/") else measure.Result)(**row) for row in rows]
        self.found = {key: results(key, rows) for key, rows in before["found"].items()} | self.found
        self.rounds, self.calls = before["rounds"] | self.rounds, before["calls"] | self.calls
        self.instructions = before["instructions"] | self.instructions


def write(run, text, machine, lethe, pictures, output):
    with open(output, "w", encoding="utf-8") as f:
        f.write(text)
    stem = output.removesuffix(".md")
    with open(stem + ".json", "w", encoding="utf-8") as f:
        json.dump(run.as_json(machine, lethe), f, indent=1)
    for name, _, picture in pictures:
        with open(f"{stem}-{name}.svg", "w", encoding="utf-8") as f:
            f.write(picture)


def earlier(args, lethe):
    path = (args.output or "").removesuffix(".md") + ".json"
    if not args.add or not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as f:
        before = json.load(f)
    if before["lethe"] != lethe:
        raise Failed(f"{path} is of another lethe ({before['lethe']}; this is {lethe}): leave --add out, or take another --output")
    return before


def main():
    args = arguments()
    lethe, today = command.program(args.lethe), datetime.date.today().isoformat()
    machine, identity = figures.machine(lethe, figures.PROGRAMS), figures.digest(lethe)  # now: the checkout may move on meanwhile
    before = earlier(args, identity)
    if {"memory", "crowd"} & set(args.keys):
        crowd.enough_files()
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        os.chmod(folder, 0o755)
        binaries = {"lethe": lethe} | {name: helper(path, lethe, folder) for name, path in PROGRAMS.items()}
        with Stores(folder, binaries) as stage:
            stage.start_origin()
            stage.start_redis()
            run = Run(args, stage)
            run.everything()
    if before:
        run.add(before)
    judge = goals.Judge(run.found, run.rounds, run.calls, run.instructions)
    how = (f"Medians of {args.rounds} rounds; in each round every program has its turn of {args.seconds} s, in rotating order. "
           f"{run.patience.again} disturbed measurements were made again. bench/README.md says what was set up and how to read this.\n"
           + ("Measured in pieces, one after another.\n" if before else ""))
    pictures = plots.draw(judge, figures.in_two_lines(machine))
    stem = os.path.basename(args.output or "").removesuffix(".md")
    left_out = bool(args.cases) and not before  # the goals of other cases are no part of this
    links = [(f"{stem}-{name}.svg", title) for name, title, _ in pictures if stem]
    text = report.render(f"Measured on {today}", machine, how, judge, left_out, links)
    print(text)
    if args.output:
        write(run, text, machine, identity, pictures, args.output)
    missing = [g for g in judge.all() if g.verdict == goals.UNKNOWN]
    return 3 if any(g.lethe == "disturbed" for g in missing) or (missing and not args.cases) else 0


if __name__ == "__main__":
    command.run(main)
