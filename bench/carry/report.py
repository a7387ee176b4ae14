# SPDX-License-Identifier: Apache-2.0
"""What a run of carry found, as Markdown: a table a size and kind of request."""
import subprocess

from carry.ways import CLIENTS
from common.figures import median, quality, spread

HEAD = ("| carrier | lethe: CPU, µs a request | system calls | Redis: CPU, µs | commands | KB to it | KB from it "
        f"| {CLIENTS} at once: p50, ms (added) | p99 (added) | one alone: p50, ms (added) | p99 (added) |\n"
        "|---|---|---|---|---|---|---|---|---|---|---|\n")
KINDS = {"read": "requests that read the session", "change": "requests that change it"}


def file_system(folder):
    done = subprocess.run(["df", "--output=fstype", folder], capture_output=True, text=True, check=False)
    return done.stdout.split()[-1] if done.returncode == 0 else "?"


def disks(memory, disk):
    """Where session files are: what a rename costs depends on it."""
    return f"- session files: on {file_system(memory)}, those on disk on {file_system(disk)}\n"


def in_words(size):
    return f"{size >> 20} MB" if size >= 1 << 20 else f"{size / 1024:g} KB"


def added(field, mine, base):
    value = median(mine, field)
    return f"{value:.2f}" + (f" ({value - median(base, field):+.2f})" if base else "")


def row(way, size, kind, found, calls):
    mine, alone = (found[way.key, size, kind, clients] for clients in (CLIENTS, 1))
    base, base_alone = (found.get((way.base.key, size, kind, clients)) if way.base else None for clients in (CLIENTS, 1))
    times = " | ".join(added(field, m, b) for m, b in ((mine, base), (alone, base_alone)) for field in ("p50", "p99"))
    if not way.lethes:
        return f"| {way.title}, the application's own CPU {median(mine, 'app_cpu'):.0f} µs | | | | | | | {times} |\n"
    called = f"{calls[way.key, size, kind]:.1f}" if (way.key, size, kind) in calls else ""
    return (f"| {way.title} | {spread(mine, 'cpu')} | {called} | {median(mine, 'redis_cpu'):.1f} | {median(mine, 'commands'):.1f} "
            f"| {median(mine, 'bytes_in') / 1024:.1f} | {median(mine, 'bytes_out') / 1024:.1f} | {times} |\n")


def table(size, kind, ways, found, calls):
    rows = "".join(row(way, size, kind, found, calls) for way in ways if size in way.sessions)
    return f"### {in_words(size)}, {KINDS[kind]}\n\n{HEAD}{rows}\n"


def render(today, machine, rounds, seconds, sizes, ways, found, calls):
    how = (f"Medians of {rounds} rounds (CPU: with the smallest and the largest); in each round every way has its turn of {seconds:g} s "
           f"for every size and kind, in rotating order, with {CLIENTS} clients at once and with one alone. bench/README.md says what was "
           "set up and how to read this.")
    tables = "".join(table(size, kind, ways, found, calls) for size in sizes for kind in KINDS)
    return f"# The cost of carrying, measured on {today}\n\n{how}\n\n{quality(found)}\n{tables}### The machine\n\n{machine}"
