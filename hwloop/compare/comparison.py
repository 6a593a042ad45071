"""Compare a measured with a simulated record: one object that holds every figure, and prints itself."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..described import Described
from ..errors import InputError
from ..losses import Decision
from ..network.trains import merged, relabelled
from ..record import Record, Recording
from ..spikes import Spikes
from .decisions import Decisions, compare_decisions
from .distances import isi_and_spike_trains, van_rossum_trains, victor_purpura_trains
from .divergence import INPUT_LAYER, Divergences, LayerEvents, first_divergences
from .flat_trains import Floats, Ints, paired_trains, positive
from .influence import Network, NeuronModel, neuron_models
from .matching import Matching, NeuronErrors, match_trains
from .time_format import format_time

#: The default window, in units of the time scale: a spike that comes later counts as missing, and as an extra one.
WINDOW_SCALES = 1.0
#: The default tolerance of the first divergence, in the same units: five times the spike jitter of a usual analog chip.
TOLERANCE_SCALES = 0.05
#: Without a network, the time scale is this share of ``t_stop``.
T_STOP_SHARE = 0.1

#: Version of the JSON document.
FORMAT, VERSION = "hwloop.comparison", 1


@dataclass(frozen=True)
class Settings:
    """What the figures depend on.

    Attributes
    ----------
    window : float (s)
        Largest distance of a matched pair.
    tolerance : float (s)
        Shift up to which an event counts as equal in the search for the first divergence.
    tau : float (s)
        Time constant of the van Rossum distance.
    q : float (1/s)
        Cost of shifting, Victor-Purpura distance.
    """

    window: float
    tolerance: float
    tau: float
    q: float


@dataclass(frozen=True, eq=False)
class PopulationComparison:
    """One spiking layer.

    Attributes
    ----------
    layer : int
        As in ``record[layer]``.
    matching : Matching
    neurons : NeuronErrors
        Per neuron: bias, RMSE, jitter (s), matched, missing, extra.
    van_rossum, victor_purpura, isi, spike : ``[n_units]``
        Distances of each neuron, mean over samples (those silent on both sides count, with 0).
    """

    layer: int
    matching: Matching
    neurons: NeuronErrors
    van_rossum: Floats
    victor_purpura: Floats
    isi: Floats
    spike: Floats

    @property
    def n_units(self) -> int:
        """Neurons of the layer."""
        return self.matching.simulated.n_units

    @property
    def spikes(self) -> tuple[int, int]:
        """Simulated and measured spikes, over all samples."""
        return len(self.matching.simulated.times), len(self.matching.measured.times)

    @property
    def bias(self) -> float | None:
        """Mean of measured minus simulated time over all pairs (s); None without pairs."""
        return _mean(self.matching.errors)

    @property
    def rmse(self) -> float | None:
        """Root mean square of it (s)."""
        square = _mean(self.matching.errors**2)
        return None if square is None else math.sqrt(square)

    @property
    def jitter(self) -> float | None:
        """Spread of all pairs around the bias of their own neuron (s)."""
        unit = self.matching.simulated.unit[self.matching.pairs[0]]
        square = _mean((self.matching.errors - self.neurons.bias[unit]) ** 2)
        return None if square is None else math.sqrt(square)

    @property
    def bias_spread(self) -> float | None:
        """Standard deviation of the biases across neurons (s): the fixed pattern of the device."""
        known = self.neurons.bias[self.neurons.matched > 0]
        return float(known.std()) if len(known) else None

    def summary(self) -> dict[str, int | float | None]:
        """The layer in one row; times in s."""
        simulated, measured = self.spikes
        return {
            "layer": self.layer, "neurons": self.n_units, "simulated_spikes": simulated, "measured_spikes": measured,
            "matched": int(self.neurons.matched.sum()), "missing": int(self.neurons.missing.sum()),
            "extra": int(self.neurons.extra.sum()), "bias": self.bias, "rmse": self.rmse, "jitter": self.jitter,
            "bias_spread": self.bias_spread, "van_rossum": float(self.van_rossum.mean()),
            "victor_purpura": float(self.victor_purpura.mean()), "isi_distance": float(self.isi.mean()),
            "spike_distance": float(self.spike.mean()),
        }  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Described):
    """A measured against a simulated record; see :func:`compare`.

    Attributes
    ----------
    populations : tuple of PopulationComparison
    decisions : Decisions
        Of the output layer.
    divergences : Divergences
    settings : Settings
    provenance : dict
        Of the measured record: ran_on, device id, program digest and so on.
    """

    populations: tuple[PopulationComparison, ...]
    decisions: Decisions
    divergences: Divergences
    settings: Settings
    provenance: dict[str, Any]
    simulated: Record = field(repr=False)
    measured: Record = field(repr=False)

    @property
    def n_samples(self) -> int:
        """Samples compared."""
        return len(self.simulated.output)

    @property
    def identical(self) -> bool:
        """True where every event of every layer agrees exactly."""
        return all(
            not len(p.matching.missing) and not len(p.matching.extra) and not np.any(p.matching.errors)
            for p in self.populations
        )

    def _facts(self) -> dict[str, Any]:
        missing, extra = (
            sum(len(getattr(p.matching, name)) for p in self.populations) for name in ("missing", "extra")
        )
        rmse = self.populations[-1].rmse
        decisions = self.decisions
        facts: dict[str, Any] = {
            "samples": self.n_samples,
            "identical": self.identical,
            "missing": missing,
            "extra": extra,
        }
        if rmse is not None:
            facts["rmse of the output"] = format_time(rmse)
        facts["decisions changed"] = len(decisions.flipped)
        if decisions.accuracy_simulated is not None and decisions.accuracy_measured is not None:
            facts["accuracy"] = (
                f"{100 * decisions.accuracy_simulated:.1f} % simulated, {100 * decisions.accuracy_measured:.1f} % measured"
            )
        return {
            **facts,
            "measured on": f"{self.provenance.get('ran_on', '-')} {self.provenance.get('device_id', '')}".strip(),
        }

    def to_dict(self) -> dict[str, Any]:
        """Every figure as plain values, times in s; ``None`` where a figure is undefined."""
        from .document import document

        return document(self)

    def to_json(self, path: Path | str) -> None:
        """Write :meth:`to_dict` to ``path`` in one step; raises :class:`DataError` where that fails."""
        from ..storage import write_json

        write_json(path, self.to_dict(), kind=FORMAT, version=VERSION)

    def to_text(self, width: int = 100, *, color: bool = False) -> str:
        """The comparison as tables for a terminal of ``width`` columns, with ANSI colours if wanted."""
        from .text import render

        return render(self, width, color)

    def to_html(self, path: Path | str, *, sample: int | None = None, plots: Path | str | None = None) -> None:
        """Write one self-contained page with plots to ``path`` in one step, and every plot into the folder ``plots``.

        ``sample`` is the one whose spikes are drawn; by default that of the first divergence. Raises
        :class:`InputError` for a sample that does not exist, :class:`DataError` where writing fails.
        """
        from .html import comparison_report

        comparison_report(self, sample).write(path, plots)


def compare(
    simulated: Record, measured: Record, *, net: Network | None = None,
    labels: torch.Tensor | Ints | Sequence[int] | None = None, window: float | None = None,
    tolerance: float | None = None, tau: float | None = None, q: float | None = None, decision: Decision = "first",
) -> Comparison:  # fmt: skip
    """Compare a measured with a simulated record of the same network and batch.

    Parameters
    ----------
    simulated, measured : Record
        Usually ``net(spikes)`` and what a device's ``run`` returned.
    net : Network, optional
        Gives the causal inputs of the first divergence and the time scale ``tau``.
    labels : ``[batch]`` whole numbers, optional
    window : float (s), default tau
        A measured spike farther than this from a simulated one is not the same spike.
    tolerance : float (s), default .05 tau
        Shift from which on an event counts as diverging; 0 asks for exact equality.
    tau : float (s)
        Time constant of the van Rossum distance, and the scale of the other defaults; default: the median
        ``tau_mem`` of ``net``, or a tenth of ``t_stop`` without one.
    q : float (1/s), default 2 / window
        Cost of shifting a spike, Victor-Purpura distance.
    decision : "first" | "count"
        How the output layer decides.

    Raises
    ------
    InputError
        Records of different layers, neurons, batch or ``t_stop``; settings or labels out of range.
    """
    if len(simulated) != len(measured):
        raise InputError(
            f"simulated has {len(simulated)} populations, measured has {len(measured)}; both must stem from one network"
        )
    known = _inputs_of(simulated, measured)
    models = (
        None
        if net is None
        else neuron_models(net, [p.n_units for p in simulated.populations], known and known[0].n_units)
    )
    scale = _time_scale(simulated, tau, None if models is None else np.concatenate([m.tau_mem for m in models]))
    settings = _settings(scale, window, tolerance, q)
    pairs = zip(simulated.populations, measured.populations, strict=True)
    matchings = {i: _match(a, b, settings, f"layer {i}") for i, (a, b) in enumerate(pairs)}
    if known is not None:
        matchings[INPUT_LAYER] = _match(*known, settings, "input")
    chosen = torch.as_tensor(labels) if labels is not None and not isinstance(labels, np.ndarray) else labels
    layers = [
        LayerEvents(i, matchings[i], matchings.get(i - 1), models[i] if models is not None and i >= 0 else None)
        for i in sorted(matchings)
    ]
    if net is not None and models is not None and not net.is_plain_chain:
        layers = _of_graph(net, models, matchings, (simulated, measured, known), settings)
    return Comparison(
        populations=tuple(_population(i, matchings[i], settings) for i in range(len(simulated))),
        decisions=compare_decisions(simulated.output, measured.output, chosen, decision),
        divergences=first_divergences(layers, len(simulated.output), settings.tolerance),
        settings=settings,
        provenance=_provenance(measured),
        simulated=_detached(simulated),
        measured=_detached(measured),
    )


def _of_graph(
    net: Network,
    models: Sequence[NeuronModel],
    matchings: dict[int, Matching],
    records: tuple[Record, Record, tuple[Spikes, Spikes] | None],
    settings: Settings,
) -> list[LayerEvents]:
    """Every population with the events of all that drives it."""
    simulated, measured, known = records
    found = [LayerEvents(INPUT_LAYER, matchings[INPUT_LAYER], None, None)] if known is not None else []
    for index, (name, model) in enumerate(zip(net.structure.populations, models, strict=True)):
        inputs = None
        if known is not None or all(layer >= 0 for layer, _, _ in model.sources):
            ours = [simulated[k] if k >= 0 else known[0] for k, _, _ in model.sources]  # type: ignore[index]
            theirs = [measured[k] if k >= 0 else known[1] for k, _, _ in model.sources]  # type: ignore[index]
            a, b = (_driving(trains, model) for trains in (ours, theirs))
            inputs = _match(a, b, settings, f"inputs of {name!r}")
        found.append(LayerEvents(index, matchings[index], inputs, model, name))
    return found


def _driving(trains: Sequence[Spikes], model: NeuronModel) -> Spikes:
    """The trains that drive a population, its units numbered as the columns of its weights."""
    parts = []
    for train, (_, first, size) in zip(trains, model.sources, strict=True):
        units = np.full(train.n_units, -1)
        units[first : first + size] = np.arange(size)
        parts.append(relabelled(train.detach().to("cpu"), units, size))
    return merged(parts)


def _detached(record: Record) -> Record:
    """A copy of the record without gradients, which would keep the whole graph alive: pages are drawn from it later."""
    populations = tuple(_copied(population) for population in record.populations)
    return replace(record, populations=populations, inputs=record.inputs and _copied(record.inputs), health=None)


def _copied(spikes: Spikes) -> Spikes:
    times, units, counts = spikes.times.detach().clone(), spikes.units.clone(), spikes.counts.clone()
    return Spikes.trusted(times, units, counts, spikes.n_units, spikes.t_stop)


def _inputs_of(simulated: Record, measured: Record) -> tuple[Spikes, Spikes] | None:
    """Input events of both sides; where one side did not keep them, both were given the other's."""
    ours = measured.inputs if simulated.inputs is None else simulated.inputs
    theirs = simulated.inputs if measured.inputs is None else measured.inputs
    return None if ours is None or theirs is None else (ours, theirs)


def _time_scale(simulated: Record, tau: float | None, tau_mem: Floats | None) -> float:
    if tau is not None:
        return positive("tau", tau, "s")
    return T_STOP_SHARE * simulated.output.t_stop if tau_mem is None else float(np.median(tau_mem))


def _settings(scale: float, window: float | None, tolerance: float | None, q: float | None) -> Settings:
    window = positive("window", WINDOW_SCALES * scale if window is None else window, "s")
    tolerance = TOLERANCE_SCALES * scale if tolerance is None else tolerance
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"tolerance = {tolerance} s; allowed: finite and >= 0 s")
    q = 2.0 / window if q is None else q
    if not (math.isfinite(q) and q >= 0):
        raise InputError(f"q = {q} per second; allowed: finite and >= 0")
    return Settings(window, float(tolerance), scale, float(q))


def _match(simulated: Spikes, measured: Spikes, settings: Settings, where: str) -> Matching:
    return match_trains(*paired_trains(simulated, measured, where), settings.window)


def _population(layer: int, matching: Matching, settings: Settings) -> PopulationComparison:
    a, b = matching.simulated, matching.measured
    if settings.q == 2.0 / settings.window:  # the matching has solved just this problem
        edits = (matching.cost * (2.0 / settings.window)).reshape(a.batch, a.n_units)
    else:
        edits = victor_purpura_trains(a, b, settings.q)
    isi, spike = isi_and_spike_trains(a, b)
    filtered = van_rossum_trains(a, b, settings.tau)
    means = [np.asarray(d.mean(axis=0)) for d in (filtered, edits, isi, spike)]
    return PopulationComparison(layer, matching, matching.per_neuron(), *means)


def _provenance(measured: Record) -> dict[str, Any]:
    if isinstance(measured, Recording):
        return dict(measured.provenance())
    return {"ran_on": "simulator", "device_id": "", "program_digest": ""}


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if len(values) else None
