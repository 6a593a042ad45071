"""Program: a compiled network, that is device codes, placement, scales, and a digest over all of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..described import Described
from ..errors import InputError
from ..neurons import PARAMETERS
from .capabilities import Capabilities
from .constraints import Block
from .quantise import Array
from .report import LayerUse, ResourceReport

if TYPE_CHECKING:
    from ..network import Network


@dataclass(frozen=True, eq=False)
class LayerProgram:
    """One synapse matrix and the neurons it drives.

    Attributes
    ----------
    codes : ``[n_out, n_in]``
        Weight codes, integers; real numbers on a target without weight resolution.
    scale : float
        Model weight of 1 LSB, without :attr:`gain` (:meth:`lsb` has both); 1 on a target without weight resolution.
    neurons : ``[n_out]`` int64
        Physical neuron of each logical one.
    parameters : dict of ``[n_out]``
        Neuron parameters asked for, model units (s).
    delay : ``[n_in]`` (s) or None
    saturated, zeroed : int
        Weights beyond the code range; non-zero weights that became code 0.
    rounding_rms : float
        RMS rounding error of the weights that did not saturate (LSB).
    gain : ``[n_out]`` or None
        Factor of the codes of each neuron, where a target folds neuron parameters into the weights; None: 1.
    blocks, synapses, bias, filtered, v_init, kind, name
        As of :class:`~hwloop.mapping.LayerValues`: what a graph has beside a chain.
    """

    codes: Array
    scale: float
    max_code: int | None
    neurons: Array
    parameters: dict[str, Array]
    reset: str = "value"
    max_spikes: int | None = None
    delay: Array | None = None
    saturated: int = 0
    zeroed: int = 0
    rounding_rms: float = 0.0
    dtype: str = "float64"
    gain: Array | None = None
    blocks: tuple[Block, ...] = ()
    synapses: Array | None = None
    bias: Array | None = None
    filtered: bool = False
    v_init: Array | None = None
    kind: str = "LIF"
    name: str = ""

    @property
    def n_synapses(self) -> int:
        """Synapses of the layer."""
        return int(self.codes.size if self.synapses is None else np.count_nonzero(self.synapses))

    @property
    def fan_in(self) -> int:
        """Synapses of the neuron that has most."""
        return int(self.n_in if self.synapses is None else self.synapses.sum(1).max(initial=0))

    @property
    def n_out(self) -> int:
        """Neurons of the layer."""
        return int(self.codes.shape[0])

    @property
    def n_in(self) -> int:
        """Inputs of each neuron."""
        return int(self.codes.shape[1])

    def weight(self) -> Array:
        """Model weights ``[n_out, n_in]`` that the codes stand for, in the model's dtype."""
        if self.max_code is None:
            return self.codes
        return (self.codes * self.lsb()).astype(self.dtype)

    def largest_weight(self) -> Array | float:
        """Largest model weight that does not saturate, for all neurons or ``[n_out, 1]``; infinite without resolution."""
        return float("inf") if self.max_code is None else self.lsb() * (self.max_code + 0.5)

    def lsb(self) -> Array | float:
        """Model weight of 1 LSB, for all neurons or ``[n_out, 1]``: :attr:`scale` with the neurons' own :attr:`gain`."""
        return self.scale if self.gain is None else self.scale * self.gain[:, None]


@dataclass(frozen=True, eq=False, repr=False)
class Program(Described):
    """What a device loads; every :class:`~hwloop.record.Recording` names its digest.

    Attributes
    ----------
    capabilities : Capabilities
        Of the target it was compiled for.
    layers : tuple of LayerProgram
    membrane_scale : float
        Device potential of one model unit.
    notes : tuple of str
        What the device does otherwise than asked.
    warnings : tuple of str
        What compiling lost, with the remedy; not looked for where another program's scales were reused.
    inputs : tuple of (name, units)
        Of a graph, in the order in which their units are numbered; empty in a chain.
    """

    capabilities: Capabilities
    layers: tuple[LayerProgram, ...]
    membrane_scale: float = 1.0
    notes: tuple[str, ...] = field(default=())
    warnings: tuple[str, ...] = field(default=())
    inputs: tuple[tuple[str, int], ...] = field(default=())

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the populations; their numbers in a chain."""
        return tuple(layer.name or str(index) for index, layer in enumerate(self.layers))

    @property
    def target(self) -> str:
        """Name of the target it was compiled for."""
        return self.capabilities.name

    @property
    def time_scale(self) -> float:
        """Device seconds of one model second."""
        return self.capabilities.time_scale

    @property
    def is_graph(self) -> bool:
        """Whether its layers say what drives them; in a chain it is the layer before."""
        return any(layer.blocks for layer in self.layers)

    @property
    def n_in(self) -> int:
        """Input channels."""
        ends = [block.start + block.size for layer in self.layers for block in layer.blocks if block.source < 0]
        return max(ends) if ends else self.layers[0].n_in

    @property
    def n_out(self) -> int:
        """Neurons of the last layer."""
        return self.layers[-1].n_out

    @property
    def scales(self) -> tuple[float, ...]:
        """Model weight of 1 LSB, one a layer."""
        return tuple(layer.scale for layer in self.layers)

    def weights(self) -> tuple[Array, ...]:
        """Model weights ``[n_out, n_in]`` that the codes stand for, one array a layer."""
        return tuple(layer.weight() for layer in self.layers)

    def with_weights(self, net: Network) -> Program:
        """The same placement and scales with ``net``'s present weights and parameters.

        Meant for loops: thousands of calls, array operations only. Raises as compiling does.
        """
        # here, since the compiler builds Programs: at module level the two imports would form a ring
        from .compiler import compile_network

        return compile_network(net, self.capabilities, like=self)

    def placed(self, neurons: Sequence[Array]) -> Program:
        """The same on other physical neurons, ``[n_out]`` a layer.

        Raises :class:`InputError` where one does not exist, stands twice, or their number is not that of the layer.
        """
        chosen = [np.asarray(part) for part in neurons]
        sizes, found = [layer.n_out for layer in self.layers], [part.shape for part in chosen]
        if found != [(size,) for size in sizes] or not all(np.issubdtype(part.dtype, np.integer) for part in chosen):
            raise InputError(f"neurons of shapes {found}; allowed: whole numbers, {sizes} of them, one array a layer")
        whole, limit = np.concatenate(chosen), self.capabilities.n_neurons
        if whole.min() < 0 or whole.max() >= limit or len(np.unique(whole)) != len(whole):
            raise InputError(f"neurons {whole.min()}..{whole.max()}; allowed: different ones of 0..{limit - 1}")
        pairs = zip(self.layers, chosen, strict=True)
        return replace(self, layers=tuple(replace(layer, neurons=part.astype(np.int64)) for layer, part in pairs))

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over limits, codes, placement, scales and parameters, in canonical form."""
        result = hashlib.sha256(b"hwloop-program-1\0")
        limits = self.capabilities.graph_digest if self.is_graph else self.capabilities.digest
        header = {"target": self.target, "limits": limits, "membrane": self.membrane_scale.hex()}
        result.update(json.dumps(header, sort_keys=True).encode())
        for layer in self.layers:
            _update(result, layer)
        result.update(self._content())
        return result.hexdigest()

    @cached_property
    def layer_digests(self) -> tuple[str, ...]:
        """SHA-256 (hexadecimal) of each layer: which of them differ between two programs."""
        found = []
        for layer in self.layers:
            digest = hashlib.sha256()
            _update(digest, layer)
            found.append(digest.hexdigest())
        return tuple(found)

    def _content(self) -> bytes:
        """What else the digest covers, where a target's programs hold more."""
        return b""

    def _facts(self) -> dict[str, Any]:
        neurons = " -> ".join(str(layer.n_out) for layer in self.layers)
        bits = self.capabilities.weight_bits
        return {
            "target": self.target, "neurons": neurons, "synapses": sum(layer.n_synapses for layer in self.layers),
            "weights": "real" if bits is None else f"{bits} bit", "warnings": len(self.warnings), "digest": self.digest[:12],
        }  # fmt: skip

    def report(self) -> ResourceReport:
        """Resources used and available, and what rounding did; prints as a table, ``to_dict()`` for JSON."""
        return ResourceReport(**self._resources())

    def _resources(self) -> dict[str, Any]:
        """Fields of a :class:`ResourceReport`."""
        limits = self.capabilities
        rows = tuple(
            LayerUse(
                population=index,
                name=layer.name,
                neurons=layer.n_out,
                fan_in=layer.fan_in,
                fan_in_headroom=limits.fan_in - layer.fan_in,
                synapses=layer.n_synapses,
                saturated=layer.saturated,
                zeroed=layer.zeroed,
                rounding_rms_lsb=layer.rounding_rms,
                weight_bits_used=_bits_used(layer),
                weight_of_1_lsb=layer.scale,
            )
            for index, layer in enumerate(self.layers)
        )
        return {
            "target": self.target,
            "digest": self.digest,
            "neurons_available": limits.n_neurons,
            "fan_in_available": limits.fan_in,
            "weight_bits": limits.weight_bits,
            "layers": rows,
            "notes": self.notes,
            "warnings": self.warnings,
        }


def _bits_used(layer: LayerProgram) -> int | None:
    if layer.max_code is None:
        return None
    top = int(np.abs(layer.codes).max())
    return top.bit_length() + 1 if top else 0


def _update(digest: hashlib._Hash, layer: LayerProgram) -> None:
    header = [layer.scale.hex(), layer.max_code, layer.reset, layer.max_spikes, layer.dtype]
    digest.update(json.dumps(header).encode())
    arrays = [layer.codes, layer.neurons, *(layer.parameters[name] for name in PARAMETERS)]
    arrays += [array for array in (layer.delay, layer.gain) if array is not None]
    if layer.blocks:
        graph = [[block.source, block.start, block.size] for block in layer.blocks]
        digest.update(json.dumps([graph, layer.kind, layer.name, layer.filtered]).encode())
        for name in ("synapses", "bias", "v_init"):
            array = getattr(layer, name)
            digest.update(name.encode() if array is not None else b"-")
            arrays += [] if array is None else [array]
    for array in arrays:
        canonical = np.ascontiguousarray(array)
        canonical = canonical.astype(canonical.dtype.newbyteorder("<"), copy=False)
        digest.update(f"{canonical.dtype.str}{canonical.shape}".encode())
        digest.update(canonical.tobytes())
