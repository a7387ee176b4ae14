# SPDX-License-Identifier: Apache-2.0
"""For sessions that the client holds: an application that does what the request says, and a browser's cookie jar in bytes."""
import json

from rig import App, Client, answer


class Echo(App):
    """Answers every request with {"cookie": what it was sent, "headers": …}; each X-Set field becomes a Set-Cookie."""

    def _run(self, conn):
        while True:
            head = conn.request()
            if head is None:
                return
            lines = "".join(f"Set-Cookie: {v}\r\n" for v in head.all("x-set"))
            seen = {"cookie": head.get("cookie", ""), "headers": {k.lower(): v for k, v in head.headers}}
            whole = answer(json.dumps(seen), headers=lines)
            conn.send(whole[:whole.index(b"\r\n\r\n") + 4] if head.method == "HEAD" else whole)


class Page:
    def __init__(self, response):
        self.response = response
        self.status, self.error = response.status, response.get("x-lethe-error")
        seen = json.loads(response.body) if response.body and response.status == 200 else {}
        self.cookie, self.headers = seen.get("cookie"), seen.get("headers")
        self.set = response.all("set-cookie")

    def session(self):
        """The application's own session id, as it was sent it."""
        found = [c.split("=", 1)[1] for c in (self.cookie or "").split("; ") if c.startswith("PHPSESSID=")]
        return found[0] if found else None


class User:
    """Keeps cookies as a browser does. get(sets=[…]) asks the application to set those cookies."""

    def __init__(self, lethe, https=False, cookies=None):
        self.lethe, self.https, self.cookies = lethe, https, dict(cookies or {})

    def copy(self):
        return User(self.lethe, self.https, self.cookies)

    def ask(self, sets=(), path="/page", method="GET", fields=(), lethe=None):
        lines = [f"Host: a\r\nX-Forwarded-Proto: {'https' if self.https else 'http'}\r\n"]
        lines += [f"{f}\r\n" for f in fields] + [f"X-Set: {s}\r\n" for s in sets]
        if self.cookies:
            lines.append("Cookie: " + "; ".join(f"{k}={v}" for k, v in self.cookies.items()) + "\r\n")
        with Client((lethe or self.lethe).address) as c:
            body = "Content-Length: 0\r\n" if method == "POST" else ""
            page = Page(c.ask(f"{method} {path} HTTP/1.1\r\n{''.join(lines)}{body}\r\n".encode("latin-1"), method))
        self.take(page)
        return page

    def take(self, page):
        for line in page.set:
            assert len(line) <= 4096, "browsers keep no longer ones"
            pair, *attributes = line.split("; ")
            name, value = pair.split("=", 1)
            assert {"Path=/", "HttpOnly", "SameSite=Lax"} <= set(attributes) or not name.endswith("lethe"), line
            if "Max-Age=0" in attributes:
                self.cookies.pop(name, None)
            else:
                self.cookies[name] = value

    def login(self, value="one", lethe=None):
        page = self.ask([f"PHPSESSID={value}; path=/"], lethe=lethe)
        assert page.status == 200, page.response
        return self

    def logout(self):
        return self.ask(["PHPSESSID=deleted; path=/; Max-Age=0"])

    def session(self, lethe=None):
        page = self.ask(lethe=lethe)
        assert page.status == 200, page.response
        return page.session()
