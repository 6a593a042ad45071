"""`rtl:` as a target: programs and spikes of `loihi`, cycles in its recordings, and what it refuses."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import datasets, losses
from hwloop.errors import CompileError, InputError, LinkError, OptionError, TargetError
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_loihi import LoihiTarget
from hwloop_rtl import RtlDevice, RtlTarget, parameters
from hwloop_rtl.parameters import Parameters
from hwloop_rtl.simulation_process import Simulation

from .chip import simulation

DT = 1e-3


@pytest.fixture(scope="module", autouse=True)
def _built() -> None:
    simulation()


@pytest.fixture(scope="module")
def device() -> Iterator[RtlDevice]:
    with RtlTarget(dt=DT).open() as opened:
        yield opened


def network(hidden: int = 20) -> Network:
    g = torch.Generator().manual_seed(1)
    return Network([
        Dense(5, hidden).init_normal_(1.2, 1.2, g), LIF(hidden, 10e-3, 5e-3), Dense(hidden, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ])  # fmt: skip


def inputs(batch: int = 8) -> Spikes:
    rng = np.random.default_rng(2)
    return Spikes.from_first_times(torch.tensor(np.sort(rng.random((batch, 5)) * 0.02, 1), dtype=torch.float32), 0.06)


def same(found: hl.Recording, expected: hl.Recording) -> int:
    for a, b in zip(found.populations, expected.populations, strict=True):
        assert torch.equal(a.counts, b.counts)
        assert torch.equal(a.units, b.units)
        assert torch.equal(a.times, b.times)
    assert found.program_digest == expected.program_digest
    return sum(int(one.counts.sum()) for one in found.populations)


def test_spikes_are_those_of_loihi_and_the_recording_says_what_they_took(device: RtlDevice) -> None:
    net, spikes = network(), inputs()
    with LoihiTarget(dt=DT).open() as loihi:
        for opened in (device, loihi):
            opened.load(hl.compile(net, opened))
        record = device.run(spikes)
        assert same(record, loihi.run(spikes)) > 50
        assert device.writes == loihi.writes
        np.testing.assert_array_equal(device.read_codes()[0], loihi.read_codes()[0])
    assert record.ran_on == "rtl-simulation"
    assert record.cycles is not None
    assert record.synaptic_events is not None
    # each input spike goes through 20 synapses, each of the first layer through 3
    assert record.synaptic_events <= 20 * int(spikes.counts.sum()) + 3 * int(record.populations[0].counts.sum())
    assert record.cycles_per_event == record.cycles / record.synaptic_events
    assert record.provenance()["cycles"] == record.cycles
    assert "joule" not in str(record.provenance()).lower()
    thrice = device.run(spikes, repeats=3)
    assert thrice.synaptic_events == 3 * record.synaptic_events
    # the processor, asked for its status meanwhile, takes some of the memory's clocks
    assert thrice.cycles is not None
    assert 0.7 < thrice.cycles / (3 * record.cycles) < 1.4


def test_a_batch_that_is_larger_than_the_memories_runs_in_parts(device: RtlDevice) -> None:
    net = network()
    device.load(hl.compile(net, device))
    room = device.remote.hello
    device.remote.hello = room._replace(input_bytes=100)
    try:
        parts = device.run(inputs())
    finally:
        device.remote.hello = room
    assert len(device.counted) > 2
    whole = device.run(inputs())
    same(parts, whole)
    assert len(device.counted) == 1
    assert parts.synaptic_events == whole.synaptic_events


def test_a_step_of_fine_tuning_in_the_loop_ends_with_the_weights_of_loihi(device: RtlDevice) -> None:
    task = datasets.yin_yang(sizes=(16, 8, 8))
    loss = losses.FirstSpike(1e-3) + 30 * losses.SilentHinge(-1, 0.5, only_label=True)
    found = []
    with LoihiTarget(dt=DT).open() as loihi:
        for opened in (device, loihi):
            net = network()
            result = hl.finetune(net, opened, task, loss, epochs=1, batch_size=16, lr=4e-3, progress=False)
            compared = hl.compare(net(task.test.inputs), opened.run(task.test.inputs), net=net, labels=task.test.labels)
            found.append((
                [dense.weight.detach().clone() for dense, _ in net.blocks],
                [epoch.loss for epoch in result.history],
                [(one.spikes, one.bias, one.rmse) for one in compared.populations],
            ))  # fmt: skip
    (ours, our_losses, our_comparison), (theirs, their_losses, their_comparison) = found
    assert all(map(torch.equal, ours, theirs))
    assert not torch.equal(ours[0], network().blocks[0][0].weight)
    assert our_losses == their_losses
    assert repr(our_comparison) == repr(their_comparison)


def test_counters_that_are_none_are_told(device: RtlDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    device.load(hl.compile(network(), device))
    with monkeypatch.context() as patched:
        patched.setattr(device.remote, "call", lambda function: b"12")
        spikes = inputs()
        with pytest.raises(LinkError, match="COUNTERS of 2 bytes; expected 32; the firmware"):
            device.run(spikes)
    assert device.run(inputs()).cycles


def test_recordings_of_a_log_have_their_cycles(tmp_path: Path) -> None:
    log = tmp_path / "session.log"
    with hl.open("rtl:", dt=DT, log=log) as device:
        device.load(hl.compile(network(), device))
        live = device.run(inputs(2))
    with hl.open(f"replay:{log}") as again:
        again.load(hl.compile(network(), again))
        assert again.run(inputs(2)).provenance() == live.provenance()


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("memory=100000", "memory = 100000 bytes; allowed: a power of two from 65536 to 67108864"),
        ("memory=32768", "allowed: a power of two from 65536"),
        ("memory=-65536", "memory = '-65536'; allowed: a whole number of bytes"),
        ("core=fast", "core = 'fast'; allowed: hardware or software"),
        ("sha=2", "sha = '2'; allowed: 0"),
        ("neurons=7", "'neurons=7' is no parameter of the chip; allowed, each once: memory=BYTES"),
        ("memory=65536,memory=65536", "each once"),
        ("0", "'0' is no parameter"),
    ],
)
def test_other_addresses_are_refused(address: str, message: str) -> None:
    with pytest.raises(TargetError, match=message):
        RtlTarget(address)


@pytest.mark.parametrize("options", [{"dt": -1.0}, {"deadline": 0}, {"headroom": "much"}])
def test_other_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        RtlTarget(**options)
    with pytest.raises(OptionError, match="no option 'baud'"):
        hl.open("rtl:", baud=9600)


def test_parameters_are_read_as_they_are_named() -> None:
    assert parameters.read("") == Parameters()
    chip = parameters.read("core=software,sha=0,memory=65536")
    assert (chip.core, chip.sha, chip.memory_bits) == ("software", False, 16)
    assert chip.device_id == "rtl:memory=65536,core=software,sha=0"
    for memory in (2**16, 2**17, 2**20, 2**26):
        shares = Parameters(memory).shares()
        assert (
            sum(size for name, size in shares.items() if name != "HWL_MAX_BODY") + parameters.FIRMWARE_BYTES == memory
        )


def test_a_network_that_does_not_fit_is_refused_with_what_is_short() -> None:
    g = torch.Generator().manual_seed(3)
    wide = Network([Dense(5, 60_000).init_normal_(1.2, 1.2, g), LIF(60_000, 10e-3, 5e-3)])
    with pytest.raises(
        CompileError, match=r"found 60000; the target allows \d+ neurons \(rtl:memory=1048576,core=hardware\)"
    ):
        hl.compile(wide, RtlTarget(dt=DT))
    many = Network([Dense(100, 9000).init_normal_(0.1, 0.1, g), LIF(9000, 10e-3, 5e-3)])
    with pytest.raises(CompileError, match=r"found 900000; the target allows \d+ synapses .*larger board"):
        hl.compile(many, RtlTarget(dt=DT))


# -- a simulation that dies, hangs, or is left behind ---------------------------------------------------------------------


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.02)
    return False


def test_a_simulation_that_dies_is_told_at_once_and_the_next_one_runs() -> None:
    target = RtlTarget(dt=DT)
    with target.open() as device:
        device.load(hl.compile(network(), device))
        pid = device._owner.pid  # type: ignore[attr-defined]
        os.kill(pid, signal.SIGKILL)
        begun = time.monotonic()
        with pytest.raises(LinkError, match=r"the simulation of the chip died of SIGKILL .*open the target again"):
            device.run(inputs())
        assert time.monotonic() - begun < 5
    assert gone(pid)
    with target.open() as device:
        device.load(hl.compile(network(), device))
        assert device.run(inputs()).cycles


def test_a_simulation_that_hangs_is_told_by_the_deadline_and_leaves_nothing() -> None:
    with RtlTarget(dt=DT, deadline=1.0).open() as device:
        device.load(hl.compile(network(), device))
        pid = device._owner.pid
        os.kill(pid, signal.SIGSTOP)
        begun = time.monotonic()
        with pytest.raises(LinkError, match=r"rtl:: no answer .*within 1 s.*deadline=SECONDS"):
            device.run(inputs())
        assert time.monotonic() - begun < 10
    assert gone(pid)


def test_closing_ends_the_process_and_its_folder_and_a_forgotten_device_too() -> None:
    device = RtlTarget(dt=DT).open()
    held: Simulation = device._owner
    pid, folder = held.pid, held._folder
    device.close()
    device.close()
    assert gone(pid)
    assert not folder.exists()
    with pytest.raises(TargetError, match="is closed"):
        device.run(inputs())
    forgotten = RtlTarget(dt=DT).open()
    pid = forgotten._owner.pid
    del forgotten
    assert gone(pid)


def test_a_simulation_ends_with_its_host(tmp_path: Path) -> None:
    import subprocess
    import sys

    script = (
        "from hwloop_rtl import RtlTarget; import os, sys; d = RtlTarget().open(); print(d._owner.pid, flush=True); "
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as host:
        assert host.stdout is not None
        pid = int(host.stdout.readline())
        host.kill()
    assert gone(pid)


def test_what_is_no_simulation_is_told(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="the simulation of the chip does not start"):
        Simulation((str(tmp_path / "nothing"),), tmp_path, seed=1)
    broken = Simulation(("/bin/sh", "-c", "echo no such chip >&2; exit 3"), tmp_path, seed=1)
    deadline = time.monotonic() + 10
    while broken.alive and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(LinkError, match=r"(?s)ended \(3\).*no such chip"):
        broken.connect()
    broken.release()
