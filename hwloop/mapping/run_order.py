"""The order in which the populations of a program run, and which of them run together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..strong_groups import strong_groups

if TYPE_CHECKING:
    from .constraints import Block


class Driven(Protocol):
    """A population with the blocks of units that drive it; none: the population before it."""

    @property
    def blocks(self) -> tuple[Block, ...]:
        """As of :class:`~hwloop.mapping.LayerValues`."""
        ...


class Together(NamedTuple):
    """Populations that run together: those of a loop, or one by itself."""

    members: tuple[int, ...]
    loop: bool


def sources_of(index: int, layer: Driven) -> tuple[int, ...]:
    """Populations that drive population ``index``, block by block; -1 the inputs."""
    return tuple(block.source for block in layer.blocks) if layer.blocks else (index - 1,)


def in_a_row(layers: Sequence[Driven]) -> list[Together]:
    """The populations of a chain: each by itself, first to last."""
    return [Together((index,), False) for index in range(len(layers))]


def run_order(layers: Sequence[Driven]) -> list[Together]:
    """The populations in an order in which they can run, those of a loop together."""
    after: list[list[int]] = [[] for _ in layers]
    for index, layer in enumerate(layers):
        for source in sources_of(index, layer):
            if source >= 0:
                after[source].append(index)
    return [Together(tuple(group), len(group) > 1 or group[0] in after[group[0]]) for group in strong_groups(after)]


def looped(layers: Sequence[Driven]) -> set[int]:
    """Populations that are part of a loop."""
    return {member for group in run_order(layers) if group.loop for member in group.members}
