"""Stages as linear maps, the trace, values, and networks in steps: identities first, refusals after."""

from __future__ import annotations

from copy import deepcopy

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop import rules
from hwloop.errors import InputError
from hwloop.rules.steps.trace import potential, trace, trace_reference


def conv_net() -> rules.StepNetwork:
    layers = [
        rules.Conv2d(2, 3, 3, padding=1),
        rules.TracedNeurons(),
        rules.AvgPool(2),
        rules.Conv2d(3, 2, 2),
        rules.TracedNeurons(),
        rules.AvgPool(3),
        hl.Dense(2, 4),
        rules.TracedNeurons(),
    ]
    return rules.StepNetwork(layers, in_shape=(2, 8, 8), steps=3).double()


@pytest.mark.parametrize("k", [0, 1, 2])
def test_adjoint_and_weight_gradient_belong_to_the_map(k: int) -> None:
    stage, generator = conv_net().stages[k], torch.Generator().manual_seed(k)
    x = torch.randn(5, 3, stage.n_in, generator=generator, dtype=torch.float64)
    y = torch.randn(5, 3, stage.n_out, generator=generator, dtype=torch.float64)
    with torch.no_grad():
        forth = float((stage.drive(x) * y).sum())
        # <W x, y> = <x, W^T y> = <W, y x^T>: sums of some 1e3 terms
        assert float((x * stage.adjoint(y)).sum()) == pytest.approx(forth, rel=1e-11)
        weight = stage.connection.weight
        assert float((weight * stage.weight_gradient(x, y)).sum()) == pytest.approx(forth, rel=1e-11)


@pytest.mark.parametrize("k", [1, 2])
def test_units_behind_pools_are_those_that_places_name_and_the_bare_stage_takes(k: int) -> None:
    stage = conv_net().stages[k]
    x = torch.randn(4, stage.n_in, generator=torch.Generator().manual_seed(k), dtype=torch.float64)
    place, share = stage.places
    pooled = torch.zeros(4, int(place.max()) + 1, dtype=torch.float64).index_add_(1, place, share * x)
    torch.testing.assert_close(stage.pooled(x), pooled)
    wanted = torch.nn.functional.avg_pool2d(x.reshape(4, *stage.in_shape), stage.pools[0].size).reshape(4, -1)
    torch.testing.assert_close(pooled, wanted)
    torch.testing.assert_close(stage.bare.drive(pooled), stage.drive(x))
    assert not stage.bare.pools


def test_shapes_follow_from_the_layers() -> None:
    net = conv_net()
    assert [stage.out_shape for stage in net.stages] == [(3, 8, 8), (2, 3, 3), (4,)]
    assert (net.n_in, net.n_out) == (128, 4)
    assert [stage.fan_in for stage in net.stages] == [18, 12, 2]


def test_a_copy_is_a_network_of_its_own() -> None:
    net = conv_net()
    copy = deepcopy(net)
    with torch.no_grad():
        copy.stages[0].connection.weight.zero_()
    assert copy.stages[0].connection is copy.layers[0]
    assert net.stages[0].connection.weight.any()


def test_the_trace_equals_the_sum_written_out() -> None:
    x = np.random.default_rng(0).random((3, 12, 4))
    np.testing.assert_allclose(trace(torch.from_numpy(x), 0.7, 0.5).numpy(), trace_reference(x, 0.7, 0.5), rtol=1e-13)


def test_the_potential_is_the_double_exponential_of_every_spike() -> None:
    x = torch.zeros(1, 30, 1, dtype=torch.float64)
    x[0, [2, 9, 10], 0] = 1
    found = potential(x, 16.0, 4.0)[0, :, 0].numpy()
    for t in range(30):
        late = [t - t_j for t_j in (2, 9, 10) if t_j <= t]
        wanted = sum(np.exp(-d / 16) - np.exp(-d / 4) for d in late) / (1 - 4 / 16)
        assert found[t] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_keys_are_numbers_without_a_generator_and_drawn_with_one() -> None:
    data = rules.ValueSet(torch.rand(10, 3), torch.arange(10) % 2)
    plain = torch.cat([values.keys for values, _ in data.batches(4)])
    assert plain.tolist() == list(range(10))
    drawn = [torch.cat([v.keys for v, _ in data.batches(4, np.random.default_rng(s))]) for s in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_mnist_as_values_has_the_split_of_mnist_as_spikes(mnist_folder: object) -> None:
    task = rules.mnist_values(str(mnist_folder))
    assert (len(task.train), len(task.validation), len(task.test)) == (55_000, 5_000, 10_000)
    order = np.random.default_rng(0).permutation(60_000)
    _, labels = hl.datasets.files.read_mnist(mnist_folder, "train")  # type: ignore[arg-type]
    assert torch.equal(task.validation.labels, torch.from_numpy(labels[np.sort(order[:5000])]))


# -- refusals -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layers", "in_shape", "message"),
    [
        ([hl.Dense(4, 3)], 4, "end without neurons"),
        ([rules.TracedNeurons()], 4, "expected AvgPool2d, SumPool2d, Scale, Dense, Conv2d or Sparse here"),
        ([hl.Dense(4, 3), hl.Dense(3, 3)], 4, "expected neurons here"),
        ([hl.Dense(5, 3), rules.TracedNeurons()], 4, "takes 5 inputs, the units before it are"),
        ([rules.Conv2d(1, 2, 3), rules.TracedNeurons()], 16, "takes maps, .channels, height, width."),
        ([rules.Conv2d(1, 2, 5), rules.TracedNeurons()], (1, 4, 4), "kernel .5, 5. on maps"),
        ([rules.AvgPool(3), hl.Dense(4, 3), rules.TracedNeurons()], (1, 4, 4), "whose sides they divide"),
        ([hl.Dense(4, 3, delay=1e-3), rules.TracedNeurons()], 4, "build Dense without delay"),
        ([hl.Conv2d(1, 2, 2, bias=True), rules.TracedNeurons()], (1, 4, 4), "build Conv2d without bias"),
        ([hl.Scale(3, 2.0), hl.Dense(4, 3), rules.TracedNeurons()], 4, r"build Scale\(4"),
        ([hl.Dense(4, 3), hl.Scale(4, 2.0), rules.TracedNeurons()], 4, r"build Scale\(3"),
        (
            [hl.Scale(4, torch.nn.Parameter(torch.ones(4))), hl.Dense(4, 3), rules.TracedNeurons()],
            4,
            "a trained factor",
        ),
        ([hl.Scale(4, 2.0)], 4, "end without neurons"),
        ([hl.SumPool2d(3, 1), hl.Dense(4, 3), rules.TracedNeurons()], (1, 4, 4), "windows side by side"),
        (
            [hl.Dense(4, 3), rules.TracedNeurons(), hl.Dense(3, 2), rules.LeakyNeurons(1.0)],
            4,
            "neurons of the rules hm2bp, na in one network",
        ),
    ],
)
def test_layers_that_do_not_fit_are_refused(layers: list[torch.nn.Module], in_shape: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        rules.StepNetwork(layers, in_shape=in_shape, steps=3)  # type: ignore[arg-type]


def test_a_population_has_one_place() -> None:
    neurons = rules.TracedNeurons()
    with pytest.raises(InputError, match="build one for each place"):
        rules.StepNetwork([hl.Dense(3, 3), neurons, hl.Dense(3, 3), neurons], in_shape=3, steps=3)


@pytest.mark.parametrize("options", [{"steps": 0}, {"steps": 3, "dt": 0.0}, {"steps": 3, "feedback": hl.Dense(2, 2)}])
def test_options_out_of_range_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(reversed(options))):
        rules.StepNetwork([hl.Dense(3, 2), rules.TracedNeurons()], in_shape=3, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "keys"),
    [
        (torch.rand(3), torch.arange(3)),
        (torch.randint(0, 5, (3, 2)), torch.arange(3)),
        (torch.rand(3, 2), torch.arange(2)),
        (torch.tensor([[float("nan")]]), torch.arange(1)),
    ],
)
def test_values_that_are_none_are_refused(values: torch.Tensor, keys: torch.Tensor) -> None:
    with pytest.raises(InputError, match=r"expected|allowed"):
        rules.Values(values, keys)
