# SPDX-License-Identifier: Apache-2.0
"""Node: express-session, @fastify/session and koa-generic-session with their memory stores, whose sessions adapters/node carries."""
import fcntl
import functools
import hashlib
import os
import shutil
import subprocess

from stack_rig import AppServer, Stack, state_env

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
APPS = os.path.join(ROOT, "tests", "e2e", "apps", "node")
ADAPTER = os.path.join(ROOT, "adapters", "node", "lethe.cjs")


def _install(folder):
    """npm ci into a directory beside it, which gets its name only when all is there."""
    part = f"{folder}.part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    for name in ("package.json", "package-lock.json"):
        shutil.copy(os.path.join(APPS, name), part)
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--fetch-retries=1", "--fetch-timeout=30000"]
    try:
        done = subprocess.run(command, cwd=part, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=300, check=False)
        code, said = done.returncode, done.stdout.decode("utf-8", "replace")
    except FileNotFoundError:
        code, said = "no npm", "apt-get install npm"
    except subprocess.TimeoutExpired as e:
        code, said = "a time-out", (e.stdout or b"").decode("utf-8", "replace")
    if code != 0:
        shutil.rmtree(part, ignore_errors=True)
        raise AssertionError(f"the Node packages of {APPS}/package-lock.json could not be installed (`{' '.join(command)}` ended with "
                             f"{code}). It needs a package registry, or npm's cache with them in it:\n{said[-1500:]}")
    os.rename(part, folder)


@functools.lru_cache(None)
def node_modules():
    """The folder with the applications' packages, made once for each package-lock.json."""
    with open(os.path.join(APPS, "package-lock.json"), "rb") as f:
        folder = os.path.join(ROOT, "build", "node", hashlib.sha256(f.read()).hexdigest()[:12])
    os.makedirs(os.path.dirname(folder), exist_ok=True)
    with open(f"{folder}.lock", "w", encoding="ascii") as lock:  # another run may be at it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not os.path.isdir(folder):
            _install(folder)
    return os.path.join(folder, "node_modules")


def with_adapter(options="", how="--require"):
    """NODE_OPTIONS with the adapter appended."""
    return f"{options} {how}={ADAPTER}".strip()


class NodeStack(Stack):
    """An application of apps/node. The adapter is loaded in the negative control too: what is shown is lethe, not its absence."""

    app = None
    settings = {}
    packages = ("nodejs", "npm")

    def missing(self):
        """The packages of nodejs.org bring npm along."""
        return None if shutil.which("node") and shutil.which("npm") else super().missing()

    def server(self, index, directory, port, state):
        # A gate holds a thread of the pool.
        env = {**state_env(index, state), **self.settings, "PORT": port, "NODE_PATH": node_modules(), "UV_THREADPOOL_SIZE": "32",
               "NODE_OPTIONS": with_adapter(os.environ.get("NODE_OPTIONS", ""))}
        return AppServer(port, ["node", os.path.join(APPS, self.app)], env)


def express(name, resave, uninitialized):
    """Alone it loses some of 8 parallel increments: it reads, modifies and writes without a lock."""
    return NodeStack(name=name, app="express.js", exact=False, locked=False, lethe={"state_api.profile": "express"},
                     settings={"RESAVE": str(int(resave)), "UNINITIALIZED": str(int(uninitialized))})


STACKS = [
    express("express", resave=False, uninitialized=False),
    express("express-resave", resave=True, uninitialized=False),
    express("express-uninitialized", resave=False, uninitialized=True),
    express("express-defaults", resave=True, uninitialized=True),
    # lethe knows the cookie of express-session by itself, these it must be told: it locks and holds answers back for sessions that it sees.
    NodeStack(name="fastify", app="fastify.js", lethe={"state_api.profile": "fastify", "session.cookies": "sessionId"}),
    # Alone, all requests of a session work on one object in memory and lose nothing: it needs the lock, which the profile "koa" leaves out.
    NodeStack(name="koa-generic", app="koa.js", lethe={"state_api.profile": "generic", "session.cookies": "koa.sid, koa.sid.sig"}),
]
