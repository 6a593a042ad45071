"""Logs that hold what a device was asked besides loads and runs: each refusal, and what it says to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hwloop as hl
from hwloop.session_log import read_log, record_session
from hwloop.session_log.asked import AskedText, read_asked
from hwloop.session_log.entries import Kind
from hwloop.session_log.records import encode_record
from hwloop_emulator import EmulatorTarget, Preset

from .served import network, spikes
from .support import refused

#: Bytes before the body of a record.
HEAD_BYTES = 24


def use(device: Any, code: int = 3, write: bool = True) -> None:
    """A load, a write of a trim cell, and a run."""
    device.load(hl.compile(network(), device.target))
    if write:
        device.write_trim("v_th", np.array([device.trim_ranges["v_th"].default + code]), np.array([0]))
    device.run(spikes())


@pytest.fixture
def log(tmp_path: Path) -> Path:
    with record_session(hl.open("emulator:7"), tmp_path / "x.log") as device:
        use(device)
    return tmp_path / "x.log"


def test_what_was_recorded_otherwise_is_asked_with_the_same_options_in_the_same_order(log: Path) -> None:
    same = "Use the same network, data, seed and options, in the same order"

    def ask(**options: Any) -> None:
        with hl.open(f"replay:{log}") as device:
            use(device, **options)

    def twice() -> None:
        with hl.open(f"replay:{log}") as device:
            use(device)
            device.write_trim("v_th", np.array([1]), np.array([0]))  # type: ignore[attr-defined]

    text = "was recorded otherwise: asked was {}. {}"
    assert refused("Script.answer", text, lambda: ask(code=2)).endswith(same)
    assert refused("Script.answer", "{} was not recorded before run {}. {}", twice).endswith(same)
    text = "{} was recorded before run {}, and was not asked. {}"
    assert refused("Script.check_run", text, lambda: ask(write=False)).endswith(same)
    ask()


def test_a_write_that_broke_off_is_refused_as_it_was_and_goes_on_as_it_did(tmp_path: Path) -> None:
    def broken_off(device: Any) -> str:
        text = refused("Script.answer", "{}", lambda: use(device)) if "replay" in device.target.name else ""
        if not text:
            with pytest.raises(hl.errors.TargetError) as caught:
                use(device)
            text = str(caught.value)
        use(device)
        return text

    with record_session(hl.open("emulator:7", fail_after=[0]), tmp_path / "x.log") as device:
        live = broken_off(device)
    with hl.open(f"replay:{tmp_path / 'x.log'}") as device:
        assert broken_off(device) == live


def test_a_log_whose_questions_are_not_its_own_is_got_again(log: Path) -> None:
    whole, content = log.read_bytes(), read_log(log)
    place = content._asked_places[1]  # the question
    begins, ends = place.start - HEAD_BYTES, place.start + place.length

    def altered(old: bytes, new: bytes) -> None:
        body = whole[place.start : ends].replace(old, new, 1)
        log.write_bytes(whole[:begins] + encode_record(Kind.ASKED, body) + whole[ends:])

    altered(b'"run":0', b'"run":9')
    text = refused("LogContent.take", "{}", lambda: read_log(log))
    assert "what was asked is before run 9; allowed: up to run 0" in text
    assert text.endswith("Get the file again, or make it anew")
    log.write_bytes(whole)
    asked = content.asked[1]
    assert isinstance(asked, AskedText)
    other = asked.model_copy(update={"name": "read_membrane"})
    text = refused("asked.read_asked", "{}", lambda: read_asked(other, whole[place.start : ends], "x.log"))
    assert "what was found is missing or too much" in text
    read_asked(asked, whole[place.start : ends], "x.log")
    use_again(log)


def use_again(log: Path) -> None:
    with hl.open(f"replay:{log}") as device:
        use(device)


def test_a_preset_in_a_file_is_one_that_hwloop_wrote() -> None:
    text = "option {} is no document; allowed: preset"
    whole = Preset.load("worst").to_json()
    refused("EmulatorTarget.read_document", text, lambda: EmulatorTarget.read_document("session", whole))
    other = whole.replace('"version":1', '"version":2')
    message = refused("Preset.from_json", "{}", lambda: EmulatorTarget.read_document("preset", other))
    assert message.endswith("allowed: what hwloop wrote. Get the file again, or make it anew")
    assert EmulatorTarget.read_document("preset", whole) == Preset.load("worst")
