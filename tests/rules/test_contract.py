"""What every rule keeps, whatever it does inside: parametrised over the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import hwloop as hl
from hwloop import rules
from hwloop.errors import GradientError, InputError, OptionError
from hwloop.record import Record

HIDDEN, N_IN, N_OUT, BATCH = 7, 5, 3, 6
DTYPE = torch.float64


@dataclass(frozen=True)
class Case:
    """A small network for a rule, and inputs for it; ``hidden``: names of what belongs to a hidden unit, and the axis."""

    rule: rules.Rule
    net: Callable[[], Any]
    inputs: Callable[[int], Any]
    hidden: dict[str, int]


def dense(n_in: int, n_out: int, seed: int, mean: float = 0.5, std: float = 0.8) -> hl.Dense:
    return hl.Dense(n_in, n_out).to(DTYPE).init_normal_(mean, std, torch.Generator().manual_seed(seed))


def stepped(neurons: Callable[[], rules.Neurons], steps: int, mean: float = 0.5) -> Callable[[], rules.StepNetwork]:
    def build() -> rules.StepNetwork:
        layers: list[nn.Module] = [dense(N_IN, HIDDEN, 0, mean), neurons(), dense(HIDDEN, N_OUT, 1, mean), neurons()]
        net = rules.StepNetwork(layers, in_shape=N_IN, steps=steps)
        return net.to(DTYPE)

    return build


def timed() -> hl.Network:
    torch.set_default_dtype(DTYPE)
    try:
        layers = [dense(N_IN, HIDDEN, 0, 1.2, 1.5), hl.LIF(HIDDEN, 1e-2, 5e-3), dense(HIDDEN, N_OUT, 1, 0.8, 1.2)]
        return hl.Network([*layers, hl.LIF(N_OUT, 1e-2, 5e-3)])
    finally:
        torch.set_default_dtype(torch.float32)


def spikes(batch: int) -> hl.Spikes:
    first = 20e-3 * torch.rand(BATCH, N_IN, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    return hl.Spikes.from_first_times(first, 50e-3)[:batch]


def values(batch: int) -> rules.Values:
    drawn = torch.rand(BATCH, N_IN, generator=torch.Generator().manual_seed(0), dtype=DTYPE)
    return rules.Values(drawn, torch.arange(BATCH))[:batch]


#: What of a dense network belongs to a hidden unit: rows of the first weight, columns of the second, the first bias.
STEP_HIDDEN = {"layers.0.weight": 0, "layers.2.weight": 1, "layers.1.bias": 0}

CASES: dict[str, Case] = {
    "exact": Case(rules.find("exact"), timed, spikes, {"layers.0.weight": 0, "layers.2.weight": 1}),
    "hm2bp": Case(rules.HM2BP(teacher=6, rate=0.4), stepped(lambda: rules.LeakyNeurons(1.5), 50), values, STEP_HIDDEN),
    "hm2bp, continuous time": Case(rules.HM2BP(teacher=4), timed, spikes, {"layers.0.weight": 0, "layers.2.weight": 1}),
    "na": Case(rules.NA(), stepped(rules.TracedNeurons, 5), values, STEP_HIDDEN),
    # credit="g+quad" is of second order by design: a loss of zero gradient has a curvature all the same
    "na, first-order credit": Case(rules.NA(credit="g"), stepped(rules.TracedNeurons, 5), values, STEP_HIDDEN),
    "spikegrad": Case(
        rules.find("spikegrad", samples=1),
        stepped(lambda: rules.SignedNeurons(0.25, theta_bp=0.05), 16),
        values,
        STEP_HIDDEN,
    ),
    "spide": Case(rules.find("spide"), stepped(rules.RateNeurons, 20), values, STEP_HIDDEN),
}

every_rule = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def readout_grad(case: Case, record: Record, seed: int = 5) -> Tensor:
    readout = case.rule.readout(record)
    grad = torch.randn(readout.shape, generator=torch.Generator().manual_seed(seed), dtype=DTYPE)
    return torch.where(torch.isfinite(readout.detach()), grad, 0.0)


def assert_equal_gradients(found: dict[str, Tensor], wanted: dict[str, Tensor], scale: float = 1.0) -> None:
    assert found.keys() == wanted.keys()
    for name, gradient in found.items():
        # the same sums in another order: some 1e3 roundings of 1e-16 of the largest term
        largest = max(1e-9, float(wanted[name].abs().max()))
        torch.testing.assert_close(gradient, wanted[name], rtol=0, atol=scale * 1e-12 * largest)


def test_every_registered_rule_is_tested_here() -> None:
    assert {case.rule.name for case in CASES.values()} == set(rules.names())


@every_rule
def test_a_zero_loss_gradient_gives_zero_gradients(case: Case) -> None:
    net = case.net()
    record = case.rule.forward(net, case.inputs(BATCH))
    for gradient in case.rule.gradients(net, record, torch.zeros_like(readout_grad(case, record))).values():
        assert not gradient.any()


@every_rule
def test_a_loss_gradient_reaches_every_weight_matrix(case: Case) -> None:
    net = case.net()
    record = case.rule.forward(net, case.inputs(BATCH))
    found = case.rule.gradients(net, record, readout_grad(case, record))
    for name, parameter in net.named_parameters():
        if parameter.ndim > 1:
            assert found[name].shape == parameter.shape
            assert float(found[name].abs().max()) > 0


@every_rule
def test_gradients_of_two_halves_add_up_to_those_of_the_batch(case: Case) -> None:
    net, inputs = case.net(), case.inputs(BATCH)
    record = case.rule.forward(net, inputs)
    grad = readout_grad(case, record)
    whole = case.rule.gradients(net, record, grad)
    total = {name: torch.zeros_like(gradient) for name, gradient in whole.items()}
    for part in (slice(0, 2), slice(2, BATCH)):
        half = case.rule.forward(net, inputs[part])
        width = case.rule.readout(half).shape[1]
        for name, gradient in case.rule.gradients(net, half, grad[part, :width]).items():
            total[name] += gradient
    assert_equal_gradients(total, whole)


@every_rule
def test_permuting_hidden_units_permutes_their_gradients(case: Case) -> None:
    net, inputs = case.net(), case.inputs(BATCH)
    record = case.rule.forward(net, inputs)
    grad = readout_grad(case, record)
    found = case.rule.gradients(net, record, grad)
    order = torch.randperm(HIDDEN, generator=torch.Generator().manual_seed(1))
    other = case.net()
    with torch.no_grad():
        for name, parameter in other.named_parameters():
            if name in case.hidden:
                parameter.copy_(parameter.index_select(case.hidden[name], order))
    permuted = case.rule.gradients(other, case.rule.forward(other, inputs), grad)
    wanted = {
        name: gradient.index_select(case.hidden[name], order) if name in case.hidden else gradient
        for name, gradient in found.items()
    }
    # hidden units are summed in another order: a potential may differ by a rounding, an event time by its root's
    assert_equal_gradients(permuted, wanted, scale=100)


@every_rule
def test_a_record_of_an_ideal_target_gives_the_gradients_of_the_simulators(case: Case) -> None:
    net, inputs = case.net(), case.inputs(BATCH)
    simulated = case.rule.forward(net, inputs)
    grad = readout_grad(case, simulated)
    found = case.rule.gradients(net, simulated, grad)
    measured = case.rule.forward(net, inputs, measured=ideal_recording(simulated))
    assert torch.equal(case.rule.readout(measured), case.rule.readout(simulated))
    assert_equal_gradients(case.rule.gradients(net, measured, grad), found)


def ideal_recording(record: Record) -> Record:
    """What a target without any fault hands back: the spikes, where they can be told apart as events, and no more."""
    if isinstance(record, rules.StepRecord):
        return rules.StepRecord(
            record.rasters, record.readout, record.values, record.dt, counts=record.counts, traces=record.traces
        )
    return hl.Recording(tuple(p.detach() for p in record.populations), inputs=record.inputs, device_id="ideal")


@every_rule
def test_backward_of_a_loss_calls_the_rule(case: Case) -> None:
    net = case.net()
    case.rule.check(net)
    record = case.rule.differentiable(net, case.inputs(BATCH))
    readout = case.rule.readout(record)
    grad = readout_grad(case, record)
    torch.where(torch.isfinite(readout), readout * grad, 0.0).sum().backward()  # type: ignore[no-untyped-call]
    plain = case.rule.forward(net, case.inputs(BATCH))
    found = case.rule.gradients(net, plain, grad)
    for name, parameter in net.named_parameters():
        if name in found and parameter.requires_grad:
            assert parameter.grad is not None
            torch.testing.assert_close(parameter.grad, found[name])


@every_rule
def test_a_rule_refuses_a_network_of_another_kind(case: Case) -> None:
    with pytest.raises(InputError, match=case.rule.name):
        case.rule.check(nn.Linear(3, 3))


def test_unknown_rules_and_options_are_refused_with_those_that_exist() -> None:
    with pytest.raises(OptionError, match="rule = 'magic'; available: 'exact', 'hm2bp', 'na'"):
        rules.find("magic")
    with pytest.raises(OptionError, match="rule 'na' has no option 'credits'; it has: credit, variant"):
        rules.find("na", credits="e")
    with pytest.raises(OptionError, match="build it with them"):
        rules.find(rules.NA(), credit="e")


def test_a_rule_from_outside_is_found_by_its_name_and_no_name_is_taken_twice() -> None:
    rules.register("mine", rules.NA)
    try:
        assert rules.find("mine", credit="g") == rules.NA(credit="g")
        with pytest.raises(OptionError, match="a rule named 'mine' exists"):
            rules.register("mine", rules.NA)
    finally:
        from hwloop.rules import base

        base._REGISTERED.pop("mine")


# -- what runs is what is differentiated ----------------------------------------------------------


@every_rule
def test_weights_changed_in_place_between_forward_and_backward_are_refused(case: Case) -> None:
    for name, _ in case.net().named_parameters():
        net = case.net()
        readout = case.rule.readout(case.rule.differentiable(net, case.inputs(BATCH)))
        with torch.no_grad():
            dict(net.named_parameters())[name].mul_(1.5)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            torch.where(torch.isfinite(readout), readout, 0.0).sum().backward()  # type: ignore[no-untyped-call]


@every_rule
def test_weights_put_in_anothers_place_do_not_change_the_gradient_of_those_that_ran(case: Case) -> None:
    kept, net = case.net(), case.net()
    readouts = [case.rule.readout(case.rule.differentiable(each, case.inputs(BATCH))) for each in (kept, net)]
    old = net.layers[0].weight
    net.layers[0].weight = nn.Parameter(1.5 * old.detach())
    torch.where(torch.isfinite(readouts[0]), readouts[0], 0.0).sum().backward()  # type: ignore[no-untyped-call]
    try:
        torch.where(torch.isfinite(readouts[1]), readouts[1], 0.0).sum().backward()  # type: ignore[no-untyped-call]
    except GradientError as refused:
        assert "replaced between forward and backward" in str(refused)  # noqa: PT017  # either outcome is right
    else:
        assert torch.equal(old.grad, kept.layers[0].weight.grad)


@every_rule
def test_inputs_changed_in_place_between_forward_and_backward_are_refused(case: Case) -> None:
    net, inputs = case.net(), case.inputs(BATCH)
    readout = case.rule.readout(case.rule.differentiable(net, inputs))
    (inputs.times if isinstance(inputs, hl.Spikes) else inputs.values).mul_(0.5)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.where(torch.isfinite(readout), readout, 0.0).sum().backward()  # type: ignore[no-untyped-call]


def test_what_a_record_in_steps_holds_is_refused_once_it_was_changed() -> None:
    case = CASES["spikegrad"]
    record = case.rule.differentiable(case.net(), case.inputs(BATCH))
    assert isinstance(record, rules.StepRecord)
    record.traces["potential"][0].mul_(-1.0)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        record.readout.sum().backward()  # type: ignore[no-untyped-call]


def test_counts_of_spikes_that_were_changed_are_refused() -> None:
    from hwloop.losses import differentiable_counts

    for name in ("units", "counts"):
        given = spikes(BATCH)
        times = given.times.clone().requires_grad_()
        mine = hl.Spikes(times, given.units.clone(), given.counts.clone(), given.n_units, given.t_stop)
        counts = differentiable_counts(mine)
        if name == "units":
            mine.units.copy_(mine.units.flip(1))
            with pytest.raises(RuntimeError, match="modified by an inplace operation"):
                counts.square().sum().backward()  # type: ignore[no-untyped-call]
            continue
        expected = -2 * torch.gather(counts.detach(), 1, mine.units)
        mine.counts.zero_()  # what is valid was told when the spikes were counted
        counts.square().sum().backward()  # type: ignore[no-untyped-call]
        assert times.grad is not None
        torch.testing.assert_close(times.grad, torch.where(given.valid, expected, 0.0))


def test_hm2bp_differentiates_a_twin_at_the_weights_that_act() -> None:
    rule, inputs = rules.HM2BP(teacher=4), spikes(BATCH)
    twin, plain = timed(), timed()
    g = torch.Generator().manual_seed(3)
    for (dense_, lif), (acting, neurons) in zip(twin.blocks, plain.blocks, strict=True):
        dense_.mismatch = 1 + 0.3 * torch.rand(dense_.weight.shape, generator=g, dtype=DTYPE)
        scale = torch.ones(2, 6, lif.n, dtype=DTYPE)
        scale[1] = 0
        scale[0, :2] += 0.2 * torch.rand(2, lif.n, generator=g, dtype=DTYPE)
        lif.mismatch = scale
        with torch.no_grad():
            acting.weight.copy_(dense_.acting_weight())
            for name, value in lif.acting_parameters().items():
                getattr(neurons, name).copy_(value)
    record = rule.forward(twin, inputs)
    grad = torch.randn(BATCH, N_OUT, generator=g, dtype=DTYPE)
    found, wanted = rule.gradients(twin, record, grad), rule.gradients(plain, record, grad)
    for k, (dense_, _) in enumerate(twin.blocks):
        name = f"layers.{2 * k}.weight"
        torch.testing.assert_close(found[name], wanted[name] * dense_.mismatch)
