# SPDX-License-Identifier: Apache-2.0
"""What a run found, as Markdown: medians over the rounds, with the smallest and the largest where they matter."""
import statistics

from common.figures import median, quality, ratio

HEAD = ("| program | CPU, µs a request | to the relay | to HAProxy | requests/s | p50, ms | p99, ms | RSS, MB | system calls a request "
        "| Redis: commands, CPU µs |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n")


def row(name, results, base, calls):
    """`base`: the median CPU times of the relay and of HAProxy in the same case, 0 where they do not take part."""
    cpus = [r.cpu for r in results]
    cpu = statistics.median(cpus)
    redis = f"{median(results, 'lookups'):.2f}, {median(results, 'store_cpu'):.1f}" if median(results, "lookups") >= 0.005 else ""
    return (f"| {name} | {cpu:.1f} ({min(cpus):.1f}–{max(cpus):.1f}) | {ratio(cpu, base[0])} | {ratio(cpu, base[1])} "
            f"| {median(results, 'rate'):.0f} | {median(results, 'p50'):.2f} | {median(results, 'p99'):.2f} "
            f"| {median(results, 'rss'):.1f} | {'' if calls is None else f'{calls:.1f}'} | {redis} |\n")


def table(case, found, calls):
    """found: {(case key, program): [Result]}, in the order of the programs."""
    names = [name for key, name in found if key == case.key]
    base = [median(found[case.key, name], "cpu") if name in names else 0
            for name in ("relay", "HAProxy" + "+log" * case.logs)]
    rows = "".join(row(name, found[case.key, name], base, calls.get((case.key, name))) for name in names)
    return f"### {case.title}\n\n{HEAD}{rows}\n"


def render(title, machine_text, how, cases, found, calls):
    tables = "".join(table(case, found, calls) for case in cases)
    return f"# {title}\n\n{how}\n{quality(found)}\n{tables}### The machine\n\n{machine_text}"
