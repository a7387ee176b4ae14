# SPDX-License-Identifier: Apache-2.0
"""A WSGI application with Beaker's sessions in memory, on cheroot's threads: `beaker_app.py PORT`."""
import base64
import hashlib
import json
import os
import sys
import time
from http.cookies import SimpleCookie
from urllib.parse import parse_qs

import cheroot.wsgi
from beaker.middleware import SessionMiddleware


def wait_at(query):
    if "gate" in query:
        with open(query["gate"], encoding="ascii") as f:
            f.readline()
    time.sleep(float(query.get("hold", 0)))


def report(environ, n):
    cookie = SimpleCookie(environ.get("HTTP_COOKIE", "")).get("beaker.session.id")
    session = environ["beaker.session"]
    return {"n": n, "id": session.id, "sent_id": cookie.value if cookie else None, "name": session.get("name"),
            "replica": os.environ.get("REPLICA")}


def count(environ, query):
    session = environ["beaker.session"]
    n = session.get("n", 0)
    wait_at(query)
    session["n"] = n + 1
    session.save()
    return report(environ, n + 1)


def me(environ, query):
    n = environ["beaker.session"].get("n", 0)
    wait_at(query)
    return report(environ, n)


def anonymous(_environ, _query):
    return {"replica": os.environ.get("REPLICA")}


def login(environ, query):
    session = environ["beaker.session"]
    session.get("n")
    session.regenerate_id()
    session["name"] = query["name"]
    session.save()
    return "/me"


def logout(environ, _query):
    environ["beaker.session"].delete()
    return {"ok": True}


def stream(environ, _query):
    session = environ["beaker.session"]
    session["n"] = session.get("n", 0) + 1
    session.save()
    return (b"line %d\n" % i * 400 for i in range(8))


def big(environ, query):
    session = environ["beaker.session"]
    if "size" in query:
        size = query["size"]
        session["big"] = base64.b64encode(os.urandom(int(size)))[:int(size)].decode()
        session.save()
    text = session.get("big", "")
    return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


PAGES = {"/" + page.__name__: page for page in (count, me, anonymous, login, logout, stream, big)}


def site(environ, start_response):
    text = environ["QUERY_STRING"]
    if environ["REQUEST_METHOD"] == "POST":
        text += "&" + environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0)).decode()
    page = PAGES.get(environ["PATH_INFO"])
    if page is None:
        start_response("404 Not Found", [("Content-Type", "text/plain"), ("Content-Length", "0")])
        return []
    found = page(environ, {name: values[0] for name, values in parse_qs(text).items()})
    if isinstance(found, str):
        start_response("302 Found", [("Location", found), ("Content-Length", "0")])
        return []
    if isinstance(found, dict):
        body = json.dumps(found).encode()
        start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        return [body]
    start_response("200 OK", [("Content-Type", "text/plain")])
    return found


def main(port):
    application = SessionMiddleware(site, {"session.type": "memory", "session.timeout": 3600})
    cheroot.wsgi.Server(("127.0.0.1", int(port)), application, numthreads=24, shutdown_timeout=1).safe_start()


if __name__ == "__main__":
    main(*sys.argv[1:])
