"""The readout that does not spike: membranes of leaky integrators as differentiable functions of their input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ...arguments import DTYPES
from ...errors import InputError, OptionError
from ...spikes import Spikes
from .. import cpu
from ..contract import Events, FloatArray, Layer
from ..gpu.place import check_on_cpu
from ..threads import begin, spread
from .states import (
    Arrivals,
    Cells,
    Gradients,
    jump_maximum_gradient_range,
    jump_maximum_range,
    read_gradient_range,
    read_range,
)

#: What an arrival moves: the synaptic current, or the membrane itself.
Kind: TypeAlias = Literal["current", "jump"]

#: Parameters of the neurons, and those that may be left out; ``tau_syn`` may be, where arrivals move the membrane.
REQUIRED, OPTIONAL = ("tau_mem", "tau_syn", "v_leak"), ("v_init", "bias")


class Membranes:
    """Membranes of leaky integrators over ``[0, t_stop]``, as they are when this is made.

        tau_mem u' = -(u - v_leak - bias) + i ,   tau_syn i' = -i ,   an input spike of weight w: i += w, or u += w (``jump``)

    Parameters
    ----------
    inputs : Spikes of ``n_in`` units
    weight : Tensor, ``[n_out, n_in]`` (membrane units per spike)
    params : ``tau_mem``, ``tau_syn`` (s; not needed for ``jump``), ``v_leak``, and ``v_init`` (default ``v_leak``) and ``bias``
        (default 0) where wanted, each ``[n_out]``.
    kind : what an arrival moves: ``current`` or ``jump``
    where : what errors call the readout

    All that is computed is differentiable in the times of the inputs, the weights and the parameters, exactly; it is
    computed in float64 and has the dtype of the weights. Values are captured: what is changed in place later has no effect.

    Raises :class:`InputError` for shapes that do not fit and values out of bounds.
    """

    def __init__(
        self,
        inputs: Spikes,
        weight: Tensor,
        params: Mapping[str, Tensor],
        kind: Kind = "current",
        where: str = "readout",
    ) -> None:
        if kind not in get_args(Kind):
            raise OptionError(f"{where}: kind = {kind!r}; allowed: 'current', 'jump'")
        _check(inputs, weight, params, kind, where)
        self._where, self._dtype, self.t_stop = where, weight.dtype, float(inputs.t_stop)
        self._times = inputs.times.clone().double()
        self._weight = weight.clone().double()
        value = {name: value.clone().double() for name, value in params.items()}
        self._tau_mem = value["tau_mem"]
        self._tau_syn = torch.ones_like(self._tau_mem) if kind == "jump" else value["tau_syn"]
        self._asymptote = value["v_leak"] + value["bias"] if "bias" in value else value["v_leak"]
        self._start = value.get("v_init", value["v_leak"]) - self._asymptote
        self._setting = _Setting(inputs.units.clone(), inputs.counts.clone(), self.t_stop, kind == "jump")

    def maximum(self) -> Tensor:
        """The largest membrane over ``[0, t_stop]``, ``[batch, n_out]``; of several equal ones the first has the gradient."""
        return (self._asymptote + _apply(_Maximum, self._setting, *self._inputs())).to(self._dtype)

    def integral(self) -> Tensor:
        """The time integral of the membrane over ``[0, t_stop]``, ``[batch, n_out]`` (membrane units times s).

        By the equation of the membrane, with ``u`` from the asymptote a and ``W`` the sum of the weights that arrived:
        ``a t_stop + tau_syn (W - i(t_stop)) - tau_mem (u(t_stop) - u(0))``, or ``a t_stop - tau_mem (u(t_stop) - u(0) - W)``.
        """
        return (self._asymptote * self.t_stop + self._integral()[0]).to(self._dtype)

    def fading_integral(self) -> Tensor:
        """The time integral of the membrane times ``1 - t / t_stop``, ``[batch, n_out]`` (membrane units times s).

        :meth:`integral` does not depend on when a spike arrives, only on whether, but for the end of the window: its gradient
        in the times is next to none. Here a spike adds more the earlier it comes. With J(t) the integral up to t this is
        ``1/t_stop int J dt``, and the equations of current and membrane, integrated twice, give it:
        ``int J = int I - tau_mem (J(t_stop) - t_stop u(0))``, ``int I = tau_syn (sum w (t_stop - t) - I(t_stop))``.
        """
        total, current = self._integral()
        pulses = self._arrived(self.t_stop - self._times) @ self._weight.t()
        if self._setting.jump:
            twice = self._tau_mem * (self._start * self.t_stop + pulses - total)
        else:
            twice = self._tau_syn * (pulses - current) + self._tau_mem * (self._start * self.t_stop - total)
        return (self._asymptote * (self.t_stop / 2) + twice / self.t_stop).to(self._dtype)

    def _integral(self) -> tuple[Tensor, Tensor]:
        """Integrals of membrane, from the asymptote, and current over the window; of ``jump`` neurons the second is 0."""
        end = torch.tensor([[self.t_stop]], dtype=torch.float64)
        u, i = _apply(_Reading, self._setting, end, *self._inputs())
        arrived = self._arrived(torch.ones_like(self._times)) @ self._weight.t()
        moved = self._start - u[:, 0]
        if self._setting.jump:
            return self._tau_mem * (moved + arrived), torch.zeros_like(arrived)
        current = self._tau_syn * (arrived - i[:, 0])
        return current + self._tau_mem * moved, current

    def at(self, times: Tensor) -> Tensor:
        """The membrane at ``times`` (s), ``[m]`` or ``[batch, m]``, in any order: ``[batch, m, n_out]``.

        Differentiable in ``times`` too. An arrival at such a time is felt (it matters where arrivals move the membrane).

        Raises :class:`InputError` for times outside the window and for other shapes.
        """
        times = _checked_times(times, len(self._setting.counts), self.t_stop, self._where)
        found = times.double() if times.ndim == 2 else times.double()[None]
        order = torch.argsort(found.detach(), dim=1, stable=True)
        u, _ = _apply(_Reading, self._setting, torch.gather(found, 1, order), *self._inputs())
        back = torch.argsort(order, dim=1)[:, :, None].expand(len(u), -1, u.shape[2])
        return (self._asymptote + torch.gather(u, 1, back)).to(self._dtype)

    def _inputs(self) -> tuple[Tensor, ...]:
        return self._times, self._weight, self._tau_mem, self._tau_syn, self._start

    def _arrived(self, value: Tensor) -> Tensor:
        """Sum of ``value [batch, events]`` over the spikes of each unit before the end, ``[batch, n_in]`` float64."""
        times, n_in = self._times.detach(), self._weight.shape[1]
        counted = (torch.arange(times.shape[1]) < self._setting.counts[:, None]) & (times < self.t_stop)
        result = torch.zeros((len(times), n_in), dtype=torch.float64)
        return result.scatter_add(1, self._setting.units, torch.where(counted, value, 0.0))


@dataclass(frozen=True)
class _Setting:
    """What autograd does not follow."""

    units: Tensor
    counts: Tensor
    t_stop: float
    jump: bool

    def events(self, times: Tensor) -> Arrivals:
        arrays = (times.detach(), self.units, self.counts)
        return Arrivals(*(array.contiguous().numpy() for array in arrays))

    def cells(self, weight: Tensor, *neurons: Tensor) -> Cells:
        tau_mem, tau_syn, start = (np.ascontiguousarray(tensor.detach().numpy()) for tensor in neurons)
        return Cells(np.ascontiguousarray(weight.detach().numpy().T), tau_mem, tau_syn, start, self.jump)


def _apply(function: type[torch.autograd.Function], *arguments: Any) -> Any:
    begin()
    return function.apply(*arguments)  # type: ignore[no-untyped-call]


class _Reading(torch.autograd.Function):
    """Membranes (from the asymptote) and currents at sorted times ``[1 or batch, m]``, each ``[batch, m, n_out]``."""

    @staticmethod
    def forward(ctx: Any, setting: _Setting, at: Tensor, times: Tensor, weight: Tensor, *neurons: Tensor) -> Any:
        events, cells, found = setting.events(times), setting.cells(weight, *neurons), _array(at)
        shape = (len(setting.counts), at.shape[1], len(weight))
        u, i = np.empty(shape), np.empty(shape)

        def work(lo: int, hi: int) -> None:
            read_range(lo, hi, events, cells, setting.t_stop, found, u, i)

        _spread(work, setting, cells, at.shape[1])
        ctx.setting = setting
        ctx.save_for_backward(at, times, weight, *neurons)
        return torch.from_numpy(u), torch.from_numpy(i)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_u: Tensor, grad_i: Tensor) -> Any:
        setting: _Setting = ctx.setting
        at, times, weight, *neurons = ctx.saved_tensors
        events, cells, found = setting.events(times), setting.cells(weight, *neurons), _array(at)
        d_times, d_at = np.zeros(times.shape), np.zeros((len(times), at.shape[1]))
        up_u, up_i, parts = _array(grad_u), _array(grad_i), _Parts(cells)

        def work(lo: int, hi: int) -> None:
            out = Gradients(parts.weight(lo), d_times, parts.cells(lo))
            read_gradient_range(lo, hi, events, cells, setting.t_stop, found, up_u, up_i, d_at, out)

        _spread(work, setting, cells, at.shape[1])
        moved = torch.from_numpy(d_at if len(at) > 1 or len(times) == 1 else d_at.sum(0, keepdims=True))
        return None, moved, torch.from_numpy(d_times), *parts.gradients()


class _Maximum(torch.autograd.Function):
    """The largest membranes, from the asymptote, ``[batch, n_out]``."""

    @staticmethod
    def forward(ctx: Any, setting: _Setting, times: Tensor, weight: Tensor, *neurons: Tensor) -> Any:
        events, cells = setting.events(times), setting.cells(weight, *neurons)
        shape = (len(setting.counts), len(weight))
        value, when, upto = np.empty(shape), np.empty(shape), np.empty(shape, np.int64)
        if setting.jump:

            def work(lo: int, hi: int) -> None:
                jump_maximum_range(lo, hi, events, cells, setting.t_stop, value, when, upto)

            _spread(work, setting, cells, 1)
        else:
            value, when = cpu.membrane_maximum(_layer(cells), _events(events), setting.t_stop, np.ones(shape, bool))
        ctx.ran = (setting, when, upto)
        ctx.save_for_backward(times, weight, *neurons)
        return torch.from_numpy(value)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Any:
        setting, when, upto = ctx.ran
        times, weight, *neurons = ctx.saved_tensors
        events, cells, up = setting.events(times), setting.cells(weight, *neurons), _array(grad)
        if setting.jump:
            d_times, parts = np.zeros(times.shape), _Parts(cells)

            def work(lo: int, hi: int) -> None:
                out = Gradients(parts.weight(lo), d_times, parts.cells(lo))
                jump_maximum_gradient_range(lo, hi, events, cells, setting.t_stop, when, upto, up, out)

            _spread(work, setting, cells, 1)
            return None, torch.from_numpy(d_times), *parts.gradients()
        run = cpu.membrane_maximum_gradient(_layer(cells), _events(events), setting.t_stop, when, up)
        d_weight, moved, d_mem, d_syn = (torch.from_numpy(array) for array in run)
        d_start = torch.from_numpy((up * np.exp(-when / cells.tau_mem)).sum(0))
        return None, moved, d_weight.t(), d_mem, d_syn, d_start


class _Parts:
    """Gradients of the weights and of the neurons, one part for each range of samples."""

    def __init__(self, cells: Cells) -> None:
        self._shapes = cells.weight.shape, (3, len(cells.start))
        self._weights: dict[int, FloatArray] = {}
        self._cells: dict[int, FloatArray] = {}

    def weight(self, lo: int) -> FloatArray:
        return self._weights.setdefault(lo, np.zeros(self._shapes[0]))

    def cells(self, lo: int) -> FloatArray:
        return self._cells.setdefault(lo, np.zeros(self._shapes[1]))

    def gradients(self) -> tuple[Tensor, ...]:
        """``dL/d`` weight ``[n_out, n_in]``, tau_mem, tau_syn and start; parts summed in a fixed order."""
        weight, cells = (np.sum([parts[lo] for lo in sorted(parts)], axis=0) for parts in (self._weights, self._cells))
        return torch.from_numpy(weight).t(), *map(torch.from_numpy, cells)


def _array(tensor: Tensor) -> FloatArray:
    return np.ascontiguousarray(tensor.detach().numpy())


def _events(events: Arrivals) -> Events:
    return Events(*events)


def _layer(cells: Cells) -> Layer:
    """The integrators as a layer, of which the maximum reads weights, time constants and start alone."""
    none = np.zeros_like(cells.start)
    return Layer(cells.weight, cells.tau_mem, cells.tau_syn, none, none[None], none, cells.start)


def _spread(work: Callable[[int, int], None], setting: _Setting, cells: Cells, readings: int) -> None:
    """Run ``work(lo, hi)`` over the batch; a stop costs some ten operations a neuron."""
    batch = len(setting.counts)
    stops = int(setting.counts.sum()) + batch * readings
    spread(work, batch, 10 * stops * len(cells.start), cpu.PARALLEL_WORK)


def _checked_times(times: Tensor, batch: int, t_stop: float, where: str) -> Tensor:
    if not isinstance(times, Tensor) or times.dtype not in DTYPES:
        kind = times.dtype if isinstance(times, Tensor) else type(times).__name__
        raise InputError(f"{where}: times are {kind}; allowed: a tensor of float32 or float64 (s)")
    if times.ndim not in (1, 2) or (times.ndim == 2 and len(times) != batch):
        raise InputError(
            f"{where}: times are {tuple(times.shape)}; allowed: [m], or [{batch}, m] for each of {batch} samples"
        )
    value = times.detach()
    bad = torch.nonzero(~((value >= 0) & (value <= t_stop)))
    if len(bad):
        place = tuple(int(x) for x in bad[0])
        raise InputError(
            f"{where}: times{list(place)} = {value[place].item():g} s; allowed: 0 to t_stop = {t_stop:g} s"
        )
    return times


def _check(inputs: Spikes, weight: Tensor, params: Mapping[str, Tensor], kind: Kind, where: str) -> None:
    """Raise :class:`InputError` for what does not fit."""
    check_on_cpu(where, "readouts", {"weights": weight, "input times": inputs.times, **params})
    if weight.ndim != 2 or weight.dtype not in DTYPES or inputs.n_units != weight.shape[1]:
        raise InputError(
            f"{where}: weight is {tuple(weight.shape)} {weight.dtype}; allowed: float32 or float64, [n_out, {inputs.n_units}] "
            f"for an input of {inputs.n_units} units"
        )
    needed = tuple(name for name in REQUIRED if name != "tau_syn" or kind == "current")
    for name in needed:
        if name not in params:
            raise InputError(f"{where}: {name} is missing; needed: {', '.join(needed)}")
    for name, value in params.items():
        if name not in (*needed, *OPTIONAL):
            raise InputError(f"{where}: unknown parameter {name!r}; allowed: {', '.join((*needed, *OPTIONAL))}")
        if tuple(value.shape) != (len(weight),) or value.dtype not in DTYPES:
            raise InputError(
                f"{where}: {name} is {tuple(value.shape)} {value.dtype}; allowed: float32 or float64, [{len(weight)}]"
            )
        fine = torch.isfinite(value.detach()) & ((value.detach() > 0) | torch.tensor(not name.startswith("tau")))
        if not bool(fine.all()):
            neuron = int(torch.nonzero(~fine)[0])
            allowed = "finite and > 0 s" if name.startswith("tau") else "finite"
            raise InputError(f"{where}, neuron {neuron}: {name} = {value[neuron].item():g}; allowed: {allowed}")
    if not bool(torch.isfinite(weight.detach()).all()):
        neuron, unit = (int(x) for x in torch.nonzero(~torch.isfinite(weight))[0])
        raise InputError(
            f"{where}: weight of input unit {unit} to neuron {neuron} = {weight[neuron, unit].item()}; allowed: finite. "
            "If training made it so, lower lr"
        )
