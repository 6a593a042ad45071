"""Graphs of Loihi-style layers: what the emulator and a graph of stock lava-nc processes both run, nothing left open.

    Source --> Dense --> LIF --> Dense --> LIF --> Sink

One :class:`FixedLayer` or :class:`FloatLayer` is one LIF and what drives it: a Dense from the layer before, or with ``blocks`` one
from each of several layers, before it or after; with ``recurrent`` also one from itself.

Ticks of a fixed-point layer (lava-nc 0.10.0, tag ``fixed_pt``; Davies et al., IEEE Micro 38, 2018, for the arithmetic).
Tick ``n`` counts from 0; Lava's ``time_step`` is ``n + 1``; columns of the source's and the sink's data are ticks. All
state is 0 before tick 0, or ``u_start`` and ``v_start``. Integers are 32 bit; ``>>`` is the arithmetic shift (toward minus
infinity), ``sgn`` the sign.

1. *Weights.* Dense clips and truncates what it was given, once, without a word (:meth:`Synapses.effective`): mixed sign to
   even numbers -256..254, one sign to 0..255 or -255..0, coarser where ``weight_bits < 8``.
2. *Accumulate.* ``c[n] = sum_j W[:, j] s_j[n]``, several spikes of one unit in one tick count once; then
   ``a[n] = c[n] << exponent`` (``c[n] >> -exponent`` where negative). A delayed Dense does so for each delay ``d`` by
   itself and adds the result to what it will send ``d`` ticks later.
3. *Send.* What is accumulated at tick ``n`` arrives at the LIF at tick ``n + 1 + d``: each Dense adds one tick; source, LIF
   and sink add none. So does a Dense to a layer before, or to the same one: a spike of tick ``n`` acts at ``n + 1`` at the
   earliest. The sums of several are added.
4. *Current.* ``u = sgn(u) ((|u| (4096 - (du + 1))) >> 12) + (a << 6)``; if ``u > 2^23``: ``u -= 2^24``; if then
   ``u <= -2^23``: ``u`` is the unwrapped value plus ``2^24`` (once, so a huge sum stays outside).
5. *Membrane.* ``v = sgn(v) ((|v| (4096 - dv)) >> 12) + u + (bias_mant << bias_exp)``, clipped to +-(2^23 - 1).
6. *Spike* where ``v > vth << 6`` (strictly); then ``v = 0``; ``u`` is kept. The spike belongs to tick ``n``.

A floating-point layer (tag ``floating_pt``) is the same without 1, shifts, wrap and clip: ``u = (1 - du) u + a``, ``v = (1 -
dv) v + u + bias``, spike where ``v > vth``; with ``refractory = r > 0`` (process ``LIFRefractory``) ``v`` stays as it is for the
``r`` ticks after a spike.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np

from hwloop.errors import InputError

from .layers import Block as Block
from .layers import FixedLayer as FixedLayer
from .layers import FloatLayer as FloatLayer
from .registers import Array
from .synapses import SignMode as SignMode
from .synapses import Synapses as Synapses

#: Fields that came later: where they are not given, digests of graphs stay what they were.
LATER = ("blocks", "late", "u_start", "v_start")


@dataclass(frozen=True, eq=False)
class _Graph:
    """What both graphs have: layers, and the step ``dt`` (s) of one tick."""

    layers: tuple[Any, ...]
    dt: float

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a graph of no layers; give at least one")
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt = {self.dt} s; allowed: finite and > 0")
        for k, layer in enumerate(self.layers):
            _check_ends(k, layer, self.layers)
        if all(block.source >= 0 for k in range(len(self.layers)) for block in self.sources(k)):
            raise InputError("no layer takes the input (source -1); give one a block from it")

    def sources(self, index: int) -> tuple[Block, ...]:
        """Where the columns of layer ``index`` come from."""
        layer = self.layers[index]
        return layer.blocks or (Block(index - 1, 0, layer.n_in),)

    @property
    def n_in(self) -> int:
        """Input units."""
        blocks = (block for k in range(len(self.layers)) for block in self.sources(k))
        return max(block.start + block.size for block in blocks if block.source < 0)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(layer.n for layer in self.layers)

    @property
    def late(self) -> tuple[float, ...]:
        """Ticks by which spikes of each layer are seen after the time that they stand for, on average."""
        return tuple(0.5 * k if layer.late is None else layer.late for k, layer in enumerate(self.layers, start=1))

    def n_ticks(self, t_stop: float) -> int:
        """Ticks to run for a window ``0..t_stop`` (s): the last spike that decodes to a time within it is seen."""
        # a thousandth of a tick: t_stop that is a multiple of dt must not lose its tick by rounding
        return math.floor(t_stop / self.dt + max(self.late) + 1e-3) + 1

    def to_parts(self) -> tuple[dict[str, Any], dict[str, Array]]:
        """Plain JSON values and, by name, the arrays: all there is, for a file or a pipe. :meth:`from_parts` reads them."""
        arrays: dict[str, Array] = {}
        layers = [_plain(layer, f"layers.{k}", arrays) for k, layer in enumerate(self.layers)]
        return {"kind": type(self).__name__, "dt": self.dt, "layers": layers}, arrays

    @classmethod
    def from_parts(cls, document: dict[str, Any], arrays: dict[str, Array]) -> Self:
        """The graph that :meth:`to_parts` was called on, checked anew.

        Raises :class:`InputError` where parts are missing, unknown or out of bounds.
        """
        if document.get("kind") != cls.__name__:
            raise InputError(f"kind {document.get('kind')!r}; expected {cls.__name__!r}")
        layer = FixedLayer if cls is FixedGraph else FloatLayer
        try:
            return cls(tuple(_build(layer, entry, arrays) for entry in document["layers"]), float(document["dt"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"parts of a {cls.__name__} do not fit: {type(error).__name__}: {error}") from error

    @property
    def digest(self) -> str:
        """SHA-256 (hexadecimal) over all of it."""
        document, arrays = self.to_parts()
        result = hashlib.sha256(json.dumps(document, sort_keys=True).encode())
        for name, array in sorted(arrays.items()):
            little = array.astype(array.dtype.newbyteorder("<"), copy=False)
            result.update(f"{name}{little.dtype.str}{little.shape}".encode() + little.tobytes())
        return result.hexdigest()


@dataclass(frozen=True, eq=False)
class FixedGraph(_Graph):
    """Fixed-point ``layers``, in a row or driven by any of each other, at ticks of ``dt`` (s), which count as in the module."""

    layers: tuple[FixedLayer, ...]


@dataclass(frozen=True, eq=False)
class FloatGraph(_Graph):
    """The same ``layers`` in floating point, at ticks of ``dt`` (s)."""

    layers: tuple[FloatLayer, ...]


def _check_ends(index: int, layer: Any, layers: tuple[Any, ...]) -> None:
    """Refuse units that a layer takes and that are not there."""
    if not layer.blocks and index and layer.n_in != layers[index - 1].n:
        raise InputError(f"layer {index} takes {layer.n_in} inputs; the layer before has {layers[index - 1].n} neurons")
    for block in layer.blocks:
        n = math.inf if block.source < 0 else layers[block.source].n if block.source < len(layers) else 0
        if block.start + block.size > n:
            raise InputError(
                f"layer {index} takes units {block.start}..{block.start + block.size - 1} of layer {block.source}; it has {n}"
            )


# -- parts ----------------------------------------------------------------------------------------


def _plain(value: Any, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
    """Fields of a dataclass as JSON values; arrays go into ``arrays`` and leave ``{"array": name}`` behind."""
    result: dict[str, Any] = {}
    for field in fields(value):
        if field.name in LATER and _is_default(getattr(value, field.name), field.default):
            continue
        part, path = getattr(value, field.name), f"{name}.{field.name}"
        if isinstance(part, np.ndarray):
            arrays[path] = part
            part = {"array": path}
        elif isinstance(part, Synapses):
            part = _plain(part, path, arrays)
        elif field.name == "blocks":
            part = [list(block) for block in part]
        result[field.name] = part
    return result


def _is_default(part: Any, default: Any) -> bool:
    return part is None or (isinstance(part, tuple) and part == default)


def _build(kind: type[Any], entry: dict[str, Any], arrays: dict[str, Array]) -> Any:
    values: dict[str, Any] = {}
    for name, part in entry.items():
        if isinstance(part, dict):
            values[name] = arrays[part["array"]] if set(part) == {"array"} else _build(Synapses, part, arrays)
        else:
            values[name] = part
    return kind(**values)
