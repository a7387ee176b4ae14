# SPDX-License-Identifier: Apache-2.0
"""What the tests of the admin page stand on: its report, and its stream of events."""
import http.client
import json

IDS = ["memory", "sticky", "store", "files", "jobs", "health", "order", "scaling"]


def report(lethe):
    r = lethe.get_admin("/report")
    assert r.status == 200 and r.get("Content-Type") == "application/json"
    return json.loads(r.body)


def requirement(lethe, name):
    return next(r for r in report(lethe)["requirements"] if r["id"] == name)


class Events:
    """The stream, read event by event. .next(): the next one, or None at a well-formed end."""

    def __init__(self, lethe, timeout=20):
        host, port = lethe.admin.rsplit(":", 1)
        self.connection = http.client.HTTPConnection(host, int(port), timeout=timeout)
        self.connection.request("GET", "/events", headers={"Accept": "text/event-stream"})
        self.answer = self.connection.getresponse()
        self.status = self.answer.status
        self.lines = []

    def next(self):
        while True:
            line = self.answer.readline()  # IncompleteRead when the stream breaks off inside a chunk
            if not line:
                return None
            self.lines.append(line)
            if line.startswith(b"data: "):
                return json.loads(line[6:])

    def until(self, wanted, most=20):
        """The first event that `wanted` picks, of at most so many."""
        for _ in range(most):
            event = self.next()
            assert event is not None, "the stream ended"
            if wanted(event):
                return event
        raise AssertionError(f"none of {most} events")

    def close(self):
        self.answer.close()
        self.connection.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
