"""Blocks of a netx file, as layers.

    input     shape [(c, h,) w], neuron; weight (one number, default 1) and bias: neurons that each input unit drives
    conv      shape [c, h, w], weight [c_out, c_in / groups, kh, kw(, 1)], stride, padding, dilation, groups, neuron
    pool      shape [c, h, w], weight [1, 1, kh, kw(, 1)] of every channel, stride (default: the kernel), padding, dilation, neuron
    flatten   (nothing else) units in the order channel, row, column
    dense     shape [n], weight [n, n_in], neuron

each with bias (one a channel, or one a neuron) and delay: ticks, one a neuron, by which its spikes come later at the next block.
(lava-dl: ``export_hdf5`` in ``slayer/block/base.py``.) netx itself reads no pool and drops delays; here they act as in training.
Convolutions are correlations, as torch has them; netx turns its kernels over because Lava's Conv does. Every block is a layer: its
Dense takes a tick, also that of an input block, which Lava's own Input does not take.

Where weights have both signs and some are odd, the matrix is shifted up and its exponent lowered as far: they are exact too. What a
:class:`FixedGraph` cannot hold is refused by name: other blocks, refractory times, graded spikes, exponents, weights beyond 8 bits,
entries that are not known.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from hwloop.errors import DataError
from hwloop.network import Conv2d
from hwloop.network.linear_map import Shape, size_of
from hwloop_fixed_point.graph import FixedLayer, Synapses
from hwloop_fixed_point.registers import Array

from .compiler import NETX_BIAS_EXPONENT

#: Entries of every block of neurons that are read, and those of each kind.
LAYER_ENTRIES = ("type", "shape", "weight", "bias", "delay", "neuron")
_WINDOW = ("kernelSize", "stride", "padding", "dilation")
KINDS: dict[str, tuple[str, ...]] = {
    "input": (),
    "conv": ("inChannels", "outChannels", *_WINDOW, "groups"),
    "pool": _WINDOW,
    "flatten": (),
    "dense": ("inFeatures", "outFeatures"),
}
#: Entries of its neurons that are read; those that have to say what every layer here does, with what the value means; and
#: those of the surrogate gradient, which play no part in a run.
NEURON_ENTRIES = ("type", "iDecay", "vDecay", "vThMant")
GIVEN_ENTRIES = {
    "refDelay": (1, "no refractory time beyond the tick of the spike"),
    "gradedSpike": (0, "spikes of one size"),
    "wgtExp": (0, "no exponent; netx does not read it. Fold it into the weights: weight * 2**wgtExp"),
}
GRADIENT_ENTRIES = ("tauRho", "scaleRho")


def read_blocks(groups: Sequence[tuple[Any, str]], in_shape: Shape | None) -> tuple[FixedLayer, ...]:
    """The layers of ``(HDF5 group, how errors call it)``; ``in_shape`` of the input, where it is known.

    Raises :class:`DataError` naming block and entry.
    """
    layers: list[FixedLayer] = []
    shape, late = in_shape, None
    for group, where in groups:
        kind = _text(group["type"])
        if kind not in KINDS:
            raise DataError(
                f"{where}: type {kind!r}; allowed: {', '.join(KINDS)}. Other blocks of netx are not carried"
            )
        if kind == "flatten":
            _check_known(group, ("type",), where)
            shape = None if shape is None else (size_of(shape),)
            continue
        if kind == "input" and layers:
            raise DataError(f"{where}: an input block behind others; allowed: as the first block")
        layer, shape = _read_layer(kind, group, shape, where)
        if late is not None:
            layer = replace(
                layer, synapses=replace(layer.synapses, delay=np.broadcast_to(late, layer.synapses.weight.shape))
            )
        layers.append(layer)
        late = _whole(group["delay"][()], f"{where}: delay").reshape(-1) if "delay" in group else None
        if late is not None and late.shape != (layer.n,):
            raise DataError(f"{where}: delay of {late.size} values for {layer.n} neurons; allowed: one a neuron")
    if not layers:
        raise DataError("the file has no block of neurons; allowed: input, conv, pool or dense blocks")
    if late is not None and late.any():
        raise DataError(
            f"{groups[-1][1]}: delay up to {late.max()} ticks of the last block's spikes, which nothing receives; set it to 0"
        )
    return tuple(layers)


def _read_layer(kind: str, group: Any, shape: Shape | None, where: str) -> tuple[FixedLayer, Shape]:
    """One block of neurons driven by units of ``shape``, and its own shape."""
    neuron = group.get("neuron", {})
    if (model := _text(neuron["type"])) not in ("CUBA", "LOIHI"):
        raise DataError(f"{where}: neuron/type {model!r}; allowed: 'CUBA' or 'LOIHI'")
    _check_known(group, (*LAYER_ENTRIES, *KINDS[kind]), where)
    _check_entries(neuron, where)
    own: Shape = tuple(int(size) for size in np.atleast_1d(group["shape"][()]))
    if kind == "dense":
        own = (size_of(own),)
        weight = _dense(group, own[0], where)
    elif kind == "input":
        each = (
            _whole(group["weight"][()], f"{where}: weight").reshape(-1) if "weight" in group else np.ones(1, np.int32)
        )
        if each.size != 1:
            raise DataError(f"{where}: weight of {each.size} values; allowed: one number")
        weight = np.eye(size_of(own), dtype=np.int32) * each[0]
    else:
        weight = _windows(kind, group, shape, own, where)
    n = size_of(own)
    bias = _bias(group, own, n, where) if "bias" in group else None
    layer = FixedLayer(
        _synapses(weight, where),
        du=_number(neuron, "iDecay", f"{where}: neuron") - 1,
        dv=_number(neuron, "vDecay", f"{where}: neuron"),
        vth=_number(neuron, "vThMant", f"{where}: neuron"),
        bias_mant=bias,
        bias_exp=None if bias is None else np.full(n, NETX_BIAS_EXPONENT, np.int32),
    )
    return layer, own


def _dense(group: Any, n: int, where: str) -> Array:
    weight = _whole(group["weight"][()], f"{where}: weight")
    if weight.ndim == 1 and weight.size % n == 0:
        weight = weight.reshape(n, -1)
    if weight.ndim != 2 or len(weight) != n:
        raise DataError(f"{where}: weight {weight.shape} for a shape of {n} neurons; allowed: [n, n_in]")
    return weight


def _windows(kind: str, group: Any, shape: Shape | None, own: Shape, where: str) -> Array:
    """``[n, n_in]`` of a conv or pool block."""
    if shape is None or len(shape) != 3:
        raise DataError(
            f"{where}: a {kind} block of units of unknown rows and columns; name them: read_netx(path, in_shape=(channels, height, "
            "width)), or put an input block before it"
        )
    weight = _whole(group["weight"][()], f"{where}: weight")
    weight = weight[..., 0] if weight.ndim == 5 else weight
    if weight.ndim != 4 or (kind == "pool" and weight.shape[:2] != (1, 1)):
        allowed = "[1, 1, kh, kw]" if kind == "pool" else "[c_out, c_in / groups, kh, kw]"
        raise DataError(f"{where}: weight {weight.shape}; allowed: {allowed}")
    groups = _number(group, "groups", where) if "groups" in group else 1
    if kind == "pool":
        groups, weight = shape[0], np.repeat(weight, shape[0], 0)
    kernel = (weight.shape[2], weight.shape[3])
    maps = Conv2d(
        weight.shape[1] * groups,
        len(weight),
        kernel,
        stride=_two(group, "stride", kernel if kind == "pool" else (1, 1), where),
        padding=_two(group, "padding", (0, 0), where),
        dilation=_two(group, "dilation", (1, 1), where),
        groups=groups,
    )
    found = maps.out_shape(shape, where)
    if found != own:
        raise DataError(f"{where}: shape {own}; its weights make {found} of {shape}; allowed: the same")
    synapses = maps.synapses(shape)
    matrix = np.zeros((size_of(own), size_of(shape)), np.int64)
    # a dilated, padded window meets a unit once: no two synapses lead from one unit to one neuron
    matrix[synapses.targets, synapses.sources] = weight.reshape(-1)[synapses.parameters]
    return matrix.astype(np.int32)


def _two(group: Any, name: str, usual: tuple[int, int], where: str) -> tuple[int, int]:
    """Rows and columns: one number for both, or two; ``usual`` where there is no such entry."""
    if name not in group:
        return usual
    rows, columns = np.broadcast_to(_whole(group[name][()], f"{where}: {name}"), 2)
    return int(rows), int(columns)


def _bias(group: Any, own: Shape, n: int, where: str) -> Array:
    """``[n]`` of one a neuron, one a channel, or one."""
    bias = _whole(group["bias"][()], f"{where}: bias").reshape(-1)
    if bias.size in (1, n):
        return np.resize(bias, n)
    if len(own) == 3 and bias.size == own[0]:
        return np.repeat(bias, n // own[0])
    raise DataError(f"{where}: bias of {bias.size} values for {own} neurons; allowed: one a neuron or one a channel")


def _check_known(group: Any, known: Sequence[str], where: str) -> None:
    """Refuse entries of a block that would be dropped."""
    unknown = [name for name in group if name not in known]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(unknown)} would be dropped; allowed: {', '.join(known)}. Delete it from the file if it does not "
            "matter"
        )


def _check_entries(neuron: Any, where: str) -> None:
    """Refuse by name what neurons here do not do."""
    for name, (value, meaning) in GIVEN_ENTRIES.items():
        if name in neuron and (found := _number(neuron, name, f"{where}: neuron")) != value:
            raise DataError(f"{where}: neuron/{name} = {found}; allowed: {value} ({meaning})")
    known = (*NEURON_ENTRIES, *GIVEN_ENTRIES, *GRADIENT_ENTRIES)
    unknown = [f"neuron/{name}" for name in neuron if name not in known]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(unknown)} would be dropped; allowed in neuron: {', '.join(known)}. Delete it from the file if it does "
            "not matter"
        )


def _synapses(weight: Array, where: str) -> Synapses:
    """``weight [n, n_in]`` with nothing lost; :class:`DataError` naming one that 8 bits cannot hold."""
    odd, signs = bool((weight % 2).any()), int(weight.min()) < 0 < int(weight.max())
    # Lava keeps even weights alone where signs are mixed: one bit up, and one back behind the sum, as netx shifts
    shift = int(odd and signs)
    bounded = np.clip(weight, -(2**16), 2**16)  # far beyond 8 bits already; an int32 that is doubled could wrap
    synapses = Synapses(bounded << shift, -shift, "mixed" if signs or not odd else "auto")
    bad = synapses.effective() != weight.astype(np.int64) << shift
    if bad.any():
        row, column = (int(k) for k in np.argwhere(bad)[0])
        allowed = (
            "-128..127, or -256..254 where all are even" if signs else "-255..255, or -256..254 where all are even"
        )
        raise DataError(
            f"{where}: weight [{row}, {column}] = {weight[row, column]}; allowed: {allowed} "
            f"({'both signs' if signs else 'one sign'} in the layer)"
        )
    return synapses


def _text(entry: Any) -> str:
    value = np.asarray(entry[()]).reshape(-1)[0]
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _number(group: Any, name: str, where: str) -> int:
    values = _whole(np.asarray(group[name][()]), f"{where}/{name}").reshape(-1)
    if not (values == values[0]).all():
        raise DataError(f"{where}/{name} differs between neurons; allowed: one value per layer")
    return int(values[0])


def _whole(values: Array, where: str) -> Array:
    """``values`` as int32; :class:`DataError` where they are no whole numbers."""
    rounded = np.rint(np.asarray(values, np.float64))
    if not (np.isfinite(rounded).all() and (rounded == values).all() and (np.abs(rounded) < 2**31).all()):
        raise DataError(f"{where} holds values that are no whole numbers of 32 bits")
    result: Array = rounded.astype(np.int32)
    return result
