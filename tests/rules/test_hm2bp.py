"""HM2-BP against its formulas written out, the macro relation in continuous time, and the authors' reference run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError
from hwloop.rules.hm2bp import events as hm2bp_event
from hwloop.rules.hm2bp import reference as reference
from hwloop.rules.hm2bp import step_simulation as hm2bp_step
from hwloop.rules.hm2bp.rule import HM2BP, LeakyNeurons, WeightDecay

STEPS = 60


def network(lateral: float = -0.4, dtype: torch.dtype = torch.float64, seed: int = 0) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(seed)
    first, second = hl.Dense(11, 8).to(dtype), hl.Dense(8, 5).to(dtype)
    for dense, mean in ((first, 0.8), (second, 0.5)):
        dense.init_normal_(mean, 1.5, generator)
    layers = [first, LeakyNeurons(2.0), second, LeakyNeurons(1.5, lateral=lateral)]
    return rules.StepNetwork(layers, in_shape=11, steps=STEPS)


def values(batch: int = 6, n: int = 11, seed: int = 1) -> rules.Values:
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.rand(batch, n, generator=generator, dtype=torch.float64), torch.arange(batch) + 10 * seed)


RULE = HM2BP(teacher=10, rate=0.4)


def weights(net: rules.StepNetwork) -> list[np.ndarray]:
    return [stage.connection.weight.detach().numpy() for stage in net.stages]


def rasters(record: rules.StepRecord) -> list[np.ndarray]:
    return [record.traces["inputs"].numpy(), *(raster.numpy() for raster in record.rasters or ())]


# -- simulation in steps --------------------------------------------------------------------------


@pytest.mark.parametrize("lateral", [0.0, -0.4])
@pytest.mark.parametrize("t_ref", [0, 2])
def test_sparse_simulation_equals_the_reference_spike_for_spike(lateral: float, t_ref: int) -> None:
    net = network(lateral)
    for stage in net.stages:
        stage.neurons.t_ref = t_ref
    record = RULE.forward(net, values())
    given = rasters(record)
    for k, (stage, weight) in enumerate(zip(net.stages, weights(net), strict=True)):
        assert given[k + 1].any()
        for b in range(len(given[0])):
            wanted = reference.simulate(given[k][b], weight, stage.neurons)
            np.testing.assert_array_equal(given[k + 1][b], wanted)


def test_simulation_by_linear_maps_equals_the_sparse_one() -> None:
    from hwloop.rules.hm2bp.map_kernels import lif_driven

    net = network()
    x, stage = torch.from_numpy(rasters(RULE.forward(net, values()))[0]), net.stages[0]
    n, spikes = stage.neurons, np.zeros((6, STEPS, 8), np.uint8)
    drive = stage.drive(x.double()).detach().numpy()
    lif_driven(
        drive, np.float64(n.v_th - 1e-6), np.float64(n.tau_m), np.float64(n.tau_s), n.t_ref, np.float64(0), spikes
    )
    np.testing.assert_array_equal(spikes, hm2bp_step.population(stage, x).numpy())


def test_poisson_spikes_belong_to_the_sample_whatever_its_batch_and_have_their_probability() -> None:
    from hwloop.rules.steps.poisson import poisson_raster

    given = values(4, 50)
    whole = poisson_raster(given, 400, 0.25)
    assert torch.equal(poisson_raster(given[2], 400, 0.25)[0], whole[2])
    assert torch.equal(poisson_raster(given, 300, 0.25), whole[:, :300])
    # deviation of a frequency of 400 draws <= .5 / 20 = .025; five of them, over 200 units
    assert float((whole.double().mean(1) - 0.25 * given.values).abs().max()) < 5 * 0.025
    with pytest.raises(InputError, match="allowed: 0..1"):
        poisson_raster(given, 10, 2.0)


# -- gradient -------------------------------------------------------------------------------------


@pytest.mark.parametrize("lateral", [0.0, -0.4])
def test_matrix_products_equal_the_double_sum_over_spikes(lateral: float) -> None:
    net = network(lateral)
    with torch.no_grad():
        net.stages[1].connection.weight[3] = -1.0  # an output that never fires
        net.stages[0].connection.weight[2] = -1.0  # and a hidden neuron
    record = RULE.forward(net, values())
    assert isinstance(record, rules.StepRecord)
    generator = torch.Generator().manual_seed(3)
    grad = torch.randn(6, 5, generator=generator, dtype=torch.float64)
    grad[:, 3] = torch.tensor([-1.0, 1, -1, 1, -1, 1])  # taught where asked for more
    found = RULE.gradients(net, record, grad)
    given = rasters(record)
    assert not given[2][:, :, 3].any()
    assert not given[1][:, :, 2].any()
    neurons = [stage.neurons for stage in net.stages]
    wanted = [np.zeros_like(w) for w in weights(net)]
    for b in range(6):
        for total, part in zip(
            wanted, reference.gradients([g[b] for g in given], weights(net), neurons, grad[b].numpy(), 10), strict=True
        ):
            total += part
    for stage, expected in zip(net.stages, wanted, strict=True):
        gradient = found[net.parameter_name(stage.connection.weight)].numpy()
        # sums of some 1e3 terms in another order: 1e3 roundings of 1e-16 relative to the largest term
        np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-12 * max(1.0, np.abs(expected).max()))
        assert np.abs(expected).max() > 0.1


def test_a_convolution_equals_the_dense_layer_that_it_is() -> None:
    conv, out = rules.Conv2d(1, 2, 3), hl.Dense(2 * 2 * 2, 3)
    generator = torch.Generator().manual_seed(0)
    conv.double().init_normal_(0.5, 1.0, generator)
    out.double().init_normal_(0.5, 1.0, generator)
    net = rules.StepNetwork(
        [conv, LeakyNeurons(1.0), rules.AvgPool(2), out, LeakyNeurons(1.0)], in_shape=(1, 6, 6), steps=STEPS
    )
    stages = net.stages
    unit = torch.eye(36, dtype=torch.float64)
    first = hl.Dense(36, 32).double()
    second = hl.Dense(32, 3).double()
    with torch.no_grad():
        first.weight.copy_(stages[0].drive(unit).t())
        second.weight.copy_(stages[1].drive(torch.eye(32, dtype=torch.float64)).t())
    flat = rules.StepNetwork([first, LeakyNeurons(1.0), second, LeakyNeurons(1.0)], in_shape=36, steps=STEPS)
    given, grad = values(4, 36), torch.randn(4, 3, generator=generator, dtype=torch.float64)
    a, b = RULE.forward(net, given), RULE.forward(flat, given)
    assert isinstance(a, rules.StepRecord)
    assert isinstance(b, rules.StepRecord)
    assert all(torch.equal(x, y) for x, y in zip(a.rasters or (), b.rasters or (), strict=True))
    found, wanted = RULE.gradients(net, a, grad), RULE.gradients(flat, b, grad)
    # the gradient of a shared weight: that of the dense layer, summed over where it is used
    dense = wanted["layers.0.weight"]
    used = torch.zeros(2, 1, 3, 3, dtype=torch.float64)
    for c in range(2):
        for y in range(4):
            for x in range(4):
                used[c, 0] += dense[16 * c + 4 * y + x].reshape(6, 6)[y : y + 3, x : x + 3]
    torch.testing.assert_close(found["layers.0.weight"], used, rtol=1e-10, atol=1e-10)


def pooled_network() -> rules.StepNetwork:
    """Two maps, pools behind both of them, a refractory time: every path of a stage that is no plain dense one."""
    generator = torch.Generator().manual_seed(0)
    first, second, last = rules.Conv2d(1, 3, 3).double(), rules.Conv2d(3, 4, 2).double(), hl.Dense(4, 3).double()
    for connection in (first, second, last):
        connection.init_normal_(0.5, 0.8, generator)
    layers = [first, LeakyNeurons(1.0), rules.AvgPool(2), second, LeakyNeurons(1.0), rules.AvgPool(2)]
    return rules.StepNetwork([*layers, last, LeakyNeurons(1.0)], in_shape=(1, 8, 8), steps=STEPS)


def test_what_training_keeps_changes_no_gradient() -> None:
    net, given = pooled_network(), values(5, 64)
    grad = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    kept, plain = RULE.training_forward(net, given), RULE.forward(net, given)
    assert kept.traces["drive"][0] is not None  # type: ignore[attr-defined]
    found, wanted = RULE.gradients(net, kept, grad), RULE.gradients(net, plain, grad)
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0.1
        torch.testing.assert_close(found[name], gradient, rtol=1e-12, atol=1e-12)


def test_a_batch_in_parts_and_samples_without_error_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    net, given = pooled_network(), values(5, 64)
    grad = torch.randn(5, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    grad[[1, 4]] = 0.0
    whole = RULE.gradients(net, RULE.forward(net, given), grad)
    wrong = torch.tensor([0, 2, 3])
    part = RULE.gradients(net, RULE.forward(net, given[wrong]), grad[wrong])
    monkeypatch.setattr(hm2bp_step, "PART", 1)
    single = RULE.gradients(net, RULE.forward(net, given), grad)
    for name, gradient in whole.items():
        torch.testing.assert_close(part[name], gradient, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(single[name], gradient, rtol=1e-12, atol=1e-12)
    nothing = RULE.gradients(net, RULE.forward(net, given), torch.zeros_like(grad))
    assert not any(gradient.any() for gradient in nothing.values())


def test_errors_stop_at_silent_neurons_where_empty_trains_count_nothing() -> None:
    net, given = network(0.0), values()
    with torch.no_grad():
        net.stages[0].connection.weight[2] = -1.0  # a hidden neuron that never fires
        net.stages[1].connection.weight[3] = -1.0  # and an output
    record, stage = RULE.forward(net, given), net.stages[1]
    assert isinstance(record, rules.StepRecord)
    pre, post = record.rasters or ()
    assert (hm2bp_step.counts(post) == 0).all(0).tolist() == [False, False, False, True, False]
    delta = torch.rand(6, 5, generator=torch.Generator().manual_seed(3), dtype=torch.float64) + 0.5

    def below(delta: torch.Tensor, empty: float) -> torch.Tensor:
        return hm2bp_step._stage_gradient(stage, pre, post, delta, None, empty)[1]

    published, stopped = below(delta, 1.0), below(delta, 0.0)
    assert published[:, 2].abs().min() > 0.1
    assert not stopped[:, 2].any()
    others = delta.clone()
    others[:, 3] = 0.0  # what the silent output asks for reaches no hidden neuron
    torch.testing.assert_close(below(others, 0.0), stopped, rtol=0, atol=0)
    assert (below(others, 1.0) - published)[:, 2].abs().min() > 0.1


def test_the_regulariser_has_the_published_gradient() -> None:
    net = network()
    loss = WeightDecay()
    loss(net, None, None).backward()  # type: ignore[arg-type,no-untyped-call]
    for stage in net.stages:
        w = stage.connection.weight.detach()
        mean = (w / 8).square().mean(1, keepdim=True)
        torch.testing.assert_close(stage.connection.weight.grad, 10 * 0.04 * (w / 8) * torch.exp(0.04 * (mean - 1)))


# -- continuous time ------------------------------------------------------------------------------


@pytest.mark.parametrize("reset", ["value", "subtract"])
@pytest.mark.parametrize("t_ref", [0.0, 1.5e-3])
@pytest.mark.parametrize("ratio", [0.25, 1.0])
def test_total_potential_is_threshold_times_count_in_continuous_time(reset: str, t_ref: float, ratio: float) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        net = event_network(reset, t_ref, ratio)
        spikes = event_inputs()
    finally:
        torch.set_default_dtype(torch.float32)
    record = net(spikes)
    for k, (dense, lif) in enumerate(net.blocks):
        pre = spikes if k == 0 else record[k - 1].detach()
        e = torch.from_numpy(hm2bp_event.effects(pre, record[k].detach(), lif))
        total = (dense.weight.detach() * e).sum(2)
        count = record[k].unit_counts()
        assert int(count.max()) >= 3
        # each spike: u = v_th to some 1e-14 (the root), sums of up to 1e3 terms of 1e-16
        torch.testing.assert_close(total, count * lif.v_th, rtol=0, atol=1e-12 * float(count.max()))


def event_network(reset: str, t_ref: float, ratio: float) -> hl.Network:
    generator = torch.Generator().manual_seed(5)
    net = hl.Network(
        [
            hl.Dense(7, 6),
            hl.LIF(6, tau_mem=10e-3, tau_syn=ratio * 10e-3, t_ref=t_ref, reset=reset),
            hl.Dense(6, 4),
            hl.LIF(4, tau_mem=10e-3, tau_syn=ratio * 10e-3, t_ref=t_ref, reset=reset),
        ]
    )
    for dense, _ in net.blocks:
        dense.init_normal_(2.0, 3.0, generator)
    return net


def event_inputs(batch: int = 3, per_unit: int = 4) -> hl.Spikes:
    rng = np.random.default_rng(2)
    pairs = []
    for _ in range(batch):
        times = np.sort(rng.uniform(0, 40e-3, 7 * per_unit))
        pairs.append((times, rng.permutation(np.repeat(np.arange(7), per_unit))))
    return hl.Spikes.from_events(pairs, 7, 60e-3, torch.float64)


def test_effects_of_event_lists_equal_the_double_sum() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        net, spikes = event_network("value", 1e-3, 0.25), event_inputs()
    finally:
        torch.set_default_dtype(torch.float32)
    post, lif = net(spikes)[0].detach(), net.blocks[0][1]
    e = hm2bp_event.effects(spikes, post, lif)
    for b, (pre_pair, post_pair) in enumerate(zip(spikes.to_events(), post.to_events(), strict=True)):
        for i in range(6):
            for j in range(7):
                pre, out = pre_pair[0][pre_pair[1] == j], post_pair[0][post_pair[1] == i]
                # the network's convention tau_mem u' = -u + i has a gain of tau_syn / tau_mem
                wanted = 0.25 * reference.effect(pre.tolist(), out.tolist(), 10e-3, 2.5e-3, 1e-3)
                assert e[b, i, j] == pytest.approx(wanted, rel=1e-12, abs=1e-14)


def test_gradient_in_continuous_time_is_that_of_the_formula() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        net, spikes = event_network("value", 0.0, 0.25), event_inputs()
    finally:
        torch.set_default_dtype(torch.float32)
    rule = HM2BP(teacher=0)
    record = rule.forward(net, spikes)
    grad = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = rule.gradients(net, record, grad)
    (_, lif_1), (second, lif_2) = net.blocks
    e1 = torch.from_numpy(hm2bp_event.effects(spikes, record[0], lif_1))
    e2 = torch.from_numpy(hm2bp_event.effects(record[0], record[1], lif_2))
    o1, o2 = record[0].unit_counts().double(), record[1].unit_counts().double()
    w = second.weight.detach()
    # v_th = 1, and by the macro relation every bracket is 1 + 1 for a neuron that fires
    torch.testing.assert_close(found["layers.2.weight"], 2 * (grad[:, :, None] * e2).sum(0), rtol=1e-9, atol=1e-9)
    empty = (o1[:, None, :] == 0) | (o2[:, :, None] == 0)
    ratio = torch.where(empty, 1.0, e2 / o1.clamp(min=1)[:, None, :])
    delta = (grad[:, :, None] * w * ratio).sum(1)
    torch.testing.assert_close(found["layers.0.weight"], 2 * (delta[:, :, None] * e1).sum(0), rtol=1e-9, atol=1e-9)


# -- refusals -------------------------------------------------------------------------------------


def test_networks_that_the_rule_cannot_train_are_refused() -> None:
    with pytest.raises(InputError, match="StepNetwork of LeakyNeurons"):
        HM2BP().check(torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match="set v_reset = v_leak"):
        HM2BP().check(hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3, v_reset=-0.5)]))
    with pytest.raises(InputError, match="teacher = 35 spikes in 20 steps"):
        HM2BP().check(rules.StepNetwork([hl.Dense(2, 2), LeakyNeurons(1.0)], in_shape=2, steps=20))


@pytest.mark.parametrize(
    "options", [{"v_th": 0.0}, {"v_th": 1.0, "tau_s": 64.0}, {"v_th": 1.0, "t_ref": -1}, {"v_th": 1.0, "lateral": 0.5}]
)
def test_neurons_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match="allowed"):
        LeakyNeurons(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"teacher": -1}, {"rate": 0.0}, {"rate": 1.5}, {"empty": -0.5}])
def test_options_out_of_range_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options))):
        HM2BP(**options)  # type: ignore[arg-type]
