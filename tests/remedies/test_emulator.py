"""The emulated chip: options, presets, membranes, populations."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Population, Preset
from hwloop_emulator.oracle import Oracle
from hwloop_emulator.preset import MAX_FILE, shipped

from .support import Case, Said, option, refused

SPIKES = hl.Spikes.from_events([([1e-3, 2e-3, 3e-3], [0, 1, 2])], n_units=3, t_stop=0.02)


def network() -> hl.Network:
    generator = torch.Generator().manual_seed(0)
    return hl.Network([hl.Dense(3, 4, generator=generator), hl.LIF(4, 10e-3, 5e-3)])


def chip(preset: str | Preset = "bss2", *, loaded: bool = True, **options: Any) -> EmulatorDevice:
    device = EmulatorTarget("7", preset=preset, **{"session": 0, **options}).open()
    if loaded:
        device.load(hl.compile(network(), device))
    return device


def read(neurons: Any = (0, 1), population: int = 0, times: Any = (0.0, 0.02), **options: Any) -> Any:
    return chip(**options).read_membrane(SPIKES, population, np.asarray(neurons), np.asarray(times))


def several_reads(said: str) -> None:
    device = chip(with_channels(2))
    for part in ([0, 1], [2, 3]):
        device.read_membrane(SPIKES, 0, np.array(part), np.array([0.0]))
    device.run(SPIKES)


def with_channels(channels: int) -> Preset:
    data = Preset.load("bss2").model_dump(exclude_unset=True)
    data["limits"]["membrane_channels"] = {"value": channels, "source": "test"}
    return Preset.model_validate(data)


def warmed(kelvin: float) -> None:
    chip().temperature = kelvin


def population(numbers: list[int], repeats: int = 1, preset: str = "bss2") -> None:
    chips = Population(numbers)
    program = hl.compile(network(), find("emulator:7", preset=preset) if preset != "bss2" else chips.target)
    list(chips.run(program, SPIKES, repeats=repeats))


LARGEST = 2**63 - 1
FOUR = with_channels(4)

DEVICE = [
    option("EmulatorTarget.__init__", "{} = {}; allowed: true or false", chip, "mismatch", "yes", True, False),
    option("EmulatorTarget.__init__", "allowed: a list of whole numbers, e.g. [100]", chip, "fail_after", 3, [100], []),
    option("EmulatorTarget.__init__", "clock = {}; allowed: 0..{} device s", lambda clock: chip(clock=clock, loaded=False), "clock", -1.0, 0, 1e9),
    option("EmulatorDevice.advance", "allowed: 0..{} device s", lambda seconds: chip(loaded=False).advance(seconds), "seconds", -1.0, 0, 1e9),
    option("EmulatorDevice.temperature", "K above reference; allowed: {}..{}", warmed, "kelvin", 1e3, -200, 200),
    option("device._chip_number", "N a whole number >= 0 and <= {}", EmulatorTarget, "address", "x", "0", str(LARGEST)),
    option("arguments.whole", "{} = {}; allowed: a whole number {}..{}", lambda session: chip(session=session, loaded=False), "session", -1, 0, LARGEST),
    Case("DeviceBase._loaded", "holds no program; call load(program) first", lambda: read(loaded=False),
         lambda: read(preset=FOUR, loaded=True)),
    Case("EmulatorDevice.read_membrane", "read them in several runs, or use spikes alone",
         lambda: read([0, 1, 2, 3], preset=with_channels(2)), several_reads),
    Case("EmulatorDevice.read_membrane", "population {}; allowed: 0..{}", lambda: read(population=1, preset=FOUR),
         lambda: read(population=0, preset=FOUR)),
    Case("EmulatorDevice.read_membrane", "neurons {} of population {}; allowed: [k] whole numbers 0..{}", lambda: read([4], preset=FOUR),
         lambda: read([0, 3], preset=FOUR)),
    Case("EmulatorDevice.read_membrane", "allowed: [samples], ascending, within 0..{} s", lambda: read(times=[0.02, 0.0], preset=FOUR),
         lambda: read(times=[0.0, 0.02], preset=FOUR)),
    Case("Oracle.__init__", "load one before asking the oracle", lambda: Oracle(chip(loaded=False)),
         lambda: Oracle(chip(loaded=True)).parameter(0, "tau_mem")),
    Case("Population.__init__", "{} chips, {} of them different; allowed: 1..{}, each once", lambda: population([1, 1]),
         (lambda: population([1]), lambda: population([1, 2]))),
    Case("Population.run", "compile it for population.target", lambda: population([1], preset="ideal"),
         lambda: population([1])),
    Case("arguments.whole", "{} = {}; allowed: a whole number >= {}", lambda: population([1], repeats=0),
         lambda: population([1], repeats=1)),
]  # fmt: skip


@pytest.mark.parametrize("write_again", [True, False])
def test_a_write_that_broke_off_is_finished_or_taken_back(write_again: bool) -> None:
    device = chip(fail_after=[2])
    name = next(iter(device.trim_ranges))
    before = device.trim_codes(name)
    wanted = before + 1
    said = refused("EmulatorDevice.write_trim", "or write the previous codes", lambda: device.write_trim(name, wanted))
    assert "broke off after 2 of" in said
    held = device.trim_codes(name)
    assert (held != before).sum() == 2
    if write_again:
        missing = np.flatnonzero(held != wanted)
        device.write_trim(name, wanted[missing], missing)
        assert (device.trim_codes(name) == wanted).all()
    else:
        device.write_trim(name, before)
        assert (device.trim_codes(name) == before).all()


def test_the_rate_and_the_sample_that_are_printed_are_run() -> None:
    def run(rate: float, t_stop: float = 0.02) -> None:
        preset = Preset.load("ideal").with_effect("stuck_rate", rate).with_effect("stuck", 1.0)
        device = EmulatorTarget("7", preset=preset, session=0).open()
        device.load(hl.compile(network(), device))
        device.run(hl.Spikes.from_events([([], [])], 3, t_stop))

    said = refused(
        "Chip._rate", "Lower the rate to {} device_hz, or shorten the sample to {} device s", lambda: run(9e6)
    )
    run(float(said.split("the rate to ")[1].split()[0]))
    run(9e6, float(said.split("the sample to ")[1].split()[0]))


# -- presets --------------------------------------------------------------------------------------

TEXT = """format = "hwloop-emulator-preset"
version = 1
name = "mine"
family = "mine"
[limits]
weight_bits = {value = 6, source = "assumed"}
tau_mem = {value = [1e-6, 1e-3], source = "assumed"}
[effects.gain]
scale = 0.1
source = "assumed"
[trims.tau_mem]
codes = [0, 15]
default = 8
step = 0.01
source = "assumed"
"""


def written(folder: Path, old: str = "", new: str = "", *, text: str = TEXT) -> Path:
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new) if old else text)
    return path


def loaded(folder: Path, old: str = "", new: str = "") -> Preset:
    return Preset.load(written(folder, old, new))


def known(said: str) -> list[str]:
    return said.rsplit("known", 1)[1].split(": ", 1)[1].split(". Did")[0].split(", ")


@pytest.mark.parametrize(
    ("error", "old", "new", "mended"),
    [
        (Said("_ordered", "is no interval; allowed: [low, high], low <= high"), "[1e-6, 1e-3]", "[1e-3, 1e-6]", ("[1e-6, 1e-3]", "[1e-3, 1e-3]")),
        (Said("_inside", "allowed: low <= default <= high, low < high"), "default = 8", "default = 16", ("default = 0", "default = 15")),
        (Said("check_effect", 'effects.{}.distribution = {}; allowed: {}'), 'scale = 0.1', 'scale = 0.1\ndistribution = "bernoulli"', ('scale = 0.1\ndistribution = "lognormal"',)),
        (Said("check_effect", 'effects.{}.{} = {}; allowed: {}'), 'scale = 0.1', 'scale = 0.1\nunit = "swing"', ('scale = 0.1\nunit = "ratio"',)),
        (Said("check_effect", "effects.{}.scale = {}; allowed: 0..{}"), "scale = 0.1", "scale = 9", ("scale = 0", "scale = 1")),
        (Said("Preset.load", "not TOML"), "version = 1", "version = ", ("version = 1",)),
        (Said("preset._explain", "preset {}"), 'scale = 0.1\nsource = "assumed"', 'scale = 0.1', ('scale = 0.1\nsource = "assumed"',)),
        (Said("preset._explain", "preset {}"), "value = 6", "value = 40", ("value = 16", "value = 2")),
    ],
)  # fmt: skip
def test_a_preset_that_is_mended_as_it_says_loads(
    tmp_path: Path, error: Said, old: str, new: str, mended: tuple[str, ...]
) -> None:
    loaded(tmp_path)
    refused(*error, lambda: loaded(tmp_path, old, new))
    for right in mended:
        loaded(tmp_path, old, right)


def test_effects_and_trims_that_are_known_are_those_that_are_printed(tmp_path: Path) -> None:
    said = refused(
        "Preset._consistent", "trims.{} is unknown; known: {}", lambda: loaded(tmp_path, "trims.tau_mem", "trims.tau")
    )
    for name in known(said):
        loaded(tmp_path, "trims.tau_mem", f"trims.{name}")
    said = refused(
        "preset._explain",
        "preset {}",
        lambda: loaded(tmp_path, "effects.gain", "effects.again"),
    )
    assert "gain" in known(said)
    said = refused(
        "preset._explain",
        "preset {}",
        lambda: loaded(tmp_path, "step = 0.01", "step = 0.01\nstop = 1"),
    )
    assert set(known(said)) == {"codes", "default", "step", "source"}
    said = refused(
        "Preset.with_effect", "unknown effect {}; known: {}", lambda: Preset.load("ideal").with_effect("gains", 0.1)
    )
    for name in known(said):
        Preset.load("ideal").with_effect(name, 0.0)


def test_an_effect_in_weight_codes_is_taken_with_weight_bits(tmp_path: Path) -> None:
    effect = '[effects.programming]\nscale = 0.1\nsource = "assumed"\n[trims.tau_mem]'
    bits = 'weight_bits = {value = 6, source = "assumed"}\n'
    text = TEXT.replace("[trims.tau_mem]", effect)
    message = "allowed: only with limits.weight_bits"
    refused("Preset._consistent", message, lambda: Preset.load(written(tmp_path, bits, "", text=text)))
    Preset.load(written(tmp_path, text=text))


def test_an_effect_that_needs_another_is_taken_once_that_is_stated() -> None:
    said = refused(
        "Preset._consistent",
        "effects.{} > 0 without effects.{}; state it ({}){}",
        lambda: Preset.load("ideal").with_effect("hot", 0.1),
    )
    name = said.split("without effects.")[1].split(";")[0]
    assert ", 0 is allowed" in said
    for value in (0.0, 10.0):
        Preset.load("ideal").with_effect(name, value).with_effect("hot", 0.1)


def test_a_variant_within_the_printed_range_is_made() -> None:
    said = refused("check_effect", "allowed: 0..{}", lambda: Preset.load("bss2").with_spread(2.0))
    Preset.load("bss2").with_spread(float(said.split("0..")[1].split()[0]))
    Preset.load("bss2").with_spread(0.0)
    refused("Preset.with_effect", "{} with {} = {}", lambda: Preset.load("bss2").with_spread(-0.1))


def test_a_preset_that_is_named_as_the_message_says_is_found(tmp_path: Path) -> None:
    said = refused("preset._read", "unknown preset {}; shipped: {}; or give a .toml file", lambda: Preset.load("bss3"))
    for name in said.split("shipped: ")[1].split(";")[0].split(", "):
        Preset.load(name)
    assert Preset.load(str(written(tmp_path))).name == "mine"
    assert set(shipped()) == set(said.split("shipped: ")[1].split(";")[0].split(", "))


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"], ids=["missing", "no text"])
def test_a_preset_file_is_read_once_it_is_there_and_text(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "mine.toml"
    if content is not None:
        path.write_bytes(content)
    refused("preset._read", "check the path, and that it is UTF-8 text", lambda: Preset.load(path))
    Preset.load(written(tmp_path))


def test_a_preset_file_of_the_allowed_size_is_read(tmp_path: Path) -> None:
    spare = MAX_FILE - len(TEXT)
    refused(
        "preset._read",
        "allowed: at most {}; shorten its texts",
        lambda: Preset.load(written(tmp_path, text=TEXT + "#" * (spare + 1))),
    )
    Preset.load(written(tmp_path, text=TEXT + "#" * spare))


@pytest.mark.parametrize("case", DEVICE, ids=str)
def test_what_a_chip_asks_for_is_accepted(case: Case) -> None:
    case.follow()
