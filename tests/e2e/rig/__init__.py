# SPDX-License-Identifier: Apache-2.0
"""The end-to-end rig: lethe itself, an origin and a client that speak exact bytes, and launchers of real servers."""
from .base import Deadline, free_port, wait_for
from .client import Client
from .http1 import Ended, Malformed, Reader
from .lethe import Lethe, Metrics, find_binary, is_sanitized, run_cli
from .origin import App, Conn, Origin, answer, ok
from .servers import Haproxy, Php, Redis

__all__ = ["App", "Client", "Conn", "Deadline", "Ended", "Haproxy", "Lethe", "Malformed", "Metrics", "Origin", "Php", "Reader", "Redis",
           "answer", "find_binary", "free_port", "is_sanitized", "ok", "run_cli", "wait_for"]
