# SPDX-License-Identifier: Apache-2.0
"""Disturbed measurements: what other processes, and other virtual machines (steal), took of the CPUs meanwhile. A disturbed measurement is
made again, and what stays disturbed gives no ratio."""
import os
import sys

LIMIT = 0.05  # of the machine's CPU time; a quiet machine shows 1 to 2 %, most of it the kernel's timer interrupts
TRIES = 3


def disturbed(result):
    return result.foreign > LIMIT


def clean(results):
    return [r for r in results if not disturbed(r)]


def enough(results, rounds):
    """Whether there is a median to be had: of more than half the rounds."""
    return len(clean(results)) > rounds // 2


def load_of_others():
    return f"load average {os.getloadavg()[0]:.1f}"


class Patience:
    """Makes measurements, the disturbed ones again, as often as `repeats` allows for the whole run."""

    def __init__(self, repeats):
        self.left, self.again = repeats, 0

    def take(self, once):
        for _ in range(TRIES - 1):
            result = once()
            if not disturbed(result) or self.left == 0:
                return result
            self.left -= 1
            self.again += 1
            print(f"  disturbed: other work took {100 * result.foreign:.0f} % of the CPUs ({load_of_others()}); again", file=sys.stderr,
                  flush=True)
        return once()
