# SPDX-License-Identifier: Apache-2.0
"""Affinity cookies and route suffixes: what would tie a client to one replica is taken out, everything else passes byte for byte."""
import pytest

from rig import App, Lethe, answer

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
    ("BNI__BARRACUDA_LB_COOKIE", "000000"), ("BNI_persistence", "x"), ("sto-id-47873", "BAAD"),
]
# Names too common to be taken out for their name alone.
COMMON = [("SERVERID", "a"), ("route", "home"), ("lb", "left"), ("_ga12x", "GA1.2.3"), ("_abcde", "my value"), ("server", "x"), ("AWSALBX", "x"),
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


@pytest.mark.parametrize("name, value", PRODUCTS, ids=[p[0] for p in PRODUCTS])
def test_affinity_cookie_is_stripped_both_ways(sides, name, value):
    before = sides.stripped()
    assert sides.ask(f"a=1; {name}={value}; b=2;c=3")[0] == ["a=1; b=2;c=3"]
    assert sides.ask(f"{name}={value}")[0] == []
    lines = [f"Set-Cookie: x=1; Path=/{name}", f"Set-Cookie: {name}={value}; Path=/; HttpOnly", "Set-Cookie:  y = 2 ;secure"]
    assert sides.ask(lines=lines)[1] == [f"x=1; Path=/{name}", "y = 2 ;secure"]
    grown = growth(before, sides.stripped())
    assert sorted((side, n) for (_, side), n in grown.items()) == [("request", 2), ("response", 1)], grown
    assert len({product for product, _ in grown}) == 1


@pytest.mark.parametrize("name, value", COMMON, ids=[c[0] for c in COMMON])
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


@pytest.mark.parametrize("name, value", [("SERVERID", "s1"), ("route", "1700000000.123.45.678901|" + HEX64[:32]), ("MY_LB_3", "x"), ("lb", "y")])
def test_named_by_the_user(sides_of, name, value):
    s = sides_of(**{"sticky.cookies": "SERVERID,route,MY_LB_*,lb"})
    assert s.ask(f"a=1; {name}={value}; b=2")[0] == ["a=1; b=2"]
    assert s.ask(lines=[f"Set-Cookie: {name}={value}; Path=/", "Set-Cookie: z=1"])[1] == ["z=1"]
    assert sum(s.stripped().values()) == 2
