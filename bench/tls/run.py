#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""What TLS costs with lethe, HAProxy and nginx: a request by HTTP/1.1 and by HTTP/2, a handshake, an idle connection; see ../README.md.

It fails (1) when an answer was wrong or missing, never because a program was slow."""
import dataclasses
import datetime
import json
import os
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
TOP = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(TOP, "bench"))

from common import command, figures, quiet  # noqa: E402 (our own modules, after the lines above)
from common.figures import median, ratio, spread  # noqa: E402
from common.quiet import Distance  # noqa: E402
from common.reading import Reading, anonymous_bytes  # noqa: E402
from common.stage import Failed, find, free_port, helper, rotated  # noqa: E402
from compare import crowd  # noqa: E402
from compare.programs import HAPROXY, NGINX, Compared  # noqa: E402

NAMES = ("HAProxy", "nginx", "lethe")
KINDS = {"get": "GET, 200 B, kept connections", "large": "GET, 64 KB, kept connections", "full": "GET, 200 B, a full handshake each",
         "resume": "GET, 200 B, a resumed handshake each", "h2-1": "HTTP/2: GET, 200 B, 32 connections, one stream each at a time",
         "h2-100": "HTTP/2: GET, 200 B, 2 connections, 100 streams each at a time"}
STREAMS = {"h2-1": (32, 1), "h2-100": (2, 100)}  # connections, streams on each
CASES = (*KINDS, "held")
CIPHER = "TLS_AES_256_GCM_SHA384"
HELD = 2000
COMPILE = ["cc", "-O2", "-std=c17", "-D_GNU_SOURCE"]


@dataclasses.dataclass
class Result:
    requests: int
    rate: float
    cpu: float  # µs a request
    foreign: float
    distance: float


@dataclasses.dataclass
class Held:
    connection: float


class Secured(Compared):
    """The programs of the comparison, with TLS on their listeners, one certificate (ECDSA, P-256) and tickets."""

    def make_certificate(self):
        self.cert, self.key, self.pem = (self.path(n) for n in ("site.crt", "site.crt.key", "site.pem"))
        done = subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                               "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.key, "-out", self.cert],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"openssl: {done.stderr.strip()}")
        with open(self.pem, "wb") as out:
            for path in (self.cert, self.key):
                with open(path, "rb") as f:
                    out.write(f.read())

    def start(self, kind, name):
        return {"HAProxy": self.start_tls_haproxy, "nginx": self.start_tls_nginx, "lethe": self.start_tls_lethe}[kind](name)

    def start_tls_haproxy(self, name):
        port = free_port()
        text = HAPROXY.format(port=port, origin=self.origin.port, log_to="", log_what="no log", more="", tune=crowd.KEEP, workers=1,
                              connections=crowd.ROOM)
        text = text.replace(f"bind 127.0.0.1:{port}", f"bind 127.0.0.1:{port} ssl crt {self.pem} alpn h2,http/1.1")
        return self.start_on(name, port, [find("haproxy"), "-db", "-f", self.write(name + ".cfg", text)])

    def start_tls_nginx(self, name):
        port, folder = free_port(), self.path(name)
        os.mkdir(folder)
        text = NGINX.format(port=port, origin=self.origin.port, folder=folder, log="off", modules="", access="",
                            user="user root;" if os.geteuid() == 0 else "", workers=1, connections=crowd.ROOM)
        text = text.replace(f"listen 127.0.0.1:{port};", f"listen 127.0.0.1:{port} ssl http2;\n        ssl_certificate {self.cert};\n"
                            f"        ssl_certificate_key {self.key};\n        ssl_protocols TLSv1.2 TLSv1.3;")
        return self.start_on(name, port, [find("nginx"), "-e", "stderr", "-p", folder, "-c", self.write(name + ".conf", text)])

    def start_tls_lethe(self, name):
        keys = subprocess.run([self.binaries["lethe"], "keygen"], capture_output=True, text=True, check=True).stdout.strip()
        program = self.start_full_lethe(name, options=(f"--limits.connections={crowd.ROOM}", "--timeouts.idle=1h", f"--keys={keys}",
                                                       "--tls.listen=127.0.0.1:0", f"--tls.certificates={self.pem}"))
        program.port = self.read_port(name, program.process, r"event=listening address=127\.0\.0\.1:(\d+) tls=yes", ".err")
        return program


def child(command, env=None):
    done = subprocess.run(command, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    lines = [line for line in (done.stderr + done.stdout).splitlines() if line.startswith("{")]
    if done.returncode != 0 or not lines:
        raise Failed(f"{command[0]}: {done.stderr.strip() or done.stdout.strip()}")
    return json.loads(lines[0])


def run_h2load(program, kind, seconds):
    """HTTP/2 with the cipher that wrk takes. What was under way at the end does not count."""
    connections, streams = STREAMS[kind]
    done = subprocess.run([find("h2load"), f"-c{connections}", f"-m{streams}", f"-D{seconds}", f"--tls13-ciphers={CIPHER}",
                           f"https://127.0.0.1:{program.port}/200"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    rows = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    count = {word: int(number) for number, word in re.findall(r"(\d+) (\w+)", rows.get("requests", ""))}
    bodies = re.search(r"\((\d+)\) data", rows.get("traffic", ""))
    good, spoken = count.get("succeeded", 0), [rows.get(name) for name in ("TLS Protocol", "Cipher", "Application protocol")]
    if (done.returncode != 0 or not good or any(count[word] for word in ("failed", "errored", "timeout"))
            or spoken != ["TLSv1.3", CIPHER, "h2"] or not rows["status codes"].startswith(f"{good} 2xx, 0 3xx, 0 4xx, 0 5xx")
            or int(bodies[1]) < good * 200):
        raise Failed(f"{program.name}: {kind}: {done.stdout}{done.stderr}")
    return {"requests": good, "us": seconds * 1e6}


def generate(stage, program, kind, seconds):
    if kind in STREAMS:
        return run_h2load(program, kind, seconds)
    if kind in ("full", "resume"):
        return child([stage.binaries["shake"], kind, str(program.port), str(seconds)])
    path = "/200" if kind == "get" else "/64k"
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{program.port}\r\n\r\n".encode()
    said = child([find("wrk"), "-t1", "-c32", f"-d{seconds}s", "-s", os.path.join(TOP, "bench", "compare", "wrk.lua"),
                  f"https://127.0.0.1:{program.port}{path}"], dict(os.environ, BENCH_REQUEST=stage.write_bytes("request", request)))
    if any(said[k] for k in ("connect", "read", "write", "status", "timeout")) or not said["requests"]:
        raise Failed(f"{program.name}: {kind}: {said}")
    return said


def measure(stage, program, kind, seconds):
    apart = Distance(stage, seconds)
    reading = Reading(program.pids(), stage.helpers(program), program.store)
    said = generate(stage, program, kind, seconds)
    distance, used = apart.end(), reading.end()
    return Result(said["requests"], said["requests"] / (said["us"] / 1e6), used.cpu / said["requests"] * 1e6, used.foreign, distance)


def check(program):
    """One answer, and that it is the version that all are to speak."""
    how = ssl.create_default_context()
    how.check_hostname, how.verify_mode = False, ssl.CERT_NONE
    with how.wrap_socket(socket.create_connection(("127.0.0.1", program.port), 5)) as s:
        s.sendall(b"GET /200 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        text = b"".join(iter(lambda: s.recv(65536), b""))
        if not text.startswith(b"HTTP/1.1 200") or not text.endswith(b"x" * 200) or s.version() != "TLSv1.3":
            raise Failed(f"{program.name}: {s.version()}: {text[:200]!r}")


def hold(stage, kind, number):
    """Bytes of private anonymous memory that a connection takes which has done one request."""
    program = stage.start(kind, f"{kind} holds {number}")
    check(program)
    before = anonymous_bytes(program.pids())
    name = f"held-{kind}-{number}"
    holder = stage.spawn(name, [stage.binaries["shake"], "hold", str(program.port), str(HELD)])
    deadline = time.monotonic() + 60
    while stage.text(name + ".out") != "ready\n":
        if holder.poll() is not None or time.monotonic() > deadline:
            raise Failed(f"{kind}: {HELD} connections: {stage.text(name + '.err').strip()}")
        time.sleep(0.05)
    grown = anonymous_bytes(program.pids()) - before
    holder.terminate()
    holder.wait()
    program.stop()
    return Held(grown / HELD)


def run(stage, rounds, seconds, cases):
    programs, found, patience = [stage.start(kind, kind) for kind in NAMES], {}, quiet.Patience(60)
    for program in programs:
        check(program)
    for number in range(rounds):
        for place, kind in enumerate(kind for kind in KINDS if kind in cases):
            for program in rotated(programs, number + place):
                result = patience.insist(lambda program=program, kind=kind: measure(stage, program, kind, seconds))
                found.setdefault((kind, program.name), []).append(result)
                print(f"round {number + 1}  {kind:7} {program.name:8} {result.cpu:7.1f} µs a request {result.rate:8.0f}/s", file=sys.stderr,
                      flush=True)
    for number in range(min(2, rounds) if "held" in cases else 0):
        for kind in NAMES:
            found.setdefault(("held", kind), []).append(hold(stage, kind, number))
    return found


def render(today, machine, rounds, found):
    head = "| program | CPU, µs a request | to HAProxy | to nginx | requests/s |\n|---|---|---|---|---|\n"
    text = f"# TLS, measured on {today}\n\nMedians of {rounds} rounds; TLS 1.3, ECDSA P-256, AES-256-GCM. bench/README.md says what was set up.\n\n"
    timed = {key: results for key, results in found.items() if key[0] != "held"}
    text += f"{figures.quality(timed)}\n" if timed else ""
    for kind, title in ((k, title) for k, title in KINDS.items() if (k, NAMES[0]) in found):
        rows = "".join(f"| {name} | {spread(found[kind, name], 'cpu')} | "
                       + " | ".join(ratio(median(found[kind, name], "cpu"), median(found[kind, peer], "cpu")) for peer in NAMES[:2])
                       + f" | {median(found[kind, name], 'rate'):.0f} |\n" for name in NAMES)
        text += f"### {title}\n\n{head}{rows}\n"
    rows = "".join(f"| {name} | {median(found['held', name], 'connection'):.0f} |\n" for name in NAMES if ("held", name) in found)
    held = f"### An idle connection\n\n| program | bytes |\n|---|---|\n{rows}\n" if rows else ""
    return f"{text}{held}### The machine\n\n{machine}"


def main():
    p = command.parser(__doc__)
    p.add_argument("--rounds", type=int, metavar="N", default=3)
    p.add_argument("--seconds", type=int, metavar="N", default=1, help="of each measurement")
    p.add_argument("--cases", metavar="a,b", default=",".join(CASES), help="some of them")
    args = p.parse_args()
    cases = args.cases.split(",")
    if not set(cases) <= set(CASES):
        p.error(f"--cases: write some of {','.join(CASES)}")
    lethe = command.program(args.lethe)
    crowd.enough_files()
    machine = figures.machine(lethe, ("HAProxy", "nginx", "wrk"))
    machine += f"- h2load: {figures.first_line(find('h2load'), '--version')}\n"
    with tempfile.TemporaryDirectory(prefix="lethe-bench-") as folder:
        os.chmod(folder, 0o755)
        binaries = {"lethe": lethe} | {re.sub(r".*/|\.c", "", path): helper(path, lethe, folder)
                                       for path in ("compare/origin.c", "common/distance.c")}
        binaries["shake"] = os.path.join(folder, "shake")
        subprocess.run([*COMPILE, "-o", binaries["shake"], os.path.join(HERE, "shake.c"), "-lssl", "-lcrypto"], check=True)
        with Secured(folder, binaries) as stage:
            stage.make_certificate()
            stage.start_origin()
            stage.start_redis()
            found = run(stage, args.rounds, args.seconds, cases)
    text = render(datetime.date.today().isoformat(), machine, args.rounds, found)
    command.publish(text, args.output)


if __name__ == "__main__":
    command.run(main)
