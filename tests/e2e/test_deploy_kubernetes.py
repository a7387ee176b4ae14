# SPDX-License-Identifier: Apache-2.0
"""deploy/kubernetes and deploy/helm as kustomize and helm render them: by the schemas of Kubernetes' API, and by what must fit together. No
cluster runs them here."""
import copy
import json
import os
import re

import docs_rig
import pytest
from kubernetes_rig import helm, kustomize, validate

from rig import Redis, answer, run_cli
from rig.lethe import ROOT
from rig.servers import RedisError

KUBERNETES, CHART = os.path.join(ROOT, "deploy/kubernetes"), os.path.join(ROOT, "deploy/helm/lethe")
PAGE = "docs/quickstart/kubernetes.md"
OVERLAYS = sorted(os.listdir(os.path.join(KUBERNETES, "overlays")))
IMAGES = ["--set", "app.image=registry.example/shop:1,lethe.image=registry.example/lethe:0.1"]
VALUES = {"defaults": [], "php": ["--set", "files.profile=php,app.runAsUser=33,app.port=80"],
          "node": ["--set", "stateApi.profile=express,stateApi.runtime=node"],
          "perl": ["--set", "stateApi.profile=dancer2,stateApi.runtime=perl,nativeSidecar=false"],
          "php before 1.29": ["--set", "files.profile=php,app.runAsUser=33,nativeSidecar=false"],
          "open": ["--set", "networkPolicy.enabled=false,lethe.options.LETHE_SESSION_IDLE_TTL=2h,secrets.keys=ring"]}
# What the page has the operator make: name → keys.
SECRETS = {"lethe-keys": {"10-first"}, "lethe-store": {"url"}, "redis-users": {"users.acl"}, "ring": {"10-first"}}


def rendered():
    for name in OVERLAYS:
        yield f"overlay {name}", lambda n=name: kustomize(os.path.join(KUBERNETES, "overlays", n))
    yield "base", lambda: kustomize(os.path.join(KUBERNETES, "base"))
    for name, more in VALUES.items():
        yield f"chart {name}", lambda m=more: helm("template", "shop", CHART, *IMAGES, *m).stdout


RENDERED = dict(rendered())
_done = {}


def render(name):
    if name not in _done:
        _done[name] = validate(RENDERED[name]())
    return _done[name]


# What a cluster of 1.25 and of today both serve. (The schemas know versions that no cluster serves any more.)
SERVED = {"v1": {"ConfigMap", "Service"}, "apps/v1": {"Deployment", "StatefulSet"}, "autoscaling/v2": {"HorizontalPodAutoscaler"},
          "policy/v1": {"PodDisruptionBudget"}, "networking.k8s.io/v1": {"NetworkPolicy"}}


# --- what must fit together; each check yields findings ---

def check_versions(objects):
    for o in objects:
        if o["kind"] not in SERVED.get(o["apiVersion"], ()):
            yield f"{o['apiVersion']} {o['kind']} is not served"


def pods(objects):
    return [(o, o["spec"]["template"]) for o in objects if o["kind"] in ("Deployment", "StatefulSet")]


def containers(template):
    return template["spec"].get("initContainers", []) + template["spec"]["containers"]


def fits(selector, labels):
    return bool(selector) and all(labels.get(k) == v for k, v in selector.items())


def check_selectors(objects):
    labels = [t["metadata"]["labels"] for _, t in pods(objects)]
    for o in objects:
        spec = o.get("spec", {})
        selector = {"Service": spec.get("selector"), "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
                    "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels")}.get(o["kind"], ...)
        if selector is not ... and sum(fits(selector, found) for found in labels) != 1:
            yield f"{o['kind']} {o['metadata']['name']} selects not exactly one kind of pod"
    for o, t in pods(objects):
        if not fits(o["spec"]["selector"]["matchLabels"], t["metadata"]["labels"]):
            yield f"{o['metadata']['name']} does not select its own pods"
    for o in objects:
        target = o["spec"]["scaleTargetRef"] if o["kind"] == "HorizontalPodAutoscaler" else None
        if target and not any(p["kind"] == target["kind"] and p["metadata"]["name"] == target["name"] and "replicas" not in p["spec"]
                              for p, _ in pods(objects)):
            yield f"the autoscaler scales nothing that leaves it the number of replicas: {target}"


def check_ports(objects):
    for o in objects:
        selector = o.get("spec", {}).get("selector") if o["kind"] == "Service" else \
            o["spec"]["podSelector"].get("matchLabels") if o["kind"] == "NetworkPolicy" else None
        there = {p["name"] for _, t in pods(objects) if selector and fits(selector, t["metadata"]["labels"])
                 for c in containers(t) for p in c.get("ports", [])}
        wanted = [p["targetPort"] for p in o["spec"]["ports"]] if o["kind"] == "Service" else \
            [p["port"] for rule in o["spec"].get("ingress", []) for p in rule.get("ports", [])] if o["kind"] == "NetworkPolicy" else []
        for port in wanted:
            if port not in there:
                yield f"{o['kind']} {o['metadata']['name']} names the port {port}, which no container has"


def check_references(objects):
    there = {(o["kind"], o["metadata"]["name"]): set(o.get("data", {})) for o in objects}
    there.update({("Secret", name): keys for name, keys in SECRETS.items()})
    for _, t in pods(objects):
        volumes = {v["name"]: v for v in t["spec"].get("volumes", [])}
        claims = {c["metadata"]["name"] for o, own in pods(objects) if own is t for c in o["spec"].get("volumeClaimTemplates", [])}
        used = {m["name"] for c in containers(t) for m in c.get("volumeMounts", [])}
        if used != set(volumes) | claims:
            yield f"volumes {sorted(set(volumes) | claims)}, mounted are {sorted(used)}"
        for v in volumes.values():
            wanted = ("ConfigMap", v["configMap"]["name"]) if "configMap" in v else ("Secret", v["secret"]["secretName"]) if "secret" in v else None
            if wanted and wanted not in there:
                yield f"volume {v['name']}: there is no {wanted}"
            for c in containers(t):
                for m in c.get("volumeMounts", []):
                    if m["name"] == v["name"] and "subPath" in m and m["subPath"] not in there.get(wanted, ()):
                        yield f"{m['subPath']} is not in {wanted}"
        for c in containers(t):
            for e in c.get("env", []):
                ref = e.get("valueFrom", {}).get("secretKeyRef")
                if ref and ref["key"] not in there.get(("Secret", ref["name"]), ()):
                    yield f"{e['name']}: the secret {ref} is made by nobody"


def check_hardening(objects):
    for o, t in pods(objects):
        if not t["spec"]["securityContext"].get("runAsNonRoot") or t["spec"].get("automountServiceAccountToken") is not False:
            yield f"{o['metadata']['name']}: root, or a token of the API"
        for c in containers(t):
            s = c["securityContext"]
            if s.get("allowPrivilegeEscalation") is not False or s.get("capabilities") != {"drop": ["ALL"]}:
                yield f"{c['name']} may become more than it is"
            if not (s.get("runAsUser") or t["spec"]["securityContext"].get("runAsUser")):
                yield f"{c['name']} has no user"
            if c["name"] != "app" and not s.get("readOnlyRootFilesystem"):
                yield f"{c['name']} may write its root"
            if "requests" not in c["resources"] or "memory" not in c["resources"]["limits"]:
                yield f"{c['name']} has no requests (the autoscaler needs them) or no limit"


def seconds(text):
    m = re.fullmatch(r"(\d+)s", text)
    return int(m[1])


def lethe_of(template):
    found = [c for c in containers(template) if c["name"] == "lethe"]
    return found[0] if found else None


def config_of(objects, template):
    name = next(v["configMap"]["name"] for v in template["spec"]["volumes"] if v["name"] == "lethe-config")
    return next(o["data"]["lethe.conf"] for o in objects if o["kind"] == "ConfigMap" and o["metadata"]["name"] == name)


def check_sidecar(objects):
    templates = [t for _, t in pods(objects) if lethe_of(t)]
    if len(templates) != 1:
        yield "not one deployment with lethe"
        return
    t, spec = templates[0], templates[0]["spec"]
    lethe, app = lethe_of(t), next(c for c in spec["containers"] if c["name"] == "app")
    native = lethe in spec.get("initContainers", [])
    if native and (spec["initContainers"][0] is not lethe or lethe.get("restartPolicy") != "Always" or "lifecycle" in lethe):
        yield "a native sidecar is the first init container, is restarted, and needs no preStop"
    if not native and "restartPolicy" in lethe:
        yield "restartPolicy belongs to a native sidecar"
    conf = config_of(objects, t)
    admin = re.search(r'admin = "0\.0\.0\.0:(\d+)"', conf)[1]
    ports = {p["name"]: p["containerPort"] for p in lethe["ports"]}
    if ports != {"http": int(re.search(r'listen = \["0\.0\.0\.0:(\d+)"\]', conf)[1]), "admin": int(admin)}:
        yield f"lethe's ports {ports} are not those of its configuration"
    for probe, path in (("startupProbe", "/startupz"), ("livenessProbe", "/livez"), ("readinessProbe", "/readyz")):
        if lethe[probe]["httpGet"] != {"path": path, "port": "admin"}:
            yield f"{probe} does not ask lethe's {path}"
        if probe in app:
            yield f"the application has a {probe} of its own"
    drain = seconds(re.search(r'drain = "(\d+s)"', conf)[1])
    waits = int(app["lifecycle"]["preStop"]["exec"]["command"][-1])
    own = 0 if native else int(lethe["lifecycle"]["preStop"]["exec"]["command"][-1])
    grace = spec["terminationGracePeriodSeconds"]
    if waits < own + drain or grace < (waits + drain if native else waits) + 5:
        yield f"the application waits {waits} s, lethe {own} s and drains {drain} s, and all is killed after {grace} s"


def check_state(objects):
    """The application and lethe see the same directories, and lethe knows whose they are."""
    for _, t in pods(objects):
        lethe = lethe_of(t)
        if not lethe:
            continue
        app = next(c for c in t["spec"]["containers"] if c["name"] == "app")
        conf = config_of(objects, t) + " ".join(f"{e['name']}={e.get('value')}" for e in lethe["env"])
        ours, theirs = ({m["mountPath"]: m["name"] for m in c.get("volumeMounts", [])} for c in (lethe, app))
        for path in re.findall(r'(?:FILES_DIR=|dir = ")(/[\w/]+)|unix:(/[\w/]+)/', conf):
            path = path[0] or path[1]
            if path not in theirs or theirs[path] != ours.get(path):
                yield f"{path} is not one volume of both"
        user = app["securityContext"]["runAsUser"]
        if re.search(r"FILES_PROFILE|files: \{", conf):
            if lethe["securityContext"]["runAsUser"] != user or t["spec"]["securityContext"].get("fsGroup") != user or f"{user}:{user}" not in conf:
                yield "session files belong to another user"
        if re.search(r"STATE_API_PROFILE|state_api: \{", conf) and not re.search(rf'ALLOW_UIDS={user}\b|allow_uids = \["{user}"\]', conf):
            yield "the application's user may not use the state API"


CHECKS = (check_versions, check_selectors, check_ports, check_references, check_hardening, check_sidecar, check_state)


def findings(objects):
    return [f for check in CHECKS for f in check(objects)]


# --- tests ---

@pytest.mark.parametrize("name", RENDERED)
def test_schemas_and_what_must_fit(name):
    objects, found = render(name)
    kinds = [o["kind"] for o in objects]
    for kind in ("Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "ConfigMap"):
        assert kind in kinds, kinds
    assert found == [] and findings(objects) == []


def image_env():
    """What deploy/Dockerfile sets for every container of the image."""
    words = re.findall(r"^ENV (.*)$", docs_rig.read("deploy/Dockerfile"), re.M)
    return dict(w.split("=", 1) for w in " ".join(words).split())


@pytest.mark.parametrize("name", RENDERED)
def test_lethe_takes_the_configuration(name, tmp_path):
    """With the image's environment, which counts more than the file: the probes reach the admin listener."""
    objects, _ = render(name)
    template = next(t for _, t in pods(objects) if lethe_of(t))
    text = config_of(objects, template)
    env = {e["name"]: e["value"] for e in lethe_of(template)["env"] if "value" in e}
    keys = tmp_path / "keys"
    keys.mkdir()
    (keys / "10-first").write_text(run_cli("keygen").stdout)
    sessions = tmp_path / "sessions"
    sessions.mkdir()
    (tmp_path / "lethe.conf").write_text(text.replace("/etc/lethe/keys", str(keys)).replace("/srv/sessions", str(sessions)))
    env = {k: v.replace("/srv/sessions", str(sessions)) for k, v in env.items()}
    done = run_cli("config", "-c", tmp_path / "lethe.conf", env={**image_env(), **env, "LETHE_STORE": "redis://lethe:password@redis:6379/0"})
    assert done.returncode == 0, done.stderr
    for option, port in (("listen", "http"), ("admin", "admin")):
        number = next(p["containerPort"] for p in lethe_of(template)["ports"] if p["name"] == port)
        assert re.search(rf'^{option} = \[?"0\.0\.0\.0:{number}"', done.stdout, re.M), done.stdout


def test_native_and_ordinary():
    def place(name):
        t = next(t for _, t in pods(render(name)[0]) if lethe_of(t))
        return "native" if lethe_of(t) in t["spec"].get("initContainers", []) else "ordinary"
    assert [place(n) for n in ("overlay php", "overlay node", "overlay php-before-1.29", "chart php", "chart php before 1.29")] == \
        ["native", "native", "ordinary", "native", "ordinary"]


# What a wrong manifest looks like, and which words tell of it: the checks find what they are for.
def _pod(objects):
    return next(t for _, t in pods(objects) if lethe_of(t))["spec"]


def _one(objects, kind):
    return next(o for o in objects if o["kind"] == kind)


WRONG = {
    "no such field": (lambda o: _pod(o)["initContainers"][0].update(readynessProbe={}), "readynessProbe: there is no such field"),
    "nested": (lambda o: _pod(o)["initContainers"][0]["livenessProbe"]["httpGet"].update(prot=1), "httpGet.prot: there is no such field"),
    "type": (lambda o: _pod(o)["initContainers"][0]["ports"][0].update(containerPort="http"), "containerPort"),
    "required": (lambda o: _pod(o)["containers"][0].pop("name"), "name"),
    "kind": (lambda o: _one(o, "Service").update(kind="Servise"), "no schema"),
}
UNFIT = {
    "old API": (lambda o: _one(o, "HorizontalPodAutoscaler").update(apiVersion="autoscaling/v2beta1"), "not served"),
    "selector": (lambda o: _one(o, "PodDisruptionBudget")["spec"].pop("selector"), "PodDisruptionBudget"),
    "all pods": (lambda o: _one(o, "NetworkPolicy")["spec"].update(podSelector={}), "NetworkPolicy"),
    "port": (lambda o: _one(o, "Service")["spec"]["ports"][0].update(targetPort="htpp"), "htpp"),
    "secret": (lambda o: _pod(o)["initContainers"][0]["env"][-1].update(name="X", valueFrom={"secretKeyRef": {"name": "lethe-store", "key": "u"}}),
               "made by nobody"),
    "replicas": (lambda o: _one(o, "Deployment")["spec"].update(replicas=2), "autoscaler"),
    "probe": (lambda o: _pod(o)["initContainers"][0]["readinessProbe"]["httpGet"].update(path="/ready"), "/readyz"),
    "grace": (lambda o: _pod(o).update(terminationGracePeriodSeconds=30), "killed after 30"),
    "order": (lambda o: _pod(o)["initContainers"].insert(0, copy.deepcopy(_pod(o)["containers"][0])), "first init container"),
    "root": (lambda o: _pod(o)["securityContext"].pop("runAsNonRoot"), "root"),
    "writable": (lambda o: _pod(o)["initContainers"][0]["securityContext"].pop("readOnlyRootFilesystem"), "write its root"),
    "volume": (lambda o: _pod(o)["containers"][0]["volumeMounts"].pop(0), "one volume of both"),
    "user": (lambda o: _pod(o)["containers"][0]["securityContext"].update(runAsUser=34), "another user"),
}


@pytest.mark.parametrize("name", WRONG)
def test_schemas_find(name):
    """JSON documents are YAML documents."""
    objects = copy.deepcopy(render("overlay php")[0])
    WRONG[name][0](objects)
    _, found = validate("\n---\n".join(json.dumps(o) for o in objects).encode())
    assert any(WRONG[name][1] in f for f in found), found


@pytest.mark.parametrize("name", UNFIT)
def test_checks_find(name):
    objects = copy.deepcopy(render("overlay php")[0])
    UNFIT[name][0](objects)
    found = findings(objects)
    assert any(UNFIT[name][1] in f for f in found), found


def test_chart_lint_and_wrong_values():
    assert b"0 chart(s) failed" in helm("lint", "--strict", CHART, *IMAGES).stdout
    for values, words in ((["--set", "app.image=x"], b"lethe/image"), ([*IMAGES, "--set", "files.profle=php"], b"profle"),
                          ([*IMAGES, "--set", "files.profile=php,stateApi.profile=express"], b"set one of them"),
                          ([*IMAGES, "--set", "stateApi.profile=express"], b"stateApi.runtime"),
                          ([*IMAGES, "--set", "lethe.options.IDLE_TTL=1h"], b"IDLE_TTL")):
        done = helm("template", "shop", CHART, *values, check=False)
        assert done.returncode != 0 and words in done.stderr, done.stderr


def test_profiles_of_the_chart_are_those_of_lethe():
    """A profile that the schema of the values does not know could not be set."""
    with open(os.path.join(CHART, "values.schema.json"), encoding="utf-8") as f:
        schema = json.load(f)["properties"]
    for group, option in (("files", "files.profile"), ("stateApi", "state_api.profile")):
        row = re.search(rf"### `{re.escape(option)}`.*?range \| (.*?) \|", docs_rig.read("docs/reference.md"), re.S)[1]
        known = {p.strip('"') for p in row.split(", ")} - {"custom"}
        assert set(schema[group]["properties"]["profile"]["enum"]) == known


def test_redis_of_the_page(tmp_path, lethe, origin):
    """The component's redis.conf and the page's users: lethe stores and finds a session, nobody else may anything."""
    acl = re.search(r'users\.acl="(.*?)"\n', docs_rig.read(PAGE), re.S)[1].replace("$PASSWORD", "geheim")
    (tmp_path / "users.acl").write_text(acl + "\n")
    rows = [line.split(None, 1) for line in docs_rig.read("deploy/kubernetes/components/redis/redis.conf").splitlines()
            if line and not line.startswith(("#", "bind", "dir"))]
    args = [w for k, v in rows for w in (f"--{k}", str(tmp_path / "users.acl") if k == "aclfile" else v)]
    # The URL as the page has it, but for the host.
    url = re.search(r'url="(redis://[^"]*)"', docs_rig.read(PAGE))[1].replace("$PASSWORD", "geheim")

    def sets_a_cookie(conn):
        while conn.request():
            conn.send(answer(headers="Set-Cookie: PHPSESSID=abc; Path=/\r\n"))
    redis = Redis(tmp_path / "data", args=args, start=False)
    redis.password = "wrong"  # it asks for one
    with redis:
        app = origin(sets_a_cookie)
        r = lethe(app, store=url.replace("redis:6379", f"127.0.0.1:{redis.port}"))
        token = re.search(r"lethe=([\w-]+)", str(r.get("/").all("Set-Cookie")))[1]
        assert r.get("/", f"Cookie: lethe={token}\r\n").status == 200
        assert "PHPSESSID=abc" in str(app.requests[-1].all("Cookie")) and "PHPSESSID" not in str(app.requests[0].all("Cookie"))
        with pytest.raises(RedisError):
            redis.call("GET", "x")


def test_page_names_what_there_is():
    """kubectl apply and helm install need a cluster: not run. Every path, option and secret that the page names exists."""
    text = docs_rig.read(PAGE)
    for path in re.findall(r"(?<![\w/.])(deploy/[\w./-]+)", text):
        assert os.path.exists(os.path.join(ROOT, path.rstrip("."))), path
    for name, keys in SECRETS.items():
        for key in keys if name != "ring" else ():
            assert re.search(rf"secret generic {name} [^\n]*--from-(?:literal|file)={re.escape(key)}=", text), (name, key)
    reference = docs_rig.read("docs/reference.md")
    for variable in set(re.findall(r"\bLETHE_[A-Z_]+", text)):
        assert f"`{variable}`" in reference, variable
    known = helm("show", "values", CHART).stdout.decode()
    for value in re.findall(r"--set ([\w.]+)=", text):
        assert re.search(rf"^\s*{value.split('.')[-1]}:", known, re.M), value
