# SPDX-License-Identifier: Apache-2.0
"""What reports are made of: the machine in words, medians, and how quiet it was."""
import hashlib
import os
import platform
import re
import statistics
import subprocess

from common.stage import find


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


def digest(path):
    """Which program this is: figures of two programs are not put together."""
    with open(path, "rb") as f:
        return hashlib.sha256(f.read()).hexdigest()[:16]


def in_two_lines(machine_text):
    """The CPU with the system, and lethe, for below a picture."""
    cpu, system, lethe = (line[2:].partition(": ")[2] for line in machine_text.splitlines()[:3])
    return [f"{cpu} · {system}", lethe]


PROGRAMS = {"HAProxy": ("haproxy", "-v"), "nginx": ("nginx", "-v"), "Redis": ("redis-server", "--version"), "wrk": ("wrk", "-v")}


def machine(lethe, names):
    """One line each: the CPU, the system, lethe (None: it takes no part) and the programs of PROGRAMS that are named."""
    memory = int(proc_field("/proc/meminfo", "MemTotal").split()[0]) / 1e6
    virtual = " (a virtual machine)" if "hypervisor" in proc_field("/proc/cpuinfo", "flags") else ""
    rows = [("CPU", f"{os.cpu_count()} × {proc_field('/proc/cpuinfo', 'model name')}{virtual}, {memory:.0f} GB"),
            ("system", f"{proc_field('/etc/os-release', 'PRETTY_NAME')}, Linux {platform.release()}, "
             f"TCP {first_line('cat', '/proc/sys/net/ipv4/tcp_congestion_control')}")]
    if lethe:
        where = os.path.dirname(os.path.abspath(__file__))
        rows.append(("lethe", f"{first_line(lethe, 'version')}, checkout {revision(where)}"))
    rows += [(name, first_line(find(PROGRAMS[name][0]), *PROGRAMS[name][1:])) for name in names]
    return "".join(f"- {name}: {what}\n" for name, what in rows)


def median(results, field):
    return statistics.median(getattr(r, field) for r in results)


def spread(results, field, digits=1):
    """The median, with the smallest and the largest."""
    values = [getattr(r, field) for r in results]
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f}–{max(values):.{digits}f})"


def ratio(mine, to):
    return f"{mine / to:.2f}" if to else ""


def quality(found):
    """What else ran on the machine meanwhile: it moves rates and latencies, and CPU times a little."""
    shares = [r.foreign for results in found.values() for r in results]
    return (f"{sum(r.requests for results in found.values() for r in results)} answers, and no error among them. "
            f"Other work on the machine took {100 * statistics.median(shares):.0f} % of its CPU time in the median measurement, "
            f"{100 * max(shares):.0f} % in the worst.\n")
