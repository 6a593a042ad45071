from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import nn

from hwloop.errors import InputError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Record
from hwloop.spikes import Spikes, concatenate


def build(dtype: torch.dtype = torch.float64, trained: bool = False, **lif: Any) -> Network:
    g = torch.Generator().manual_seed(3)
    first = Dense(5, 12, delay=1e-3, generator=g).init_normal_(1.4, 0.8, g)
    second = Dense(12, 3, generator=g).init_normal_(0.5, 0.3, g)

    def layer(n: int) -> LIF:
        tau_mem: Any = nn.Parameter(torch.full((n,), 10e-3)) if trained else 10e-3
        v_th: Any = nn.Parameter(torch.ones(n)) if trained else 1.0
        return LIF(n, tau_mem, 5e-3, v_th, **lif)

    return Network([first, layer(12), second, layer(3)]).to(dtype)


def inputs(batch: int = 6, dtype: torch.dtype = torch.float64) -> Spikes:
    first = torch.rand((batch, 5), generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 20e-3
    return Spikes.from_first_times(first.to(dtype), 60e-3)


def same(a: Record, b: Record) -> bool:
    return all(
        torch.equal(x.times, y.times) and torch.equal(x.units, y.units)
        for x, y in zip(a.populations, b.populations, strict=True)
    )


def test_record_holds_input_every_population_and_health() -> None:
    net, spikes = build(), inputs()
    record = net(spikes)
    assert len(record) == 2
    assert record.inputs is spikes
    assert (record[0].n_units, record.output.n_units) == (12, 3)
    assert record.output.counts.sum() > 0
    assert record.health is not None
    assert record.health.layers[1].used == int(record.output.counts.sum())
    assert (net.n_in, net.n_out) == (5, 3)


def test_output_is_valid_spikes() -> None:
    for p in build()(inputs()).populations:
        Spikes(p.times.detach(), p.units, p.counts, p.n_units, p.t_stop)


def test_state_dict_round_trip_keeps_every_spike() -> None:
    net, other = build(trained=True), build(trained=True)
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(1.1)
    assert not same(net(inputs()), other(inputs()))
    other.load_state_dict(net.state_dict())
    assert same(net(inputs()), other(inputs()))
    names = set(net.state_dict())
    assert {"layers.0.weight", "layers.0.delay", "layers.1.tau_mem", "layers.3.t_ref"} <= names


def test_deepcopy_is_independent() -> None:
    net = build(trained=True)
    twin = copy.deepcopy(net)
    before = twin(inputs())
    with torch.no_grad():
        net.blocks[0][0].weight.zero_()
    assert same(before, twin(inputs()))
    assert net(inputs()).output.counts.sum() == 0


def test_double_and_float_change_the_dtype_of_spikes_not_their_number() -> None:
    net = build()
    wide = net(inputs())
    narrow = net.float()(inputs(dtype=torch.float32))
    assert wide.output.times.dtype == torch.float64
    assert narrow.output.times.dtype == torch.float32
    assert torch.equal(wide[0].unit_counts(), narrow[0].unit_counts())


def test_inputs_in_another_dtype_than_the_network_are_taken() -> None:
    assert build()(inputs(dtype=torch.float32)).output.times.dtype == torch.float64


@pytest.mark.parametrize("name, value", [("tau_mem", 20e-3), ("v_th", 3.0), ("t_ref", 2e-3)])
def test_parameter_changed_in_place_takes_effect_at_the_next_call(name: str, value: float) -> None:
    """What a layer prepares of its neurons is kept between calls by value, so that a change by ``.data`` counts too."""
    changed, fresh, spikes = build(), build(), inputs()
    before = changed(spikes)
    getattr(changed.blocks[0][1], name).data.fill_(value)
    getattr(fresh.blocks[0][1], name).fill_(value)
    assert same(changed(spikes), fresh(spikes))
    assert not same(changed(spikes), before)
    getattr(changed.blocks[0][1], name).data.copy_(getattr(build().blocks[0][1], name))
    assert same(changed(spikes), before)


def test_reference_engine_gives_the_same_record_and_gradients() -> None:
    net, gradients, records = build(trained=True), [], []
    for engine in ("cpu", "reference"):
        net.zero_grad()
        record = net(inputs(), engine=engine)
        records.append(record)
        torch.where(record.output.valid, record.output.times, 0.0).square().sum().backward()  # type: ignore[no-untyped-call]
        gradients.append({name: p.grad.clone() for name, p in net.named_parameters() if p.grad is not None})
    assert torch.equal(records[0].output.units, records[1].output.units)
    torch.testing.assert_close(records[0].output.times, records[1].output.times, rtol=1e-12, atol=0)
    assert len(gradients[0]) == 6
    for name, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][name], value, rtol=1e-9, atol=1e-9 * value.abs().max().item(), msg=name)


def test_neuron_parameters_train() -> None:
    net, spikes = build(trained=True), inputs()
    with torch.no_grad():
        wanted = net(spikes).output.first_times()
        start = [p.clone() for p in net.parameters()]
        for _, lif in net.blocks:
            lif.tau_mem *= 1.2
            lif.v_th *= 0.9
    kept = torch.isfinite(wanted) & torch.isfinite(net(spikes).output.first_times().detach())
    parameters = [p for _, lif in net.blocks for p in (lif.tau_mem, lif.v_th)]
    optimiser = torch.optim.Adam(parameters, lr=2e-3)
    losses = []
    for _ in range(60):
        first = net(spikes).output.first_times()
        mine = kept & torch.isfinite(first.detach())
        loss = ((first[mine] - wanted[mine]) / 1e-3).square().mean()
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        # tau_mem is 100 times smaller than v_th
        for _, lif in net.blocks:
            assert lif.tau_mem.grad is not None
        optimiser.step()
        with torch.no_grad():
            for _, lif in net.blocks:
                lif.tau_mem.clamp_(5e-3, 20e-3)
        losses.append(loss.item())
    assert min(losses) < 0.3 * losses[0]
    assert any(not torch.equal(a, b) for a, b in zip(start, net.parameters(), strict=True))


def test_parameter_trained_out_of_its_bounds_is_refused_naming_the_layer() -> None:
    net = build(trained=True)
    with torch.no_grad():
        net.blocks[1][1].tau_mem[2] = -1e-3
    with pytest.raises(InputError, match=r"layer 3 \(LIF\), neuron 2: tau_mem = -0.001; allowed: > 0 s"):
        net(inputs())


def test_delay_moves_the_first_layer_by_as_much() -> None:
    late, early = build(), build()
    assert early.blocks[0][0].delay is not None
    with torch.no_grad():
        early.blocks[0][0].delay.zero_()
    a, b = (net(inputs())[0] for net in (late, early))
    shift = (a.first_times() - b.first_times())[torch.isfinite(b.first_times()) & torch.isfinite(a.first_times())]
    torch.testing.assert_close(shift, torch.full_like(shift, 1e-3), rtol=1e-6, atol=0)


def test_samples_of_a_batch_answer_as_they_do_alone() -> None:
    net, spikes = build(), inputs()
    together = net(spikes).output
    parts = [net(spikes[i]).output for i in range(len(spikes))]
    joined = concatenate([p.detach() for p in parts])
    assert torch.equal(joined.counts, together.counts)
    assert torch.equal(joined.times, together.times)
    shuffled = net(spikes[torch.tensor([4, 0, 2])]).output
    assert torch.equal(shuffled.counts, together.counts[[4, 0, 2]])


def test_no_gradient_is_recorded_under_no_grad() -> None:
    with torch.no_grad():
        assert not build(trained=True)(inputs()).output.times.requires_grad


def test_frozen_weights_get_no_gradient_and_inputs_still_do() -> None:
    net, spikes = build().requires_grad_(False), inputs()
    times = spikes.times.clone().requires_grad_()
    record = net(Spikes.trusted(times, spikes.units, spikes.counts, 5, spikes.t_stop))
    torch.where(record.output.valid, record.output.times, 0.0).sum().backward()  # type: ignore[no-untyped-call]
    assert times.grad is not None
    assert times.grad.abs().sum() > 0
    assert all(p.grad is None for p in net.parameters())


DENSE, SPIKING = Dense(2, 3), LIF(3, 1e-2, 5e-3)


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([], "a network of 0 layers"),
        ([DENSE], "a network of 1 layers"),
        ([SPIKING, DENSE], "layer 0 is LIF; expected Dense"),
        ([DENSE, DENSE], "a network of 2 layers"),
        ([DENSE, SPIKING, LIF(3, 1e-2, 5e-3)], "layer 2 is LIF; expected Dense"),
        ([DENSE, nn.ReLU()], r"layer 1 is ReLU; expected maps .* and populations"),
        ([DENSE, SPIKING, DENSE], "a network of 3 layers"),
        ([Dense(2, 4), SPIKING], "layer 0: Dense has 4 outputs, the LIF after it 3 neurons"),
        ([DENSE, SPIKING, DENSE, SPIKING], "layer 2: Dense takes 2 inputs, the LIF before it has 3 neurons"),
    ],
)
def test_layers_in_a_bad_order_or_of_bad_sizes_are_refused(layers: list[nn.Module], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Network(layers)


def test_input_of_another_width_is_refused() -> None:
    with pytest.raises(InputError, match="the input has 4 units; the layer takes 5"):
        build()(Spikes.from_events([([], [])], 4, 0.05))


def test_a_batch_without_any_spike_has_a_loss_and_a_zero_gradient() -> None:
    net = Network([Dense(2, 3), LIF(3, 10e-3, 5e-3), Dense(3, 2), LIF(2, 10e-3, 5e-3)])
    with torch.no_grad():
        net.blocks[0][0].weight.zero_()
    record = net(Spikes.from_events([([1e-3], [0]), ([], [])], n_units=2, t_stop=0.05))
    assert torch.isinf(record.output.first_times()).all()
    loss = torch.where(torch.isinf(record.output.first_times()), 0.05, record.output.first_times()).sum()
    loss.backward()
    assert all(float(dense.weight.grad.abs().max()) == 0.0 for dense, _ in net.blocks)  # type: ignore[union-attr]
