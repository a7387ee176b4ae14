# SPDX-License-Identifier: Apache-2.0
"""store = "jwt", looked at from outside: other implementations (PyJWT, cryptography) read what lethe writes, and write what lethe must refuse."""
import base64
import json
import signal
import time

import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from held_rig import Echo, User
from session_rig import keys

from rig import run_cli, wait_for

PAIRS, SECRETS = ["EdDSA", "ES256"], ["dir+A256GCM", "HS256"]


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def derived(purpose):
    """The first ring key's own for one use (docs/keys.md)."""
    kid, secret = keys().split(":")
    return kid, HKDF(hashes.SHA256(), 32, None, purpose).derive(unb64(secret))


def hs256(claims, kid=None, header=None, secret=None):
    own, key = derived(b"jws-HS256")
    head = {"kid": kid or own, "typ": "JWT", **(header or {})}
    return jwt.encode(claims, secret or key, "HS256", headers=head)


@pytest.fixture(name="app", scope="module")
def app_fixture():
    with Echo() as a:
        yield a


@pytest.fixture(name="pem")
def pem_fixture(tmp_path):
    """pem("EdDSA", "k1"): an entry of jwt.keys."""
    def make(alg, kid):
        path = tmp_path / f"{kid}.pem"
        path.write_text(run_cli("keygen", "--alg", alg).stdout)
        return f"{kid}={path}"
    return make


@pytest.fixture(name="jwt_lethe")
def jwt_lethe_fixture(lethe, app, pem):
    def make(alg, entries=None, **options):
        if alg in PAIRS and entries is None:
            entries = [pem(alg, "k1")]
        more = {"jwt.keys": entries} if entries else {}
        return lethe(app, {"keys": keys(), "store": "jwt", "jwt.alg": alg, **more, **options})
    return make


def claims_of(token, alg, lethe):
    """Verified by another implementation."""
    if alg == "dir+A256GCM":
        kid, key = derived(b"jwe-dir+A256GCM")
        head, nothing, nonce, text, tag = token.split(".")
        assert json.loads(unb64(head)) == {"alg": "dir", "enc": "A256GCM", "kid": kid, "typ": "JWT"} and nothing == ""
        return json.loads(AESGCM(key).decrypt(unb64(nonce), unb64(text) + unb64(tag), head.encode()))
    key = derived(b"jws-HS256")[1]
    if alg in PAIRS:
        answer = lethe.get_admin("/.well-known/jwks.json")
        assert answer.get("content-type") == "application/jwk-set+json"
        kid = jwt.get_unverified_header(token)["kid"]
        key = [k.key for k in jwt.PyJWKSet.from_dict(json.loads(answer.body)).keys if k.key_id == kid][0]
    assert jwt.get_unverified_header(token)["typ"] == "JWT"
    return jwt.decode(token, key, [alg], audience="lethe", issuer="lethe")


@pytest.mark.parametrize("alg", PAIRS + SECRETS)
def test_others_read_it_and_every_replica_takes_it(jwt_lethe, pem, alg):
    entries = [pem(alg, "k1")] if alg in PAIRS else None
    a, b = jwt_lethe(alg, entries), jwt_lethe(alg, entries)
    user = User(a).login()
    assert [user.session(lethe=r) for r in (a, b, a, b)] == ["one"] * 4
    claims = claims_of(user.cookies["lethe"], alg, a)
    now = time.time()
    assert claims.keys() == {"iss", "aud", "jti", "iat", "nbf", "exp", "lethe"}
    assert now - 20 < claims["iat"] <= now and claims["nbf"] == claims["iat"]
    assert 1800 <= claims["exp"] - claims["iat"] <= 1801
    assert len(unb64(claims["jti"])) == 16
    assert claims["lethe"]["jar"] == [{"name": "PHPSESSID", "value": "one", "path": "/"}]
    readable = b"PHPSESSID" in b"".join(unb64(p) for p in user.cookies["lethe"].split(".") if p)
    assert readable == (alg != "dir+A256GCM")


@pytest.mark.parametrize("alg", PAIRS)
def test_public_keys(jwt_lethe, alg):
    r = jwt_lethe(alg)
    (key,) = json.loads(r.get_admin("/.well-known/jwks.json").body)["keys"]
    curve = {"EdDSA": {"kty", "crv", "x"}, "ES256": {"kty", "crv", "x", "y"}}[alg]
    assert key.keys() == curve | {"alg", "use", "kid"} and (key["alg"], key["use"], key["kid"]) == (alg, "sig", "k1")
    assert "cookie" in json.loads(r.get("/.well-known/jwks.json").body), "on the main listener it is the application's"


@pytest.mark.parametrize("alg", SECRETS)
def test_secrets_are_not_shown(jwt_lethe, alg):
    assert jwt_lethe(alg).get_admin("/.well-known/jwks.json").status == 404


@pytest.fixture(name="good")
def good_fixture(jwt_lethe):
    """A lethe with HS256, and claims that it takes."""
    r = jwt_lethe("HS256")
    user = User(r).login()
    claims = claims_of(user.cookies["lethe"], "HS256", r)
    assert User(r, cookies={"lethe": hs256(claims)}).session() == "one", "what the test makes is right but for its one fault"
    return r, claims


def test_wrong_claims_are_unknown(good):
    r, claims = good
    now = int(time.time())
    for change in ({"iss": "other"}, {"aud": "other"}, {"aud": ["lethe"]}, {"exp": now - 1}, {"nbf": now + 100}, {"iat": now + 100}, {"jti": "x"},
                   {"iss": None}, {"aud": None}, {"exp": None}, {"nbf": None}, {"iat": None}, {"jti": None}, {"lethe": None}, {"exp": str(now + 99)},
                   {"lethe": {**claims["lethe"], "jar": "x"}}, {"lethe": {**claims["lethe"], "used": (now - 4000) * 1000}},
                   {"lethe": {**claims["lethe"], "created": (now - 99999) * 1000}}):
        changed = {k: v for k, v in {**claims, **change}.items() if v is not None}
        assert User(r, cookies={"lethe": hs256(changed)}).session() is None, change
    assert User(r, cookies={"lethe": hs256({**claims, "nbf": now + 20, "iat": now + 20})}).session() == "one", "clocks differ a little"


def test_wrong_headers_are_unknown(good):
    r, claims = good
    key = derived(b"jws-HS256")[1]
    kid = derived(b"jws-HS256")[0]
    payload = b64(json.dumps(claims).encode())
    none = b64(json.dumps({"alg": "none", "kid": kid, "typ": "JWT"}).encode())
    tokens = [hs256(claims, kid="other"), hs256(claims, header={"typ": "other"}), hs256(claims, header={"crit": ["x"], "x": 1}),
              hs256(claims, header={"jku": "http://127.0.0.1/"}), hs256(claims, header={"jwk": {"kty": "oct", "k": b64(key)}}),
              jwt.encode(claims, key, "HS512", headers={"kid": kid}), hs256(claims, secret=b"x" * 32),
              hs256(claims, secret=unb64(keys().split(":")[1])),
              f"{none}.{payload}.", f"{none}.{payload}", f"{none}.{payload}.{b64(b'x' * 32)}", hs256(claims) + ".", "." + hs256(claims),
              hs256(claims).replace(".", ".."), hs256(claims) + "=", payload, "..", "....", "x" * 2000]
    for token in tokens:
        assert User(r, cookies={"lethe": token}).session() is None, token


@pytest.mark.parametrize("alg", PAIRS)
def test_the_public_key_is_no_secret(jwt_lethe, alg):
    r = jwt_lethe(alg)
    user = User(r).login()
    claims = claims_of(user.cookies["lethe"], alg, r)
    for secret in (r.get_admin("/.well-known/jwks.json").body, unb64(json.loads(r.get_admin("/.well-known/jwks.json").body)["keys"][0]["x"])):
        assert User(r, cookies={"lethe": hs256(claims, kid="k1", secret=secret)}).session() is None
    assert User(r, cookies={"lethe": hs256(claims)}).session() is None, "the ring's key is another algorithm's"


def test_a_sealed_cookie_is_no_token(jwt_lethe, lethe, app):
    r, s = jwt_lethe("dir+A256GCM"), lethe(app, {"keys": keys(), "store": "sealed"})
    assert User(r, cookies=User(s).login().cookies).session() is None
    assert User(s, cookies=User(r).login().cookies).session() is None


def test_another_audience(jwt_lethe):
    a, b = jwt_lethe("dir+A256GCM"), jwt_lethe("dir+A256GCM", **{"jwt.audience": "shop"})
    user = User(a).login()
    assert user.session() == "one" and user.session(lethe=b) is None


@pytest.mark.parametrize("alg", PAIRS)
def test_pairs_are_replaced_one_after_the_other(lethe, app, pem, tmp_path, alg):
    config = tmp_path / "lethe.conf"
    old, new = pem(alg, "old"), pem(alg, "new")

    def write(*entries):
        config.write_text(f'store = "jwt"; jwt: {{ alg = "{alg}"; keys = [{", ".join(json.dumps(e) for e in entries)}]; }};')

    def reload(count):
        r.signal(signal.SIGHUP)
        r.wait_event("reloaded", count=count)
    write(old)
    r = lethe(app, {"keys": keys()}, config=config)
    user = User(r).login()
    for step, (entries, signs) in enumerate((((old, new), "old"), ((new, old), "new")), 1):
        write(*entries)
        reload(step)
        wait_for(lambda: len(json.loads(r.get_admin("/.well-known/jwks.json").body)["keys"]) == 2)
        fresh = User(r)
        wait_for(lambda: jwt.get_unverified_header(fresh.login("two").cookies["lethe"])["kid"] == signs, 5, f"{signs} signs")  # pylint: disable=cell-var-from-loop
        assert user.session() == "one"
    write(new)
    reload(3)
    wait_for(lambda: user.session() is None, 5, "the old key is gone")
    assert fresh.session() == "two"


def test_claims_as_headers(jwt_lethe):
    r = jwt_lethe("HS256", **{"jwt.claims_headers": "jti=X-Session-Id,cookie.PHPSESSID=X-Php,iat=X-Used", "session.exempt": "/static/*"})
    forged = ["X-Session-Id: forged", "x_session_id: forged", "X-PHP: forged", "X-Used: 1"]
    for path in ("/page", "/static/x"):
        page = User(r).ask(fields=forged, path=path)
        assert not any("forged" in v for v in page.headers.values()) and not {"x-session-id", "x_session_id", "x-php", "x-used"} & page.headers.keys()
    user = User(r).login()
    page = user.ask(fields=forged)
    claims = claims_of(user.cookies["lethe"], "HS256", r)
    assert (page.headers["x-session-id"], page.headers["x-php"], page.headers["x-used"]) == (claims["jti"], "one", str(claims["iat"]))
    assert "x_session_id" not in page.headers
    page = User(r, cookies={"lethe": user.cookies["lethe"][:-2]}).ask(fields=forged)
    assert "x-session-id" not in page.headers, "only verified ones"


def test_idle_limit_slides(jwt_lethe):
    r = jwt_lethe("dir+A256GCM", **{"session.idle_ttl": "2s"})
    user = User(r).login()
    copy = user.copy()
    end = time.monotonic() + 20
    while User(r, cookies=copy.cookies).session() == "one":
        assert user.session() == "one" and time.monotonic() < end
    assert user.session() == "one" and user.cookies != copy.cookies


@pytest.mark.parametrize("flags, words", [
    (["--jwt.alg=EdDSA"], ["jwt.keys", "lethe keygen --alg EdDSA"]),
    (["--jwt.alg=none"], ["jwt.alg", "dir+A256GCM"]),
    (["--jwt.alg=HS256", "--jwt.keys=a=/x"], ["jwt.keys", "leave jwt.keys out"]),
    (["--jwt.alg=ES256", "--jwt.keys=a=/nowhere.pem"], ["jwt.keys", "No such file"]),
    (["--jwt.alg=ES256", "--jwt.keys=/x.pem"], ["jwt.keys", "id=/path"]),
    (["--jwt.claims_headers=sub=X-User"], ["jwt.claims_headers", "cookie.NAME"]),
])
def test_findings(flags, words):
    done = run_cli("check", "--upstream=127.0.0.1:1", "--store=jwt", f"--keys={keys()}", *flags)
    assert done.returncode == 2 and all(w in done.stderr for w in words), done.stderr


def test_a_key_of_another_kind(pem):
    done = run_cli("check", "--upstream=127.0.0.1:1", "--store=jwt", "--jwt.alg=ES256", "--jwt.keys=" + pem("EdDSA", "a"))
    assert done.returncode == 2 and "is no P-256 key" in done.stderr
