"""Known failures: listed with their reason; one that passes, or is of no claim, is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.conformance import conform, load_expectations
from hwloop.errors import DataError, OptionError

from .faulty_chips import FAULTS
from .sound_chip import SoundTarget

HEAD = 'format = "hwloop-conformance-expected"\nversion = 1\n'


def entry(claim: str, reason: str = "known") -> str:
    return f'\n[[expected]]\nclaim = "{claim}"\nreason = "{reason}"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "expected.toml"
    path.write_text(text)
    return path


def test_a_known_failure_is_listed_with_its_reason_and_the_target_conforms(tmp_path: Path) -> None:
    target, about, _ = FAULTS["delays dropped"]
    known = load_expectations(written(tmp_path, HEAD + entry(about, "firmware 2 has none")))
    verdict = conform(target(), expected=known)
    outcome = next(o for o in verdict.outcomes if o.claim == about)
    assert outcome.status == "expected"
    assert outcome.detail.startswith("firmware 2 has none (spikes are 0.02 s")
    assert verdict.conforms
    assert verdict.counts["failed"] == 0
    assert verdict.headline == "47 passed, 2 skipped, 1 failed as expected, 0 failed"


def test_a_failure_that_is_not_the_known_one_still_counts(tmp_path: Path) -> None:
    target, about, _ = FAULTS["delays dropped"]
    known = {"holds_the_refractory_time": "known"}
    verdict = conform(target(), claims=[about, "holds_the_refractory_time"], expected=known)
    assert [o.status for o in verdict.outcomes] == ["failed", "unexpected"]
    assert not verdict.conforms


def test_a_known_failure_that_passes_is_told_and_does_not_conform() -> None:
    verdict = conform(SoundTarget(), claims=["orders_events_in_time"], expected={"orders_events_in_time": "old"})
    assert verdict.outcomes[0].status == "unexpected"
    assert verdict.outcomes[0].detail == "passed, although expected to fail: old. Take it out of the file"
    assert not verdict.conforms
    assert verdict.headline == "0 passed, 0 skipped, 0 failed, 1 passed against expectation"


def test_a_known_failure_of_what_the_target_lacks_is_skipped() -> None:
    name = "delays_every_synapse_by_its_own"
    verdict = conform(SoundTarget(), claims=[name], expected={name: "none"})
    assert verdict.counts["skipped"] == 1
    assert verdict.conforms


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (HEAD + entry("keeps_time"), "'keeps_time' is no claim; claims are listed by `hwloop conform --list`"),
        (HEAD + 2 * entry("orders_events_in_time"), "'orders_events_in_time' stands twice"),
        (HEAD + entry("orders_events_in_time", ""), "reason"),
        (HEAD + entry("orders_events_in_time") + "why = 1\n", "why"),
        (HEAD.replace("version = 1", "version = 2"), "version"),
        ("claim: yes", "is no TOML"),
    ],
)
def test_a_file_of_known_failures_that_is_wrong_is_refused_by_name(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError, match=message) as refusal:
        load_expectations(path)
    assert str(path) in str(refusal.value)
    path.write_text(HEAD + entry("orders_events_in_time"))  # what it says to do
    assert load_expectations(path) == {"orders_events_in_time": "known"}


def test_an_unknown_claim_is_refused_with_those_there_are() -> None:
    with pytest.raises(OptionError, match=r"no claim is called 'keeps_time'; there are: .*orders_events_in_time"):
        conform(SoundTarget(), claims=["keeps_time"])
    assert conform(SoundTarget(), claims=["orders_events_in_time"]).conforms
