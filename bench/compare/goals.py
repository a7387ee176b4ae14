# SPDX-License-Identifier: Apache-2.0
"""The goals: what lethe must come to beside its peers. A ratio comes from the undisturbed rounds of one run; where there are too few of
them, the goal counts as not measured."""
import dataclasses
import statistics

from common.quiet import enough, nearest_of, usable
from compare import crowd
from compare.cases import BY_KEY

MET, MISSED, UNKNOWN = "met", "**missed**", "not measured"
CASES_COUNTED = ("get", "browser", "session", "sealed", "large")


@dataclasses.dataclass
class Goal:
    part: int
    what: str
    lethe: str
    peers: str
    goal: str
    verdict: str


class Judge:
    """`found`: {"case/program": [Result]}; `rounds`: {case: how many were asked for}; `calls`: {"case/program": system calls a request};
    `instructions`: {case: Counted as a dictionary}."""

    def __init__(self, found, rounds, calls, instructions):
        self.found, self.rounds, self.calls, self.instructions = found, rounds, calls, instructions
        self.nearest = nearest_of(r for key, results in found.items() if not key.startswith("memory/") for r in results)
        self.counting = {}
        for case in {key.split("/", 1)[0] for key in found}:
            of_case = {key: results for key, results in found.items() if key.startswith(case + "/")}
            self.counting |= usable(of_case, rounds.get(case, 1), self.nearest)

    def results(self, case, name):
        """Those that count; empty where they are too few."""
        results = self.counting.get(f"{case}/{name}", [])
        return [r for r in results if r] if enough(results, self.rounds.get(case, 1)) else []

    def median(self, case, name, field="cpu"):
        values = [getattr(r, field) for r in self.results(case, name)]
        return statistics.median(values) if values else None

    def pairs(self, case, mine, peer, field="cpu"):
        """The ratios of single rounds."""
        both = zip(self.counting.get(f"{case}/{mine}", []), self.counting.get(f"{case}/{peer}", []))
        return [getattr(a, field) / getattr(b, field) for a, b in both if a and b]

    def why(self, case):
        return "disturbed" if any(key.startswith(case + "/") for key in self.found) else "left out"

    def peers(self, case, names, field="cpu", form="{:.1f}"):
        said = [(name, self.median(case, name, field)) for name in names]
        return ", ".join(f"{name} " + form.format(value) for name, value in said if value is not None)

    def at_most(self, part, case, what, mine, peer, most):
        """lethe's CPU time beside one peer's."""
        digits = "{:.2f}" if BY_KEY[case].unit == "GB" else "{:.1f}"
        names = [key.split("/", 1)[1] for key in self.found if key.startswith(case + "/")]
        peers = self.peers(case, [n for n in names if not n.startswith("lethe")], form=digits)
        a, b = self.median(case, mine), self.median(case, peer)
        if not a or not b:
            return Goal(part, what, self.why(case), peers, f"≤ {most:.2f} × {peer}", UNKNOWN)
        ratios = self.pairs(case, mine, peer)
        around = f" ({min(ratios):.2f}–{max(ratios):.2f})" if ratios else ""
        return Goal(part, f"{what}, CPU {BY_KEY[case].per}", f"{digits.format(a)} = **{a / b:.2f}**{around} × {peer}", peers,
                    f"≤ {most:.2f} × {peer}", MET if a / b <= most else MISSED)

    def no_worse(self, part, case, what, mine, names, field, form, higher=False, less=None):
        """`higher`: more is better. `less`: a program whose own figure is taken off all of them first."""
        off = self.median(case, less, field) if less else 0
        values = {name: self.median(case, name, field) for name in (mine, *names)}
        if off is None or None in values.values():
            return Goal(part, what, self.why(case), "", "no worse than theirs", UNKNOWN)
        values = {name: value - off for name, value in values.items()}
        best = (max if higher else min)(values[name] for name in names)
        good = values[mine] >= best if higher else values[mine] <= best
        spread = [getattr(r, field) - off for r in self.results(case, mine)]
        theirs = [getattr(r, field) - off for name in names for r in self.results(case, name)]
        near = " (within the peers' spread)" if min(theirs) <= values[mine] <= max(theirs) else ""
        return Goal(part, what, f"**{form.format(values[mine])}** ({form.format(min(spread))}–{form.format(max(spread))})",
                    ", ".join(f"{name} {form.format(values[name])}" for name in names),
                    f"{'≥' if higher else '≤'} {form.format(best)}", MET if good else MISSED + near)

    def system_calls(self, most):
        name, value = "lethe, redis", self.calls.get("session/lethe, redis")
        called = [(p, self.calls.get(f"session/{p}")) for p in ("HAProxy", "nginx", "nginx+Lua")]
        peers = ", ".join(f"{p} {n:.1f}" for p, n in called if n)
        verdict = UNKNOWN if value is None else MET if value <= most else MISSED
        absent = "no perf" if self.results("session", name) else "left out"
        said = absent if value is None else f"**{value:.2f}**"
        return Goal(2, f"{name}: system calls a request", said, peers, f"≤ {most}", verdict)

    def memory(self, field, what, form, most):
        values = {name: [getattr(r, field) for r in self.found.get(f"memory/{name}", [])] for name in crowd.NAMES}
        if not values["lethe"]:
            return Goal(4, what, "left out", "", f"≤ {most}", UNKNOWN)
        medians = {name: statistics.median(v) for name, v in values.items() if v}
        mine = values["lethe"]
        return Goal(4, what, f"**{form.format(medians['lethe'])}** ({form.format(min(mine))}–{form.format(max(mine))})",
                    ", ".join(f"{name} {form.format(v)}" for name, v in medians.items() if name != "lethe"), f"≤ {most}",
                    MET if medians["lethe"] <= most else MISSED)

    def crowd(self):
        """Nothing measurable: the rounds' own differences hold the 1.00, or the median is as near to it as medians of rounds are."""
        what = "100 active connections: CPU beside 9,900 idle ones to CPU without"
        ratios = {name: self.pairs("crowd", name + crowd.BESIDE, name + crowd.ALONE) for name in crowd.NAMES}
        rounds, mine = self.rounds.get("crowd", 1), ratios["lethe"]
        if len(mine) <= rounds // 2:
            return Goal(4, what, self.why("crowd"), "", "1.00", UNKNOWN)
        middle = statistics.median(mine)
        peers = ", ".join(f"{n} {statistics.median(r):.2f} ({min(r):.2f}–{max(r):.2f})" for n, r in ratios.items() if r and n != "lethe")
        return Goal(4, what, f"**{middle:.2f}** ({min(mine):.2f}–{max(mine):.2f})", peers, "≤ 1.02, or 1.00 within the rounds",
                    MET if middle <= 1.02 or min(mine) <= 1 else MISSED)

    def counted(self):
        have = [case for case in CASES_COUNTED if case in self.instructions]
        said = ", ".join(f"{case} {self.instructions[case]['instructions']:,.0f}" for case in have)
        return Goal(5, "Instructions a request", said or "left out", "", "recorded", MET if len(have) == len(CASES_COUNTED) else UNKNOWN)

    def all(self):
        two, slow = ("HAProxy, 2", "nginx, 2"), ("HAProxy",)
        session = "In a session, 16 headers"
        return [
            self.at_most(1, "get", "GET 200 B", "lethe", "HAProxy", 0.90),
            self.at_most(1, "browser", "GET 1 KB, 16 headers, 6 cookies", "lethe", "HAProxy", 0.85),
            self.at_most(2, "session", f"{session}: Redis", "lethe, redis", "HAProxy", 0.92),
            self.at_most(2, "session", f"{session}: Redis", "lethe, redis", "nginx+Lua", 0.50),
            self.at_most(2, "session", f"{session}: sealed", "lethe, sealed", "HAProxy", 0.92),
            self.system_calls(4.6),
            self.at_most(3, "large", "GET 64 KB", "lethe", "HAProxy", 0.85),
            self.at_most(3, "down", "GET 10 MB", "lethe", "HAProxy", 0.45),
            self.at_most(3, "up", "POST 10 MB", "lethe", "HAProxy", 0.45),
            self.at_most(3, "connect", "A connection a request", "lethe", "HAProxy", 0.95),
            self.no_worse(3, "two", "Two workers: requests/s", "lethe, 2", two, "rate", "{:.0f}", higher=True),
            self.no_worse(3, "load", "Two workers at 70 %: p99, ms", "lethe, 2", two, "p99", "{:.2f}"),
            self.memory("connection", "An idle connection: bytes of private anonymous memory", "{:.0f}", 450),
            self.memory("start", "Resident at start, MB", "{:.1f}", 6),
            self.crowd(),
            self.counted(),
            self.no_worse(6, "slow", "500/s: p50 added to direct, ms", "lethe", slow, "p50", "{:.3f}", less="direct"),
            self.no_worse(6, "slow", "500/s: p99 added to direct, ms", "lethe", slow, "p99", "{:.3f}", less="direct"),
        ]


def table(goals):
    rows = "".join(f"| {g.part} | {g.what} | {g.lethe} | {g.peers} | {g.goal} | {g.verdict} |\n" for g in goals)
    return f"| | what | lethe | others | goal | |\n|---|---|---|---|---|---|\n{rows}"
