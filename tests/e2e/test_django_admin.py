# SPDX-License-Identifier: Apache-2.0
"""Django's own admin, which nobody has made for lethe: its file sessions, each replica with a directory of its own, on one shared SQLite
file. A person logs in, works and logs out while three replicas take turns; once with lethe carrying the files, once with the adapter in
their place, and without lethe, where it must fail."""
import os
import re
import subprocess

import pytest
from stack_rig import APPS, AppServer, Stack, StackCluster, ending_clusters, open_directory, state_env

from rig.lethe import ROOT

PYTHON = "/usr/bin/python3"
APP = os.path.join(APPS, "python", "django_admin.py")
CARRIERS = {"files": {"files.profile": "django"}, "state_api": {"state_api.profile": "django"}}


class Admin(Stack):
    packages = ("python3-django", "python3-cheroot")
    database = csrf = None
    name = "django-admin"

    def server(self, index, directory, port, state):
        sessions = os.path.join(directory, "sessions")
        os.makedirs(sessions, exist_ok=True)
        env = {**state_env(index, state), **({"PYTHONPATH": os.path.join(ROOT, "adapters", "python")} if state else {})}
        return AppServer(port, [PYTHON, APP, port, self.database, sessions, self.csrf], env)


@pytest.fixture(name="cluster_of")
def cluster_of_fixture():
    """cluster_of(carrier or None, csrf): three replicas."""
    with open_directory() as path, ending_clusters() as made:
        database = os.path.join(path, "db.sqlite3")
        subprocess.run([PYTHON, APP, "prepare", database], check=True, timeout=60)

        def make(carrier, csrf):
            stack = Admin(database=database, csrf=csrf, carrier=carrier or "files", lethe=CARRIERS.get(carrier, {}))
            made.append(StackCluster(os.path.join(path, "cluster"), stack, lethe=carrier is not None))
            os.makedirs(made[-1].dir, exist_ok=True)
            return made[-1].start()
        yield make


class Person:
    """Works in the admin as a browser does: what a form sends is what stands in its page."""

    def __init__(self, cluster):
        self.browser, self.replicas = cluster.browser(), []
        self.browser.http.headers["Referer"] = f"http://{cluster.address}/admin/"

    def see(self, path, status=200):
        r = self.browser.get(path)
        assert r.status_code == status, (path, r.status_code, r.headers.get("Location"), r.text[:300])
        self.replicas.append(r.headers["X-Replica"])
        return r.text

    def send(self, path, **fields):
        """Fills in the form on this page; where the answer leads to."""
        page = self.see(path)
        token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)
        assert token, page[:500]
        hidden = dict(re.findall(r'<input type="hidden" name="([\w-]+)" value="([^"]*)"', page))
        r = self.browser.post(path, {**hidden, **fields})
        assert r.status_code == 302, (path, r.status_code, re.sub(r"\s+", " ", r.text)[-600:])
        self.replicas.append(r.headers["X-Replica"])
        return r.headers["Location"]


def work(cluster, name):
    """What a person does: the names of the groups that the pages showed, and whether the logout held."""
    person = Person(cluster)
    assert "csrfmiddlewaretoken" in person.see("/admin/login/?next=/admin/")
    assert person.send("/admin/login/?next=/admin/", username="admin", password="secret") == "/admin/"
    for _ in range(6):
        assert "Welcome" in person.see("/admin/") and "Log in" not in person.see("/admin/auth/user/")
    for i in range(3):
        assert person.send("/admin/auth/group/add/", name=f"{name} {i}") == "/admin/auth/group/"
        # the message lies in the cookie or in the session until a page shows it, once
        assert "was added successfully" in person.see("/admin/auth/group/")
        assert "was added successfully" not in person.see("/admin/auth/group/")
    copy = Person(cluster)
    copy.browser.http.cookies.update(person.browser.http.cookies)
    assert "Welcome" in copy.see("/admin/")
    person.see("/admin/logout/")
    for who in (person, copy, person, copy):
        who.see("/admin/", 302)
    assert set(person.replicas) == {"0", "1", "2"}


@pytest.mark.parametrize("csrf", ["cookie", "session"])
@pytest.mark.parametrize("carrier", CARRIERS)
def test_admin_on_three_replicas(carrier, csrf, cluster_of):
    cluster = cluster_of(carrier, csrf)
    for i in range(2):
        work(cluster, f"{carrier} {csrf} {i}")


@pytest.mark.parametrize("csrf", ["cookie", "session"])
def test_admin_without_lethe(csrf, cluster_of):
    cluster = cluster_of(None, csrf)
    person = Person(cluster)
    failed = None
    try:
        person.send("/admin/login/?next=/admin/", username="admin", password="secret")
        for _ in range(6):
            person.see("/admin/")
    except AssertionError as e:
        failed = e
    assert failed and ("302" in str(failed) or "403" in str(failed)), failed  # sent back to the login, or the CSRF token is not known
    # and on one replica alone it works
    one = Person(cluster)
    one.browser.ask = lambda method, path, to=None, _ask=one.browser.ask, **how: _ask(method, path, 0, **how)
    assert one.send("/admin/login/?next=/admin/", username="admin", password="secret") == "/admin/"
    assert all("Welcome" in one.see("/admin/") for _ in range(6))
