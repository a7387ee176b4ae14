#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What it costs to carry a session's content: CPU of lethe and Redis, bytes, and the time added, by carrier and size: see ../README.md.

It fails (1) when an answer was wrong or missing, never because a program was slow."""
import dataclasses
import datetime
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from carry import report  # noqa: E402 (our own modules, after the lines above)
from carry.ways import CLIENTS, Carrying, begin_sessions, start_ways  # noqa: E402
from common import command, figures, quiet, reading  # noqa: E402
from common.stage import Failed, helper, rotated  # noqa: E402

SIZES = (1024, 65536, 1048576)
KINDS = ("read", "change")
CLIENT_SECONDS = 60  # beyond the time of the measurement: the client has its own limit for an answer


@dataclasses.dataclass
class Result:
    requests: int
    cpu: float          # µs of lethe's CPU time a request, all replicas together
    app_cpu: float      # of the application's
    redis_cpu: float
    commands: float     # that Redis did, a request
    bytes_in: float     # to Redis, a request
    bytes_out: float
    p50: float          # ms
    p99: float
    rate: float
    foreign: float
    distance: float = 0  # not looked at


def arguments():
    p = command.parser(__doc__)
    p.add_argument("--quick", action="store_true", help="about 2 minutes; prints, writes nothing (unless --output); this is the default")
    p.add_argument("--full", action="store_true", help="about 9 minutes; writes ../results/<date>-carry.md")
    p.add_argument("--rounds", type=int, metavar="N", help="1 (quick) or 5 (full)")
    p.add_argument("--seconds", type=float, metavar="S", default=0.5, help="of each measurement")
    p.add_argument("--sizes", metavar="a,b", default=",".join(map(str, SIZES)), help="of sessions, in bytes")
    p.add_argument("--ways", metavar="a,b", help="only these and what they are compared with: jar files-flock files-flock-2 api ...")
    p.add_argument("--memory", metavar="DIR", default="/dev/shm", help="a tmpfs with extended attributes (Linux 6.6), for session files")
    p.add_argument("--no-system-calls", action="store_true", help="leave the count of system calls out (it needs perf and root)")
    a = p.parse_args()
    if a.quick and a.full:
        p.error("--quick or --full, not both")
    if not all(size.isdigit() and 512 <= int(size) <= 2 << 20 for size in a.sizes.split(",")):
        p.error("--sizes: write 512 to 2097152, separated by commas")
    return a


def run_client(stage, way, size, kind, clients, seconds, before=()):
    """The client's own summary; afterwards the sessions know where they stand."""
    sessions = way.sessions[size][:clients]
    command = [*before, stage.binaries["client"], str(seconds), kind, str(size)]
    done = subprocess.run(command, input="".join(s.line(way.ports()) for s in sessions), capture_output=True, text=True,
                          timeout=seconds + CLIENT_SECONDS, check=False)
    if done.returncode != 0:
        raise Failed(f"{way.title}, {kind}, {size} bytes: {done.stderr.strip()}")
    said = json.loads(done.stdout)
    changes = sum(said["n"]) - sum(s.n for s in sessions)
    if changes != (said["requests"] if kind == "change" else 0):
        raise Failed(f"{way.title}, {size} bytes: {said['requests']} requests to {kind} made {changes} changes")
    for session, n in zip(sessions, said["n"]):
        session.n = n
    return said


def check_carried(way, size, kind, r):
    """That Redis had the content: without that, the figures would be those of something else."""
    if way.carries and (r.bytes_out < size or (kind == "change" and r.bytes_in < size)):
        raise Failed(f"{way.title}, {kind}, {size} bytes: only {r.bytes_in:.0f} bytes to Redis and {r.bytes_out:.0f} from it a request")
    if way.lethes and r.commands < 1:
        raise Failed(f"{way.title}: {r.commands:.2f} commands of Redis a request: sessions are not looked up")


def measure(stage, way, size, kind, clients, seconds):
    lethes = [pid for program in way.lethes for pid in program.pids()]
    apps = [pid for program in way.apps for pid in program.pids()]
    now = reading.Reading(lethes, apps, stage.redis)
    said = run_client(stage, way, size, kind, clients, seconds)
    used, n = now.end(), said["requests"]
    result = Result(requests=n, cpu=used.cpu / n * 1e6, app_cpu=used.others_cpu / n * 1e6, redis_cpu=used.store_cpu / n * 1e6,
                    commands=used.commands / n, bytes_in=used.bytes_in / n, bytes_out=used.bytes_out / n, p50=said["p50"] / 1e3,
                    p99=said["p99"] / 1e3, rate=n / said["us"] * 1e6, foreign=used.foreign)
    check_carried(way, size, kind, result)
    return result


def run_rounds(stage, ways, sizes, rounds, seconds):
    """{(way, size, kind, clients): [Result]}"""
    found, patience = {}, quiet.Patience(60)
    cases = [(size, kind, clients) for size in sizes for kind in KINDS for clients in (CLIENTS, 1)]
    for number in range(rounds):
        for place, (size, kind, clients) in enumerate(cases):
            for way in rotated(ways, number + place):
                if size not in way.sessions:
                    continue
                result = patience.insist(
                    lambda way=way, size=size, kind=kind, clients=clients: measure(stage, way, size, kind, clients, seconds))
                found.setdefault((way.key, size, kind, clients), []).append(result)
                print(f"round {number + 1}/{rounds}  {size:8} {kind:6} {clients} {way.title:26} {result.cpu:8.1f} µs a request "
                      f"{result.rate:8.0f}/s", file=sys.stderr, flush=True)
    return found


def count_system_calls(stage, ways, args):
    """{(way, size, kind): system calls of lethe, a request}. Tracing costs time, so nothing else is measured in this run."""
    if args.no_system_calls or not reading.can_count(stage):
        return {}
    calls = {}
    for way in ways:
        pids = [pid for program in way.lethes for pid in program.pids()]
        for size, kind in ((size, kind) for size in way.sessions if pids for kind in KINDS):
            n = run_client(stage, way, size, kind, CLIENTS, 0.3, reading.counter(stage, pids))["requests"]
            calls[way.key, size, kind] = reading.counted(stage) / n
    return calls


def chosen(ways, keys):
    if not keys:
        return ways
    wanted = [way for way in ways if way.key in keys.split(",")]
    if not wanted:
        raise Failed(f"--ways: write some of {','.join(way.key for way in ways)}")
    return [way for way in ways if way in wanted or way in [w.base for w in wanted]]


def main():
    args = arguments()
    rounds, sizes = args.rounds or (5 if args.full else 1), [int(size) for size in args.sizes.split(",")]
    today, lethe = datetime.date.today().isoformat(), command.program(args.lethe)
    output = args.output or (os.path.join(HERE, "..", "results", f"{today}-carry.md") if args.full else None)
    with (tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder,
          tempfile.TemporaryDirectory(prefix="lethe-bench-", dir=args.memory) as memory):
        machine = figures.machine(lethe, ("Redis",)) + report.disks(memory, folder)
        binaries = {"lethe": lethe, "app": helper("carry/app.c", lethe, folder), "client": helper("carry/client.c", lethe, folder)}
        with Carrying(folder, binaries, memory) as stage:
            stage.write("keys", figures.first_line(lethe, "keygen") + "\n")
            stage.start_redis()
            ways = chosen(start_ways(stage, sizes[0]), args.ways)
            begin_sessions(ways, sizes)
            found = run_rounds(stage, ways, sizes, rounds, args.seconds)
            calls = count_system_calls(stage, ways, args)
    text = report.render(today, machine, rounds, args.seconds, sizes, ways, found, calls)
    command.publish(text, output)


if __name__ == "__main__":
    command.run(main)
