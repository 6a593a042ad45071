"""Networks that are no chains, compiled, on lava-nc and on `loihi`: the same spikes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import hwloop as hl
from hwloop.device.registry import Device
from hwloop_lava.device import LavaTarget
from hwloop_loihi import LoihiProgram, compile_loihi

from ..loihi.graph_networks import NETWORKS, delayed, inputs, loop

#: Step of all comparisons (s): 80 ticks.
DT = 5e-4


@pytest.fixture(scope="module")
def lava() -> Iterator[Device]:
    with LavaTarget(dt=DT).open() as device:
        yield device


def test_every_kind_of_graph_is_equal_spike_for_spike(lava: Device) -> None:
    with hl.open("loihi", dt=DT) as loihi:
        for name, (build, n) in NETWORKS.items():
            program, given = compile_loihi(build(), DT), inputs(n, batch=2)
            runs = []
            for device in (lava, loihi):
                device.load(program)
                runs.append(device.run(given))
            for layer, (a, b) in enumerate(zip(*runs, strict=True)):
                assert int(b.counts.sum()) > 0, f"{name}, layer {layer}"
                torch.testing.assert_close(a.times, b.times, atol=0, rtol=0)
                torch.testing.assert_close(a.units, b.units, atol=0, rtol=0)


@pytest.mark.parametrize("build", [loop, delayed])
def test_in_floating_point_graphs_are_close_to_the_model(build: object) -> None:
    net, given = build(), inputs(6, batch=2)  # type: ignore[operator]
    with LavaTarget(dt=2e-4, arithmetic="float").open() as device, pytest.warns(hl.errors.CompileWarning):
        device.load(hl.compile(delayed() if build is delayed else loop(0.0, 0.0), device))
    with LavaTarget(dt=2e-4, arithmetic="float").open() as device:
        program = device.target.compile(net)
        assert not isinstance(program, LoihiProgram)
        device.load(program)
        found = device.run(given).output.first_times()
    exact = net(given).output.first_times().detach()
    both = torch.isfinite(found) & torch.isfinite(exact)
    assert int(both.sum()) >= 6
    assert float((found - exact)[both].abs().median()) < 2.5 * 2e-4
