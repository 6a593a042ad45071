"""``--json`` where a command fails: an error document, with the exit status that it has without; and values as JSON has them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwloop.command import answer

from ..cli_runs import run
from .json_answers import strict


@pytest.mark.parametrize(
    "arguments, command, kind, status, message",
    [
        (["deploy", "nowhere"], "deploy", "DataError", 1, "nowhere does not exist"),
        (["targets", "no-such"], "targets", "OptionError", 2, "unknown target 'no-such'"),
        (["deploy"], "deploy", "OptionError", 2, "Missing argument 'RUN'"),
        (["nir", "check", "x.nir", "--no-such"], "nir check", "OptionError", 2, "--no-such"),
        (["trian"], "", "OptionError", 2, "trian"),
        (["calibrations", "show", "chip.json"], "calibrations show", "DataError", 1, "chip.json"),
    ],
)  # fmt: skip
def test_an_error_is_a_document_with_the_status_that_it_has_without(
    arguments: list[str], command: str, kind: str, status: int, message: str
) -> None:
    plain = run(*arguments)
    result = run(*arguments, "--json")
    assert result.exit_code == plain.exit_code == status
    assert plain.stdout == ""
    document = strict(result.stdout)
    assert document["command"] == command
    assert document["error"]["kind"] == kind
    assert document["error"]["exit_status"] == status
    assert message in document["error"]["message"]
    assert result.stderr == plain.stderr


def test_an_interrupted_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted() -> answer.Answer:
        raise KeyboardInterrupt

    monkeypatch.setattr("hwloop.command.doctor.report", interrupted)
    result = run("doctor", "--json")
    assert result.exit_code == 130
    assert strict(result.stdout)["error"]["kind"] == "KeyboardInterrupt"


def test_a_fault_that_is_found_gives_a_result_and_status_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hwloop.command.doctor.PACKAGES", ("no-such-package",))
    result = run("doctor", "--json")
    assert result.exit_code == 1
    assert strict(result.stdout)["result"]["broken"] == ["no-such-package"]


def test_numbers_are_not_rounded_and_what_is_none_is_null() -> None:
    third = 1 / 3
    values = {
        "a": third,
        "b": float("nan"),
        "c": float("inf"),
        "d": np.float64(third),
        "e": np.array([1, 2]),
        "f": Path("x"),
    }
    assert strict(json.dumps(answer.plain(values))) == {
        "a": third, "b": None, "c": None, "d": third, "e": [1, 2], "f": "x"
    }  # fmt: skip
    with pytest.raises(TypeError, match="object in the answer"):
        answer.plain(object())
