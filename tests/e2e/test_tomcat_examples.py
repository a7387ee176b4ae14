# SPDX-License-Identifier: Apache-2.0
"""Tomcat's own examples (Debian's tomcat10-examples, unmodified) on three Tomcats behind a balancer that takes turns: SessionExample, and
the pages behind a FORM login. Without lethe both must fail. And what adapters/tomcat/context.xml does on one Tomcat alone."""
import contextlib
import html
import re
from urllib.parse import urljoin, urlsplit

import pytest
from stack_rig import Browser, Stack, StackCluster, ending_clusters, missing_packages, open_directory, together
from tomcat_rig import Tomcat

from rig import free_port

EXAMPLES = '<Context docBase="/usr/share/tomcat10-examples/examples"><Resources allowLinking="true"/></Context>'  # as Debian has it
SESSION, PROTECTED = "/examples/servlets/servlet/SessionExample", "/examples/jsp/security/protected/index.jsp"
USERS = {"anna": ("pa55word", "tomcat"), "berta": ("s3cret", "tomcat")}
TURNS = 9


class Examples(Stack):
    name, carrier, packages = "tomcat-examples", "files", ("tomcat10", "tomcat10-examples")
    lethe = {"files.profile": "tomcat"}

    def server(self, index, directory, port, state):
        return Tomcat(directory, port, {"examples.xml": EXAMPLES}, index, users=USERS)


@contextlib.contextmanager
def running(stack, **how):
    todo = missing_packages(stack.packages)
    if todo:
        pytest.fail(todo, pytrace=False)
    with open_directory() as path, ending_clusters() as made:
        made.append(StackCluster(path, stack, **how))
        yield made[0].start()


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture():
    with running(Examples()) as c:
        yield c


@pytest.fixture(name="bare", scope="module")
def bare_fixture():
    with running(Examples(), lethe=False) as c:
        yield c


# --- what a user does ---

def follow(user, response, page, to=None):
    """Where a redirect leads, as a browser goes there."""
    assert response.status_code in (302, 303), (response.status_code, response.text[:300])
    where = urlsplit(urljoin(page, response.headers["Location"]))
    return user.get(where.path + (f"?{where.query}" if where.query else ""), to)


def attributes(text):
    """The session's attributes as SessionExample lists them."""
    return dict(re.findall(r"^(k\d+) = (v\d+)$", text, re.M))


def put_attributes(cluster, n):
    """Puts n attributes, one a request; what the session had after each."""
    user = cluster.browser()
    found = []
    for i in range(n):
        r = user.post(SESSION, {"dataname": f"k{i}", "datavalue": f"v{i}"})
        assert r.status_code == 200, (r.status_code, r.text[:300])
        found.append(attributes(r.text))
    return found


def all_kept(n):
    return [{f"k{j}": f"v{j}" for j in range(i + 1)} for i in range(n)]


def form_action(page, response):
    """The path to which the page's first form posts, `;jsessionid=` and all."""
    action = html.unescape(re.search(r"<form[^>]*action=[\"']?([^\"'\s>]+)", response.text, re.I).group(1))
    return urlsplit(urljoin(page, action)).path


def log_in(cluster, name, password):
    """The protected page, its login form, and the way back: the user, and the last answer."""
    user = cluster.browser()
    page = user.get(PROTECTED)
    assert page.status_code == 200 and "j_password" in page.text
    r = user.post(form_action(PROTECTED, page), {"j_username": name, "j_password": password})
    return user, follow(user, r, PROTECTED) if r.status_code in (302, 303) else r


def who(response):
    """As whom the protected page greets, None when it asks for a login."""
    found = re.search(r"You are logged in as remote user\s*<b>(\w+)</b>", response.text)
    return found and found.group(1)


# --- SessionExample ---

def test_attributes_are_kept(cluster):
    assert put_attributes(cluster, TURNS) == all_kept(TURNS)


def test_attributes_are_lost_without_lethe(bare):
    assert put_attributes(bare, TURNS) != all_kept(TURNS)


def test_parallel_attributes_are_all_kept(cluster):
    """Two Tomcats on one directory lose some of them: the valve's own lock is inside one JVM."""
    user = cluster.browser()
    user.get(SESSION)
    tabs = [user.tab() for _ in range(9)]  # it takes ten attributes
    pages = together([lambda t=t, i=i: t.post(SESSION, {"dataname": f"k{i}", "datavalue": f"v{i}"}, to=i % 3) for i, t in enumerate(tabs)])
    assert [r.status_code for r in pages] == [200] * 9
    for to in range(3):
        assert attributes(user.get(SESSION, to=to).text) == {f"k{i}": f"v{i}" for i in range(9)}


def test_link_of_the_first_answer(cluster):
    """Tomcat writes `;jsessionid=` into the links of its first answer, whatever the client takes: they lead to the same session."""
    user = cluster.browser()
    first = user.get(SESSION, to=0)
    action = form_action(SESSION, first)
    assert ";jsessionid=" in action
    r = user.post(action, {"dataname": "k1", "datavalue": "v1"}, to=1)
    assert r.status_code == 200 and attributes(r.text) == {"k1": "v1"}
    assert attributes(user.get(SESSION, to=2).text) == {"k1": "v1"}
    stranger = cluster.browser()
    assert attributes(stranger.get(action, to=1).text) == {}, "an id in a path opens nothing"


def test_static_files_and_pages_without_a_session(cluster):
    user = cluster.browser()
    assert "examples" in user.get("/examples/index.html").text.lower() and not user.http.cookies
    user.post(SESSION, {"dataname": "k1", "datavalue": "v1"})
    for _ in range(6):
        assert user.get("/examples/index.html").status_code == 200
    assert attributes(user.get(SESSION).text) == {"k1": "v1"}


# --- FORM login ---

def test_form_login(cluster):
    user, page = log_in(cluster, "anna", "pa55word")
    assert who(page) == "anna", page.text[:500]
    assert [who(user.get(PROTECTED)) for _ in range(TURNS)] == ["anna"] * TURNS
    other, page = log_in(cluster, "berta", "s3cret")
    assert who(page) == "berta"
    assert [(who(user.get(PROTECTED)), who(other.get(PROTECTED))) for _ in range(6)] == [("anna", "berta")] * 6
    user.get(f"{PROTECTED}?dataName=colour&dataValue=blue", to=0)
    assert all("blue" in user.get(PROTECTED, to=to).text for to in range(3))


def test_wrong_password(cluster):
    user, page = log_in(cluster, "anna", "wrong")
    assert who(page) is None and "Invalid user name" in page.text
    assert [who(user.get(PROTECTED)) for _ in range(3)] == [None] * 3


def test_log_off(cluster):
    user, page = log_in(cluster, "anna", "pa55word")
    assert who(page) == "anna"
    copy = user.tab()
    r = user.get(f"{PROTECTED}?logoff=true", to=1)
    assert who(follow(user, r, PROTECTED, to=2)) is None
    assert [who(b.tab().get(PROTECTED, to=to)) for b in (user, copy) for to in range(3)] == [None] * 6


def test_form_login_many_times(cluster):
    """Tomcat forwards to its login page and closes the answer before the session's file is there: nobody's login may be too early."""
    assert [who(log_in(cluster, "anna", "pa55word")[1]) for _ in range(12)] == ["anna"] * 12


def test_form_login_fails_without_lethe(bare):
    results = []
    for _ in range(3):
        user, page = log_in(bare, "anna", "pa55word")
        results += [who(page)] + [who(user.get(PROTECTED)) for _ in range(3)]
    assert results != ["anna"] * len(results) and None in results


def test_replica_is_killed(cluster):
    user, page = log_in(cluster, "anna", "pa55word")
    assert who(page) == "anna"
    user.post(SESSION, {"dataname": "k1", "datavalue": "v1"}, to=0)
    cluster.replicas[0].kill9()
    try:
        for to in (1, 2):
            assert who(user.get(PROTECTED, to=to)) == "anna" and attributes(user.get(SESSION, to=to).text) == {"k1": "v1"}
    finally:
        cluster.restore_parts()
    assert who(user.get(PROTECTED, to=0)) == "anna"


# --- one Tomcat alone: what the fragment does ---

class Alone:
    """One Tomcat with the face of a cluster."""
    routes = {}

    def __init__(self, base, change=None, **how):
        self.tomcat = Tomcat(base, free_port(), {"examples.xml": EXAMPLES}, users=USERS, **how)
        if change:
            path = f"{base}/conf/context.xml"
            with open(path, encoding="utf-8") as f:
                text = f.read()
            assert change[0] in text
            with open(path, "w", encoding="utf-8") as f:
                f.write(text.replace(*change))
        self.address, self.browsers = self.tomcat.address, []

    def browser(self):
        self.browsers.append(Browser(self))
        return self.browsers[-1]

    def __enter__(self):
        self.tomcat.start()
        return self

    def __exit__(self, *_):
        for b in self.browsers:
            b.close()
        self.tomcat.kill9()


def after_a_crash(alone):
    """A login and an attribute, kill -9, a start: who the user then is and what the session has."""
    user, page = log_in(alone, "anna", "pa55word")
    assert who(page) == "anna"
    user.post(SESSION, {"dataname": "k1", "datavalue": "v1"})
    alone.tomcat.kill9()
    alone.tomcat.start()
    return who(user.get(PROTECTED)), attributes(user.get(SESSION).text)


def test_fragment_keeps_sessions_over_a_crash(tmp_path):
    with Alone(tmp_path) as alone:
        assert after_a_crash(alone) == ("anna", {"k1": "v1"})
        assert alone.tomcat.files() and all(re.fullmatch(r"[0-9A-F]{32}\.session", f) for f in alone.tomcat.files())


def test_sessions_are_lost_in_a_crash_without_the_fragment(tmp_path):
    with Alone(tmp_path, fragment=False) as alone:
        assert after_a_crash(alone) == (None, {})


def test_fragment_needs_persist_authentication(tmp_path):
    with Alone(tmp_path, change=(' persistAuthentication="true"', "")) as alone:
        _, page = log_in(alone, "anna", "pa55word")
        assert page.status_code == 408
