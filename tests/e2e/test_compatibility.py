# SPDX-License-Identifier: Apache-2.0
"""The page docs/compatibility.md may claim what a run has shown, and nothing else."""
import compatibility

SHOWN = {"a": {"scenarios": {"scale": "exact", "parallel": "kept", "lease": "not applicable", "commit": "failed"},
               "controls": {"scale": True, "parallel": False}}}


def table(**claims):
    return compatibility.page({"a": {"scenarios": claims, "controls": {name: True for name in claims}}})


def test_page_claims_what_was_shown():
    row = compatibility.claims(compatibility.page(SHOWN))["a"]
    assert {name: claim for name, claim in row.items() if claim != compatibility.NOT_SHOWN} == {"scale": "exact", "lease": "not applicable"}
    assert row["parallel"] == compatibility.NOT_SHOWN, "its control did not fail without lethe"
    assert row["commit"] == compatibility.NOT_SHOWN and row["big"] == compatibility.NOT_SHOWN
    assert compatibility.contradictions(compatibility.page(SHOWN), SHOWN, ["a"]) == []


def test_claims_that_the_run_contradicts():
    for claim in ({"scale": "kept"}, {"parallel": "kept"}, {"commit": "exact"}, {"lease": "exact"}):
        wrong = compatibility.contradictions(table(**claim), SHOWN, ["a"])
        assert len(wrong) == 1 and next(iter(claim)) in wrong[0], (claim, wrong)
    assert compatibility.contradictions(table(big="exact"), SHOWN, ["a"]) == [], "this run has not touched it"


def test_stack_without_a_row():
    assert compatibility.contradictions(table(scale="exact"), SHOWN, ["a", "b"]) == ["no row for b"]
