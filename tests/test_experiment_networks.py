"""Networks that an experiment file states layer by layer, as a graph, or by a NIR file."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

import hwloop as hl
from hwloop.cli import app
from hwloop.command.folder import load_trained
from hwloop.errors import DataError, HwloopError, InputError, OptionError
from hwloop.experiment import Experiment

TINY = Path(__file__).with_name("tiny.toml")
BASE = Experiment.load(TINY)

LIF = {"kind": "lif", "tau_mem": 10e-3, "tau_syn": 5e-3}
LAYERS = [{"kind": "dense", "n": 6}, LIF, {"kind": "dense"}, LIF]

#: A recurrent hidden population with delays of all three kinds, as a file has it.
GRAPH = """
[[network.populations]]
name = "in"
kind = "input"

[[network.populations]]
name = "hidden"
kind = "lif"
n = 8
tau_mem = 10e-3
tau_syn = 5e-3
t_ref = 1e-3

[[network.populations]]
name = "out"
kind = "lif"
tau_mem = 10e-3
tau_syn = [5e-3, 6e-3, 7e-3]
train = ["tau_syn"]

[[network.projections]]
source = "in"
target = "hidden"
maps = [{kind = "dense", init_mean = 1.5, init_std = 1.0}]

[[network.projections]]
source = "hidden"
target = "hidden"
maps = [{kind = "delay", delay = 1e-3}, {kind = "dense", init_mean = 0.0, init_std = 0.2}]

[[network.projections]]
source = "hidden"
target = "out"
maps = [{kind = "dense", delay = 2e-3, delay_of = "synapses", train = ["delay"], init_mean = 0.6, init_std = 0.3}, {kind = "delay", delay = [0, 1e-3, 2e-3]}]
"""


def stated(network: dict[str, Any], **sections: Any) -> Experiment:
    """The tiny experiment with another network."""
    return Experiment.from_dict({**BASE.to_dict(), "network": network, **sections}, "test")


def graph_file(folder: Path, network: str = GRAPH) -> Path:
    """The tiny experiment in a file of ``folder``, with the text of another network."""
    text = TINY.read_text("utf-8")
    begin, end = text.index("[network]"), text.index("[loss]")
    path = folder / "graph.toml"
    path.write_text(text[:begin] + network + "\n" + text[end:], "utf-8")
    return path


def nir_file(folder: Path, sizes: tuple[int, int, int] = (5, 7, 3)) -> Path:
    path = folder / "net.nir"
    n_in, n, n_out = sizes
    net = hl.Network([hl.Dense(n_in, n), hl.LIF(n, 1e-2, 5e-3), hl.Dense(n, n_out), hl.LIF(n_out, 1e-2, 5e-3)])
    import nir

    nir.write(path, net.to_nir())
    return path


def conv_layers() -> dict[str, Any]:
    return {
        "in_shape": [1, 28, 28],
        "layers": [
            {"kind": "conv2d", "channels": 2, "kernel": 5, "stride": [2, 2], "bias": True, "init_mean": 0.2, "init_std": 0.1},
            {**LIF, "v_th": [1.0, 1.5]}, {"kind": "sum_pool2d", "kernel": 2}, {"kind": "scale", "factor": 0.5, "train": ["factor"]},
            {"kind": "flatten"}, {"kind": "dense", "n": 20, "delay": 1e-3}, {"kind": "delta_lif", "tau_mem": 1e-2},
            {"kind": "dense", "n": 9}, {"kind": "if", "v_reset": -0.5}, {"kind": "dense"}, {"kind": "li", "tau_mem": 1e-2},
        ],
    }  # fmt: skip


def test_layers_become_the_public_classes_with_their_parameters() -> None:
    experiment = Experiment.load("mnist-784-350-10").changed(network=conv_layers())
    net = experiment.build_network()
    kinds = ["Conv2d", "LIF", "SumPool2d", "Scale", "Flatten", "Dense", "DeltaLIF", "Dense", "IF", "Dense", "LI"]
    assert [type(layer).__name__ for layer in net.layers] == kinds
    assert (net.n_in, net.n_out) == (784, 10)
    assert net.layers[1].shape == (2, 12, 12)
    assert net.layers[1].v_th.reshape(2, -1).unique(dim=1).flatten().tolist() == [1.0, 1.5]  # one a channel
    assert isinstance(net.layers[3].factor, torch.nn.Parameter)
    assert net.layers[5].delay.tolist() == pytest.approx([1e-3] * 72)


def test_a_graph_has_its_loop_its_delays_and_what_it_trains(tmp_path: Path) -> None:
    net = Experiment.load(graph_file(tmp_path)).build_network()
    (loop,) = (c for c in net.structure.components if c.loop)
    assert loop.names == ("hidden",)
    assert net.structure.output == "out"
    delay = net.projections[2].maps[0].delay  # type: ignore[union-attr, index]
    assert isinstance(delay, torch.nn.Parameter)
    assert tuple(delay.shape) == (3, 8)
    assert net.projections[2].maps[1].delay.tolist() == pytest.approx([0, 1e-3, 2e-3])  # type: ignore[union-attr, index, operator]
    assert {name for name, _ in net.named_parameters() if "weight" not in name} == {
        "nodes.out.tau_syn", "projections.2.maps.0.delay"
    }  # fmt: skip


def test_first_weights_follow_the_seed(tmp_path: Path) -> None:
    experiment = Experiment.load(graph_file(tmp_path))
    a, b, c = (experiment.build_network(seed) for seed in (1, 1, 2))
    weights = [net.projections[1].maps[1].weight for net in (a, b, c)]  # type: ignore[union-attr, index]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("form", ["chain", "layered", "graph", "nir-file"])
def test_every_form_is_written_and_read_back(form: str, tmp_path: Path) -> None:
    made = {
        "chain": lambda: BASE,
        "layered": lambda: stated({"layers": LAYERS}),
        "graph": lambda: Experiment.load(graph_file(tmp_path)),
        "nir-file": lambda: stated({"nir": str(nir_file(tmp_path)), "spike": "delta", "time_unit": "s"}),
    }
    experiment = made[form]()
    assert experiment.network.form == form
    again = Experiment.from_dict(tomllib.loads(experiment.to_toml()), "again")
    assert again == experiment
    parts = [dict(e.build_network().named_parameters()) for e in (experiment, again)]
    assert parts[0].keys() == parts[1].keys()
    assert all(torch.equal(parts[0][name], parts[1][name]) for name in parts[0])


def test_a_nir_file_is_looked_for_beside_the_experiment_and_keeps_its_weights(tmp_path: Path) -> None:
    import nir

    path = nir_file(tmp_path)
    experiment = Experiment.load(graph_file(tmp_path, '[network]\nnir = "net.nir"\n'))
    net, expected = experiment.build_network(), hl.Network.from_nir(nir.read(path))
    assert experiment.network.nir == str(path.resolve())
    for a, b in zip(net.parameters(), expected.parameters(), strict=True):
        assert torch.equal(a, b)


def test_hinges_count_the_hidden_populations_of_every_form(tmp_path: Path) -> None:
    from hwloop.losses import DeadHinge, WeightedSum

    for experiment in (stated({"layers": LAYERS}), Experiment.load(graph_file(tmp_path))):
        built = experiment.build_loss()
        assert isinstance(built, WeightedSum)
        assert [term for _, term in built.terms if isinstance(term, DeadHinge)] == [DeadHinge(0)]


def test_a_readout_trains_on_its_membrane() -> None:
    layers = [
        {"kind": "dense", "n": 8, "init_mean": 1.0, "init_std": 1.0},
        LIF,
        {"kind": "dense"},
        {**LIF, "kind": "li"},
    ]
    for how in ({"decision": "maximum"}, {"decision": "integral"}, {"decision": "integral", "fading": True}):
        experiment = stated({"layers": layers}, loss={**how, "scale": 0.5, "dead_hinge": 0.1})
        assert how.get("fading", False) == ("fading=True" in repr(experiment.build_loss()))
        done = hl.fit(
            experiment.build_network(), experiment.build_task(), experiment.build_loss(), progress=False,
            **{**experiment.fit_options(), "epochs": 3},
        )  # fmt: skip
        assert done.history[-1].loss < done.history[0].loss


def test_another_form_replaces_the_network_and_the_same_one_is_changed() -> None:
    layered = BASE.changed(network={"layers": LAYERS})
    assert layered.network.form == "layered"
    assert layered.changed(network={"in_shape": [5]}).network.layers == layered.network.layers  # type: ignore[union-attr]
    assert BASE.changed(network={"hidden": [4]}).network.tau_mem == BASE.network.tau_mem  # type: ignore[union-attr]


def projected(**changes: Any) -> dict[str, Any]:
    """The graph, its first projection changed."""
    network: dict[str, Any] = tomllib.loads(GRAPH)["network"]
    network["projections"][0] |= changes
    return network


REFUSED: list[tuple[dict[str, Any], type[HwloopError], str]] = [
    ({"layers": [{"kind": "dens", "n": 3}, LIF]}, OptionError, r"network.layers.0.kind = 'dens'; allowed: 'dense', .*Did you mean 'dense'\?"),
    ({"layers": [{"kind": "dense", "n": 3}, {"kind": "lif", "tau_mem": 1e-2}]}, InputError, r"network.layers.1.tau_syn is missing; state it"),
    ({"layers": [{"n": 3}, LIF]}, InputError, r"network.layers.0.kind is missing; state it"),
    ({"layers": [{"kind": "dense", "n": 3}, {**LIF, "tau_men": 1.0}]}, OptionError, r"unknown key 'network.layers.1.tau_men'.*Did you mean 'tau_mem'\?"),
    ({"layers": [{"kind": "dense", "n": 0}, LIF]}, InputError, r"network.layers.0.n = 0; allowed: greater than or equal to 1"),
    ({"layer": []}, OptionError, r"unknown key 'network.layer'; known here: .*Did you mean 'layers'\?"),
    ({"form": "chane", "layers": LAYERS}, OptionError, r"network.form = 'chane'; allowed: .*Did you mean 'chain'\?"),
    ({"layers": [{"kind": "dense"}, LIF, *LAYERS]}, InputError, r"network.layers.0 \(dense\): n is missing; state the number of units"),
    ({"layers": [{"kind": "conv2d", "channels": 2, "kernel": 3}, LIF]}, InputError, r"network.layers.0 \(conv2d\): takes maps, .*before it are 5 units"),
    ({"layers": [{"kind": "dense", "n": 6}, {**LIF, "v_th": [1.0, 2.0]}, {"kind": "dense"}, LIF]}, InputError,
     r"network.layers.1 \(lif\): v_th has 2 values; allowed: 1, or 6 \(one for each of the units\)"),
    ({"layers": [{"kind": "dense", "n": 6}, {**LIF, "train": ["v_init"]}, *LAYERS]}, InputError, r"network.layers.1 \(lif\): train names v_init"),
    ({"layers": [*LAYERS[:2], {"kind": "dense", "n": 4}, LIF]}, InputError, r"network: its output '1' has 4 units; the task has 3 classes"),
    ({"layers": [LIF, *LAYERS]}, InputError, r"network.layers: layer 0 is LIF; expected Dense or another map"),
    ({"in_shape": [1, 2, 2], "layers": LAYERS}, InputError, r"network.in_shape = \[1, 2, 2\]; allowed: .*of 5 units in all"),
    (projected(source="inn"), InputError, r"network: projections.0.source = 'inn'; allowed: a population, .*Did you mean 'in'\?"),
    (projected(maps=[{"kind": "dense", "n": 7}]), InputError, r"network: projection 'in' -> 'hidden': the maps answer \(7,\), 'hidden' has \(8,\)"),
    (projected(maps=[{"kind": "delay", "delay": [1e-3, 2e-3]}, {"kind": "dense"}]), InputError,
     r"network.projections.0 \(in -> hidden\).maps.0 \(delay\): delay has 2 values; allowed: 1, or 5"),
    (projected(maps=[LIF]), OptionError, r"network.projections.0.maps.0.kind = 'lif'; allowed: 'dense'"),
    ({"nir": "x.nir", "spike": "jump", "spike_step": 1e-4}, InputError, r"network: spike and spike_step say the same; state one of them"),
    ({"nir": "x.nir", "spike": "jumps"}, InputError, r"network.spike = 'jumps'; allowed: 'jump' or 'delta'. Did you mean 'jump'\?"),
    ({"nir": "nowhere/x.nir"}, DataError, r"cannot read nowhere/x.nir: No such file or directory"),
]  # fmt: skip


@pytest.mark.parametrize(("network", "kind", "message"), REFUSED)
def test_a_network_that_is_none_is_refused_by_key_or_layer(
    network: dict[str, Any], kind: type[HwloopError], message: str
) -> None:
    with pytest.raises(kind, match=message):
        stated(network).build_network()


def test_a_nir_file_of_other_sizes_is_refused_with_the_task_s(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="network: its inputs have 4 units; the task has 5"):
        stated({"nir": str(nir_file(tmp_path, (4, 7, 3)))}).build_network()


def documented() -> list[dict[str, Any]]:
    """The blocks of the docs page as documents."""
    page = (Path(__file__).parents[1] / "docs" / "experiment_files.md").read_text("utf-8")
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", page, re.MULTILINE)
    return [tomllib.loads(textwrap.dedent(block)) for block in blocks]


def test_every_document_of_the_docs_page_builds_what_it_says(tmp_path: Path) -> None:
    whole, layered, graph, file = documented()
    assert Experiment.from_dict(whole, "docs").build_network().n_out == 3
    mnist = Experiment.load("mnist-784-350-10")
    assert [type(layer).__name__ for layer in mnist.changed(**layered).build_network().layers][2:4] == [
        "SumPool2d",
        "Flatten",
    ]
    assert Experiment.from_dict({**whole, **graph}, "docs").build_network().structure.components[0].loop
    file["network"]["nir"] = str(tmp_path / nir_file(tmp_path).rename(tmp_path / file["network"]["nir"]))
    assert Experiment.from_dict({**whole, **file}, "docs").build_network().n_out == 3


def done(*arguments: object) -> str:
    """Run the command; its output."""
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the recurrent network after two epochs."""
    folder = tmp_path_factory.mktemp("recurrent")
    done("train", graph_file(folder), "--out", folder / "run")
    return folder / "run"


def test_a_recurrent_network_from_a_file_trains_and_resumes_to_the_same_weights(trained: Path, tmp_path: Path) -> None:
    file, out = graph_file(tmp_path), tmp_path / "run"
    assert Experiment.load(trained / "experiment.toml") == Experiment.load(file)
    done("train", file, "--epochs", 1, "--out", out)
    done("train", file, "--out", out, "--resume")
    found, expected = (load_trained(folder).net.state_dict() for folder in (out, trained))
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    fresh = Experiment.load(file).build_network().state_dict()
    assert not torch.equal(fresh["projections.1.maps.1.weight"], expected["projections.1.maps.1.weight"])


def test_another_network_is_no_resumption(trained: Path) -> None:
    changed = GRAPH.replace("t_ref = 1e-3", "t_ref = 2e-3")
    file = graph_file(trained.parent, changed)
    result = CliRunner().invoke(app, ["train", str(file), "--out", str(trained), "--resume"])
    assert result.exit_code == 2, result.output
    assert "was begun with network.populations" in " ".join(result.output.split())


@pytest.mark.parametrize("target", ["emulator:1", "loihi"])
def test_a_recurrent_network_from_a_file_is_deployed_and_compared(trained: Path, target: str, tmp_path: Path) -> None:
    options, run = ["--target", target, "--preset", "ideal"], trained  # bss2 has no delays
    if target == "loihi":  # whose neurons have no refractory time, and one tau_syn a population
        options, run = ["--target", target, "--dt", "1e-3"], tmp_path / "carried"
        carried = GRAPH.replace("t_ref = 1e-3", "t_ref = 0.0")
        carried = carried.replace('tau_syn = [5e-3, 6e-3, 7e-3]\ntrain = ["tau_syn"]', "tau_syn = 5e-3")
        carried = carried.replace('delay_of = "synapses", train = ["delay"], ', "")
        done("train", graph_file(tmp_path, carried), "--out", run)
    assert "test" in done("deploy", run, *options)
    assert "measured on" in done("compare", run, *options, "--samples", 10, "--out", tmp_path / "compared")
    assert (tmp_path / "compared" / "report.html").is_file()


def test_a_recurrent_network_from_a_file_is_fine_tuned_in_the_loop(trained: Path, tmp_path: Path) -> None:
    done("finetune", trained, "--target", "emulator:1", "--preset", "ideal", "--out", tmp_path / "tuned")
    assert load_trained(tmp_path / "tuned").device_id.startswith("emulator")
