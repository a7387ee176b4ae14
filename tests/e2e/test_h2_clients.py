# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 clients that others wrote: curl, nghttp, h2load."""
import hashlib
import shutil
import subprocess

import pytest

from h2_rig import start
from rig import App, answer

LARGE = bytes(range(256)) * 20000  # 5 MB


@pytest.fixture(name="app", scope="module")
def fixture_app():
    with App() as app:
        app.on("/large", answer(LARGE))
        app.on("/echo")(lambda conn, head: conn.send(answer(conn.body(head).body)) and None)
        app.on("/trailers", b"HTTP/1.1 200 OK\r\nTrailer: x-sum\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 42\r\n\r\n")
        yield app


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(app):
    with start(app) as proxy:
        yield proxy


def run(*argv, data=None):
    path = shutil.which(argv[0])
    assert path, f"{argv[0]} is not installed (apt install {'curl' if argv[0] == 'curl' else 'nghttp2-client'})"
    done = subprocess.run([path, *argv[1:]], input=data, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0, f"{argv}: exit code {done.returncode}\n{done.stderr.decode()}\n{done.stdout[-2000:]!r}"
    return done


def curl(*argv, data=None):
    return run("curl", "-sS", "--http2-prior-knowledge", "--noproxy", "*", *argv, data=data).stdout


def test_curl(proxy):
    out = curl("-i", f"http://{proxy.address}/")
    assert out.startswith(b"HTTP/2 200") and out.endswith(b"\r\n\r\nok\n"), out


def test_curl_head(proxy):
    out = curl("-I", f"http://{proxy.address}/large")
    assert out.startswith(b"HTTP/2 200") and b"content-length: %d" % len(LARGE) in out


def test_curl_downloads_and_uploads(proxy):
    assert hashlib.sha256(curl(f"http://{proxy.address}/large")).digest() == hashlib.sha256(LARGE).digest()
    for how in (["--data-binary", "@-"], ["-T", "-"], ["-T", "-", "-H", "Expect: 100-continue"]):
        out = curl(*how, f"http://{proxy.address}/echo", data=LARGE)
        assert hashlib.sha256(out).digest() == hashlib.sha256(LARGE).digest(), how


def test_curl_in_parallel(proxy, tmp_path):
    """On connections of their own: curl 7.88 fails to share one that begins by prior knowledge, with every server."""
    urls = [w for i in range(50) for w in (f"http://{proxy.address}/large?{i}", "-o", str(tmp_path / str(i)))]
    curl("--parallel", "--parallel-immediate", "--parallel-max", "50", *urls)
    for i in range(50):
        assert (tmp_path / str(i)).read_bytes() == LARGE, f"download {i}"


def test_curl_trailers(proxy):
    assert b"x-sum: 42" in curl("-i", f"http://{proxy.address}/trailers")


def test_curl_by_http_1_and_2(proxy):
    for version, start_line in (("--http1.1", b"HTTP/1.1 200"), ("--http2-prior-knowledge", b"HTTP/2 200")):
        out = run("curl", "-sS", version, "--noproxy", "*", "-i", f"http://{proxy.address}/").stdout
        assert out.startswith(start_line), out


def test_nghttp(proxy):
    out = run("nghttp", "-nv", f"http://{proxy.address}/", f"http://{proxy.address}/large").stdout.decode()
    assert out.count(":status: 200") == 2 and "error" not in out.lower().replace("error_code=no_error", ""), out[-3000:]


def test_nghttp_uploads_with_trailers(proxy, tmp_path, app):
    (tmp_path / "data").write_bytes(LARGE)
    out = run("nghttp", "-d", str(tmp_path / "data"), "--trailer=x-sum: 42", "-H:method: POST", f"http://{proxy.address}/echo").stdout
    assert hashlib.sha256(out).digest() == hashlib.sha256(LARGE).digest()
    assert app.seen("/echo")[-1].body == LARGE


LOADS = ["-n1000 -c10 -m100", "-n1000 -c1 -m1", "-n500 -c100 -m10", "-n200 -c5 -m20 -w10 -W12"]  # the last one has small windows


@pytest.mark.parametrize("how", LOADS)
def test_h2load(how, proxy):
    out = run("h2load", *how.split(), f"http://{proxy.address}/").stdout.decode()
    count = how.split()[0][2:]
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in out, out
    assert f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in out, out


def test_h2load_large_answers(proxy):
    out = run("h2load", "-n60", "-c3", "-m20", f"http://{proxy.address}/large").stdout.decode()
    assert "60 succeeded, 0 failed, 0 errored, 0 timeout" in out, out


def test_h2load_uploads(proxy, tmp_path):
    (tmp_path / "data").write_bytes(LARGE[:200000])
    out = run("h2load", "-n200", "-c4", "-m20", "-d", str(tmp_path / "data"), f"http://{proxy.address}/echo").stdout.decode()
    assert "200 succeeded, 0 failed, 0 errored, 0 timeout" in out, out
