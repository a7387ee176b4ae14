# SPDX-License-Identifier: Apache-2.0
"""What stands on the pages is so: every recipe is followed as it is written, on two machines with a systemd, nginx, Apache, Tomcat, … of
their own, and a session then lives on both; without lethe it does not. Every configuration is taken by `lethe check`."""
import os
import re

import docs_rig
import machine_rig
import pytest
from stack_rig import APPS, missing_packages
from stacks.node import node_modules

from rig import run_cli
from rig.lethe import ROOT

BARE = "docs/quickstart/bare-metal.md"
SERVICE = """[Service]
User=www-data
ExecStart={}
"""


class Recipe:
    """`app`: what stands in for the operator's own application: shell commands that put it where the page has it."""

    def __init__(self, page, name, packages, app, count, unit=None):
        self.page, self.name, self.packages, self.app, self.count, self.unit = page, name, packages, app, count, unit


def python(page, name, package, arguments, more=()):
    return Recipe(f"docs/stacks/{page}.md", name, (package, *more), f"mkdir -p /srv/app; cp {APPS}/python/{page}_app.py /srv/app/app.py", "/count",
                  f"/usr/bin/python3 /srv/app/app.py 3000 {arguments}")


PHP = f"mkdir -p /srv/app; cp -r {APPS}/php/. /srv/app"
RECIPES = [
    Recipe("docs/stacks/php.md", "php-fpm", ("nginx-light", "php-fpm"), PHP, "/counter.php"),
    Recipe("docs/stacks/php.md", "mod-php", ("apache2", "libapache2-mod-php"), PHP, "/counter.php"),
    Recipe("docs/stacks/tomcat.md", "tomcat", ("tomcat10",),
           f"rm -rf /var/lib/tomcat10/webapps/ROOT; cp -r {APPS}/tomcat /var/lib/tomcat10/webapps/ROOT", "/count"),
    Recipe("docs/stacks/node.md", "node", (), f"mkdir -p /srv/app; cp {APPS}/node/express.js /srv/app; cp -r @node_modules /srv/app", "/count",
           "/usr/bin/env PORT=3000 node /srv/app/express.js"),
    python("django", "django", "python3-django", "cache", ("python3-cheroot",)),
    python("cherrypy", "cherrypy", "python3-cherrypy3", ""),
    python("beaker", "beaker", "python3-beaker", "", ("python3-cheroot",)),
    Recipe("docs/stacks/rack.md", "rack", ("puma", "ruby-sinatra"), f"mkdir -p /srv/app; cp {APPS}/ruby/sinatra.ru /srv/app", "/count",
           "/usr/bin/puma --no-config -t 4:16 -b tcp://127.0.0.1:3000 /srv/app/sinatra.ru"),
    Recipe("docs/stacks/perl.md", "perl", ("starman", "libdancer2-perl"), f"mkdir -p /srv/app; cp {APPS}/perl/dancer2.psgi /srv/app", "/count",
           "/usr/bin/starman --workers 6 --listen 127.0.0.1:3000 --disable-keepalive /srv/app/dancer2.psgi"),
]


class Visitor:
    """A browser that is wherever it asks: the counters that it is shown, by the machines in turn."""

    def __init__(self):
        self.cookies = {}

    def ask(self, machine, port, path):
        jar = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        text = machine.run(f"curl -sS -i --max-time 20 {f'-b {chr(39)}{jar}{chr(39)}' if jar else ''} http://127.0.0.1:{port}{path}").stdout
        for name, value in re.findall(r"^set-cookie: ([^=;\s]+)=([^;\s]*)", text, re.M | re.I):
            self.cookies[name] = value
        found = re.search(r'"n": ?(\d+)', text)
        assert found, text[:1500]
        return int(found[1])


def turns(machines, port, path):
    visitor = Visitor()
    return [visitor.ask(machines[i % 2], port, path) for i in range(6)], visitor.cookies


def prepare(machines, recipe):
    """What the operator has: Redis, lethe installed with the same keys everywhere, an application that runs."""
    machines[0].run("systemd-run --unit=redis redis-server --port 6379 --save '' --bind 0.0.0.0 --protected-mode no")
    for m in machines:
        docs_rig.follow(m, BARE, "bare-metal")
        m.run(recipe.app.replace("@node_modules", node_modules() if "@" in recipe.app else ""))
        if recipe.unit:
            m.write("/etc/systemd/system/app.service", SERVICE.format(recipe.unit))
            m.run("systemctl daemon-reload; systemctl start app; "
                  "curl -sS -o /dev/null --retry 30 --retry-connrefused --retry-delay 1 http://127.0.0.1:3000/anonymous")
    machines[1].write("/etc/lethe/keys", machines[0].run("cat /etc/lethe/keys").stdout, 0o640)


@pytest.mark.slow
@pytest.mark.watchdog(170)
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda r: r.name)
def test_recipe(recipe):
    lacking = machine_rig.cannot() or missing_packages(recipe.packages)
    if lacking:
        pytest.skip(lacking)
    if not os.path.exists(os.path.join(ROOT, "build/release/lethe")):
        pytest.skip("no build/release/lethe: the page installs that (./dev build release)")
    with machine_rig.machines(2) as both:
        prepare(both, recipe)
        if recipe.unit:  # without lethe; once its adapter is loaded, the application shares its sessions whichever way one comes
            alone, _ = turns(both, 3000, recipe.count)
        for m in both:
            docs_rig.follow(m, recipe.page, recipe.name)
        seen, cookies = turns(both, 8080, recipe.count)
        assert seen == [1, 2, 3, 4, 5, 6] and "lethe" in cookies, (seen, cookies)
        if not recipe.unit:
            alone, _ = turns(both, 3000, recipe.count)
        assert alone != [1, 2, 3, 4, 5, 6], "the session lives on both machines without lethe: this proves nothing"


def test_every_recipe_is_followed():
    """A recipe that nobody follows is none; and each names its packages."""
    there = {(page, name) for page in docs_rig.pages() for name in docs_rig.recipes(page) if page.startswith("docs/stacks")}
    assert there == {(r.page, r.name) for r in RECIPES}
    for r in RECIPES:
        named = [b.text for b in docs_rig.blocks(r.page) if b.words.get("install") == r.name]
        if r.unit is None:
            assert named and set(named[0].split()) >= set(r.packages), r.name


def test_every_block_says_what_it_is():
    """Commands that no test runs say so."""
    for page in docs_rig.pages():
        for b in docs_rig.blocks(page):
            if b.language == "sh" and page.startswith("docs/"):
                assert set(b.words) & {"run", "install", "shown"}, f"{b}: run=…, install=… or shown"


GROUP = re.compile(r"^\s*(?:files|session|state_api|jwt|health|sticky|log|timeouts|limits|redis)\s*:\s*\{")


def configurations():
    """(page, text) of whole configurations and of fragments."""
    for page in docs_rig.pages():
        for b in docs_rig.blocks(page):
            if b.words.get("file") == "/etc/lethe/lethe.conf":
                yield f"{page}:{b.line}", b.text
        for text in docs_rig.indented(page):
            lines = [re.sub(r"^lethe:\s+", "", line) for line in text.splitlines()]
            groups = [line for line in lines if GROUP.match(line)]
            if groups and all(line.rstrip().endswith("};") or "#" in line for line in groups):
                yield f"{page}: {groups[0]}", "\n".join(groups)


@pytest.mark.parametrize("where,text", [pytest.param(w, t, id=w) for w, t in configurations()])
def test_lethe_takes_every_configuration(where, text, tmp_path):
    keys = tmp_path / "keys"
    keys.write_text(run_cli("keygen").stdout)
    text = text.replace('"file:/etc/lethe/keys"', f'"file:{keys}"')
    text = re.sub(r'\bowner = "www-data"', f'owner = "{os.getuid()}"', text)
    (tmp_path / "sessions").mkdir()
    text = re.sub(r'\bdir = "[^"]*"', f'dir = "{tmp_path}/sessions"', text)
    path = tmp_path / "lethe.conf"
    path.write_text(text)
    store = "sealed" if "revocations" in text else "redis://127.0.0.1:6379/0"  # where the page has the fragment
    flags = [] if "upstream =" in text else ["--upstream=127.0.0.1:3000", f"--store={store}"]
    done = run_cli("check", "-c", path, *flags)
    assert done.returncode == 0, done.stderr


def said():
    """All that the program can say: its texts."""
    text = []
    for folder in ("proxy", "modules", "config"):
        for at, _, names in os.walk(os.path.join(ROOT, folder)):
            for name in names:
                if name.endswith((".c", ".h")):
                    with open(os.path.join(at, name), encoding="utf-8") as f:
                        text += re.findall(r'"(?:[^"\\\n]|\\.)*"', f.read())
    return "\n".join(text)


OPERATIONS = ["docs/troubleshooting.md", "docs/security-model.md", "docs/capacity.md", "docs/operating.md", BARE, "docs/quickstart/kubernetes.md"]
# Words in code that are somebody else's.
FOREIGN = {"session_write_close", "session_start", "worker_init", "proxy_buffer_size"}


@pytest.mark.parametrize("page", OPERATIONS)
def test_every_message_metric_and_option_exists(page):
    text, code, reference = docs_rig.read(page), said(), docs_rig.read("docs/reference.md")
    words = re.findall(r"`([^`\n]+)`", text)
    for name, label in re.findall(r"\b(lethe_[a-z_]+)(?:\{(\w+)=)?", " ".join(words)):
        assert f'"{name}"' in code or f'"{name}' in code, name
        assert not label or f"{label}=" in code, (name, label)
    for label in re.findall(r'lethe_\w+\{\w+="(\w+)"\}', " ".join(words)):
        assert label in code, label
    for word in words:
        if re.fullmatch(r"[a-z]+(?:_[a-z]+)+", word) and word not in FOREIGN and f"`{word}`" not in reference:
            assert re.search(rf"(?<![a-z_]){word}(?![a-z_])", code), f"{word}: neither a message nor an option"
        if re.fullmatch(r"(?:session|files|state_api|timeouts|limits|health|redis|jwt|log|sticky)\.[a-z_]+", word):
            assert f"`{word}`" in reference, word


def test_there_are_configurations():
    assert sum(1 for _ in configurations()) > 15
