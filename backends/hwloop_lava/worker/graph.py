"""A graph of stock Lava processes from its description, and a run of it.

Source -> Dense -> LIF -> ..., every LIF with a sink beside it; a Dense may lead from any population to any, since it sends what
came a tick before: loops need nothing else. Copies of a network stand side by side in one graph:
the same LIF with more neurons, the weights block-diagonal in a Sparse. Dense and Sparse with one message bit compute
the same from spikes that are 0 or 1, and the Sparse does it in one product instead of a selection of columns (twice
as fast at 784-350-10, eight copies).

Every process is given its model by name: Lava would otherwise search for it by executing each .py file beside it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from . import lava
from .processes import MODELS
from .protocol import Message
from .recorder import FixedRecorder, FloatRecorder, shared_raster

Array = NDArray[Any]

#: Ticks between two signs of life.
SLICE = 32
#: Messages that a channel of Lava holds. Its default, 64, takes 16 times the shared memory, of which a container often has
#: 64 MB in all, and is no faster: every process waits for every other one in each tick.
CHANNEL = 4
#: What stands in a connection for the input.
INPUT = -1


@dataclass(frozen=True)
class Arithmetic:
    """Types and models of one arithmetic."""

    tag: str
    dtype: type
    source: type
    sink: type
    dense: type
    delay_dense: type
    sparse: type
    delay_sparse: type
    lif: type
    lif_reset: type


ARITHMETIC = {
    "fixed": Arithmetic(
        "fixed_pt", np.int32, lava.PySendModelFixed, FixedRecorder,
        lava.PyDenseModelBitAcc, lava.PyDelayDenseModelBitAcc,
        lava.PySparseModelBitAcc, lava.PyDelaySparseModelBitAcc,
        lava.PyLifModelBitAcc, lava.PyLifResetModelBitAcc,
    ),
    "float": Arithmetic(
        "floating_pt", np.float64, lava.PySendModelFloat, FloatRecorder,
        lava.PyDenseModelFloat, lava.PyDelayDenseModelFloat,
        lava.PySparseModelFloat, lava.PyDelaySparseModelFloat,
        lava.PyLifModelFloat, lava.PyLifResetModelFloat,
    ),
}  # fmt: skip


class Graph:
    """Processes of one run, connected, with a model for each.

    Parameters
    ----------
    fields : description, see :class:`hwloop_lava.request.Request`
    arrays : weights, delays, biases and input events of it
    """

    def __init__(self, fields: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        self.kind = ARITHMETIC[fields["arithmetic"]]
        self.arithmetic: str = fields["arithmetic"]
        self.ticks: int = fields["ticks"]
        self.copies: int = fields["copies"]
        self.models: dict[Any, type] = {}
        self.rasters: list[NDArray[np.int8]] = []
        self.source = self._add(lava.Source(data=self._input(fields["n_in"], arrays)), self.kind.source)
        self.populations = [self._population(i, given, arrays) for i, given in enumerate(fields["populations"])]
        for index, given in enumerate(fields["connections"]):
            self._connect(index, given, arrays)

    def _add(self, process: Any, model: type) -> Any:
        self.models[process] = model
        return process

    def _input(self, n_in: int, arrays: Mapping[str, Array]) -> Array:
        data: Array = np.zeros((n_in * self.copies, self.ticks), dtype=self.kind.dtype)
        # graded events have a size; they need connections that look at it
        data[arrays["input_units"], arrays["input_ticks"]] = arrays.get("input_sizes", 1)
        return data

    def _population(self, index: int, given: Mapping[str, Any], arrays: Mapping[str, Array]) -> Any:
        shape = (given["n"] * self.copies,)
        values = {name: given[name] for name in ("du", "dv", "vth")}
        for name, array in (("bias_mant", "bias"), ("bias_exp", "bias_exp"), ("v", "start"), ("u", "current")):
            if f"{array}{index}" in arrays:
                # one value a neuron, for all copies or for each
                values[name] = np.resize(arrays[f"{array}{index}"], shape)
        process = self._neurons(given, shape, values)
        raster = shared_raster(self.ticks, shape[0])
        sink = self._add(lava.Sink(shape=shape, buffer=1), self.kind.sink)
        sink.proc_params["raster"] = raster
        process.s_out.connect(sink.a_in)
        self.rasters.append(raster)
        return process

    def _neurons(self, given: Mapping[str, Any], shape: tuple[int], values: dict[str, Any]) -> Any:
        if given["model"] in MODELS:
            process, models = MODELS[given["model"]]
            return self._add(process(shape=shape, **given["options"], **values), models[self.arithmetic])
        if given.get("refractory", 0):
            options = {"refractory_period": given["refractory"], **values}
            return self._add(lava.LIFRefractory(shape=shape, **options), lava.PyLifRefractoryModelFloat)
        if given["reset"] is None:
            return self._add(lava.LIF(shape=shape, **values), self.kind.lif)
        interval, offset = given["reset"]
        return self._add(
            lava.LIFReset(shape=shape, reset_interval=interval, reset_offset=offset, **values), self.kind.lif_reset
        )

    def _connect(self, index: int, given: Mapping[str, Any], arrays: Mapping[str, Array]) -> None:
        weights: Array = arrays[f"weight{index}"].astype(self.kind.dtype)
        delays: Array | None = arrays[f"delay{index}"].astype(int) if f"delay{index}" in arrays else None
        options: dict[str, Any] = {"weight_exp": given["exponent"], "num_weight_bits": given.get("bits", 8)}
        # found out here, as Dense does: from a block-diagonal matrix Sparse sees zeros that Dense does not
        sign = given["sign"]
        options["sign_mode"] = lava.determine_sign_mode(weights) if sign is None else lava.SignMode[sign.upper()]
        dense = self.copies == 1 and not given.get("sparse")
        if dense and delays is None:
            graded = {"num_message_bits": 1} if given.get("graded") else {}
            process = self._add(lava.Dense(weights=weights, **options, **graded), self.kind.dense)
        elif delays is None:
            process = self._add(
                lava.Sparse(weights=self._blocks(weights), num_message_bits=1, **options), self.kind.sparse
            )
        elif dense:
            process = self._add(lava.DelayDense(weights=weights, delays=delays, **options), self.kind.delay_dense)
        else:
            delayed = {"weights": self._blocks(weights), "delays": self._blocks(delays)}
            process = self._add(lava.DelaySparse(**delayed, num_message_bits=1, **options), self.kind.delay_sparse)
        before = self.source if given["source"] == INPUT else self.populations[given["source"]]
        before.s_out.connect(process.s_in)
        process.a_out.connect(self.populations[given["target"]].a_in)

    def _blocks(self, matrix: Array) -> Any:
        return sparse.csr_matrix(sparse.kron(sparse.identity(self.copies, dtype=matrix.dtype), matrix, format="csr"))


def run(message: Message, watching: Callable[[], AbstractContextManager[None]], alive: Callable[[], None]) -> Message:
    """Build the graph of ``message``, run it, and answer with its spikes.

    ``watching()`` is a context in which the death of a process of the graph is an error; ``alive()`` is called every
    :data:`SLICE` ticks.
    """
    start = time.perf_counter()
    graph = Graph(message.fields, message.arrays)
    config = lava.Loihi2SimCfg(select_tag=graph.kind.tag, exception_proc_model_map=graph.models)
    try:
        with watching():
            graph.source.create_runtime(config, compile_config={"pypy_channel_size": CHANNEL})
            built = time.perf_counter()
            for done in range(0, graph.ticks, SLICE):
                graph.source.run(lava.RunSteps(num_steps=min(SLICE, graph.ticks - done)))
                alive()
            states = _states(graph) if message.fields["states"] else {}
            ran = time.perf_counter()
    finally:
        # without it an exception here leaves Lava's processes waiting for ever
        graph.source.stop()
    spikes: dict[str, Array] = {}
    for index, raster in enumerate(graph.rasters):
        ticks, units = np.nonzero(raster)
        spikes[f"ticks{index}"], spikes[f"units{index}"] = ticks.astype(np.int32), units.astype(np.int32)
        if (raster < 0).any():
            spikes[f"signs{index}"] = raster[ticks, units]
    return Message("ran", {"build_s": built - start, "run_s": ran - built}, {**spikes, **states})


def _states(graph: Graph) -> dict[str, Array]:
    """Final ``u`` and ``v`` of every population; read value by value, for small networks."""
    found: dict[str, Array] = {}
    for index, process in enumerate(graph.populations):
        found[f"u{index}"] = np.asarray(process.u.get(), dtype=np.float64)
        found[f"v{index}"] = np.asarray(process.v.get(), dtype=np.float64)
    return found
