"""Tables of an experiment file that are one layer each: maps and populations with the parameters of the public classes.

Where a parameter is one value a unit, the file states one number, or a list of one for each unit. ``train`` names parameters
that are learnt beside the weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

import torch
from pydantic import BeforeValidator, Field, model_validator
from torch import Tensor, nn

from .errors import InputError
from .experiment_sections import Section
from .network import IF, LI, LIF, AvgPool2d, Conv2d, Delay, DeltaLIF, Dense, Flatten, Scale, Sparse, SumPool2d
from .network.linear_map import LinearMap, Shape
from .network.populations import Population

_MOST = 1_000_000


def _listed(value: Any) -> Any:
    return value if isinstance(value, list) else [value]


_Size = Annotated[int, Field(ge=1, le=_MOST)]
_Sides = Annotated[
    list[Annotated[int, Field(ge=1, le=1000)]], BeforeValidator(_listed), Field(min_length=1, max_length=2)
]
_Margins = Annotated[
    list[Annotated[int, Field(ge=0, le=1000)]], BeforeValidator(_listed), Field(min_length=1, max_length=2)
]
#: The shape of a population or an input: one number, or channels, height, width.
Sizes = Annotated[list[_Size], BeforeValidator(_listed), Field(min_length=1, max_length=3)]
_Number = Annotated[float, Field(ge=-1e6, le=1e6)]
_Numbers = Annotated[list[_Number], BeforeValidator(_listed), Field(min_length=1, max_length=_MOST)]
_Taus = Annotated[list[Annotated[float, Field(gt=0, le=100)]], BeforeValidator(_listed), Field(min_length=1)]
_Times = Annotated[list[Annotated[float, Field(ge=0, le=100)]], BeforeValidator(_listed), Field(min_length=1)]
_Std = Annotated[float, Field(ge=0, le=1e6)]
_Units = Annotated[list[Annotated[int, Field(ge=0, lt=_MOST)]], Field(min_length=1, max_length=_MOST)]


class Ends:
    """What a map is built for: the shape before it, the units wanted after it where it does not say, and random numbers."""

    def __init__(self, shape: Shape, wanted: int | None, generator: torch.Generator) -> None:
        self.shape, self.n, self.wanted, self.generator = shape, math.prod(shape), wanted, generator

    def after(self, n: int | None) -> int:
        """Units after a map that states ``n``; :class:`InputError` where nothing says how many."""
        found = n or self.wanted
        if found is None:
            raise InputError("n is missing; state the number of units after these weights")
        return found


class _Weights(Section):
    """Weights drawn from N(init_mean, init_std^2); without these by the layer's own rule."""

    bias: bool = False
    init_mean: _Number | None = None
    init_std: _Std | None = None

    @model_validator(mode="after")
    def _both_or_none(self) -> Self:
        if (self.init_mean is None) != (self.init_std is None):
            raise ValueError("init_mean and init_std go together; state both, or none for the layer's own")
        return self

    def _drawn(self, layer: Any, generator: torch.Generator) -> Any:
        if self.init_mean is not None and self.init_std is not None:
            layer.init_normal_(self.init_mean, self.init_std, generator)
        return layer


class DenseTable(_Weights):
    """``hl.Dense``; ``delay`` (s) of the inputs, or with ``delay_of = "synapses"`` row by row of every synapse."""

    kind: Literal["dense"]
    n: _Size | None = None
    delay: _Times | None = None
    delay_of: Literal["inputs", "synapses"] = "inputs"
    train: list[Literal["delay"]] = Field([])

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        n, delay = ends.after(self.n), None
        if self.delay is not None:
            shape = (ends.n,) if self.delay_of == "inputs" else (n, ends.n)
            delay = values("delay", self.delay, shape, "delay" in self.train, self.delay_of)
        return self._drawn(Dense(ends.n, n, delay=delay, bias=self.bias, generator=ends.generator), ends.generator)  # type: ignore[no-any-return]


class Conv2dTable(_Weights):
    """``hl.Conv2d``."""

    kind: Literal["conv2d"]
    channels: _Size
    kernel: _Sides
    stride: _Sides = Field([1])
    padding: _Margins = Field([0])
    dilation: _Sides = Field([1])
    groups: _Size = 1

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        if len(ends.shape) != 3:
            raise InputError(f"takes maps, channels x height x width; before it are {_text(ends.shape)} units")
        made = Conv2d(
            ends.shape[0], self.channels, _sides(self.kernel), stride=_sides(self.stride), padding=_sides(self.padding),
            dilation=_sides(self.dilation), groups=self.groups, bias=self.bias, generator=ends.generator,
        )  # fmt: skip
        return self._drawn(made, ends.generator)  # type: ignore[no-any-return]


class SumPool2dTable(Section):
    """``hl.SumPool2d``."""

    kind: Literal["sum_pool2d"]
    kernel: _Sides
    stride: _Sides | None = None
    padding: _Margins = Field([0])
    POOL: ClassVar[type[SumPool2d]] = SumPool2d

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        stride = None if self.stride is None else _sides(self.stride)
        return self.POOL(_sides(self.kernel), stride, _sides(self.padding))


class AvgPool2dTable(SumPool2dTable):
    """``hl.AvgPool2d``."""

    kind: Literal["avg_pool2d"]  # type: ignore[assignment]
    POOL: ClassVar[type[SumPool2d]] = AvgPool2d


class FlattenTable(Section):
    """``hl.Flatten``."""

    kind: Literal["flatten"]

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        return Flatten()


class ScaleTable(Section):
    """``hl.Scale``."""

    kind: Literal["scale"]
    factor: _Numbers
    train: list[Literal["factor"]] = Field([])

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        return Scale(ends.n, values("factor", self.factor, (ends.n,), bool(self.train)))


class DelayTable(Section):
    """``hl.Delay``: axonal before the weights, dendritic after them."""

    kind: Literal["delay"]
    delay: _Times
    train: list[Literal["delay"]] = Field([])

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        return Delay(ends.n, values("delay", self.delay, (ends.n,), bool(self.train)))


class SparseTable(Section):
    """``hl.Sparse``: synapses one by one, each with its weight (and delay, s)."""

    kind: Literal["sparse"]
    n: _Size | None = None
    sources: _Units
    targets: _Units
    weight: _Numbers
    delay: _Times | None = None
    bias: bool = False
    train: list[Literal["delay"]] = Field([])

    def build(self, ends: Ends) -> LinearMap:
        """The layer."""
        count = (len(self.sources),)
        weight = values("weight", self.weight, count, False, "synapses")
        delay = None if self.delay is None else values("delay", self.delay, count, bool(self.train), "synapses")
        return Sparse(ends.n, ends.after(self.n), self.sources, self.targets, weight, delay=delay, bias=self.bias)


class _Neurons(Section):
    """Base of the populations: the parameters of class ``MADE`` by the names of its arguments."""

    MADE: ClassVar[type[Population]]
    #: Whether it spikes.
    SPIKES: ClassVar[bool] = True

    def build(self, shape: Shape) -> Population:
        """The population of ``shape``."""
        given = self.model_dump(exclude_none=True, exclude={"kind", "train", "name", "n"})
        trained: Sequence[str] = getattr(self, "train", ())
        for name in trained:
            if name not in given:
                raise InputError(
                    f"train names {name}, which the table does not state; allowed: a parameter with a value"
                )
        made = {
            name: values(name, value, shape, name in trained) if isinstance(value, list) else value
            for name, value in given.items()
        }
        return self.MADE(shape if len(shape) == 3 else math.prod(shape), **made)


class _Spiking(_Neurons):
    v_th: _Numbers = Field([1.0])
    v_reset: _Numbers = Field([0.0])
    t_ref: _Times = Field([0.0])
    reset: Literal["value", "subtract"] = "value"
    max_spikes: _Size | None = None
    v_init: _Numbers | None = None


class LifTable(_Spiking):
    """``hl.LIF``."""

    MADE = LIF
    kind: Literal["lif"]
    tau_mem: _Taus
    tau_syn: _Taus
    v_leak: _Numbers = Field([0.0])
    filtered_bias: bool = False
    train: list[Literal["tau_mem", "tau_syn", "v_th", "v_leak", "v_reset", "t_ref", "v_init"]] = Field([])


class DeltaLifTable(_Spiking):
    """``hl.DeltaLIF``."""

    MADE = DeltaLIF
    kind: Literal["delta_lif"]
    tau_mem: _Taus
    v_leak: _Numbers = Field([0.0])
    train: list[Literal["tau_mem", "v_th", "v_leak", "v_reset", "t_ref", "v_init"]] = Field([])


class IfTable(_Spiking):
    """``hl.IF``."""

    MADE = IF
    kind: Literal["if"]
    train: list[Literal["v_th", "v_reset", "t_ref", "v_init"]] = Field([])


class LiTable(_Neurons):
    """``hl.LI``: a readout that does not spike."""

    MADE, SPIKES = LI, False
    kind: Literal["li"]
    tau_mem: _Taus
    tau_syn: _Taus | None = None
    v_leak: _Numbers = Field([0.0])
    v_init: _Numbers | None = None
    filtered_bias: bool = False
    train: list[Literal["tau_mem", "tau_syn", "v_leak", "v_init"]] = Field([])


_Maps: TypeAlias = (
    DenseTable | Conv2dTable | SumPool2dTable | AvgPool2dTable | FlattenTable | ScaleTable | DelayTable | SparseTable
)
MapTable = Annotated[_Maps, Field(discriminator="kind")]
LayerTable = Annotated[_Maps | LifTable | DeltaLifTable | IfTable | LiTable, Field(discriminator="kind")]


def values(
    name: str, given: Sequence[float], shape: Shape, trained: bool, of: str = "units"
) -> float | Tensor | nn.Parameter:
    """A parameter of units of ``shape``: a number, or a tensor of that shape (flat for maps); trained: a parameter.

    ``given`` has one value, one for each unit, or for maps one for each channel; raises :class:`InputError` otherwise.
    """
    n = math.prod(shape)
    channels = shape[0] if len(shape) == 3 else n
    if len(given) not in (1, n, channels):
        per_channel = f", {channels} (one a channel)" if channels != n else ""
        raise InputError(f"{name} has {len(given)} values; allowed: 1, or {n} (one for each of the {of}){per_channel}")
    if len(given) == 1 and not trained and len(shape) != 2:
        return float(given[0])
    tensor = torch.tensor([float(value) for value in given])
    tensor = tensor.expand(n) if len(given) == 1 else tensor.repeat_interleave(n // len(given))
    tensor = (tensor.reshape(shape) if len(shape) == 2 else tensor).clone()
    return nn.Parameter(tensor) if trained else tensor


def _sides(given: list[int]) -> tuple[int, int]:
    return given[0], given[-1]


def _text(shape: Shape) -> str:
    return " x ".join(map(str, shape))
