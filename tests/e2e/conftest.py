# SPDX-License-Identifier: Apache-2.0
"""Fixtures of all end-to-end tests: factories that end and check what they made, and a watchdog."""
import contextlib
import faulthandler
import os
import shutil
import signal
import sys
import tempfile
import threading

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from rig import App, Client, Lethe, Origin, answer, find_binary  # noqa: E402

WATCHDOG = int(os.environ.get("E2E_WATCHDOG", "120"))


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: more than a few seconds")
    config.addinivalue_line("markers", "watchdog(seconds): another limit than the default")


@pytest.fixture(autouse=True)
def watchdog(request):
    """No test runs for ever."""
    mark = request.node.get_closest_marker("watchdog")
    seconds = mark.args[0] if mark else WATCHDOG

    def too_long(*_):
        faulthandler.dump_traceback(all_threads=True)
        raise TimeoutError(f"the test ran longer than {seconds} s")
    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(seconds)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@contextlib.contextmanager
def _ending(end):
    """Ends what was made, the last first, all of it even if one end fails."""
    made = []
    yield made
    errors = []
    for thing in reversed(made):
        try:
            end(thing)
        except AssertionError as e:
            errors.append(e)
    if errors:
        raise errors[0]


def _lethe_factory():
    with _ending(lambda l: l.stop()) as made:
        def make(upstream=None, options=None, **more):
            if hasattr(upstream, "address"):
                upstream = upstream.address
            made.append(Lethe(upstream, options, start=False, **more))
            return made[-1].start()
        yield make


def _origin_factory():
    with _ending(lambda o: o.stop()) as made:
        def make(*args, **more):
            made.append(Origin(*args, **more))
            return made[-1]
        yield make


# lethe(upstream, {"timeouts.head": "1s"}, store=…): a running Lethe, ended and checked behind the test.
lethe = pytest.fixture(name="lethe")(_lethe_factory)
module_lethe = pytest.fixture(name="module_lethe", scope="module")(_lethe_factory)
# origin(handler): a running Origin.
origin = pytest.fixture(name="origin")(_origin_factory)
module_origin = pytest.fixture(name="module_origin", scope="module")(_origin_factory)


@pytest.fixture
def client():
    """client(address or Lethe): a Client, closed behind the test."""
    with contextlib.ExitStack() as stack:
        def make(where, **how):
            return stack.enter_context(Client(getattr(where, "address", where), **how))
        yield make


@pytest.fixture
def short_dir():
    """A directory whose path is short enough for unix sockets."""
    path = tempfile.mkdtemp(prefix="lt-")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def release_binary():
    """The optimised build, for measurements that mean nothing under a sanitizer."""
    path = find_binary("release")
    if not path:
        pytest.skip("no build/release/lethe (cmake --preset release && cmake --build --preset release)")
    return path


@pytest.fixture(name="patient_app")
def fixture_patient_app():
    """/slow and the second half of /stream wait for app.go_on."""
    with App() as app:
        app.go_on = threading.Event()

        @app.on("/slow")
        def _(conn, head):
            conn.body(head)
            app.go_on.wait(30)
            conn.send(answer(b"slow"))

        @app.on("/stream")
        def _(conn, head):
            conn.body(head)
            conn.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n")
            app.go_on.wait(30)
            conn.send(b"4\r\nlast\r\n0\r\n\r\n")
        yield app
        app.go_on.set()
