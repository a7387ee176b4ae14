# SPDX-License-Identifier: Apache-2.0
"""HTTP/2 over TLS, agreed on by ALPN: frame by frame, with clients that others wrote (curl, h2load), and in a browser."""
import base64
import hashlib
import os
import signal
import ssl
import subprocess
import threading

import pytest
from cluster_rig import keys
from h2_frames import INITIAL_WINDOW_SIZE
from h2_rig import H2
from test_h2_clients import LARGE, run
from test_h2_websocket import switch
from tls_rig import Site, context, secure

from rig import App, answer, wait_for


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Site(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pem(authority):
    return authority.pem("site")


@pytest.fixture(name="app")
def fixture_app():
    with App() as app:
        app.go = threading.Event()

        @app.on("/own")
        def _(conn, head):
            """As much of its own number as the query asks for: ?7,1000."""
            number, size = map(int, head.target.split("?")[1].split(","))
            conn.body(head)
            conn.send(answer(own(number, size)))

        @app.on("/halves")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            app.go.wait(30)
            conn.send(b"6\r\nsecond\r\n0\r\n\r\n")
        app.on("/echo")(lambda conn, head: conn.send(answer(conn.body(head).body)) and None)
        app.on("/large", answer(LARGE))
        yield app
        app.go.set()


def own(number, size):
    return (f"<{number}>".encode() * size)[:size]


class Secured:
    """A TLS socket as H2 wants one: it reads and writes without waiting, and says so as a plain socket does."""

    def __init__(self, sock, ctx):
        sock.setblocking(True)
        self.sock = ctx.wrap_socket(sock, server_hostname="site.test", suppress_ragged_eofs=False)
        self.sock.setblocking(False)
        self.ended = None  # how the other side ended it: "close_notify" or "cut"

    def __getattr__(self, name):
        return getattr(self.sock, name)

    def send(self, data):
        try:
            return self.sock.send(data)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            raise BlockingIOError from None
        except ssl.SSLZeroReturnError:
            raise BrokenPipeError from None

    def recv(self, size):
        """Whole records, and so perhaps more than `size`: select() does not see what OpenSSL has read already."""
        got = b""
        while not self.ended and (len(got) < size or self.sock.pending()):
            try:
                piece = self.sock.recv(size)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                break
            except ssl.SSLEOFError:
                piece, self.ended = b"", "cut"
            if not piece:
                self.ended = self.ended or "close_notify"
            got += piece
        if not got and not self.ended:
            raise BlockingIOError
        return got


class SecureH2(H2):
    """H2 over TLS."""

    def __init__(self, address, ctx, announce=None, **how):
        super().__init__(address, hello=False, **how)
        self.sock = Secured(self.sock, ctx)
        assert self.sock.selected_alpn_protocol() == "h2"
        self.hello(announce or {})

    def request(self, *args, scheme="https", **how):  # pylint: disable=arguments-differ
        return super().request(*args, scheme=scheme, **how)


@pytest.fixture(name="agreed")
def fixture_agreed(authority):
    return context(authority, alpn=["h2", "http/1.1"])


# --- frame by frame ---

@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_versions(lethe, app, authority, pem, version):
    """What the application is told is what HTTP/1.1 over TLS tells it."""
    l = secure(lethe, app, pem)
    with SecureH2(l.tls, context(authority, versions=version, alpn=["h2"])) as c:
        c.ready()
        assert [c.get("/seen").status for _ in range(3)] == [200] * 3
    m = app.seen("/seen")[-1]
    assert m.get("x-forwarded-proto") == "https" and "proto=https" in m.get("forwarded") and m.get("host") == "test.example"
    l.wait_metric(1, "lethe_tls_handshakes_total", result="full")


def test_a_client_cannot_say_that_it_is_secure(lethe, app, pem):
    """By prior knowledge on the plain listener, whatever :scheme says."""
    l = secure(lethe, app, pem)
    with H2(l.address) as c:
        assert c.ask("/plain", [("x-forwarded-proto", "https")], scheme="https").status == 200
    assert app.seen("/plain")[-1].all("x-forwarded-proto") == ["http"]


def test_parallel_requests_get_their_own_bytes(lethe, app, agreed, pem):
    """Sizes around those of a frame, of a TLS record and of a window, all at once and again."""
    l = secure(lethe, app, pem)
    sizes = [0, 1, 1000, 16383, 16384, 16385, 65535, 65536, 300000, 1 << 20]
    with SecureH2(l.tls, agreed) as c:
        for _ in range(3):
            asked = {c.request(f"/own?{n},{size}"): own(n, size) for n, size in enumerate(sizes * 4)}
            for stream, expected in asked.items():
                s = c.response(stream)
                assert s.status == 200 and s.ended and bytes(s.body) == expected, s
        c.alive()


def test_uploads_and_downloads_in_parallel(lethe, app, agreed, pem):
    l = secure(lethe, app, pem)
    bodies = [os.urandom(size) for size in (1, 16384, 70001, 500000)] * 3
    with SecureH2(l.tls, agreed) as c:
        streams = [c.request("/echo", method="POST", body=body) for body in bodies]
        for stream, body in zip(streams, bodies):
            assert bytes(c.response(stream).body) == body


def test_an_answer_is_passed_on_as_it_comes(lethe, app, agreed, pem):
    l = secure(lethe, app, pem)
    with SecureH2(l.tls, agreed) as c:
        stream = c.request("/halves")
        s = c.streams[stream]
        c.until(lambda: s.body == b"first", what="the half that is there")
        assert not s.ended
        app.go.set()
        assert c.response(stream).body == b"firstsecond"


@pytest.mark.parametrize("verify", ["require", "optional"])
def test_the_client_certificate_is_told(lethe, app, authority, tmp_path_factory, pem, verify):
    """On every stream, and not what the client says itself."""
    clients = Site(tmp_path_factory.mktemp("clients"), "clients")
    l = secure(lethe, app, pem, tls_client_ca=clients.cert, tls_client_verify=verify)
    mine = clients.client("ada", "/C=DE/O=Example, Inc./CN=Ada")
    with SecureH2(l.tls, context(authority, mine, alpn=["h2"])) as c:
        for stream in [c.request("/who", [("x-client-subject", "CN=Eve"), ("x_client_subject", "CN=Eve")]) for _ in range(5)]:
            assert c.response(stream).status == 200
    seen = [[v for n, v in m.headers if n.lower().replace("_", "-") == "x-client-subject"] for m in app.seen("/who")]
    assert seen == [["CN=Ada,O=Example\\, Inc.,C=DE"]] * 5
    if verify == "optional":
        with SecureH2(l.tls, context(authority, alpn=["h2"])) as c:
            assert c.get("/none", ("x-client-subject", "CN=Eve")).status == 200
        assert not app.seen("/none")[-1].all("x-client-subject")


def test_drain(lethe, app, agreed, pem):
    """What runs is served; then GOAWAY, and TLS' own word that nothing was cut off."""
    l = secure(lethe, app, pem)
    with SecureH2(l.tls, agreed) as c, SecureH2(l.tls, agreed) as idle:
        idle.alive()
        stream = c.request("/halves")
        c.until(lambda: c.streams[stream].body == b"first", what="half an answer")
        l.signal(signal.SIGTERM)
        for each in (idle, c):
            each.until(lambda e=each: e.goaways, what="GOAWAY")
        assert not c.streams[stream].over
        app.go.set()
        assert c.response(stream).body == b"firstsecond"
        for each in (idle, c):
            each.until(lambda: False, 30, "the end", or_end=True)
            assert {code for _, code, _ in each.goaways} == {"NO_ERROR"} and each.goaways[-1][0] < 0x7fffffff, each.goaways
            assert each.sock.ended == "close_notify"
    assert l.process.wait(30) == 0


def test_a_connection_that_is_cut_ends_what_runs(lethe, app, agreed, pem):
    """No close_notify, no GOAWAY: a client that is gone. The application sees it, and lethe serves others."""
    gone = threading.Event()

    @app.on("/listens")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n")
        if conn.sock.recv(1) == b"":
            gone.set()
        return False
    l = secure(lethe, app, pem)
    with SecureH2(l.tls, agreed) as c:
        stream = c.request("/listens")
        c.until(lambda: c.streams[stream].body == b".", what="its first byte")
    assert gone.wait(20)
    with SecureH2(l.tls, agreed) as c:
        c.alive()


def test_a_slow_reader(lethe, app, agreed, pem):
    """Wide windows and a narrow socket: records wait in lethe until they are taken, and come whole."""
    l = secure(lethe, app, pem)
    with SecureH2(l.tls, agreed, {INITIAL_WINDOW_SIZE: 1 << 20}, rcvbuf=4096) as c:
        c.ready()
        c.give(0, 4 << 20)
        streams = [c.request(f"/own?{n},400000") for n in range(8)]
        wait_for(lambda: len(app.seen("/own")) == 8, 20, "all requests at the application")
        for n, stream in enumerate(streams):
            assert bytes(c.response(stream).body) == own(n, 400000)


# --- curl, h2load ---

def curl(authority, *argv, data=None):
    return run("curl", "-sS", "--http2", "--noproxy", "*", "--cacert", authority.cert, *argv, data=data).stdout


def test_curl(lethe, app, authority, pem):
    l = secure(lethe, app, pem)
    out = curl(authority, "-i", f"https://{l.tls}/")
    assert out.startswith(b"HTTP/2 200") and out.endswith(b"\r\n\r\nok\n"), out
    out = run("curl", "-sS", "--http1.1", "--noproxy", "*", "--cacert", authority.cert, "-i", f"https://{l.tls}/").stdout
    assert out.startswith(b"HTTP/1.1 200"), out


def test_curl_downloads_and_uploads(lethe, app, authority, pem):
    l = secure(lethe, app, pem)
    assert hashlib.sha256(curl(authority, f"https://{l.tls}/large")).digest() == hashlib.sha256(LARGE).digest()
    for how in (["--data-binary", "@-"], ["-T", "-"]):
        out = curl(authority, *how, f"https://{l.tls}/echo", data=LARGE)
        assert hashlib.sha256(out).digest() == hashlib.sha256(LARGE).digest(), how


def test_curl_in_parallel_on_one_connection(lethe, app, authority, pem, tmp_path):
    l = secure(lethe, app, pem)
    urls = [w for i in range(40) for w in (f"https://{l.tls}/own?{i},{i * 5000}", "-o", str(tmp_path / str(i)))]
    told = curl(authority, "--parallel", "--parallel-max", "40", "-w", "%{http_version} %{num_connects}\n", *urls).decode().split()
    assert told[::2] == ["2"] * 40 and sum(map(int, told[1::2])) < 40, told
    for i in range(40):
        assert (tmp_path / str(i)).read_bytes() == own(i, i * 5000), f"download {i}"


@pytest.mark.parametrize("how", ["-n2000 -c10 -m100", "-n300 -c1 -m1", "-n500 -c50 -m10", "-n200 -c5 -m20 -w10 -W12"])
def test_h2load(lethe, app, pem, how):
    l = secure(lethe, app, pem)
    out = run("h2load", *how.split(), f"https://{l.tls}/").stdout.decode()
    count = how.split()[0][2:]
    assert "Application protocol: h2\n" in out, out
    assert f"{count} succeeded, 0 failed, 0 errored, 0 timeout" in out and f"status codes: {count} 2xx, 0 3xx, 0 4xx, 0 5xx" in out, out


def test_h2load_large_answers(lethe, app, pem):
    l = secure(lethe, app, pem)
    out = run("h2load", "-n60", "-c3", "-m20", f"https://{l.tls}/large").stdout.decode()
    assert "60 succeeded, 0 failed, 0 errored, 0 timeout" in out, out


# --- a browser ---

def page(text):
    return answer(f"<!doctype html><title>page</title>{text}", headers="Content-Type: text/html\r\n")


PARTS = 12
PAGE = "".join(f"<script src='/part?{n}'></script>" for n in range(PARTS)) + (
    "<link rel=stylesheet href='/style.css'><img src='/dot.svg'><form method=post action='/login'><input name=who value=ada></form>")


@pytest.fixture(name="shop")
def fixture_shop(app):
    """A page with parts; a login that is remembered in memory by a cookie; a WebSocket."""
    app.on("/page", page(PAGE))
    app.on("/style.css", answer("body { color: rgb(1, 2, 3) }", headers="Content-Type: text/css\r\n"))
    app.on("/dot.svg", answer("<svg xmlns='http://www.w3.org/2000/svg' width='7' height='7'/>", headers="Content-Type: image/svg+xml\r\n"))
    app.on("/favicon.ico", answer("", "404 Not Found"))

    @app.on("/part")
    def _(conn, head):
        number = head.target.split("?")[1]
        conn.body(head)
        conn.send(answer(f"window.parts = (window.parts || 0) + 1; window.part{number} = {number};" + " " * 30000,
                         headers="Content-Type: text/javascript\r\n"))

    @app.on("/login")
    def _(conn, head):
        who = conn.body(head).body.decode().partition("who=")[2]
        app.known = {"s%3Aapplication-own-id": who}
        conn.send(answer("", "302 Found", "Location: /account\r\nSet-Cookie: connect.sid=s%3Aapplication-own-id; Path=/; HttpOnly\r\n"))

    @app.on("/account")
    def _(conn, head):
        conn.body(head)
        cookie = dict(c.split("=", 1) for c in head.get("cookie", "=").split("; ")).get("connect.sid")
        conn.send(page(f"<p id=who>{getattr(app, 'known', {}).get(cookie, 'nobody')}</p>"))

    @app.on("/socket")
    def _(conn, head):
        switch(conn, head)
        size = conn.sock.recv(2, 0x100)[1] & 127  # MSG_WAITALL; a short frame, masked as every client's
        mask, text = conn.sock.recv(4, 0x100), conn.sock.recv(size, 0x100)
        told = bytes(b ^ mask[i % 4] for i, b in enumerate(text)).upper()
        conn.send(b"\x81" + bytes([len(told)]) + told + b"\x88\x02\x03\xe8")
        conn.reader.fill()
        return False
    return app


def key_pin(authority, name="site"):
    """What --ignore-certificate-errors-spki-list knows the certificate by."""
    done = subprocess.run(["openssl", "pkey", "-in", os.path.join(authority.dir, f"{name}.key"), "-pubout", "-outform", "DER"],
                          stdout=subprocess.PIPE, check=True)
    return base64.b64encode(hashlib.sha256(done.stdout).digest()).decode()


@pytest.fixture(name="browser", scope="module")
def fixture_browser(authority, pem):
    pytest.importorskip("websocket", reason="no python3-websocket")
    from browser_rig import Chromium, find_chromium  # pylint: disable=import-outside-toplevel
    if not find_chromium():
        pytest.skip("no chromium")
    assert pem
    with Chromium(f"--ignore-certificate-errors-spki-list={key_pin(authority)}") as browser:
        yield browser


@pytest.fixture(name="secured")
def fixture_secured(lethe, shop, pem):
    """lethe with TLS before the shop; its store is the client."""
    return secure(lethe, shop, pem, store="sealed", keys=keys())


SPOKEN = "performance.getEntriesByType('{}').map(e => e.nextHopProtocol)"


def listened(tab):
    """The tab, with all that DevTools tells from now on in .told."""
    note, tab.told = tab.note, []
    tab.note = lambda message: (tab.told.append(message), note(message))
    return tab


def responses(tab, method="Network.responseReceived"):
    return [m["params"]["response"] for m in tab.told if m.get("method") == method]


def opened(browser, l, path="/page"):
    tab = listened(browser.tab())
    tab.open(f"https://{l.tls}{path}")
    assert tab.js(SPOKEN.format("navigation")) == ["h2"]
    return tab


def test_a_page_with_its_parts(browser, secured, shop):
    tab = opened(browser, secured)
    assert tab.js("window.parts") == PARTS and all(tab.js(f"window.part{n}") == n for n in range(PARTS))
    assert tab.js("getComputedStyle(document.body).color") == "rgb(1, 2, 3)" and tab.js("document.images[0].naturalWidth") == 7
    spoken = tab.js(SPOKEN.format("resource"))
    assert len(spoken) >= PARTS + 2 and set(spoken) == {"h2"}, spoken
    assert {m.get("x-forwarded-proto") for m in shop.requests} == {"https"}
    assert not [e for e in tab.errors if "favicon" not in str(e)], tab.errors
    got = [r for r in responses(tab) if "favicon" not in r["url"]]
    assert len(got) == PARTS + 3 and len({r["connectionId"] for r in got}) == 1, got


def test_a_page_where_http2_is_off(browser, lethe, shop, pem):
    """The control: the same page says so when it is HTTP/1.1 that is spoken."""
    l = secure(lethe, shop, pem, http2="false")
    tab = browser.tab()
    tab.open(f"https://{l.tls}/page")
    assert tab.js(SPOKEN.format("navigation")) == ["http/1.1"] and tab.js("window.parts") == PARTS


def cookies_of(tab):
    return {c["name"]: c for c in tab.ask("Network.getCookies")["cookies"]}


def test_a_login_by_form(browser, secured, shop):
    """The browser holds a token of the __Host- kind, and the application gets its own cookie back: in the redirect, and in another tab."""
    tab = opened(browser, secured)
    tab.ask("Network.clearBrowserCookies")
    assert opened(browser, secured, "/account").js("document.getElementById('who').innerText") == "nobody"
    tab.js("document.forms[0].submit()")
    tab.wait_js("document.getElementById('who')?.innerText === 'ada'")
    assert tab.js(SPOKEN.format("navigation")) == ["h2"]
    held = cookies_of(tab)
    assert held and "connect.sid" not in held, held
    for name, cookie in held.items():
        assert name.startswith("__Host-") and cookie["secure"] and cookie["httpOnly"] and cookie["path"] == "/", cookie
        assert "application-own-id" not in cookie["value"]
    assert opened(browser, secured, "/account").js("document.getElementById('who').innerText") == "ada"
    assert shop.seen("/account")[-1].get("cookie") == "connect.sid=s%3Aapplication-own-id"
    assert shop.seen("/login")[-1].get("content-type") == "application/x-www-form-urlencoded"
    tab.ask("Network.clearBrowserCookies")


TALK = """new Promise((done, failed) => {
    const socket = new WebSocket(`wss://${location.host}/socket`), said = [];
    socket.onopen = () => socket.send('hello');
    socket.onmessage = e => said.push(e.data);
    socket.onclose = e => done([...said, e.code, e.wasClean]); })"""


def test_a_websocket(browser, secured, shop):
    """lethe announces extended CONNECT (RFC 8441), so it is a stream of the page's connection, and an Upgrade for the application."""
    tab = opened(browser, secured)
    assert tab.js(TALK) == ["HELLO", 1000, True]
    m = shop.seen("/socket")[-1]
    assert m.start == "GET /socket HTTP/1.1" and m.get("upgrade").lower() == "websocket" and m.get("origin") == f"https://{secured.tls}"
    assert m.get("x-forwarded-proto") == "https"
    assert [r["status"] for r in responses(tab, "Network.webSocketHandshakeResponseReceived")] == [200]  # by Upgrade it would be 101


def test_a_websocket_where_http2_is_off(browser, lethe, shop, pem):
    """The control, by HTTP/1.1's Upgrade."""
    l = secure(lethe, shop, pem, http2="false")
    tab = listened(browser.tab())
    tab.open(f"https://{l.tls}/page")
    assert tab.js(TALK) == ["HELLO", 1000, True]
    assert [r["status"] for r in responses(tab, "Network.webSocketHandshakeResponseReceived")] == [101]


def test_an_answer_that_streams(browser, secured, shop):
    """The page reads what is there while the rest is not."""
    tab = opened(browser, secured)
    tab.js("""void (async () => {
        window.said = '';
        const reader = (await fetch('/halves')).body.getReader();
        for (let r; !(r = await reader.read()).done;) window.said += new TextDecoder().decode(r.value);
        window.over = true; })()""")
    tab.wait_js("window.said === 'first'")
    assert not tab.js("!!window.over")
    shop.go.set()
    tab.wait_js("window.over === true && window.said === 'firstsecond'")


def test_a_request_that_streams(browser, secured, shop):
    """Chromium does that with HTTP/2 only."""
    tab = opened(browser, secured)
    size = tab.js("""(async () => {
        let left = 40;
        const body = new ReadableStream({ pull(c) { left-- ? c.enqueue(new Uint8Array(50000).fill(left)) : c.close(); } });
        return (await (await fetch('/echo', { method: 'POST', body, duplex: 'half' })).arrayBuffer()).byteLength; })()""")
    assert size == 40 * 50000
    assert shop.seen("/echo")[-1].body == b"".join(bytes([n]) * 50000 for n in reversed(range(40)))


def test_what_a_page_gives_up_is_reset(browser, secured, shop):
    """fetch() that is aborted ends its stream alone: the application sees it, and the connection serves on."""
    gone = threading.Event()

    @shop.on("/long")
    def _(conn, head):
        conn.body(head)
        conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n.\r\n")
        if conn.sock.recv(1) == b"":
            gone.set()
        return False
    tab = opened(browser, secured)
    assert tab.js("""(async () => {
        const stop = new AbortController(), answer = await fetch('/long', { signal: stop.signal });
        await answer.body.getReader().read();
        stop.abort();
        return (await fetch('/own?3,9')).text(); })()""") == "<3><3><3>"
    wait_for(gone.is_set, 20, "the application sees that nobody listens")
    used = {r["connectionId"] for r in responses(tab) if r["url"].endswith(("/page", "/long", "/own?3,9"))}
    assert len(used) == 1, responses(tab)
