#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What a session's look-up costs, by store, beside nginx with Lua that asks Redis and HAProxy that asks nobody: see ../README.md.

It fails (1) when an answer was wrong or missing, never because a program was slow."""
import datetime
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from common import command, figures, quiet, reading  # noqa: E402 (our own modules, after the lines above)
from common.figures import median, ratio, spread  # noqa: E402
from common.stage import Failed, helper, rotated  # noqa: E402
from compare import measure  # noqa: E402
from compare.cases import BY_KEY, CONNECTIONS  # noqa: E402
from stores.servers import Stores, start_lethes  # noqa: E402

CASES = (BY_KEY["browser"], BY_KEY["session"])

HEAD = ("| program | CPU, µs a request in a session | without one | the look-up | to nginx + Lua "
        "| in a session, requests a second of one core | with the store's CPU "
        "| store: CPU, µs | commands | system calls | requests/s | p50, ms | p99, ms |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|\n")


def arguments():
    p = command.parser(__doc__)
    p.add_argument("--quick", action="store_true", help="prints, writes nothing (unless --output); this is the default")
    p.add_argument("--full", action="store_true", help="about 3 minutes; writes ../results/<date>-stores.md")
    p.add_argument("--rounds", type=int, metavar="N", help="2 (quick) or 9 (full)")
    p.add_argument("--seconds", type=int, metavar="N", default=1, help="of each measurement")
    p.add_argument("--store", metavar="NAME=URL", action="append", default=[], help="one more, whose server runs already")
    p.add_argument("--no-system-calls", action="store_true", help="leave the count of system calls out (it needs perf and root)")
    a = p.parse_args()
    if a.quick and a.full:
        p.error("--quick or --full, not both")
    if not all("=" in row for row in a.store):
        p.error("--store: write a name, \"=\" and a URL")
    return a


def set_up(stage, args):
    """Starts everything; returns the programs, and what takes no part."""
    stage.start_origin()
    stage.start_redis()
    programs = [stage.start_haproxy(False), stage.start_nginx(False), stage.start_lua()]
    lethes, absent = start_lethes(stage, [(*row.split("=", 1), None) for row in args.store])
    for program in programs + lethes:
        for case in CASES:
            if case.session:
                measure.log_in(program)
            measure.check_one(program, case)
    return programs + lethes, absent


def run_rounds(stage, programs, rounds, seconds):
    found, patience = {(case.key, program.name): [] for case in CASES for program in programs}, quiet.Patience(60)
    for number in range(rounds):
        for place, case in enumerate(CASES):
            for program in rotated(programs, number + place):
                result = patience.insist(lambda program=program, case=case: measure.measure(stage, program, case, seconds))
                found[case.key, program.name].append(result)
                print(f"round {number + 1}/{rounds}  {case.key:8} {program.name:20} {result.cpu:7.1f} µs a request {result.rate:8.0f}/s",
                      file=sys.stderr, flush=True)
    return found


def count_system_calls(stage, programs, args):
    if args.no_system_calls or not reading.can_count(stage):
        return {}
    case = next(case for case in CASES if case.session)
    return {program.name: measure.system_calls(stage, program, case, 1) for program in programs}


def row(name, found, calls, lua, usable):
    """`lua`: the results of nginx with Lua; no ratio where it or the program was disturbed (not `usable`)."""
    mine = found["session", name]
    judged = {"session/" + name, "session/nginx+Lua"} <= usable
    cpu, without, store = median(mine, "cpu"), median(found["browser", name], "cpu"), median(mine, "store_cpu")
    does = name.startswith("lethe") or "Lua" in name
    has_store = store >= 0.05
    cells = [name, spread(mine, "cpu"), f"{without:.1f}", f"{cpu - without:.1f}" if does else "",
             ratio(cpu, median(lua, "cpu")) if judged else "disturbed", f"{1e6 / cpu:.0f}",
             f"{1e6 / (cpu + store):.0f}" if has_store else "", f"{store:.1f}" if has_store else "",
             f"{median(mine, 'lookups'):.1f}" if median(mine, "lookups") >= 0.05 else "", f"{calls[name]:.1f}" if name in calls else "",
             f"{median(mine, 'rate'):.0f}", f"{median(mine, 'p50'):.2f}", f"{median(mine, 'p99'):.2f}"]
    return "| " + " | ".join(cells) + " |\n"


def counting(found, rounds):
    """Only the measurements that count, where there are enough; and where that is so."""
    nearest, kept, usable = quiet.nearest_of(r for results in found.values() for r in results), {}, set()
    for case in {key for key, _ in found}:
        picks = quiet.usable({name: results for (key, name), results in found.items() if key == case}, rounds, nearest)
        for name, results in picks.items():
            good = quiet.enough(results, rounds)
            kept[case, name] = [r for r in results if r] if good else found[case, name]
            usable |= {f"{case}/{name}"} if good else set()
    return kept, usable


def render(today, machine, args, rounds, programs, absent, found, calls):
    how = (f"Medians of {rounds} rounds (CPU: with the smallest and the largest); in each round every program has its turn of "
           f"{args.seconds} s, in rotating order; {CONNECTIONS} connections kept alive, one worker a program; GET with 16 "
           "fields and 6 cookies, an answer of 1 KB. bench/README.md says what was set up and how to read this.")
    found, usable = counting(found, rounds)
    lua = found["session", "nginx+Lua"]
    rows = "".join(row(program.name, found, calls, lua, usable) for program in programs)
    missing = "".join(f"- {line}\n" for line in absent)
    left_out = f"Stores that took no part:\n\n{missing}\n" if absent else ""
    return (f"# Looking sessions up, measured on {today}\n\n{how}\n\n{figures.quality(found)}\n{HEAD}{rows}\n{left_out}"
            f"### The machine\n\n{machine}")


def main():
    args = arguments()
    rounds, today, lethe = args.rounds or (9 if args.full else 2), datetime.date.today().isoformat(), command.program(args.lethe)
    output = args.output or (os.path.join(HERE, "..", "results", f"{today}-stores.md") if args.full else None)
    machine = figures.machine(lethe, figures.PROGRAMS)  # now: the checkout may move on meanwhile
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        os.chmod(folder, 0o755)
        with Stores(folder, {"lethe": lethe, "origin": helper("compare/origin.c", lethe, folder),
                             "distance": helper("common/distance.c", lethe, folder)}) as stage:
            programs, absent = set_up(stage, args)
            found = run_rounds(stage, programs, rounds, args.seconds)
            calls = count_system_calls(stage, programs, args)
    text = render(today, machine, args, rounds, programs, absent, found, calls)
    command.publish(text, output)


if __name__ == "__main__":
    command.run(main)
