"""The loop around a device on graphs: shared weights, loops and pieces; what the device holds is what is differentiated."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.datasets import Dataset, Task
from hwloop.losses import FirstSpike, SilentHinge
from hwloop.mapping.held import held_values, shapes_of
from hwloop.training.harden import harden
from hwloop.training.loop import finetune
from hwloop.training.loop_figures import LoopResult
from hwloop.training.loop_state import weights_of
from hwloop.training.noise import NoiseModel, NoisyForward
from hwloop_emulator import EmulatorTarget, Preset

LOSS = FirstSpike(2e-3) + 3.0 * SilentHinge(-1, 0.2)
TAUS = {"tau_mem": 1e-2, "tau_syn": 5e-3}


def dense(n_in: int, n_out: int, mean: float, std: float, seed: int = 0, **options: Any) -> hl.Dense:
    return hl.Dense(n_in, n_out, **options).init_normal_(mean, std, torch.Generator().manual_seed(seed))


def maps() -> hl.Network:
    """A convolution, a pool, a scale, a loop."""
    conv = hl.Conv2d(1, 2, 2).init_normal_(1.5, 0.5, torch.Generator().manual_seed(0))
    return hl.Network.graph(
        {
            "in": hl.Input((1, 3, 3)),
            "maps": hl.LIF((2, 2, 2), **TAUS),
            "h": hl.LIF(4, **TAUS),
            "out": hl.LIF(2, **TAUS),
        },
        [
            hl.Projection("in", "maps", conv),
            hl.Projection("maps", "h", [hl.AvgPool2d(2), hl.Flatten(), dense(2, 4, 4.0, 0.5, 1)]),
            hl.Projection("h", "h", dense(4, 4, -0.2, 0.1, 2)),
            hl.Projection("h", "out", [dense(4, 2, 1.5, 0.3, 3), hl.Scale(2, 2.0)]),
        ],
    )


def data(seed: int, n: int = 8) -> Dataset:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 2
    first = torch.rand(n, 9, generator=generator) * 1e-2
    first[:, :4] += 8e-3 * labels[:, None]
    return Dataset(hl.Spikes.from_first_times(first, 4e-2), labels)


def task() -> Task:
    return Task("halves", data(0, 12), data(1), data(2), 9, 2, 4e-2)


def chip(**options: Any) -> EmulatorTarget:
    return EmulatorTarget("7", **{"preset": "bss2", "session": 0, **options})


def finetuned(net: hl.Network, target: EmulatorTarget, **options: Any) -> LoopResult:
    settings: dict[str, Any] = {
        "epochs": 2, "batch_size": 6, "lr": 1e-2, "weight_scale": "max", "validation_repeats": 1, "progress": False, **options,
    }  # fmt: skip
    with target.open() as device:
        return finetune(net, device, task(), LOSS, **settings)


def test_a_device_holds_the_codes_of_shared_weights_without_the_factors_of_other_maps() -> None:
    net, target = maps(), chip()
    program = hl.compile(net, target)
    values = [value for _, value in held_values(net, program)]
    with weights_of(net).holding(values):
        again = hl.compile(net, target, like=program)
        for ours, theirs in zip(again.layers, program.layers, strict=True):
            assert (ours.codes == theirs.codes).all()
            assert torch.allclose(torch.from_numpy(ours.weight()), torch.from_numpy(theirs.weight()))
        for layer, weight in zip(program.layers, program.weights(), strict=True):
            assert abs(weight[layer.synapses]).max() > 0
    assert shapes_of(net) == [(layer.n_out, layer.n_in) for layer in program.layers]


def test_weights_of_a_graph_stay_where_its_codes_can_follow() -> None:
    net, target = maps(), chip()
    program = hl.compile(net, target)
    weights = weights_of(net)
    with torch.no_grad():
        for tensor in weights.tensors:
            tensor.mul_(10.0)
    weights.limit(program)
    assert all(layer.saturated == 0 for layer in program.with_weights(net).layers)


def test_noise_on_a_graph_is_drawn_anew_and_passes_gradients() -> None:
    net = maps()
    program = hl.compile(net, chip())
    noise = NoiseModel(
        threshold=0.02,
        jitter=1e-4,
        time_step=1e-5,
        event_loss=0.01,
        dead=0.01,
        spread={"gain": 0.1, "synapse": 0.05, "tau_mem": 0.1},
    )
    forward = NoisyForward(noise, program=program)
    given = data(0).inputs
    first, second = forward(net, given), forward(net, given)
    assert not torch.equal(first["h"].times, second["h"].times)
    times = first.output.times
    times[torch.isfinite(times)].sum().backward()
    assert all(tensor.grad is not None and bool(tensor.grad.abs().sum() > 0) for tensor in weights_of(net).tensors)


def test_no_noise_on_a_graph_is_the_network_with_its_codes() -> None:
    net = maps()
    program = hl.compile(net, chip())
    given = data(0).inputs
    noisy = NoisyForward(NoiseModel(), program=program)(net, given)
    with weights_of(net).holding([value for _, value in held_values(net, program)]):
        plain = net(given)
    assert int(plain.output.counts.sum()) > 0
    for ours, theirs in zip(noisy.populations, plain.populations, strict=True):
        assert torch.equal(ours.counts, theirs.counts)
        torch.testing.assert_close(ours.times, theirs.times, rtol=1e-4, atol=1e-7)


def test_a_graph_is_fine_tuned_with_the_spikes_of_its_loop() -> None:
    net = maps()
    before = [tensor.detach().clone() for tensor in weights_of(net).tensors]
    result = finetuned(net, chip())
    assert len(result.history) == 2
    assert result.best_epoch > 0 or result.as_is.accuracy >= result.best_validation.accuracy
    moved = [not torch.equal(a, b) for a, b in zip(before, weights_of(net).tensors, strict=True)]
    assert all(moved) or result.best_epoch == 0


def test_an_interrupted_loop_of_a_graph_goes_on_where_it_stood(tmp_path: Path) -> None:
    whole, broken, resumed = maps(), maps(), maps()
    full = finetuned(whole, chip(), checkpoint_dir=tmp_path / "full")
    finetuned(broken, chip(), epochs=1, checkpoint_dir=tmp_path / "part")
    again = finetuned(resumed, chip(), checkpoint_dir=tmp_path / "part", resume=True)
    assert [epoch.loss for epoch in again.history] == [epoch.loss for epoch in full.history]
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    assert again.program.digest == full.program.digest


def test_a_graph_is_hardened_within_its_codes() -> None:
    net, target = maps(), chip()
    program = hl.compile(net, target)
    result = harden(net, program, task(), LOSS, NoiseModel(threshold=0.02), epochs=1, batch_size=6, progress=False)
    assert result.program.scales == program.scales
    assert all(layer.saturated == 0 for layer in result.program.layers)


def chain() -> hl.Network:
    return hl.Network([dense(9, 20, 1.6, 0.6), hl.LIF(20, **TAUS), dense(20, 2, 0.4, 0.2, 1), hl.LIF(2, **TAUS)])


def small(n_neurons: int, fan_in: int, joined: int = 1) -> EmulatorTarget:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    limits = {"n_neurons": n_neurons, "fan_in": fan_in, "joined": joined, "weight_bits": 6}
    data["limits"].update({name: {"value": value, "source": "test"} for name, value in limits.items()})
    return chip(preset=Preset.model_validate(data))


def test_a_loop_in_pieces_is_the_loop_on_an_unlimited_chip(tmp_path: Path) -> None:
    cut, whole = chain(), chain()
    found = finetuned(cut, small(8, 8, joined=4), partition=True, checkpoint_dir=tmp_path)
    wanted = finetuned(whole, small(100, 100))
    assert len(found.program.pieces) > 2  # type: ignore[attr-defined]
    assert [epoch.loss for epoch in found.history] == pytest.approx([epoch.loss for epoch in wanted.history], rel=1e-5)
    for ours, theirs in zip(cut.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-5)
    again = chain()
    resumed = finetuned(again, small(8, 8, joined=4), partition=True, checkpoint_dir=tmp_path, resume=True)
    assert resumed.program.digest == found.program.digest


def test_the_first_divergence_of_a_graph_names_population_and_what_drove_it() -> None:
    net = maps()
    with chip(trial_noise=False).open() as device:
        device.load(hl.compile(net, device))
        given = data(0).inputs
        found = hl.compare(net(given), device.run(given), net=net, tolerance=1e-9)
    first = found.divergences.earliest
    assert first is not None
    assert first.name == net.structure.populations[first.layer]
    assert repr(first.name) in first.summary()
    assert first.input_state == "identical"
    assert all(event.layer == -1 for event in first.inputs) == (first.name == "maps")
    later = [one for one in found.divergences.samples if one.name in ("h", "out") and one.inputs]
    for one in later:
        assert {event.layer for event in one.inputs} <= {0, 1}


def test_a_comparison_of_a_graph_with_itself_finds_nothing() -> None:
    net = maps()
    record = net(data(0).inputs)
    assert hl.compare(record, copy.copy(record), net=net).identical


def test_a_hinge_on_silent_neurons_of_a_graph_lifts_their_membranes() -> None:
    net = maps()
    with torch.no_grad():
        for tensor in weights_of(net).tensors[3:]:
            tensor.mul_(0.1)
    record = net(data(0).inputs)
    assert int(record.output.counts.sum()) == 0
    value = SilentHinge(-1, 0.1)(net, record, data(0).labels)
    value.backward()
    assert bool((weights_of(net).tensors[3].grad < 0).any())  # type: ignore[operator]
