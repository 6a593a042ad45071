"""Each map of a NIR graph by itself: what becomes of every field, and which fields are refused by name."""

from __future__ import annotations

from typing import Any

import nir
import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.network import AvgPool2d, Conv2d, Delay, Dense, Flatten, Scale, SumPool2d
from hwloop.network.nir.maps import map_of
from hwloop.network.nir.units import TimeUnit

from .made import conv, pool

SECONDS, MS = TimeUnit("s", "", True), TimeUnit("ms", "", True)


def of(node: Any, shape: Any, unit: TimeUnit = SECONDS, biased: bool = True, delay: Any = None) -> Any:
    return map_of("m", node, shape, unit, biased, delay)


def refused(node: Any, shape: Any) -> str:
    with pytest.raises(InputError) as caught:
        of(node, shape)
    return str(caught.value)


# -- matrices -------------------------------------------------------------------------------------


def test_a_matrix_keeps_its_values_and_type_and_takes_the_delay_before_it() -> None:
    weight = np.arange(6, dtype=np.float32).reshape(2, 3)
    late = torch.tensor([1e-3, 2e-3, 3e-3])
    plain = of(nir.Linear(weight), (3,), delay=late)
    assert (type(plain), plain.n_in, plain.n_out, plain.bias) == (Dense, 3, 2, None)
    assert (plain.weight.tolist(), plain.weight.dtype) == (weight.tolist(), torch.float32)
    assert (plain.weight.stride(), plain.delay.tolist()) == ((1, 2), late.tolist())
    assert of(nir.Linear(weight), (3,)).delay is None
    biased = nir.Affine(weight, np.array([0.5, 0.25]))
    assert (of(biased, (3,)).bias.tolist(), of(biased, (3,)).bias.dtype) == ([0.5, 0.25], torch.float32)
    assert of(biased, (3,), biased=False).bias is None
    assert of(nir.Affine(weight, np.zeros(2)), (3,)).bias is None


def test_axes_of_one_before_a_matrix_are_taken_off_and_no_others() -> None:
    assert of(nir.Linear(np.ones((1, 1, 2, 3))), (3,)).weight.shape == (2, 3)
    assert of(nir.Linear(np.ones((1, 3))), (3,)).weight.shape == (1, 3)
    assert "weight has shape (2, 1, 3); allowed: two axes, [n_out, n_in]" in refused(
        nir.Linear(np.ones((2, 1, 3))), (3,)
    )
    assert "takes 3 inputs, the units before it are (4,)" in refused(nir.Linear(np.ones((2, 3))), (4,))


def test_building_a_map_draws_nothing_from_torch() -> None:
    before = torch.get_rng_state()
    of(nir.Linear(np.ones((2, 3))), (3,))
    of(conv(), (1, 8, 8))
    assert torch.equal(before, torch.get_rng_state())


# -- convolutions ---------------------------------------------------------------------------------


def test_a_convolution_keeps_every_field() -> None:
    node = nir.Conv2d(
        (9, 8), np.arange(24.0).reshape(4, 1, 3, 2), np.array([2, 1]), np.array([1, 0]), np.array([1, 2]), 2,
        np.array([0.0, 1.0, 2.0, 3.0]),
    )  # fmt: skip
    found = of(node, (2, 9, 8))
    assert (type(found), found.c_in, found.c_out, found.groups) == (Conv2d, 2, 4, 2)
    assert (found.kernel_size, found.stride, found.padding_size, found.dilation) == ((3, 2), (2, 1), (1, 0), (1, 2))
    assert (found.weight.reshape(-1).tolist(), found.bias.tolist()) == (list(range(24)), [0.0, 1.0, 2.0, 3.0])
    x = torch.rand(144, dtype=torch.float64)
    expected = torch.nn.functional.conv2d(
        x.reshape(1, 2, 9, 8), torch.from_numpy(node.weight), None, (2, 1), (1, 0), (1, 2), 2
    )
    torch.testing.assert_close(found.apply_to(x, (2, 9, 8)), expected.reshape(-1))
    assert of(node, (2, 9, 8), biased=False).bias is None


@pytest.mark.parametrize("one", [2, [2], [2, 2], np.array([2]), np.array([2.0, 2.0])])
def test_a_side_may_be_said_once_for_both(one: Any) -> None:
    found = of(conv(1, 1, 3, None, stride=one), (1, 8, 8))
    assert found.stride == (2, 2)
    pooled = of(pool(nir.SumPool2d, one), (1, 8, 8))
    assert (pooled.kernel_size, pooled.stride, pooled.padding_size) == ((2, 2), (2, 2), (0, 0))


def test_a_convolution_in_one_dimension_has_rows_of_one() -> None:
    node = nir.Conv1d(10, np.ones((2, 1, 3)), 3, 2, 1, 1, np.array([0.0, 1.0]))
    found = of(node, (1, 1, 10))
    assert (found.kernel_size, found.stride, found.padding_size, found.dilation) == ((1, 3), (1, 3), (0, 2), (1, 1))
    same = nir.Conv1d(10, np.ones((2, 1, 3)), 1, "same", 2, 1, np.zeros(2))
    assert of(same, (1, 1, 10)).padding_size == (0, 2)
    flat, wrong = nir.Conv1d(10, np.ones((2, 1, 3)), 1, 0, 1, 1, np.zeros(2)), conv(2, 1, 3, 8)
    flat.weight, wrong.weight = np.ones((2, 3)), np.ones((2, 1, 3))  # as a file may have them
    assert "weight has shape (2, 3); allowed: [c_out, c_in, length]" in refused(flat, (1, 1, 10))
    assert "weight has shape (2, 1, 3); allowed: [c_out, c_in, height, width]" in refused(wrong, (1, 8, 8))
    assert "stride = [1, 2]; allowed: one whole number, or one a side" in refused(
        nir.Conv1d(10, np.ones((2, 1, 3)), np.array([1, 2]), 0, 1, 1, np.zeros(2)), (1, 1, 10)
    )


@pytest.mark.parametrize(
    ("kernel", "dilation", "padding", "expected"),
    [(3, 1, "same", (1, 1)), (3, 2, "same", (2, 2)), (5, 1, "same", (2, 2)), (2, 2, "same", (1, 1)), (1, 1, "same", (0, 0)), (3, 2, "valid", (0, 0)), (3, 1, 2, (2, 2))],
)  # fmt: skip
def test_equal_padding_keeps_the_sides(kernel: int, dilation: int, padding: Any, expected: Any) -> None:
    # NIR reckons the output's shape itself where it is told the input's, and does not know all of these
    found = of(conv(1, 1, kernel, None, padding=padding, dilation=dilation), (1, 8, 8))
    assert found.padding_size == expected
    if padding == "same":
        assert found.out_shape((1, 8, 8), "m") == (1, 8, 8)


@pytest.mark.parametrize(
    "options", [{"kernel": 2}, {"kernel": 4}, {"stride": np.array([1, 2])}, {"stride": 2}], ids=str
)
def test_padding_that_is_not_equal_on_both_sides_is_refused(options: dict[str, Any]) -> None:
    node = conv(1, 1, options.pop("kernel", 3), None, **{"padding": "same", **options})
    said = refused(node, (1, 8, 8))
    assert said.startswith(f"node 'm': padding = {node.padding!r} with kernel ")
    assert "'same' with a stride of 1 and equal padding on both sides. Export it with numbers" in said


@pytest.mark.parametrize("value", [1.5, True, "1", np.nan, np.inf, -np.inf], ids=str)
def test_sides_and_groups_are_whole_numbers(value: Any) -> None:
    for name in ("stride", "padding", "dilation", "groups", "input_shape"):
        node = conv(1, 1, 3, None)
        setattr(node, name, np.array(value) if name == "groups" else np.array([value, value]))
        assert refused(node, (1, 8, 8)).startswith(f"node 'm': {name} = ")
        assert refused(node, (1, 8, 8)).endswith("; allowed: whole numbers")


def test_the_sides_that_a_convolution_states_are_those_before_it() -> None:
    assert of(conv(2, 1, 3, 8), (1, 8, 8)).c_out == 2
    assert of(conv(2, 1, 3, None), (1, 5, 9)).c_out == 2
    for shape in ((1, 8, 9), (1, 9, 8)):
        assert f"input_shape = (8, 8), the units before it are {shape}; correct one" in refused(conv(2, 1, 3, 8), shape)


# -- pools, scales, delays ------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "ours"), [(nir.SumPool2d, SumPool2d), (nir.AvgPool2d, AvgPool2d)])
def test_pools_keep_kernel_stride_and_padding(kind: Any, ours: type) -> None:
    found = of(pool(kind, [2, 3], [1, 2], [0, 1]), (2, 6, 6))
    assert type(found) is ours
    assert (found.kernel_size, found.stride, found.padding_size) == ((2, 3), (1, 2), (0, 1))


def test_scales_and_delays_have_a_value_a_unit_and_delays_the_unit_of_time() -> None:
    scale = of(nir.Scale(np.array([1.0, 2.0], np.float32)), (2, 2, 2))
    assert (type(scale), scale.factor.tolist(), scale.factor.dtype) == (Scale, [1.0] * 4 + [2.0] * 4, torch.float32)
    for unit, expected in ((SECONDS, [1.0, 2.0]), (MS, [1e-3, 2e-3]), (TimeUnit("us", "", True), [1e-6, 2e-6])):
        found = of(nir.Delay(np.array([1.0, 2.0])), (2,), unit)
        assert (type(found), found.delay.tolist()) == (Delay, pytest.approx(expected, rel=1e-12))
    assert type(of(nir.Flatten({"input": np.array([2, 2, 2])}, 0, -1), (2, 2, 2))) is Flatten
    assert "node 'm': scale has shape (3,)" in refused(nir.Scale(np.ones(3)), (2,))


def test_errors_name_the_node_once() -> None:
    for node, shape in ((nir.Linear(np.ones((2, 3))), (4,)), (nir.Scale(np.ones(3)), (2,)), (conv(), (3, 8, 8))):
        assert refused(node, shape).count("node 'm'") == 1
