"""Graphs of Loihi-style layers: what the emulator and a graph of stock lava-nc processes both run, nothing left open.

    Source --> Dense --> LIF --> Dense --> LIF --> Sink        (one FixedLayer or FloatLayer is one Dense and its LIF,
                          ^  \\                                  and where ``recurrent`` is given a Dense from the
                          |   Dense                              population to itself)
                          +---+

Ticks of a fixed-point layer (lava-nc 0.10.0, tag ``fixed_pt``; Davies et al., IEEE Micro 38, 2018, for the arithmetic).
Tick ``n`` counts from 0; Lava's ``time_step`` is ``n + 1``; columns of the source's and the sink's data are ticks. All
state is 0 before tick 0. Integers are 32 bit; ``>>`` is the arithmetic shift (toward minus infinity), ``sgn`` the sign.

1. *Weights.* Dense clips and truncates what it was given, once, without a word (:meth:`Synapses.effective`): mixed sign to
   even numbers -256..254, one sign to 0..255 or -255..0, coarser where ``weight_bits < 8``.
2. *Accumulate.* ``c[n] = sum_j W[:, j] s_j[n]``, several spikes of one unit in one tick count once; then
   ``a[n] = c[n] << exponent`` (``c[n] >> -exponent`` where negative). A delayed Dense does so for each delay ``d`` by
   itself and adds the result to what it will send ``d`` ticks later.
3. *Send.* What is accumulated at tick ``n`` arrives at the LIF at tick ``n + 1 + d``: each Dense adds one tick; source, LIF
   and sink add none. A recurrent Dense likewise: a spike of tick ``n`` acts at ``n + 1``; its sum is added to the other.
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
from typing import Any, Literal, Self, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hwloop.arguments import whole
from hwloop.errors import InputError

Array: TypeAlias = NDArray[Any]
#: ``"auto"``: Lava finds out; ``"mixed"`` keeps the resolution fixed while weights change sign.
SignMode: TypeAlias = Literal["auto", "mixed", "excitatory", "inhibitory"]

#: Width of state, weights, threshold; largest DelayDense delay (ticks). Lava's simulation enforces only the last.
STATE_BITS, WEIGHT_BITS, THRESHOLD_BITS, DECAY_BITS, MAX_DELAY = 24, 8, 17, 12, 63
#: Bits by which synaptic input and threshold are shifted up against the state.
STATE_SHIFT = 6
MAX_STATE = 2 ** (STATE_BITS - 1)
DECAY_UNITY = 2**DECAY_BITS
MAX_THRESHOLD = 2**THRESHOLD_BITS - 1
EXPONENTS = (-8, 7)
BIAS_MANTISSA = (-4096, 4095)
BIAS_EXPONENT = (0, 7)


@dataclass(frozen=True, eq=False)
class Synapses:
    """One fixed-point Dense, or DelayDense where ``delay`` is given.

    Attributes
    ----------
    weight : ``[n_out, n_in]`` int32
        Mantissas as declared to Lava, before it clips and truncates.
    exponent : int, -8..7
        Lava's ``weight_exp``.
    sign_mode : "auto" | "mixed" | "excitatory" | "inhibitory"
    weight_bits : int, 1..8
        Lava's ``num_weight_bits``.
    delay : ``[n_out, n_in]`` int32 (ticks), 0..63, or None

    Raises :class:`InputError` where a value is outside these bounds.
    """

    weight: Array
    exponent: int = 0
    sign_mode: SignMode = "auto"
    weight_bits: int = WEIGHT_BITS
    delay: Array | None = None

    def __post_init__(self) -> None:
        _whole("weight", self.weight, 2, (-(2**31), 2**31 - 1))
        object.__setattr__(self, "weight", np.ascontiguousarray(self.weight, np.int32))
        object.__setattr__(self, "exponent", whole("exponent", self.exponent, *EXPONENTS))
        object.__setattr__(self, "weight_bits", whole("weight_bits", self.weight_bits, 1, WEIGHT_BITS))
        if self.sign_mode not in get_args(SignMode):
            raise InputError(f"sign_mode = {self.sign_mode!r}; allowed: {', '.join(get_args(SignMode))}")
        if self.delay is not None:
            object.__setattr__(self, "delay", _delays(self.delay, self.weight.shape))

    def effective(self) -> Array:
        """The weights ``[n_out, n_in]`` int32 that Dense computes with, after its clipping and truncation."""
        mode = self.sign_mode if self.sign_mode != "auto" else _sign_mode(self.weight)
        sign = -1 if mode == "inhibitory" else 1
        mixed = mode == "mixed"
        top = 2**WEIGHT_BITS
        # int64: the negative of the smallest int32 does not exist
        clipped = np.clip(sign * self.weight.astype(np.int64), -top if mixed else 0, top - 1)
        dropped = WEIGHT_BITS - self.weight_bits + mixed
        result: Array = (sign * ((clipped >> dropped) << dropped)).astype(np.int32)
        return result


@dataclass(frozen=True, eq=False)
class FixedLayer:
    """One fixed-point Dense and the LIF population that it drives.

    Attributes
    ----------
    synapses : Synapses, ``[n, n_in]``
    du, dv : int, 0..4095
        Decays of current and membrane, one for the population: factors ``(4096 - (du + 1)) / 4096`` and
        ``(4096 - dv) / 4096``.
    vth : int, 0..131071
    bias_mant, bias_exp : ``[n]`` int32, -4096..4095 and 0..7; default 0
    recurrent : Synapses, ``[n, n]``, or None

    Raises :class:`InputError` where a value is outside its declared width: Lava's simulation does not check.
    """

    synapses: Synapses
    du: int
    dv: int
    vth: int
    bias_mant: Array | None = None
    bias_exp: Array | None = None
    recurrent: Synapses | None = None

    def __post_init__(self) -> None:
        for name, high in (("du", DECAY_UNITY - 1), ("dv", DECAY_UNITY - 1), ("vth", MAX_THRESHOLD)):
            object.__setattr__(self, name, whole(name, getattr(self, name), 0, high))
        for name, allowed in (("bias_mant", BIAS_MANTISSA), ("bias_exp", BIAS_EXPONENT)):
            value = getattr(self, name)
            value = np.zeros(self.n, np.int32) if value is None else value
            _whole(name, value, 1, allowed)
            _shaped(name, value, (self.n,))
            object.__setattr__(self, name, np.ascontiguousarray(value, np.int32))
        if self.recurrent is not None:
            _shaped("recurrent.weight", self.recurrent.weight, (self.n, self.n))

    @property
    def bias(self) -> Array:
        """What is added to the membrane each tick, ``[n]`` int32."""
        if self.bias_mant is None or self.bias_exp is None:
            return np.zeros(self.n, np.int32)
        shifted: Array = self.bias_mant << self.bias_exp
        return shifted

    @property
    def n(self) -> int:
        """Neurons."""
        return int(self.synapses.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Input units."""
        return int(self.synapses.weight.shape[1])


@dataclass(frozen=True, eq=False)
class FloatLayer:
    """One floating-point Dense and the LIF population that it drives; sizes as in :class:`FixedLayer`.

    Attributes
    ----------
    weight : ``[n, n_in]`` float64
    du, dv : float, 0..1
        Decays; factors ``1 - du`` and ``1 - dv``.
    vth : float
    bias : ``[n]`` float64, default 0
    delay : ``[n, n_in]`` int32 (ticks), 0..63, or None
    recurrent : ``[n, n]`` float64, or None
    refractory : int (ticks), >= 0
        0 is process ``LIF``; more is ``LIFRefractory``.
    """

    weight: Array
    du: float
    dv: float
    vth: float
    bias: Array | None = None
    delay: Array | None = None
    recurrent: Array | None = None
    refractory: int = 0

    def __post_init__(self) -> None:
        bias = np.zeros(self.n) if self.bias is None else self.bias
        for name, value, ndim in (("weight", self.weight, 2), ("bias", bias, 1), ("recurrent", self.recurrent, 2)):
            if value is not None:
                _finite(name, value, ndim)
                object.__setattr__(self, name, np.ascontiguousarray(value, np.float64))
        _shaped("bias", bias, (self.n,))
        for name in ("du", "dv"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} = {getattr(self, name)}; allowed: 0..1")
        if not math.isfinite(self.vth):
            raise InputError(f"vth = {self.vth}; allowed: finite")
        if self.delay is not None:
            object.__setattr__(self, "delay", _delays(self.delay, self.weight.shape))
        if self.recurrent is not None:
            _shaped("recurrent", self.recurrent, (self.n, self.n))
        object.__setattr__(self, "refractory", whole("refractory", self.refractory, 0, 2**31 - 1))

    @property
    def n(self) -> int:
        """Neurons."""
        return int(self.weight.shape[0])

    @property
    def n_in(self) -> int:
        """Input units."""
        return int(self.weight.shape[1])


@dataclass(frozen=True, eq=False)
class _Graph:
    """What both graphs have: layers in a row, and the step ``dt`` (s) of one tick."""

    layers: tuple[Any, ...]
    dt: float

    def __post_init__(self) -> None:
        if not self.layers:
            raise InputError("a graph of no layers; give at least one")
        if not (math.isfinite(self.dt) and self.dt > 0):
            raise InputError(f"dt = {self.dt} s; allowed: finite and > 0")
        for k in range(1, len(self.layers)):
            if self.layers[k].n_in != self.layers[k - 1].n:
                raise InputError(
                    f"layer {k} takes {self.layers[k].n_in} inputs; the layer before has {self.layers[k - 1].n} neurons"
                )

    @property
    def n_in(self) -> int:
        """Input units."""
        return int(self.layers[0].n_in)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Neurons of each layer."""
        return tuple(layer.n for layer in self.layers)

    def n_ticks(self, t_stop: float) -> int:
        """Ticks to run for a window ``0..t_stop`` (s): the last spike that decodes to a time within it is seen.

        Spike index i of layer ``l`` (from 1) stands for ``i dt - l dt / 2``.
        """
        # a thousandth of a tick: t_stop that is a multiple of dt must not lose its tick by rounding
        return math.floor(t_stop / self.dt + len(self.layers) / 2 + 1e-3) + 1

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
    """A feed-forward row of fixed-point layers, recurrent within a layer where it says so; ticks as in the module."""

    layers: tuple[FixedLayer, ...]


@dataclass(frozen=True, eq=False)
class FloatGraph(_Graph):
    """The same in floating point."""

    layers: tuple[FloatLayer, ...]


# -- parts ----------------------------------------------------------------------------------------


def _plain(value: Any, name: str, arrays: dict[str, Array]) -> dict[str, Any]:
    """Fields of a dataclass as JSON values; arrays go into ``arrays`` and leave ``{"array": name}`` behind."""
    result: dict[str, Any] = {}
    for field in fields(value):
        part, path = getattr(value, field.name), f"{name}.{field.name}"
        if isinstance(part, np.ndarray):
            arrays[path] = part
            part = {"array": path}
        elif isinstance(part, Synapses):
            part = _plain(part, path, arrays)
        result[field.name] = part
    return result


def _build(kind: type[Any], entry: dict[str, Any], arrays: dict[str, Array]) -> Any:
    values: dict[str, Any] = {}
    for name, part in entry.items():
        if isinstance(part, dict):
            values[name] = arrays[part["array"]] if set(part) == {"array"} else _build(Synapses, part, arrays)
        else:
            values[name] = part
    return kind(**values)


# -- checks ---------------------------------------------------------------------------------------


def _sign_mode(weight: Array) -> SignMode:
    """What Lava makes of a matrix: one sign if no entry has the other; zeros alone count as excitatory."""
    if int(weight.min()) >= 0:
        return "excitatory"
    return "inhibitory" if int(weight.max()) <= 0 else "mixed"


def _whole(name: str, value: Array, ndim: int, allowed: tuple[int, int]) -> None:
    _ranked(name, value, ndim)
    if value.dtype.kind not in "iu":
        raise InputError(f"{name} has dtype {value.dtype}; allowed: whole numbers")
    low, high = int(value.min()), int(value.max())
    if low < allowed[0] or high > allowed[1]:
        raise InputError(f"{name} spans {low}..{high}; allowed: {allowed[0]}..{allowed[1]}")


def _finite(name: str, value: Array, ndim: int) -> None:
    _ranked(name, value, ndim)
    if not np.isfinite(value).all():
        raise InputError(f"{name} holds values that are not finite; allowed: finite")


def _ranked(name: str, value: Array, ndim: int) -> None:
    if not isinstance(value, np.ndarray) or value.ndim != ndim or value.size == 0:
        found = value.shape if isinstance(value, np.ndarray) else type(value).__name__
        raise InputError(f"{name} is {found}; expected an array of {ndim} dimensions, not empty")


def _shaped(name: str, value: Array, shape: tuple[int, ...]) -> None:
    if value.shape != shape:
        raise InputError(f"{name} has shape {value.shape}; expected {shape}")


def _delays(delay: Array, shape: tuple[int, ...]) -> Array:
    _whole("delay (ticks)", delay, 2, (0, MAX_DELAY))
    _shaped("delay", delay, shape)
    return np.ascontiguousarray(delay, np.int32)
