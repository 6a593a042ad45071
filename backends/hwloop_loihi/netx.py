"""lava-dl's network exchange format, netx ``.net`` files (HDF5): what ``lava.lib.dl.netx.hdf5.Network`` reads.

    /layer/<i>/type         b"dense"                 one group a layer, numbered from 0
    /layer/<i>/shape        [n]
    /layer/<i>/inFeatures   n_in
    /layer/<i>/outFeatures  n
    /layer/<i>/weight       [n, n_in]                effective mantissas, -256..254, even where signs are mixed
    /layer/<i>/bias         [n], where not zero      mantissa; netx gives it the exponent 6
    /layer/<i>/neuron/      type b"CUBA", iDecay = du + 1, vDecay = dv, vThMant = vth, refDelay = 1, gradedSpike = False

(lava-dl: ``slayer/block/base.py``, ``slayer/neuron/cuba.py``, ``netx/hdf5.py``, ``netx/utils.py``.) The format knows no
exponent of weights: a network is quantised without one, so thresholds are coarser than on ``loihi``. netx drops delays without
a word, so a network that has them is refused. The step stands in the attribute ``hwloop_dt_s`` of the file, which netx does
not read.

A file is read as netx reads it: a matrix of both signs is shifted up and its exponent lowered as far, so that odd weights
are exact too. What netx does not read either, and what a :class:`FixedGraph` cannot hold, is refused by name: other blocks
than dense, refractory times, graded spikes, exponents, delays, weights beyond 8 bits, entries that are not known.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hwloop.errors import CompileError, DataError, HwloopError
from hwloop.mapping import ScaleRule, dense_name
from hwloop.network import Network
from hwloop.storage import read_bytes, write_bytes
from hwloop_fixed_point.graph import FixedGraph, FixedLayer, Synapses
from hwloop_fixed_point.registers import Array

from .compiler import NETX_BIAS_EXPONENT, compile_loihi
from .program import LoihiProgram

#: Attribute of the file with the step (s).
STEP = "hwloop_dt_s"
#: Entries of a dense layer that are read.
LAYER_ENTRIES = ("type", "shape", "inFeatures", "outFeatures", "weight", "bias", "neuron")
#: Entries of its neurons that are read; those that have to say what every layer here does, with what the value means; and
#: those of the surrogate gradient, which play no part in a run.
NEURON_ENTRIES = ("type", "iDecay", "vDecay", "vThMant")
GIVEN_ENTRIES = {
    "refDelay": (1, "no refractory time beyond the tick of the spike"),
    "gradedSpike": (0, "spikes of one size"),
    "wgtExp": (0, "no exponent; netx does not read it. Fold it into the weights: weight * 2**wgtExp"),
}
GRADIENT_ENTRIES = ("tauRho", "scaleRho")
#: Largest file read (bytes) and most layers: a network of 100 million weights.
MAX_BYTES, MAX_LAYERS = 2**30, 1000


def write_netx(
    path: Path | str,
    net: Network,
    *,
    dt: float,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "max",
    mask: Iterable[int] = (),
) -> LoihiProgram:
    """Write ``net`` at steps of ``dt`` (s) for lava-dl users.

    Parameters
    ----------
    path : the file, replaced in one step
    net, weight_scale, mask : as for :func:`hwloop_loihi.compile_loihi`

    Returns
    -------
    LoihiProgram
        What the file holds; ``hwloop.open("loihi", dt=dt)`` loads it, and its spikes are those that netx gives.

    Raises
    ------
    CompileError
        The network has delays, or the arithmetic cannot carry it.
    DataError
        The file cannot be written.
    """
    for index, (dense, _) in enumerate(net.blocks):
        if dense.delay is not None:
            raise CompileError(
                limit="no delays: lava-dl's netx drops them without a word",
                value=f"axonal delays up to {float(dense.delay.max()):g} s",
                layer=dense_name(index),
                fix="build Dense without delay, or deploy to loihi or lava, which have delays of 0..63 ticks",
            )
    program = compile_loihi(net, dt, weight_scale=weight_scale, mask=mask, exponents=False)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs[STEP] = dt
        for index, layer in enumerate(program.graph.layers):
            _write_layer(file.create_group(f"layer/{index}"), layer)
    write_bytes(path, buffer.getvalue())
    return program


def read_netx(path: Path | str, *, dt: float | None = None) -> FixedGraph:
    """The graph in a netx file of dense CUBA layers.

    Parameters
    ----------
    path : the file
    dt : step (s), where the file does not state it: other tools' files do not. Where both do, they have to agree

    Raises
    ------
    DataError
        The file is missing, no HDF5, or holds what a :class:`FixedGraph` is not; names the layer and the entry.
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            step = file.attrs.get(STEP, dt)
            if step is None:
                raise DataError(f"{path} does not state its step; name it: read_netx(path, dt=...)")
            if dt is not None and not math.isclose(float(step), dt, rel_tol=1e-9):
                raise DataError(
                    f"{path} states a step of {float(step):g} s; dt = {dt:g} s; allowed: the same, or no dt"
                )
            layers = file["layer"]
            if not 1 <= len(layers) <= MAX_LAYERS:
                raise DataError(f"{path} has {len(layers)} layers; allowed: 1..{MAX_LAYERS}")
            return FixedGraph(
                tuple(_read_layer(layers[str(k)], f"{path}, layer {k}") for k in range(len(layers))), float(step)
            )
    except DataError:
        raise
    except (HwloopError, OSError, KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise DataError(
            f"{path} is no netx file of dense CUBA layers: {type(error).__name__}: {error}; export it again"
        ) from error


def _write_layer(group: Any, layer: FixedLayer) -> None:
    group.create_dataset("type", data=np.array([b"dense"], "S10"))
    group.create_dataset("shape", data=np.array([layer.n]))
    group.create_dataset("inFeatures", data=layer.n_in)
    group.create_dataset("outFeatures", data=layer.n)
    group.create_dataset("weight", data=layer.synapses.effective().astype(np.float32))
    if layer.bias_mant is not None and layer.bias_mant.any():
        group.create_dataset("bias", data=layer.bias_mant.astype(np.float32))
    neuron: dict[str, Any] = {
        "type": b"CUBA",
        "iDecay": layer.du + 1,
        "vDecay": layer.dv,
        "vThMant": layer.vth,
        "refDelay": 1,
        "gradedSpike": False,
    }
    for name, value in neuron.items():
        group.create_dataset(f"neuron/{name}", data=value)


def _read_layer(group: Any, where: str) -> FixedLayer:
    kind, neuron = _text(group["type"]), group.get("neuron", {})
    if kind != "dense":
        raise DataError(f"{where}: type {kind!r}; allowed: 'dense'. Other blocks of netx are not carried")
    if (model := _text(neuron["type"])) not in ("CUBA", "LOIHI"):
        raise DataError(f"{where}: neuron/type {model!r}; allowed: 'CUBA' or 'LOIHI'")
    _check_entries(group, neuron, where)
    weight = _whole(group["weight"][()], f"{where}: weight")
    n = math.prod(int(size) for size in np.atleast_1d(group["shape"][()]))
    if weight.ndim == 1 and weight.size % n == 0:
        weight = weight.reshape(n, -1)
    if weight.ndim != 2 or len(weight) != n:
        raise DataError(f"{where}: weight {weight.shape} for a shape of {n} neurons; allowed: [n, n_in]")
    bias = _whole(group["bias"][()], f"{where}: bias").reshape(-1) if "bias" in group else None
    return FixedLayer(
        _synapses(weight, where),
        du=_number(neuron, "iDecay", f"{where}: neuron") - 1,
        dv=_number(neuron, "vDecay", f"{where}: neuron"),
        vth=_number(neuron, "vThMant", f"{where}: neuron"),
        bias_mant=bias,
        bias_exp=None if bias is None else np.full(n, NETX_BIAS_EXPONENT, np.int32),
    )


def _check_entries(group: Any, neuron: Any, where: str) -> None:
    """Refuse by name what is not carried."""
    if "delay" in group:
        raise DataError(f"{where}: delay; netx does not read it, so what is meant is not known. Export without delays")
    for name, (value, meaning) in GIVEN_ENTRIES.items():
        if name in neuron and (found := _number(neuron, name, f"{where}: neuron")) != value:
            raise DataError(f"{where}: neuron/{name} = {found}; allowed: {value} ({meaning})")
    known = (*NEURON_ENTRIES, *GIVEN_ENTRIES, *GRADIENT_ENTRIES)
    unknown = [name for name in group if name not in LAYER_ENTRIES]
    unknown += [f"neuron/{name}" for name in neuron if name not in known]
    if unknown:
        raise DataError(
            f"{where}: {', '.join(unknown)} would be dropped; allowed: {', '.join(LAYER_ENTRIES)} and, in neuron, "
            f"{', '.join(known)}. Delete it from the file if it does not matter"
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
