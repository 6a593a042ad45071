"""Seekable noise: a run depends on chip, codes and position alone, and a forked process has noise of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.device.registry import compile
from hwloop.errors import InputError, TargetError
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

Build = Callable[..., Network]
Chip = Callable[..., EmulatorDevice]


def shifts(device: EmulatorDevice) -> list[np.ndarray]:
    """What the trim cells of all parameters really do, straight from the chip."""
    trims = device._chip.trims
    return [shift for name in trims.ranges if (shift := trims.shift(name, np.arange(512))) is not None]


def fired(device: EmulatorDevice, spikes: Spikes) -> list[np.ndarray]:
    return [population.times.numpy() for population in device.run(spikes).populations]


def equal(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def trimmed(device: EmulatorDevice, *writes: int) -> EmulatorDevice:
    """``device`` with all gains at the last of ``writes``, the others written before, and every other tau_mem at 600."""
    device.write_trim("tau_mem", np.full(256, 600), np.arange(0, 512, 2))
    for code in writes:
        device.write_trim("gain", np.full(512, code))
    return device


def test_a_run_after_a_seek_depends_on_chip_codes_and_position_alone(build: Build, chip: Chip, spikes: Spikes) -> None:
    net = build()
    devices = [
        trimmed(chip(net, "bss2", session=0), 480, 700, 505),
        trimmed(chip(net, "bss2", session=9), 505),
    ]
    assert not equal(shifts(devices[0]), shifts(devices[1]))
    for device in devices:
        device.seek(3, 4)
    assert equal(shifts(devices[0]), shifts(devices[1]))
    first, second = (fired(device, spikes) for device in devices)
    assert equal(first, second)
    for device in devices:  # and where seeking is repeated, all of it comes back
        device.seek(3, 4)
        assert equal(fired(device, spikes), first)


def test_a_chip_that_was_trimmed_once_in_a_session_goes_on_there_as_it_was(
    build: Build, chip: Chip, spikes: Spikes
) -> None:
    net = build()
    whole, resumed = (trimmed(chip(net, "bss2", session=session), 505) for session in (4, 5))
    whole.seek(4, 0)
    resumed.seek(4, 0)
    written = shifts(trimmed(chip(net, "bss2", session=4), 505))
    # crosstalk between parameters there is none: the order of the two does not matter to the cells, only to their draws
    assert equal(shifts(whole), shifts(resumed))
    assert equal(written, shifts(resumed))


def test_cells_written_after_a_seek_land_as_in_the_session_that_was_sought(build: Build, chip: Chip) -> None:
    devices = [trimmed(chip(build(), "bss2", session=session), 505) for session in (0, 6)]
    for device in devices:
        device.seek(2, 0)
        device.write_trim("v_th", np.full(512, 530))
    assert equal(shifts(devices[0]), shifts(devices[1]))
    assert len(shifts(devices[0])) == 3


def test_seeking_leaves_the_calibration_of_a_trimmed_chip(build: Build, chip: Chip) -> None:
    device = trimmed(chip(build(), "bss2"), 505)
    device.calibration = calibration = object()  # type: ignore[assignment]
    device.seek(3, 4)
    assert device.calibration is calibration  # its codes are in place, landed as after apply() in that session


@pytest.mark.parametrize("of", [int, np.int64, np.uint8, torch.tensor])
def test_sessions_runs_cells_and_clocks_are_whole_numbers_of_every_kind(of: Callable[[int], Any]) -> None:
    device = EmulatorTarget("7", session=of(4), batch=of(2), fail_after=[of(3)]).open()
    assert (device.session, device.batch) == (4, 2)
    device.seek(of(5), of(6))
    assert (device.session, device.batch) == (5, 6)


@pytest.mark.parametrize("session", [True, 1.0, "1", -1, 2**63])
def test_what_is_no_number_of_a_session_is_refused(session: Any) -> None:
    with pytest.raises(InputError, match="session = .*; allowed: a whole number 0..9223372036854775807"):
        EmulatorTarget("7", session=session)


@pytest.mark.parametrize("clock", [np.int64(3), np.float32(3)])
def test_a_clock_of_numpy_is_taken(clock: Any) -> None:
    assert EmulatorTarget("7", clock=clock).open().device_time == 3.0


# -- forked processes -----------------------------------------------------------------------------


def in_child(call: Callable[[], Any]) -> Any:
    """What ``call()`` returns in a forked child; ``{"error": ...}`` where it raises."""
    ends = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = call()
        except Exception as error:
            answer = {"error": repr(error)}
        with os.fdopen(ends[1], "w") as out:
            json.dump(answer, out)
        os._exit(0)
    os.close(ends[1])
    with os.fdopen(ends[0]) as sent:
        answer = json.load(sent)
    os.waitpid(child, 0)
    return answer


def opened() -> EmulatorDevice:
    return EmulatorTarget("11", preset=Preset.load("bss2").with_spread(0.171)).open()


def test_sessions_of_forked_children_are_neither_each_others_nor_the_parents() -> None:
    before = [opened().session for _ in range(2)]
    children = [in_child(lambda: [opened().session for _ in range(2)]) for _ in range(2)]
    grandchild = in_child(lambda: in_child(lambda: [opened().session]))
    after = [opened().session for _ in range(2)]
    assert before + after == [0, 1, 2, 3]
    found = [*before, *after, *children[0], *children[1], *grandchild]
    assert len(set(found)) == len(found)


def test_a_session_that_is_asked_for_is_had_in_a_forked_child_too() -> None:
    assert in_child(lambda: EmulatorTarget("11", session=5).open().session) == 5


def test_a_chip_opened_before_the_fork_is_refused_in_the_child_until_it_is_opened_there_or_sought(
    build: Build, chip: Chip, spikes: Spikes
) -> None:
    device = chip(build(), "bss2")
    program = compile(build(), device)

    def told() -> list[str]:
        found = []
        for use in (
            lambda: device.run(spikes),
            lambda: device.load(program),
            lambda: device.write_trim("v_th", np.full(512, 530)),
        ):
            try:
                use()
            except TargetError as error:
                found.append(str(error))
        return found

    refusals = in_child(told)
    assert len(refusals) == 3
    assert all(f"was opened in process {os.getpid()}, of which this is a fork" in refusal for refusal in refusals)
    assert all("open it here, or choose its noise with seek(session, batch)" in refusal for refusal in refusals)
    fresh = EmulatorTarget("7", preset="bss2", session=8).open()
    fresh.load(program)

    def opened_there() -> bool:
        own = EmulatorTarget("7", preset="bss2", session=8).open()
        own.load(program)
        return equal(fired(own, spikes), expected)

    def sought() -> bool:
        device.seek(8, 0)
        return equal(fired(device, spikes), expected)

    expected = fired(fresh, spikes)
    assert in_child(opened_there) is True
    assert in_child(sought) is True
    assert len(device.run(spikes).populations) == 2  # the parent's is as it was


def test_a_forked_child_may_close_what_its_parent_opened(build: Build, chip: Chip, spikes: Spikes) -> None:
    device = chip(build(), "bss2")
    assert in_child(device.close) is None
    device.run(spikes)
