# SPDX-License-Identifier: Apache-2.0
"""The stores that lethe may keep sessions in, and how each one's server is started. A new one is a row in STORES, and a function if it
has a server. A store takes part when `lethe check` accepts its URL and its server is installed."""
import glob
import os
import secrets
import shutil
import socket
import subprocess

from common.stage import Failed, find, free_port
from compare import measure
from compare.programs import Compared

LUA_MODULES = "/usr/lib/nginx/modules"

# One look-up a request on a connection of a pool, and the application's own cookie in place of the client's.
LUA = """access_by_lua_block {{
                local token = ngx.var.cookie_session
                if not token then return end
                local redis = ngx.socket.tcp()
                redis:settimeout(900)
                if not redis:connect("127.0.0.1", {redis}, {{pool_size = 256}}) then return ngx.exit(503) end
                local key = "session:" .. token
                if not redis:send("*2\\r\\n$3\\r\\nGET\\r\\n$" .. #key .. "\\r\\n" .. key .. "\\r\\n") then return ngx.exit(503) end
                local line = redis:receive("*l")
                local length = line and tonumber(string.match(line, "^%$(%-?%d+)$"))
                if not length then return ngx.exit(503) end
                local value
                if length >= 0 then
                    value = redis:receive(length + 2)
                    if not value then return ngx.exit(503) end
                    value = string.sub(value, 1, length)
                end
                redis:setkeepalive(60000, 256)
                local cookies = ngx.var.http_cookie
                local from, to = string.find(cookies, "session=" .. token, 1, true)
                ngx.req.set_header("Cookie", string.sub(cookies, 1, from - 1) .. (value or "") .. string.sub(cookies, to + 1))
            }}"""


class Missing(Failed):
    """Its server is not installed."""


def installed(*names):
    for name in names:
        if not shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin"):
            raise Missing(f"{name} is not installed")


class Stores(Compared):
    """An origin, and each store's server at most once."""

    def __init__(self, folder, binaries):
        super().__init__(folder, binaries)
        self.servers = {}

    def server(self, start):
        if start not in self.servers:
            self.servers[start] = start(self)
        return self.servers[start]

    def as_user(self, user, *command):
        """Some servers refuse to run as root."""
        return ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *command] if os.geteuid() == 0 else list(command)

    def start_lua(self):
        if not os.path.exists(LUA_MODULES + "/ngx_http_lua_module.so"):
            raise Missing("nginx's Lua module is not here; on Debian: apt-get install libnginx-mod-http-lua")
        modules = "".join(f"load_module {LUA_MODULES}/{name}.so;\n" for name in ("ndk_http_module", "ngx_http_lua_module"))
        program = self.start_nginx(False, "nginx+Lua", modules, LUA.format(redis=self.redis.port))
        program.store, program.log_in = self.redis, self.log_in_for_lua
        return program

    def log_in_for_lua(self):
        """A session as whoever wrote that Lua would keep it: the application's cookie under the client's random token."""
        token, cookie = secrets.token_urlsafe(32), measure.ask(self.origin, "/login")[1]["Set-Cookie"].partition(";")[0]
        words = ["SET", "session:" + token, cookie, "EX", "3600"]
        with socket.create_connection(("127.0.0.1", self.redis.port), 5) as s:
            s.sendall(f"*{len(words)}\r\n".encode() + b"".join(f"${len(w)}\r\n{w}\r\n".encode() for w in words))
            if s.recv(64) != b"+OK\r\n":
                raise Failed("redis: it did not keep the session")
        return "session=" + token


def redis(stage):
    return stage.redis


def memcached(stage):
    installed("memcached")
    port = free_port()
    return stage.start_on("memcached", port, [find("memcached"), "-l", "127.0.0.1", "-p", str(port), "-U", "0", "-u", "nobody"])


def postgres(stage):
    """A database of its own, with PostgreSQL's defaults."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin"))
    if not found:
        raise Missing("postgres is not installed")
    folder, port = stage.path("postgres-data"), free_port()
    os.mkdir(folder, 0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, "postgres", "postgres")
    made = subprocess.run(stage.as_user("postgres", found[-1] + "/initdb", "-D", folder, "-U", "bench", "-A", "trust"), cwd="/",
                          capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise Failed(f"initdb: {made.stderr.strip()}")
    return stage.start_on("postgres", port, stage.as_user("postgres", found[-1] + "/postgres", "-D", folder, "-p", str(port), "-k", "",
                                                          "-c", "listen_addresses=127.0.0.1"))


# (what it is called, its URL with {port}, the function that starts its server or None)
STORES = (
    ("redis", "redis://127.0.0.1:{port}/0", redis),
    ("sealed", "sealed", None),
    ("jwt", "jwt", None),
    ("memcached", "memcached://127.0.0.1:{port}", memcached),
    ("postgres", "postgres://bench@127.0.0.1:{port}/postgres", postgres),
)


def refuses(lethe, url):
    """What `lethe check` has against a URL, or nothing."""
    done = subprocess.run([lethe, "check", "--upstream=127.0.0.1:1", f"--store={url}"], capture_output=True, text=True, check=False,
                          env={k: v for k, v in os.environ.items() if not k.startswith("LETHE_")})
    return (done.stdout + done.stderr).strip() if done.returncode else ""


def start_lethes(stage, more):
    """One lethe a store, and the stores that take no part, with the reason. `more`: rows from the command line."""
    lethes, absent = [], []
    for name, url, start in (*STORES, *more):
        why = refuses(stage.binaries["lethe"], url.format(port=1))
        if why:
            absent.append(f"{name}: this lethe does not know it")
            continue
        try:
            server = stage.server(start) if start else None
        except Missing as e:
            absent.append(f"{name}: {e}")
            continue
        lethe = stage.start_lethe(f"lethe, {name}", url.format(port=server.port if server else 0))
        lethe.store = server
        lethes.append(lethe)
    return lethes, absent
