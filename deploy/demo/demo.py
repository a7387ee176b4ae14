# SPDX-License-Identifier: Apache-2.0
"""lethe at work, on this machine alone: two replicas of phpLiteAdmin (as Debian ships it) and of a cart behind a round-robin balancer, first
without lethe, then with it; then one replica is killed. Stays until Ctrl-C; with --once it ends, with 1 when a step did not go as it must."""
import argparse
import http.cookiejar
import os
import re
import signal
import sys
import urllib.error
import urllib.parse
import urllib.request

from stage import PASSWORD, PATIENCE, Failed, Replica, Stage, wait_for

GOODS = ("apple", "pear", "quince")

# --- who looks at it ---

class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


class Browser:
    """One user with a cookie jar, and the rows of the table about what they did."""

    def __init__(self, url):
        self.url, self.replicas, self.row = url, set(), 0
        self.jar = http.cookiejar.CookieJar()
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPCookieProcessor(self.jar), NoRedirect)

    def ask(self, path, form=None):
        """(status, text, replica); one request, redirects are not followed."""
        data = urllib.parse.urlencode(form).encode() if form is not None else None
        try:
            answer = self.opener.open(urllib.request.Request(self.url + path, data), timeout=PATIENCE)
        except urllib.error.HTTPError as e:
            answer = e
        except OSError as e:
            raise Failed(f"{path}: {e}") from None
        with answer:
            text = answer.read().decode("utf-8", "replace")
            if answer.status >= 500:
                raise Failed(f"{path}: {answer.status} {answer.headers.get('X-Lethe-Error', '')} {text[:200]}")
            replica = answer.headers.get("X-Replica", "?")
        self.replicas.add(replica)
        return answer.status, text, replica

    def step(self, what, path, form=None, judge=None):
        status, text, replica = self.ask(path, form)
        good, remark = judge(status, text)
        self.row += 1
        print(f"  {self.row:>2}  {what:<28}{replica:<12}{'✓' if good else '✗'} {remark}", flush=True)
        return good, text


def judge_page(_, text):
    """Is this phpLiteAdmin's page for somebody who is logged in?"""
    if "logout" in text and "library.sqlite" in text:
        return True, "logged in"
    return False, "the login form again" if "name='password'" in text else "CSRF token is wrong" if "CSRF" in text else "what is this?"


def judge_form(_, text):
    return "name='password'" in text, "the login form"


def judge_login(status, text):
    return (True, "password accepted") if status == 302 else judge_page(status, text)


def judge_cart(expected):
    def judge(_, text):
        n = int((re.search(r'id="count">(\d+) items', text) or [0, -1])[1])
        return n == expected, f"{n} of {expected} in the cart"
    return judge


def log_in(browser):
    """As a browser does it: the form, its style sheet, the password."""
    form = browser.step("open phpLiteAdmin", "/phpliteadmin.php", judge=judge_form)[1]
    token = re.search(r"name=[\"']token[\"'] value=[\"'](\w+)", form)
    if not token:
        raise Failed("phpLiteAdmin shows no login form")
    browser.ask("/phpliteadmin.php?resource=css")
    return browser.step("send the password", "/phpliteadmin.php", {"token": token[1], "password": PASSWORD, "login": "true"}, judge_login)[0]


def look_around(browser, n):
    """Of n pages, how many the user saw as one who is logged in."""
    return sum(browser.step("look at the database", "/phpliteadmin.php", judge=judge_page)[0] for _ in range(n))


def shop(browser, had=0):
    """Is everything in the cart that was put into it?"""
    for item in GOODS:
        browser.ask("/cart/", {"item": item})
    return browser.step(f"put {len(GOODS)} things in the cart", "/cart/", judge=judge_cart(had + len(GOODS)))[0]


def must(good, what):
    if not good:
        raise Failed(what)


# --- the demonstration ---

def without_lethe(url):
    print(f"\nWithout lethe: {url}")
    browser = Browser(url)
    must(log_in(browser), "without lethe: the password was not accepted, so there is no login to lose")
    seen = look_around(browser, 4)
    cart = shop(browser)
    must(len(browser.replicas) == 2, f"without lethe: only {browser.replicas} answered")
    must(seen < 4, "without lethe the login must be lost, and it was kept: this demonstration shows nothing")
    must(not cart, "without lethe the cart must be lost, and it was kept: this demonstration shows nothing")
    print(f"  → the login was lost on {4 - seen} of 4 pages, and so were things in the cart")


def come_back(browser, replica, store):
    replica.start()
    replica.start_lethe(store)
    wait_for(lambda: browser.ask("/cart/")[2] == replica.name, f"the balancer sends requests to {replica.name}")


def with_lethe(url, replicas, store):
    print(f"\nWith lethe beside each replica: {url}")
    browser = Browser(url)
    must(log_in(browser), "with lethe: the password was not accepted")
    must(look_around(browser, 4) == 4, "with lethe: the login was lost")
    must(shop(browser), "with lethe: something is missing in the cart")
    must(len(browser.replicas) == 2, f"with lethe: only {browser.replicas} answered")
    must(not any(c.name == "PHPSESSID" for c in browser.jar), "with lethe: the client got the application's own session cookie")

    print("      kill -9 of replica-2, and its disk is gone with it")
    replicas[1].crash()
    browser.replicas.clear()
    must(look_around(browser, 3) == 3, "one replica killed: the login was lost")
    must(shop(browser, len(GOODS)), "one replica killed: something is missing in the cart")
    must(browser.replicas == {"replica-1"}, f"the killed replica answered: {browser.replicas}")

    print("      replica-2 comes back with an empty disk, then kill -9 of replica-1")
    come_back(browser, replicas[1], store)
    replicas[0].crash()
    browser.replicas.clear()
    must(look_around(browser, 2) == 2, "on a replica that has never seen this user: the login was lost")
    must(shop(browser, 2 * len(GOODS)), "on a replica that has never seen this user: something is missing in the cart")
    must(browser.replicas == {"replica-2"}, f"the killed replica answered: {browser.replicas}")
    print("      replica-1 comes back too")
    come_back(browser, replicas[0], store)
    must(browser.step("log out", "/phpliteadmin.php?logout=1", judge=judge_form)[0], "the application does not log out")
    must(all([browser.step("is it the end on both?", "/phpliteadmin.php", judge=judge_form)[0] for _ in range(2)]),
         "logged out on one replica, still logged in on the other")
    print("  → the login and the cart were kept until the user logged out")


def demonstrate(stage, arguments):
    stage.install()
    replicas = [Replica(stage, n) for n in (1, 2)]
    for replica in replicas:
        replica.start()
    print("Two replicas of phpLiteAdmin and a cart, each with its own session files, behind HAProxy, which takes turns.")
    plain = stage.balancer("balancer-plain", {r.name: r.port for r in replicas})
    without_lethe(plain)
    if arguments.control:
        return
    store = stage.redis()
    stage.make_keys()
    for replica in replicas:
        replica.start_lethe(store)
    kept = stage.balancer("balancer-lethe", {r.name: r.lethe_port for r in replicas})
    with_lethe(kept, replicas, store)
    if not arguments.once:
        print(f"\nIt runs on; try it (password \"{PASSWORD}\", without \"Remember me\"):\n"
              f"  without lethe  {plain}/phpliteadmin.php   {plain}/cart/\n"
              f"  with lethe     {kept}/phpliteadmin.php   {kept}/cart/\n"
              f"Logs: {stage.dir}. Ctrl-C ends it.", flush=True)
        signal.pause()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lethe", required=True, help="the program")
    parser.add_argument("--once", action="store_true", help="end by itself")
    parser.add_argument("--control", action="store_true", help="only the part without lethe")
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    stage = Stage(os.path.abspath(arguments.lethe))
    try:
        demonstrate(stage, arguments)
        print("demo: passed")
        return 0
    except Failed as e:
        print(f"demo: FAILED: {e}", file=sys.stderr)
        for server in stage.servers:
            if "lethe" in server.name or not server.alive():
                sys.stderr.write(server.tail())
        return 1
    except KeyboardInterrupt:
        print("\ndemo: ended")
        return 0 if not arguments.once else 130
    finally:
        stage.close()


if __name__ == "__main__":
    sys.exit(main())
