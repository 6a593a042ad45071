"""Calibrations: made, stored, applied, and the twins, watches and studies made from them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.command.calibrations import differences
from hwloop.datasets import yin_yang
from hwloop.errors import CalibrationWarning
from hwloop.losses import FirstSpike
from hwloop.training.noise import NoiseModel
from hwloop_calibration import Sentinel, Store, Upkeep, characterise
from hwloop_calibration.calibrate import spreads
from hwloop_calibration.characterise.bench import Bench, targets_of
from hwloop_calibration.characterise.converter import measure_bends
from hwloop_calibration.characterise.stimuli import Pattern
from hwloop_calibration.document.calibration import Calibration
from hwloop_calibration.document.parts import merged as joined
from hwloop_calibration.document.renewed import merged as renewed
from hwloop_calibration.drift.upkeep import replacements
from hwloop_calibration.yield_.gradient_free import perturbed
from hwloop_calibration.yield_.strategies import STRATEGIES, Setting, apply_strategy
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

from .support import Case, Said, option, refused


def preset(**effects: float) -> Preset:
    """``bss2`` with 12 neurons."""
    data = Preset.load("bss2").model_dump(exclude_unset=True)
    data["limits"]["n_neurons"] = {"value": 12, "source": "test"}
    chip = Preset.model_validate(data)
    for name, scale in effects.items():
        chip = chip.with_effect(name, scale)
    return chip


def network(hidden: int = 4, n_in: int = 4) -> hl.Network:
    generator = torch.Generator().manual_seed(5)
    first = hl.Dense(n_in, hidden, generator=generator).init_normal_(1.6, 0.8, generator)
    second = hl.Dense(hidden, 3, generator=generator).init_normal_(0.8, 0.4, generator)
    settings = {"tau_mem": 10e-3, "tau_syn": 5e-3, "t_ref": 2e-3}
    return hl.Network([first, hl.LIF(hidden, **settings), second, hl.LIF(3, **settings)]).double()


def opened(number: int = 3, **effects: float) -> EmulatorDevice:
    return EmulatorTarget(str(number), preset=preset(**{"dead": 0.0, **effects}), session=0).open()


@dataclass(frozen=True)
class Calibrated:
    """A chip of 12 neurons, its program, and calibrations of all and of half of its neurons."""

    device: EmulatorDevice
    program: hl.Program
    whole: Calibration
    first: Calibration
    second: Calibration

    def again(self) -> EmulatorDevice:
        return opened()


@pytest.fixture(scope="module")
def made() -> Calibrated:
    device = opened()
    program = hl.compile(network(), device)
    found = [
        hl.calibrate(device, program, neurons=neurons, trim=False, synapses=False, repeats=4)
        for neurons in ("all", range(6), range(6, 12))
    ]
    return Calibrated(device, program, *found)


def calibrated(said: str = "", **options: Any) -> Calibration:
    device = opened()
    program = hl.compile(network(), device)
    return hl.calibrate(
        device, program, **{"neurons": [0, 1], "trim": False, "synapses": False, "repeats": 4, **options}
    )


def bench(columns: int) -> Bench:
    device = opened()
    return Bench(device, targets_of(hl.compile(network(), device), device), columns)


def of_neurons(neurons: Any) -> Any:
    device = opened()
    return targets_of(hl.compile(network(), device), device, neurons)


def searched(**options: Any) -> Any:
    task = yin_yang(sizes=(20, 10, 10))
    return perturbed(
        network(n_in=5).float(), opened(), task, **{"steps": 1, "directions": 1, "batch_size": 5, **options}
    )


def characterised(**options: Any) -> Any:
    device = opened()
    return characterise(
        device, hl.compile(network(), device), **{"neurons": [0, 1], "synapses": False, "repeats": 4, **options}
    )


OPTIONS = [
    option("calibrate.calibrate", "tolerance = {}; allowed: between 0 and 1 (a share)", calibrated, "tolerance", 2.0, 0.5),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", calibrated, "repeats", 3, 4),
    option("Session.__init__", "tolerance = {}; allowed: between 0 and 1 (a share)", characterised, "tolerance", 0.0, 0.5),
    option("extent.chosen_of", "allowed: one or more different ones of 0..{}", of_neurons, "neurons", [0, 12], [0, 11]),
    option("extent.chosen_of", 'allowed: "all", None (those of the program), or a list of numbers', of_neurons, "neurons", "every", "all", None, [0, 1]),
    option("Bench.__post_init__", "columns = {}; allowed: 1..{}, the fan-in", bench, "columns", 0, 1, 256),
    option("Pattern.__post_init__", "allowed: finite times >= 0 in order", Pattern, "times", (2.0, 1.0), (0.0, 1.0)),
    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", searched, "directions", 0, 1),
    option("perturbed", "allowed: > 0 (weight codes)", searched, "size_lsb", 0.0, 0.5),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_what_a_calibration_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_foreign_calibration_is_applied_as_the_message_says(made: Calibrated) -> None:
    other = opened(4)
    message = "Calibrate this device (hwloop calibrate), or apply it with policy 'warn' or 'allow'"
    refused("apply.apply", message, lambda: other.apply(made.whole))
    other.apply(made.whole, policy="allow")
    with pytest.warns(CalibrationWarning, match="is of device"):
        other.apply(made.whole, policy="warn")
    own = opened(4)
    program = hl.compile(network(), own)
    own.apply(hl.calibrate(own, program, neurons=[0, 1], trim=False, synapses=False, repeats=4))


def test_the_policies_that_are_named_are_known(made: Calibrated) -> None:
    said = refused("apply.apply", "policy = {}; allowed: {}", lambda: made.device.apply(made.whole, policy="never"))
    for name in said.split("allowed: ")[1].split(", "):
        made.device.apply(made.whole, policy=name.strip("'"))


def test_a_chip_without_trim_cells_takes_a_calibration_made_without_trimming(made: Calibrated) -> None:
    data = preset(dead=0.0).model_dump(exclude_unset=True)
    plain = EmulatorTarget("3", preset=Preset.model_validate({**data, "trims": {}}), session=0).open()
    trimmed = made.whole.model_copy(update={"codes": {"tau_mem": [8] * 12}})
    message = "use a calibration made without trimming"
    refused("_write_codes", message, lambda: plain.apply(trimmed, policy="allow"))
    plain.apply(made.whole, policy="allow")


# -- documents ------------------------------------------------------------------------------------


def edited(made: Calibrated, folder: Path, **fields: Any) -> Path:
    path = folder / "calibration.json"
    made.whole.save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))
    return path


def test_an_edited_document_is_loaded_where_that_is_allowed_or_made_again(made: Calibrated, tmp_path: Path) -> None:
    path = edited(made, tmp_path, firmware="another")
    refused(
        "Calibration.from_bytes", "Calibrate again, or load it with allow_edited=True", lambda: Calibration.load(path)
    )
    assert Calibration.load(path, allow_edited=True).firmware == "another"
    made.whole.save(path)
    assert Calibration.load(path) == made.whole


#: What a document may not hold, by its field.
WRONG: list[tuple[Said, dict[str, Any]]] = [
    (Said("Calibration.from_bytes", "this is no calibration that hwloop wrote: calibrate again"), {"neurons": "all"}),
    (Said("_consistent", "neurons are not in ascending order, or one stands twice"), {"neurons": list(range(12))[::-1]}),
    (Said("_consistent", "{} has no place in version 1; allowed: version 2"), {"version": 1, "measured": ["2026-01-01T00:00:00+00:00"] * 12}),
    (Said("_consistent", "{} has {} entries for {} neurons"), {"verdict": ["pass"]}),
    (Said("_consistent", "allowed targets: {}; allowed estimates: {}"), {"targets": {}}),
    (Said("_consistent", "weights of different lengths, or codes of a parameter that has no trim cells"), {"weights": [[1.0]] * 11 + [[1.0, 1.0]]}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "fields"), WRONG, ids=lambda value: getattr(value, "text", None))
def test_a_document_that_hwloop_did_not_write_is_made_again(
    made: Calibrated, tmp_path: Path, error: Said, fields: dict[str, Any]
) -> None:
    path = edited(made, tmp_path, **fields)
    said = refused(*error, lambda: Calibration.load(path, allow_edited=True))
    assert "calibrate again" in said
    made.whole.save(path)
    Calibration.load(path)


def test_the_store_finds_what_it_lists_and_a_folder_that_is_named(
    made: Calibrated, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    message = "cannot make {}: {}; name another folder with {}"
    refused("Store.save", message, lambda: Store(tmp_path / "file").save(made.whole))
    monkeypatch.setenv("HWLOOP_CALIBRATIONS", str(tmp_path / "folder"))
    Store().save(made.whole)
    said = refused("Store.find", "{} calibrations called {} in {}; there are: {}", lambda: Store().find("none"))
    assert Store().find(said.split("there are: ")[1]) == made.whole


def test_two_calibrations_of_the_same_neurons_are_compared(made: Calibrated) -> None:
    message = "compare two that measured the same neurons"
    refused("calibrations.differences", message, lambda: differences(made.first, made.second))
    assert differences(made.first, made.whole)


def test_parts_of_one_device_in_order_are_joined(made: Calibrated) -> None:
    foreign = made.first.model_copy(update={"device_id": "other"})
    message = "allowed: parts of one device and one program"
    refused("parts.merged", message, lambda: joined([foreign, made.second], spreads))
    message = "allowed: disjoint ascending parts"
    refused("parts.merged", message, lambda: joined([made.first, made.first], spreads))
    refused("parts.merged", message, lambda: joined([made.second, made.first], spreads))
    assert joined([made.first, made.second], spreads).neurons == list(range(12))


def test_a_part_of_the_same_device_measured_in_the_same_way_is_taken_in(made: Calibrated) -> None:
    foreign = made.first.model_copy(update={"device_id": "other"})
    message = "calibrate the same device in the same way"
    refused("renewed.merged", message, lambda: renewed(made.whole, foreign))
    renewed(made.whole, made.first)


# -- use ------------------------------------------------------------------------------------------


def twin(calibration: Calibration, program: hl.Program) -> hl.Network:
    return network().with_twin(calibration, program)


def test_neurons_that_were_not_calibrated_are_calibrated_or_left_out(made: Calibrated) -> None:
    message = (
        'Calibrate for this program (hwloop.calibrate(device, program)) or the whole chip (neurons="all"), '
        "or compile with mask="
    )
    later = hl.calibrate(made.device, made.program, neurons=range(3, 12), trim=False, synapses=False, repeats=4)
    said = refused("twin._rows", "({} such neurons). {}", lambda: twin(later, made.program))
    assert message in said
    assert "physical neuron 0 was not calibrated (3 such neurons)" in said
    twin(made.whole, made.program)
    device = opened()
    twin(hl.calibrate(device, made.program, trim=False, synapses=False, repeats=4), made.program)
    mask = eval(said.split("mask=", 1)[1], {"device": made.device, "calibration": later})  # noqa: S307
    twin(later, hl.compile(network(), made.device.target, mask=mask))


def test_masked_neurons_are_left_out_by_the_mask_that_is_named(made: Calibrated) -> None:
    verdict = ["masked", *made.whole.verdict[1:]]
    masked = made.whole.model_copy(update={"verdict": verdict, "reasons": {"0": "silent"}})
    said = refused("twin._rows", "physical neuron {} {}", lambda: twin(masked, made.program))
    assert "is masked: silent" in said
    assert said.endswith("Compile with mask=calibration.mask")
    twin(masked, hl.compile(network(), made.device.target, mask=masked.mask))


def test_a_program_of_this_network_makes_its_twin(made: Calibrated) -> None:
    other = hl.compile(network(5), made.device.target)
    refused("twin._placement", "compile this network", lambda: twin(made.whole, other))
    twin(made.whole, hl.compile(network(), made.device.target))


def test_bends_are_measured_on_the_calibrated_device(made: Calibrated) -> None:
    other = opened(4)
    wanted = network(8)
    program = hl.compile(wanted, other)
    refused("measure_bends", "this is {}", lambda: measure_bends(other, program, made.whole))
    refused("arguments.whole", "{} = {}; allowed: a whole number >= {}",
            lambda: measure_bends(made.device, made.program, made.whole, repeats=3))  # fmt: skip
    measure_bends(made.device, made.program, made.whole, repeats=4)


def test_a_sentinel_watches_the_device_that_was_calibrated(made: Calibrated) -> None:
    other = opened(4)
    refused(
        "Sentinel.__post_init__",
        "is of device {}; this is {}: calibrate it",
        lambda: Sentinel(other, made.whole, made.program),
    )
    Sentinel(made.device, made.whole, made.program)


TASK = yin_yang(sizes=(20, 10, 10))


def upkeep(net: hl.Network | None = None, **options: Any) -> Upkeep:
    device, wanted = opened(), network(n_in=5).float()
    program = hl.compile(wanted, device)
    return Upkeep(wanted if net is None else net, device, program, TASK, FirstSpike(1e-3), **options)


UPKEEP = [
    option("arguments.whole", "= {}; allowed: a whole number >= {}", upkeep, "patience", 0, 1),
    option("options.real", "{} = {}; allowed: {}", upkeep, "margin", 1.0, 0.0),
    option("options.real", "= {}; allowed: {}", upkeep, "lr_decay", 1.5, 1.0),
    Case("Upkeep.__post_init__", "give the program and the task of this network", lambda: upkeep(network(5, n_in=5).float()), upkeep),
]  # fmt: skip


@pytest.mark.parametrize("case", UPKEEP, ids=str)
def test_what_an_upkeep_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_network_finds_a_free_neuron_where_more_were_calibrated(made: Calibrated) -> None:
    def masked(calibration: Calibration) -> Calibration:
        verdict = ["masked", *calibration.verdict[1:]]
        return calibration.model_copy(update={"verdict": verdict})

    seven = hl.calibrate(made.device, made.program, neurons=range(7), trim=False, synapses=False, repeats=4)
    message = 'Calibrate more neurons than the network needs (neurons=...), or the whole chip (neurons="all")'
    refused("replacements", message, lambda: replacements(made.program, masked(seven)))
    eight = hl.calibrate(made.device, made.program, neurons=range(8), trim=False, synapses=False, repeats=4)
    assert list(replacements(made.program, masked(eight))) == [0]
    assert list(replacements(made.program, masked(made.whole))) == [0]


def setting(effort: float = 1.0) -> Setting:
    from hwloop.experiment import Experiment

    experiment = Experiment.load("yin-yang").changed(network={"hidden": [4]})
    return Setting(experiment, TASK, {"software": experiment.build_network()}, opened(), NoiseModel(), effort)


STRATEGY = [
    Case("Setting.net", "no network called {}; there are: {}", lambda: setting().net("hardened"),
         lambda said: [setting().net(name) for name in said.split("there are: ")[1].split(", ")]),
    Case("apply_strategy", "strategy {}; known: {}", lambda: apply_strategy("luck", setting()),
         lambda said: said.split("known: ")[1].split(", ") == list(STRATEGIES) and apply_strategy("as-is", setting())),
    Case("apply_strategy", "effort = {}; allowed: 0 < effort <= 1 (a share)", lambda: apply_strategy("as-is", setting(0.0)),
         (lambda: apply_strategy("as-is", setting(1)), lambda: apply_strategy("as-is", setting(1e-9)))),
]  # fmt: skip


@pytest.mark.parametrize("case", STRATEGY, ids=str)
def test_what_a_strategy_asks_for_is_accepted(case: Case) -> None:
    case.follow()
