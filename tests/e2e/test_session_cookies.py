# SPDX-License-Identifier: Apache-2.0
"""Cookies byte by byte, both ways: the application's session cookies stay on this side, all others pass as they are."""
import re

import pytest
from session_rig import TOKEN, keys

from rig import App, Lethe, Redis, answer

TOKEN_LINE = re.compile(rb"Set-Cookie: lethe=([A-Za-z0-9_-]{43}); Path=/; HttpOnly; SameSite=Lax((?:; Max-Age=[0-9]+)?)\Z", re.I)


class Jar:
    """lethe without a carrier before a raw origin that sets the cookies it is told to."""

    def __init__(self, directory, store, options=None):
        self.redis = Redis(directory / "redis") if store == "redis" else None
        self.app = App()
        self.lethe = Lethe(self.app.address, {"store": self.redis.url if self.redis else "sealed", "keys": keys(), **(options or {})})

    def ask(self, cookies="", answer_lines=(), path="/page", fields=None):
        """One request with these Cookie fields: (the Cookie fields that the application got, the answer)."""
        heads = []

        def page(conn, head):
            conn.body(head)
            heads.append(head)
            conn.send(answer(headers="".join(line + "\r\n" for line in answer_lines)))
        self.app.routes = {path.split("?")[0].split(";")[0]: page}
        fields = [f"Cookie: {cookies}"] if fields is None and cookies else fields or []
        r = self.lethe.get(path, "".join(f + "\r\n" for f in fields))
        assert len(heads) == 1, r
        return heads[0].all("cookie"), r

    def log_in(self, *lines):
        """The token's value, after an answer that sets these cookies."""
        _, r = self.ask(answer_lines=lines or ("Set-Cookie: PHPSESSID=first; path=/",))
        return token_of(r)

    def stop(self):
        try:
            self.lethe.stop()
            self.app.stop()
        finally:
            if self.redis:
                self.redis.stop()


def set_cookie_lines(r):
    return [line for line in r.lines if line.lower().startswith(b"set-cookie:")]


def token_of(r):
    found = [m.group(1).decode() for m in map(TOKEN_LINE.match, set_cookie_lines(r)) if m]
    assert len(found) == 1, r.lines
    return found[0]


@pytest.fixture(scope="module")
def jar(tmp_path_factory):
    j = Jar(tmp_path_factory.mktemp("jar"), "redis")
    yield j
    j.stop()


@pytest.fixture
def jar_of(tmp_path_factory):
    made = []

    def make(store="redis", options=None):
        made.append(Jar(tmp_path_factory.mktemp("jar"), store, options))
        return made[-1]
    yield make
    for j in made:
        j.stop()


# --- requests ---

UNTOUCHED = [
    "a=1", "a=1; b=2", "a=1;b=2", "a=1;  b=2 ;c=3", "a", "a=; =b; =", 'q="x; y"', "a=1; a=2; a=1", "x=%20+/?&=="
    , "PHPSESSID2=x; XPHPSESSID=y", "phpsessid=z", "lethe2=x; xlethe=y; LETHE=z", "a=1;", ";a=1", "a=1;;b=2", "  a=1", "$Version=1; a=b",
    "theme=dark; consent=eyJhIjoxfQ==; _ga=GA1.2.3.4",
]


@pytest.mark.parametrize("text", UNTOUCHED)
def test_other_cookies_pass_untouched(jar, text):
    assert jar.ask(text)[0] == [text.strip()]


@pytest.mark.parametrize("text, left", [
    ("PHPSESSID=evil", []),
    ("a=1; PHPSESSID=evil; b=2", ["a=1; b=2"]),
    ("PHPSESSID=evil; a=1;b=2", ["a=1;b=2"]),
    ("a=1;b=2;JSESSIONID=evil", ["a=1;b=2"]),
    ("a=1;PHPSESSID=evil;  b=2", ["a=1;  b=2"]),
    ("a=1; PHPSESSID=evil; PHPSESSID=evil2; connect.sid=s%3Ax; b", ["a=1; b"]),
    ("PHPSESSID = evil; a=1", ["a=1"]),
    ("PHPSESSID; a=1", ["PHPSESSID; a=1"]),  # no "=": a cookie without a name
    ('PHPSESSID="quoted"; a=1', ["a=1"]),
    ("lethe=unknown; a=1", ["a=1"]),
    ("__Host-lethe=unknown; a=1", ["a=1"]),
    ("lethe=a; lethe=b; __Host-lethe=c", []),
])
def test_session_cookies_of_the_client_are_taken_out(jar, text, left):
    assert jar.ask(text)[0] == left


def test_several_cookie_fields(jar):
    got, _ = jar.ask(fields=["Cookie: a=1; PHPSESSID=evil", "Cookie: PHPSESSID=evil2", "Cookie: b=2"])
    assert "; ".join(got) == "a=1; b=2"


def test_jar_is_put_back_behind_the_others(jar):
    token = jar.log_in()
    assert jar.ask(f"{TOKEN}={token}")[0] == ["PHPSESSID=first"]
    assert jar.ask(f"a=1;{TOKEN}={token};b=2 ; c=3")[0] == ["a=1;b=2 ; c=3; PHPSESSID=first"]
    assert jar.ask(f"PHPSESSID=evil; {TOKEN}={token}")[0] == ["PHPSESSID=first"]
    got, _ = jar.ask(fields=["Cookie: a=1", f"Cookie: {TOKEN}={token}", "Cookie: b=2"])
    assert sorted("; ".join(got).split("; ")) == ["PHPSESSID=first", "a=1", "b=2"] and "a=1; " in "; ".join(got)


def test_jar_keeps_paths(jar):
    token = jar.log_in("Set-Cookie: JSESSIONID=a; Path=/shop", "Set-Cookie: JSESSIONID=b; Path=/")
    assert jar.ask(f"{TOKEN}={token}", path="/page")[0] == ["JSESSIONID=b"]
    both = jar.ask(f"{TOKEN}={token}", path="/shop/x")[0]
    assert sorted(both[0].split("; ")) == ["JSESSIONID=a", "JSESSIONID=b"]
    assert jar.ask(f"{TOKEN}={token}", path="/shopping")[0] == ["JSESSIONID=b"]


@pytest.mark.parametrize("value", ["s%3Aabc.d%2Fe%3D", 's:abc.d/e=', '"quoted"', "a=b=c", "x" * 3000])
def test_jar_keeps_values_byte_for_byte(jar, value):
    token = jar.log_in(f"Set-Cookie: connect.sid={value}; Path=/; HttpOnly")
    assert jar.ask(f"{TOKEN}={token}")[0] == [f"connect.sid={value}"]


# --- answers ---

ANSWER = ["Set-Cookie: theme=dark; Path=/; Expires=Wed, 21 Oct 2099 07:28:00 GMT", "set-cookie:  odd = value ;  PATH=/x",
          "Set-Cookie: theme=light", 'SET-COOKIE: q="a;b"', "Set-Cookie: flag", "Set-Cookie: =nameless", "Set-Cookie: empty=",
          "Set-Cookie: PHPSESSIDX=x; SameSite=None; Secure; Partitioned"]


def test_other_cookies_of_the_answer_pass_untouched(jar):
    _, r = jar.ask(answer_lines=ANSWER)
    wanted = [re.sub(r":\s*", ": ", line, count=1).strip().lower() for line in ANSWER]
    assert [re.sub(rb":\s*", b": ", line, count=1).strip().decode().lower() for line in set_cookie_lines(r)] == wanted
    values = [line.split(":", 1)[1].strip() for line in ANSWER]
    assert [v for n, v in r.headers if n.lower() == "set-cookie"] == values


def test_session_cookies_of_the_answer_stay_here(jar):
    lines = [ANSWER[0], "Set-Cookie: PHPSESSID=secret; path=/", ANSWER[1], "set-cookie: JSESSIONID=secret2; Path=/; HttpOnly", ANSWER[2]]
    _, r = jar.ask(answer_lines=lines)
    token_of(r)
    assert b"secret" not in r.raw
    others = [v for n, v in r.headers if n.lower() == "set-cookie" and not v.startswith(f"{TOKEN}=")]
    assert others == [line.split(":", 1)[1].strip() for line in ANSWER[:3]]


@pytest.mark.parametrize("attribute, kept", [("Max-Age=3600", True), ("Expires=Wed, 21 Oct 2099 07:28:00 GMT", True), ("Path=/", False)])
def test_token_lasts_as_long_as_the_applications_cookie(jar, attribute, kept):
    _, r = jar.ask(answer_lines=[f"Set-Cookie: PHPSESSID=x; {attribute}"])
    m = [TOKEN_LINE.match(line) for line in set_cookie_lines(r)][0]
    assert bool(m.group(2)) == kept
    if attribute == "Max-Age=3600":
        assert 3590 <= int(m.group(2).split(b"=")[1]) <= 3600


@pytest.mark.parametrize("line", ["Set-Cookie: PHPSESSID=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/",
                                  "Set-Cookie: PHPSESSID=; Max-Age=0; Path=/", "Set-Cookie: PHPSESSID=x; Expires=Thu, 01 Jan 1970 00:00:00 GMT; path=/"])
def test_taking_the_cookie_back_ends_the_session(jar, line):
    token = jar.log_in()
    _, r = jar.ask(f"{TOKEN}={token}", [line])
    assert set_cookie_lines(r) == [b"Set-Cookie: lethe=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"]
    assert jar.ask(f"{TOKEN}={token}")[0] == []


def test_new_id_rotates(jar):
    token = jar.log_in()
    _, r = jar.ask(f"{TOKEN}={token}", ["Set-Cookie: PHPSESSID=second; path=/"])
    fresh = token_of(r)
    assert fresh != token
    assert jar.ask(f"{TOKEN}={fresh}")[0] == ["PHPSESSID=second"]
    assert jar.ask(f"{TOKEN}={token}")[0] == ["PHPSESSID=first"]


def test_new_id_behind_a_deletion_rotates(jar):
    """"Away with the old session, here is a new one" in one answer: whoever had the old token must not get the new session."""
    token = jar.log_in("Set-Cookie: JSESSIONID=first; Path=/")
    _, r = jar.ask(f"{TOKEN}={token}", ["Set-Cookie: JSESSIONID=; Path=/; Max-Age=0", "Set-Cookie: JSESSIONID=second; Path=/; HttpOnly"])
    seen = jar.ask(f"{TOKEN}={token}")[0]
    assert seen in ([], ["JSESSIONID=first"]), seen
    assert jar.ask(f"{TOKEN}={token_of(r)}")[0] == ["JSESSIONID=second"]


def test_reissued_cookies_do_not_rotate(jar):
    token = jar.log_in("Set-Cookie: laravel_session=enc1; path=/")
    for i in range(2, 5):
        got, r = jar.ask(f"{TOKEN}={token}", [f"Set-Cookie: laravel_session=enc{i}; path=/"])
        assert got == [f"laravel_session=enc{i - 1}"] and set_cookie_lines(r) == []


def test_logout_against_a_slow_answer(jar):
    """Without a carrier nothing is locked: a slow answer that touches the cookie comes after the logout."""
    token = jar.log_in("Set-Cookie: laravel_session=one; path=/")

    def nested(conn, head):
        conn.body(head)
        inner = jar.lethe.get("/logout", f"Cookie: {TOKEN}={token}\r\n")
        assert inner.status == 200
        conn.send(answer(headers="Set-Cookie: laravel_session=two; path=/\r\n"))

    jar.app.routes = {"/slow": nested, "/logout": lambda conn, head: conn.send(
        answer(headers="Set-Cookie: laravel_session=; Max-Age=0; path=/\r\n"))}
    assert jar.lethe.get("/slow", f"Cookie: {TOKEN}={token}\r\n").status == 200
    assert jar.ask(f"{TOKEN}={token}")[0] == []


def test_two_answers_that_change_the_jar_at_once_are_both_kept(jar):
    token = jar.log_in("Set-Cookie: laravel_session=one; path=/")

    def nested(conn, head):
        conn.body(head)
        jar.lethe.get("/inner", f"Cookie: {TOKEN}={token}\r\n")
        conn.send(answer(headers="Set-Cookie: ci_session=outer; path=/\r\n"))

    jar.app.routes = {"/outer": nested, "/inner": lambda conn, head: conn.send(
        answer(headers="Set-Cookie: rack.session=inner; path=/\r\n"))}
    jar.lethe.get("/outer", f"Cookie: {TOKEN}={token}\r\n")
    got = jar.ask(f"{TOKEN}={token}")[0]
    assert sorted(got[0].split("; ")) == ["ci_session=outer", "laravel_session=one", "rack.session=inner"]


# --- options ---

def test_own_names(jar_of):
    j = jar_of(options={"session.cookies": "MYSESSION,app_*", "session.cookie_name": "tok"})
    got, r = j.ask("MYSESSION=evil; app_x=evil; PHPSESSID=mine; lethe=mine", ["Set-Cookie: MYSESSION=1; path=/", "Set-Cookie: app_y=2; path=/",
                                                                           "Set-Cookie: PHPSESSID=passes"])
    assert got == ["PHPSESSID=mine; lethe=mine"]
    ours = [v for v in r.all("set-cookie") if v.startswith("tok=")]
    assert len(ours) == 1 and r.all("set-cookie")[0] == "PHPSESSID=passes" and len(r.all("set-cookie")) == 2
    token = ours[0].split(";")[0]
    assert j.ask(token)[0] == ["MYSESSION=1; app_y=2"]


def test_all_cookies(jar_of):
    j = jar_of(options={"session.cookies": "*"})
    got, r = j.ask("a=1; b=2", ["Set-Cookie: theme=dark; path=/", "Set-Cookie: cart=7; path=/"])
    assert got == []
    token = token_of(r)
    assert j.ask(f"{TOKEN}={token}; theme=evil")[0] == ["theme=dark; cart=7"]


def test_exempt_paths_cost_nothing(jar_of):
    j = jar_of(options={"session.exempt": "/static/*,*.css"})
    token = j.log_in()
    j.ask(f"{TOKEN}={token}")  # the first of each script comes twice: by its hash, then whole

    def scripts():
        return sum(int(n) for n in re.findall(rb"cmdstat_eval(?:sha)?:calls=(\d+)", j.redis.call("INFO", "commandstats")))
    before = scripts()
    for path in ("/static/x", "/a/b.css?v=1"):
        got, r = j.ask(f"{TOKEN}={token}; a=1", ["Set-Cookie: PHPSESSID=other; path=/"], path=path)
        assert got == ["a=1"] and set_cookie_lines(r) == []
    assert j.ask("a=1", path="/anonymous")[0] == ["a=1"]
    assert scripts() == before
    assert j.ask(f"{TOKEN}={token}", path="/static")[0] == ["PHPSESSID=first"]
    assert scripts() == before + 1


def test_two_applications_in_one_redis(jar_of, tmp_path):
    j = jar_of()
    token = j.log_in()
    other = App()
    lethe = Lethe(other.address, {"store": j.redis.url, "keys": keys(), "session.prefix": "other"})
    try:
        lethe.get("/", f"Cookie: {TOKEN}={token}\r\n")
        assert other.seen("/")[0].all("cookie") == []
    finally:
        lethe.stop()
        other.stop()
    assert j.ask(f"{TOKEN}={token}")[0] == ["PHPSESSID=first"]


def test_replica_without_the_keys_never_takes_a_session_for_lost(jar_of):
    """Misconfigured keys: 503, not a request without its session."""
    j = jar_of()
    token = j.log_in()
    other = App()
    lethe = Lethe(other.address, {"store": j.redis.url, "keys": "wrong:" + "A" * 43})
    try:
        r = lethe.get("/", f"Cookie: {TOKEN}={token}\r\n")
        assert (r.status, r.get("x-lethe-error")) == (503, "session_unreadable")
        assert other.seen("/") == [] and lethe.wait_event("session_unreadable")
    finally:
        lethe.stop()
        other.stop()
    assert j.ask(f"{TOKEN}={token}")[0] == ["PHPSESSID=first"]


# --- ;jsessionid= ---

@pytest.mark.parametrize("sent, seen", [
    ("/a;jsessionid=ABC123", "/a"),
    ("/a;jsessionid=ABC123.node1?x=1;jsessionid=2", "/a?x=1;jsessionid=2"),
    ("/a;JSESSIONID=ABC/b;v=1", "/a/b;v=1"),
    ("/a;v=1;jsessionid=ABC;w=2", "/a;v=1;w=2"),
    ("/a;v=1", "/a;v=1"),
    ("/a?;jsessionid=1", "/a?;jsessionid=1"),
    ("/a;jsessionidx=1", "/a;jsessionidx=1"),
])
def test_session_id_in_the_path_is_taken_out(jar, sent, seen):
    jar.app.routes = {}
    jar.lethe.get(sent)
    assert jar.app.heads[-1].target == seen


@pytest.mark.parametrize("sent, seen", [
    ("/next;jsessionid=ABC123", "/next"),
    ("http://test.example/x;jsessionid=ABC.node1?q=1", "http://test.example/x?q=1"),
    ("/next;jsessionid=ABC#part", "/next#part"),
    ("/next?u=/a;jsessionid=1", "/next?u=/a;jsessionid=1"),
    ("/next;v=1", "/next;v=1"),
])
def test_session_id_in_location_is_taken_out(jar, sent, seen):
    _, r = jar.ask(answer_lines=[f"Location: {sent}"])
    assert r.get("location") == seen


# --- sealed ---

def test_sealed_store_carries_the_same_jar(jar_of):
    j = jar_of("sealed")
    _, r = j.ask("a=1; PHPSESSID=evil", ["Set-Cookie: PHPSESSID=secret-id; path=/", "Set-Cookie: theme=dark"])
    assert b"secret-id" not in r.raw and r.all("set-cookie")[0] == "theme=dark"
    value = r.all("set-cookie")[1]
    assert re.match(r"lethe=[A-Za-z0-9_-]{44,}; Path=/; HttpOnly; SameSite=Lax\Z", value)
    assert j.ask("a=1; " + value.split(";")[0])[0] == ["a=1; PHPSESSID=secret-id"]
