# SPDX-License-Identifier: Apache-2.0
"""The ways to the application: asked directly, and through lethe with each carrier; and the clients' sessions on each."""
import contextlib
import http.client
import os

from common.stage import Failed, Stage

CLIENTS = 8
FLOCK = ("--files.profile=custom", "--files.cookie=sid", "--files.patterns=sess_{id}", "--files.barrier=flock")
RENAME = (*FLOCK[:3], "--files.barrier=rename")


class Way:
    """`apps`, `lethes`: Programs, one a replica; no lethes: asked directly. `base`: the same application asked directly."""

    def __init__(self, key, title, apps, lethes, base=None, sizes=None):
        self.key, self.title, self.apps, self.lethes, self.base = key, title, apps, lethes, base
        self.sizes = sizes                          # None: all
        self.carries = bool(lethes) and not sizes   # the content too
        self.sessions = {}                          # size: [Session]

    def ports(self):
        return [program.port for program in self.lethes or self.apps]


class Session:
    """What a client holds, and where its session must stand."""

    def __init__(self, cookie, name):
        self.cookie, self.id, self.n = cookie, name, 0

    def line(self, ports):
        return " ".join([self.cookie, self.id, str(self.n), *map(str, ports)]) + "\n"


def begin_session(way, size):
    """A client's first request, to the first replica."""
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", way.ports()[0], timeout=10)) as connection:
        connection.request("GET", f"/new/{size}")
        try:
            answer = connection.getresponse()
        except OSError as e:
            raise Failed(f"{way.title}: a new session of {size} bytes: {e}") from e
        words, cookie = answer.read().split(), (answer.headers["Set-Cookie"] or "").partition(";")[0]
    hidden = bool(way.lethes)
    if answer.status != 200 or words[1:] != [b"0", str(size).encode()] or cookie.startswith("sid=") == hidden or "=" not in cookie:
        raise Failed(f"{way.title}: a new session of {size} bytes: status {answer.status}, {words}, cookie {cookie.partition('=')[0]!r}")
    return Session(cookie, words[0].decode())


class Carrying(Stage):
    """Starts applications and lethes; all of them share one Redis and one key ring. Session files are in `memory`, a folder on a tmpfs, or
    on the disk."""

    def __init__(self, folder, binaries, memory):
        super().__init__(folder, binaries)
        self.memory = memory

    def start_app(self, name, *how):
        return self.start_printing(name, self.binaries["app"], *how)

    def folder_for(self, name, disk):
        folder = os.path.join(self.folder if disk else self.memory, name)
        os.mkdir(folder)
        return folder

    def start_pair(self, name, store, carrier, options, disk):
        """An application with its lethe."""
        app_name, folder = name + "-app", self.folder_for(name + "-sessions", disk)
        common = ("--session.cookies=sid", "--keys=file:" + self.path("keys"), *options)
        if carrier == "api":
            address = f"unix:{folder}/state.sock"
            app = self.start_app(app_name, "api", address)
            common += (f"--state_api.listen={address}",)
        elif carrier == "memory":
            app = self.start_app(app_name, "memory")
        else:
            app = self.start_app(app_name, carrier, folder)
            common += (f"--files.dir={folder}",)
        return app, self.start_lethe(name, store, upstream=app, options=common)

    def through_lethe(self, key, title, carrier, options, base, replicas=1, sizes=None, disk=False):
        store = self.redis_url()
        options = (f"--session.prefix={key}", *options)
        pairs = [self.start_pair(f"{key}-{i}", store, carrier, options, disk) for i in range(replicas)]
        return Way(key, title, [app for app, _ in pairs], [lethe for _, lethe in pairs], base, sizes)

    def directly(self, carrier, disk=False):
        key = carrier + "-disk" * disk
        how = (carrier,) if carrier == "memory" else (carrier, self.folder_for(key + "-direct", disk))
        return Way(key, f"(directly: {carrier}{', on disk' * disk})", [self.start_app(key + "-direct-app", *how)], [])


def start_ways(stage, smallest):
    """All ways, in the order of the report."""
    memory, flock, rename = (stage.directly(carrier) for carrier in ("memory", "flock", "rename"))
    rename_disk = stage.directly("rename", disk=True)
    generic, express = ("--state_api.profile=generic",), ("--state_api.profile=express",)
    through = stage.through_lethe
    return [
        memory, flock, rename, rename_disk,
        through("jar", "jar only", "memory", (), memory, sizes=(smallest,)),
        through("files-flock", "files, flock", "flock", FLOCK, flock),
        through("files-flock-2", "files, flock, 2 replicas", "flock", FLOCK, flock, replicas=2),
        through("files-rename", "files, rename", "rename", RENAME, rename),
        through("files-rename-2", "files, rename, 2 replicas", "rename", RENAME, rename, replicas=2),
        through("files-rename-2-disk", "files, rename, 2 replicas, on disk", "rename", RENAME, rename_disk, replicas=2, disk=True),
        through("api", "state_api", "api", generic, memory),
        through("api-2", "state_api, 2 replicas", "api", generic, memory, replicas=2),
        through("api-unlocked", "state_api, no lock", "api", express, memory),
    ]


def begin_sessions(ways, sizes):
    for way in ways:
        for size in way.sizes or sizes:
            way.sessions[size] = [begin_session(way, size) for _ in range(CLIENTS)]
