# SPDX-License-Identifier: Apache-2.0
"""Many clients and an application that do anything at any time. What is looked at: no answer is somebody else's, nothing crashes (the
sanitizers watch), nothing is left over. The seeds make a run's choices repeatable; their timing is the machine's."""
import os
import random
import signal
import threading

import pytest

from rig import App, Client, Ended, Lethe, Malformed, wait_for

ROUNDS = 40
CLIENTS = 8


def body_of(token, size):
    return (token.encode() * (size // len(token) + 1))[:size]


def frame(rng, body, chunked):
    if not chunked:
        return f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    data, at = b"Transfer-Encoding: chunked\r\n\r\n", 0
    while at < len(body):
        n = min(len(body) - at, rng.choice((1, 7, 100, 3000, 40000)))
        data += b"%x\r\n%s\r\n" % (n, body[at:at + n])
        at += n
    return data + b"0\r\n" + (b"X-T: 1\r\n" if rng.random() < 0.3 else b"") + b"\r\n"


def pieces(rng, data):
    at = 0
    while at < len(data):
        n = rng.choice((1, 3, 50, 2000, 70000))
        yield data[at:at + n]
        at += n


def misbehaving(conn, head):
    """One answer, right or wrong, by the seed that stands in the target: /c?token,seed,size."""
    token, seed, size = head.target.split("?")[1].split(",")
    rng, body = random.Random(int(seed)), body_of(token, int(size))
    what = rng.choice(("right",) * 8 + ("die", "die late", "reset late", "garbage", "early", "interim", "close", "junk behind"))
    if what == "die":
        return False
    if what != "early":
        conn.body(head)
    good = b"HTTP/1.1 200 OK\r\nX-Token: %s\r\n" % token.encode() + frame(rng, body, rng.random() < 0.5)
    if what == "garbage":
        conn.send(b"HTTP/1.1 200 OK\r\nBad Name: x\r\n\r\n")
        return False
    if what in ("die late", "reset late"):
        conn.send(good[:rng.randrange(len(good))])
        if what == "reset late":
            conn.reset()
        return False
    if what == "interim":
        conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * rng.randrange(1, 4))
    if what == "close":
        conn.send(b"HTTP/1.1 200 OK\r\nX-Token: %s\r\n\r\n" % token.encode() + body)
        return False
    if what == "junk behind":
        good += b"HTTP/1.1 200 OK\r\nX-Token: junk\r\nContent-Length: 0\r\n\r\n"
    for piece in pieces(rng, good):
        conn.send(piece)
    return what != "early"


def one_connection(rng, address, name, errors):
    """A few requests on one connection, perhaps pipelined, perhaps broken off."""
    with Client(address, timeout=20, rcvbuf=rng.choice((None, 8192))) as c:
        tokens, data = [], b""
        for i in range(rng.randrange(1, 5)):
            token, size = f"{name}.{i}.", rng.choice((0, 1, 500, 33000, 200000))
            tokens.append((token, size))
            target = f"/c?{token},{rng.randrange(1 << 30)},{size}"
            start = f"{rng.choice(('POST', 'PUT', 'GET'))} {target} HTTP/1.1\r\nHost: a\r\n".encode()
            data += start + (b"\r\n" if start.startswith(b"GET") else frame(rng, body_of(token, size // 2), rng.random() < 0.5))
        how = rng.choice(("read",) * 6 + ("reset", "leave", "half", "bad", "part"))
        if how == "bad":
            data += b"BAD\r\n\r\n"
        if how == "part":
            data = data[:rng.randrange(len(data))]
        sender = threading.Thread(target=send_all, args=(c, rng.choice(([data], list(pieces(rng, data))))), daemon=True)
        sender.start()
        if how in ("reset", "leave"):
            if rng.random() < 0.5:
                c.reader.fill()
            c.reset() if how == "reset" else c.close()
            sender.join(20)
            return
        if how in ("half", "part"):
            sender.join(20)
            c.half_close()
        try:
            for token, size in tokens:
                r = c.response()
                if r.status == 200 and (r.get("x-token") != token or r.body != body_of(token, size)):
                    errors.append(f"{token} got {r!r}")
        except Ended:
            pass  # broken off visibly
        c.reader.sock.close()
        sender.join(20)


def send_all(c, parts):
    try:
        for p in parts:
            c.send(p)
    except OSError:
        pass


def client(seed, address, errors):
    rng = random.Random(seed)
    for i in range(ROUNDS):
        try:
            one_connection(rng, address, f"{seed}-{i}", errors)
        except (Malformed, TimeoutError) as e:
            errors.append(f"seed {seed}, round {i}: {e!r}")
        except OSError:
            pass  # broken off by lethe while it was used


@pytest.mark.parametrize("seed", [int(s) for s in os.environ.get("CHAOS_SEEDS", "1,2").split(",")])
def test_chaos(seed, tmp_path):
    config = tmp_path / "lethe.conf"
    with App() as app:
        app.routes["/c"] = misbehaving
        config.write_text(f'upstream = "{app.address}";\n')
        limits = {"timeouts.upstream": "5s", "timeouts.head": "1s", "limits.upstream_connections": 6}
        with Lethe(config=config, workers=2, options=limits) as lethe:
            files = len(os.listdir(f"/proc/{lethe.pid}/fd"))
            errors = []
            threads = [threading.Thread(target=client, args=(seed * 100 + k, lethe.address, errors), daemon=True) for k in range(CLIENTS)]
            for t in threads:
                t.start()
            while any(t.is_alive() for t in threads):
                lethe.signal(signal.SIGHUP)
                lethe.metrics()
                threads[0].join(0.3)
                assert lethe.process.alive(), lethe.process.tail()
            assert not errors, errors[:3]
            assert lethe.get("/").status == 200
            lethe.wait_metric(0, "lethe_client_connections", 20)
            lethe.wait_metric(0, "lethe_upstream_connections", 20, state="active")
            app.drop_connections()
            wait_for(lambda: len(os.listdir(f"/proc/{lethe.pid}/fd")) <= files, 20, "descriptors are given back")
