# SPDX-License-Identifier: Apache-2.0
"""deploy/grafana and deploy/prometheus ask only for what /metrics of a running lethe prints, labels included, and do what they say."""
import glob
import json
import os
import re
import shutil
import subprocess

import pytest
from cluster_rig import keys

from rig import answer
from rig.lethe import ROOT

yaml = pytest.importorskip("yaml", reason="no python3-yaml")
GRAFANA = os.path.join(ROOT, "deploy/grafana/lethe.json")
PROMETHEUS = os.path.join(ROOT, "deploy/prometheus")
FROM_PROMETHEUS = {"job", "instance"}  # what every scraped sample gets
needs_promtool = pytest.mark.skipif(not shutil.which("promtool"), reason="no promtool (Debian's package prometheus)")


def rules():
    with open(os.path.join(PROMETHEUS, "alerts.yml"), encoding="utf-8") as f:
        return [rule for group in yaml.safe_load(f)["groups"] for rule in group["rules"]]


def dashboard():
    with open(GRAFANA, encoding="utf-8") as f:
        return json.load(f)


def graphs():
    return [p for p in dashboard()["panels"] if p["type"] != "row"]


@pytest.fixture(name="known")
def fixture_known(lethe, origin):
    """{name: {label: its values}} of a lethe that has lost a session, so that every series is there."""
    ids = iter(range(1000))

    def handler(conn):
        while conn.request():
            conn.send(answer(headers=f"Set-Cookie: JSESSIONID={next(ids):032x}\r\n"))
    l = lethe(origin(handler), {"store": "sealed", "keys": keys()})
    with l.client() as c:
        token = c.get("/").get("Set-Cookie").split(";")[0]
        c.get("/cart", f"Cookie: {token}\r\n")
    known = {}
    metrics = l.metrics()
    assert metrics.sum("lethe_sessions_lost_total") == 1
    for name, labels in metrics.samples:
        for label, value in [*labels, ("", "")]:
            known.setdefault(name, {}).setdefault(label, set()).add(value)
    return known


SELECTOR = re.compile(r"\b([a-zA-Z_:][a-zA-Z0-9_:]*)\s*\{([^}]*)\}|\b(lethe_[a-z_]+)\b")
MATCHER = re.compile(r'\s*([a-zA-Z_]\w*)\s*(=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"\s*,?')


def problems(expression, known):
    """What the expression asks for that nobody prints."""
    names = set()
    for m in SELECTOR.finditer(expression):
        name = m.group(1) or m.group(3)
        names.add(name)
        if name not in known:
            yield f"no metric {name}"
            continue
        for label, how, value in MATCHER.findall(m.group(2) or ""):
            if label in FROM_PROMETHEUS or label not in known[name]:
                if label not in FROM_PROMETHEUS:
                    yield f"{name} has no label {label}"
                continue
            for one in value.split("|") if how.endswith("~") else [value]:
                if one not in known[name][label]:
                    yield f"{name} has no {label}={one!r}"
    if not names:
        yield "asks for nothing"
    for labels in re.findall(r"\b(?:by|without)\s*\(([^)]*)\)", expression):
        for label in filter(None, map(str.strip, labels.split(","))):
            if label not in FROM_PROMETHEUS and not any(label in known.get(n, {}) for n in names):
                yield f"none of {sorted(names)} has the label {label} that it is grouped by"


def shown(text):
    """The labels that an annotation or a legend shows."""
    return set(re.findall(r"\{\{\s*\$labels\.(\w+)\s*\}\}", text)) | set(re.findall(r"\{\{\s*(\w+)\s*\}\}", text))


def kept(expression):
    """The labels that the outermost grouping leaves."""
    m = re.search(r"\b(?:sum|max|min|avg)\s+by\s*\(([^)]*)\)", expression)
    return {x.strip() for x in m.group(1).split(",")} if m else set()


def test_problems_are_found():
    """The check itself sees a name, a label, a value and a grouping that do not exist."""
    known = {"lethe_x": {"": {""}, "event": {"a", "b"}}}
    assert not list(problems('sum by (job, event) (rate(lethe_x{event=~"a|b",job=~"$job"}[5m]))', known))
    for wrong in ("lethe_y", "up", 'up{job="x"}', 'lethe_x{kind="a"}', 'lethe_x{event="c"}', 'lethe_x{event=~"a|c"}', "sum by (route) (lethe_x)", "1"):
        assert list(problems(wrong, known)), wrong


def test_alerts_ask_for_what_is_printed(known):
    found = {rule["alert"]: list(problems(rule["expr"], known)) for rule in rules()}
    assert len(found) >= 15 and not any(found.values()), found
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket") and rule["annotations"]["summary"] and rule["annotations"]["do"]
        assert shown(rule["annotations"]["summary"]) <= kept(rule["expr"]), rule["alert"]


def test_panels_ask_for_what_is_printed(known):
    found = {(p["title"], t["expr"]): list(problems(t["expr"], known)) for p in graphs() for t in p["targets"]}
    assert len(found) >= 30 and not any(found.values()), found
    for p in graphs():
        assert all(shown(t["legendFormat"]) <= kept(t["expr"]) for t in p["targets"]), p["title"]
    for v in dashboard()["templating"]["list"]:
        assert v["type"] == "datasource" or not list(problems(v["definition"].split("(", 1)[1].split(",")[0], known)), v


def test_every_metric_has_a_panel(known):
    """A metric that is added wants to be seen, too."""
    asked = " ".join(t["expr"] for p in graphs() for t in p["targets"])
    unseen = {re.sub(r"_(bucket|sum|count)$", "", n) for n in known if not re.search(re.sub(r"_(bucket|sum|count)$", "", n), asked)}
    assert not unseen


def test_dashboard_is_whole():
    d = dashboard()
    ids = [p["id"] for p in d["panels"]]
    assert len(set(ids)) == len(ids) and d["uid"] == "lethe"
    taken = set()
    for p in d["panels"]:
        g = p["gridPos"]
        cells = {(x, y) for x in range(g["x"], g["x"] + g["w"]) for y in range(g["y"], g["y"] + g["h"])}
        assert g["x"] + g["w"] <= 24 and not cells & taken, p["title"]
        taken |= cells
    for p in graphs():
        assert p["title"] and p["description"] and p["fieldConfig"]["defaults"]["unit"] and p["targets"], p["title"]
        assert all(t["datasource"]["uid"] == "${datasource}" for t in p["targets"])


def promtool(*args, cwd=PROMETHEUS):
    done = subprocess.run(["promtool", *args], cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


@needs_promtool
def test_alerts_pass_promtool():
    assert f"{len(rules())} rules found" in promtool("check", "rules", "alerts.yml")
    assert "SUCCESS" in promtool("test", "rules", "alerts_test.yml")


def test_every_alert_is_tried_both_ways():
    with open(os.path.join(PROMETHEUS, "alerts_test.yml"), encoding="utf-8") as f:
        tried = [(t["alertname"], bool(t["exp_alerts"])) for test in yaml.safe_load(f)["tests"] for t in test["alert_rule_test"]]
    assert sorted(tried) == sorted((rule["alert"], raised) for rule in rules() for raised in (True, False))


@needs_promtool
def test_panels_pass_promtool(tmp_path):
    """Each panel's query as a recording rule, with Grafana's variables filled in."""
    queries = [t["expr"].replace("$__rate_interval", "5m").replace("$__range", "1h") for p in graphs() for t in p["targets"]]
    made = {"groups": [{"name": "panels", "rules": [{"record": f"panel:{i}:query", "expr": q} for i, q in enumerate(queries)]}]}
    (tmp_path / "panels.yml").write_text(yaml.safe_dump(made))
    assert f"{len(queries)} rules found" in promtool("check", "rules", "panels.yml", cwd=tmp_path)


@needs_promtool
def test_promtool_accepts_what_is_printed(lethe, origin):
    """/metrics passes Prometheus' own linter."""
    text = lethe(origin()).get_admin("/metrics").body
    done = subprocess.run(["promtool", "check", "metrics"], input=text, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
    assert done.returncode == 0, done.stdout.decode()


def test_nothing_else_lies_there():
    """What is shipped is what is tested."""
    assert sorted(os.path.basename(p) for p in glob.glob(PROMETHEUS + "/*")) == ["alerts.yml", "alerts_test.yml"]
    assert [os.path.basename(p) for p in glob.glob(os.path.dirname(GRAFANA) + "/*")] == ["lethe.json"]
