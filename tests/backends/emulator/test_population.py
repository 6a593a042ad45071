"""A population is its chips: bit for bit, in order, in much less time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch

from hwloop.device.registry import compile, open
from hwloop.errors import InputError, TargetError
from hwloop.network import Network
from hwloop.record import Recording
from hwloop.spikes import Spikes
from hwloop_emulator import Population, Preset
from hwloop_emulator.chip import Chip
from hwloop_emulator.many import chip as quick
from hwloop_emulator.many import device as population

Build = Callable[..., Network]
NUMBERS = [7, 3, 12345678901]


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _assert_as_alone(
    net: Network, spikes: Spikes, numbers: list[int] = NUMBERS, repeats: int = 1, **options: Any
) -> list[Recording]:
    """The recordings of a population, each compared with that of the chip opened alone."""
    chips = Population(numbers, session=4, **options)
    found = list(chips.run(compile(net, chips.target), spikes, repeats=repeats))
    assert len(found) == len(numbers)
    for number, recording in zip(numbers, found, strict=True):
        with open(f"emulator:{number}", session=4, **options) as chip:
            chip.load(compile(net, chip))
            alone = chip.run(spikes, repeats=repeats)
        for mine, its in zip(recording.populations, alone.populations, strict=True):
            for name in ("times", "units", "counts"):
                assert torch.equal(getattr(mine, name), getattr(its, name))
            assert (mine.n_units, mine.t_stop) == (its.n_units, its.t_stop)
        for name in ("device_id", "firmware", "program_digest", "lost_events", "late_events", "ran_on"):
            assert getattr(recording, name) == getattr(alone, name)
    return found


@pytest.mark.parametrize("preset", ["bss2", "worst", "ideal"])
@pytest.mark.parametrize("threads", [1, 2])
def test_each_chip_returns_what_it_returns_alone(build: Build, spikes: Spikes, preset: str, threads: int) -> None:
    with _threads(threads):
        _assert_as_alone(build(), spikes, preset=preset, repeats=2)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("noise", [True, False])
@pytest.mark.parametrize("mismatch", [True, False])
def test_noise_and_mismatch_can_be_off(
    build: Build, spikes: Spikes, dtype: torch.dtype, noise: bool, mismatch: bool
) -> None:
    options = {"trial_noise": noise, "mismatch": mismatch, "spread": 0.2 if mismatch else None}
    found = _assert_as_alone(build(dtype=dtype), spikes, preset="bss2", **options)
    differ = not torch.equal(found[0].populations[0].times, found[1].populations[0].times)
    assert differ == (noise or mismatch)


def test_a_full_and_a_slow_link_lose_and_delay_the_same_events(build: Build, spikes: Spikes) -> None:
    preset = Preset.load("bss2").with_effect("event_loss", 0.0)
    full = _assert_as_alone(build(), spikes, preset=preset.with_effect("link_rate", 1e6).with_effect("link_fifo", 6))
    assert all(recording.lost_events > 0 for recording in full)
    slow = _assert_as_alone(build(), spikes, preset=preset.with_effect("link_rate", 8e5))
    assert all(recording.late_events > 0 for recording in slow)
    _assert_as_alone(build(), spikes, preset=preset.with_effect("clock_wrap", 1e-5))


def test_chips_that_drift_while_they_are_written_have_drifted_alike(build: Build, spikes: Spikes) -> None:
    net, worst = build(), Preset.load("worst")
    found = _assert_as_alone(net, spikes, preset=worst.with_effect("cell_write", 0.5))
    fresh = _assert_as_alone(net, spikes, preset=worst)
    assert not torch.equal(found[0].output.times[:, :2], fresh[0].output.times[:, :2])


@pytest.mark.parametrize(
    ("settings", "lif"),
    [
        ({"delay": 2e-3}, {}),
        ({}, {"max_spikes": 2}),
        ({}, {"reset": "subtract"}),
        ({"n_out": 1}, {}),
        ({}, {"v_leak": 1.2}),
        ({}, {"t_ref": 3e-3}),
    ],
)
def test_rarer_layers_do_the_same(build: Build, spikes: Spikes, settings: dict[str, Any], lif: dict[str, Any]) -> None:
    data = Preset.load("bss2").model_dump(exclude_unset=True)
    data["limits"]["delays"]["value"] = data["limits"]["spike_cap"]["value"] = True
    data["limits"]["reset_kinds"]["value"] = ["value", "subtract"]
    preset = Preset.model_validate(data).with_effect("delay_jitter", 1e-7)
    found = _assert_as_alone(build(**settings, **lif), spikes, numbers=[7, 3], preset=preset)
    assert int(found[0].populations[0].counts.sum()) > 0


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 4, 9])
def test_chunks_end_anywhere(
    build: Build, spikes: Spikes, monkeypatch: pytest.MonkeyPatch, threads: int, size: int
) -> None:
    chips = Population(range(9), session=4)
    program = compile(build(), chips.target)
    whole = [recording.populations for recording in chips.run(program, spikes[:5])]
    monkeypatch.setattr(population, "CHUNK", size)
    with _threads(threads):
        cut = [recording.populations for recording in chips.run(program, spikes[:5])]
    assert len(cut) == 9
    for mine, its in zip(whole, cut, strict=True):
        assert all(
            torch.equal(a.times, b.times) and torch.equal(a.units, b.units) for a, b in zip(mine, its, strict=True)
        )


def test_large_networks_run_in_smaller_chunks(build: Build, spikes: Spikes, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    class Counted(quick.Batch):
        def __init__(self, preset: Preset, numbers: list[int], *others: Any) -> None:
            sizes.append(len(numbers))
            super().__init__(preset, numbers, *others)

    monkeypatch.setattr(population, "Batch", Counted)
    chips = Population(range(5))
    program = compile(build(), chips.target)
    # 320 synapses, 5 bits and 23 float64 each: 59 kB a chip
    monkeypatch.setattr(population, "SYNAPSE_BYTES", 150_000)
    with _threads(1):
        assert len(list(chips.run(program, spikes[:2]))) == 5
    assert sizes == [2, 2, 1]


def test_a_chip_that_spikes_far_more_than_those_before_it_runs_as_alone(
    build: Build, spikes: Spikes, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone: list[int] = []
    fire = Chip._fire

    def counted(self: Chip, number: int, *arguments: Any) -> Any:
        alone.append(number)
        return fire(self, number, *arguments)

    chips = Population([1, 2], session=4)
    program = compile(build(), chips.target)
    monkeypatch.setattr(Chip, "_fire", counted)
    with _threads(1):
        usual = list(chips.run(program, spikes))
        assert alone == []
        monkeypatch.setattr(quick, "SPARE", 0.5)  # half the room that the chip before needed
        cramped = list(chips.run(program, spikes))
    assert alone == [0, 1]
    for mine, its in zip(usual, cramped, strict=True):
        assert all(torch.equal(mine[k].times, its[k].times) for k in range(2))


def test_recordings_come_one_by_one_and_own_their_spikes(build: Build, spikes: Spikes) -> None:
    chips = Population(range(4), session=4)
    program = compile(build(), chips.target)
    kept = next(iterator := chips.run(program, spikes[:3]))
    copies = [population.times.clone() for population in kept.populations]
    assert len(list(iterator)) == 3
    for population_, copy in zip(kept.populations, copies, strict=True):
        assert torch.equal(population_.times, copy)
        # no chunk of other chips' spikes is kept alive by a view
        assert population_.times.untyped_storage().nbytes() == population_.times.nbytes


def test_no_chips_and_the_same_chip_twice_are_refused() -> None:
    with pytest.raises(InputError, match="0 chips, 0 of them different"):
        Population([])
    with pytest.raises(InputError, match="3 chips, 2 of them different"):
        Population([1, 2, 1])
    for number in (-1, 1.5, 2**63):
        with pytest.raises(TargetError, match=f"emulator:{number} is no chip"):
            Population([1, number])  # type: ignore[list-item]
    with pytest.raises(InputError, match="session = -1"):
        Population([1], session=-1)


def test_programs_and_spikes_that_do_not_fit_are_refused(build: Build, spikes: Spikes) -> None:
    chips = Population([1, 2])
    with open("emulator:1", preset="worst") as other, pytest.raises(TargetError, match="cannot load a program for"):
        chips.run(compile(build(), other), spikes)
    with pytest.raises(TargetError, match="5 units for a program of 4 inputs"):
        chips.run(compile(build(n_in=4), chips.target), spikes)
    with pytest.raises(InputError, match="repeats = 0"):
        chips.run(compile(build(), chips.target), spikes, repeats=0)


def test_parameters_that_the_simulator_refuses_are_refused_as_by_a_chip_alone(build: Build, spikes: Spikes) -> None:
    preset, net = Preset.load("bss2"), build()
    chips = Population([1, 2], preset=preset, session=4)
    program = compile(net, chips.target)
    # as from a file of somebody else's: no compiler would hand out an infinite time constant
    program.layers[0].parameters["tau_mem"][3] = float("inf")
    with open("emulator:1", preset=preset, session=4) as chip:
        chip.load(program)
        with pytest.raises(InputError) as alone:
            chip.run(spikes)
    with pytest.raises(InputError) as found:
        list(chips.run(program, spikes))
    assert str(found.value) == str(alone.value)
