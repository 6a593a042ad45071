"""Prices: published energies of single events, from a data file, and what counts cost by them."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from .operations import Operations

#: What a machine without limits of its own is called in the file: the simulator's operations on digital arithmetic.
SIMULATION = "simulation"
_PICO = 1e-12
_Energy = Annotated[float, Field(ge=0, le=1e9)]
_Range = tuple[_Energy, _Energy]


class Price(BaseModel):
    """Energies (pJ, low and high) of single events, ``synaptic_event``, ``neuron_update`` and ``spike``, and what they are of."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    name: str
    limits: tuple[str, ...]
    process: str
    synaptic_event: _Range
    neuron_update: _Range
    spike: _Range
    source: str
    note: str


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    format: Literal["hwloop-prices"]
    version: Literal[1]
    price: tuple[Price, ...]


@dataclass(frozen=True)
class Energy:
    """Energy (J) of all samples by one ``price``, from ``low`` to ``high``."""

    price: Price
    low: float
    high: float


@cache
def shipped_prices() -> tuple[Price, ...]:
    """All prices of the file ``prices.toml`` of this package."""
    text = (resources.files(__package__) / "prices.toml").read_text("utf-8")
    return _File.model_validate(tomllib.loads(text)).price


def prices_of(limits: str | None) -> tuple[Price, ...]:
    """Prices that are of a target whose limits are called ``limits``; None: of the simulator's operations."""
    name = SIMULATION if limits is None else limits
    return tuple(price for price in shipped_prices() if any(name.startswith(begin) for begin in price.limits))


def energy(operations: Operations, price: Price) -> Energy:
    """The energy of ``operations``: at least of the effective synaptic events, at most of all connected ones."""
    low, high = (
        _PICO
        * (
            price.synaptic_event[end] * events
            + price.neuron_update[end] * operations.updates
            + price.spike[end] * operations.spikes
        )
        for end, events in ((0, operations.effective), (1, operations.connected))
    )
    return Energy(price, low, high)


def joules(low: float, high: float) -> str:
    """A range (J) as it is printed: two digits, once where both ends are the same."""
    first, last = f"{low:.2g}", f"{high:.2g}"
    return first if first == last else f"{first} to {last}"


def spread(prices: Sequence[Price]) -> float:
    """By what factor the energies of a synaptic event differ in ``prices``."""
    ends = [end for price in prices for end in price.synaptic_event if end > 0]
    return max(ends) / min(ends) if ends else 1.0


def caveat() -> str:
    """What has to stand beside every energy."""
    return (
        "published constants differ up to 300-fold for what is called the same operation, and those of this file "
        f"{spread(shipped_prices()):.0f}-fold, from a bare addition of 8 bits to a whole synaptic operation of a chip: an order of "
        "magnitude at best, never a measurement"
    )
