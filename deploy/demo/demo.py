# SPDX-License-Identifier: Apache-2.0
"""lethe at work, on this machine alone: two replicas of phpLiteAdmin (as Debian ships it) and of a cart behind a round-robin balancer, first
without lethe, then with it; then one replica is killed. Stays until Ctrl-C; with --once it ends, with 1 when a step did not go as it must."""
import argparse
import contextlib
import http.cookiejar
import os
import random
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
PHPLITEADMIN = "/usr/share/phpliteadmin/phpliteadmin.php"
PASSWORD = "demo"
GOODS = ("apple", "pear", "quince")
PATIENCE = 20  # seconds until something that was started must be there

BALANCER = """
global
    nbthread 1
defaults
    mode http
    timeout connect 2s
    timeout client 60s
    timeout server 60s
    retries 3
    option redispatch 1
frontend all
    bind 127.0.0.1:{port}
    http-response set-header X-Replica %s
    default_backend replicas
backend replicas
    balance roundrobin
    default-server check inter 300ms fall 1 rise 1
{servers}
"""


class Failed(Exception):
    """A step did not go as it must; the text says which."""


# --- what runs ---

def free_port():
    """Below the range from which the kernel takes ports of outgoing connections: so it is still free when a server is started again."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return port


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not (value := condition()):
        if time.monotonic() > end:
            raise Failed(f"not within {PATIENCE} s: {what}")
        time.sleep(0.02)
    return value


def accepts(port):
    with socket.socket() as s:
        return s.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A child of ours with its log. Ended by its own id, at the latest when the demo ends."""

    def __init__(self, stage, name, argv, **environment):
        self.name, self.log = name, os.path.join(stage.dir, f"{name}.log")
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                                            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **environment})
        stage.servers.append(self)

    def alive(self):
        return self.process.poll() is None

    def until(self, ready, what):
        def look():
            if not self.alive():
                raise Failed(f"{self.name} ended with {self.process.returncode}\n{self.tail()}")
            return ready()
        return wait_for(look, f"{self.name}: {what}")

    def tail(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return "".join(f"    {self.name}: {line}" for line in f.readlines()[-12:])

    def kill9(self):
        self.process.kill()
        self.process.wait()

    def end(self):
        if self.alive():
            self.process.terminate()
            try:
                self.process.wait(5)
            except subprocess.TimeoutExpired:
                self.kill9()


class Stage:
    """The directory and the servers of one demonstration."""

    def __init__(self, lethe):
        self.lethe, self.servers, self.dir = lethe, [], tempfile.mkdtemp(prefix="lethe-demo-")
        self.docroot, self.data = os.path.join(self.dir, "www"), os.path.join(self.dir, "data")
        os.mkdir(self.docroot)
        os.mkdir(self.data)
        self.keys = None

    def close(self):
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)  # a second Ctrl-C does not leave half of it running
        for server in reversed(self.servers):
            server.end()
        shutil.rmtree(self.dir, ignore_errors=True)

    def install(self):
        """The applications as every replica has them, and a database that is shared: only the sessions are a replica's own."""
        if not os.path.exists(PHPLITEADMIN):
            raise Failed(f"no {PHPLITEADMIN} (apt-get install --no-install-recommends php-cgi phpliteadmin)")
        os.symlink(PHPLITEADMIN, os.path.join(self.docroot, "phpliteadmin.php"))
        os.symlink(os.path.join(HERE, "cart"), os.path.join(self.docroot, "cart"))
        with open(os.path.join(self.docroot, "phpliteadmin.config.php"), "w", encoding="utf-8") as f:
            f.write(f"<?php\n$password = '{PASSWORD}';\n$directory = '{self.data}';\n")
        with contextlib.closing(sqlite3.connect(os.path.join(self.data, "library.sqlite"))) as db:
            db.execute("create table books (title text, year integer)")
            db.executemany("insert into books values (?, ?)", [("Theogony", -700), ("Inferno", 1321), ("Walden", 1854)])
            db.commit()

    def redis(self):
        port = free_port()
        server = Server(self, "redis", ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", self.dir])
        server.until(lambda: accepts(port), f"listening on port {port}")
        return f"redis://127.0.0.1:{port}/0"

    def balancer(self, name, replicas):
        """replicas: {name: port}. Takes turns, and knows nothing of sessions."""
        port = free_port()
        path = os.path.join(self.dir, f"{name}.cfg")
        with open(path, "w", encoding="utf-8") as f:
            f.write(BALANCER.format(port=port, servers="".join(f"    server {n} 127.0.0.1:{p}\n" for n, p in replicas.items())))
        Server(self, name, ["haproxy", "-db", "-f", path]).until(lambda: accepts(port), f"listening on port {port}")
        return f"http://127.0.0.1:{port}"


class Replica:
    """One copy of the application with a session directory of its own, and the lethe beside it."""

    def __init__(self, stage, number):
        self.stage, self.name, self.port, self.lethe_port = stage, f"replica-{number}", free_port(), free_port()
        self.sessions = os.path.join(stage.dir, f"sessions-{number}")
        self.php, self.lethe = None, None

    def start(self):
        os.mkdir(self.sessions, 0o700)
        self.php = Server(self.stage, f"{self.name}-php", ["php", "-d", f"session.save_path={self.sessions}", "-S", f"127.0.0.1:{self.port}",
                                                           "-t", self.stage.docroot], REPLICA=self.name)
        self.php.until(lambda: accepts(self.port), f"listening on port {self.port}")

    def start_lethe(self, store):
        self.lethe = Server(self.stage, f"{self.name}-lethe",
                            [self.stage.lethe, "run", f"--listen=127.0.0.1:{self.lethe_port}", f"--upstream=127.0.0.1:{self.port}",
                             f"--store={store}", "--files.profile=php", f"--files.dir={self.sessions}"], LETHE_KEYS=self.stage.keys)
        self.lethe.until(lambda: accepts(self.lethe_port), f"listening on port {self.lethe_port}")

    def crash(self):
        """As when its machine is gone: nothing is said good-bye to, and what was on its disk is lost."""
        self.lethe.kill9()
        self.php.kill9()
        shutil.rmtree(self.sessions)


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
    stage.keys = subprocess.run([stage.lethe, "keygen"], stdout=subprocess.PIPE, check=True, timeout=PATIENCE).stdout.decode().strip()
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
