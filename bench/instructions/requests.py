# SPDX-License-Identifier: Apache-2.0
"""Instructions a request: lethe with one worker under callgrind, and a client that sends one request after the other. Two runs with
different numbers of requests: what they differ by is the requests' alone, without start, login and end."""
import statistics
import sys

from common.stage import Failed
from compare import measure
from compare.cases import BY_KEY
from instructions import callgrind

FEW, MANY = 200, 700

# (what it is called, its case, the store, every module at work)
COUNTED = (("get", "get", "", True), ("browser", "browser", "", True), ("session", "session", "", False),
           ("sealed", "session", "sealed", False), ("large", "large", "", True))


def run_once(stage, name, case, store, full, requests):
    """(all instructions, {function: its own}) of a whole life with that many requests."""
    label = f"callgrind-{name}-{len(stage.programs)}"
    output = stage.path(label + ".costs")
    under = callgrind.command(output)
    if full:
        lethe = stage.start_full_lethe(label, under=under)
    else:
        lethe = stage.start_lethe(label, store or stage.redis_url(), under=under)
    lethe.name = "lethe under callgrind"
    if case.session:
        measure.log_in(lethe)
    measure.check_one(lethe, case)
    done = measure.run_child(measure.pace(stage, "turns", lethe, case, requests))
    if done.returncode != 0:
        raise Failed(f"{name} under callgrind: {done.stderr.strip()}")
    lethe.stop(30)
    return callgrind.costs(output)


def count(stage, repeats, names=None):
    """{name: {"instructions", "differ" (share between the runs), "top" [(function, instructions a request)]}}"""
    found = {}
    for name, key, store, full in COUNTED:
        if names and name not in names:
            continue
        values, tops = [], []
        for _ in range(repeats):
            few, many = (run_once(stage, name, BY_KEY[key], store, full, n) for n in (FEW, MANY))
            values.append((many[0] - few[0]) / (MANY - FEW))
            tops.append({f: (cost - few[1].get(f, 0)) / (MANY - FEW) for f, cost in many[1].items()})
            print(f"instructions  {name:8} {values[-1]:9.0f} a request", file=sys.stderr, flush=True)
        middle = statistics.median(values)
        top = sorted(tops[0].items(), key=lambda item: -item[1])[:25]
        found[name] = {"instructions": middle, "differ": (max(values) - min(values)) / middle, "runs": repeats, "top": top}
    return found
