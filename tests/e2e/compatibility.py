# SPDX-License-Identifier: Apache-2.0
"""What test_stacks.py has shown (build/compatibility.json) as a page (docs/compatibility.md).

    /usr/bin/python3 tests/e2e/compatibility.py            writes the page
    /usr/bin/python3 tests/e2e/compatibility.py --check    fails when the page lacks a stack, or claims what the last run has not shown"""
import collections
import json
import os
import re
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
JSON = os.path.join(ROOT, "build", "compatibility.json")
PAGE = os.path.join(ROOT, "docs", "compatibility.md")

Scenario = collections.namedtuple("Scenario", "control text")

# Columns, in order. control: does the scenario mean something without lethe? Then its failure there must have been shown too.
SCENARIOS = {
    "round robin": Scenario(True, "a login, then 60 requests that take turns: the counter has no gap, the name stays"),
    "parallel": Scenario(True, "16 increments of one session at once over three replicas: none is lost"),
    "logout": Scenario(True, "after a logout a copy of the cookie opens nothing on any replica, also when a slow request began before"),
    "users": Scenario(True, "users at once are never mixed"),
    "new id": Scenario(False, "the id changes at login while requests with the old one are under way; the old one ends with its grace"),
    "scale": Scenario(True, "one replica, three, one again: nobody notices"),
    "drain": Scenario(False, "a replica is told to end in mid-request: the request ends well, the user goes on elsewhere"),
    "reload": Scenario(False, "every lethe reads its configuration again in mid-request"),
    "kill": Scenario(True, "`kill -9` of a replica, of its application alone, of its lethe alone, in mid-request"),
    "lease": Scenario(False, "lethe stands still for longer than its lease: its late write is refused"),
    "commit": Scenario(False, "`kill -9` of lethe while the write is on its way to Redis: all of it or nothing of it"),
    "store away": Scenario(False, "Redis is dead: 503 at once with a session, service without one, nobody logged out afterwards;"
                                  " it dies in mid-request"),
    "stream": Scenario(True, "an answer whose first bytes leave early: the next request elsewhere sees its write"),
    "big": Scenario(True, "64 KB and 1 MB in a session arrive byte for byte"),
}
VERDICTS = ("exact", "kept", "not applicable")
FAILED = "failed"
NOT_SHOWN = "–"


class Run:
    """What the run that is under way has shown: {stack: {"scenarios": {name: verdict}, "controls": {name: bool}}}."""

    def __init__(self):
        self.stacks = {}

    def _of(self, stack):
        return self.stacks.setdefault(stack, {"scenarios": {}, "controls": {}})

    def failed(self, stack, scenario):
        self._of(stack)["scenarios"][scenario] = FAILED

    def showed(self, stack, scenario, verdict):
        assert verdict in VERDICTS, verdict
        self._of(stack)["scenarios"][scenario] = verdict

    def control_failed(self, stack, scenario):
        self._of(stack)["controls"][scenario] = False

    def control_showed(self, stack, scenario):
        self._of(stack)["controls"][scenario] = True

    def save(self):
        """Each scenario of a stack replaces what an earlier run had of it."""
        kept = load()
        for name, shown in self.stacks.items():
            old = kept.setdefault(name, {"scenarios": {}, "controls": {}})
            for part in ("scenarios", "controls"):
                old[part].update(shown[part])
        os.makedirs(os.path.dirname(JSON), exist_ok=True)
        with open(JSON, "w", encoding="utf-8") as f:
            json.dump(kept, f, indent=1, sort_keys=True)
            f.write("\n")


def load():
    try:
        with open(JSON, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return {}


def cell(shown, scenario):
    """What may be claimed: nothing where the scenario failed, did not run, or did not fail without lethe."""
    verdict = shown["scenarios"].get(scenario)
    if verdict not in VERDICTS:
        return NOT_SHOWN
    if SCENARIOS[scenario].control and verdict != "not applicable" and not shown["controls"].get(scenario):
        return NOT_SHOWN
    return verdict


def page(stacks):
    lines = [
        "# Compatibility", "",
        "Printed by `tests/e2e/compatibility.py` from a run of `tests/e2e/test_stacks.py`: an ordinary small application for each stack,",
        "made with nothing but the framework, on three replicas behind HAProxy that takes turns. Do not edit.", "",
        "- **exact**: the user saw what a user of one server would have seen.",
        "- **kept**: nothing of anybody else, nothing that was answered alone lost; of writes to one session *at the same time* the last",
        "  wins, as in that framework alone.",
        "- **not applicable**: the stack does not do it (no new id at login; no lock of lethe's, so no lease).",
        f"- **{NOT_SHOWN}**: not shown.", "",
        "Where a scenario means something without lethe it also ran there, and counts only because it failed there:",
        f"{', '.join(n for n, s in SCENARIOS.items() if s.control)}.", "",
        "| stack | " + " | ".join(SCENARIOS) + " |", "|---|" + "---|" * len(SCENARIOS)]
    for name in sorted(stacks):
        lines.append(f"| {name} | " + " | ".join(cell(stacks[name], s) for s in SCENARIOS) + " |")
    lines += ["", "| scenario | what happens |", "|---|---|"]
    lines += [f"| {name} | {s.text} |" for name, s in SCENARIOS.items()]
    return "\n".join(lines) + "\n"


def claims(text):
    """The table of a page: {stack: {scenario: claim}}."""
    found, header = {}, None
    for line in text.splitlines():
        if not line.startswith("|"):
            header = None
            continue
        cells = [c.strip() for c in line.strip("|").split("|")]
        if cells[0] == "stack":
            header = cells
        elif header and not re.fullmatch(r"-+", cells[0]):
            found[cells[0]] = dict(zip(header[1:], cells[1:]))
    return found


def contradictions(text, stacks, names):
    """What is wrong with a page, given what a run has shown and the names of all stacks that there are. What the run did not touch is not
    judged."""
    table = claims(text)
    wrong = [f"no row for {name}" for name in names if name not in table]
    for name, row in table.items():
        shown = stacks.get(name)
        for scenario, claim in row.items():
            if scenario not in SCENARIOS:
                wrong.append(f"no scenario is called {scenario}")
            elif claim != NOT_SHOWN and shown and scenario in shown["scenarios"]:
                ran = {"scenarios": shown["scenarios"], "controls": shown["controls"]}
                if SCENARIOS[scenario].control and scenario not in shown["controls"]:
                    ran["controls"] = {**shown["controls"], scenario: True}  # the control did not run this time
                if cell(ran, scenario) != claim:
                    wrong.append(f"{name}, {scenario}: the page says {claim}, the run {shown['scenarios'][scenario]}"
                                 f" (control {shown['controls'].get(scenario)})")
    return wrong


def main():
    stacks = load()
    if "--check" not in sys.argv[1:]:
        with open(PAGE, "w", encoding="utf-8") as f:
            f.write(page(stacks))
        return 0
    from stack_rig import find_stacks
    with open(PAGE, encoding="utf-8") as f:
        text = f.read()
    wrong = contradictions(text, stacks, [s.name for s in find_stacks()])
    if stacks:  # a check of the whole: what no run has shown may not be claimed either
        wrong += [f"{name}, {scenario}: the page says {claim}, no run has shown it" for name, row in claims(text).items()
                  for scenario, claim in row.items()
                  if claim != NOT_SHOWN and scenario not in stacks.get(name, {"scenarios": {}})["scenarios"]]
    print("\n".join(wrong) or "docs/compatibility.md claims what was shown")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
