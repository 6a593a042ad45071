"""What a device is asked besides loads and runs: a calibration runs again without it, and what differs is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.device.trim import Trimmable
from hwloop.errors import DataError, TargetError
from hwloop.session_log import SessionLog, read_log, record_session
from hwloop.session_log.entries import Kind
from hwloop.stored_spikes import same_spikes
from hwloop_calibration import Calibration
from hwloop_serial.board.server import Serving

CHIP = {"preset": "worst", "session": 3}


def chain(weight: float = 0.0) -> hl.Network:
    torch.manual_seed(0)
    net = hl.Network([hl.Dense(5, 6), hl.LIF(6, 10e-3, 5e-3), hl.Dense(6, 2), hl.LIF(2, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight += 1.0 + weight
    return net


INPUTS = hl.Spikes.from_events([([0.001, 0.002], [0, 1]), ([0.004], [3])], 5, 0.03)


def kept(calibration: Calibration) -> dict[str, Any]:
    return calibration.model_dump(exclude={"created", "date", "digest", "id"} | {"effort"})


def calibrated(device: Any) -> tuple[dict[str, Any], Calibration]:
    found = hl.calibrate(device, hl.compile(chain(), device), repeats=4, synapses=False)
    return kept(found), found


def test_a_calibration_over_the_link_runs_again_from_its_log(tmp_path: Path) -> None:
    """Trim cells, membranes, clock: on an emulated chip of the preset that has all of them."""
    log = tmp_path / "x.log"
    served = Serving(find("emulator:3", **CHIP), "tcp://127.0.0.1:0")
    with served as url, hl.open(f"serial:{url}", session=3, log=log) as opened:
        device: Any = opened
        live, found = calibrated(device)
        codes = {name: device.trim_codes(name) for name in device.trim_ranges}
        clock, writes = device.device_time, device.writes
    assert any((held != codes[name][0]).any() for name, held in codes.items())
    before = log.read_bytes()
    with hl.open(f"replay:{log}") as device:
        assert isinstance(device, Trimmable)
        again, other = calibrated(device)
        assert {name: held.tolist() for name, held in codes.items()} == {
            name: device.trim_codes(name).tolist() for name in device.trim_ranges
        }
        assert (device.device_time, device.writes) == (clock, writes)
    assert again == live
    assert other.effort.device_seconds == found.effort.device_seconds
    assert log.read_bytes() == before


def use(device: Any) -> list[Any]:
    """A little of everything; what was seen."""
    seen: list[Any] = []

    def note() -> None:
        seen.append((device.device_time, device.temperature, device.writes, device.trim_codes("v_th").tolist()))

    device.load(hl.compile(chain(), device.target))
    device.run(INPUTS)
    note()
    default = device.trim_ranges["v_th"].default
    device.write_trim("v_th", np.array([default + 3, default - 2]), np.array([4, 0]))
    note()
    device.write_trim("v_th", np.full(len(device.trim_codes("v_th")), default), refresh=True)
    device.temperature = 4.0
    note()
    device.advance(60)
    note()
    seen.append(device.read_membrane(INPUTS, 1, np.array([0, 1]), np.array([0.01, 0.02])).tolist())
    seen.append(device.membrane_channels)
    run = device.run(INPUTS, repeats=2)
    seen.append([train.to_events() for train in run.populations])
    note()
    return seen


def equal(one: Any, other: Any) -> bool:
    return str(one) == str(other)


def recorded(path: Path) -> Any:
    return record_session(hl.open("emulator:3", **CHIP), path)


def test_everything_is_answered_as_it_was_and_a_recorder_changes_nothing(tmp_path: Path) -> None:
    with hl.open("emulator:3", **CHIP) as chip:
        plain = use(chip)
    with recorded(tmp_path / "x") as device:
        live = use(device)
    with hl.open(f"replay:{tmp_path / 'x'}") as device:
        replayed = use(device)
        assert device.samples_run == 6
    assert equal(plain, live)
    assert equal(live, replayed)
    log = read_log(tmp_path / "x")
    assert len(log.asked) == 6


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run, a write of two cells, membranes, and a run."""
    path = tmp_path_factory.mktemp("log") / "x.log"
    with recorded(path) as device:
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)
        default = device.trim_ranges["v_th"].default
        device.write_trim("v_th", np.array([default + 3, default - 2]), np.array([4, 0]))
        device.read_membrane(INPUTS, 1, np.array([0]), np.array([0.01]))
        device.run(INPUTS)
    return path


@pytest.fixture
def begun(small: Path) -> Iterator[Any]:
    with hl.open(f"replay:{small}") as device:
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)
        yield device


def write(device: Any, *codes: int, neurons: tuple[int, ...] = (4, 0), **options: Any) -> None:
    default = device.trim_ranges["v_th"].default
    device.write_trim("v_th", np.array(codes) + default, np.array(neurons), **options)


WRONG: list[tuple[str, Callable[[Any], Any]]] = [
    ("write_trim with other codes", lambda device: write(device, 3, -1)),
    ("write_trim with other neurons", lambda device: write(device, 3, -2, neurons=(4, 1))),
    ("write_trim with refresh = True, recorded was False", lambda device: write(device, 3, -2, refresh=True)),
    ("advance, recorded was write_trim", lambda device: device.advance(3.0)),
    ("write_trim was recorded before run 1, and was not asked", lambda device: device.run(INPUTS)),
    ("temperature, recorded was write_trim", lambda device: setattr(device, "temperature", 1.0)),
]


@pytest.mark.parametrize(("said", "ask"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_what_was_not_recorded_is_refused_with_what_differs_first_and_uses_nothing_up(
    begun: Any, said: str, ask: Callable[[Any], Any]
) -> None:
    with pytest.raises(TargetError, match=f"{said}.*Use the same network"):
        ask(begun)
    write(begun, 3, -2)
    for other in (lambda: begun.read_membrane(INPUTS[:1], 1, np.array([0]), np.array([0.01])),
                  lambda: begun.read_membrane(INPUTS, 1, np.array([0]), np.array([0.011])),
                  lambda: begun.read_membrane(INPUTS, 0, np.array([0]), np.array([0.01]))):  # fmt: skip
        with pytest.raises(TargetError, match="read_membrane (of other inputs|with other times|with population = 0)"):
            other()
    begun.read_membrane(INPUTS, 1, np.array([0]), np.array([0.01]))
    begun.run(INPUTS)
    with pytest.raises(TargetError, match="advance was not recorded before run 2"):
        begun.advance(1.0)


def test_a_log_is_gone_to_with_the_codes_that_its_cells_held_there(small: Path) -> None:
    with hl.open(f"replay:{small}", start=2) as opened:
        device: Any = opened
        default = device.trim_ranges["v_th"].default
        assert (device.trim_codes("v_th")[[0, 4]] - default).tolist() == [-2, 3]
        device.seek(logged=0)
        assert (device.trim_codes("v_th") == default).all()
        device.seek(logged=1)  # whether the write belongs to what was done before is not known: it may be left out
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)


def test_a_write_that_broke_off_breaks_off_again(tmp_path: Path) -> None:
    def broken(device: Any) -> tuple[str, list[int]]:
        with pytest.raises(TargetError) as caught:
            write(device, 1, 2, 3, neurons=(1, 2, 3))
        return str(caught.value), device.trim_codes("v_th")[:5].tolist()

    with record_session(hl.open("emulator:3", fail_after=[2], **CHIP), tmp_path / "x") as device:
        live = broken(device)
    with hl.open(f"replay:{tmp_path / 'x'}") as device:
        assert broken(device) == live


def test_what_a_device_refuses_before_anything_happens_is_not_recorded(tmp_path: Path) -> None:
    with recorded(tmp_path / "x") as device:
        with pytest.raises(hl.errors.InputError, match="allowed: 0"):
            device.advance(-1.0)
        with pytest.raises(hl.errors.InputError, match="K above reference"):
            device.temperature = 1e6
        with pytest.raises(hl.errors.OptionError, match="no trim cells"):
            device.write_trim("color", np.array([1]), np.array([0]))
    assert len(read_log(tmp_path / "x").asked) == 1
    with hl.open(f"replay:{tmp_path / 'x'}") as replayed, pytest.raises(hl.errors.OptionError, match="no trim cells"):
        replayed.write_trim("color", np.array([1]), np.array([0]))  # type: ignore[attr-defined]


def test_an_applied_calibration_is_answered_and_may_be_left_out(tmp_path: Path) -> None:
    with hl.open("emulator:3", **CHIP) as chip:
        _, calibration = calibrated(chip)
    log = tmp_path / "x"

    def run(device: Any) -> Any:
        device.load(hl.compile(chain(), device.target))
        return device.run(INPUTS)

    with recorded(log) as device:
        device.apply(calibration)
        codes = device.trim_codes("v_th")
        live = run(device)
    with hl.open(f"replay:{log}") as device:
        device.apply(calibration)  # type: ignore[attr-defined]
        assert device.trim_codes("v_th").tolist() == codes.tolist()  # type: ignore[attr-defined]
        again = run(device)
    with hl.open(f"replay:{log}") as device:
        without = run(device)
    for found in (again, without):
        assert found.calibration_id == live.calibration_id == calibration.id
        assert all(same_spikes(a, b) for a, b in zip(found.populations, live.populations, strict=True))


def test_a_session_that_goes_on_brings_its_device_to_where_the_log_ends(tmp_path: Path) -> None:
    """As a resumed fine-tuning does: the log answers as far as it goes, then the device is asked."""
    with recorded(tmp_path / "whole") as device:
        whole = use(device)
    with recorded(tmp_path / "cut") as device:
        use(device)
    with recorded(tmp_path / "cut") as device:
        device.seek(logged=0)
        assert equal(use(device), whole)
        held = device._device
        assert held.temperature == 0.0  # left alone so far
        device.run(INPUTS)
        assert held.temperature == 4.0
        assert held.trim_codes("v_th").tolist() == device.trim_codes("v_th").tolist()
    log = read_log(tmp_path / "cut")
    assert (len(log.runs), len(log.sessions)) == (3, 2)
    with hl.open(f"replay:{tmp_path / 'cut'}") as replayed:
        assert equal(use(replayed), whole)
        replayed.run(INPUTS)


def test_a_session_that_goes_on_at_the_end_of_its_log_has_the_codes_that_were_held_there(tmp_path: Path) -> None:
    with recorded(tmp_path / "x") as device:
        device.load(hl.compile(chain(), device.target))
        write(device, 3, -2)
        device.run(INPUTS)
        codes = device.trim_codes("v_th").tolist()
    with recorded(tmp_path / "x") as device:
        device.seek(logged=1)
        assert device.trim_codes("v_th").tolist() == codes
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)
        assert device._device.trim_codes("v_th").tolist() == codes


def test_a_log_of_before_such_things_were_recorded_lets_them_pass(small: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    log = SessionLog(old)
    with recorded(tmp_path / "new") as device:
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)
    content = read_log(tmp_path / "new")
    log.entry(Kind.SESSION, content.sessions[0])
    log.entry(Kind.LOAD, content.loads[0])
    entry = content._places[0]
    log.body(Kind.RUN, (tmp_path / "new").read_bytes()[entry.start : entry.start + entry.length])
    log.close()
    with hl.open(f"replay:{old}") as replayed:
        assert (replayed.trim_ranges, replayed.device_time, replayed.temperature) == ({}, 0.0, None)  # type: ignore[attr-defined]
        replayed.load(hl.compile(chain(), replayed.target))
        replayed.run(INPUTS)
    with recorded(old) as device:
        device.seek(logged=0)
        write(device, 1, 2)
        assert device.trim_codes("v_th")[4] == device.trim_ranges["v_th"].default + 1


def test_questions_that_no_log_can_hold_are_refused(small: Path, tmp_path: Path) -> None:
    log, place = SessionLog(tmp_path / "x"), read_log(small)
    log.entry(Kind.SESSION, place.sessions[0])
    (question,) = [text for text in place.asked if getattr(text, "name", "") == "write_trim"]
    log.entry(Kind.ASKED, question)
    log.close()
    with pytest.raises(DataError, match="what was asked is before run 1; allowed: up to run 0"):
        read_log(tmp_path / "x")


class Plain:
    """An emulated chip without temperature, whose trim cells are there."""

    def __init__(self, device: Any) -> None:
        self.__dict__["device"] = device

    def __getattr__(self, name: str) -> Any:
        if name == "temperature":
            raise AttributeError(name)
        return getattr(self.__dict__["device"], name)

    def __enter__(self) -> Plain:
        return self

    def __exit__(self, *_: object) -> None:
        self.__dict__["device"].close()


def test_a_device_without_a_temperature_is_brought_back_without(tmp_path: Path) -> None:
    def chip() -> Any:
        return Plain(hl.open("emulator:3", **CHIP))

    with record_session(chip(), tmp_path / "x") as device:
        assert not hasattr(device, "temperature")
        device.load(hl.compile(chain(), device.target))
        write(device, 3, -2)
        device.run(INPUTS)
    with record_session(chip(), tmp_path / "x") as device:
        device.seek(logged=0)
        device.load(hl.compile(chain(), device.target))
        write(device, 3, -2)
        device.run(INPUTS)
        device.run(INPUTS)  # live
        default = device.trim_ranges["v_th"].default
        assert (device._device.trim_codes("v_th")[[0, 4]] - default).tolist() == [-2, 3]
    with hl.open(f"replay:{tmp_path / 'x'}") as replayed:
        assert replayed.temperature is None  # type: ignore[attr-defined]


def test_a_calibration_that_was_applied_is_the_devices_again_once_it_is_asked_itself(tmp_path: Path) -> None:
    with hl.open("emulator:3", **CHIP) as chip:
        _, calibration = calibrated(chip)
    with recorded(tmp_path / "x") as device:
        device.apply(calibration)
        device.load(hl.compile(chain(), device.target))
        live = device.run(INPUTS)
    with recorded(tmp_path / "x") as device:
        device.seek(logged=0)
        device.apply(calibration)
        device.load(hl.compile(chain(), device.target))
        assert device.run(INPUTS).calibration_id == live.calibration_id == calibration.id
        held = device._device
        again = device.run(INPUTS)  # live
        assert again.calibration_id == calibration.id
        assert held.trim_codes("v_th").tolist() == device.trim_codes("v_th").tolist()
        write(device, 1, 2)
        assert device.calibration is None


def test_what_may_be_left_out_is_passed_over_where_something_else_is_asked(tmp_path: Path) -> None:
    with hl.open("emulator:3", **CHIP) as chip:
        _, calibration = calibrated(chip)
    with recorded(tmp_path / "x") as device:
        device.apply(calibration)
        device.load(hl.compile(chain(), device.target))
        device.run(INPUTS)
    with (
        hl.open(f"replay:{tmp_path / 'x'}") as replayed,
        pytest.raises(TargetError, match="advance was not recorded before run 0"),
    ):
        replayed.advance(1.0)  # type: ignore[attr-defined]
