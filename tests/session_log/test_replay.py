"""Recorded sessions: a training runs again without its device, and goes on after a kill, bit for bit."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch

import hwloop as hl
from hwloop.device.deploy import run_on
from hwloop.device.registry import find
from hwloop.errors import DataError, TargetError
from hwloop.experiment import Experiment
from hwloop.session_log import RecordedDevice, SessionLog, difference, read_log, record_session
from hwloop.session_log.entries import Kind
from hwloop.stored_spikes import same_spikes
from hwloop.training.loop import LoopResult
from hwloop_serial.board.server import Serving

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(
    task={"train": 50, "validation": 20, "test": 20}, finetune={"epochs": 3, "validation_repeats": 1}
)


class Unseekable:
    """An emulated chip as a real one is: nobody can send its noise back."""

    def __init__(self, device: Any) -> None:
        self.__dict__["device"] = device

    def __getattr__(self, name: str) -> Any:
        if name in ("seek", "session", "batch"):
            raise AttributeError(name)
        return getattr(self.__dict__["device"], name)

    def __enter__(self) -> Unseekable:
        return self

    def __exit__(self, *_: object) -> None:
        self.__dict__["device"].close()


def tuned(device: Any, folder: Path | None = None, resume: bool = False) -> tuple[hl.Network, LoopResult]:
    net = TINY.build_network()
    options = TINY.finetune_options()
    if folder is not None:
        options |= {"checkpoint_dir": folder, "resume": resume}
    return net, hl.finetune(net, device, TINY.build_task(), TINY.build_finetune_loss(), progress=False, **options)


def weights(net: hl.Network) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in net.state_dict().items()}


def same(one: hl.Network, other: hl.Network) -> bool:
    return all(torch.equal(a, b) for a, b in zip(weights(one).values(), weights(other).values(), strict=True))


def history(done: LoopResult) -> list[tuple[Any, ...]]:
    return [(e.loss, e.accuracy, e.writes, e.validation) for e in done.history]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, hl.Network, LoopResult]]:
    """A whole fine-tuning, its log, and what came out."""
    path = tmp_path_factory.mktemp("log") / "run.log"
    with record_session(hl.open("emulator:7", session=3), path) as device:
        net, done = tuned(device)
    return path, net, done


def test_a_recorder_changes_nothing(recorded: tuple[Path, hl.Network, LoopResult]) -> None:
    with hl.open("emulator:7", session=3) as device:
        net, done = tuned(device)
    assert same(net, recorded[1])
    assert history(done) == history(recorded[2])


def test_a_whole_finetuning_runs_again_from_its_log(recorded: tuple[Path, hl.Network, LoopResult]) -> None:
    path, net, done = recorded
    before = path.read_bytes()
    with hl.open(f"replay:{path}") as device:
        assert (device.device_id, device.ran_on) == (done.device_id, "emulator")
        again, found = tuned(device)
    assert same(net, again)
    assert not same(net, TINY.build_network())
    assert history(found) == history(done)
    assert path.read_bytes() == before


def test_one_training_step_runs_again_bit_for_bit(tmp_path: Path) -> None:
    task, loss = TINY.build_task(), TINY.build_finetune_loss()
    inputs, labels = next(iter(task.train.batches(25)))

    def gradient(device: Any) -> list[torch.Tensor]:
        net = TINY.build_network()
        device.load(hl.compile(net, device.target))
        measured = run_on(device, inputs, 2)
        record = net(measured.inputs, measured)
        loss(net, record, labels.repeat(2)).backward()
        return [p.grad for p in net.parameters() if p.grad is not None]

    with record_session(hl.open("emulator:2"), tmp_path / "x") as device:
        live = gradient(device)
    with hl.open(f"replay:{tmp_path / 'x'}") as device:
        replayed = gradient(device)
    assert live
    assert all(torch.equal(a, b) for a, b in zip(live, replayed, strict=True))


def chain(weight: float = 0.0) -> hl.Network:
    torch.manual_seed(0)
    net = hl.Network([hl.Dense(5, 6), hl.LIF(6, 10e-3, 5e-3), hl.Dense(6, 2), hl.LIF(2, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[1][0].weight += weight
    return net


def spikes(*times: float) -> hl.Spikes:
    return hl.Spikes.from_events([(list(times), [0, 1, 2][: len(times)]), ([0.004], [3])], 5, 0.03)


@pytest.fixture
def small(tmp_path: Path) -> Path:
    with record_session(hl.open("emulator:7", session=1), tmp_path / "x.log") as device:
        device.load(hl.compile(chain(), device.target))
        device.run(spikes(0.001, 0.002), repeats=2)
        device.run(spikes(0.001, 0.003))
    return tmp_path / "x.log"


def replayed(path: Path) -> Any:
    device = hl.open(f"replay:{path}")
    device.load(hl.compile(chain(), device.target))
    return device


def test_what_was_not_recorded_is_refused_with_what_differs_first(small: Path) -> None:
    device = replayed(small)
    with pytest.raises(TargetError, match="2 repeats, recorded were|1 repeats, recorded were 2"):
        device.run(spikes(0.001, 0.002))
    with pytest.raises(
        TargetError, match=r"differ first in sample 0, unit 1: recorded 0.0020.* s, asked 0.002[45].* s"
    ):
        device.run(spikes(0.001, 0.0025), repeats=2)
    with pytest.raises(TargetError, match=r"sample 0, unit 2: recorded no spike, asked 0.002[89].* s"):
        device.run(spikes(0.001, 0.002, 0.0029), repeats=2)
    with pytest.raises(TargetError, match=r"what differs first is layer 1"):
        device.load(hl.compile(chain(0.5), device.target))
    assert len(device.run(spikes(0.001, 0.002), repeats=2).output) == 4  # refusals used nothing up
    device.run(spikes(0.001, 0.003))
    with pytest.raises(TargetError, match="holds 2 runs, and all have been answered"):
        device.run(spikes(0.001, 0.003))


def deeper() -> hl.Network:
    """The same first layers, and one more."""
    net = chain()
    return hl.Network([*net.layers, hl.Dense(2, 2), hl.LIF(2, 10e-3, 5e-3)])


def test_a_run_of_another_program_than_was_recorded_is_refused_with_what_differs_first(tmp_path: Path) -> None:
    programs = [chain(), chain(0.5), deeper()]
    with record_session(hl.open("emulator:7", session=1), tmp_path / "x.log") as device:
        for net in programs:
            device.load(hl.compile(net, device.target))
            device.run(spikes(0.001, 0.002))
    device = hl.open(f"replay:{tmp_path / 'x.log'}")  # type: ignore[assignment]
    for net, said in ((programs[1], "layer 1"), (programs[2], "the number of layers")):
        device.load(hl.compile(net, device.target))
        with pytest.raises(TargetError, match=f"asked were program .*, recorded was .*; what differs first is {said}"):
            device.run(spikes(0.001, 0.002))
    device.load(hl.compile(programs[0], device.target))
    for other in (
        hl.Spikes.from_events([([0.001], [0])], 5, 0.03),
        hl.Spikes.from_events([([0.001], [0])] * 2, 5, 0.04),
    ):
        with pytest.raises(
            TargetError, match=r"inputs of \(samples, units, t_stop \(s\), dtype\) .*, recorded were \(2, 5"
        ):
            device.run(other)
    with pytest.raises(TargetError, match=r"sample 0, unit 1: recorded 0.002.* s, asked no spike"):
        device.run(spikes(0.001))
    device.run(spikes(0.001, 0.002))


def test_programs_of_the_same_layers_differ_in_their_target() -> None:
    run = mock.Mock(program="a" * 64, layers=("b" * 64,))
    found = difference(run, spikes(0.001), "c" * 64, ("b" * 64,), spikes(0.001), 1)
    assert found is not None
    assert found.endswith("what differs first is its target or limits")


def test_a_recording_comes_back_whole(small: Path, tmp_path: Path) -> None:
    with record_session(hl.open("emulator:7", session=1), tmp_path / "y.log") as device:
        program = hl.compile(chain(), device.target)
        device.load(program)
        live = device.run(spikes(0.001, 0.002), repeats=2)
    again = replayed(tmp_path / "y.log").run(spikes(0.001, 0.002), repeats=2)
    assert all(same_spikes(a, b) for a, b in zip(live.populations, again.populations, strict=True))
    assert [t.times.shape for t in live.populations] == [t.times.shape for t in again.populations]
    assert live.inputs is not None
    assert again.inputs is not None
    assert same_spikes(live.inputs, again.inputs)
    assert live.provenance() == again.provenance()
    assert (live.latency, live.names) == (again.latency, again.names)


def test_a_cut_log_answers_what_is_whole_in_it_and_is_gone_on_with(
    small: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = small.read_bytes()
    small.write_bytes(whole[:-7])
    found = read_log(small)
    assert (len(found.runs), found.damage is not None and found.damage.cut) == (1, True)
    device = replayed(small)
    device.run(spikes(0.001, 0.002), repeats=2)
    with pytest.raises(TargetError, match="holds 1 runs"):
        device.run(spikes(0.001, 0.003))
    with record_session(hl.open("emulator:7", session=2), small) as again:
        assert "half-written" in caplog.text
        again.load(hl.compile(chain(), again.target))
        again.run(spikes(0.009))
    assert (len(read_log(small).runs), read_log(small).damage) == (2, None)


def test_a_log_that_is_damaged_before_its_end_is_neither_replayed_nor_added_to(small: Path) -> None:
    data = bytearray(small.read_bytes())
    data[200] ^= 1
    small.write_bytes(bytes(data))
    with pytest.raises(TargetError, match="damaged.*restore it, or record anew"):
        hl.open(f"replay:{small}")
    with hl.open("emulator:7") as device, pytest.raises(DataError, match="restore it, or record into another file"):
        record_session(device, small)
    assert small.read_bytes() == bytes(data)


def test_a_log_of_another_device_or_in_use_is_left_alone(small: Path) -> None:
    before = small.read_bytes()
    with hl.open("emulator:8") as device, pytest.raises(DataError, match="is the log of emulator:7"):
        record_session(device, small)
    assert small.read_bytes() == before
    log = SessionLog(small)
    with pytest.raises(DataError, match="by another process|in use"):
        SessionLog(small)
    log.close()
    SessionLog(small).close()


def test_nothing_that_could_not_be_recorded_is_handed_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with record_session(hl.open("emulator:7"), tmp_path / "x") as device:
        device.load(hl.compile(chain(), device.target))
        real = os.fsync

        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DataError, match="what was measured last is not used"):
            device.run(spikes(0.001))
        monkeypatch.setattr(os, "fsync", real)
    assert read_log(tmp_path / "x").runs == []


def test_frames_of_a_link_stand_between_the_runs(tmp_path: Path) -> None:
    log = SessionLog(tmp_path / "x")
    log.frame(True, 0.5, b"\x01\x02")  # a link says HELLO before there is a device
    with RecordedDevice(hl.open("emulator:7"), log) as device:
        device.log.frame(False, 0.6, b"\x81")
        device.load(hl.compile(chain(), device.target))
        device.run(spikes(0.001))
    found = read_log(tmp_path / "x")
    assert (found.frames, found.frame_bytes) == ({"sent": 1, "received": 1}, {"sent": 2, "received": 1})
    assert len(found.runs) == 1


# -- killed ---------------------------------------------------------------------------------------


def killed_after(run: int, log: Path, folder: Path, seekable: bool) -> None:
    """A fine-tuning in a process of its own that dies once run number ``run`` is in the log, before its weights move."""
    child = os.fork()
    if child == 0:
        real = SessionLog.body

        def body(self: SessionLog, kind: Kind, data: bytes) -> None:
            real(self, kind, data)
            if len(read_log(log).runs) > run:
                os._exit(9)

        SessionLog.body = body  # type: ignore[method-assign]
        try:
            chip = hl.open("emulator:7", session=3)
            with record_session(chip if seekable else Unseekable(chip), log) as device:  # type: ignore[arg-type]
                tuned(device, folder)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


#: Runs as is, of which some choose the scale; a batch of epoch 2; the validation of epoch 2.
@pytest.mark.parametrize("run", [9, 11, 12])
def test_resumed_between_log_and_checkpoint_it_comes_out_the_same(
    tmp_path: Path, recorded: tuple[Path, hl.Network, LoopResult], run: int
) -> None:
    killed_after(run, tmp_path / "x.log", tmp_path / "run", seekable=True)
    with record_session(hl.open("emulator:7", session=3), tmp_path / "x.log") as device:
        net, done = tuned(device, tmp_path / "run", resume=True)
        assert isinstance(device, RecordedDevice)
    assert same(net, recorded[1])
    assert history(done) == history(recorded[2])
    assert len(read_log(tmp_path / "x.log").runs) == len(read_log(recorded[0]).runs)


def test_with_a_device_whose_noise_nobody_can_repeat_the_recorded_measurements_are_used(tmp_path: Path) -> None:
    killed_after(11, tmp_path / "x.log", tmp_path / "run", seekable=False)
    before = read_log(tmp_path / "x.log")
    # another session: whatever is measured from now on is different
    with record_session(Unseekable(hl.open("emulator:7", session=99)), tmp_path / "x.log") as device:  # type: ignore[arg-type]
        net, done = tuned(device, tmp_path / "run", resume=True)
    after = read_log(tmp_path / "x.log")
    assert after.runs[: len(before.runs)] == before.runs
    with hl.open(f"replay:{tmp_path / 'x.log'}") as device:
        again, found = tuned(device)  # as if it had never been interrupted, given the recorded measurements
    assert same(net, again)
    assert [h[:2] for h in history(done)] == [h[:2] for h in history(found)]


def test_a_checkpoint_of_more_runs_than_the_log_has_is_refused(tmp_path: Path) -> None:
    killed_after(11, tmp_path / "x.log", tmp_path / "run", seekable=True)
    with (
        record_session(hl.open("emulator:7", session=3), tmp_path / "other.log") as device,
        pytest.raises(TargetError, match="give the log of that run"),
    ):
        tuned(device, tmp_path / "run", resume=True)


def test_a_copy_of_a_network_is_not_what_was_recorded(small: Path) -> None:
    device = replayed(small)
    assert device.program is not None
    net = copy.deepcopy(chain())
    device.load(hl.compile(net, device.target))  # equal weights are the same program
    assert device.run(spikes(0.001, 0.002), repeats=2).program_digest == device.program.digest


# -- whose programs they are ----------------------------------------------------------------------


@pytest.mark.parametrize("headroom", [None, 1.5, (1.5, 2.0)])
@pytest.mark.parametrize("served", [True, False])
def test_a_log_of_fixed_point_is_replayed_by_its_own_compiler(tmp_path: Path, served: bool, headroom: Any) -> None:
    options = {"dt": 2e-4} | ({} if headroom is None else {"headroom": headroom})

    def measure(device: Any) -> Any:
        device.load(hl.compile(chain(1.0), device))
        return device.run(spikes(0.001, 0.002))

    log = tmp_path / "x.log"
    if served:
        with (
            Serving(find("loihi", dt=2e-4), "tcp://127.0.0.1:0") as url,
            hl.open(f"serial:{url}", log=log, **options) as device,
        ):
            live = measure(device)
    else:
        with record_session(hl.open("loihi", **options), log) as device:
            live = measure(device)
    with hl.open(f"replay:{log}") as device:
        again = measure(device)
    assert again.program_digest == live.program_digest
    assert all(same_spikes(a, b) for a, b in zip(live.populations, again.populations, strict=True))


def test_an_old_log_of_fixed_point_says_what_its_programs_are(tmp_path: Path) -> None:
    """Before compilers were named, a log of a port had the kinds of its programs alone."""
    log = tmp_path / "x.log"
    with Serving(find("loihi"), "tcp://127.0.0.1:0") as url, hl.open(f"serial:{url}", log=log) as device:
        device.load(hl.compile(chain(1.0), device))
    content = read_log(log)
    old = SessionLog(tmp_path / "old.log")
    session = content.sessions[0]
    old.entry(Kind.SESSION, session.model_copy(update={"target": session.target.model_copy(update={"compiler": None})}))
    old.entry(Kind.LOAD, content.loads[0])
    old.close()
    with hl.open(f"replay:{tmp_path / 'old.log'}") as device:
        device.load(hl.compile(chain(1.0), device))
