# SPDX-License-Identifier: Apache-2.0
"""PHP applications as Debian installs them, unmodified, on php-fpm behind nginx. Each cluster has data of its own, which its replicas
share: mounted over the machine's in a mount namespace of php-fpm, so that the machine's stay untouched."""
import contextlib
import hashlib
import os
import pwd

from session_fpm import USER, Fpm
from stack_rig import Stack, StackCluster, ending_clusters, open_directory

MOUNT = 'while [ "$1" != -- ]; do mount --bind "$1" "$2" || exit 1; shift 2; done; shift; exec "$@"'


class DebianApp(Stack):
    """An application below `root`; `data`: {directory of the machine: name of what stands in for it}."""

    carrier = "files"
    cookie = "PHPSESSID"  # its session.name
    root, front = None, None
    data = {}
    ini = {}

    def __init__(self, **differs):
        super().__init__(**differs)
        self.lethe = {"files.profile": "php", "session.cookies": self.cookie, "files.cookie": self.cookie}

    def missing(self):
        return super().missing() if os.geteuid() == 0 else "run it as root: php-fpm's workers are another user, and data is mounted"

    def server(self, index, directory, port, state):
        shared = os.path.join(os.path.dirname(directory), "shared")
        if not os.path.isdir(shared):
            os.makedirs(shared)
            self.fill(shared)
            belongs_to_php(shared)
        mounts = [word for where, name in self.data.items() for word in (os.path.join(shared, name), where)]
        # What a site's configuration says once for all replicas: its public name and port.
        return Fpm(os.path.join(directory, "run"), os.path.join(directory, "sessions"), {"REPLICA": str(index)}, self.ini, buffering=False,
                   port=port, root=self.root, front=self.front, params={"SERVER_NAME": "127.0.0.1", "SERVER_PORT": "80"},
                   before=["unshare", "--mount", "sh", "-c", MOUNT, "sh", *mounts, "--"])

    def fill(self, shared):
        """Makes the data directories."""
        for name in self.data.values():
            os.makedirs(os.path.join(shared, name))


def belongs_to_php(path):
    user = pwd.getpwnam(USER)
    for at, folders, files in os.walk(path):
        for name in [".", *folders, *files]:
            os.chown(os.path.join(at, name), user.pw_uid, user.pw_gid)


class DokuWiki(DebianApp):
    """Pages, users and their rights are files; sessions are PHP's. The password cookie's key and the forms' security token are made from
    the session's id: it must be the same on every replica."""

    name, packages, cookie = "dokuwiki", ("dokuwiki", "php-fpm", "nginx-light"), "DokuWiki"
    root = "/usr/share/dokuwiki"
    data = {"/var/lib/dokuwiki/data": "data", "/var/lib/dokuwiki/acl": "acl"}
    users = {"anna": "pa55word", "berta": "s3cret"}

    def fill(self, shared):
        super().fill(shared)
        for name in ("attic", "cache", "index", "locks", "log", "media", "media_attic", "media_meta", "meta", "pages", "tmp"):
            os.makedirs(os.path.join(shared, "data", name))
        with open(os.path.join(shared, "acl", "users.auth.php"), "w", encoding="utf-8") as f:
            for name, password in self.users.items():
                f.write(f"{name}:{hashlib.md5(password.encode()).hexdigest()}:{name.title()}:{name}@example.org:user\n")
        with open(os.path.join(shared, "acl", "acl.auth.php"), "w", encoding="utf-8") as f:
            f.write("*\t@ALL\t1\n*\t@user\t8\n")


class Shaarli(DebianApp):
    """Bookmarks in files. Every form carries a token that the session holds and that counts once; so does the login's."""

    name, packages, cookie = "shaarli", ("shaarli", "php-fpm", "nginx-light"), "shaarli"
    root, front = "/usr/share/shaarli", "/index.php$is_args$args"
    data = {"/var/lib/shaarli/data": "data", "/var/cache/shaarli": "cache"}
    ini = {"error_log": "/dev/null"}  # it logs so many deprecations of PHP that nginx takes them for a head that never ends

    def fill(self, shared):
        super().fill(shared)
        for name in ("cache", "pagecache", "tmp"):
            os.makedirs(os.path.join(shared, "cache", name))


@contextlib.contextmanager
def running(stack, **how):
    with open_directory() as path, ending_clusters() as made:
        made.append(StackCluster(path, stack, **how))
        yield made[0].start()
