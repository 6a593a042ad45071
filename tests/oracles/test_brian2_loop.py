"""A recurrent network with delays against Brian2, whose spikes have to approach the exact ones as its step is made smaller.

Brian2 sees a crossing at the end of the step that holds it (see :mod:`.test_brian2`), so a spike is late by 0 to 1 step, and
reaches its targets that much late: round a loop lateness adds up, to some steps, and is proportional to the step. Inputs,
delays and refractory times lie on the coarsest grid and so on every one.

Grazing: a sample is left out where a spike count of the exact simulation changes when all thresholds move by ``MARGIN``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import hwloop as hl

from .test_brian2 import MODEL, NAMES, b2

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Array = NDArray[np.float64]

#: The steps (s), each half of the one before, and the window (s).
STEPS, T_STOP = (1e-4, 5e-5, 2.5e-5, 1.25e-5), 40e-3

N_IN, N, SAMPLES = 5, 8, 12

#: Relative change of the thresholds under which no spike count may change: the finest step moves a membrane by at most
#: dt i / tau_mem = 1.25e-5 s * 4 / 8e-3 s = .006.
MARGIN = 0.01

#: Largest share of samples that may be left out, so that the comparison stays one.
LARGEST_SHARE_LEFT_OUT = 0.4


@dataclass(frozen=True)
class Recurrent:
    """Weights and delays (s) ``[N, N_IN]`` and ``[N, N]``, neuron parameters, input events ``(grid point, unit)`` a sample."""

    into: Array
    among: Array
    into_delay: Array
    among_delay: Array
    parameters: dict[str, Array]
    samples: list[tuple[NDArray[np.int64], NDArray[np.int64]]]

    def spikes(self) -> hl.Spikes:
        pairs = [(steps * STEPS[0], units) for steps, units in self.samples]
        return hl.Spikes.from_events(pairs, N_IN, T_STOP, torch.float64)

    def network(self, threshold_scale: float = 1.0) -> hl.Network:
        values = {name: torch.from_numpy(value) for name, value in self.parameters.items()}
        values["v_th"] = values["v_th"] * threshold_scale
        links = []
        for source, weight, delay in (("in", self.into, self.into_delay), ("loop", self.among, self.among_delay)):
            dense = hl.Dense(weight.shape[1], N, delay=torch.from_numpy(delay)).double()
            with torch.no_grad():
                dense.weight.copy_(torch.from_numpy(weight))
            links.append(hl.Projection(source, "loop", dense))
        return hl.Network.graph({"in": hl.Input(N_IN), "loop": hl.LIF(N, **values).double()}, links, output="loop")  # type: ignore[arg-type]


def drawn(seed: int = 0) -> Recurrent:
    rng = np.random.default_rng([77, seed])
    tau_mem = rng.uniform(8e-3, 20e-3, N)
    # Brian2's closed form divides by tau_mem - tau_syn: the ratio 1 is left to the other references
    tau_syn = tau_mem * rng.choice([0.3, 0.5, 1.6], N) * rng.uniform(0.9, 1.1, N)
    samples = []
    for _ in range(SAMPLES):
        count = int(rng.integers(8, 16))
        steps = 1 + np.sort(rng.choice(round(0.6 * T_STOP / STEPS[0]), count, replace=False))
        samples.append((steps, rng.integers(0, N_IN, count)))
    parameters = {
        "tau_mem": tau_mem, "tau_syn": tau_syn, "v_th": rng.uniform(0.8, 1.2, N), "v_leak": rng.uniform(-0.1, 0.1, N),
        "v_reset": rng.uniform(-0.3, 0.0, N), "t_ref": np.where(rng.random(N) < 0.5, STEPS[0] * rng.integers(5, 20, N), 0.0),
    }  # fmt: skip
    return Recurrent(
        0.4 * rng.normal(1.1, 0.8, (N, N_IN)), 0.5 * rng.normal(0.15, 0.5, (N, N)), STEPS[0] * rng.integers(0, 20, (N, N_IN)),
        STEPS[0] * rng.integers(5, 50, (N, N)), parameters, samples,
    )  # fmt: skip


def brian2_times(network: Recurrent, dt: float) -> list[dict[int, Array]]:
    """Spike times by neuron of every sample; all samples are one Brian2 simulation."""
    b2.start_scope()
    b2.prefs.codegen.target = "numpy"
    b2.defaultclock.dt = dt * b2.second
    units = np.concatenate([row * N_IN + unit for row, (_, unit) in enumerate(network.samples)])
    times = np.concatenate([steps for steps, _ in network.samples]) * STEPS[0]
    source = b2.SpikeGeneratorGroup(SAMPLES * N_IN, units, times * b2.second)
    values = {name: np.tile(network.parameters[name], SAMPLES) for name in NAMES}
    # the step that holds the spike counts as refractory in Brian2, so that t_ref lasts one step more
    values["t_ref"] = np.where(values["t_ref"] > 0, values["t_ref"] + dt, 0.0)
    group = b2.NeuronGroup(
        SAMPLES * N, MODEL, threshold="u > v_th", reset="u = v_reset", refractory="t_ref", method="exact"
    )
    for name in NAMES:
        setattr(group, name, values[name] * b2.second if name[:2] in ("ta", "t_") else values[name])
    group.u = values["v_leak"]
    parts = [
        _synapses(source, group, network.into, network.into_delay),
        _synapses(group, group, network.among, network.among_delay),
    ]
    monitor = b2.SpikeMonitor(group)
    b2.Network(source, group, *parts, monitor).run(T_STOP * b2.second, namespace={})
    index, at = np.asarray(monitor.i), np.asarray(monitor.t / b2.second)
    return [{j: np.sort(at[index == row * N + j]) for j in range(N)} for row in range(SAMPLES)]


def _synapses(source: Any, target: Any, weight: Array, delay: Array) -> Any:
    n_out, n_in = weight.shape
    post, pre = np.meshgrid(np.arange(n_out), np.arange(n_in), indexing="ij")
    rows = np.arange(SAMPLES)[:, None]
    made = b2.Synapses(source, target, "w : 1", on_pre="current_post += w")
    made.connect(i=(rows * n_in + pre.ravel()).ravel(), j=(rows * n_out + post.ravel()).ravel())
    made.w = np.tile(weight.ravel(), SAMPLES)
    made.delay = np.tile(delay.ravel(), SAMPLES) * b2.second
    return made


def exact_times(network: Recurrent) -> list[dict[int, Array]]:
    train = network.network()(network.spikes()).output
    return [{j: t[u == j] for j in range(N)} for t, u in train.to_events()]


def sure_samples(network: Recurrent) -> NDArray[np.bool_]:
    """``[SAMPLES]`` whether no spike count changes within the margin."""
    counts = [network.network(1.0 + shift)(network.spikes()).output.unit_counts() for shift in (-MARGIN, 0.0, MARGIN)]
    return np.asarray(((counts[0] == counts[1]) & (counts[2] == counts[1])).all(1))


def test_recurrent_spikes_of_brian2_approach_the_exact_ones_in_proportion_to_its_step(
    record_property: Callable[[str, object], None],
) -> None:
    network = drawn()
    sure, expected = sure_samples(network), exact_times(network)
    alone = network.network()
    with torch.no_grad():
        alone.projections[1].maps[0].weight.zero_()  # type: ignore[union-attr, operator, index]
    counts = [int(net(network.spikes()).output.counts.sum()) for net in (network.network(), alone)]
    assert abs(counts[0] - counts[1]) > 0.1 * counts[1], "the loop changes what spikes"
    late = []
    for dt in STEPS:
        found = brian2_times(network, dt)
        errors: list[float] = []
        for row in np.flatnonzero(sure):
            for j in range(N):
                assert len(found[row][j]) == len(expected[row][j]) or dt > STEPS[-1], (row, j)
                if len(found[row][j]) == len(expected[row][j]):
                    errors += list(np.abs(found[row][j] - expected[row][j]))
        late.append(float(np.mean(errors)))
        record_property(f"spikes compared, step {dt:g} s", len(errors))
    slope = np.polyfit(np.log(STEPS), np.log(late), 1)[0]
    print(f"left out: {1 - sure.mean():.0%} of {SAMPLES} samples; mean lateness (s): {late}; slope {slope:.3f}")
    assert 1 - sure.mean() <= LARGEST_SHARE_LEFT_OUT
    assert len(errors) > 100
    # lateness is uniform in [0, dt) at each hop; the mean of some hundred such numbers is good to 1/sqrt(12 * 100) = 3 %,
    # correlated along the loop by some times that: 10 % at each of steps that span a factor of 8
    assert slope == pytest.approx(1.0, abs=0.15)
    assert late[-1] < 3 * STEPS[-1]  # half a step for each of some hops that a spike is away from its input
