"""Signs that times and time constants are not in one unit, or finer than the dtype tells apart: warnings, never errors.

A network works in any unit of time that all its numbers share, and 1 s is as good a time constant as 10 ms. So a number
alone is no evidence; its ratio to the window and to the times of the input is, where the layer stays silent besides.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from ..errors import TimeScaleWarning
from ..record import Record
from ..spikes import Spikes
from .lif import LIF
from .structure import Structure

if TYPE_CHECKING:
    from .model import Network

#: Nobody counts less than 1 ms in milliseconds: smaller numbers are seconds.
LEAST = 1.0
#: Longer refractory times are meant: one spike per neuron, said another way.
USUAL = 100.0
#: A membrane whose time constant is so many windows long stays within a tenth of its drive.
SLOW = 10.0
#: Input events so many time constants apart do not add up (e^-20 is left of one at the next).
APART = 20.0
#: Windows (s) from which on float32 may tell times less well apart than neurons do.
LONG = 10.0
#: Share of a time constant by which float32 may move a spike.
MOVED = 1e-3
#: Frames between the warning and the call of the network.
_CALLER = 3


def warn_of_scales(net: Network, record: Record) -> None:
    """Warn, once per layer, where ``record`` of a simulation of ``net`` shows that a unit of time is wrong.

    Costs nothing where every layer spikes and the window is short; refractory times are looked at in the first run.
    """
    received = record.inputs
    if received is None or record.health is None:
        return
    if not net.has_run:
        net.has_run = True
        for lif, _, where in _layers(net).values():
            _warn(_refractory(lif, where, received.t_stop))
    if received.t_stop >= LONG:
        _warn(_too_fine(net, received))
    elif 0 not in [layer.used for layer in record.health.layers]:
        return
    structure = net.structure
    for k, (name, health) in enumerate(zip(structure.populations, record.health.layers, strict=True)):
        node = structure.nodes[name]
        if health.used == 0 and isinstance(node, LIF) and int(received.counts.sum()):
            reason = _late(_delays(structure, name), received.t_stop) or _slow(node, received.t_stop)
            reason = reason or (_sparse(node, received) if k == 0 else None)
            _warn(reason and f"{name_of(net, name)} is silent: {reason}")
        received = record.populations[k]


def _layers(net: Network) -> dict[str, tuple[LIF, list[Tensor], str]]:
    """Of each LIF population: itself, the delays of the maps into it, and how it is called."""
    result: dict[str, tuple[LIF, list[Tensor], str]] = {}
    for name in net.structure.populations:
        node = net.structure.nodes[name]
        if isinstance(node, LIF):
            result[name] = (node, _delays(net.structure, name), name_of(net, name))
    return result


def _delays(structure: Structure, name: str) -> list[Tensor]:
    maps = [layer for link in structure.links if link.target == name for layer in link.composition.maps]
    return [delay for delay in (layer.delays() for layer in maps) if delay is not None]


def name_of(net: Network, name: str) -> str:
    """How errors and warnings call a population: by its layer in a chain of Dense and LIF, else by its name."""
    return f"layer {2 * int(name) + 1} (LIF)" if net.is_plain_chain else f"population {name!r}"


def _warn(message: str | None) -> None:
    if message:
        warnings.warn(message, TimeScaleWarning, stacklevel=_CALLER + 1)


def _late(delays: list[Tensor], t_stop: float) -> str | None:
    least = float(delays[0].detach().min()) if delays else None
    if least is None or not (least >= LEAST and least > t_stop):
        return None
    return f"every input arrives after the window, delay = {least:g} s, t_stop = {t_stop:g} s; {_question(least)}"


def _slow(lif: LIF, t_stop: float) -> str | None:
    for name in ("tau_mem", "tau_syn"):
        least = float(getattr(lif, name).detach().min())
        if least >= LEAST and least > SLOW * t_stop:
            return f"{name} = {least:g} s beside a window of t_stop = {t_stop:g} s; {_question(least)}"
    return None


def _refractory(lif: LIF, where: str, t_stop: float) -> str | None:
    """A refractory time beyond the window and many time constants long, in a number that is usual in ms."""
    t_ref = float(lif.t_ref.detach().min())
    if not (LEAST <= t_ref <= USUAL and t_ref > t_stop):
        return None
    slowest = float(torch.maximum(lif.tau_mem, lif.tau_syn).detach().max())
    if t_ref <= SLOW * slowest:
        return None
    return f"{where}: t_ref = {t_ref:g} s beside time constants of {slowest:g} s; {_question(t_ref)}"


def _sparse(lif: LIF, spikes: Spikes) -> str | None:
    tau = float(torch.maximum(lif.tau_mem, lif.tau_syn).detach().max())
    gaps = _gaps(spikes)
    if spikes.t_stop < LEAST or not gaps.numel():
        return None
    gap = float(gaps.median())
    # where a thousandth would be as far apart, milliseconds explain nothing
    if not APART * tau < gap < 1e3 * APART * tau:
        return None
    return (
        f"its inputs are {gap:g} s apart, {gap / tau:.0f} time constants of {tau:g} s, up to t_stop = {spikes.t_stop:g} s. "
        "Are times, t_stop or dt in ms? Times are in seconds: multiply by 1e-3"
    )


def _gaps(spikes: Spikes) -> Tensor:
    """Times (s) between one event of a sample and the next that is later."""
    times = spikes.times.detach()
    gaps = (times[:, 1:] - times[:, :-1])[spikes.valid[:, 1:]]
    return gaps[gaps > 0]


def _too_fine(net: Network, spikes: Spikes) -> str | None:
    step = torch.finfo(torch.float32).eps / 2 * spikes.t_stop
    if all(p.dtype == torch.float64 for p in net.parameters()):
        return None
    for lif, _, where in _layers(net).values():
        tau = float(torch.minimum(lif.tau_mem, lif.tau_syn).detach().min())
        if step > MOVED * tau:
            return (
                f"float32 rounds times near t_stop = {spikes.t_stop:g} s by {step:.1g} s, {step / tau:.1g} of a time "
                f"constant ({tau:g} s) of {where}; compute in float64, net.double(), or count times "
                "from each sample's start"
            )
    return None


def _question(value: float) -> str:
    return f"is this in ms? Times are in seconds: write {value:g}e-3"
