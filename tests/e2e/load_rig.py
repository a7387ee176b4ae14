# SPDX-License-Identifier: Apache-2.0
"""Users that go on and on while something is done to lethe: what failed, and whose session was lost."""
import contextlib
import threading
import time

import requests

from rig import Client, Ended, wait_for
from rig.http1 import Malformed


class Users:
    """Each user counts in a session of its own, one request behind the other: a request that fails, or a number that does not follow the
    one before (a lost session, a lost update), is written down."""

    def __init__(self, cluster, n=4, to=None, fresh=False):
        self.cluster, self.to, self.fresh = cluster, to, fresh
        self.stop, self.done = threading.Event(), 0
        self.failed, self.lost = [], []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(cluster.browser(),), daemon=True) for _ in range(n)]

    def _run(self, browser):
        last = 0
        while not self.stop.is_set():
            try:
                r = browser.ask("POST", "/count", self.to)
                number = r.json()["n"] if r.status_code == 200 else None
                problem = None if r.status_code == 200 else f"{r.status_code} {r.headers.get('X-Lethe-Error')}"
            except requests.RequestException as e:
                number, problem = None, repr(e)
            with self.lock:
                self.done += 1
                if problem:
                    self.failed.append(problem)
                elif number != last + 1:
                    self.lost.append((last, number))
            # A request whose end nobody saw may have counted or not.
            last = number if number is not None else self._look(browser, last)
            if self.fresh:
                browser.http.close()

    def _look(self, browser, last):
        while not self.stop.is_set():
            with contextlib.suppress(requests.RequestException, ValueError, KeyError):
                return browser.ask("POST", "/count", self.to).json()["n"]
            self.stop.wait(0.05)
        return last

    def more(self, n=20, seconds=60):
        """Until so many further requests have been answered: what happened before had load."""
        before = self.done
        wait_for(lambda: self.done >= before + n, seconds, "the users go on")

    def __enter__(self):
        for t in self.threads:
            t.start()
        self.more()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for t in self.threads:
            t.join(30)

    def check(self):
        assert not self.failed and not self.lost, (self.done, len(self.failed), self.failed[:5], len(self.lost), self.lost[:5])


class Posts:
    """Clients of exact bytes: `kept` of them send one POST after the other on one connection and leave it when the answer says so, `fresh`
    of them make a connection for each. Strict: nothing is tried twice."""

    def __init__(self, address, kept=3, fresh=3):
        self.address, self.stop = address, threading.Event()
        self.done, self.failed = 0, []
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run, args=(i < kept,), daemon=True) for i in range(kept + fresh)]

    def _run(self, keep):
        close = "" if keep else "Connection: close\r\n"
        request = f"POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n{close}\r\nabc".encode()
        c, at = None, 0.0
        while not self.stop.is_set():
            problem, before = None, at
            at = time.monotonic()
            try:
                c = c or Client(self.address)
                r = c.ask(request)
                problem = None if r.status == 200 else f"{r.status} {r.get('x-lethe-error')}"
                ends = r.has_option("close")
            except (OSError, Ended, Malformed) as e:
                now = time.monotonic()
                problem, ends = f"{e!r} (kept: {keep}; asked {now - at:.3f} s before, and {at - before:.3f} s before that)", True
                self.stop.wait(0.005)
            if ends and c:
                c.close()
                c = None
            with self.lock:
                self.done += 1
                if problem:
                    self.failed.append(problem)
        if c:
            c.close()

    more, __enter__, __exit__ = Users.more, Users.__enter__, Users.__exit__

    def check(self):
        assert not self.failed, (self.done, len(self.failed), self.failed[:5])
