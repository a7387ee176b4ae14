# SPDX-License-Identifier: Apache-2.0
"""Real applications, unmodified, as Debian installs them: DokuWiki and Shaarli on three replicas behind a balancer that takes turns. A user
logs in, works, and logs out, every request on another replica. The same without lethe must fail."""
import html
import re
from urllib.parse import urljoin, urlsplit

import pytest
from php_apps_rig import DokuWiki, Shaarli, running
from stack_rig import together

PAGES, LINKS = 6, 4


def cluster_of(stack, **how):
    todo = stack.missing()
    if todo:
        pytest.fail(f"{stack.name} cannot run here: {todo}", pytrace=False)
    return running(stack, **how)


def follow(user, page, response):
    """Goes where a redirect leads, as often as it leads on. Only the path counts: the host in it is the site's public name."""
    for _ in range(5):
        if response.status_code not in (301, 302, 303):
            return response
        where = urlsplit(urljoin(page, response.headers["Location"]))
        response = user.get(where.path + (f"?{where.query}" if where.query else ""))
    raise AssertionError("it redirects for ever")


def fields(text, form):
    """The hidden fields of the form whose tag has these words in it."""
    found = re.search(rf"<form[^>]*{form}[^>]*>(.*?)</form>", text, re.S)
    assert found, f"no form {form} in {text[:500]}"
    hidden = re.findall(r"<input[^>]*type=\"hidden\"[^>]*>", found.group(1))
    pairs = [(re.search(r'name="([^"]*)"', tag), re.search(r'value="([^"]*)"', tag)) for tag in hidden]
    return {html.unescape(name.group(1)): html.unescape(value.group(1)) if value else "" for name, value in pairs}


# --- DokuWiki ---

@pytest.fixture(scope="module")
def wiki():
    with cluster_of(DokuWiki()) as c:
        yield c


@pytest.fixture(scope="module")
def bare_wiki():
    with cluster_of(DokuWiki(), lethe=False) as c:
        yield c


def wiki_user(page):
    found = re.search(r"Logged in as: <bdi>[^<]*</bdi> \(<bdi>(\w+)</bdi>\)", page.text)
    return found and found.group(1)


def trace(page):
    """The pages that the user has visited, as DokuWiki shows them: they are in the session."""
    found = re.search(r'<div class="trace">(.*?)</div>', page.text, re.S)
    return re.findall(r'title="([^"]*)"', found.group(1)) if found else []


def wiki_login(cluster, name, password):
    user = cluster.browser()
    form = fields(user.get("/doku.php?id=start&do=login").text, 'id="dw__login"')
    r = user.post("/doku.php?id=start", {**form, "do": "login", "u": name, "p": password})
    return user, follow(user, "/doku.php", r)


def write_page(user, name, text):
    """Opens the editor, saves, and looks: the page's text afterwards, and what the wiki complained of."""
    form = fields(user.get(f"/doku.php?id={name}&do=edit").text, "dw__editform")
    r = user.post(f"/doku.php?id={name}", {**form, "wikitext": text, "do[save]": "Save"})
    page = follow(user, "/doku.php", r)
    return re.sub(r"<[^>]+>", " ", page.text), re.findall(r'<div class="error">(.*?)</div>', page.text, re.S)


def visit(cluster):
    """A user logs in and reads on: as whom each page greets, and the visited pages that the last one lists."""
    user, page = wiki_login(cluster, "anna", DokuWiki.users["anna"])
    names = [wiki_user(page)]
    for i in range(PAGES):
        write_page(user, f"page{i}", f"This is page number {i}.")
    for i in range(PAGES):
        page = user.get(f"/doku.php?id=page{i}")
        names.append(wiki_user(page))
    return names, trace(page)


def test_wiki_visit(wiki):
    names, visited = visit(wiki)
    assert names == ["anna"] * (PAGES + 1)
    assert visited[-PAGES:] == [f"page{i}" for i in range(PAGES)], "the session has lost some of the way"


def test_wiki_visit_without_lethe(bare_wiki):
    _, visited = visit(bare_wiki)
    assert visited[-PAGES:] != [f"page{i}" for i in range(PAGES)]


def test_wiki_edit(wiki):
    """The editor's security token is made from the session's id and the user."""
    user, _ = wiki_login(wiki, "anna", DokuWiki.users["anna"])
    for i in range(3):
        text, errors = write_page(user, "notes", f"Revision {i} of the notes.")
        assert not errors and f"Revision {i} of the notes." in text
    form = fields(user.get("/doku.php?id=notes&do=edit").text, "dw__editform")
    user.post("/doku.php?id=notes", {**form, "sectok": "0" * 32, "wikitext": "Forged.", "do[save]": "Save"})
    assert "Revision 2 of the notes." in user.get("/doku.php?id=notes").text, "a forged token was taken"


def test_wiki_users_are_not_mixed(wiki):
    def use(name):
        user, page = wiki_login(wiki, name, DokuWiki.users[name])
        return [wiki_user(page)] + [wiki_user(user.get("/doku.php?id=start")) for _ in range(6)]
    names = ["anna", "berta"] * 3
    assert together([lambda name=name: use(name) for name in names]) == [[name] * 7 for name in names]


def test_wiki_logout(wiki):
    user, page = wiki_login(wiki, "anna", DokuWiki.users["anna"])
    assert wiki_user(page) == "anna"
    link = html.unescape(re.search(r'href="([^"]*do=logout[^"]*)"', page.text).group(1))
    page = follow(user, "/doku.php", user.get(link))
    assert [wiki_user(page)] + [wiki_user(user.get("/doku.php?id=start", to=to)) for to in range(3)] == [None] * 4


def test_wiki_wrong_password(wiki):
    user, page = wiki_login(wiki, "anna", "wrong")
    assert wiki_user(page) is None and "username or password was wrong" in page.text


def test_wiki_replica_is_killed(wiki):
    user, page = wiki_login(wiki, "berta", DokuWiki.users["berta"])
    assert wiki_user(page) == "berta"
    user.get("/doku.php?id=start", to=0)
    wiki.replicas[0].kill9()
    try:
        assert [wiki_user(user.get("/doku.php?id=start", to=to)) for to in (1, 2)] == ["berta"] * 2
    finally:
        wiki.restore_parts()
    assert wiki_user(user.get("/doku.php?id=start", to=0)) == "berta"


# --- Shaarli ---

@pytest.fixture(scope="module")
def links():
    with cluster_of(Shaarli()) as c:
        yield install(c)


@pytest.fixture(scope="module")
def bare_links():
    with cluster_of(Shaarli(), lethe=False) as c:
        yield install(c, to=0)


def install(cluster, to=None):
    """The installer's pages. It tests whether sessions work, by a redirect to and fro: without lethe they do only on one replica."""
    user = cluster.browser()
    seen = [user.get(path, to) for path in ("/install", "/install/session-test", "/install")]
    assert [r.status_code for r in seen] == [302, 302, 200], [(r.status_code, r.headers.get("Location"), r.text[:200]) for r in seen]
    form = fields(seen[-1].text, "installform")
    r = user.post("/install", {**form, "setlogin": "anna", "setpassword": "pa55word", "title": "Links", "continent": "Europe",
                               "city": "Berlin", "language": "en"}, to)
    assert r.status_code == 302 and r.headers["Location"].endswith("/login")
    return cluster


def links_login(cluster, password="pa55word"):
    """The login's form has a token that the session holds. The user, the answer's status, whether the first page then offers a logout."""
    user = cluster.browser()
    form = fields(user.get("/login").text, "loginform")
    r = user.post("/login", {**form, "login": "anna", "password": password})
    return user, r.status_code, "/admin/logout" in user.get("/").text


def add_links(cluster, names):
    """Adds a link for each name, forms and tokens and all: the statuses, and the titles that the first page then has."""
    user, status, _ = links_login(cluster)
    statuses = [status]
    for name in names:
        page = user.get("/admin/shaare?post=")
        form = fields(page.text, "linkform") if "linkform" in page.text else {}
        r = user.post("/admin/shaare", {**form, "lf_url": f"http://127.0.0.1/{name}", "lf_title": name, "lf_description": "", "lf_tags": "",
                                        "save_edit": "Save"})
        statuses.append(r.status_code)
    return statuses, re.findall(r'class="linklist-link">\s*([^<]*?)\s*<', user.get("/").text)


def test_links_login(links):
    for _ in range(4):
        user, status, logged_in = links_login(links)
        assert status == 302 and logged_in
        assert ["/admin/logout" in user.get("/").text for _ in range(6)] == [True] * 6


def test_links_login_without_lethe(bare_links):
    seen = [links_login(bare_links)[1:] for _ in range(4)]
    assert seen != [(302, True)] * 4


def test_links_are_added(links):
    names = [f"link{i}" for i in range(LINKS)]
    statuses, titles = add_links(links, names)
    assert statuses == [302] * (LINKS + 1)
    assert sorted(t for t in titles if t.startswith("link")) == names


def test_links_are_not_added_without_lethe(bare_links):
    names = [f"link{i}" for i in range(LINKS)]
    statuses, titles = add_links(bare_links, names)
    assert statuses != [302] * (LINKS + 1) or sorted(t for t in titles if t.startswith("link")) != names


def test_links_token_counts_once(links):
    user, _, _ = links_login(links)
    form = fields(user.get("/admin/shaare?post=").text, "linkform")
    data = {**form, "lf_url": "http://127.0.0.1/once", "lf_title": "once", "lf_description": "", "lf_tags": "", "save_edit": "Save"}
    assert user.post("/admin/shaare", data).status_code == 302
    assert user.post("/admin/shaare", data).status_code != 302, "a token counts a second time on another replica"


def test_links_logout(links):
    user, _, logged_in = links_login(links)
    assert logged_in
    follow(user, "/", user.get("/admin/logout", to=1))
    assert ["/admin/logout" in user.get("/", to=to).text for to in range(3)] == [False] * 3


def test_links_wrong_password(links):
    _, status, logged_in = links_login(links, "wrong")
    assert not logged_in and status != 302
