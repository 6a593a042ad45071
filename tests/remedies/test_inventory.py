"""No error without a test that follows its remedy."""

from __future__ import annotations

import pytest

from .elsewhere import ELSEWHERE, INTERNAL
from .inventory import ROOT, Entry, made, provoked

MADE, PROVOKED = made(), provoked()
ENTRIES = [*PROVOKED, *(Entry(*row) for row in ELSEWHERE), *(Entry(*row) for row in INTERNAL)]


@pytest.mark.parametrize("path", sorted({error.path for error in MADE}))
def test_every_error_has_a_test_that_does_what_its_message_says(path: str) -> None:
    missing = [str(error) for error in MADE if error.path == path and not any(e.is_of(error) for e in ENTRIES)]
    assert not missing, (
        f"{len(missing)} errors of {path} have no test that follows their remedy. For each, add to a file of tests/remedies "
        'Case("<function>", "<piece of the message>", <what provokes it>, <what the message says to do>), or name the test '
        "that does so in tests/remedies/elsewhere.py:\n" + "\n".join(missing)
    )


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: f"{entry.at}: {entry.text}")
def test_every_entry_is_of_an_error_that_the_sources_make(entry: Entry) -> None:
    near = [str(error) for error in MADE if entry.at.split(".")[-1] in error.where.split(".")]
    assert any(entry.is_of(error) for error in MADE), f"{entry} fits none of:\n" + "\n".join(near or map(str, MADE))


@pytest.mark.parametrize("entry", [Entry(*row) for row in ELSEWHERE], ids=lambda entry: f"{entry.at}: {entry.text}")
def test_a_test_that_is_named_exists(entry: Entry) -> None:
    path, _, name = entry.test.partition("::")
    assert f"def {name}(" in (ROOT / path).read_text()
