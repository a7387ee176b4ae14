# SPDX-License-Identifier: Apache-2.0
"""What a run found, as Markdown: the goals, then medians over the undisturbed rounds, with the smallest and the largest."""
import statistics

from common.figures import median, quality, ratio
from compare import goals
from compare.cases import BY_KEY, CASES

TIMES = "p50, ms | p99, ms"


def head(case):
    rate, per = ("MB/s", "in 64 KB") if case.unit == "GB" else ("requests/s", "a request")
    return (f"| program | CPU, {case.per} | to HAProxy | to nginx | to the relay | {rate} | {TIMES} | RSS, MB | system calls {per} "
            "| Redis: commands, CPU µs |\n"
            "|---|---|---|---|---|---|---|---|---|---|---|\n")


def base(judge, case, name):
    """The program that ratios are to; with two workers and with a log it has another name."""
    for more in ("", ", 2", "+log"):
        if f"{case.key}/{name}{more}" in judge.found:
            return judge.median(case.key, name + more)
    return None


def row(judge, case, name, results, calls):
    good = judge.results(case.key, name) or results
    cpus, digits = [r.cpu for r in good], 2 if case.unit == "GB" else 1
    cpu = statistics.median(cpus)
    mine = judge.median(case.key, name)
    ratios = [(ratio(mine, base(judge, case, peer) or 0) if mine else "disturbed") for peer in ("HAProxy", "nginx", "relay")]
    speed = median(good, "rate") * (case.size() / 1e6 if case.unit == "GB" else 1)
    redis = f"{median(good, 'lookups'):.2f}, {median(good, 'store_cpu'):.1f}" if median(good, "lookups") >= 0.005 else ""
    called = f"{calls[f'{case.key}/{name}']:.2f}" if f"{case.key}/{name}" in calls else ""
    cells = [name, f"{cpu:.{digits}f} ({min(cpus):.{digits}f}–{max(cpus):.{digits}f})", *ratios, f"{speed:.0f}",
             f"{median(good, 'p50'):.3f}", f"{median(good, 'p99'):.3f}", f"{median(good, 'rss'):.1f}", called, redis]
    return "| " + " | ".join(cells) + " |\n"


def case_table(judge, case):
    found = {key.split("/", 1)[1]: results for key, results in judge.found.items() if key.split("/", 1)[0] == case.key}
    rows = "".join(row(judge, case, name, results, judge.calls) for name, results in found.items())
    return f"### {case.title}\n\n{head(case)}{rows}\n" if rows else ""


def memory_table(judge):
    rows = ""
    for key, results in judge.found.items():
        if key.startswith("memory/"):
            at = [r.connection for r in results]
            rows += f"| {key[7:]} | {median(results, 'start'):.1f} | {statistics.median(at):.0f} ({min(at):.0f}–{max(at):.0f}) |\n"
    return ("### Memory\n\n| program | resident at start, MB | bytes an idle connection |\n|---|---|---|\n" + rows + "\n") if rows else ""


def instructions_table(instructions):
    rows = ""
    for case, counted in instructions.items():
        top = ", ".join(f"`{name}` {cost:,.0f}" for name, cost in counted["top"][:12])
        rows += f"| {case} | {counted['instructions']:,.0f} | {100 * counted['differ']:.2f} % | {top} |\n"
    return ("### Instructions a request\n\nCounted by callgrind, requests one after another; start and end fall out.\n\n"
            "| case | instructions | two runs differ by | the most of them (self) |\n|---|---|---|---|\n" + rows + "\n") if rows else ""


def render(title, machine, how, judge, part, plots):
    """`part`: some cases are left out on purpose, and their goals with them."""
    held = [g for g in judge.all() if not (part and g.lethe == "left out")]
    tables = "".join(case_table(judge, case) for case in CASES)
    measured = {key: results for key, results in judge.found.items() if key.split("/", 1)[0] in BY_KEY}
    said = quality(measured) if measured else ""
    pictures = "".join(f"![{words}]({name})\n\n" for name, words in plots)
    return (f"# {title}\n\n{how}\n{said}\n## Goals\n\n{goals.table(held)}\n{pictures}## By case\n\n{tables}{memory_table(judge)}"
            f"{instructions_table(judge.instructions)}### The machine\n\n{machine}")
