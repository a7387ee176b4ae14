# SPDX-License-Identifier: Apache-2.0
"""PHP with its own session files: its built-in server, and php-fpm behind nginx, whose answers end before the session is written."""
import os

from session_fpm import Fpm
from session_rig import APPS
from stack_rig import Stack

from rig import Php

ROUTES = {"/count": "/counter.php", "/me": "/me.php", "/anonymous": "/anonymous.php", "/login": "/login.php?regenerate=true&to=/me.php",
          "/logout": "/logout.php?cookie=expire", "/stream": "/stream.php", "/big": "/big.php"}


class PhpServer(Stack):
    name, carrier, packages = "php", "files", ("php-cli",)
    lethe, routes = {"files.profile": "php"}, ROUTES

    def server(self, index, directory, port, state):
        return Php(APPS, os.path.join(directory, "sessions"), port=port, workers=6, start=False,
                   env={"REPLICA": str(index)}, ini={"session.gc_probability": "0"})


class PhpFpm(PhpServer):
    """nginx passes answers on as they come; the stream's page ends its answer with fastcgi_finish_request() and works on."""
    name, packages = "php-fpm", ("php-fpm", "nginx-light")
    routes = {**ROUTES, "/stream": "/late.php?how=finish"}

    def missing(self):
        return super().missing() if os.geteuid() == 0 else "run it as root: php-fpm's workers are another user"

    def server(self, index, directory, port, state):
        return Fpm(os.path.join(directory, "run"), os.path.join(directory, "sessions"), {"REPLICA": str(index)},
                   buffering=False, port=port, children=6)


class Laravel(Stack):
    """Laravel's own session store and file driver."""
    name, carrier, packages, exact = "laravel", "files", ("php-cli", "php-illuminate-session", "php-illuminate-filesystem"), False
    lethe = {"files.profile": "laravel"}

    def server(self, index, directory, port, state):
        app = os.path.join(os.path.dirname(APPS), "laravel")
        sessions = os.path.join(directory, "sessions")
        return Php(app, sessions, port=port, workers=6, start=False, router=os.path.join(app, "index.php"),
                   env={"REPLICA": str(index), "SESSIONS": sessions})


STACKS = [PhpServer(), PhpFpm(), Laravel()]
