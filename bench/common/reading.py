# SPDX-License-Identifier: Apache-2.0
"""What processes used: CPU time and memory from /proc, Redis' own counters, and system calls where perf may count them."""
import contextlib
import glob
import os
import resource
import socket
import subprocess
import time

from common.stage import Failed

TICK = os.sysconf("SC_CLK_TCK")
REDIS_COUNTERS = ("total_commands_processed", "total_net_input_bytes", "total_net_output_bytes")


def cpu_ticks(pid):
    """utime + stime of a process, its ended threads included (proc(5))."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as f:
        fields = f.read().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])
    return 0


def cpu_ns(pid):
    """The scheduler's own count, which utime and stime are made of and rounded from; of the living threads only."""
    ns = 0
    for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(path, encoding="ascii") as f:
            ns += int(f.read().split()[0])
    return ns


def cpu_seconds(pids):
    """CPU time of processes: exact, but where threads have ended, or where the kernel has no schedstat."""
    return sum(max(cpu_ns(pid) / 1e9, cpu_ticks(pid) / TICK) for pid in pids)


def kernel_helpers():
    """ksoftirqd, one a CPU: it goes on with what the sockets of the measurement have left to be done."""
    found = []
    for path in glob.glob("/proc/[0-9]*/comm"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError), open(path, encoding="utf-8", errors="replace") as f:
            if f.read().startswith("ksoftirqd/"):
                found.append(int(path.split("/")[2]))
    return found


def anonymous_bytes(pids):
    """Private anonymous memory: the heap and the stacks, shared pages of a fork included once a process."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as f:
            total += sum(int(line.split()[1]) for line in f if line.startswith("Anonymous:"))
    return total * 1024


def rss_mb(pids):
    pages = 0
    for pid in pids:
        with open(f"/proc/{pid}/statm", encoding="ascii") as f:
            pages += int(f.read().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def machine_busy_seconds():
    """User, nice, system, irq, softirq and steal of all CPUs; idle and iowait are not work."""
    with open("/proc/stat", encoding="ascii") as f:
        v = [int(x) for x in f.readline().split()[1:9]]
    return (v[0] + v[1] + v[2] + v[5] + v[6] + v[7]) / TICK


def own_seconds():
    """Of this script, and of the load generators that it has waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_CHILDREN, resource.RUSAGE_SELF)]
    return sum(u.ru_utime + u.ru_stime for u in used)


def redis_counters(redis):
    """Redis' counters by name, this question not counted."""
    with socket.create_connection(("127.0.0.1", redis.port), 5) as s:
        s.sendall(b"INFO stats\r\n")
        text = b""
        while b"$" not in text or len(text) < int(text[1:text.index(b"\r\n")]):
            got = s.recv(65536)
            if not got:
                raise Failed("redis: it closed the connection")
            text += got
    return {name: int(text.partition(name.encode() + b":")[2].split()[0]) for name in REDIS_COUNTERS}


class Reading:
    """From now until end(): what a program used, what the rest of the set-up did, and what else ran on the machine.

    `program`, `others`: lists of process ids that have none in common; `store`: the Program that keeps the sessions, or None. A load
    generator is a child that ends between now and end()."""

    def __init__(self, program, others, store):
        self.pids, self.others, self.store, self.kernel = program, others, store, kernel_helpers()
        self.cpu = self.others_cpu = self.store_cpu = self.foreign = 0  # seconds of CPU time; a share of the machine
        self.commands = self.bytes_in = self.bytes_out = 0              # what Redis did, got and gave
        self.began = self.now()

    def now(self):
        store = self.store.pids() if self.store else []  # each time: a database begins a process a connection
        counters = redis_counters(self.store) if self.store and self.store.name == "redis" else dict.fromkeys(REDIS_COUNTERS, 0)
        return (cpu_seconds(self.pids), cpu_seconds(self.others), cpu_seconds(store), machine_busy_seconds(),
                own_seconds() + cpu_seconds(self.kernel), time.monotonic(), *counters.values())

    def end(self):
        passed = [b - a for a, b in zip(self.began, self.now())]
        self.cpu, self.others_cpu, self.store_cpu, busy, own, took, commands, self.bytes_in, self.bytes_out = passed
        self.commands = max(0, commands - 1)  # the first question
        ours = self.cpu + self.others_cpu + self.store_cpu + own
        self.foreign = max(0.0, busy - ours) / (took * os.cpu_count())
        return self


def counter(stage, pids):
    """The command that counts the system calls of processes while another command, which stands behind it, runs."""
    return ["perf", "stat", "-x,", "-e", "raw_syscalls:sys_enter", "-o", stage.path("perf.out"), "-p", ",".join(map(str, pids)), "--"]


def can_count(stage):
    """Whether perf is here and may use the kernel's tracepoints."""
    try:
        done = subprocess.run([*counter(stage, [os.getpid()]), "true"], capture_output=True, check=False)
    except FileNotFoundError:
        return False
    return done.returncode == 0 and "raw_syscalls" in stage.text("perf.out")


def counted(stage):
    """How many system calls the last counter() has seen."""
    counts = [line.split(",")[0] for line in stage.text("perf.out").splitlines() if "raw_syscalls" in line]
    if len(counts) != 1 or not counts[0].isdigit():
        raise Failed(f"perf: {stage.text('perf.out').strip()}")
    return int(counts[0])
