"""How the neurons of a NIR graph are reset, which NIR does not say: asked for where it makes a difference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import nir

from ...errors import InputError, OptionError
from ...neurons import ResetKind, check_reset
from .values import text

#: Metadata key of a neuron node.
RESET = "reset"
KINDS: tuple[ResetKind, ...] = ("value", "subtract")


@dataclass(frozen=True)
class Resets:
    """The reset of every spiking node by name, and why we think so."""

    kinds: Mapping[str, ResetKind]
    evidence: str

    def __str__(self) -> str:
        return f"reset: {self.evidence}"


def resets_of(nodes: Mapping[str, nir.NIRNode], asked: str | None = None) -> Resets:
    """``asked`` for all, else each node's metadata, else "value" where it makes no difference.

    It makes none where a current carries the membrane over its threshold: it spikes as it arrives there. Where a spike moves
    the membrane itself, it lands above, and "subtract" keeps what is above.

    Raises :class:`OptionError` for an unknown ``asked``, :class:`InputError` with the candidates where nothing says.
    """
    if asked is not None and asked not in KINDS:
        raise OptionError(f"reset = {asked!r}; allowed: {', '.join(map(repr, KINDS))}")
    spiking = {name: node for name, node in nodes.items() if hasattr(node, "v_threshold")}
    kinds: dict[str, ResetKind] = {}
    stated, open_ = 0, []
    for name, node in spiking.items():
        given = _from_metadata(name, node)
        stated += given is not None
        kinds[name] = check_reset(asked) if asked is not None else given or "value"
        if given is None and isinstance(node, (nir.LIF, nir.IF)):
            open_.append(name)
    if asked is not None:
        return Resets(kinds, f"{asked}, given by the caller")
    if open_:
        raise InputError(
            f"how {', '.join(map(repr, open_))} ({type(nodes[open_[0]]).__name__}) is reset NIR does not say, and it makes a "
            "difference where a spike moves the membrane itself. Pass what its exporter means: reset='value' (to v_reset: NIR's "
            "text, norse), or reset='subtract' (by v_threshold - v_reset: snnTorch, sinabs, rockpool and SpikingJelly by default). The floor that sinabs may have "
            "under a membrane (min_v_mem) is in no file: export it with min_v_mem=None"
        )
    if not spiking:
        return Resets(kinds, "none, no neuron spikes")
    each = " and ".join(sorted(set(kinds.values())))
    if stated == len(spiking):
        return Resets(kinds, f"{each}, metadata {RESET}")
    return Resets(kinds, f"{each}, not stated; the same for a current that carries the membrane over its threshold")


def _from_metadata(name: str, node: nir.NIRNode) -> ResetKind | None:
    metadata = node.metadata if isinstance(node.metadata, dict) else {}
    if RESET not in metadata:
        return None
    given = text(metadata[RESET])
    if given not in KINDS:
        raise InputError(
            f"node {name!r}: metadata {RESET} = {given!r}; allowed: {', '.join(map(repr, KINDS))}. Pass reset to override it"
        )
    return check_reset(given)
