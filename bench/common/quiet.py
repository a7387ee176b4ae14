# SPDX-License-Identifier: Apache-2.0
"""Which measurements count. Two things falsify them. Other work: what other processes, and other virtual machines (steal), took of the CPUs
meanwhile. And distance: a host may move a virtual machine's CPUs apart for a while, and then all that they share costs more.

Such a measurement is made again, while there is patience; what is left of them gives no ratio."""
import subprocess
import sys
import time

LIMIT = 0.05  # of the machine's CPU time; a quiet machine shows up to 2 %, most of it the error of counting in ticks
FAR = 2.0     # times the nearest that was seen


def distance(stage):
    """Between two CPUs, in ns; 0 where it is not asked for."""
    if "distance" not in stage.binaries:
        return 0
    return float(subprocess.run([stage.binaries["distance"]], capture_output=True, text=True, check=True).stdout)


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

    def spend(self, seconds, why):
        self.left -= seconds
        print(f"  again: {why}; {max(0, self.left):.0f} s of patience left", file=sys.stderr, flush=True)

    def take(self, once):
        """Other work may be over in a moment: at once again, but not for ever. Distance stays for longer: see counts()."""
        for _ in range(2):
            began = time.monotonic()
            result = once()
            self.nearest = min(self.nearest or result.distance, result.distance)
            if not disturbed(result) or self.left <= 0:
                return result
            self.again += 1
            self.spend(time.monotonic() - began, f"other work took {100 * result.foreign:.0f} % of the CPUs")
        return once()

    def counts(self, result):
        return not disturbed(result) and not is_far(result, self.nearest)

    def await_near(self, stage):
        """Waits while the CPUs are far apart. False: there is no patience left."""
        began, before = time.monotonic(), self.left
        while self.left > 0 and distance(stage) > FAR * self.nearest > 0:
            time.sleep(0.25)
            self.left = before - (time.monotonic() - began)
        return self.left > 0
