"""Populations beside :class:`~hwloop.network.LIF`: inputs, neurons with delta synapses, integrators, readouts.

DeltaLIF   tau_mem u' = -(u - v_leak - bias)          an input spike of weight w -> u += w
IF         u' = bias                                  an input spike of weight w -> u += w
LI         tau_mem u' = -(u - v_leak - bias) + i      tau_syn i' = -i ;  i += w     no spikes
           tau_mem u' = -(u - v_leak - bias)          u += w, where tau_syn is None
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import floats, shown, whole
from ..errors import InputError
from ..neurons import ParameterValue, ResetKind, as_parameter, check_reset
from .linear_map import Shape, as_shape, size_of


class Population(nn.Module):
    """Base: units with a shape, and parameters of one value each."""

    shape: Shape
    n: int
    #: Whether its units spike.
    spikes = True

    def place(self, n: Any, name: str) -> None:
        """Take the shape, of a whole number or ``(channels, height, width)``."""
        self.shape = as_shape(f"{name}: n", n)
        self.n = size_of(self.shape)

    def hold(self, kind: str, values: Mapping[str, ParameterValue | None]) -> None:
        """Parameters ``[n]`` by name: trained where given as an ``nn.Parameter``, buffers otherwise; None stays None."""
        for name, value in values.items():
            if value is None:
                setattr(self, name, None)
                continue
            tensor = of_units(f"{kind}: {name}", value, self.shape)
            if isinstance(tensor, nn.Parameter):
                self.register_parameter(name, tensor)
            elif tensor.requires_grad:
                raise InputError(
                    f"{kind}: {name} requires grad, but is no parameter of the layer; allowed: an nn.Parameter of shape "
                    f"({self.n},), which is trained, or value.detach()"
                )
            else:
                self.register_buffer(name, tensor.clone())


class SpikingPopulation(Population, ABC):
    """Base of the neurons that spike."""

    v_th: Tensor
    v_leak: Tensor
    v_reset: Tensor
    t_ref: Tensor
    v_init: Tensor | None
    reset: ResetKind
    max_spikes: int | None
    #: Whether a bias of the weights before it passes the synapse.
    filtered_bias = False

    @abstractmethod
    def check(self, where: str) -> None:
        """Refuse parameters that left their bounds; :class:`InputError` naming ``where``, neuron and value."""

    @abstractmethod
    def acting_parameters(self) -> dict[str, Tensor]:
        """The six parameters that the neurons act with, each ``[n]``; 1 s stands for a time constant that they do not have."""


class Input(Population):
    """``n`` units that are driven from outside: ``Input(5)``, or of a shape ``Input((2, 34, 34))``."""

    def __init__(self, n: int | tuple[int, ...]) -> None:
        super().__init__()
        self.place(n, "Input")

    def extra_repr(self) -> str:
        return str(self.shape if len(self.shape) > 1 else self.n)


class DeltaLIF(SpikingPopulation):
    """Leaky neurons without synaptic current: an input spike moves the membrane itself.

    A spike then falls on the input spike that caused it (or, with ``v_leak + bias`` above threshold, on the leak's crossing),
    so that spike times do not depend on weights: the exact rule simulates, compares and deploys them, and does not train
    the weights into them.

    Parameters
    ----------
    n : int, or a shape
    tau_mem : (s), > 0
    v_th, v_leak, v_reset, t_ref, reset, max_spikes : as of :class:`~hwloop.network.LIF`
    v_init : membrane at time 0; default ``v_leak``, or ``v_reset`` where ``v_leak >= v_th``

    With reset "subtract" a neuron that is still at or above threshold spikes again at the same time.
    """

    tau_mem: Tensor | None

    def __init__(
        self,
        n: int | tuple[int, ...],
        tau_mem: ParameterValue,
        v_th: ParameterValue = 1.0,
        v_leak: ParameterValue = 0.0,
        v_reset: ParameterValue = 0.0,
        t_ref: ParameterValue = 0.0,
        reset: str = "value",
        max_spikes: int | None = None,
        *,
        v_init: ParameterValue | None = None,
    ) -> None:
        super().__init__()
        self.place(n, "DeltaLIF")
        self._finish("DeltaLIF", reset, max_spikes, tau_mem, v_th, v_leak, v_reset, t_ref, v_init)

    def _finish(self, kind: str, reset: str, max_spikes: int | None, *values: ParameterValue | None) -> None:
        self.reset = check_reset(reset)
        self.max_spikes = None if max_spikes is None else whole(f"{kind}: max_spikes (None: no cap)", max_spikes)
        names = ("tau_mem", "v_th", "v_leak", "v_reset", "t_ref", "v_init")
        self.hold(kind, dict(zip(names, values, strict=True)))
        self.check(kind)

    def acting_parameters(self) -> dict[str, Tensor]:
        """The six parameters that the neurons act with, each ``[n]``; 1 s stands for a time constant that they do not have."""
        one = torch.ones_like(self.v_th)
        tau_mem = one if self.tau_mem is None else self.tau_mem
        return {
            "tau_mem": tau_mem, "tau_syn": one, "v_th": self.v_th, "v_leak": self.v_leak, "v_reset": self.v_reset, "t_ref": self.t_ref
        }  # fmt: skip

    def check(self, where: str) -> None:
        """Refuse parameters that left their bounds; :class:`InputError` naming ``where``, neuron and value."""
        above = {"tau_mem": 0.0}
        for name in ("tau_mem", "v_th", "v_leak", "v_reset", "t_ref", "v_init"):
            value = getattr(self, name)
            if value is not None:
                check_values(where, name, value, above.get(name))
        if bool((self.t_ref.detach() < 0).any()):
            raise InputError(f"{where}: t_ref = {self.t_ref.min().item():g} s; allowed: >= 0")
        bad = torch.nonzero(self.v_th.detach() <= self.v_reset.detach())
        if len(bad):
            j = int(bad[0])
            raise InputError(
                f"{where}: neuron {j}: v_th = {self.v_th[j].item():g}, v_reset = {self.v_reset[j].item():g}; allowed: v_th > v_reset"
            )

    def extra_repr(self) -> str:
        size = self.shape if len(self.shape) > 1 else self.n
        return f"{size}, reset={self.reset!r}"


class IF(DeltaLIF):
    """Integrate and fire, without leak: an input spike moves the membrane, which stays where it is until the next.

    Parameters
    ----------
    n : int, or a shape
    v_th, v_reset : membrane units
    t_ref : (s), >= 0
    reset : "value" or "subtract"
    max_spikes : int or None; most spikes of a neuron in a run
    v_init : membrane units, where the membrane starts

    As of :class:`DeltaLIF`, without time constants and ``v_leak``. Each takes a number, or one value per neuron.
    """

    def __init__(
        self,
        n: int | tuple[int, ...],
        v_th: ParameterValue = 1.0,
        v_reset: ParameterValue = 0.0,
        t_ref: ParameterValue = 0.0,
        reset: str = "value",
        max_spikes: int | None = None,
        *,
        v_init: ParameterValue = 0.0,
    ) -> None:
        Population.__init__(self)
        self.place(n, "IF")
        self._finish("IF", reset, max_spikes, None, v_th, 0.0, v_reset, t_ref, v_init)


class LI(Population):
    """Leaky integrators that do not spike: a readout.

    Parameters
    ----------
    n : int, or a shape
    tau_mem : (s), > 0
    tau_syn : (s), > 0; None: delta synapses, an input spike moves the membrane itself
    v_leak : membrane units
    v_init : membrane at time 0; default ``v_leak``
    filtered_bias : whether a bias of the weights before it passes the synapse, as of :class:`~hwloop.network.LIF`

    Its record is ``record.readouts[name]``: maximum, integral, and values at given times; see
    :class:`hwloop.simulate.readout.Membranes`.
    """

    spikes = False
    tau_mem: Tensor
    tau_syn: Tensor | None
    v_leak: Tensor
    v_init: Tensor | None

    def __init__(
        self,
        n: int | tuple[int, ...],
        tau_mem: ParameterValue,
        tau_syn: ParameterValue | None = None,
        v_leak: ParameterValue = 0.0,
        *,
        v_init: ParameterValue | None = None,
        filtered_bias: bool = False,
    ) -> None:
        super().__init__()
        self.place(n, "LI")
        self.filtered_bias = bool(filtered_bias)
        self.hold("LI", {"tau_mem": tau_mem, "tau_syn": tau_syn, "v_leak": v_leak, "v_init": v_init})
        self.check("LI")

    def check(self, where: str) -> None:
        """Refuse parameters that left their bounds; :class:`InputError` naming ``where``, neuron and value."""
        for name in ("tau_mem", "tau_syn", "v_leak", "v_init"):
            value = getattr(self, name)
            if value is not None:
                check_values(where, name, value, 0.0 if name.startswith("tau") else None)

    def extra_repr(self) -> str:
        kind = "delta synapses" if self.tau_syn is None else "current-based"
        return f"{self.shape if len(self.shape) > 1 else self.n}, {kind}"


def check_values(where: str, name: str, value: Tensor, above: float | None = None) -> None:
    """Raise :class:`InputError` for a ``value [n]`` that is not finite, or not > ``above``."""
    held = value.detach()
    bad = ~torch.isfinite(held) if above is None else ~(torch.isfinite(held) & (held > above))
    if bool(bad.any()):
        j = int(torch.nonzero(bad)[0])
        bound = "" if above is None else f" and > {above:g}"
        raise InputError(f"{where}: neuron {j}: {name} = {held[j].item():g}; allowed: finite{bound}")


def of_units(name: str, value: ParameterValue, shape: Shape) -> Tensor:
    """``value`` as ``[n]``: one number, a value a unit in a row or in ``shape``, or one a channel."""
    tensor = value if isinstance(value, nn.Parameter) else floats(name, value)
    n = size_of(shape)
    if isinstance(tensor, nn.Parameter) or tensor.ndim == 0 or tensor.shape == (n,):
        return as_parameter(name, value, n)
    if tuple(tensor.shape) == shape:
        return tensor.reshape(-1)
    if len(shape) == 3 and tensor.shape == shape[:1]:
        return tensor.repeat_interleave(n // shape[0])
    raise InputError(
        f"{name} has shape {tuple(tensor.shape)}; allowed: one number, or one value for each of {n} neurons {shown(shape)}"
    )
