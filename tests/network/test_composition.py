"""Maps as synapses and as operations of torch are one linear map; compositions of them too."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import hwloop as hl
from hwloop.errors import InputError
from hwloop.network.composition import Composition
from hwloop.network.linear_map import LinearMap, Shape


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sparse(n_in: int, n_out: int, synapses: int, **options: object) -> hl.Sparse:
    rng = np.random.default_rng(1)
    return hl.Sparse(
        n_in, n_out, rng.integers(0, n_in, synapses), rng.integers(0, n_out, synapses), draw(synapses), **options
    )  # type: ignore[arg-type]


CASES: dict[str, tuple[list[LinearMap], Shape]] = {
    "dense": ([hl.Dense(6, 4)], (6,)),
    "dense of maps": ([hl.Dense(12, 4)], (3, 2, 2)),
    "convolution": ([hl.Conv2d(2, 3, 3)], (2, 6, 5)),
    "convolution with everything": (
        [hl.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(1, 2), dilation=(1, 2), groups=2)], (4, 7, 6)
    ),
    "sum": ([hl.SumPool2d(2)], (2, 4, 6)),
    "sum with overlap": ([hl.SumPool2d(3, stride=2, padding=1)], (2, 5, 5)),
    "sum that leaves units out": ([hl.SumPool2d(2, stride=3)], (1, 5, 5)),
    "mean": ([hl.AvgPool2d((2, 3))], (2, 4, 6)),
    "scale": ([hl.Scale(6, draw(6))], (6,)),
    "sparse": ([sparse(5, 4, 9)], (5,)),
    "pool, convolution": ([hl.AvgPool2d(2), hl.Conv2d(2, 3, 2)], (2, 6, 6)),
    "scale, convolution, scale, flatten, dense": (
        [hl.Scale(18, draw(18)), hl.Conv2d(2, 3, 2), hl.Scale(12, draw(12)), hl.Flatten(), hl.Dense(12, 5)], (2, 3, 3)
    ),
    "two matrices": ([hl.Dense(4, 3), hl.Dense(3, 5)], (4,)),
    "sparse, dense": ([sparse(5, 4, 9), hl.Dense(4, 2)], (5,)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_paths_are_the_matrix_of_the_operations(name: str) -> None:
    maps, shape = CASES[name]
    composition = Composition([layer.double() for layer in maps], shape, "here")
    by_operations = torch.eye(composition.n_in, dtype=torch.float64)
    for layer, at in zip(composition.maps, composition.shapes, strict=False):
        by_operations = layer.apply_to(by_operations, at)
    paths = composition.paths
    by_paths = torch.zeros(composition.n_in, composition.n_out, dtype=torch.float64)
    by_paths.index_put_(
        (torch.from_numpy(paths.sources), torch.from_numpy(paths.targets)),
        composition.weight().double(),
        accumulate=True,
    )
    torch.testing.assert_close(by_paths, by_operations)
    assert (np.diff(paths.sources) >= 0).all()


@pytest.mark.parametrize("name", CASES)
def test_gradients_of_path_weights_are_those_of_the_operations(name: str) -> None:
    maps, shape = CASES[name]
    composition = Composition([layer.double() for layer in maps], shape, "here")
    parameters = [p for layer in maps for p in layer.parameters()]
    if not parameters:
        assert not composition.weight().requires_grad
        return
    x, y = draw(composition.n_in), draw(composition.n_out, seed=2)
    out = x
    for layer, at in zip(composition.maps, composition.shapes, strict=False):
        out = layer.apply_to(out, at)
    paths = composition.paths
    total = (composition.weight() * x[torch.from_numpy(paths.sources)] * y[torch.from_numpy(paths.targets)]).sum()
    torch.testing.assert_close(torch.autograd.grad(total, parameters), torch.autograd.grad((out * y).sum(), parameters))


def test_delays_of_maps_in_a_row_add_up_along_every_path() -> None:
    dense = hl.Dense(3, 2, delay=torch.arange(6.0).reshape(2, 3) * 1e-3)
    composition = Composition([hl.Delay(3, [1e-2, 2e-2, 3e-2]), dense, hl.Delay(2, [0.1, 0.2])], (3,), "here")
    paths, delay = composition.paths, composition.delay()
    assert delay is not None
    wanted = [
        0.01 * (s + 1) + 1e-3 * (3 * t + s) + 0.1 * (t + 1) for s, t in zip(paths.sources, paths.targets, strict=True)
    ]
    torch.testing.assert_close(delay, torch.tensor(wanted, dtype=torch.float32))
    assert not composition.delayed_by_source


def test_axonal_delays_are_told_from_others() -> None:
    assert Composition([hl.Delay(3, 1e-3), hl.Dense(3, 2)], (3,), "").delayed_by_source
    assert Composition([hl.Dense(3, 2, delay=1e-3)], (3,), "").delayed_by_source
    assert Composition([hl.Dense(3, 2)], (3,), "").delayed_by_source
    assert not Composition([hl.Dense(3, 2), hl.Delay(2, 1e-3)], (3,), "").delayed_by_source


def test_a_bias_passes_the_maps_after_it() -> None:
    dense, scale = hl.Dense(3, 2, bias=True), hl.Scale(2, [2.0, 3.0])
    assert dense.bias is not None
    with torch.no_grad():
        dense.bias.copy_(torch.tensor([0.5, 1.0]))
    offset = Composition([dense, scale], (3,), "").offset()
    assert offset is not None
    assert offset.tolist() == [1.0, 3.0]
    conv = hl.Conv2d(1, 2, 2, bias=True)
    assert conv.bias is not None
    with torch.no_grad():
        conv.bias.copy_(torch.tensor([1.0, 2.0]))
    offset = Composition([conv], (1, 3, 3), "").offset()
    assert offset is not None
    assert offset.tolist() == [1.0] * 4 + [2.0] * 4


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Composition([hl.Dense(3, 2)], (4,), "a -> b"), r"a -> b: Dense: takes 3 inputs, the units before it are \(4,\); build Dense\(4"),
        (lambda: Composition([hl.Conv2d(3, 2, 2)], (2, 4, 4), "a"), r"takes 3 channels.*build Conv2d\(2"),
        (lambda: Composition([hl.Conv2d(3, 2, 2)], (12,), "a"), "takes maps"),
        (lambda: Composition([hl.Conv2d(1, 2, 5)], (1, 4, 4), "a"), "give it larger maps or padding"),
        (lambda: Composition([hl.SumPool2d(5)], (1, 4, 4), "a"), r"window \(5, 5\) on maps of \(4, 4\)"),
        (lambda: Composition([hl.Scale(3, 1.0)], (4,), "a"), r"build Scale\(4"),
        (lambda: Composition([hl.Delay(3, 1.0)], (4,), "a"), r"build Delay\(4"),
        (lambda: Composition([sparse(3, 4, 2)], (4,), "a"), r"build Sparse\(4"),
        (lambda: hl.Conv2d(3, 4, 2, groups=2), "groups = 2; allowed: a number that divides c_in = 3 and c_out = 4"),
        (lambda: hl.Conv2d(3, 4, (2, 2, 2)), "a whole number >= 1, or two"),
        (lambda: hl.SumPool2d(2, padding=2), "at most half the kernel"),
        (lambda: hl.Delay(3, -1e-3), "delay 0 = -0.001 s; allowed: finite and >= 0 s"),
        (lambda: hl.Dense(3, 2, delay=torch.tensor([[1.0, math.inf, 1.0], [1.0, 1.0, 1.0]])), r"delay \(0, 1\) = inf s"),
        (lambda: hl.Dense(3, 2, delay=torch.ones(3, 2)), r"or \(2, 3\) of the synapses"),
        (lambda: hl.Scale(3, math.nan), "NaN or infinite"),
        (lambda: hl.Sparse(3, 4, [0, 3], [0, 1], 1.0), r"sources 0\.\.3; allowed: 0\.\.2"),
        (lambda: hl.Sparse(3, 4, [0, 1], [0], 1.0), "2 sources and 1 targets"),
        (lambda: hl.Sparse(3, 4, [0.5], [0], 1.0), "a row of whole numbers"),
    ],
)  # fmt: skip
def test_maps_that_do_not_fit_are_refused(build: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        build()  # type: ignore[operator]


@pytest.mark.parametrize(
    "layer", [hl.Conv2d(1, 2, 2), hl.SumPool2d(2), hl.Flatten(), sparse(2, 2, 1)], ids=lambda m: type(m).__name__
)
def test_a_map_is_not_called_by_itself(layer: nn.Module) -> None:
    with pytest.raises(InputError, match="put it into one"):
        layer(torch.zeros(1))
