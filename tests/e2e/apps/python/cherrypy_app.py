# SPDX-License-Identifier: Apache-2.0
"""A CherryPy application with sessions: `cherrypy_app.py PORT` keeps them in memory, `cherrypy_app.py PORT DIRECTORY` in files."""
import base64
import hashlib
import os
import sys
import time

import cherrypy
from cherrypy.lib import sessions


def wait_at(gate, hold=None):
    if gate:
        with open(gate, encoding="ascii") as f:
            f.readline()
    if hold:
        time.sleep(float(hold))


def report(n):
    cookie = cherrypy.request.cookie.get("session_id")
    return {"n": n, "id": cherrypy.session.id, "sent_id": cookie.value if cookie else None,
            "name": cherrypy.session.get("name"), "replica": os.environ.get("REPLICA")}


class Site:
    @cherrypy.expose
    @cherrypy.tools.json_out()
    def count(self, gate=None, hold=None):
        n = cherrypy.session.get("n", 0)
        wait_at(gate, hold)
        cherrypy.session["n"] = n + 1
        return report(n + 1)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def me(self, gate=None):
        n = cherrypy.session.get("n", 0)
        wait_at(gate)
        return report(n)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    @cherrypy.tools.sessions(on=False)
    def anonymous(self):
        return {"replica": os.environ.get("REPLICA")}

    @cherrypy.expose
    def login(self, name):
        cherrypy.session.get("n")  # loads it: what is not loaded does not survive regenerate()
        cherrypy.session.regenerate()
        cherrypy.session["name"] = name
        raise cherrypy.HTTPRedirect("/me", 302)

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def logout(self):
        cherrypy.session.delete()
        sessions.expire()
        return {"ok": True}

    @cherrypy.expose
    @cherrypy.config(**{"response.stream": True})
    def stream(self):
        cherrypy.session["n"] = cherrypy.session.get("n", 0) + 1

        def body():
            for i in range(8):
                yield b"line %d\n" % i * 400
        return body()

    @cherrypy.expose
    @cherrypy.tools.json_out()
    def big(self, size=None):
        if size is not None:
            cherrypy.session["big"] = base64.b64encode(os.urandom(int(size)))[:int(size)].decode()
        text = cherrypy.session.get("big", "")
        return {"length": len(text), "sha256": hashlib.sha256(text.encode()).hexdigest()}


def main(port, directory=None):
    cherrypy.config.update({"server.socket_host": "127.0.0.1", "server.socket_port": int(port), "server.thread_pool": 24,
                            "engine.autoreload.on": False, "log.screen": False, "checker.on": False,
                            "server.shutdown_timeout": 1})
    files = {"tools.sessions.storage_class": sessions.FileSession, "tools.sessions.storage_path": directory} if directory else {}
    cherrypy.quickstart(Site(), "/", {"/": {"tools.sessions.on": True, **files}})


if __name__ == "__main__":
    main(*sys.argv[1:])
