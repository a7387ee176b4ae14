# SPDX-License-Identifier: Apache-2.0
"""Ruby: Sinatra with Rack::Session::Pool, and the one file-backed Rack store that Debian has, Moneta's."""
import os

from stack_rig import APPS, AppServer, Stack, state_env

ADAPTER = os.path.join(APPS, "..", "..", "..", "adapters", "ruby", "lethe.rb")


def puma(app, port, env):
    """Threads of one process: the pool is a Hash of it. As many as a user may open pages, or one that waits stops the others."""
    return AppServer(port, ["puma", "--no-config", "-t", "4:16", "-b", f"tcp://127.0.0.1:{port}", os.path.join(APPS, "ruby", app)],
                     {"RACK_ENV": "production", **env})


class Sinatra(Stack):
    name = "sinatra"
    packages = ("puma", "ruby-sinatra")
    exact = False  # two threads that have loaded the same session each write all of it
    lethe = {"state_api.profile": "rack"}

    def server(self, index, directory, port, state):
        ruby = {"RUBYOPT": f"{os.environ.get('RUBYOPT', '')} -r{os.path.realpath(ADAPTER)}"} if state else {}
        return puma("sinatra.ru", port, {**state_env(index, state), **ruby})


class Moneta(Stack):
    name = "rack-moneta"
    carrier = "files"
    packages = ("puma", "ruby-sinatra", "ruby-moneta")
    exact = False
    lethe = {"files.profile": "rack-file"}

    def server(self, index, directory, port, state):
        return puma("moneta.ru", port, {**state_env(index, None), "SESSIONS": os.path.join(directory, "sessions")})


STACKS = [Sinatra(), Moneta()]
