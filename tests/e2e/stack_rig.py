# SPDX-License-Identifier: Apache-2.0
"""What a web stack is to the tests, and a cluster of it. A stack is described in stacks/<name>.py, whose list STACKS is found here.

Its application, in apps/<runtime>/, is an ordinary one that nobody made for lethe; it answers JSON:

    GET  /count[?gate=FIFO]   loads the session, waits at the gate until a line can be read, then counts: {"n": 1, "id": "<session id>",
                              "sent_id": "<id in the request's cookie>" or null, "name": null, "replica": "0"}
    GET  /me[?gate=FIFO]      reads only; the same fields
    GET  /anonymous           never touches the session: {"replica": "0"}
    POST /login   name=alice  a new session id if the framework can, sets the name, redirects to /me
    POST /logout              destroys the session
    GET  /stream              counts, sends the first bytes of a longer answer, then the rest
    POST /big     size=N      keeps N bytes of text that do not compress; GET /big: {"length": N, "sha256": "…"}
"""
import importlib.util
import os
import signal
import subprocess

from cluster_rig import Background, Browser, Cluster, Gate, Replica, ending_clusters, keys, open_directory, together

from rig import free_port
from rig.servers import _program, _Server

HERE = os.path.dirname(os.path.abspath(__file__))
APPS = os.path.join(HERE, "apps")

class Stack:
    """One web framework with its way to keep sessions. A subclass or an instance sets what differs, and has server()."""

    name = None
    carrier = "state_api"  # or "files"
    packages = ()  # of Debian
    exact = True  # alone, the framework keeps all of 8 parallel increments of one session
    rotates = True  # it gives a new id at login
    locked = True  # lethe lets one request at a time work on a session (all profiles but express and koa)
    # Options of lethe beside listen, upstream, store, keys and state_api.listen. "{dir}" in a value is the replica's directory. With
    # files, files.dir is "{dir}/sessions" unless it is given.
    lethe = {}
    routes = {}  # where the application has its pages elsewhere than the contract: {"/count": "/counter.php"}
    max_big = 1 << 20  # the largest session that the scenarios put into it

    def __init__(self, **differs):
        for name, value in differs.items():
            assert hasattr(self, name), f"a Stack has no {name}"
            setattr(self, name, value)

    def server(self, index, directory, port, state):
        """The application server of a replica, an AppServer that is not started: listens on 127.0.0.1:port, keeps what it writes below
        `directory`, has REPLICA=index in its environment. `state` is the address of lethe's state API, None when it runs without lethe."""
        raise NotImplementedError

    def missing(self):
        """What must be done before it can run: a command line, or None. Debian packages here; a stack may need more."""
        return missing_packages(self.packages)

    def __repr__(self):
        return self.name


def missing_packages(packages):
    if not packages:
        return None
    done = subprocess.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *packages], stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, check=False)
    have = {line.split()[1] for line in done.stdout.decode().splitlines() if line.startswith("installed ")}
    lacking = [p for p in packages if p not in have]
    return f"apt-get install --no-install-recommends {' '.join(lacking)}" if lacking else None


def find_stacks():
    """All STACKS of stacks/*.py, or those that LETHE_STACKS names (a,b,c)."""
    found = {}
    folder = os.path.join(HERE, "stacks")
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".py") or file.startswith("_"):
            continue
        spec = importlib.util.spec_from_file_location(f"stacks_{file[:-3]}", os.path.join(folder, file))
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for stack in module.STACKS:
            assert stack.name not in found, f"two stacks are called {stack.name}"
            found[stack.name] = stack
    wanted = os.environ.get("LETHE_STACKS")
    if not wanted:
        return list(found.values())
    unknown = set(wanted.split(",")) - set(found)
    assert not unknown, f"LETHE_STACKS names {', '.join(sorted(unknown))}; there are {', '.join(found)}"
    return [found[name] for name in wanted.split(",")]


class AppServer(_Server):
    """An application server: its arguments and what its environment has more. AppServer(port, ["node", "app.js"], {"PORT": port}). Ready
    when the port accepts. `address` for one that listens elsewhere."""

    def __init__(self, port, argv, env=None, address=None, end_signal=signal.SIGTERM, start_seconds=30):
        super().__init__()
        self.address = address or f"127.0.0.1:{port}"
        self._argv, self._env, self.end_signal, self.start_seconds = [str(a) for a in argv], env or {}, end_signal, start_seconds

    def argv(self):
        return [_program(self._argv[0]), *self._argv[1:]]

    def env(self):
        """No LETHE_* of ours: an adapter finds the state API in the environment, and only a replica's own counts."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("LETHE_")}
        return {**inherited, **{k: str(v) for k, v in self._env.items()}}

    def start(self, seconds=None):
        return super().start(seconds or self.start_seconds)

    def log(self):
        return self.process.out[-40:] + self.process.err[-40:]


def state_env(index, state):
    """What every application server of a replica has in its environment."""
    return {"REPLICA": str(index), **({"LETHE_STATE_API_LISTEN": state} if state else {})}


class StackReplica(Replica):
    def prepare(self):
        stack = self.cluster.stack
        if stack.carrier == "files":
            os.makedirs(os.path.join(self.dir, "sessions"), exist_ok=True)
        elif self.cluster.with_lethe:
            self.state = f"unix:{self.cluster.short_dir}/{self.index}"

    def make_app(self):
        return self.cluster.stack.server(self.index, self.dir, int(free_port()), self.state)

    def carrier(self):
        stack = self.cluster.stack
        options = {"files.dir": "{dir}/sessions"} if stack.carrier == "files" else {"state_api.listen": self.state}
        options.update(stack.lethe)
        return {k: v.replace("{dir}", self.dir) if isinstance(v, str) else v for k, v in options.items()}


class StackCluster(Cluster):
    """Replicas of a Stack."""

    def __init__(self, directory, stack, **how):
        self.stack, self.routes = stack, stack.routes
        super().__init__(directory, **how)

    def make_replica(self, index):
        return StackReplica(self, index)


__all__ = ["APPS", "AppServer", "Background", "Browser", "Gate", "Stack", "StackCluster", "StackReplica", "ending_clusters", "find_stacks",
           "keys", "missing_packages", "open_directory", "state_env", "together"]
