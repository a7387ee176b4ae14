# SPDX-License-Identifier: Apache-2.0
"""Affinity cookies and route suffixes: what would tie a client to one replica is taken out, everything else passes byte for byte."""
import pytest

from session_rig import keys

from rig import App, Lethe, Redis, answer

# FACTS section 1: cookie, a value as the product makes it, does the product's name stand alone (so that both ways are stripped)
HEX64 = "0123456789abcdef" * 4
PRODUCTS = [
    ("AWSALB", "V8jLqyJ0sG5C1xkqPO0r2VhL4vZ6Ww=="), ("AWSALBCORS", "V8jLqyJ0sG5C1xkqPO0r2VhL4vZ6Ww=="), ("AWSALBTG", "x7Zp"), ("AWSALBTGCORS", "x7Zp"),
    ("AWSALBAPP-0", "_remove_"), ("AWSALBAPP-1", "_remove_"), ("AWSALBAPP-2", "AAAA"), ("AWSALBAPP-3", "AAAA"),
    ("AWSELB", "C9B1D3"), ("AWSELBCORS", "C9B1D3"),
    ("GCLB", '"8f1d2a"'), ("GCILB", '"8f1d2a"'),
    ("ARRAffinity", HEX64), ("ARRAffinitySameSite", HEX64), ("ApplicationGatewayAffinity", HEX64[:32]),
    ("ApplicationGatewayAffinityCORS", HEX64[:32]), ("AGCAffinity", "x"), ("ASLBSA", HEX64), ("ASLBSACORS", HEX64),
    ("__cflb", "02DiuHMcUE5Bx"), ("akaalb_www", "1700000000~op=x:y|~rv=12~m=x~os=y~id=z"), ("nlbi_1234", "abcdef=="),
    ("X-Oracle-BMC-LBS-Route", "0a1b2c"), ("SERVERCORSID", "a|b|c"), ("DO-LB", "node-1|abc"), ("heroku-session-affinity", "AECDaANoA24"),
    ("__VCAP_ID__", "f4c1b5e2-2b6a-4e5a-9a54-6b9d8c2f1a00"), ("VCAP_ID", "f4c1b5e2"),
    ("INGRESSCOOKIE", "1700000000.123.45.678901|" + HEX64[:32]), ("X-Contour-Session-Affinity", '"8f1d"'),
    ("SOZUBALANCEID", "0"), (".Yarp.ReverseProxy.Affinity", "CfDJ8"), ("_passenger_route", "1234"), ("ROUTEID", ".node1"), ("BALANCEID", "balancer.node1"),
    ("BIGipServerpool_www", "1677787402.36895.0000"), ("BIGipServer~Common~pool", "!abc="), ("NSC_mc-wjq", "ffffffff0906"),
    ("BNI__BARRACUDA_LB_COOKIE", "000000"), ("BNI_persistence", "x"), ("sto-id-47873", "BAAD"), ("_1d52e", "http://10.42.0.5:80"),
    # names that anybody might use, with a value of the product's form
    ("SERVERID", HEX64[:32] + "|1700000000|1700000000"), ("route", "1700000000.123.45.678901|" + HEX64[:32]), ("route", HEX64[:40]), ("lb", HEX64),
]
# Names too common to be taken out for their name alone.
COMMON = [("SERVERID", "a"), ("route", "home"), ("lb", "left"), ("_ga12x", "GA1.2.3"), ("_abcdeg", "x"), ("ROUTEID", "7"), (HEX64[:32], HEX64[32:]), ("SERVERID", HEX64[:32] + "|17|17"), ("lb", HEX64[:63]), ("server", "x"), ("AWSALBX", "x"),
          ("XAWSALB", "x"), ("awsalb", "x"), ("NSC", "x"), ("GCLBX", "x"), ("deadbeefdeadbeef", "x")]


class Sides:
    """lethe before an origin that answers with the lines it is told to."""

    def __init__(self, options=None):
        self.app, self.lines = App(), []
        self.app.on("/")(self._page)
        self.lethe = Lethe(self.app.address, options)

    def _page(self, conn, head):
        conn.body(head)
        conn.send(answer(headers="".join(line + "\r\n" for line in self.lines)))

    def ask(self, cookies=None, lines=(), fields=""):
        """(the Cookie fields at the origin, the Set-Cookie values at the client)."""
        self.lines = list(lines)
        r = self.lethe.get("/", (f"Cookie: {cookies}\r\n" if cookies else "") + fields)
        assert r.status == 200, r
        return self.app.heads[-1].all("cookie"), r.all("set-cookie")

    def stripped(self):
        """{(product, side): n} of the counters that are not 0."""
        samples = self.lethe.metrics().samples
        return {(dict(labels)["product"], dict(labels)["side"]): n for (name, labels), n in samples.items()
                if name == "lethe_sticky_stripped_total" and n}

    def stop(self):
        self.lethe.stop()
        self.app.stop()


@pytest.fixture(scope="module")
def sides():
    s = Sides()
    yield s
    s.stop()


@pytest.fixture
def sides_of():
    made = []

    def make(**options):
        made.append(Sides(options))
        return made[-1]
    yield make
    for s in made:
        s.stop()


def growth(before, after):
    return {k: n - before.get(k, 0) for k, n in after.items() if n != before.get(k, 0)}


@pytest.mark.parametrize("name, value", PRODUCTS, ids=[f"{p[0][:30]}-{i}" for i, p in enumerate(PRODUCTS)])
def test_affinity_cookie_is_stripped_both_ways(sides, name, value):
    before = sides.stripped()
    assert sides.ask(f"a=1; {name}={value}; b=2;c=3")[0] == ["a=1; b=2;c=3"]
    assert sides.ask(f"{name}={value}")[0] == []
    lines = [f"Set-Cookie: x=1; Path=/{name}", f"Set-Cookie: {name}={value}; Path=/; HttpOnly", "Set-Cookie:  y = 2 ;secure"]
    assert sides.ask(lines=lines)[1] == [f"x=1; Path=/{name}", "y = 2 ;secure"]
    grown = growth(before, sides.stripped())
    assert sorted((side, n) for (_, side), n in grown.items()) == [("request", 2), ("response", 1)], grown
    assert len({product for product, _ in grown}) == 1


@pytest.mark.parametrize("name, value", COMMON, ids=[f"{c[0][:30]}-{i}" for i, c in enumerate(COMMON)])
def test_common_names_pass(sides, name, value):
    before = sides.stripped()
    assert sides.ask(f"a=1; {name}={value};b=2")[0] == [f"a=1; {name}={value};b=2"]
    assert sides.ask(lines=[f"Set-Cookie: {name}={value}; Path=/"])[1] == [f"{name}={value}; Path=/"]
    assert sides.stripped() == before


def test_everything_else_passes_byte_for_byte(sides):
    rest = 'a=1;b="x; y" ;  c=; d; =e; $V=1;a=2'
    assert sides.ask(rest)[0] == [rest]
    assert sides.ask(f"AWSALB=x; {rest}; GCLB=y")[0] == [rest]
    assert "; ".join(sides.ask(fields="Cookie: a=1; AWSALB=x\r\nCookie: GCLB=y\r\nCookie: b=2\r\n")[0]) == "a=1; b=2"


NAMED = [("SERVERID", "s1"), ("route", "x"), ("MY_LB_3", "x"), ("lb", "y")]


@pytest.fixture(scope="module")
def named():
    s = Sides({"sticky.cookies": "SERVERID,route,MY_LB_*,lb"})
    yield s
    s.stop()


@pytest.mark.parametrize("name, value", NAMED, ids=[n[0] for n in NAMED])
def test_named_by_the_user(named, name, value):
    before = named.stripped()
    assert named.ask(f"a=1; {name}={value}; b=2")[0] == ["a=1; b=2"]
    assert named.ask(lines=[f"Set-Cookie: {name}={value}; Path=/", "Set-Cookie: z=1"])[1] == ["z=1"]
    assert growth(before, named.stripped()) == {("configured", "request"): 1, ("configured", "response"): 1}


def test_switched_off(sides_of):
    s = sides_of(**{"sticky.enabled": False})
    assert s.ask("AWSALB=x; a=1")[0] == ["AWSALB=x; a=1"]
    assert s.ask(lines=["Set-Cookie: AWSALB=x"])[1] == ["AWSALB=x"]


def test_balancer_in_front_is_reported_once(sides_of):
    s = sides_of()
    for _ in range(3):
        s.ask("AWSALB=x; BIGipServerweb=1.2.3")
    events = s.lethe.wait_event("sticky_balancer", count=2)
    assert len(events) == 2
    assert any("stickiness.enabled=false" in e["do"] for e in events) and any("persistence" in e["do"] for e in events)


def test_azure_is_told_to_stop(sides):
    sides.lines = []
    r = sides.lethe.get("/", f"Cookie: ARRAffinity={HEX64}\r\n")
    assert r.get("arr-disable-session-affinity") == "True"
    assert sides.lethe.get("/").get("arr-disable-session-affinity") is None


# --- routes in session ids ---

class Tomcat:
    """A raw origin that names itself in its session ids, and looks sessions up by the whole of them in a store that all share."""

    def __init__(self, node, store):
        self.node, self.store, self.app = node, store, App()
        for path in ("/new", "/page", "/url"):
            self.app.on(path)(self._page)

    def _page(self, conn, head):
        conn.body(head)
        given = dict(c.split("=", 1) for c in (head.get("cookie") or "").split("; ") if "=" in c).get("JSESSIONID", "")
        known = given.endswith("." + self.node) and given.split(".")[0] in self.store
        more = ""
        if not known:
            fresh = f"{len(self.store):032X}"
            self.store.add(fresh)
            more = f"Set-Cookie: JSESSIONID={fresh}.{self.node}; Path=/; HttpOnly\r\n"
            if head.target == "/url":
                more += f"Location: /page;jsessionid={fresh}.{self.node}?a=1\r\n"
        conn.send(answer(given or "none", headers=more))


class Tomcats:
    def __init__(self, directory, told):
        store = set()
        self.redis = Redis(directory / "redis")
        self.nodes = [Tomcat(f"node{i}", store) for i in (1, 2)]
        self.lethes = [Lethe(n.app.address, {"store": self.redis.url, "keys": keys(), **({"sticky.route": n.node} if told else {})})
                       for n in self.nodes]

    def ask(self, to, path="/page", token=None):
        r = self.lethes[to].get(path, f"Cookie: {token}\r\n" if token else "")
        given = [v.split(";")[0] for v in r.all("set-cookie")]
        assert ".node" not in r.raw.decode() and "JSESSIONID" not in r.raw.decode()
        return r.body.decode(), given[0] if given else token, r

    def stop(self):
        for x in [*self.lethes, *[n.app for n in self.nodes], self.redis]:
            x.stop()


@pytest.mark.parametrize("told", [True, False], ids=["told", "learned"])
def test_route_of_the_serving_instance(tmp_path, told):
    t = Tomcats(tmp_path, told)
    try:
        if not told:  # each has answered somebody
            t.ask(0, "/new")
            t.ask(1, "/new")
        _, token, _ = t.ask(0, "/new")
        assert token.startswith("lethe=")
        ids = [t.ask(i % 2, token=token) for i in range(6)]
        assert [i[1] for i in ids] == [token] * 6, "a new session: the old one was not found"
        assert [i[0].split(".")[1] for i in ids] == ["node1", "node2"] * 3
        assert len({i[0].split(".")[0] for i in ids}) == 1
    finally:
        t.stop()


def test_route_in_location_is_cut_off(tmp_path):
    t = Tomcats(tmp_path, True)
    try:
        assert t.ask(0, "/url")[2].get("location") == "/page?a=1"
    finally:
        t.stop()


def test_session_is_lost_when_routes_are_left_alone(tmp_path):
    """The negative control: without sticky the other instance does not find the session."""
    store = set()
    redis = Redis(tmp_path / "redis")
    nodes = [Tomcat(f"node{i}", store) for i in (1, 2)]
    lethes = [Lethe(n.app.address, {"store": redis.url, "keys": keys(), "sticky.enabled": False}) for n in nodes]
    try:
        token = lethes[0].get("/new").get("set-cookie").split(";")[0]
        assert lethes[1].get("/page", f"Cookie: {token}\r\n").get("set-cookie") is not None
    finally:
        for x in [*lethes, *[n.app for n in nodes], redis]:
            x.stop()
