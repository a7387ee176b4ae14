# SPDX-License-Identifier: Apache-2.0
"""Which measurements count. Two things falsify them. Other work: what other processes, and other virtual machines (steal), took of the CPUs
meanwhile. And distance: a host may move a virtual machine's CPUs apart for a while, and then all that they share costs more.

Such a measurement is made again, while there is patience; what is left of them gives no ratio."""
import os
import subprocess
import sys
import time

from common.reading import machine_busy_seconds

LIMIT = 0.05  # of the machine's CPU time; a quiet machine shows up to 2 %, most of it the error of counting in ticks
FAR = 2.0     # times the nearest that was seen


class Distance:
    """Between two CPUs, in ns, from now until end(); 0 where it is not asked for. `seconds`: looks all the time, not only now and then."""

    def __init__(self, stage, seconds=0):
        self.command, self.watch, self.found = stage.binaries.get("distance"), None, 0.0
        if self.command and seconds:
            self.watch = subprocess.Popen([self.command, str(seconds)], stdout=subprocess.PIPE, text=True)
        elif self.command:
            self.found = self.look()

    def look(self):
        return float(subprocess.run([self.command], capture_output=True, text=True, check=True).stdout)

    def end(self):
        if self.watch:
            return float(self.watch.communicate()[0])
        return max(self.found, self.look()) if self.command else 0.0


def disturbed(result):
    return result.foreign > LIMIT


def is_far(result, nearest):
    return result.distance > FAR * nearest


def nearest_of(results):
    return min((r.distance for r in results), default=0)


def enough(results, rounds):
    """Whether there is a median to be had: of more than half the rounds. `results`: None where a round has none."""
    return sum(r is not None for r in results) > rounds // 2


def usable(found, rounds, nearest):
    """found: {program: [Result]} of one case. The same with None for what does not count: all that is left was measured with the CPUs
    near, or all of it with the CPUs far apart where that has happened to most."""
    picks = [{name: [None if disturbed(r) or is_far(r, nearest) != far else r for r in results] for name, results in found.items()}
             for far in (False, True)]
    return picks[1] if all(enough(results, rounds) for results in picks[1].values()) else picks[0]


class Patience:
    """Makes measurements, and those that do not count again, for so many seconds in the whole run."""

    def __init__(self, seconds):
        self.left, self.again, self.nearest = seconds, 0, 0

    def note(self, result):
        self.nearest = min(self.nearest or result.distance, result.distance)
        return result

    def counts(self, result):
        return not disturbed(result) and not is_far(result, self.nearest)

    def await_calm(self, stage):
        """Waits while others work or the CPUs are far apart. False: there is no patience left."""
        while self.left > 0:
            began, busy = time.monotonic(), machine_busy_seconds()
            time.sleep(0.2)
            took, busy = time.monotonic() - began, machine_busy_seconds() - busy
            if busy / (took * os.cpu_count()) <= LIMIT and Distance(stage).end() <= FAR * self.nearest:
                return True
            self.left -= time.monotonic() - began
        return False

    def take(self, once, why=""):
        """One measurement; `why`: it is made again."""
        began = time.monotonic()
        result = self.note(once())
        if why:
            self.left -= time.monotonic() - began
            self.again += 1
            print(f"  again: {why}; {max(0, self.left):.0f} s of patience left", file=sys.stderr, flush=True)
        return result

    def insist(self, once):
        """One measurement, and twice again where others work."""
        result, tries = self.take(once), 2
        while disturbed(result) and tries > 0 and self.left > 0:
            result, tries = self.take(once, f"other work took {100 * result.foreign:.0f} % of the CPUs"), tries - 1
        return result
