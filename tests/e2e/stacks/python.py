# SPDX-License-Identifier: Apache-2.0
"""Python: sessions in memory through adapters/python (CherryPy, Django's LocMemCache, Beaker), and in files (CherryPy, Django)."""
import os

from stack_rig import APPS, AppServer, Stack, state_env

from rig.lethe import ROOT

ADAPTER = os.path.join(ROOT, "adapters", "python")
PYTHON = "/usr/bin/python3"  # Debian's, which has Debian's packages


class Python(Stack):
    app, arguments = None, ()

    def server(self, index, directory, port, state):
        env = state_env(index, state)
        if state:
            env["PYTHONPATH"] = ADAPTER
        arguments = [a.replace("{dir}", str(directory)) for a in self.arguments]
        return AppServer(port, [PYTHON, os.path.join(APPS, "python", self.app), port, *arguments], env)


class CherryPy(Python):
    name, packages, app = "cherrypy", ("python3-cherrypy3",), "cherrypy_app.py"
    lethe = {"state_api.profile": "cherrypy"}


class CherryPyFile(CherryPy):
    name, carrier, lethe = "cherrypy-file", "files", {"files.profile": "cherrypy"}
    arguments = ("{dir}/sessions",)


class DjangoCache(Python):
    """Django works on a session without a lock: alone, of requests at the same time the last one wins."""
    name, packages, app = "django-cache", ("python3-django", "python3-cheroot"), "django_app.py"
    arguments, lethe, exact = ("cache",), {"state_api.profile": "django"}, False


class DjangoFile(DjangoCache):
    name, carrier, lethe = "django-file", "files", {"files.profile": "django"}
    arguments = ("file", "{dir}/sessions")


class Beaker(Python):
    name, packages, app = "beaker", ("python3-beaker", "python3-cheroot"), "beaker_app.py"
    lethe, exact = {"state_api.profile": "beaker", "session.cookies": "beaker.session.id"}, False


STACKS = [CherryPy(), CherryPyFile(), DjangoCache(), DjangoFile(), Beaker()]
