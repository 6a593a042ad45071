"""Each planted fault breaks the claim that is about it, and no claim that is about something else; the sound chip breaks none."""

from __future__ import annotations

import pytest

from hwloop.conformance import CLAIMS, conform

from .faulty_chips import FAULTS
from .sound_chip import SoundTarget

#: What the sound chip does not have.
LACKS = {"delays_every_synapse_by_its_own", "refuses_parameters_that_differ_where_they_are_shared"}


def test_the_sound_chip_keeps_every_claim_that_the_faults_break() -> None:
    outcomes = conform(SoundTarget()).outcomes
    assert {outcome.claim: outcome.detail for outcome in outcomes if outcome.status != "passed"}.keys() == LACKS


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_caught_by_the_claim_that_is_about_it(fault: str) -> None:
    target, about, others = FAULTS[fault]
    found = {outcome.claim: outcome.detail for outcome in conform(target()).outcomes if outcome.status == "failed"}
    assert about in found
    assert found.keys() == {about, *others}, found


def test_every_claim_says_what_it_demands() -> None:
    assert len(CLAIMS) == 50
    for name, claim in CLAIMS.items():
        assert claim.name == name
        assert claim.summary.endswith("."), claim
        assert len(claim.summary.split()) > 6, claim
