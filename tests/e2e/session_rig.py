# SPDX-License-Identifier: Apache-2.0
"""What the tests of sessions stand on: cluster_rig's with the PHP applications in apps/php, whose sessions are files."""
import itertools
import os
import shutil
import signal
import subprocess

import pytest
from cluster_rig import TOKEN, Background, Browser, Gate, ending_clusters, keys, together
from cluster_rig import Cluster as AnyCluster
from cluster_rig import Replica as AnyReplica
from stack_rig import APPS as ALL_APPS

from rig import Php, find_binary

APPS = os.path.join(ALL_APPS, "php")
PHP_ID_LETTERS = "0123456789abcdefghijklmnopqrstuv"
TOKEN_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"


class Replica(AnyReplica):
    """One replica: a PHP server with a session directory of its own."""

    def prepare(self):
        self.sessions = self.cluster.shared_sessions or os.path.join(self.dir, "sessions")
        os.makedirs(self.sessions, exist_ok=True)
        self.save_path = self.sessions  # as PHP writes it; with a depth, PHP wants the directories to be there
        if self.cluster.depth:
            self.save_path = f"{self.cluster.depth};{self.sessions}"
            for letters in itertools.product(PHP_ID_LETTERS, repeat=self.cluster.depth):
                os.makedirs(os.path.join(self.sessions, *letters), exist_ok=True)

    def make_app(self):
        if self.cluster.make_php:
            return self.cluster.make_php(self.cluster, self.index)
        return Php(APPS, self.sessions, workers=4, start=False, env={"REPLICA": str(self.index)},
                   ini={"session.gc_probability": "0", "session.save_path": f'"{self.save_path}"', **self.cluster.php_ini})

    def carrier(self):
        return {"files.profile": "php", "files.dir": self.save_path} if self.cluster.carries else {}

    @property
    def php(self):
        return self.app

    def files(self):
        """The session files, relative to their directory."""
        return sorted(os.path.relpath(os.path.join(at, f), self.sessions) for at, _, files in os.walk(self.sessions) for f in files
                      if f.startswith("sess_"))

    def wipe(self):
        """Its disk is lost."""
        shutil.rmtree(self.sessions)
        os.makedirs(self.sessions)


class Cluster(AnyCluster):
    """carrier=False leaves the session files alone; shared=True gives all replicas one session directory; depth is PHP's own."""

    routes = {"/count": "/counter.php", "/me": "/me.php", "/login": "/login.php", "/logout": "/logout.php"}

    def __init__(self, directory, replicas=2, carrier=True, shared=False, php=None, php_ini=None, depth=0, **how):
        self.carries, self.make_php, self.php_ini, self.depth = carrier, php, php_ini or {}, depth
        self.shared_sessions = os.path.join(str(directory), "sessions") if shared else None
        super().__init__(directory, replicas, **how)

    def make_replica(self, index):
        return Replica(self, index)

    def session_files(self):
        return [os.path.join(r.sessions, f) for r in self.replicas for f in r.files()]


def curl(*args, seconds=30):
    done = subprocess.run(["curl", "-sS", "--noproxy", "*", "--max-time", str(seconds), *args], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode()


@pytest.fixture(name="cluster_of")
def cluster_of_fixture(tmp_path_factory):
    """cluster_of(replicas=2, …): a Cluster of this test alone."""
    with ending_clusters() as made:
        def make(start=True, **how):
            made.append(Cluster(tmp_path_factory.mktemp("cluster"), **how))
            return made[-1].start() if start else made[-1]
        yield make


@pytest.fixture(name="cluster", scope="module")
def cluster_fixture(tmp_path_factory):
    """Two replicas with lethe, shared by the tests of a file, which leave it as it is."""
    with ending_clusters() as made:
        made.append(Cluster(tmp_path_factory.mktemp("cluster"), workers=2))
        yield made[0].start()


@pytest.fixture(name="bare", scope="module")
def bare_fixture(tmp_path_factory):
    """The negative control: the same two replicas without lethe."""
    with ending_clusters() as made:
        made.append(Cluster(tmp_path_factory.mktemp("bare"), lethe=False))
        yield made[0].start()


__all__ = ["APPS", "Background", "Browser", "Cluster", "Gate", "TOKEN", "TOKEN_ALPHABET", "bare_fixture", "cluster_fixture",
           "cluster_of_fixture", "curl", "find_binary", "keys", "signal", "together"]
