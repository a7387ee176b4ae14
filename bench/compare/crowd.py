# SPDX-License-Identifier: Apache-2.0
"""Many connections that are idle: what memory each takes, and whether they cost the active ones anything. All of it with programs of its
own, so that nothing that ran before is in their memory."""
import contextlib
import dataclasses
import resource
import time

from common.reading import anonymous_bytes, rss_mb
from common.stage import Failed, wait_for
from compare import measure
from compare.cases import BY_KEY

HELD = 5000       # connections, for the memory
IDLE = 9900       # beside the active ones
ROOM = 12000      # that each program is set up for
KEEP = "tune.pool-high-fd-ratio 95\n    tune.pool-low-fd-ratio 90"  # HAProxy: keep connections to the origin with half of all files open
NAMES = ("HAProxy", "nginx", "lethe")
ALONE, BESIDE = ", 100 alone", ", 9,900 beside"


@dataclasses.dataclass
class Memory:
    start: float       # MB resident once it listens
    connection: float  # bytes of private anonymous memory
    foreign: float = 0
    distance: float = 0


def enough_files():
    """Raises the soft limit of open files for all that is started; the hard one is the machine's."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard != resource.RLIM_INFINITY and hard < ROOM:
        raise Failed(f"only {hard} open files are allowed (ulimit -Hn), and {ROOM} are needed: leave the cases memory and crowd out")


def start(stage, kind, name, room=ROOM):
    if kind == "HAProxy":
        return stage.start_haproxy(name=name, tune=KEEP, connections=room)
    if kind == "nginx":
        return stage.start_nginx(name=name, connections=room)
    return stage.start_full_lethe(name, options=(f"--limits.connections={room}", "--timeouts.idle=1h"))


@contextlib.contextmanager
def hold(stage, program, case, count):
    """`count` connections that have done one request each and stay."""
    name = f"hold-{program.name}-{time.monotonic_ns()}"
    holder = stage.spawn(name, measure.pace(stage, "hold", program, case, count))
    wait_for(f"{program.name}: {count} connections", lambda: stage.text(name + ".out") == "ready\n", holder)
    yield
    if holder.poll() is not None:
        raise Failed(f"{program.name}: idle connections were closed: {stage.text(name + '.err').strip()}")
    holder.terminate()
    holder.wait()


def measure_memory(stage, rounds):
    """{"memory/<program>": [Memory]}"""
    case, found = BY_KEY["get"], {}
    for number in range(rounds):
        for kind in NAMES:
            begun = start(stage, kind, f"{kind} begins {number}", 4096)
            resident = rss_mb(begun.pids())
            begun.stop()
            program = start(stage, kind, f"{kind} holds {number}")
            measure.check_one(program, case)
            before = anonymous_bytes(program.pids())
            with hold(stage, program, case, HELD):
                grown = anonymous_bytes(program.pids()) - before
            program.stop()
            found.setdefault(f"memory/{kind}", []).append(Memory(resident, grown / HELD))
    return found


@contextlib.contextmanager
def crowded(stage):
    """The programs of the case crowd: two of each, one of them with connections that are idle."""
    pairs = [(start(stage, kind, kind + ALONE), start(stage, kind, kind + BESIDE)) for kind in NAMES]
    with contextlib.ExitStack() as held:
        for alone, beside in pairs:
            measure.check_one(alone, BY_KEY["crowd"])
            held.enter_context(hold(stage, beside, BY_KEY["crowd"], IDLE))
        yield [program for pair in pairs for program in pair]
