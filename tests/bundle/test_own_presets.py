"""A preset of one's own is in the bundle, and in the log: neither needs the file that it came from."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import hwloop as hl
from hwloop.bundle import verify_bundle
from hwloop.bundle.archive import pack_members, unpack_members
from hwloop.bundle.files import MEMBERS
from hwloop.device.registry import find
from hwloop.device.target_document import TargetText
from hwloop.errors import DataError, OptionError
from hwloop.session_log import read_log, record_session
from hwloop_emulator import EmulatorTarget, Preset
from tests.cli_runs import TINY, done, preset_file, untrained

from .conftest import Made, chain, inputs, make


def own(folder: Path) -> Path:
    return preset_file(folder, 'name = "bss2"', 'name = "mine"')


def variant(folder: Path) -> Preset:
    return Preset.load("worst").with_effect("jitter", 3e-9).without_trial_noise()


GIVEN: list[Callable[[Path], Any]] = [own, lambda folder: str(own(folder)), variant]


@pytest.mark.parametrize("given", GIVEN, ids=["path", "name of a file", "preset"])
def test_a_bundle_opens_its_chip_without_the_file_of_its_preset(tmp_path: Path, given: Callable[[Path], Any]) -> None:
    made = make(tmp_path / "x.hwb", "emulator:7", chain(), preset=given(tmp_path), session=4, spread=0.1)
    (tmp_path / "mine.toml").unlink(missing_ok=True)
    bundle = hl.load_bundle(tmp_path / "x.hwb")
    with bundle.open() as device:
        assert device.device_id == made.bundle.target.device_id
        assert verify_bundle(bundle, device).passed
    assert bundle.target.options == {"session": 4, "spread": 0.1}


def test_the_commands_run_and_verify_a_bundle_that_was_taken_elsewhere(tmp_path: Path) -> None:
    untrained(tmp_path / "run", TINY)
    done("bundle", tmp_path / "run", "--preset", own(tmp_path), "--target", "emulator:7", "--samples", 4, "--out", tmp_path / "x.hwb")  # fmt: skip
    (tmp_path / "mine.toml").unlink()
    assert "equal bit for bit" in done("verify", tmp_path / "x.hwb").stdout
    assert "4 samples on emulator:7/mine/" in done("run", tmp_path / "x.hwb").stdout


def test_a_preset_comes_back_as_the_same_chip(tmp_path: Path) -> None:
    for preset in (*map(Preset.load, EmulatorTarget.presets()), variant(tmp_path), Preset.load(own(tmp_path))):
        again = EmulatorTarget.read_document("preset", preset.to_json())
        assert (again, again.digest, again.capabilities()) == (preset, preset.digest, preset.capabilities())


def test_a_shipped_preset_is_named_alone(made: Made) -> None:
    assert made.bundle.target.documents == {}
    assert find("emulator:3", preset="worst").documents() == {}  # type: ignore[attr-defined]


BAD = ["", "no JSON", "[]", '{"format": "hwloop-emulator-preset"}', '{"a": 1, "a": 2}']


@pytest.mark.parametrize("text", BAD)
def test_a_document_that_is_no_preset_is_one_clear_error(tmp_path: Path, text: str) -> None:
    make(tmp_path / "x.hwb", "emulator:7", chain(), preset=own(tmp_path))
    members = unpack_members((tmp_path / "x.hwb").read_bytes(), "x", MEMBERS)
    target = json.loads(members["target.json"])
    target["documents"]["preset"] = text
    (tmp_path / "x.hwb").write_bytes(pack_members({**members, "target.json": json.dumps(target).encode()}))
    bundle = hl.load_bundle(tmp_path / "x.hwb")
    with pytest.raises(DataError, match="^preset"):
        bundle.open()
    bundle.open(preset="bss2").close()  # which stands above it


def test_an_option_that_is_no_document_is_refused() -> None:
    with pytest.raises(DataError, match="allowed: preset"):
        EmulatorTarget.read_document("session", "1")
    with pytest.raises(OptionError, match="no option 'color'"):
        hl.open("emulator:7", color=1)


def test_a_log_is_replayed_without_the_file_of_its_preset(tmp_path: Path) -> None:
    with record_session(hl.open("emulator:7", preset=own(tmp_path)), tmp_path / "x.log") as device:
        device.load(hl.compile(chain(), device))
        live = device.run(inputs())
    (tmp_path / "mine.toml").unlink()
    assert read_log(tmp_path / "x.log").sessions[0].target.find().capabilities.name == "emulator/mine"
    with hl.open(f"replay:{tmp_path / 'x.log'}") as device:
        device.load(hl.compile(chain(), device))
        assert device.run(inputs()).populations[0].counts.tolist() == live.populations[0].counts.tolist()


def test_a_text_of_before_presets_were_kept_is_read(made: Made) -> None:
    document = json.loads(made.bundle.target.to_bytes())
    del document["documents"], document["compiler"]
    assert TargetText.model_validate_json(json.dumps(document)) == made.bundle.target
