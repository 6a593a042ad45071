"""NA against brute-force re-simulation, the squared-loss identity, and the pseudo-inverse over all decision patterns."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError, OptionError
from hwloop.rules.na.rule import NA, TracedNeurons, credited_changes, credited_changes_by_step, neighbour_change, run_on

STEPS = 5


def network(sizes: tuple[int, ...] = (4, 3, 2), seed: int = 0) -> rules.StepNetwork:
    generator = torch.Generator().manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for n_in, n_out in itertools.pairwise(sizes):
        layers += [hl.Dense(n_in, n_out).double().init_normal_(0.4, 0.9, generator), TracedNeurons()]
    return rules.StepNetwork(layers, in_shape=sizes[0], steps=STEPS)


def values(batch: int = 6, n: int = 4, seed: int = 1) -> rules.Values:
    generator = torch.Generator().manual_seed(seed)
    return rules.Values(torch.rand(batch, n, generator=generator, dtype=torch.float64), torch.arange(batch))


def simulate(weight: Tensor, traces: Tensor, injection: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
    """One population of one sample in plain loops: ``(membrane, spikes, trace) [steps, n]`` on ``traces [steps, n_in]``."""
    n = len(weight)
    membrane, spikes, trace = (torch.zeros(STEPS, n, dtype=torch.float64) for _ in range(3))
    for i in range(n):
        left = a = 0.0
        for t in range(STEPS):
            u = (
                (1 - 1 / 5) * left
                + float(weight[i] @ traces[t])
                + (0.0 if injection is None else float(injection[t, i]))
            )
            s = float(u > 1.0)
            left, a = u * (1 - s), (1 - 1 / 2) * a + s / 2
            membrane[t, i], spikes[t, i], trace[t, i] = u, s, a
    return membrane, spikes, trace


def layer_runs(net: rules.StepNetwork, given: rules.Values, b: int) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """``(input traces, membrane, spikes, trace)`` of each population on sample b."""
    x, runs = given.values[b].expand(STEPS, -1), []
    for stage in net.stages:
        found = simulate(stage.connection.weight.detach(), x)
        runs.append((x, *found))
        x = found[2]
    return runs


def test_simulation_equals_plain_loops() -> None:
    net, given = network((4, 6, 3)), values()
    record = NA().forward(net, given)
    for b in range(6):
        for k, (_, membrane, spikes, trace) in enumerate(layer_runs(net, given, b)):
            torch.testing.assert_close(record.traces["membrane"][k][b], membrane, rtol=1e-13, atol=1e-13)
            assert record.rasters is not None
            assert torch.equal(record.rasters[k][b], spikes)
            torch.testing.assert_close(record.traces["trace"][k][b], trace, rtol=1e-13, atol=1e-13)


def neighbour(weight: Tensor, x: Tensor, run: tuple[Tensor, Tensor, Tensor], k: int, i: int, reach: float) -> Tensor:
    """Trace of neuron i where ``reach`` times the distance to the threshold is injected at step k."""
    membrane, _, _ = run
    injection = torch.zeros(STEPS, len(weight), dtype=torch.float64)
    injection[k, i] = reach * (1.0 - membrane[k, i])
    return simulate(weight, x, injection)[2][:, i]


#: An injection this much larger or smaller than the smallest one (the margin of the check of minimality).
STEP_OVER = 1e-6


def test_the_injection_is_the_smallest_that_flips_the_decision_and_its_trace_is_the_neighbours() -> None:
    net, given = network((4, 6, 3)), values()
    record = NA().forward(net, given)
    flipped_on = flipped_off = 0
    for b in range(3):
        for k_layer, (x, membrane, spikes, trace) in enumerate(layer_runs(net, given, b)):
            weight = net.stages[k_layer].connection.weight.detach()
            drive, s = record.traces["drive"][k_layer][b : b + 1], record.rasters[k_layer][b : b + 1]  # type: ignore[index]
            for k in range(STEPS):
                change = neighbour_change(TracedNeurons(), drive, s, k)[0]
                for i in range(len(weight)):
                    over = neighbour(weight, x, (membrane, spikes, trace), k, i, 1 + STEP_OVER)
                    under = neighbour(weight, x, (membrane, spikes, trace), k, i, 1 - STEP_OVER)
                    assert torch.equal(under[: k + 1], trace[: k + 1, i])
                    # a membrane left STEP_OVER beside the threshold moves later ones by as much: no decision, no trace
                    torch.testing.assert_close(over[k:] - trace[k:, i], change[:, i], rtol=0, atol=1e-12)
                    flipped_on += int(spikes[k, i] == 0)
                    flipped_off += int(spikes[k, i] == 1)
    assert min(flipped_on, flipped_off) > 20


@pytest.mark.parametrize("credit", ["g", "g+quad"])
def test_the_change_of_a_squared_loss_is_first_order_plus_half_the_square(credit: str) -> None:
    net, given = network((4, 6, 3)), values()
    rule = NA(credit=credit, nearest=1e-12)  # type: ignore[arg-type]
    record = rule.forward(net, given)
    target = torch.rand(STEPS, 3, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    grad = record.readout - target  # of 1/2 sum (a - y)^2, of which the curvature is 1
    stage = net.stages[-1]
    run = (record.traces["drive"][-1], record.traces["membrane"][-1], record.rasters[-1])  # type: ignore[index]
    delta = rule.delta(stage.neurons, run, grad, 1.0 if credit == "g+quad" else 0.0)
    worst = 0.0
    for b in range(6):
        x, membrane, spikes, trace = layer_runs(net, given, b)[-1]
        for k, i in itertools.product(range(STEPS), range(3)):
            moved = neighbour(stage.connection.weight.detach(), x, (membrane, spikes, trace), k, i, 1 + STEP_OVER)
            before, after = (0.5 * (a - target[:, i]).square().sum() for a in (trace[:, i], moved))
            found = float(delta[b, k, i] * (1.0 - membrane[k, i]))
            worst = max(worst, abs(found - float(after - before)))
    # the identity holds to rounding with the quadratic term, and not without it
    assert worst < 1e-12 if credit == "g+quad" else worst > 0.1


@pytest.mark.parametrize("credit", ["e", "g"])
def test_a_tiny_network_equals_brute_force_over_every_neuron_and_step(credit: str) -> None:
    net, given = network(), values()
    rule = NA(credit=credit, nearest=1e-12)  # type: ignore[arg-type]
    record = rule.forward(net, given)
    grad = torch.randn(6, STEPS, 2, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = rule.gradients(net, record, grad)
    wanted = [torch.zeros_like(stage.connection.weight) for stage in net.stages]
    for b in range(6):
        g, runs = grad[b], layer_runs(net, given, b)
        for k_layer in (1, 0):
            weight = net.stages[k_layer].connection.weight.detach()
            x, membrane, spikes, trace = runs[k_layer]
            credited = g.clone()
            if credit == "e":
                for t in range(STEPS - 2, -1, -1):
                    credited[t] += 0.5 * credited[t + 1]
            delta = torch.zeros_like(membrane)
            for k, i in itertools.product(range(STEPS), range(len(weight))):
                moved = neighbour(weight, x, (membrane, spikes, trace), k, i, 1 + STEP_OVER)
                delta[k, i] = (credited[:, i] * (moved - trace[:, i])).sum() / (1.0 - membrane[k, i])
            wanted[k_layer] += delta.t() @ x
            g = delta @ weight
    for stage, expected in zip(net.stages, wanted, strict=True):
        torch.testing.assert_close(
            found[net.parameter_name(stage.connection.weight)], expected.detach(), rtol=1e-9, atol=1e-9
        )


def patterns(weight: Tensor, x: Tensor, membrane: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest injections ``[2^T, T]`` to every decision pattern of one neuron, and the trace changes ``[2^T, T]``."""
    moves, traces = [], []
    for wanted in itertools.product((0.0, 1.0), repeat=STEPS):
        left = a = 0.0
        move, trace = [], []
        for t in range(STEPS):
            u = 0.8 * left + float(weight @ x[t])
            needed = 0.0 if (u > 1.0) == (wanted[t] == 1.0) else 1.0 - u
            u += needed
            left, a = u * (1 - wanted[t]), 0.5 * a + wanted[t] / 2
            move.append(needed)
            trace.append(a)
        moves.append(move)
        traces.append(trace)
    return torch.tensor(moves, dtype=torch.float64), torch.tensor(traces, dtype=torch.float64)


def test_the_gradient_points_as_the_least_squares_fit_over_all_decision_patterns() -> None:
    # the paper's full neighbourhood: the slope m that best explains dL = m . du over all 2^T patterns of one neuron
    net, given = network((4, 12, 3), seed=3), values(8)
    record = NA().forward(net, given)
    cosines = []
    for b in range(8):
        x, membrane, _, trace = layer_runs(net, given, b)[0]
        for i in range(12):
            moves, traces = patterns(net.stages[0].connection.weight.detach()[i], x, membrane[:, i])
            grad = torch.randn(STEPS, generator=torch.Generator().manual_seed(100 * b + i), dtype=torch.float64)
            slope = torch.linalg.pinv(moves) @ ((traces - trace[:, i]) @ grad)
            full = torch.zeros(1, STEPS, 12, dtype=torch.float64)
            full[0, :, i] = grad
            run = tuple(record.traces[n][0][b : b + 1] for n in ("drive", "membrane"))
            spikes = record.rasters[0][b : b + 1]  # type: ignore[index]
            found = NA(credit="g", nearest=1e-12).delta(TracedNeurons(), (*run, spikes), full)[0, :, i]  # type: ignore[arg-type]
            cosines.append(float(torch.nn.functional.cosine_similarity(found, slope, dim=0)))
    # unrelated vectors of five numbers: mean 0, deviation 1/sqrt(5), of the mean of 96 .046; ten of them
    assert np.mean(cosines) > 0.46


@pytest.mark.parametrize("curvature", [0.0, 0.7])
def test_the_kernel_sums_what_the_neighbours_are_one_by_one(curvature: float) -> None:
    net, given = network((4, 6, 3)), values()
    record = NA().forward(net, given)
    drive, spikes = record.traces["drive"][1], record.rasters[1]  # type: ignore[index]
    credit = torch.randn(drive.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = credited_changes_by_step(TracedNeurons(), drive, spikes, credit, curvature)
    # some ten terms in another order
    torch.testing.assert_close(
        credited_changes(TracedNeurons(), drive, spikes, credit, curvature), wanted, rtol=1e-12, atol=1e-12
    )


def test_a_silent_neuron_has_a_gradient() -> None:
    net, given = network((4, 6, 3)), values()
    with torch.no_grad():
        net.stages[0].connection.weight[2] = -0.5
    rule = NA()
    record = rule.forward(net, given)
    assert record.rasters is not None
    assert not record.rasters[0][:, :, 2].any()
    found = rule.gradients(net, record, torch.ones_like(record.readout))
    assert float(found["layers.0.weight"][2].abs().max()) > 0


def test_measured_spikes_condition_the_membrane() -> None:
    net, given = network((4, 6, 3)), values()
    record = NA().forward(net, given)
    assert record.rasters is not None
    again = NA().forward(net, given, measured=record)
    for name in ("membrane", "trace"):
        assert all(torch.equal(a, b) for a, b in zip(record.traces[name], again.traces[name], strict=True))
    other = record.rasters[0].clone()
    other[:, 1] = 1 - other[:, 1]
    replayed = NA().forward(net, given, rules.StepRecord((other, record.rasters[1]), record.readout, given, 1e-3))
    assert torch.equal(replayed.rasters[0], other)  # type: ignore[index]
    left = replayed.traces["membrane"][0][:, 1] * (1 - other[:, 1])
    torch.testing.assert_close(
        replayed.traces["membrane"][0][:, 2], 0.8 * left + replayed.traces["drive"][0][:, 2], rtol=1e-13, atol=1e-13
    )


def test_the_authors_variant_clips_the_cubed_distance_and_equalises_hidden_layers() -> None:
    net, given = network((4, 6, 3)), values()
    paper, authors = NA(nearest=1e-12), NA(variant="authors")
    record = paper.forward(net, given)
    grad = torch.randn(record.readout.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    run = (record.traces["drive"][1], record.traces["membrane"][1], record.rasters[1])  # type: ignore[index]
    distance = 1.0 - run[1]
    plain, other = (rule.delta(TracedNeurons(), run, grad) for rule in (paper, authors))
    torch.testing.assert_close(other, plain * distance * (distance**-3).clamp(-5, 5))
    below = net.stages[1].adjoint(other).detach()
    run = (record.traces["drive"][0], record.traces["membrane"][0], record.rasters[0])  # type: ignore[index]
    hidden = authors.delta(TracedNeurons(), run, below)
    scale = 1.2 * torch.log(other.abs().mean() / (hidden.abs().mean() + 1e-5) + 1.02)
    wanted = (hidden * scale).sum(1).t() @ given.values
    torch.testing.assert_close(authors.gradients(net, record, grad)["layers.0.weight"], wanted)


def test_a_convolution_equals_the_dense_layer_that_it_is() -> None:
    generator = torch.Generator().manual_seed(0)
    conv = rules.Conv2d(1, 2, 3).double().init_normal_(0.3, 0.5, generator)
    out = hl.Dense(8, 3).double().init_normal_(0.3, 0.5, generator)
    net = rules.StepNetwork(
        [conv, TracedNeurons(), rules.AvgPool(2), out, TracedNeurons()], in_shape=(1, 6, 6), steps=STEPS
    )
    first, second = hl.Dense(36, 32).double(), hl.Dense(32, 3).double()
    with torch.no_grad():
        first.weight.copy_(net.stages[0].drive(torch.eye(36, dtype=torch.float64)).t())
        second.weight.copy_(net.stages[1].drive(torch.eye(32, dtype=torch.float64)).t())
    flat = rules.StepNetwork([first, TracedNeurons(), second, TracedNeurons()], in_shape=36, steps=STEPS)
    given, rule = values(4, 36), NA()
    a, b = rule.forward(net, given), rule.forward(flat, given)
    grad = torch.randn(a.readout.shape, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(a.readout, b.readout)
    found, wanted = rule.gradients(net, a, grad), rule.gradients(flat, b, grad)
    # the weights behind the pools see pooled traces: dW = delta^T (P a), and that of the dense layer is delta^T a
    pools = net.stages[1].pooled(torch.eye(32, dtype=torch.float64))
    torch.testing.assert_close(found["layers.3.weight"], wanted["layers.2.weight"] @ pools, rtol=1e-9, atol=1e-9)
    used = torch.zeros(2, 3, 3, dtype=torch.float64)  # a shared weight: summed over where it is used
    for c, y, x in itertools.product(range(2), range(4), range(4)):
        used[c] += wanted["layers.0.weight"][16 * c + 4 * y + x].reshape(6, 6)[y : y + 3, x : x + 3]
    torch.testing.assert_close(found["layers.0.weight"][:, 0], used, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "options", [{"credit": "f"}, {"variant": "code"}, {"nearest": 0.0}, {"curvature": float("inf")}]
)
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises((InputError, OptionError), match=next(iter(options))):
        NA(**options)  # type: ignore[arg-type]


def test_networks_that_the_rule_cannot_train_are_refused() -> None:
    with pytest.raises(InputError, match="StepNetwork of TracedNeurons"):
        NA().check(hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)]))
    with pytest.raises(InputError, match="tau_s = 0.5"):
        TracedNeurons(tau_s=0.5)
    with pytest.raises(InputError, match=r"measured rasters \[steps, n\]"):
        NA().forward(network(), values(), rules.StepRecord((torch.zeros(6, 4, 3),), torch.zeros(6, 2), values(), 1e-3))


def test_run_on_given_spikes_takes_them_as_they_are() -> None:
    drive, given = torch.full((1, 3, 2), 0.4), torch.tensor([[[1, 0], [0, 0], [0, 1]]])
    membrane, spikes = run_on(TracedNeurons(tau_m=4.0), drive, given)
    assert torch.equal(spikes, given.float())
    torch.testing.assert_close(membrane[0, :, 0], torch.tensor([0.4, 0.4, 0.7]))
