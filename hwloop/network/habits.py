"""What users of torch pass to a network out of habit, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from ..arguments import DTYPES, shown
from ..errors import InputError
from ..record import Record
from ..spike_checks import how_to_spikes
from ..spikes import Spikes

if TYPE_CHECKING:
    from .model import Network


def check_input(spikes: Any, net: Network) -> None:
    """Raise :class:`InputError` where a network is called with something else than Spikes; says how to make them.

    So too where its first parameter is in half precision, which no engine computes in.
    """
    dtype = next((p.dtype for p in net.parameters() if p.is_floating_point()), DTYPES[0])
    if dtype not in DTYPES:
        raise InputError(f"the network is in {dtype}; allowed: float32, net.float(), or float64, net.double()")
    several = len(net.structure.inputs) > 1
    if isinstance(spikes, Spikes) and (not several or spikes.n_units == net.n_in):
        return
    if isinstance(spikes, Mapping) or several:
        check_named(spikes, net)
        return
    if isinstance(spikes, Record):
        raise InputError("the input is a record; allowed: Spikes. Those of its last layer are record.output")
    raise InputError(f"the input is {shown(spikes)}; allowed: Spikes of {net.n_in} units. {how_to_spikes(spikes)}")


def check_named(spikes: Any, net: Network) -> None:
    """Raise :class:`InputError` unless ``spikes`` are Spikes by the name of each input of ``net``, alike in batch and window."""
    names = net.structure.inputs
    form = "net({" + ", ".join(f"{name!r}: spikes" for name in names) + "})"
    if not isinstance(spikes, Mapping):
        raise InputError(
            f"the input is {shown(spikes)}; the network has {len(names)} inputs; allowed: Spikes by name, {form}"
        )
    if set(spikes) != set(names):
        raise InputError(
            f"the input has {', '.join(map(repr, spikes)) or 'no names'}; allowed: {', '.join(map(repr, names))}, as {form}"
        )
    for name in names:
        if not isinstance(spikes[name], Spikes):
            raise InputError(f"input {name!r} is {shown(spikes[name])}; allowed: Spikes. {how_to_spikes(spikes[name])}")
    first = spikes[names[0]]
    for name in names[1:]:
        if len(spikes[name]) != len(first) or spikes[name].t_stop != first.t_stop:
            raise InputError(
                f"input {name!r} has {len(spikes[name])} samples, t_stop {spikes[name].t_stop} s; {names[0]!r} has {len(first)}, "
                f"{first.t_stop} s; allowed: equal ones"
            )


def as_layers(layers: Any, more: tuple[nn.Module, ...]) -> list[nn.Module]:
    """The layers of a network as a list; :class:`InputError` where they were given one by one."""
    alone = isinstance(layers, nn.Module) and not isinstance(layers, (nn.Sequential, nn.ModuleList))
    if more or alone or not isinstance(layers, Iterable):
        raise InputError(
            f"the layers are {_kind(layers)}{', ...' if more else ''}; allowed: one list, Network([Dense, LIF])"
        )
    return list(layers)


def _kind(value: Any) -> str:
    return type(value).__name__ if isinstance(value, nn.Module) else shown(value)
