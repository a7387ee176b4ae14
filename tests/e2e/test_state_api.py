# SPDX-License-Identifier: Apache-2.0
"""The state API, as openapi.yaml has it: every call, its conditions and its errors, over two lethes and a real Redis."""
import http.client
import os
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from session_rig import keys

from rig import Lethe, Redis, run_cli, wait_for
from rig.base import free_port


class Api:
    """One connection to a state API, a unix socket or host:port."""

    def __init__(self, address):
        self.address = address
        self.connection = None

    def _connect(self):
        c = http.client.HTTPConnection("localhost", timeout=20)
        if self.address.startswith("unix:"):
            c.sock = socket.socket(socket.AF_UNIX)
            c.sock.settimeout(20)
            c.sock.connect(self.address[5:])
        else:
            host, port = self.address.rsplit(":", 1)
            c.sock = socket.create_connection((host, int(port)), 20)
        return c

    def ask(self, method, path, body=None, **fields):
        """(status, headers, body)"""
        self.connection = self.connection or self._connect()
        named = {k.replace("_", "-"): str(v) for k, v in fields.items()}
        self.connection.request(method, path, body, named)
        r = self.connection.getresponse()
        data = r.read()
        if r.will_close:
            self.close()
        return r.status, r.headers, data

    def status(self, *how, **fields):
        return self.ask(*how, **fields)[0]

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None


@pytest.fixture(name="redis", scope="module")
def redis_fixture(tmp_path_factory):
    with Redis(tmp_path_factory.mktemp("redis")) as r:
        yield r


def start(redis, at, **options):
    return Lethe("127.0.0.1:1", {"store": redis.url, "keys": keys(), "state_api.profile": "generic", "state_api.listen": at, **options})


@pytest.fixture(name="apis", scope="module")
def apis_fixture(redis, tmp_path_factory):
    """The APIs of two replicas, one on a unix socket, one on loopback; and the first's lethe."""
    path = f"unix:{tmp_path_factory.mktemp('s')}/state.sock"
    port = f"127.0.0.1:{free_port()}"
    with start(redis, path) as a, start(redis, port) as b:
        one, two = Api(path), Api(port)
        yield one, two, a, b
        one.close()
        two.close()


def test_write_here_read_there(apis):
    one, two = apis[:2]
    blob = bytes(range(256)) * 5
    status, fields, _ = one.ask("PUT", "/v1/sessions/s1", blob)
    assert status == 204 and "Content-Length" not in fields
    status, read, data = two.ask("GET", "/v1/sessions/s1")
    assert (status, data, read["ETag"]) == (200, blob, fields["ETag"])
    assert two.ask("GET", "/v1/sessions/other")[0] == 404


def test_ids_of_any_bytes(apis):
    one, two = apis[:2]
    for raw, same in (("a%2Fb%00%ff", "a%2fb%00%FF"), ("x" * 512, "x" * 512), ("s%3Aid.sig%3D", "s:id.sig=")):
        assert one.status("PUT", f"/v1/sessions/{raw}", b"1") == 204
        assert two.ask("GET", f"/v1/sessions/{same}")[2] == b"1"
    assert one.status("PUT", f"/v1/sessions/{'x' * 513}", b"1") == 400
    assert one.status("PUT", "/v1/sessions/a%2", b"1") == 400
    assert one.status("PUT", "/v1/sessions/", b"1") == 404


def test_compare_and_set(apis):
    one, two = apis[:2]
    first = one.ask("PUT", "/v1/sessions/cas", b"a", If_None_Match="*")[1]["ETag"]
    assert two.status("PUT", "/v1/sessions/cas", b"b", If_None_Match="*") == 412
    status, fields, _ = two.ask("PUT", "/v1/sessions/cas", b"b", If_Match=first)
    assert status == 204 and fields["ETag"] != first
    status, wrong, text = one.ask("PUT", "/v1/sessions/cas", b"c", If_Match=first)
    assert (status, wrong["X-Lethe-Error"]) == (412, "version_conflict") and b"read again" in text
    assert one.ask("GET", "/v1/sessions/cas")[2] == b"b"
    assert one.status("PUT", "/v1/sessions/cas", b"c", If_Match="7") == 400
    assert one.status("PUT", "/v1/sessions/nothing", b"c", If_Match='"7"') == 412
    assert one.status("PUT", "/v1/sessions/cas", b"last") == 204  # without a condition the last writer wins


def test_parallel_compare_and_set_loses_nothing(apis):
    addresses = [a.address for a in apis[:2]]
    apis[0].status("PUT", "/v1/sessions/counter", b"0")

    def add(i):
        api = Api(addresses[i % 2])
        try:
            while True:
                _, fields, data = api.ask("GET", "/v1/sessions/counter")
                if api.status("PUT", "/v1/sessions/counter", b"%d" % (int(data) + 1), If_Match=fields["ETag"]) == 204:
                    return
        finally:
            api.close()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(40)))
    assert apis[0].ask("GET", "/v1/sessions/counter")[2] == b"40"


def test_deleted_stays_deleted(apis):
    one, two = apis[:2]
    tag = one.ask("PUT", "/v1/sessions/gone", b"x")[1]["ETag"]
    assert two.status("DELETE", "/v1/sessions/gone") == 204
    assert one.status("GET", "/v1/sessions/gone") == 410
    assert one.status("PUT", "/v1/sessions/gone", b"late") == 410  # a request that began before the logout
    assert one.status("PUT", "/v1/sessions/gone", b"late", If_Match=tag) == 410
    assert one.status("POST", "/v1/sessions/gone/touch") == 410
    assert one.status("POST", "/v1/sessions/gone/rename", Lethe_To="again") == 410
    assert one.status("DELETE", "/v1/sessions/gone") == 204
    assert one.status("DELETE", "/v1/sessions/never") == 204


def test_time_to_live(apis, redis):
    one = apis[0]
    before = set(redis.keys("lethe:*"))
    one.status("PUT", "/v1/sessions/ttl", b"x", Lethe_TTL=100)
    (key,) = set(redis.keys("lethe:*")) - before
    assert 90_000 < redis.call("PTTL", key) <= 100_000
    assert one.status("POST", "/v1/sessions/ttl/touch", Lethe_TTL=1000) == 204
    assert 990_000 < redis.call("PTTL", key) <= 1_000_000
    assert one.status("POST", "/v1/sessions/ttl/touch", Lethe_TTL=999_999_999) == 204
    assert redis.call("PTTL", key) <= 12 * 3600 * 1000, "beyond session.absolute_ttl"
    one.status("PUT", "/v1/sessions/short", b"x", Lethe_TTL=1)
    (short,) = set(redis.keys("lethe:*")) - before - {key}
    redis.call("PEXPIRE", short, 1)
    wait_for(lambda: redis.call("EXISTS", short) == 0, 5)
    assert one.status("GET", "/v1/sessions/short") == 404
    assert one.status("POST", "/v1/sessions/short/touch") == 404


def test_rename(apis):
    one, two = apis[:2]
    one.status("PUT", "/v1/sessions/old", b"content")
    status, fields, _ = one.ask("POST", "/v1/sessions/old/rename", Lethe_To="new%2Fid")
    assert status == 204 and fields["ETag"]
    assert two.ask("GET", "/v1/sessions/new%2Fid")[2] == b"content"
    assert two.status("GET", "/v1/sessions/old") == 410
    assert one.status("POST", "/v1/sessions/nothing/rename", Lethe_To="x") == 404
    assert one.status("POST", "/v1/sessions/new%2Fid/rename") == 400


def test_lock(apis):
    one, two = apis[:2]
    owner = one.ask("POST", "/v1/sessions/locked/lock", Lethe_Lease=60_000)[1]["Lethe-Lock"]
    status, fields, _ = two.ask("POST", "/v1/sessions/locked/lock")
    assert (status, fields["X-Lethe-Error"]) == (423, "locked")
    assert two.status("PUT", "/v1/sessions/locked", b"x", Lethe_Lock="somebody") == 423
    assert one.status("PUT", "/v1/sessions/locked", b"x", Lethe_Lock=owner) == 204
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(two.ask, "POST", "/v1/sessions/locked/lock", Lethe_Wait=15_000)
        assert one.status("DELETE", "/v1/sessions/locked/lock", Lethe_Lock=owner) == 204
        assert waiting.result(20)[0] == 204
    assert one.status("PUT", "/v1/sessions/locked", b"late", Lethe_Lock=owner) == 423
    assert one.status("DELETE", "/v1/sessions/locked/lock") == 400
    short = one.ask("POST", "/v1/sessions/leased/lock", Lethe_Lease=20)[1]["Lethe-Lock"]
    assert two.status("POST", "/v1/sessions/leased/lock", Lethe_Wait=10_000) == 204
    assert one.status("PUT", "/v1/sessions/leased", b"x", Lethe_Lock=short) == 423


def test_size_limit_and_large_blobs(apis, redis, tmp_path):
    one, two = apis[:2]
    large = os.urandom(4 << 20)
    assert one.status("PUT", "/v1/sessions/large", large) == 204
    assert two.ask("GET", "/v1/sessions/large")[2] == large
    status, fields, _ = one.ask("PUT", "/v1/sessions/large", large + b"x")
    assert (status, fields["X-Lethe-Error"]) == (413, "body_too_large")
    assert two.ask("GET", "/v1/sessions/large")[2] == large
    done = subprocess.run(["curl", "-sS", "--unix-socket", one.address[5:], "-T", "-", "http://l/v1/sessions/curl"], input=large,
                          capture_output=True, check=False)  # chunked, and with Expect
    assert done.returncode == 0, done.stderr
    assert two.ask("GET", "/v1/sessions/curl")[2] == large


def test_nothing_readable_in_the_store(apis, redis):
    apis[0].status("PUT", "/v1/sessions/very-secret-id", b"very-secret-content")
    dump = b"".join(k.encode("latin-1") + b"".join(redis.call("HGETALL", k)) for k in redis.keys("lethe:*")
                    if redis.call("TYPE", k) == b"hash")
    assert b"very-secret" not in dump


def test_another_key_ring_cannot_open(redis, apis, tmp_path):
    apis[0].status("PUT", "/v1/sessions/sealed", b"x")
    path = f"unix:{tmp_path}/s"
    with Lethe("127.0.0.1:1", {"store": redis.url, "keys": run_cli("keygen").stdout.strip(), "state_api.profile": "generic",
                               "state_api.listen": path}) as other:
        api = Api(path)
        status, fields, _ = api.ask("GET", "/v1/sessions/sealed")
        assert (status, fields["X-Lethe-Error"]) == (503, "session_unreadable")
        assert wait_for(lambda: other.events("blob_unreadable"), 10)
        api.close()


def test_bad_calls(apis):
    one = apis[0]
    for method, path in (("GET", "/metrics"), ("GET", "/livez"), ("POST", "/v1/sessions/a"), ("GET", "/v1/sessions/a/b"),
                         ("GET", "/v2/sessions/a"), ("PATCH", "/v1/sessions/a")):
        assert one.status(method, path) == 404, path
    assert apis[2].metrics().get("lethe_state_api_operations_total", op="write", result="ok") > 0


def test_adapters_are_noted_once(apis):
    one, lethe = apis[0], apis[2]
    for _ in range(3):
        assert one.status("POST", "/v1/adapters/node", Lethe_Store="express-session MemoryStore", Lethe_Status="hooked") == 204
    one.status("POST", "/v1/adapters/node", Lethe_Store="koa-session", Lethe_Status="failed", Lethe_Detail="keeps its sessions in cookies")
    (failed,) = wait_for(lambda: lethe.events("adapter_failed"), 10)
    assert len(lethe.events("adapter_hooked")) == 1
    assert failed["detail"] == "keeps its sessions in cookies"
    assert lethe.metrics().get("lethe_adapters_total", status="hooked") == 3


@pytest.mark.skipif(os.geteuid() != 0, reason="takes another user's part")
def test_peers_of_other_users(redis, short_dir):
    """Only lethe's own user, root and those that are named."""
    os.chmod(short_dir, 0o755)
    path = f"{short_dir}/s"
    ask = (f"import os, socket; os.setuid(33); s = socket.socket(socket.AF_UNIX); s.connect({path!r}); "
           "s.sendall(b'GET /v1/sessions/x HTTP/1.1\\r\\nHost: l\\r\\n\\r\\n'); print(s.recv(12))")

    def answer():
        return subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=False)
    with start(redis, f"unix:{path}"):
        assert "PermissionError" in answer().stderr
    with start(redis, f"unix:{path}", **{"state_api.allow_uids": "12345"}) as lethe:
        assert "403" in answer().stdout
        assert wait_for(lambda: lethe.events("state_api_refused"), 10)[0]["uid"] == "33"
    with start(redis, f"unix:{path}", **{"state_api.allow_uids": "33"}):
        assert "404" in answer().stdout


def test_store_away(tmp_path):
    redis = Redis(tmp_path / "r", "aof")
    path = f"unix:{tmp_path}/s"
    with start(redis, path) as lethe:
        api = Api(path)
        assert api.status("PUT", "/v1/sessions/a", b"1") == 204
        redis.kill9()
        status, fields, _ = api.ask("GET", "/v1/sessions/a")
        assert (status, fields["X-Lethe-Error"], fields["Retry-After"]) == (503, "store_unavailable", "1")
        assert api.status("PUT", "/v1/sessions/a", b"2") == 503
        assert api.status("DELETE", "/v1/sessions/a") == 503
        redis.start()
        wait_for(lambda: api.status("GET", "/v1/sessions/a") == 200, 10)
        assert api.ask("GET", "/v1/sessions/a")[2] == b"1"
        assert lethe.metrics().get("lethe_state_api_breaker_open") == 0
        api.close()
    redis.kill9()


@pytest.mark.parametrize("options, word", [
    ({"state_api.profile": "express", "store": "sealed", "state_api.listen": "unix:/tmp/x"}, "state_api.profile: session content does not fit"),
    ({"state_api.profile": "express", "store": "redis://127.0.0.1:1/0"}, "state_api.listen: not given"),
    ({"state_api.profile": "express", "store": "redis://127.0.0.1:1/0", "state_api.listen": "0.0.0.0:7070"}, "only the application beside"),
    ({"state_api.profile": "expresso"}, "express"),
    ({"state_api.allow_uids": "www-data"}, "numeric user id"),
])
def test_configuration_errors(options, word):
    done = run_cli("check", "--upstream=127.0.0.1:1", *[f"--{k}={v}" for k, v in options.items()])
    assert done.returncode == 2 and word in done.stderr, done.stderr
