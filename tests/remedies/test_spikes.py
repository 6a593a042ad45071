"""Spikes, their exchange with other libraries, encodings and data sets."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Any

import neo
import nir
import numpy as np
import pytest
import quantities as pq
import torch

from hwloop import Dataset, Spikes, Task, datasets, encoding
from hwloop.exchange import from_neo, from_nir_data
from hwloop.spikes import concatenate

from .support import Case, option, refused

T, U, N = torch.tensor([[0.1, 0.3]]), torch.tensor([[0, 2]]), torch.tensor([2])


def spikes(times: Any = T, units: Any = U, counts: Any = N, n_units: Any = 3, t_stop: Any = 1.0) -> Spikes:
    return Spikes(times, units, counts, n_units, t_stop)


def events(*pairs: Any, **options: Any) -> Spikes:
    return Spikes.from_events([*pairs], **{"n_units": 3, "t_stop": 1.0, **options})


def dense(raster: torch.Tensor, dt: float = 1e-3) -> Spikes:
    return Spikes.from_dense(raster, dt)


def aer(*names: str) -> Spikes:
    return Spikes.from_aer([np.zeros(2, [(name, np.int64) for name in names])], 3, 1.0)


SPIKES = [
    Case("Spikes.from_events", "give at least one (times, units) pair", lambda: events(), lambda: events(([], []))),
    Case("Spikes.from_first_times", "expected [batch >= 1, n_units >= 1]",
         lambda: Spikes.from_first_times(torch.zeros(3), 1.0), lambda: Spikes.from_first_times(torch.zeros(1, 1), 1.0)),
    Case("Spikes.from_first_times", "a silent unit is +inf",
         lambda: Spikes.from_first_times(torch.tensor([[math.nan]]), 1.0),
         lambda: Spikes.from_first_times(torch.tensor([[math.inf]]), 1.0)),
    Case("rasters.from_dense", "expected [batch, steps, n_units]", lambda: dense(torch.zeros(4, 3)),
         lambda: dense(torch.zeros(4, 3)[None])),
    option("arguments.seconds", "{} = {}{}; allowed: finite and {} 0", lambda dt: dense(torch.zeros(1, 4, 3), dt), "dt", 0.0, 1e-9),
    Case("_check_binary", "values other than 0 and 1", lambda: dense(torch.full((1, 4, 3), 2)),
         (lambda: dense(torch.full((1, 4, 3), 2) > 0), lambda: dense(torch.full((1, 4, 3), 2).clamp(max=1)))),
    Case("_arrays", "an AER array needs 't' and 'x'", lambda: aer("t", "y"), lambda: aer("t", "x")),
    Case("Spikes.__getitem__", "selects no samples of the {} in this batch", lambda: spikes()[1:], lambda: spikes()[0:1]),
    option("arguments.seconds", "allowed: finite and {} 0", lambda dt: spikes().to_dense(dt), "dt", -1.0, 1e-6),
    Case("concatenate", "give at least one batch", lambda: concatenate([]), lambda: concatenate([spikes()])),
    Case("concatenate", "cannot join a batch of {}", lambda: concatenate([spikes(), spikes(t_stop=2.0)]),
         lambda: concatenate([spikes(t_stop=2.0), spikes(t_stop=2.0)])),
    Case("event_pair", "expected a (times, units) pair", lambda: events(0.1), lambda: events(([0.1], [0]))),
    Case("event_pair", "expected two lists of equal length", lambda: events(([0.1], [0, 1])),
         lambda: events(([0.1, 0.1], [0, 1]))),
    Case("whole_numbers", "{} must be whole numbers, found {}; round them first", lambda: events(([0.1], [0.5])), lambda: events(([0.1], [1.0]))),
    option("arguments.whole", "allowed: a whole number >= {}", lambda n_units: events(([0.1], [0]), n_units=n_units), "n_units", 0, 1),
    option("arguments.seconds", "; allowed: finite and {} 0", lambda t_stop: events(([], []), t_stop=t_stop), "t_stop", math.inf, 5e-324),
    Case("check_shapes", "expected [batch, events] twice and [batch]", lambda: spikes(counts=N[0]), spikes),
    Case("check_shapes", "a batch of no samples; give at least one", lambda: spikes(T[:0], U[:0], N[:0]), spikes),
    Case("check_shapes", "allowed: float32 or float64", lambda: spikes(times=T.int()),
         (lambda: spikes(times=T.float()), lambda: spikes(times=T.double()))),
    Case("check_shapes", "both must be int64", lambda: spikes(units=U.int()), lambda: spikes(units=U.long())),
    Case("check_shapes", "counts span {}; allowed: 0..{} events", lambda: spikes(counts=N + 1),
         (lambda: spikes(counts=N), lambda: spikes(times=T / 0.0, units=0 * U, counts=0 * N))),
    Case("spike_checks._refuse", "{} {}; allowed: {}", lambda: spikes(times=T + 0.9), lambda: spikes(times=(T + 0.9).clamp(max=1.0))),
    Case("spike_checks._refuse", "{}; allowed", lambda: events(([0.3, 0.1], [0, 2])), lambda: events(([0.1, 0.3], [2, 0]))),
    Case("spike_checks._refuse", "allowed: {}", lambda: spikes(units=U + 1), lambda: spikes(units=U)),
    Case("spike_checks._refuse", "event {}: {}", lambda: spikes(counts=N - 1), lambda: spikes(times=torch.tensor([[0.1, math.inf]]), counts=N - 1)),
]  # fmt: skip


def grid(dtype: Any) -> nir.TimeGriddedData:
    return nir.TimeGriddedData(np.zeros((1, 4, 3), dtype), 1e-3)


def train(stop: float = 1.0, start: float = 0.0) -> neo.SpikeTrain:
    return neo.SpikeTrain([0.5] * pq.s, t_stop=stop, t_start=start)


def segment(*trains: neo.SpikeTrain) -> neo.Segment:
    result = neo.Segment()
    result.spiketrains.extend(trains)
    return result


VALUED = nir.ValuedEventData(np.zeros((1, 1), int), np.zeros((1, 1)), 3, 1.0, np.zeros((1, 1)))

EXCHANGE = [
    Case("from_nir_data", "spikes are bool", lambda: from_nir_data(grid(float)), lambda: from_nir_data(grid(bool))),
    Case("from_nir_data", "allowed: EventData, TimeGriddedData of bool", lambda: from_nir_data(VALUED),
         (lambda: from_nir_data(nir.EventData(VALUED.idx, VALUED.time, 3, 1.0)), lambda: from_nir_data(grid(bool)))),
    Case("from_neo", "no segment with a spike train", lambda: from_neo([segment()]), lambda: from_neo([segment(train())])),
    Case("from_neo", "spike trains; the first has {}", lambda: from_neo([segment(train()), segment()]),
         lambda: from_neo([segment(train()), segment(train())])),
    Case("from_neo", "cut them alike", lambda: from_neo([segment(train()), segment(train(2.0))]),
         lambda: from_neo([segment(train()), segment(train(2.0).time_slice(0 * pq.s, 1 * pq.s))])),
]  # fmt: skip


def test_trains_that_are_sorted_by_their_unit_are_read() -> None:
    trains = [neo.SpikeTrain([0.5] * pq.s, t_stop=1.0, unit=unit) for unit in (1, 0)]
    refused("from_neo", "units are counted by place: sort the trains", lambda: from_neo([segment(*trains)]))
    from_neo([segment(*sorted(trains, key=lambda train: train.annotations["unit"]))])


def test_the_extra_that_is_named_brings_neo(monkeypatch: pytest.MonkeyPatch) -> None:
    """It stands in the project's extras, and once Neo can be imported the export works."""
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "neo", None)
        said = refused("exchange._neo", "pip install 'hwloop[neo]'", lambda: spikes().to_neo())
    assert "neo = [" in (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert "neo" in said
    spikes().to_neo()


def early(
    intensity: Any = None, times: tuple[float, float, float] = (0.0, 1.0, 2.0), bias: float | None = None
) -> Spikes:
    values = torch.rand(2, 3) if intensity is None else intensity
    return encoding.latency(values, *times, bias_time=bias)


ENCODING = [
    option("thinned", "allowed: 0 <= share < 1", lambda share: encoding.thinned(spikes(), share, torch.Generator()), "share", 1.0, 0.0, math.nextafter(1, 0)),
    Case("encoding._check", "expected [batch >= 1, n >= 1]", lambda: early(torch.rand(3)), lambda: early(torch.rand(1, 1))),
    Case("encoding._check", "(divide bytes by 255)", lambda: early(torch.full((1, 2), 255, dtype=torch.uint8)),
         lambda: early(torch.full((1, 2), 255, dtype=torch.uint8) / 255)),
    Case("encoding._check", "value {}; allowed: 0..1", lambda: early(torch.tensor([[1.5, -1]])),
         lambda: early(torch.tensor([[1.0, 0.0]]))),
    Case("encoding._check", "allowed: 0 <= t_early <= t_late <= t_stop", lambda: early(times=(1.0, 0.5, 2.0)),
         (lambda: early(times=(0.0, 0.0, 1e-3)), lambda: early(times=(1.0, 1.0, 1.0)))),
    Case("encoding._check", "bias_time = {} s; allowed: 0..{} s", lambda: early(bias=3.0),
         (lambda: early(bias=2.0), lambda: early(bias=0.0))),
    Case("latency_to_intensity", "allowed: 0 <= t_early < t_late, finite", lambda: encoding.latency_to_intensity(early(), 1.0, 1.0),
         lambda: encoding.latency_to_intensity(early(), 0.0, 1.0)),
    Case("latency_to_intensity", "allowed: 1..{}, the units of the spikes",
         lambda: encoding.latency_to_intensity(early(), 0.0, 1.0, n_units=4),
         (lambda: encoding.latency_to_intensity(early(), 0.0, 1.0, n_units=1),
          lambda: encoding.latency_to_intensity(early(), 0.0, 1.0, n_units=3))),
    Case("latency_to_intensity", "first spike at {} s; allowed: {}..{} s",
         lambda: encoding.latency_to_intensity(early(torch.ones(1, 2)), 0.0, 0.5),
         lambda: encoding.latency_to_intensity(early(torch.ones(1, 2)), 0.0, 1.0)),
]  # fmt: skip

LABELS = torch.tensor([0, 2])
TWO = concatenate([spikes(), spikes()])
DATA = Dataset(TWO, LABELS)


def task(n_in: int = 3, n_out: int = 3, t_stop: float = 1.0) -> Task:
    return Task("small", DATA, DATA, DATA, n_in, n_out, t_stop)


DATASETS = [
    Case("_as_labels", "expected one for each of {} samples", lambda: Dataset(TWO, LABELS[:1]),
         lambda: Dataset(TWO, LABELS.long())),
    Case("_as_labels", "label {}; allowed: whole numbers >= 0", lambda: Dataset(TWO, LABELS - 1),
         lambda: Dataset(TWO, LABELS)),
    Case("Dataset.batches", "batch size {}; allowed: >= 1", lambda: next(DATA.batches(0)), lambda: next(DATA.batches(1))),
    Case("Task.__post_init__", "the task has {} units, t_stop {} s", lambda: task(n_in=4), lambda: task(n_in=3)),
    Case("Task.__post_init__", "label {}; allowed: 0..{}", lambda: task(n_out=2), lambda: task(n_out=3)),
    Case("datasets.split", "cannot split {} samples from {}; allowed: 1..{}", lambda: datasets.split(DATA, 2, 0),
         lambda: datasets.split(DATA, 1, 0)),
    option("yin_yang_samples", "n = {} samples; allowed: >= 1", lambda n: datasets.yin_yang_samples(n, np.random.default_rng()), "n", 0, 1),
    Case("datasets.yin_yang", "source {}; allowed: 'generated', 'published'", lambda: datasets.yin_yang(source="made"),
         lambda: datasets.yin_yang(source="generated", sizes=(2, 2, 2))),
    Case("subset.first", "samples of {}; allowed: 1..{}", lambda: datasets.subset(task(), 3, 1, 1),
         (lambda: datasets.subset(task(), 2, 1, 1), lambda: datasets.subset(task(), 1, 1, 1))),
]  # fmt: skip


@pytest.mark.parametrize("case", [*SPIKES, *EXCHANGE, *ENCODING, *DATASETS], ids=str)
def test_what_is_asked_of_spikes_is_accepted(case: Case) -> None:
    case.follow()
