# SPDX-License-Identifier: Apache-2.0
"""What a run found, as Markdown: medians over the rounds, with the smallest and the largest where they matter."""
import os
import platform
import re
import statistics
import subprocess

from programs import find

HEAD = ("| program | CPU, µs a request | to the relay | to HAProxy | requests/s | p50, ms | p99, ms | RSS, MB | system calls a request "
        "| Redis: commands, CPU µs |\n"
        "|---|---|---|---|---|---|---|---|---|---|\n")


def first_line(*command):
    """What a program says of itself; versions go to either stream."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    except OSError:
        return "?"
    said = (done.stdout + done.stderr).strip().splitlines()
    return said[0] if said else "?"


def proc_field(path, name):
    with open(path, encoding="utf-8") as f:
        found = re.search(rf"^{name}\s*[:=]\s*\"?([^\"\n]*)", f.read(), re.M)
    return found[1].strip() if found else "?"


def revision(folder):
    said = first_line("git", "-C", folder, "rev-parse", "--short", "HEAD")
    changed = first_line("git", "-C", folder, "status", "--porcelain", "-uno")
    return said + (" with changes" if changed != "?" else "")


def machine(lethe):
    memory = int(proc_field("/proc/meminfo", "MemTotal").split()[0]) / 1e6
    virtual = " (a virtual machine)" if "hypervisor" in proc_field("/proc/cpuinfo", "flags") else ""
    rows = [("CPU", f"{os.cpu_count()} × {proc_field('/proc/cpuinfo', 'model name')}{virtual}, {memory:.0f} GB"),
            ("system", f"{proc_field('/etc/os-release', 'PRETTY_NAME')}, Linux {platform.release()}")]
    if lethe:
        where = os.path.dirname(os.path.abspath(__file__))
        rows.append(("lethe", f"{first_line(lethe, 'version')}, checkout {revision(where)}"))
    rows += [("HAProxy", first_line(find("haproxy"), "-v")), ("nginx", first_line(find("nginx"), "-v")),
             ("Redis", first_line(find("redis-server"), "--version")), ("wrk", first_line(find("wrk"), "-v"))]
    return "".join(f"- {name}: {what}\n" for name, what in rows)


def median(results, field):
    return statistics.median(getattr(r, field) for r in results)


def ratio(mine, to):
    return f"{mine / to:.2f}" if to else ""


def row(name, results, base, calls):
    """`base`: the median CPU times of the relay and of HAProxy in the same case, 0 where they do not take part."""
    cpus = [r.cpu for r in results]
    cpu = statistics.median(cpus)
    redis = f"{median(results, 'lookups'):.2f}, {median(results, 'redis_cpu'):.1f}" if median(results, "lookups") >= 0.005 else ""
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


def quality(found):
    """What else ran on the machine meanwhile: it moves rates and latencies, and CPU times a little."""
    shares = [r.foreign for results in found.values() for r in results]
    return (f"{sum(r.requests for results in found.values() for r in results)} answers, and no error among them. "
            f"Other work on the machine took {100 * statistics.median(shares):.0f} % of its CPU time in the median measurement, "
            f"{100 * max(shares):.0f} % in the worst.\n")


def render(title, machine_text, how, cases, found, calls):
    tables = "".join(table(case, found, calls) for case in cases)
    return f"# {title}\n\n{how}\n{quality(found)}\n{tables}### The machine\n\n{machine_text}"
