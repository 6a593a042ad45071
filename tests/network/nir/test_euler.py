"""Imported graphs, exact in time, against NIR's own equations of the same graph in steps: they meet as the steps shrink."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import nir
import numpy as np
import pytest
import torch

from hwloop import Network, Spikes
from hwloop.network.nir.hdf5 import read_graph
from hwloop.network.nir.read import network_of, reading_of

from .euler import simulate
from .random_networks import convolutional, recurrent, without_currents

Trains = list[np.ndarray[Any, Any]]


class Run(NamedTuple):
    """Spikes of every population and membranes of every readout at the end, by node of the file."""

    trains: dict[str, Trains]
    membranes: dict[str, np.ndarray[Any, Any]]


class Case:
    """A graph, its network and a stimulus on a grid of .1 ms, which every step here divides."""

    def __init__(self, graph: nir.NIRGraph, t_stop: float, count: int, **options: Any) -> None:
        self.graph, self.t_stop, self.options = graph, t_stop, options
        self.reading = reading_of(graph, **options)
        self.net = network_of(self.reading, None).double()
        generator = np.random.default_rng(1)
        self.events: dict[str, list[tuple[float, int]]] = {}
        for name in self.net.structure.inputs:
            n = self.net.structure.nodes[name].n
            times, units = np.round(generator.uniform(0, 0.7 * t_stop, count), 4), generator.integers(0, n, count)
            self.events[name] = sorted((float(t), int(u)) for t, u in zip(times, units, strict=True))
        # a chain numbers its populations; the file names them, in the same order
        inside = self.reading.flat.neurons if "layers" in self.net._modules else ()
        names = [name for name in self.net.structure.nodes if name not in self.net.structure.inputs]
        self.names = dict(zip(names, inside or names, strict=True))

    def exact(self) -> Run:
        """Ours."""
        nodes = self.net.structure.nodes
        trains = {
            name: Spikes.from_events([tuple(zip(*events, strict=True))], nodes[name].n, self.t_stop, torch.float64)  # type: ignore[list-item]
            for name, events in self.events.items()
        }
        with torch.no_grad():
            record = self.net(trains if len(trains) > 1 else next(iter(trains.values())))
            end = torch.tensor([self.t_stop * (1 - 1e-12)], dtype=torch.float64)
            membranes = {
                self.names[n]: record.readouts[n].at(end).numpy().reshape(-1) for n in self.net.structure.readouts
            }
        found = {}
        for k, name in enumerate(self.net.structure.populations):
            spikes = record.populations[k]
            found[self.names[name]] = [
                np.sort(spikes.times[0][spikes.valid[0] & (spikes.units[0] == j)].numpy())
                for j in range(spikes.n_units)
            ]
        return Run(found, membranes)

    def steps(self, dt: float, width: int = 1) -> Run:
        """NIR's equations in steps of ``dt``, a spike a pulse of ``width`` of them."""
        inputs = [name for name, node in self.graph.nodes.items() if isinstance(node, nir.Input)]
        events = dict(zip(inputs, self.events.values(), strict=True)) if len(inputs) == 1 else self.events
        found, membranes = simulate(
            self.graph, events, self.t_stop, dt, area=self.reading.spike.area, reset=self.options.get("reset", "value"),
            per_second=self.reading.unit.per_second, width=width,
        )  # fmt: skip
        return Run(found, {name: v.reshape(-1) for name, v in membranes.items()})


def gap(exact: Run, steps: Run, first: int = 2) -> tuple[float, int]:
    """Mean distance (s) of the first spikes of all neurons; spikes that neurons have more or fewer, in sum."""
    distances, changed = [], 0
    for name, trains in exact.trains.items():
        for a, b in zip(trains, steps.trains.get(name, [np.zeros(0)] * len(trains)), strict=True):
            changed += abs(len(a) - len(b))
            n = min(len(a), len(b), first)
            distances += list(np.abs(a[:n] - b[:n]))
    assert len(distances) >= 2
    return float(np.mean(distances)), changed


def slope(steps: list[float], gaps: list[float]) -> float:
    """How the gap falls with the step, as a power of it."""
    return float(np.polyfit(np.log(steps), np.log(gaps), 1)[0])


def of_file(name: str, t_stop: float, count: int, **options: Any) -> Callable[[Path], Case]:
    return lambda folder: Case(read_graph(folder / f"{name}.nir"), t_stop, count, **options)


def of_network(
    make: Callable[[int], Network], seed: int, t_stop: float, count: int, dt: float | None = None
) -> Callable[[Path], Case]:
    return lambda folder: Case(make(seed).to_nir(dt), t_stop, count)


def lighter(name: str, factor: float, t_stop: float, count: int, **options: Any) -> Callable[[Path], Case]:
    """A file whose first weights are ``factor`` times as large: one spike of its whole weight is over threshold at once."""

    def make(folder: Path) -> Case:
        graph = copy.deepcopy(read_graph(folder / f"{name}.nir"))
        first = next(node for node in graph.nodes.values() if isinstance(node, (nir.Linear, nir.Affine)))
        first.weight = np.asarray(first.weight) * factor
        return Case(graph, t_stop, count, **options)

    return make


#: Coarse steps at which each still spikes as the exact one does; recurrent networks at high rates part soon.
STEPS = [1e-4, 5e-5, 2.5e-5]
FINE = [2e-5, 1e-5, 5e-6, 2.5e-6]

CURRENTS: dict[str, tuple[Callable[[Path], Case], list[float]]] = {
    "snntorch, bias": (of_file("peers/snn_syn_tutorial", 0.03, 40), STEPS),
    "snntorch, recurrent": (of_file("peers/snn_rsyn", 0.003, 8), FINE),
    "steps of ours": (of_file("peers/hw_steps_1e-4", 0.1, 60), [5e-5, 2.5e-5, 1.25e-5]),
    "braille": (of_file("published/braille_noDelay_bias_zero", 0.005, 15), FINE),
    "loops, delays, biases, two inputs": (of_network(recurrent, 0, 0.03, 40), STEPS),
    "the same, and a readout": (of_network(recurrent, 2, 0.03, 40), STEPS),
    "the same, exported in steps": (of_network(recurrent, 4, 0.03, 40, 1e-4), STEPS),
    "convolution": (of_network(convolutional, 0, 0.03, 300), STEPS),
    "convolution in steps": (of_network(convolutional, 2, 0.03, 300, 1e-4), STEPS),
}


@pytest.mark.parametrize("case", CURRENTS)
def test_spikes_of_currents_converge_with_the_step(nir_folder: Path, case: str) -> None:
    """Euler's error and the grid are of the order of one step: a slope of 1, within what a mean over few spikes leaves open."""
    make, steps = CURRENTS[case]
    made = make(nir_folder)
    exact = made.exact()
    gaps, changed = zip(*(gap(exact, made.steps(dt)) for dt in steps), strict=True)
    assert 0.6 < slope(steps, list(gaps)) < 1.4, gaps
    assert gaps[-1] < 6 * steps[-1]
    assert changed[-1] <= changed[0]
    total = sum(len(train) for trains in exact.trains.values() for train in trains)
    assert changed[-1] <= max(1, 0.1 * total)


#: Where a spike moves the membrane itself, it falls on an input's step, whatever the step.
JUMPS: dict[str, Callable[[Path], Case]] = {
    "one neuron": lighter("published/lif_norse", 1e-4, 0.05, 60, spike="delta", reset="value"),
    "deltas": of_file("published/two_lif_neurons", 0.05, 20, spike="delta", reset="value"),
    "spikingjelly": of_file("peers/sj_if", 0.05, 60, reset="value"),
    "by subtraction": of_file("peers/sj_if", 0.05, 60, reset="subtract"),
    "convolution": of_file("peers/sj_conv", 0.05, 200, reset="value"),
}


#: Where the leak's own error of a step of 1e-4 moves one of the spikes to another input.
JUMP_STEPS = {"one neuron": 2e-5}


@pytest.mark.parametrize("case", JUMPS)
def test_spikes_of_jumps_are_those_of_the_steps(nir_folder: Path, case: str) -> None:
    made = JUMPS[case](nir_folder)
    exact, steps = made.exact(), made.steps(JUMP_STEPS.get(case, 1e-4))
    assert sum(len(train) for trains in exact.trains.values() for train in trains) >= 5
    for name, trains in exact.trains.items():
        for a, b in zip(trains, steps.trains.get(name, [np.zeros(0)] * len(trains)), strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)


#: Every published graph, and the test above or below that holds it to its own equations.
PUBLISHED = {
    "lif_norse": "test_spikes_of_jumps_are_those_of_the_steps",
    "two_lif_neurons": "test_a_published_neuron_that_leaks_over_threshold_converges_and_drives_the_next",
    "cnn_sinabs": "test_the_published_convolutional_network_spikes_in_the_steps_of_its_own_equations",
    "braille_noDelay_bias_zero": "test_spikes_of_currents_converge_with_the_step",
    "braille_noDelay_bias_zero_subgraph": "test_a_nested_graph_spikes_as_its_own_equations_do",
}


def test_every_published_graph_is_held_to_its_own_equations(nir_folder: Path) -> None:
    assert {path.stem for path in (nir_folder / "published").glob("*.nir")} == set(PUBLISHED)
    assert all(callable(globals()[name]) for name in PUBLISHED.values())


def test_a_published_neuron_that_leaks_over_threshold_converges_and_drives_the_next(nir_folder: Path) -> None:
    """Its leak carries it over, tau ln(1.2 / .2) after a reset: there Euler is late by the order of a step."""
    made = lighter("published/two_lif_neurons", 1e-3, 0.06, 6, spike="delta", reset="value")(nir_folder)
    exact = made.exact()
    gaps, changed = zip(*(gap(exact, made.steps(dt)) for dt in STEPS), strict=True)
    assert len(exact.trains["lif1"][0]) == len(exact.trains["lif2"][0]) >= 3
    assert 0.6 < slope(STEPS, list(gaps)) < 1.4, gaps
    assert changed[-1] == 0


@pytest.mark.slow
def test_the_published_convolutional_network_spikes_in_the_steps_of_its_own_equations(nir_folder: Path) -> None:
    """IF alone: spikes fall on input steps. Reset to a value; a membrane that keeps what is above spikes again a step later."""
    made = of_file("published/cnn_sinabs", 0.01, 300, reset="value")(nir_folder)
    exact, steps = made.exact(), made.steps(1e-4)
    assert [sum(map(len, trains)) for trains in exact.trains.values()] == [141, 104, 54, 61, 0]
    for name, trains in exact.trains.items():
        for a, b in zip(trains, steps.trains[name], strict=True):
            np.testing.assert_allclose(a, b, atol=1e-9)


@pytest.mark.parametrize(
    "make",
    [
        of_file(
            "published/two_lif_neurons", 0.08, 10, spike=1e-4, reset="value"
        ),  # its first neuron leaks over threshold
        of_file("peers/snn_leaky_tutorial", 0.05, 60, reset="subtract"),
        of_network(without_currents, 0, 0.03, 40),
        of_network(without_currents, 2, 0.03, 40, 1e-4),
    ],
)
def test_jumps_with_leaks_and_biases_differ_by_a_step_at_most(nir_folder: Path, make: Callable[[Path], Case]) -> None:
    made = make(nir_folder)
    exact = made.exact()
    for dt in STEPS:
        distance, changed = gap(exact, made.steps(dt), 2)
        assert distance <= dt
        assert changed <= 1


def test_a_pulse_that_lasts_moves_a_membrane_to_where_it_leaves_it(nir_folder: Path) -> None:
    """Spikes of the equation with pulses of .1 ms, in ten steps each and then forty, against ours, which come as a pulse begins."""
    made = of_file("published/lif_norse", 0.1, 1, spike=1e-4, reset="value")(nir_folder)
    inputs = np.flatnonzero(np.loadtxt(nir_folder / "one_neuron" / "exact.csv", delimiter=",")[:, 0]) * 1e-4
    made.events = {"input": [(float(t), 0) for t in inputs]}
    (exact,) = made.exact().trains["1"]
    assert len(exact) == 4
    for width in (10, 40):
        (steps,) = made.steps(1e-4 / width, width).trains["1"]
        assert len(steps) == len(exact)
        assert np.all((steps - exact > 0) & (steps - exact < 1e-4))


@pytest.mark.parametrize("dt", [None, 1e-4])
def test_membranes_of_readouts_converge_too(nir_folder: Path, dt: float | None) -> None:
    made = of_network(recurrent, 2, 0.012, 10, dt)(nir_folder)
    exact = made.exact()
    errors = [np.abs(exact.membranes["last"] - made.steps(step).membranes["last"]).max() for step in STEPS]
    assert np.abs(exact.membranes["last"]).max() > 0.1
    assert 0.7 < slope(STEPS, errors) < 1.4, errors


def test_a_nested_graph_spikes_as_its_own_equations_do(nir_folder: Path) -> None:
    """The published one, whose edges name a node that is not there: here with the name that it has."""
    graph = copy.deepcopy(read_graph(nir_folder / "published/braille_noDelay_bias_zero_subgraph.nir"))
    made = Case(graph, 0.005, 15)
    inner = graph.nodes["lif1"]
    inner.edges = [tuple("lif1" if end == "lif" else end for end in edge) for edge in inner.edges]
    exact = made.exact()
    gaps, _ = zip(*(gap(exact, made.steps(dt)) for dt in FINE), strict=True)
    assert 0.7 < slope(FINE, list(gaps)) < 1.4, gaps


def test_every_imported_file_runs_in_its_own_dtype(nir_folder: Path) -> None:
    from .test_field_files import FILES

    ran = 0
    for name, options, expected in FILES:
        if expected.startswith("!"):
            continue
        net = Network.from_nir(nir_folder / f"{name}.nir", **options)
        (source,) = net.structure.inputs
        n = net.structure.nodes[source].n
        stimulus = Spikes.from_events([(np.linspace(1e-4, 2e-3, 20), np.arange(20) % n)], n, 4e-3)
        assert len(net(stimulus).populations) == len(net.structure.populations)
        ran += 1
    assert ran == sum(not expected.startswith("!") for _, _, expected in FILES)
