"""What was found in a NIR graph, and how far its network's spikes move when it goes out and comes back."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ...errors import InputError
from ...record import Record
from ...spikes import Spikes
from ..model import Network
from ..populations import Input, Population

#: Steps (s) whose round trip is measured; None: literal.
STEPS: tuple[float | None, ...] = (None, 1e-4)
#: The stimulus: as many spikes of each input unit, but not more in all, at random within this many of the longest time constant.
SPIKES_OF_A_UNIT, MOST_SPIKES, WINDOW = 10, 2_000, 10.0
#: Window (s) of a network without time constants.
TIMELESS_WINDOW = 0.1


@dataclass(frozen=True)
class RoundTrip:
    """A network that was exported with ``dt`` and imported again, on the same stimulus.

    Attributes
    ----------
    spikes : of all populations, before
    shift : largest shift (s) of a spike of neurons that spike as often as before
    changed : spikes that neurons have more or fewer, in sum
    refused : why it was not exported; None where it was
    """

    dt: float | None
    spikes: int = 0
    shift: float = 0.0
    changed: int = 0
    refused: str | None = None

    def __str__(self) -> str:
        how = "to_nir()" if self.dt is None else f"to_nir(dt={self.dt:g})"
        if self.refused is not None:
            return f"{how}: refused: {self.refused}"
        return f"{how}: {self.spikes} spikes, moved by {self.shift:.3g} s at most, {self.changed} more or fewer"


def round_trips(net: Network, steps: Sequence[float | None] = STEPS) -> tuple[RoundTrip, ...]:
    """The round trip of ``net`` for each of ``steps``, in float64."""
    exact = copy.deepcopy(net).double()
    stimulus = stimulus_of(exact)
    with torch.no_grad():
        before = exact(stimulus)
    return tuple(_round_trip(exact, stimulus, before, dt) for dt in steps)


def _round_trip(net: Network, stimulus: Spikes | dict[str, Spikes], before: Record, dt: float | None) -> RoundTrip:
    try:
        back = Network.from_nir(net.to_nir(dt))
    except InputError as error:
        return RoundTrip(dt, refused=str(error))
    given = stimulus
    if isinstance(stimulus, dict):
        given = {name: stimulus[name] for name in back.structure.inputs}
    with torch.no_grad():
        after = back(given)
    shift, changed, total = 0.0, 0, 0
    for a, b in zip(_in_order(net, before), _in_order(back, after), strict=True):
        total += int(a.counts.sum())
        for one, other in zip(_trains(a), _trains(b), strict=True):
            changed += abs(len(one) - len(other))
            if len(one) == len(other) and len(one):
                shift = max(shift, float(np.abs(one - other).max()))
    return RoundTrip(dt, total, shift, changed)


def _in_order(net: Network, record: Record) -> list[Spikes]:
    """Populations of ``record`` in the order of their names: a file may hold them in another; a chain's stand as they are."""
    names = net.structure.populations
    order = range(len(names)) if "layers" in net._modules else np.argsort(names)
    return [record.populations[k] for k in order]


def _trains(spikes: Spikes) -> list[np.ndarray[tuple[int], np.dtype[np.float64]]]:
    times, units, valid = (x[0].numpy() for x in (spikes.times, spikes.units, spikes.valid))
    return [np.sort(times[valid & (units == j)]) for j in range(spikes.n_units)]


def stimulus_of(net: Network) -> Spikes | dict[str, Spikes]:
    """Spikes at random, always the same, for every input of ``net``; one sample."""
    nodes = net.structure.nodes
    window = WINDOW * max((_longest(node) for node in nodes.values()), default=0.0) or TIMELESS_WINDOW
    generator = np.random.default_rng(0)
    made = {}
    for name in net.structure.inputs:
        n = nodes[name].n
        count = min(SPIKES_OF_A_UNIT * n, MOST_SPIKES)
        times, units = np.sort(generator.uniform(0, 0.5 * window, count)), generator.integers(0, n, count)
        made[name] = Spikes.from_events([(times, units)], n, window, torch.float64)
    return made if len(made) > 1 else next(iter(made.values()))


def _longest(node: Population) -> float:
    taus = [getattr(node, name, None) for name in ("tau_mem", "tau_syn")]
    return max((float(tau.detach().max()) for tau in taus if tau is not None), default=0.0)


def rows_of(net: Network) -> list[tuple[str, str, str, str]]:
    """Every node of ``net``: name, kind, shape, and what leads into it."""
    found = []
    for name, node in net.structure.nodes.items():
        ways = [
            f"{link.source}: {' '.join(type(layer).__name__ for layer in link.composition.maps) or 'directly'}"
            for link in net.structure.links
            if link.target == name
        ]
        kind = type(node).__name__ if not isinstance(node, Input) else "input"
        found.append((name, kind, " x ".join(map(str, node.shape)), "; ".join(ways) or "-"))
    return found
