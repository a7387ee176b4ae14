# SPDX-License-Identifier: Apache-2.0
"""Fixtures of the HTTP/2 tests; the application, `app`, is each file's own."""
import pytest

from h2_rig import H2, start


@pytest.fixture(name="proxy", scope="module")
def fixture_proxy(app):
    with start(app) as proxy:
        yield proxy


@pytest.fixture(name="c")
def fixture_c(proxy):
    """A connection that is ready; behind the test a new one must be served as before."""
    with H2(proxy.address) as c:
        c.ready()
        yield c
    with H2(proxy.address) as other:
        other.alive("a new connection behind the test")
