"""Networks in experiment files: layers, graphs and NIR files, mended as the messages say."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest

import hwloop as hl
from hwloop.experiment import Experiment

from .support import Case

BASE = Experiment.load(Path(__file__).parents[1] / "tiny.toml")  # 5 inputs, 3 classes
LIF: dict[str, Any] = {"kind": "lif", "tau_mem": 1e-2, "tau_syn": 5e-3}
DENSE: dict[str, Any] = {"kind": "dense", "n": 6}
LAST: list[dict[str, Any]] = [{"kind": "dense"}, LIF]


def built(**network: Any) -> hl.Network:
    return Experiment.from_dict({**BASE.to_dict(), "network": network}, "test").build_network()


def layers(*front: dict[str, Any], last: list[dict[str, Any]] = LAST, **more: Any) -> hl.Network:
    return built(layers=[*front, *last], **more)


def graph(source: str = "in", output: str = "out", names: tuple[str, str] = ("in", "out"), n: Any = 5) -> hl.Network:
    nodes = [{"name": names[0], "kind": "input", "n": n}, {"name": names[1], **LIF}]
    links = [{"source": source, "target": "out", "maps": [{"kind": "dense"}]}]
    return built(populations=nodes, projections=links, output=output)


def from_nir(n_in: int = 5, **how: Any) -> hl.Network:
    import nir

    net = hl.Network([hl.Dense(n_in, 3), hl.LIF(3, 1e-2, 5e-3)])
    with tempfile.TemporaryDirectory() as folder:
        nir.write(Path(folder) / "net.nir", net.to_nir())
        return built(nir=str(Path(folder) / "net.nir"), **how)


def conv(**more: Any) -> hl.Network:
    return layers({"kind": "conv2d", "channels": 2, "kernel": 1}, LIF, {"kind": "flatten"}, **more)


LAYERS = [
    Case("Ends.after", "n is missing; state the number of units after these weights", lambda: layers({"kind": "dense"}, LIF), lambda: layers(DENSE, LIF)),
    Case("_both_or_none", "state both, or none for the layer's own", lambda: layers({**DENSE, "init_mean": 1.0}, LIF),
         (lambda: layers({**DENSE, "init_mean": 1.0, "init_std": 0.1}, LIF), lambda: layers(DENSE, LIF))),
    Case("Conv2dTable.build", "takes maps, channels x height x width; before it are {} units", conv, lambda: conv(in_shape=[1, 1, 5])),
    Case("_Neurons.build", "allowed: a parameter with a value", lambda: layers(DENSE, {**LIF, "train": ["v_init"]}),
         (lambda: layers(DENSE, {**LIF, "train": ["v_init"], "v_init": 0.1}), lambda: layers(DENSE, {**LIF, "train": ["tau_mem"]}))),
    Case("experiment_layers.values", "{} has {} values; allowed: 1, or {} (one for each of the {})", lambda: layers(DENSE, {**LIF, "v_th": [1.0, 2.0]}),
         (lambda: layers(DENSE, {**LIF, "v_th": [1.0]}), lambda: layers(DENSE, {**LIF, "v_th": [1.0] * 6}))),
]  # fmt: skip


def augmented(**training: Any) -> Experiment:
    return BASE.changed(training=training)


NETWORKS = [
    Case("Experiment._images_to_augment", "training.augment changes images; task {} has none: leave it out",
         lambda: augmented(augment={"kind": "affine"}), augmented),
    Case("_Built.build", "network: its inputs have {} units; the task has {}", lambda: from_nir(4), from_nir),
    Case("_Built.build", "network: its output {} has {} units; the task has {} classes", lambda: layers(last=[DENSE, LIF]),
         lambda: layers(last=[{**DENSE, "n": 3}, LIF])),
    Case("LayeredNetwork._made", "network.layers: {}", lambda: layers(LIF), lambda: layers(DENSE, LIF)),
    Case("GraphNetwork._names", "stands twice; allowed: a name of its own for each", lambda: graph(names=("out", "out")), graph),
    Case("GraphNetwork._names", "projections.{}.{} = {}; allowed: a population, {}", lambda: graph(source="inn"), graph),
    Case("GraphNetwork._made", "network: {}", lambda: graph(output="in"), graph),
    Case("NirNetwork._one_spike", "spike and spike_step say the same; state one of them", lambda: from_nir(spike="jump", spike_step=1e-4),
         (lambda: from_nir(spike="jump"), lambda: from_nir(spike_step=1e-4))),
    Case("experiment_networks._shape", "allowed: one number, or channels, height, width{}", lambda: graph(n=[1, 5]),
         (lambda: graph(n=5), lambda: graph(n=[1, 1, 5]))),
    Case("experiment_networks._neurons", "{}: {}", lambda: layers(DENSE, {**LIF, "v_reset": 2.0}), lambda: layers(DENSE, {**LIF, "v_reset": 0.5})),
    Case("experiment_networks._map", "{}: {}", lambda: layers({"kind": "dense"}, LIF), lambda: layers(DENSE, LIF)),
]  # fmt: skip


@pytest.mark.parametrize("case", [*LAYERS, *NETWORKS], ids=str)
def test_a_network_of_a_file_that_is_mended_as_it_says_is_built(case: Case) -> None:
    case.follow()
