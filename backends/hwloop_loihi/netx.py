"""lava-dl's network exchange format, netx ``.net`` files (HDF5): what ``lava.lib.dl.netx.hdf5.Network`` reads.

    /layer/<i>/type         b"dense"                 one group a layer, numbered from 0
    /layer/<i>/shape        [n]
    /layer/<i>/inFeatures   n_in
    /layer/<i>/outFeatures  n
    /layer/<i>/weight       [n, n_in]                effective mantissas, -256..254, even where signs are mixed
    /layer/<i>/bias         [n], where not zero      mantissa; netx gives it the exponent 6
    /layer/<i>/neuron/      type b"CUBA", iDecay = du + 1, vDecay = dv, vThMant = vth, refDelay = 1, gradedSpike = False

(lava-dl: ``slayer/block/base.py``, ``slayer/neuron/cuba.py``, ``netx/hdf5.py``, ``netx/utils.py``.) Dense blocks are what is written
here; the others that are read, with their entries, stand in :mod:`.netx_blocks`. The format knows no exponent of weights: a network
is quantised without one, so thresholds are coarser than on ``loihi``. netx drops delays without a word, so a network that has them
is not written. The step stands in the attribute ``hwloop_dt_s`` of the file, which netx does not read.
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
from hwloop.mapping import LayerValues, ScaleRule, network_values
from hwloop.network import Network
from hwloop.network.linear_map import Shape
from hwloop.network.nir.hdf5 import DAMAGE, check_members
from hwloop.storage import read_bytes, write_bytes
from hwloop_fixed_point.graph import FixedGraph, FixedLayer

from .compiler import compile_loihi
from .netx_blocks import read_blocks
from .program import LoihiProgram

#: Attribute of the file with the step (s).
STEP = "hwloop_dt_s"
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
        The network is no row of layers, has delays, or membranes or currents that do not start at rest, or the arithmetic cannot
        carry it.
    DataError
        The file cannot be written.
    """
    for values in network_values(net):
        _check_writable(values)
    program = compile_loihi(net, dt, weight_scale=weight_scale, mask=mask, exponents=False)
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs[STEP] = dt
        for index, layer in enumerate(program.graph.layers):
            _write_layer(file.create_group(f"layer/{index}"), layer)
    write_bytes(path, buffer.getvalue())
    return program


def read_netx(path: Path | str, *, dt: float | None = None, in_shape: Shape | None = None) -> FixedGraph:
    """The graph in a netx file of input, conv, pool, flatten and dense blocks of CUBA neurons, with biases and delays.

    Parameters
    ----------
    path : the file
    dt : step (s), where the file does not state it: other tools' files do not. Where both do, they have to agree
    in_shape : ``(channels, height, width)`` of the input, where the first block is a conv or pool: it does not say so

    Raises
    ------
    DataError
        The file is missing, no HDF5, or holds what a :class:`FixedGraph` is not; names the layer and the entry.
    """
    data = read_bytes(path, MAX_BYTES)
    try:
        with h5py.File(io.BytesIO(data), "r") as file:
            check_members(file, [MAX_BYTES])
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
            named = [(layers[str(k)], f"{path}, layer {k}") for k in range(len(layers))]
            return FixedGraph(read_blocks(named, in_shape), float(step))
    except DataError:
        raise
    except (HwloopError, AttributeError, IndexError, *DAMAGE) as error:
        raise DataError(
            f"{path} is no netx file of CUBA layers: {type(error).__name__}: {error}; export it again"
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


def _check_writable(layer: LayerValues) -> None:
    """Refuse what a netx file does not say."""
    if layer.delay is not None:
        raise CompileError(
            limit="no delays: lava-dl's netx drops them without a word",
            value=f"axonal delays up to {float(layer.delay.max()):g} s",
            layer=layer.weights_at,
            fix="build Dense without delay, or deploy to loihi or lava, which have delays of 0..63 ticks",
        )
    if layer.blocks and [block.source for block in layer.blocks] != [layer.index - 1]:
        raise CompileError(
            limit="a row of layers, each driven by the one before",
            value=f"projections from {len(layer.blocks)} sources",
            layer=layer.weights_at,
            fix="build the network as a chain, or deploy to loihi or lava, which have graphs",
        )
    leak, reset, threshold = (layer.parameters[name] for name in ("v_leak", "v_reset", "v_th"))
    start = np.where(leak < threshold, leak, reset) if layer.v_init is None else layer.v_init
    if layer.blocks and (layer.filtered or not np.array_equal(start, reset)):
        raise CompileError(
            limit="currents and membranes that start at rest, at v_reset",
            value="a bias that passes the synapse"
            if layer.filtered
            else f"membranes that start at up to {np.abs(start).max():g}",
            layer=layer.neurons_at,
            fix="build the layer with v_init = v_reset and filtered_bias=False, or deploy to loihi or lava",
        )
