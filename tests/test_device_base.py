"""State after failure: a device runs what it says it runs, or refuses, wherever a write breaks off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
import hwloop.device.registry
from hwloop.device.registry import Measured, checked_repeats, earlier, repeat
from hwloop.errors import InputError, TargetError
from hwloop.mapping import Program
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

#: Where lines are counted: everything between ``load`` and the last cell.
FILES = ("hwloop/device/base.py", "hwloop_emulator/device.py", "hwloop_emulator/chip.py", "hwloop_emulator/memory.py",
         "hwloop_loihi/device.py", "hwloop_loihi/emulator.py")  # fmt: skip


def network(seed: int) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    first = hl.Dense(3, 6, generator=generator).init_normal_(1.6, 1.0, generator)
    second = hl.Dense(6, 2, generator=generator).init_normal_(1.0, 0.8, generator)
    return hl.Network([first, hl.LIF(6, 10e-3, 5e-3), second, hl.LIF(2, 10e-3, 5e-3)]).double()


@pytest.fixture
def spikes() -> Spikes:
    rows = [([0.001, 0.002, 0.003, 0.004], [0, 1, 2, 0]), ([0.001, 0.0015, 0.009], [2, 0, 1])]
    return Spikes.from_events(rows, n_units=3, t_stop=0.05, dtype=torch.float64)


def emulator() -> EmulatorDevice:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["n_neurons"] = {"value": 10, "source": "test"}
    data["limits"]["weight_bits"] = {"value": 6, "source": "test"}
    preset = Preset.model_validate(data).with_effect("synapse", 0.05).with_effect("tau_mem", 0.1)
    return EmulatorTarget("7", preset=preset, session=0).open()


def loihi() -> Any:
    return hl.open("loihi")


OPENERS: list[Callable[[], Any]] = [emulator, loihi]


def ran(device: Any, spikes: Spikes) -> list[torch.Tensor]:
    return [population.times for population in device.run(spikes).populations]


def equal(first: list[torch.Tensor], second: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("opened", OPENERS, ids=["emulator", "loihi"])
def test_a_load_interrupted_at_any_line_leaves_a_device_that_runs_what_it_names_or_refuses(
    opened: Callable[[], Any], interruption: Any, spikes: Spikes
) -> None:
    programs = [hl.compile(network(seed), opened()) for seed in (1, 2)]
    expected = {program.digest: ran(_loaded(opened(), program), spikes) for program in programs}
    cells = sum(layer.codes.size for layer in programs[1].layers)
    device = _loaded(opened(), programs[0])
    with interruption(FILES) as counted:
        device.load(programs[1])
    refused = 0
    for index in range(counted.lines):
        device = _loaded(opened(), programs[0])
        with pytest.raises(KeyboardInterrupt), interruption(FILES, index):
            device.load(programs[1])
        refusal = None
        try:
            assert equal(ran(device, spikes), expected[device.program.digest])
        except TargetError as error:
            refusal = str(error)
        device.load(programs[1])
        if refusal is not None:
            assert "the last write failed or was interrupted" in refusal
            assert device.writes.last == cells
        assert equal(ran(device, spikes), expected[programs[1].digest])
        refused += refusal is not None
    assert refused >= 5


def _loaded(device: Any, program: Program) -> Any:
    device.load(program)
    return device


class Half(hl.target.DeviceBase):
    """A third party's chip that compares with ``self.program`` and whose write breaks off when told to."""

    fails: BaseException | None = None

    def __init__(self) -> None:
        target = EmulatorTarget("0", preset="ideal")
        super().__init__(target, "half", "1", "emulator")
        self.forgotten = 0

    def _write(self, program: Program) -> int:
        held = self.program
        if self.fails is not None:
            raise self.fails
        pairs = [] if held is None else zip(held.layers, program.layers, strict=True)
        whole = sum(layer.codes.size for layer in program.layers)
        return whole if held is None else sum(int(np.count_nonzero(a.codes != b.codes)) for a, b in pairs)

    def _forget(self) -> None:
        self.forgotten += 1

    def _execute(self, program: Program, spikes: Spikes, repeats: int) -> Measured:
        shape = [(len(spikes) * repeats, layer.n_out) for layer in program.layers]
        return Measured(
            tuple(Spikes.from_first_times(torch.full((n, units), np.inf), spikes.t_stop) for n, units in shape)
        )


@pytest.mark.parametrize("failure", [TargetError("cable"), OSError("bus"), KeyboardInterrupt(), SystemExit()])
def test_after_a_failed_write_nothing_is_held_and_the_next_one_writes_everything(
    failure: BaseException, spikes: Spikes
) -> None:
    device, program = Half(), hl.compile(network(1), EmulatorTarget("0", preset="ideal"))
    device.load(program)
    device.load(program)
    assert (device.writes.last, device.writes.total, device.writes.loads, device.writes.failed) == (0, 30, 2, 0)
    device.fails = failure
    with pytest.raises(type(failure)):
        device.load(program)
    assert device.program is None
    assert (device.writes.last, device.writes.total, device.writes.loads, device.writes.failed) == (0, 30, 2, 1)
    with pytest.raises(
        TargetError, match="half holds no program: the last write failed or was interrupted.*load again"
    ):
        device.run(spikes)
    with pytest.raises(type(failure)):
        device.load(program)
    device.fails = None
    device.load(program)
    assert device.forgotten == 2
    assert (device.writes.last, device.writes.total, device.writes.loads, device.writes.failed) == (30, 60, 3, 2)
    assert device.run(spikes).program_digest == program.digest


def test_a_refused_program_leaves_what_was_loaded(spikes: Spikes) -> None:
    device = Half()
    program = hl.compile(network(1), device)
    device.load(program)
    with pytest.raises(TargetError, match="compile the network for this device"):
        device.load(hl.compile(network(1), emulator()))
    assert device.run(spikes).program_digest == program.digest
    assert device.writes.failed == 0
    with hl.open("loihi") as other:
        loaded = other.target.compile(network(1))
        other.load(loaded)
        with pytest.raises(TargetError, match="runs programs compiled for loihi; got Program"):
            other.load(Program(loaded.capabilities, loaded.layers))
        assert other.run(spikes).program_digest == loaded.digest


def test_an_interrupted_seek_leaves_no_program_and_a_refused_one_changes_nothing(
    interruption: Any, spikes: Spikes
) -> None:
    program = hl.compile(network(1), emulator())
    device = _loaded(emulator(), program)
    with interruption(FILES) as counted:
        device.seek(3, 5)
    refusals: list[str] = []
    for index in range(0, counted.lines, 3):
        device = _loaded(emulator(), program)
        expected = ran(device, spikes)
        with pytest.raises(KeyboardInterrupt), interruption(FILES, index):
            device.seek(3, 5)
        try:
            assert equal(ran(device, spikes), expected)
        except TargetError as error:
            refusals.append(str(error))
        device.load(program)
        assert equal(ran(device, spikes), expected)
    assert len(refusals) > 3
    assert all("load again" in refusal for refusal in refusals)
    with pytest.raises(InputError, match="batch = -1"):
        device.seek(9, -1)
    assert device.session != 9


def test_a_run_that_fails_is_not_counted(monkeypatch: pytest.MonkeyPatch, spikes: Spikes) -> None:
    device = _loaded(emulator(), hl.compile(network(1), emulator()))
    device.run(spikes)
    monkeypatch.setattr(device._chip, "_link", None)
    with pytest.raises(AttributeError):
        device.run(spikes)
    assert (device.samples_run, device.batch) == (2, 1)


@pytest.mark.parametrize("repeats", [3, np.int64(3), np.uint8(3), torch.tensor(3)])
def test_whole_numbers_of_every_kind_are_repeats(repeats: Any, spikes: Spikes) -> None:
    device = _loaded(emulator(), hl.compile(network(1), emulator()))
    recording = device.run(spikes, repeats=repeats)
    assert len(recording.output) == 6
    assert len(hl.target.repetitions(recording, repeats)) == 3


@pytest.mark.parametrize("repeats", [0, -1, 1.0, True, "2", None, np.float64(2)])
def test_what_is_no_number_of_repeats_is_refused(repeats: Any) -> None:
    with pytest.raises(InputError, match="allowed: a whole number >= 1"):
        checked_repeats(repeats)


def test_a_recording_is_cut_only_into_whole_repeats(spikes: Spikes) -> None:
    device = _loaded(emulator(), hl.compile(network(1), emulator()))
    with pytest.raises(InputError, match="divides the 2 samples"):
        hl.target.repetitions(device.run(spikes), 3)


def test_repeats_follow_each_other(spikes: Spikes) -> None:
    assert repeat(spikes, 1) is spikes
    twice = repeat(spikes, 2)
    assert torch.equal(twice[2:].times, spikes.times)
    assert twice.counts.tolist() == [*spikes.counts.tolist()] * 2


# -- latency --------------------------------------------------------------------------------------


def test_times_move_earlier_and_stay_in_the_window() -> None:
    spikes = Spikes.from_events([([0.1, 0.3, 1.0], [0, 1, 0]), ([0.5], [1])], 2, 1.0, dtype=torch.float64)
    found = earlier((spikes,), 0.2)[0]
    assert found.times.tolist() == [[0.0, pytest.approx(0.1), 0.8], [0.3, np.inf, np.inf]]
    later = earlier((spikes,), -0.25)[0]
    assert later.times[0].tolist() == [pytest.approx(0.35), pytest.approx(0.55), 1.0]
    assert earlier((spikes,), 0.0)[0] is spikes


def test_a_recording_is_corrected_for_the_latency_of_the_read_out_once_whoever_runs(spikes: Spikes) -> None:
    preset = Preset.load("ideal").with_effect("latency", 2e-4)
    device = EmulatorTarget("0", preset=preset).open()
    net = network(1)
    device.load(hl.compile(net, device))
    recording, model = device.run(spikes), net(spikes)
    assert recording.latency == 2e-4
    for read, own in zip(recording.populations, model.populations, strict=True):
        assert torch.allclose(read.times, own.times.detach(), rtol=0, atol=1e-12)
    assert torch.equal(hl.run_on(device, spikes).output.times, recording.output.times)
    health = net(spikes, measured=recording).health
    assert health is not None
    assert (health.missing, health.extra) == ((0, 0), (0, 0))


def test_many_chips_are_corrected_as_each_by_itself(spikes: Spikes) -> None:
    from hwloop_emulator import Population

    preset = Preset.load("ideal").with_effect("latency", 2e-4)
    chips = Population([0], preset=preset, session=0)
    program = hl.compile(network(1), chips.target)
    device = EmulatorTarget("0", preset=preset, session=0).open()
    device.load(program)
    recording = next(iter(chips.run(program, spikes)))
    assert recording.latency == 2e-4
    assert torch.equal(recording.output.times, device.run(spikes).output.times)
