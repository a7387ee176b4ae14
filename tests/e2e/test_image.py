# SPDX-License-Identifier: Apache-2.0
"""The container image and docker-compose.yml, on a real Docker engine: LETHE_DOCKER=1 ./dev test e2e tests/e2e/test_image.py

Skipped without LETHE_DOCKER=1 or without an engine. It builds the images `lethe` and `lethe-*`, and uses the project, the network and the
port 8080 that the quick start names. LETHE_DOCKER_BUILD: more arguments for `docker build` ("--network host" where only the host reaches
Debian's packages). The pages of tests are asked at 127.0.0.1: the engine must publish its ports there, and have the network of the tests as
its host's."""
import json
import os
import re
import shutil
import subprocess
import threading

import pytest
import requests
from store_rig import Postgres

from rig import App, Client, answer, free_port, wait_for
from rig.lethe import ROOT

BEYOND_BASE = 40 << 20
HARDENED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
NOBODY = ("--user", "65534:65534")
DOCKER = shutil.which("docker")
SHIM = """#!/bin/sh
# Debian 12 has Compose as a program of its own.
case $1 in
compose) shift; [ -z "{v1}" ] && exec {docker} compose "$@"; exec docker-compose "$@" ;;
build) shift; exec {docker} build $LETHE_DOCKER_BUILD "$@" ;;
*) exec {docker} "$@" ;;
esac
"""


def why_not():
    if os.environ.get("LETHE_DOCKER") != "1":
        return "LETHE_DOCKER=1 is not set"
    if not DOCKER or subprocess.run([DOCKER, "info"], capture_output=True, check=False, timeout=30).returncode != 0:
        return "no Docker engine answers"
    v2 = subprocess.run([DOCKER, "compose", "version"], capture_output=True, check=False, timeout=30).returncode == 0
    return None if v2 or shutil.which("docker-compose") else "neither docker compose nor docker-compose"


WHY_NOT = why_not()
pytestmark = [pytest.mark.skipif(WHY_NOT is not None, reason=str(WHY_NOT)), pytest.mark.slow, pytest.mark.watchdog(1500)]


class Docker:
    """Runs `docker` as an operator writes it, from the top of the repository, and removes the containers that it started."""

    def __init__(self, folder):
        v2 = subprocess.run([DOCKER, "compose", "version"], capture_output=True, check=False).returncode == 0
        self.program = folder / "docker"
        self.program.write_text(SHIM.format(docker=DOCKER, v1="" if v2 else "1"))
        self.program.chmod(0o755)
        self.env = {"LETHE_DOCKER_BUILD": "", **os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
        self.containers = []

    def __call__(self, *args, code=0, stdin=None, env=None, seconds=900):
        done = subprocess.run([self.program, *args], cwd=ROOT, env={**self.env, **(env or {})}, input=stdin, text=True, timeout=seconds,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
        assert code is None or done.returncode == code, f"docker {' '.join(args)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout.strip()

    def run(self, *args):
        self.containers.append(self("run", "-d", *args))
        return self.containers[-1]

    def inspect(self, what, *kind):
        return json.loads(self(*kind, "inspect", what))[0]

    def clean(self):
        for container in reversed(self.containers):
            self("rm", "-f", "-v", container, code=None)
        self.containers = []


@pytest.fixture(scope="module", name="engine")
def _engine(tmp_path_factory):
    return Docker(tmp_path_factory.mktemp("docker"))


@pytest.fixture(scope="module", name="image")
def _image(engine):
    engine("build", "-f", "deploy/Dockerfile", "-t", "lethe", ".")
    return "lethe"


@pytest.fixture(name="docker")
def _docker(engine):
    yield engine
    engine.clean()


# --- the image ---

def test_size_and_settings(docker, image):
    settings = docker.inspect(image, "image")
    base = docker.inspect("debian:12-slim", "image")
    layers = settings["RootFS"]["Layers"]
    assert layers[:1] == base["RootFS"]["Layers"][:1], "it is not built on debian:12-slim"
    assert 0 < settings["Size"] - base["Size"] < BEYOND_BASE
    config = settings["Config"]
    assert config["User"].split(":")[0] not in ("", "0", "root") and config["StopSignal"] == "SIGTERM"
    assert config["Entrypoint"] == ["lethe"] and config["Healthcheck"]["Test"] == ["CMD", "lethe", "probe", "livez"]


def serve(docker, image, *more):
    """A lethe as hardened as it gets, in front of its own admin listener: what answers is not the matter here."""
    lethe = docker.run(*HARDENED, *NOBODY, "--network", "none", *more, "-e", "LETHE_UPSTREAM=127.0.0.1:9090", image)
    wait_for(lambda: docker("exec", lethe, "lethe", "probe", "readyz", code=None) == "readyz: ok", 30, "ready")
    return lethe


def test_hardened(docker, image):
    lethe = serve(docker, image)
    state = docker.inspect(lethe)
    assert state["HostConfig"]["ReadonlyRootfs"] and state["Config"]["User"] == "65534:65534" and not state["HostConfig"]["CapAdd"]
    wait_for(lambda: docker.inspect(lethe)["State"]["Health"]["Status"] == "healthy", 40, "healthy")
    assert docker.inspect(lethe)["State"]["Health"]["Log"][-1]["Output"] == "livez: ok\n"
    processes = docker("top", lethe, "-o", "pid,uid,cmd").splitlines()[1:]
    assert len(processes) == 1 and processes[0].split()[1:] == ["65534", "lethe", "run"]


def test_unhealthy_when_it_stands_still(docker, image):
    """The negative control of the health check."""
    lethe = serve(docker, image, "--health-interval=1s", "--health-retries=2")
    wait_for(lambda: docker.inspect(lethe)["State"]["Health"]["Status"] == "healthy", 40, "healthy")
    docker("kill", "-s", "STOP", lethe)
    wait_for(lambda: docker.inspect(lethe)["State"]["Health"]["Status"] == "unhealthy", 60, "unhealthy")
    assert "timed out" in docker.inspect(lethe)["State"]["Health"]["Log"][-1]["Output"]
    docker("kill", "-s", "CONT", lethe)
    wait_for(lambda: docker.inspect(lethe)["State"]["Health"]["Status"] == "healthy", 40, "healthy again")


def test_stop_drains(docker, image):
    lethe = serve(docker, image)
    docker("stop", lethe)
    assert docker.inspect(lethe)["State"]["ExitCode"] == 0
    logged = subprocess.run([DOCKER, "logs", lethe], env=docker.env, stderr=subprocess.PIPE, check=True).stderr.decode()
    assert "event=draining" in logged


def test_no_shell(docker, image):
    """Not even the base's: all that could run a line of shell is removed, and it starts, serves, is healthy and drains."""
    gone = ["/usr/bin/" + name for name in ("sh", "dash", "bash", "rbash", "perl", "env", "xargs", "find")]
    docker("build", "-t", "lethe-without-shell", "-", stdin="\n".join((
        f"FROM {image}", "USER 0", f"RUN {json.dumps(['/bin/rm', '-f', *gone])}", "USER 65534:65534")))
    try:
        assert docker("run", "--rm", "--network", "none", "--entrypoint", "/bin/sh", "lethe-without-shell", "-c", "true", code=127) == ""
        lethe = serve(docker, "lethe-without-shell")
        wait_for(lambda: docker.inspect(lethe)["State"]["Health"]["Status"] == "healthy", 40, "healthy")
        docker("stop", lethe)
        assert docker.inspect(lethe)["State"]["ExitCode"] == 0
    finally:
        docker.clean()
        docker("rmi", "-f", "lethe-without-shell", code=None)


# --- a store whose library is loaded when it is named ---

@pytest.fixture(name="postgres")
def _postgres():
    server = Postgres()
    yield server
    server.remove()


def test_postgres(docker, image, postgres):
    """libpq and all that it needs are in the image: who logged in at a container that is killed is known to the next one."""
    keys = docker("run", "--rm", "--network", "none", image, "keygen")

    def start(app):
        address = f"127.0.0.1:{free_port()}"
        docker.run(*HARDENED, *NOBODY, "--network", "host", "-e", f"LETHE_LISTEN={address}", "-e", f"LETHE_ADMIN=127.0.0.1:{free_port()}",
                   "-e", f"LETHE_UPSTREAM={app.address}", "-e", f"LETHE_STORE={postgres.url}", "-e", f"LETHE_KEYS={keys}", image)
        lethe = docker.containers[-1]
        wait_for(lambda: docker("exec", lethe, "lethe", "probe", "readyz", code=None) == "readyz: ok", 30, "ready")
        return lethe, Client(address)

    with App() as app:
        app.on("/login", answer(headers="Set-Cookie: PHPSESSID=x; path=/\r\n"))
        one, client = start(app)
        with client:
            token = client.get("/login").get("set-cookie").split(";")[0]
        assert "PHPSESSID" not in token and postgres.sql("SELECT count(*) > 0 FROM lethe_session") == "t"
        docker("kill", one)
        with start(app)[1] as client:
            assert client.get("/seen", f"Cookie: {token}\r\n").status == 200
        assert app.seen("/seen")[0].all("cookie") == ["PHPSESSID=x"]


def test_postgres_without_its_library(docker, image):
    """The negative control: `lethe check` loads libpq, and says what to install where it is not."""
    def check(code, *more):
        return subprocess.run([docker.program, "run", "--rm", *HARDENED, *NOBODY, "--network", "none", *more, image, "check",
                               "--upstream=127.0.0.1:1", "--store=postgres://lethe@127.0.0.1:1/lethe"], env=docker.env, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False, timeout=60), code

    for done, code in (check(0), check(2, "-v", "/dev/null:/usr/local/lib/lethe/libpq.so.5:ro")):
        assert done.returncode == code, done.stdout
        assert ("install libpq5" in done.stdout) == (code == 2), done.stdout


# --- the quick start ---

def quick_start():
    """(heading, commands) of each block of shell commands, as written."""
    with open(os.path.join(ROOT, "docs/quickstart/compose.md"), encoding="utf-8") as f:
        text = f.read()
    heading, blocks = None, []
    for m in re.finditer(r"^## ([^\n]*)$|^```sh[^\n]*\n(.*?)^```$", text, re.M | re.S):
        if m[1]:
            heading = m[1]
        else:
            blocks.append((heading, m[2]))
    return blocks


@pytest.fixture(name="stage")
def _stage(docker, image):  # pylint: disable=unused-argument
    """Nothing of the quick start's is there before or behind the test."""
    if "lethe" in docker("network", "ls", "--format", "{{.Name}}").split():
        pytest.skip("docker-compose.yml is in use: there is a network named lethe")
    yield docker
    for name in ("app-lethe", "app"):
        docker("rm", "-f", "-v", name, code=None)
    docker("compose", "down", "-v", "--remove-orphans", code=None)
    if os.path.exists(os.path.join(ROOT, "jar")):
        os.unlink(os.path.join(ROOT, "jar"))


def test_quick_start(stage):
    """Every command as it is written there, in one shell; then what each section promises."""
    blocks = quick_start()
    script = "set -eu\n" + "".join(f"echo '## {heading}'\n{commands}" for heading, commands in blocks)
    done = subprocess.run(["/bin/sh", "-c", script], cwd=ROOT, env=stage.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, timeout=1400)
    assert done.returncode == 0, done.stdout + done.stderr
    seen, heading = {}, None
    for line in done.stdout.splitlines():
        heading = line[3:] if line.startswith("## ") else heading
        m = re.fullmatch(r"(replica-\d+): (.*)", line)
        if m:
            seen.setdefault(heading, []).append((m[1], m[2]))
    replicas = {h: {replica for replica, _ in looks} for h, looks in seen.items()}
    pages = {h: [page for _, page in looks] for h, looks in seen.items()}
    assert len(seen) == 5 and set(seen) <= {h for h, _ in blocks}, done.stdout
    for h in ("Log in", "Lose a replica", "Three replicas, and two again", "A sidecar in a container of its own"):
        if h in pages:
            assert set(pages[h]) == {"logged in"}, done.stdout
    assert len(replicas["Start it"]) == 2 and set(pages["Start it"]) == {"logged in"}
    assert len(replicas["Lose a replica"]) == 1
    assert len(replicas["Three replicas, and two again"]) == 3 and len({r for r, _ in seen["Three replicas, and two again"][-4:]}) == 2
    assert len(replicas["A sidecar in a container of its own"]) == 3
    # The negative control: the same without lethe.
    control = seen["Without lethe"][1:]
    assert sorted(page for _, page in control) == ["logged in"] * 2 + ["the login form"] * 2, done.stdout


# --- under traffic ---

class Shopper(threading.Thread):
    """Puts one thing after the other into a cart that stands in the session, and reads the cart behind each."""

    def __init__(self, url):
        super().__init__(daemon=True)
        self.url, self.session, self.ending = url, requests.Session(), threading.Event()
        self.session.trust_env = False
        self.put, self.unsure, self.failed, self.wrong, self.replicas = 0, 0, [], [], set()

    def ask(self, method, **form):
        try:
            got = self.session.request(method, self.url, allow_redirects=False, timeout=40, **form)
        except requests.RequestException as e:
            return None, repr(e)
        self.replicas.add(got.headers.get("X-Replica"))
        return got.status_code, got.text

    def run(self):
        while not self.ending.is_set():
            status, text = self.ask("POST", data={"item": "apple"})
            self.put += status == 303
            if status != 303:  # it may have been put in all the same
                self.unsure += 1
                self.failed.append((status, text[:200]))
            status, text = self.ask("GET")
            count = re.search(r'id="count">(\d+) items', text)
            if status != 200:
                self.failed.append((status, text[:200]))
            elif not self.put <= int(count[1]) <= self.put + self.unsure:
                self.wrong.append((int(count[1]), self.put, self.unsure))

    def progress(self):
        """More of everything than now: a full turn of this shopper over the replicas that there are."""
        goal = self.put + 4
        return lambda: self.put >= goal or not self.is_alive()


class Shop:
    def __init__(self, docker, *files, shoppers=6):
        self.docker, self.files = docker, [a for f in files for a in ("-f", f)]
        port = free_port()
        self.env = {"LETHE_PORT": str(port)}
        self.url = f"http://127.0.0.1:{port}/cart/"
        self.compose("up", "-d")
        wait_for(lambda: Shopper(self.url).ask("GET")[0] == 200, 60, "the shop")
        self.shoppers = [Shopper(self.url) for _ in range(shoppers)]
        self.ask = Shopper(self.url)

    def compose(self, *args):
        return self.docker("compose", *self.files, *args, env=self.env)

    def open(self):
        for s in self.shoppers:
            s.start()
        self.go_on()

    def go_on(self):
        for reached in [s.progress() for s in self.shoppers]:
            wait_for(reached, 60, "every shopper goes on")

    def scale(self, n):
        self.compose("up", "-d", "--scale", f"replica={n}")
        self.until_seen(n)

    def until_seen(self, n):
        """The balancer takes turns between n: so many replicas answer a row of 3 n requests."""
        def seen():
            self.ask.replicas.clear()
            for _ in range(3 * n):
                self.ask.ask("GET")
            return len(self.ask.replicas - {None}) == n
        wait_for(seen, 60, f"{n} replicas answer")
        self.go_on()

    def said(self):
        """What the containers have logged, without the requests that went well."""
        logs = self.compose("logs", "--no-color")
        return "\n".join(line for line in logs.splitlines() if not re.search(r"outcome=(ok|local)|\[[23]\d\d\]|Accepted$|Clos", line))

    def close(self):
        for s in self.shoppers:
            s.ending.set()
        for s in self.shoppers:
            s.join(60)
            assert not s.is_alive()
        return [f for s in self.shoppers for f in s.failed], [w for s in self.shoppers for w in s.wrong]


@pytest.fixture(name="build_all", scope="module")
def _build_all(engine):
    engine("compose", "build")


@pytest.mark.usefixtures("build_all")
def test_three_and_two_under_traffic(stage):
    shop = Shop(stage)
    shop.open()
    shop.scale(3)
    assert len({stage.inspect(c)["Id"] for c in shop.compose("ps", "-q", "replica").split()}) == 3
    shop.scale(2)
    failed, wrong = shop.close()
    assert (failed, wrong) == ([], []), shop.said()


@pytest.mark.usefixtures("build_all")
def test_kill_under_traffic(stage):
    """What was on its way through the killed replica may fail, once for each shopper, and whatever waits for its lock; nothing is lost."""
    shop = Shop(stage)
    shop.open()
    stage("kill", shop.compose("ps", "-q", "replica").split()[0])
    shop.until_seen(1)
    failed, wrong = shop.close()
    assert not wrong and {status for status, _ in failed} <= {None, 502, 503, 504}
    again = len(failed)
    shop.shoppers = [Shopper(shop.url) for _ in range(2)]
    shop.open()
    assert shop.close() == ([], []), f"{again} failed at the kill"


@pytest.mark.usefixtures("build_all")
def test_control_without_lethe(stage):
    """The same shop without lethe forgets."""
    shop = Shop(stage, "docker-compose.yml", "deploy/compose/without-lethe.yml")
    shop.open()
    failed, wrong = shop.close()
    assert wrong, "the application alone keeps its sessions: the tests above prove nothing"
    assert not failed
