"""What users of torch pass to a network out of habit, and what to write instead."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from ..arguments import DTYPES, shown
from ..errors import InputError
from ..record import Record
from ..spike_checks import how_to_spikes
from ..spikes import Spikes
from .dense import Dense


def check_input(spikes: Any, first: Dense) -> None:
    """Raise :class:`InputError` where a network is called with something else than Spikes; says how to make them.

    So too where its ``first`` layer is in half precision, which no engine computes in.
    """
    if first.weight.dtype not in DTYPES:
        raise InputError(
            f"the network is in {first.weight.dtype}; allowed: float32, net.float(), or float64, net.double()"
        )
    if isinstance(spikes, Spikes):
        return
    if isinstance(spikes, Record):
        raise InputError("the input is a record; allowed: Spikes. Those of its last layer are record.output")
    raise InputError(f"the input is {shown(spikes)}; allowed: Spikes of {first.n_in} units. {how_to_spikes(spikes)}")


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
