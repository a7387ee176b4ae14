# SPDX-License-Identifier: Apache-2.0
"""Perl: Dancer2 with its session engine Simple, Plack::Middleware::Session with its default store, CGI::Session with its files."""
import os

from stack_rig import APPS, AppServer, Stack, state_env

ADAPTER = os.path.realpath(os.path.join(APPS, "..", "..", "..", "adapters", "perl"))


class Starman(Stack):
    """A prefork server. Its sessions live in one process, so without lethe it can have no more than one; with lethe the workers share
    them."""
    app = None

    def server(self, index, directory, port, state):
        perl = {}
        if state:
            perl = {"PERL5LIB": ":".join(filter(None, [ADAPTER, os.environ.get("PERL5LIB")])),
                    "PERL5OPT": f"{os.environ.get('PERL5OPT', '')} -MLetheState"}
        return AppServer(port, ["starman", "--workers", "6" if state else "1", "--listen", f"127.0.0.1:{port}", "--disable-keepalive",
                                os.path.join(APPS, "perl", self.app)],
                         {"PLACK_ENV": "production", "DANCER_ENVIRONMENT": "production", **state_env(index, state), **perl})


class CgiSession(Stack):
    """CGI scripts below lighttpd: each request is a process, the session is a file."""
    name = "cgi-session"
    carrier = "files"
    packages = ("lighttpd", "libcgi-pm-perl", "libcgi-session-perl")
    exact = False  # it reads without holding the lock
    rotates = False  # it has no call for that
    lethe = {"files.profile": "cgi-session"}

    def server(self, index, directory, port, state):
        config = os.path.join(directory, "lighttpd.conf")
        with open(config, "w", encoding="utf-8") as f:
            f.write(f'''server.modules = ("mod_cgi", "mod_alias", "mod_setenv")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{directory}"
server.upload-dirs = ("{directory}")
server.stream-response-body = 1
alias.url = ("" => "{os.path.join(APPS, "perl", "session.cgi")}")
cgi.assign = (".cgi" => "/usr/bin/perl")
setenv.set-environment = ("SESSIONS" => "{os.path.join(directory, "sessions")}", "REPLICA" => "{index}")
''')
        return AppServer(port, ["lighttpd", "-D", "-f", config], state_env(index, None))


STACKS = [Starman(name="dancer2", app="dancer2.psgi", packages=("starman", "libdancer2-perl"), lethe={"state_api.profile": "dancer2"}),
          Starman(name="plack", app="plack.psgi", packages=("starman", "libplack-perl", "libplack-middleware-session-perl"),
                  lethe={"state_api.profile": "plack"}),
          CgiSession()]
