# SPDX-License-Identifier: Apache-2.0
"""Redis as operators run it (TLS, Sentinel, Cluster, a bad network), and a crowd of users whose sessions must outlive it all."""
import asyncio
import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
import time

from rig import App, Client, Ended, Redis, answer, free_port, wait_for
from rig.lethe import ROOT
from rig.servers import RedisError

FIGURES = os.path.join(ROOT, "build", "stores.json")
TIMEOUT_MS = 900  # session.store_timeout
# A request of the crowd makes at most three operations one after the other: look-up, new record, end of the old one.
QUICK_CRASH = ["--crash-log-enabled", "no", "--crash-memcheck-enabled", "no"]
DEADLINE_MS = 3 * TIMEOUT_MS + 1500


def write_figures(**row):
    """Merges one row into build/stores.json, the row's `store` is its key."""
    rows = []
    if os.path.exists(FIGURES):
        with open(FIGURES, encoding="utf-8") as f:
            rows = [r for r in json.load(f) if r["store"] != row["store"]]
    os.makedirs(os.path.dirname(FIGURES), exist_ok=True)
    with open(FIGURES, "w", encoding="utf-8") as f:
        json.dump(sorted([*rows, row], key=lambda r: r["store"]), f, indent=1)
        f.write("\n")


# --- certificates ---

EC_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]


class Authority:
    """A certificate authority of the test's own. .issue("server", …) makes <name>.crt and <name>.key beside it."""

    def __init__(self, directory, name="authority"):
        self.dir, self.count = str(directory), 0
        os.makedirs(self.dir, exist_ok=True)
        self.cert, self.key = os.path.join(self.dir, f"{name}.crt"), os.path.join(self.dir, f"{name}.key")
        self._openssl("req", "-x509", *EC_KEY, "-nodes", "-keyout", self.key, "-out", self.cert, "-days", "2",
                      "-subj", f"/CN={name}")

    @staticmethod
    def _openssl(*words):
        done = subprocess.run(["openssl", *words], stdin=subprocess.DEVNULL, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def issue(self, name, names="IP:127.0.0.1,DNS:redis.test", days=2):
        """(certificate, key). `days` below 0: it has expired."""
        base = os.path.join(self.dir, name)
        with open(f"{base}.ext", "w", encoding="ascii") as f:
            f.write(f"subjectAltName={names}\n")
        self.count += 1
        self._openssl("req", "-new", *EC_KEY, "-nodes", "-keyout", f"{base}.key", "-out", f"{base}.csr", "-subj", f"/CN={name}")
        self._openssl("x509", "-req", "-in", f"{base}.csr", "-CA", self.cert, "-CAkey", self.key, "-set_serial", str(self.count),
                      "-days", str(days), "-extfile", f"{base}.ext", "-out", f"{base}.crt")
        return f"{base}.crt", f"{base}.key"


# --- servers ---

# What docs/redis.md asks of an operator: the rights of lethe's user, and those that Sentinel and Cluster need besides.
RIGHTS = ["+eval", "+evalsha", "+hmget", "+hset", "+hincrby", "+set", "+get", "+del", "+pexpire", "+pttl", "+ping", "+info"]
SENTINEL_RIGHTS, CLUSTER_RIGHTS, COMMAND_RIGHTS = ["+role"], ["+asking", "+cluster|slots"], ["+scan", "+hstrlen", "+exists"]
USER = ["on", ">s3cret", "resetkeys", "~lethe:*", "resetchannels", "-@all"]


def crash(redis):
    """It dies at once, but not between an answer to a client and the same change's way to the replicas (kill -9 may do that: Redis replicates
    behind its answers, and what it loses then no client can know)."""
    try:
        redis.call("DEBUG", "SEGFAULT")
    except (ConnectionError, OSError):
        pass
    redis.process.wait(10)
    redis.process = None


class Sentinels:
    """A master, two replicas and three sentinels that watch it under the name "mymaster". .url is lethe's option `store`. `tls`: names and
    values of Redis' options; then all of them speak TLS with each other and with lethe, and plain to the test alone."""

    def __init__(self, directory, password=None, tls=()):
        self.dir, self.password, self.tls = str(directory), password, dict(tls)
        self.seen = {}  # Redis -> the port that sentinels and lethe see
        auth = ["--requirepass", password, "--masterauth", password] if password else []
        self.redises = []
        for i in range(3):
            follow = ["--replicaof", f"127.0.0.1 {self.seen[self.redises[0]]}"] if i else []
            port = free_port() if self.tls else None
            secure = [w for k, v in self.tls.items() for w in (f"--{k}", v)] + ["--tls-port", str(port), "--tls-replication", "yes"]
            args = [*auth, *follow, "--repl-diskless-sync-delay", "0", *QUICK_CRASH, *(secure if self.tls else [])]
            r = Redis(os.path.join(self.dir, f"redis{i}"), args=args, start=False)
            r.password = password
            self.seen[r] = port or r.port
            self.redises.append(r.start())
        wait_for(lambda: self.redises[0].call("INFO", "replication").count(b"state=online") == 2, 20, "two replicas")
        self.sentinels = [self._sentinel(i) for i in range(3)]
        wait_for(lambda: all(self._knows(s) for s in self.sentinels), 20, "sentinels that know each other and the replicas")
        hosts = ",".join(f"127.0.0.1:{self.seen[s]}" for s in self.sentinels)
        who = f":{password}@" if password else ""
        self.url = f"redis{'s' if self.tls else ''}+sentinel://{who}{hosts}/mymaster/0"

    def _sentinel(self, i):
        s = Redis(os.path.join(self.dir, f"sentinel{i}"), start=False)
        path = os.path.join(s.dir, "sentinel.conf")
        self.seen[s] = free_port() if self.tls else s.port
        secure = "".join(f"{k} {v}\n" for k, v in self.tls.items()) + f"tls-port {self.seen[s]}\ntls-replication yes\n"
        with open(path, "w", encoding="ascii") as f:
            f.write(f"port {s.port}\nbind 127.0.0.1\ndir {s.dir}\n"
                    f"{secure if self.tls else ''}sentinel monitor mymaster 127.0.0.1 {self.seen[self.redises[0]]} 2\n"
                    "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 2000\n"
                    + (f"sentinel auth-pass mymaster {self.password}\n" if self.password else ""))
        s.argv = lambda: [shutil.which("redis-server"), path, "--sentinel"]
        return s.start()

    @staticmethod
    def _knows(sentinel):
        told = sentinel.call("SENTINEL", "master", "mymaster")
        facts = dict(zip(told[::2], told[1::2]))
        return facts[b"num-slaves"] == b"2" and facts[b"num-other-sentinels"] == b"2" and facts[b"flags"] == b"master"

    def master(self):
        """The Redis that most sentinels name."""
        said = [s.call("SENTINEL", "get-master-addr-by-name", "mymaster")[1] for s in self.sentinels if s.process]
        port = int(max(set(said), key=said.count))
        return next(r for r in self.redises if self.seen[r] == port)

    def stop(self):
        for s in [*self.sentinels, *self.redises]:
            s.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Cluster:
    """Three masters with a replica each. .url is lethe's option `store`. `tls` as for Sentinels."""

    def __init__(self, directory, nodes=6, replicas=1, tls=()):
        self.nodes, self.tls = [], dict(tls)
        seen = []  # the addresses that the cluster and lethe use
        for i in range(nodes):
            port = self.port()
            seen.append(f"127.0.0.1:{port}")
            secure = [w for k, v in self.tls.items() for w in (f"--{k}", v)] + ["--tls-port", str(port), "--tls-cluster", "yes",
                                                                               "--tls-replication", "yes"]
            args = [*(secure if self.tls else []), "--cluster-enabled", "yes", "--cluster-node-timeout", "1000", "--cluster-config-file", f"nodes-{port}.conf",
                    "--repl-diskless-sync-delay", "0", *QUICK_CRASH, "--cluster-replica-validity-factor", "0"]
            self.nodes.append(Redis(os.path.join(str(directory), f"node{i}"), port=None if self.tls else port, args=args))
        self.cli("--cluster", "create", *seen, "--cluster-replicas", str(replicas), "--cluster-yes")
        wait_for(self.is_whole, 30, "a whole cluster")
        self.url = f"redis{'s' if self.tls else ''}+cluster://{','.join(seen[:3])}/"

    @staticmethod
    def port():
        """One whose bus port, 10000 above, is free too and below the range of outgoing connections."""
        return next(p for p in (free_port() for _ in itertools.count()) if p < 22000)

    def cli(self, *words, seconds=60):
        secure = ["--tls", "--cacert", self.tls["tls-ca-cert-file"]] if self.tls else []
        done = subprocess.run(["redis-cli", *secure, *words], stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=seconds)
        assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()
        return done.stdout.decode()

    def living(self):
        return [n for n in self.nodes if n.process]

    def is_whole(self):
        with contextlib.suppress(RedisError):  # LOADING: one that becomes a replica reads its master's data
            return all(b"cluster_state:ok" in n.call("CLUSTER", "INFO") and self._replicated(n) for n in self.living())
        return False

    @staticmethod
    def _replicated(node):
        role = node.call("ROLE")
        return role[0] == b"master" or role[3] == b"connected"

    def masters(self):
        return [n for n in self.living() if n.call("ROLE")[0] == b"master"]

    def keys(self):
        return sum(n.call("DBSIZE") for n in self.masters())

    def stop(self):
        for n in self.nodes:
            n.stop()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Relay:
    """A TCP relay to `target` that delays each byte by .delay seconds, holds all of them while .holds, and cut()s connections."""

    def __init__(self, target):
        self.target, self.delay, self.holds = target, 0.0, False
        self.writers = set()
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.server.sockets[0].getsockname()[1]

    def _run(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _serve(self, reader, writer):
        host, port = self.target.rsplit(":", 1)
        try:
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
        except OSError:
            writer.close()
            return
        pair = {writer, far_writer}
        self.writers |= pair
        await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
        self.writers -= pair

    async def _pump(self, reader, writer):
        queue = asyncio.Queue()
        sender = asyncio.ensure_future(self._send(queue, writer))
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                queue.put_nowait((self.loop.time() + self.delay, data))
        queue.put_nowait((0, b""))
        await sender

    async def _send(self, queue, writer):
        with contextlib.suppress(OSError):
            while True:
                at, data = await queue.get()
                while self.holds:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(max(0, at - self.loop.time()))
                if not data:
                    break
                writer.write(data)
        writer.close()

    def cut(self):
        """Ends every connection with a reset."""
        async def abort():
            for w in list(self.writers):
                w.transport.abort()
        self._run(abort())

    def stop(self):
        self.cut()
        self.server.close()
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)


# --- users ---

def counting_app():
    """Keeps a number for each user in a session cookie: /write adds one, /read does not. It answers with what it was sent, or "none"."""
    def serve(conn, head):
        conn.body(head)
        seen = [p.split("=", 1)[1] for c in head.all("cookie") for p in c.split("; ") if p.startswith("PHPSESSID=")]
        path, _, user = head.target.partition("?")
        got = seen[0] if seen else "none"
        lines = ""
        if path == "/write":
            n = int(got.split(".")[1]) + 1 if seen else 1
            lines = f"Set-Cookie: PHPSESSID={user}.{n}; path=/\r\n"
        conn.send(answer(got, headers=lines))
    app = App(timeout=120)
    for path in ("/write", "/read"):
        app.on(path)(serve)
    return app


class User:
    def __init__(self, name):
        self.name, self.token, self.confirmed = name, None, 0


class Crowd:
    """Users of one or more lethes without pause: a write, then a read, each by the next replica, a thread for a part of them. What the
    application is sent must be the last number that was confirmed by an answer. A new id is a new token, and the old one leads to
    the old number, so it is always exactly that one."""

    def __init__(self, lethes, users=1000, threads=8):
        self.lethes = lethes
        self.users = [User(f"u{i}") for i in range(users)]
        self.stopping, self.lock = threading.Event(), threading.Lock()
        self.written = self.read = self.failed = 0
        self.lost, self.wrong, self.failures, self.worst_ms = [], [], {}, 0.0
        self.forgiving = False  # Redis has forgotten: whoever has lost his session begins anew
        self.forgotten = 0
        self.going = threading.Event()
        self.going.set()
        self.asking = [threading.Lock() for _ in range(threads)]  # each held while its thread's request is under way
        self.threads = [threading.Thread(target=self._run, args=(self.users[i::threads], self.asking[i]), daemon=True) for i in range(threads)]

    def start(self):
        for t in self.threads:
            t.start()
        wait_for(lambda: self.wrong or all(u.confirmed for u in self.users), 60, "everybody has a session")
        return self

    def _run(self, users, asking):
        clients = {}
        turn = itertools.cycle(l.address for l in self.lethes)
        while not self.stopping.is_set():
            for user in users:
                for path in ("/write", "/read"):
                    if self.stopping.is_set():
                        break
                    self.going.wait()
                    with asking:
                        self._ask(clients, next(turn), user, path)
        for c in clients.values():
            c.close()

    def _ask(self, clients, where, user, path):
        cookie = f"Cookie: lethe={user.token}\r\n" if user.token else ""
        began = time.monotonic()
        try:
            client = clients.get(where) or Client(where, timeout=30)
            clients[where] = client
            r = client.get(f"{path}?{user.name}", cookie)
        except (Ended, OSError) as e:
            clients.pop(where, None)
            self.wrong.append(f"{user.name}: {e!r}")
            return
        took = (time.monotonic() - began) * 1000
        with self.lock:
            self.worst_ms = max(self.worst_ms, took)
            self._judge(user, path, r)
        if r.status != 200:
            self.stopping.wait(0.01)  # nobody hammers at a server that is down

    def _judge(self, user, path, r):
        new = [c.split(";")[0].split("=", 1)[1] for c in r.all("set-cookie") if c.startswith("lethe=")]
        if r.status != 200:
            self.failed += 1
            why = f"{r.status} {r.get('x-lethe-error')}"
            self.failures[why] = self.failures.get(why, 0) + 1
            if new or r.status != 503:
                self.wrong.append(f"{user.name}: {why} {r.lines}")
            return
        expected = f"{user.name}.{user.confirmed}" if user.token else "none"
        got = r.body.decode()
        if got != expected:
            if got == "none" and self.forgiving:
                self.forgotten += 1
                user.confirmed, user.token = 0, None
            else:
                self.lost.append(f"{user.name}: {got}, not {expected}")
        if path == "/read":
            self.read += 1
        elif not new or not new[0]:
            self.wrong.append(f"{user.name}: no token for a new id: {r.lines}")
        else:
            user.token, user.confirmed = new[0], user.confirmed + 1
            self.written += 1

    @contextlib.contextmanager
    def pause(self):
        """No request is under way inside of it."""
        self.going.clear()
        try:
            with contextlib.ExitStack() as held:
                for lock in self.asking:
                    held.enter_context(lock)
                yield
        finally:
            self.going.set()

    def wait_more(self, n=300, seconds=30):
        """Until n more requests were served."""
        with self.lock:
            goal = self.written + self.read + n
        wait_for(lambda: self.wrong or self.lost or self.written + self.read >= goal, seconds, f"{n} more requests; {self.failures}")
        self.check()

    def wait_failed(self, n=20, seconds=30):
        goal = self.failed + n
        wait_for(lambda: self.wrong or self.lost or self.failed >= goal, seconds, f"{n} failed requests")
        self.check()

    def check(self):
        assert not self.lost and not self.wrong, (self.lost[:3], self.wrong[:3])

    def stop(self):
        """Ends the traffic; then, as soon as every replica has its store back, everybody looks once more and is served."""
        self.stopping.set()
        for t in self.threads:
            t.join(60)
            assert not t.is_alive()
        self.check()
        for l in self.lethes:
            l.wait_metric(0, "lethe_store_breaker_open")
        clients, turn, before = {}, itertools.cycle(l.address for l in self.lethes), self.read
        for user in self.users:
            self._ask(clients, next(turn), user, "/read")
        for c in clients.values():
            c.close()
        self.check()
        assert self.read == before + len(self.users), self.failures
        assert self.worst_ms < DEADLINE_MS, f"a request took {self.worst_ms:.0f} ms"

    def figures(self, store, faults, **more):
        write_figures(store=store, written=self.written, read=self.read, users=len(self.users), failed=self.failed, faults=faults,
                      lost=len(self.lost), worst_wait_ms=round(self.worst_ms), **more)
