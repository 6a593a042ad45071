"""Every target keeps every claim that applies to it; docs/conformance.md says the same."""

from __future__ import annotations

import pytest

from hwloop.conformance import CLAIMS, Verdict, conform

from .checked_targets import OTHERS, SLOW, TARGETS, Opening
from .conformance_page import CELLS, PAGE, columns, page

ON_PAGE = columns(PAGE.read_text())
#: What is checked of the slow ones at every run.
FEW = ("spikes_when_the_model_does", "gives_up_at_its_deadline", "names_the_program_that_ran")


def broken(verdict: Verdict) -> dict[str, str]:
    return {
        outcome.claim: outcome.detail for outcome in verdict.outcomes if outcome.status not in ("passed", "skipped")
    }


def checked(column: str) -> None:
    with TARGETS[column]() as target:
        verdict = conform(target)
    assert not broken(verdict)
    assert {outcome.claim: CELLS[outcome.status] for outcome in verdict.outcomes} == ON_PAGE[column]


@pytest.mark.parametrize("column", [column for column in TARGETS if column not in SLOW])
def test_a_built_in_target_keeps_its_promises_as_the_page_says(column: str) -> None:
    checked(column)


@pytest.mark.slow
@pytest.mark.parametrize("column", SLOW)
def test_a_slow_target_keeps_its_promises_as_the_page_says(column: str) -> None:
    checked(column)


@pytest.mark.parametrize("column", SLOW)
def test_a_slow_target_keeps_a_few_of_its_promises(column: str) -> None:
    with TARGETS[column]() as target:
        verdict = conform(target, claims=FEW)
    assert not broken(verdict)
    assert verdict.counts["passed"] == len(FEW)


@pytest.mark.usefixtures("third_parties")
@pytest.mark.parametrize("opening", OTHERS.values(), ids=OTHERS)
def test_other_targets_keep_theirs(opening: Opening) -> None:
    with opening() as target:
        verdict = conform(target)
    assert not broken(verdict)
    assert verdict.counts["passed"] >= 30


def test_the_page_lists_the_claims_that_there_are() -> None:
    assert list(ON_PAGE) == list(TARGETS)
    text = PAGE.read_text()
    for column in ON_PAGE.values():
        assert list(column) == list(CLAIMS)
    assert page({}).split("## The built-in targets")[0] == text.split("## The built-in targets")[0]
    assert page({}).split("## What each claim")[1] == text.split("## What each claim")[1]
