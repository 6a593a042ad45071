"""hwloop's own host against the firmware: networks deployed through `serial:` run as on `loihi`."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop_loihi import Emulator, FixedGraph, LoihiTarget, TickSpikes
from hwloop_serial import fixed_image
from hwloop_serial.device import FixedDevice
from hwloop_serial.fixed_limits import needs
from hwloop_serial.messages import Region
from hwloop_serial.remote import Remote
from hwloop_serial.target import SerialTarget

from ...loihi.random_graphs import random_graph, random_raster, random_wiring
from .built import built
from .images import answer_of, events_of, image_of
from .library import read_image, run_image
from .lines import process_on_terminal

TICKS, BATCH = 80, 3


@pytest.fixture(scope="module")
def port() -> Iterator[str]:
    with process_on_terminal(built("sanitized", "hwloop-device-sanitized")) as name:
        yield name


def net() -> hl.Network:
    torch.manual_seed(3)
    layers = [
        hl.Dense(5, 30),
        hl.LIF(30, tau_mem=20e-3, tau_syn=10e-3),
        hl.Dense(30, 3),
        hl.LIF(3, tau_mem=20e-3, tau_syn=10e-3),
    ]
    network = hl.Network(layers)
    with torch.no_grad():
        for dense in (layers[0], layers[2]):
            dense.weight.mul_(4.0).add_(0.1)
    return network


def spikes() -> hl.Spikes:
    rng = np.random.default_rng(1)
    trains = [(np.sort(rng.uniform(0, 0.05, 20)).tolist(), rng.integers(0, 5, 20).tolist()) for _ in range(6)]
    return hl.Spikes.from_events(trains, n_units=5, t_stop=0.06)


def test_a_deployed_network_runs_as_on_loihi(port: str) -> None:
    network, given = net(), spikes()
    found = []
    for target in (LoihiTarget(), SerialTarget(port)):
        with target.open() as chip:
            chip.load(hl.compile(network, chip))
            found.append(chip.run(given))
    wanted, measured = found
    assert measured.ran_on == "emulator"
    assert int(wanted.output.counts.sum()) > 0
    for index in range(2):
        torch.testing.assert_close(measured[index].times, wanted[index].times, rtol=0, atol=0)
        assert torch.equal(measured[index].units, wanted[index].units)


@pytest.mark.parametrize("build", [random_graph, random_wiring])
def test_images_of_both_encoders_run_alike(build: object) -> None:
    for seed in range(40):
        graph: FixedGraph = build(seed)  # type: ignore[operator]
        given = TickSpikes.from_raster(random_raster(graph, seed, BATCH, TICKS))
        image = fixed_image.write(graph)
        assert read_image(image).code == 0
        outputs = [run_image(each, events_of(given), BATCH, TICKS) for each in (image, image_of(graph))]
        assert outputs[0] == outputs[1]
        assert isinstance(outputs[0], bytes)
        answer_of(outputs[0], graph, BATCH, TICKS)


def test_the_host_counts_the_memory_that_the_firmware_counts() -> None:
    for seed in range(40):
        for build in (random_graph, random_wiring):
            graph = build(seed)
            # the host counts all delays; in a list those of synapses that are not there are left out
            assert needs(graph).state_bytes >= read_image(fixed_image.write(graph)).state_bytes


def test_what_the_board_says_is_what_the_host_takes(port: str) -> None:
    target = SerialTarget(port)
    owner = target.own()
    remote: Remote = target.remote(owner)
    try:
        assert remote.info.kind == "fixed"
        assert remote.info.limits is not None
        assert remote.info.limits.state_bytes == 16 * 1024 * 1024
    finally:
        remote.close()
        owner.release()


@pytest.mark.parametrize("faults", ["flip=1e-3&drop=1e-3&duplicate=1e-3", "flip=3e-4&delay=0.02&cut=2e-5"])
def test_a_bad_line_costs_repeats_and_no_spike(port: str, faults: str) -> None:
    with SerialTarget(f"faulty://{port}?{faults}&seed=4").open() as device:
        assert isinstance(device, FixedDevice)
        for seed in range(6):
            graph = random_wiring(seed)
            given = TickSpikes.from_raster(random_raster(graph, seed, BATCH, TICKS))
            device.remote.upload(Region.PROGRAM, fixed_image.write(graph))
            layers, wraps = device.run_graph(graph, given, TICKS)
            wanted = Emulator(graph).run(given, TICKS)
            for ours, theirs in zip(layers, wanted.layers, strict=True):
                np.testing.assert_array_equal(ours.to_raster(TICKS), theirs.to_raster(TICKS))
            np.testing.assert_array_equal(np.stack(wraps), np.stack(wanted.wraps))
        counts = device.remote.session.counts
        assert counts.sent > counts.requests
        assert counts.reboots == 0
