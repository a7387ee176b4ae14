# SPDX-License-Identifier: Apache-2.0
"""redis+cluster://: slots move, masters die, no session is lost."""
import threading

import pytest
from redis_rig import CLUSTER_RIGHTS, COMMAND_RIGHTS, RIGHTS, USER, Cluster, Crowd, counting_app, crash
from session_rig import keys

from rig import Redis, run_cli, wait_for

OPTIONS = {"session.rotate_grace": "10m"}


@pytest.fixture
def app():
    a = counting_app()
    yield a
    a.stop()


def node_id(node):
    return node.call("CLUSTER", "MYID").decode()


def order_failover(node):
    """It takes the place of its master, which lives; the order lapses when the two are not in step within 5 s."""
    for _ in range(4):
        node.call("CLUSTER", "FAILOVER")
        try:
            wait_for(lambda: node.call("ROLE")[0] == b"master", 6, "the replica is the master")
            return
        except AssertionError:
            pass
    raise AssertionError(node.call("CLUSTER", "NODES").decode() + "\n".join(node.process.out[-20:]))


@pytest.mark.slow
def test_resharding_and_a_death_during_traffic(lethe, app, tmp_path):
    with Cluster(tmp_path) as cluster:
        replicas = [lethe(app, store=cluster.url, keys=keys(), **OPTIONS) for _ in range(2)]
        crowd = Crowd(replicas, users=1000).start()
        masters = cluster.masters()
        assert len(masters) == 3 and all(m.call("DBSIZE") > 100 for m in masters)

        source, target = masters[0], masters[1]
        move = threading.Thread(target=cluster.cli, args=("--cluster", "reshard", source.address, "--cluster-from", node_id(source),
                                                          "--cluster-to", node_id(target), "--cluster-slots", "1500", "--cluster-yes"))
        move.start()
        while move.is_alive():
            crowd.wait_more(50)
        move.join()
        assert any(s[0] == 0 and s[1] >= 1499 and s[2][1] == target.port for s in source.call("CLUSTER", "SLOTS"))
        crowd.wait_more(300)

        wait_for(cluster.is_whole, 20, "replicas in step")
        dead = masters[2]
        crash(dead)
        wait_for(lambda: len(cluster.masters()) == 3 and cluster.is_whole(), 30, "its replica is the master")
        crowd.wait_more(500)
        dead.start()
        wait_for(lambda: dead.call("ROLE")[0] == b"slave" and cluster.is_whole(), 30, "it is a replica of its successor")

        wait_for(lambda: dead.call("ROLE")[3] == b"connected", 20)
        order_failover(dead)
        crowd.wait_more(500)

        silent = masters[1]
        wait_for(cluster.is_whole, 20, "replicas in step")
        silent.pause()
        others = [n for n in cluster.nodes if n is not silent]
        wait_for(lambda: sum(n.call("ROLE")[0] == b"master" for n in others) == 3, 30, "another fail-over")
        silent.resume()
        wait_for(cluster.is_whole, 30, "the silent one is a replica")
        for l in replicas:
            l.wait_metric(0, "lethe_store_breaker_open")
        crowd.wait_more(500)
        crowd.stop()
        for l in replicas:
            m = l.metrics()
            opened, closed = (m.get("lethe_store_events_total", event=f"breaker_{e}") for e in ("opened", "closed"))
            assert opened == closed >= 1, (opened, closed)
            assert m.get("lethe_store_breaker_open") == 0
        crowd.figures("Redis Cluster, 3 masters, 3 replicas", ["1,500 slots moved", "master crashed", "fail-over ordered",
                                                                "master silent (SIGSTOP)"])


class Slot:
    """One slot that is halfway from one node to another, as long as the test wants."""

    def __init__(self, cluster, key):
        self.number = cluster.nodes[0].call("CLUSTER", "KEYSLOT", key)
        masters = cluster.masters()
        self.source = next(m for m in masters if any(a <= self.number <= b for a, b in self._ranges(m)))
        self.target = next(m for m in masters if m is not self.source)
        self.masters = masters
        self.target.call("CLUSTER", "SETSLOT", self.number, "IMPORTING", node_id(self.source))
        self.source.call("CLUSTER", "SETSLOT", self.number, "MIGRATING", node_id(self.target))

    @staticmethod
    def _ranges(node):
        return [(s[0], s[1]) for s in node.call("CLUSTER", "SLOTS") if s[2][1] == node.port]

    def keys(self, node):
        return node.call("CLUSTER", "GETKEYSINSLOT", self.number, 100)

    def move_keys(self):
        for key in self.keys(self.source):
            self.source.call("MIGRATE", "127.0.0.1", self.target.port, key, 0, 5000)

    def finish(self):
        self.move_keys()
        for m in self.masters:
            m.call("CLUSTER", "SETSLOT", self.number, "NODE", node_id(self.target))


def token_of(r):
    return [c for c in r.all("set-cookie") if c.startswith("lethe=")][0].split(";")[0]


def test_a_slot_halfway(lethe, app, tmp_path):
    """ASK for what has moved already, MOVED when all is done; a session without a lock is one key, and never has to wait."""
    with Cluster(tmp_path, nodes=3, replicas=0) as cluster:
        l = lethe(app, store=as_user(cluster), keys=keys(), **OPTIONS)
        tokens = [token_of(l.get(f"/write?u{i}")) for i in range(30)]
        key = cluster.masters()[0].call("KEYS", "*")[0]
        slot = Slot(cluster, key)

        def look():
            return [l.get("/read", f"Cookie: {t}\r\n").body.decode() for t in tokens]
        everybody = [f"u{i}.1" for i in range(30)]
        assert look() == everybody
        slot.move_keys()
        assert slot.keys(slot.target) and not slot.keys(slot.source)
        for _ in range(3):
            assert look() == everybody, "by ASK"
        slot.finish()
        for _ in range(3):
            assert look() == everybody, "by MOVED"
        assert not l.events("store_error")


def test_a_slot_halfway_with_locks(lethe, app, tmp_path, short_dir):
    """With a carrier record and lock are asked for together: TRYAGAIN while one of them is here and one is there; it waits, and goes on."""
    with Cluster(tmp_path, nodes=3, replicas=0) as cluster:
        l = lethe(app, store=cluster.url, keys=keys(), **OPTIONS, **{"state_api.profile": "generic",
                                                                     "state_api.listen": f"unix:{short_dir}/state.sock"})
        token = token_of(l.get("/write?u"))
        key = next(k for m in cluster.masters() for k in m.call("KEYS", "*") if not k.endswith(b":lock"))
        slot = Slot(cluster, key)
        r = l.get("/read", f"Cookie: {token}\r\n")
        assert (r.status, r.get("x-lethe-error")) == (503, "store_unavailable"), "halfway for longer than the time limit"
        timer = threading.Timer(0.3, slot.finish)
        timer.start()
        r = l.get("/read", f"Cookie: {token}\r\n")
        timer.join()
        assert (r.status, r.body) == (200, b"u.1")


def test_seeds(lethe, app, tmp_path):
    """Any node that answers is enough; a node without slots knows the others."""
    with Cluster(tmp_path, nodes=6, replicas=1) as cluster:
        replica = next(n for n in cluster.nodes if n.call("ROLE")[0] == b"slave")
        for url in (f"redis+cluster://127.0.0.1:1,127.0.0.1:2,{replica.address}/", f"redis+cluster://{replica.address}/"):
            l = lethe(app, store=url, keys=keys(), **OPTIONS)
            wait_for(lambda: l.get("/write?x").status == 200, 5, "a seed that lives")  # pylint: disable=cell-var-from-loop
            for i in range(20):
                assert l.get(f"/write?u{i}").status == 200
            l.wait_metric(0, "lethe_store_breaker_open")
        assert cluster.keys() >= 40


def as_user(cluster, *rights):
    """The cluster's URL for a user with no more rights than these."""
    for n in cluster.nodes:
        n.call("ACL", "SETUSER", "lethe", *USER, *RIGHTS, *CLUSTER_RIGHTS, *rights)
    return cluster.url.replace("://", "://lethe:s3cret@")


def test_an_operator_sees_all_nodes(lethe, app, tmp_path):
    """`lethe session list` asks for the map first, and then every master."""
    with Cluster(tmp_path, nodes=3, replicas=0) as cluster:
        l = lethe(app, store=cluster.url, keys=keys(), **OPTIONS)
        for i in range(30):
            assert l.get(f"/write?u{i}").status == 200
        done = run_cli("session", "list", f"--store={as_user(cluster, *COMMAND_RIGHTS)}")
        assert done.returncode == 0 and len(done.stdout.splitlines()) == 31, done.stdout + done.stderr


def test_no_cluster(lethe, app, tmp_path):
    with Redis(tmp_path) as redis:
        l = lethe(app, store=redis.url.replace("redis://", "redis+cluster://").rstrip("0"), keys=keys(), **OPTIONS)
        l.get("/write?x")
        assert "redis://" in l.wait_event("cluster_map_refused")[0]["do"]
