"""Membranes of single neurons over time, exactly as the model has them, between the spikes that a record holds.

Without its resets a membrane is linear in what drives it, and known in closed form (:mod:`hwloop.simulate.readout`): ``f``. A reset
at ``T`` leaves ``u+``, where it is held until ``R = T + t_ref``; from then on the difference to ``f`` decays alone:

    u(t) = f(t) + (u+ - f(R)) e^(-(t - R)/tau_mem)          u+ = v_reset, or u(T) - (v_th - v_reset) with reset "subtract"
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import torch
from torch import Tensor

from ..arguments import whole
from ..errors import InputError
from ..record import Record
from .populations import IF, LI, SpikingPopulation
from .readouts import driven, trains_of, without_reset

if TYPE_CHECKING:
    from ..drawing import Drawing
    from .model import Network

#: Neurons shown where none are chosen, and points of a curve besides its events.
SHOWN, POINTS = 4, 400

#: Membranes without resets at times ``[m]`` (s): ``[m, n]`` float64.
Free: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class _Reset:
    """From ``time`` on the membrane is held at ``value`` until ``release``; then ``excess`` over the free one decays."""

    time: float
    release: float
    value: float
    excess: float


@dataclass(frozen=True, eq=False)
class MembraneTraces:
    """Membranes of some neurons of a population in one sample.

    Attributes
    ----------
    population, sample, neurons : which
    t_stop : end of the window (s)
    spikes : of each neuron, its spike times ``[k]`` (s); none of one that does not spike
    v_th : ``[neurons]`` thresholds; None where the population does not spike
    """

    population: str
    sample: int
    neurons: tuple[int, ...]
    t_stop: float
    spikes: tuple[Tensor, ...]
    v_th: Tensor | None
    _free: Free = field(repr=False)
    _resets: tuple[tuple[_Reset, ...], ...] = field(repr=False)
    _tau_mem: tuple[float, ...] = field(repr=False)

    def at(self, times: Tensor) -> Tensor:
        """The membranes at ``times`` ``[m]`` (s), in any order: ``[m, neurons]`` float64; at a spike, that after its reset.

        Raises :class:`InputError` for times outside the window.
        """
        asked = torch.as_tensor(times, dtype=torch.float64).detach()
        found = self._free(asked)[:, list(self.neurons)]
        for k, resets in enumerate(self._resets):
            found[:, k] = _with_resets(asked, found[:, k], resets, self._tau_mem[k])
        return found

    def curve(self, neuron: int, points: int = POINTS) -> tuple[Tensor, Tensor]:
        """Times (s) and membrane of neuron number ``neuron`` of :attr:`neurons`, to be drawn: every reset with both its sides."""
        regular = torch.linspace(0, self.t_stop, points, dtype=torch.float64)
        resets = self._resets[neuron]
        at = torch.tensor([t for reset in resets for t in (reset.time, reset.release)], dtype=torch.float64)
        before = torch.nextafter(at, torch.zeros_like(at))
        times = torch.unique(torch.cat([regular, at, before]).clamp(0, self.t_stop))
        return times, self.at(times)[:, neuron]

    def plot(self) -> Drawing:
        """The membranes, thresholds (dotted) and spikes (ticks), to be shown in a notebook or saved."""
        from ..drawing.spike_panels import draw_membranes

        return draw_membranes(self)


def traces_of(
    net: Network, record: Record, population: int | str | None, neurons: Sequence[int] | None, sample: int
) -> MembraneTraces:
    """As :meth:`hwloop.Network.membranes`."""
    name = _called(net, population)
    node = net.structure.nodes[name]
    one = _one_sample(record, sample)
    chosen = tuple(range(min(node.n, SHOWN))) if neurons is None else tuple(neurons)
    chosen = tuple(whole("neurons", neuron, 0, node.n - 1) for neuron in chosen)
    if not chosen:
        raise InputError(f"neurons = {list(chosen)}; allowed: at least one of 0..{node.n - 1}")
    if isinstance(node, LI):
        held = record.readouts.get(name)
        if held is None:
            raise InputError(f"the record holds no membranes of {name!r}; allowed: the record of a run of this network")

        def read(times: Tensor) -> Tensor:
            return held.at(times)[sample].detach().double()

        ends, none = held.t_stop, tuple(torch.zeros(0, dtype=torch.float64) for _ in chosen)
        return MembraneTraces(
            name, sample, chosen, ends, none, None, read, tuple(() for _ in chosen), (1.0,) * len(chosen)
        )
    if not isinstance(node, SpikingPopulation):
        raise InputError(f"{name!r} is an input, which has no membrane; allowed: a population")
    return _spiking(net, name, node, one, chosen, sample)


def _called(net: Network, population: int | str | None) -> str:
    structure = net.structure
    if population is None:
        return structure.output
    if isinstance(population, str):
        if population not in structure.nodes:
            raise InputError(
                f"no population is called {population!r}; there are: {', '.join(map(repr, structure.nodes))}"
            )
        return population
    return structure.populations[whole("population", population, 0, len(structure.populations) - 1)]


def _one_sample(record: Record, sample: Any) -> Record:
    batch = len(record.populations[0]) if record.populations else len(record.inputs or ())
    number = whole("sample", sample, 0, batch - 1)
    inputs = None if record.inputs is None else record.inputs.detach()[number]
    trains = tuple(train.detach()[number] for train in record.populations)
    return Record(trains, inputs, names=record.names, readouts=record.readouts, output_name=record.output_name)


def _leaky(net: Network, one: Record, name: str) -> Free:
    with torch.no_grad():
        held = without_reset(net, one, name, torch.float64)

    def read(times: Tensor) -> Tensor:
        return held.at(times)[0].detach().double()

    return read


def _arrivals(net: Network, one: Record, name: str) -> tuple[Tensor, Tensor]:
    """When spikes reach a population ``[k]`` (s), in order, and the weight of each to every neuron ``[k, n]``."""
    links = [link for link in net.structure.links if link.target == name]
    with torch.no_grad():
        inputs, weight, _ = driven(links, trains_of(net, one))
    n = int(inputs.counts[0])
    return inputs.times[0, :n].double(), weight.detach().double().t()[inputs.units[0, :n]]


def _without_leak(net: Network, one: Record, name: str) -> Free:
    """Of IF neurons, ``f(t) = v_init + bias t + sum of the weights that arrived``."""
    node, links = net.structure.nodes[name], [link for link in net.structure.links if link.target == name]
    arrived, weights = _arrivals(net, one, name)
    steps = torch.cat([torch.zeros(1, node.n, dtype=torch.float64), weights.cumsum(0)])
    start = cast(Tensor, node.v_init).detach().double()  # IF always has one
    offsets = [part.detach().double() for part in (link.composition.offset() for link in links) if part is not None]
    slope = torch.stack(offsets).sum(0) if offsets else torch.zeros_like(start)
    t_stop = one.populations[0].t_stop

    def read(times: Tensor) -> Tensor:
        _check_window(times, t_stop)
        return start + slope * times[:, None] + steps[torch.searchsorted(arrived, times, right=True)]

    return read


def _check_window(times: Tensor, t_stop: float) -> None:
    bad = ~((times >= 0) & (times <= t_stop))
    if bool(bad.any()):
        raise InputError(f"times = {times[bad][0].item():g} s; allowed: 0 to t_stop = {t_stop:g} s")


@dataclass(frozen=True)
class _Cell:
    """One neuron and its levels."""

    neuron: int
    v_th: float
    v_reset: float
    t_ref: float
    tau_mem: float
    subtract: bool


def _spiking(
    net: Network, name: str, node: SpikingPopulation, one: Record, chosen: tuple[int, ...], sample: int
) -> MembraneTraces:
    free = _without_leak(net, one, name) if isinstance(node, IF) else _leaky(net, one, name)
    held = {key: value.detach().double() for key, value in node.acting_parameters().items()}
    train = one[name] if name in one.names else one.populations[-1]
    ((times, units),) = train.to_events()
    # recorded times are rounded to their dtype, also beyond the end of the window
    own = [torch.from_numpy(times[units == neuron]).double().clamp(0, train.t_stop) for neuron in chosen]
    cells, resets = [], []
    for neuron, found in zip(chosen, own, strict=True):
        v_th, v_reset, t_ref = (held[key][neuron].item() for key in ("v_th", "v_reset", "t_ref"))
        tau_mem = math.inf if isinstance(node, IF) else held["tau_mem"][neuron].item()
        cells.append(_Cell(neuron, v_th, v_reset, t_ref, tau_mem, node.reset == "subtract"))
        resets.append(_resets(found, cells[-1], free, train.t_stop))
    taus = tuple(cell.tau_mem for cell in cells)
    return MembraneTraces(
        name, sample, chosen, train.t_stop, tuple(own), held["v_th"][list(chosen)], free, tuple(resets), taus
    )


def _resets(spikes: Tensor, cell: _Cell, free: Free, t_stop: float) -> tuple[_Reset, ...]:
    """What the spikes of one neuron leave, those at one time together; what arrives then has arrived before them."""
    distinct, counts = torch.unique(spikes, return_counts=True)
    releases = (distinct + cell.t_ref).clamp(max=t_stop)
    at_spike, at_release = (free(times)[:, cell.neuron] for times in (distinct, releases))
    found: list[_Reset] = []
    for k, time in enumerate(distinct.tolist()):
        value = cell.v_reset
        if cell.subtract and not (found and time < found[-1].release):
            u = _with_resets(distinct[k : k + 1], at_spike[k : k + 1], found[-1:], cell.tau_mem).item()
            value = u - int(counts[k]) * (cell.v_th - cell.v_reset)
        found.append(_Reset(time, releases[k].item(), value, value - at_release[k].item()))
    return tuple(found)


def _with_resets(times: Tensor, free: Tensor, resets: Sequence[_Reset], tau_mem: float) -> Tensor:
    """The membrane at ``times [m]`` of what it would be without ``resets``."""
    if not resets:
        return free
    rows = torch.tensor([(r.time, r.release, r.value, r.excess) for r in resets], dtype=torch.float64)
    last = torch.searchsorted(rows[:, 0].contiguous(), times, right=True) - 1
    _, release, value, excess = rows[last.clamp(min=0)].unbind(1)
    decayed = free + excess * torch.exp(-(times - release).clamp(min=0) / tau_mem)
    return torch.where(last < 0, free, torch.where(times < release, value, decayed))
