from __future__ import annotations

import math
import struct
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import hwloop as hl
from hwloop import rules
from hwloop.errors import DataError, HwloopError, InputError, OptionError
from hwloop.experiment import MAX_FILE, Experiment, builtin
from hwloop.losses import DeadHinge, FirstSpike, SilentHinge, SpikeCount, WeightedSum
from hwloop.toml_text import toml_text

BASE = Experiment.load(Path(__file__).with_name("tiny.toml"))


@pytest.mark.parametrize("name", builtin())
def test_every_builtin_experiment_loads_builds_and_survives_its_own_text(name: str) -> None:
    experiment = Experiment.load(name)
    assert experiment.name == name
    net = experiment.build_network()
    assert (net.n_in, net.n_out) == experiment.task.shape
    assert repr(experiment.build_loss())
    assert repr(experiment.build_finetune_loss())
    assert Experiment.from_dict(tomllib.loads(experiment.to_toml()), "again") == experiment


def test_the_names_say_the_sizes() -> None:
    for name in ("mnist-784-350-10", "mnist-256-128-10"):
        net = Experiment.load(name).build_network()
        assert name == f"mnist-{net.n_in}-{net.blocks[0][1].n}-{net.n_out}"


def test_fit_and_finetune_take_the_options_as_they_are() -> None:
    experiment = BASE.changed(
        task={"train": 50, "validation": 20, "test": 20}, network={"hidden": [6]},
        training={"epochs": 1}, finetune={"epochs": 1},
    )  # fmt: skip
    task, net = experiment.build_task(), experiment.build_network()
    assert len(hl.fit(net, task, experiment.build_loss(), progress=False, **experiment.fit_options()).history) == 1
    with experiment.target.find().open() as chip:
        loss = experiment.build_finetune_loss()
        done = hl.finetune(net, chip, task, loss, progress=False, **experiment.finetune_options())
    assert len(done.history) == 1


def test_first_weights_follow_the_seed_and_the_layers_own_distribution() -> None:
    experiment = BASE.changed(network={"hidden": [400], "init_mean": [2.0, -1.0], "init_std": [0.5, 0.1]})
    a, b, c = experiment.build_network(), experiment.build_network(0), experiment.build_network(1)
    assert torch.equal(a.blocks[0][0].weight, b.blocks[0][0].weight)
    assert not torch.equal(a.blocks[0][0].weight, c.blocks[0][0].weight)
    # 2000 and 1200 weights: five standard errors are 0.056 and 0.015
    assert a.blocks[0][0].weight.mean().item() == pytest.approx(2.0, abs=0.056)
    assert a.blocks[1][0].weight.mean().item() == pytest.approx(-1.0, abs=0.015)


def test_one_value_serves_all_layers_and_a_list_each_its_own() -> None:
    net = BASE.changed(network={"tau_mem": [8e-3, 20e-3], "t_ref": 1e-3}).build_network()
    (_, hidden), (_, output) = net.blocks
    assert hidden.tau_mem[0].item() == pytest.approx(8e-3)
    assert output.tau_mem[0].item() == pytest.approx(20e-3)
    assert hidden.t_ref[0].item() == output.t_ref[0].item() == pytest.approx(1e-3)


def test_loss_is_the_sum_of_what_has_a_weight() -> None:
    loss = {"decision": "first", "temperature": 2e-3, "label_hinge": 30.0, "label_margin": 0.5, "dead_hinge": 0.1}
    built = BASE.changed(network={"hidden": [5, 4], "init_mean": 1, "init_std": 1}, loss=loss).build_loss()
    assert isinstance(built, WeightedSum)
    assert built.terms == (
        (1.0, FirstSpike(2e-3)), (30.0, SilentHinge(margin=0.5, only_label=True)), (0.1, DeadHinge(0)), (0.1, DeadHinge(1)),
    )  # fmt: skip


def test_spike_counts_decide_where_the_experiment_says_so() -> None:
    document = {**BASE.to_dict(), "loss": {"decision": "count", "wanted": 5.0, "others": 1.0}}
    experiment = Experiment.from_dict(document, "test")
    assert experiment.decision == "count"
    assert experiment.build_loss() == SpikeCount(5.0, 1.0)
    assert experiment.fit_options()["decision"] == "count"


def test_a_loss_of_fine_tuning_replaces_the_other_there_alone() -> None:
    experiment = BASE.changed(finetune={"loss": {"decision": "first", "temperature": 5e-3}})
    assert experiment.build_finetune_loss() == FirstSpike(5e-3)
    assert "0.001" in repr(experiment.build_loss())


def test_a_stimulus_without_bias_spike_needs_one_input_less() -> None:
    experiment = BASE.changed(
        task={"stimulus": {"t_early": 0.0, "t_late": 0.01, "t_stop": 0.04}, "train": 5, "validation": 5, "test": 5}
    )
    task = experiment.build_task()
    assert (task.n_in, task.n_out) == experiment.task.shape == (4, 3)
    assert task.t_stop == 0.04


def test_mnist_is_read_cropped_resampled_and_cut_to_size(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0)
    for part, n in (("train", 20), ("t10k", 10)):
        images = struct.pack(">HBB3I", 0, 8, 3, n, 28, 28) + pixels.integers(0, 256, n * 784, dtype=np.uint8).tobytes()
        (tmp_path / f"{part}-images-idx3-ubyte").write_bytes(images)
        (tmp_path / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">HBBI", 0, 8, 1, n) + bytes(range(10)) * (n // 10)
        )
    small = {"data": str(tmp_path), "validation": 5, "train": 12, "test": 7}
    experiment = Experiment.load("mnist-256-128-10").changed(task=small)
    task = experiment.build_task()
    assert (len(task.train), len(task.validation), len(task.test)) == (12, 5, 7)
    assert (task.n_in, task.n_out) == experiment.task.shape == (256, 10)


def _white_corner(folder: Path, stem: str, labels: list[int]) -> None:
    for kind, data in (
        ("images-idx3", np.full((len(labels), 28, 28), 255, np.uint8)),
        ("labels-idx1", np.uint8(labels)),
    ):
        header = bytes([0, 0, 8, data.ndim]) + b"".join(n.to_bytes(4, "big") for n in data.shape)
        (folder / f"{stem}-{kind}-ubyte").write_bytes(header + data.tobytes())


@pytest.mark.parametrize(
    ("experiment", "stems", "classes"),
    [
        ("emnist-784-800-47-count", ("emnist-balanced-train", "emnist-balanced-test"), 47),
        ("fashion-784-400-400-10-count", ("train", "t10k"), 10),
    ],
)
def test_emnist_and_fashion_mnist_are_ready_to_run_where_their_files_are(
    tmp_path: Path, experiment: str, stems: tuple[str, str], classes: int
) -> None:
    for stem in stems:
        _white_corner(tmp_path, stem, [0, 1, 2, classes - 1])
    small = Experiment.load(experiment).changed(
        task={"data": str(tmp_path), "validation": 1, "size": 4}, training={"epochs": 1}
    )
    task, net = small.build_task(), small.build_network()
    assert (task.n_in, task.n_out) == small.task.shape == (16, classes)
    done = hl.fit(net, task, small.build_loss(), progress=False, **small.fit_options())
    assert len(done.history) == 1


def test_a_missing_data_set_says_what_it_consists_of(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no emnist data: no file emnist-letters-test-images-idx3-ubyte"):
        Experiment.load("emnist-784-800-47-count").changed(
            task={"data": str(tmp_path), "subset": "letters"}
        ).build_task()


def test_images_are_augmented_where_the_file_says_so() -> None:
    experiment = Experiment.load("mnist-conv-count")
    assert experiment.fit_options()["augment"] == rules.ElasticDeformation(34.0, 4.0)
    other = experiment.changed(training={"augment": {"kind": "affine", "shift": 1.0}})
    assert other.fit_options()["augment"] == rules.RandomAffine(1.0, 10.0, 0.1)
    assert "augment" not in BASE.fit_options()
    with pytest.raises(InputError, match=r"training.augment changes images; task 'yin-yang' has none: leave it out"):
        BASE.changed(training={"augment": {"kind": "affine"}})
    with pytest.raises(InputError, match=r"alpha"):
        experiment.changed(training={"augment": {"kind": "elastic", "alpha": -1.0}})


def test_neuron_parameters_are_trained_where_the_file_says_so() -> None:
    experiment = BASE.changed(
        task={"train": 60, "validation": 20, "test": 20}, network={"hidden": [6], "train": ["v_th", "tau_mem"]},
        training={"epochs": 1},
    )  # fmt: skip
    net = experiment.build_network()
    neurons = net.blocks[0][1]
    assert {name for name, _ in neurons.named_parameters()} == {"v_th", "tau_mem"}
    assert torch.equal(neurons.v_th, torch.ones(6))
    hl.fit(net, experiment.build_task(), experiment.build_loss(), progress=False, **experiment.fit_options())
    assert len(set(neurons.v_th.tolist())) > 1
    assert len(set(neurons.tau_mem.tolist())) > 1
    assert not list(BASE.build_network().blocks[0][1].parameters())
    with pytest.raises(InputError, match=r"network.train.0 = 'v_thr'; allowed: 'tau_mem', .*Did you mean 'v_th'"):
        BASE.changed(network={"train": ["v_thr"]})


def test_text_with_quotes_control_characters_and_umlauts_is_written_and_read_back() -> None:
    nasty = {"a": 'quote " and \\ and \x7f \n tab\t é 漢 😀', "b c": {"d.e": [1, 2.5e-10, True, []]}, "f": False}
    assert tomllib.loads(toml_text(nasty)) == nasty


keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6)
scalars = st.one_of(
    keys, st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.floats(width=32).filter(math.isfinite).map(np.float32)
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(
    st.recursive(
        st.dictionaries(keys, st.one_of(scalars, st.lists(scalars)), max_size=4),
        lambda d: st.dictionaries(
            keys, st.one_of(d, st.lists(d, max_size=2), st.lists(st.one_of(scalars, d))), max_size=3
        ),
        max_leaves=6,
    )
)
def test_any_document_of_plain_values_is_written_and_read_back(document: dict[str, Any]) -> None:
    assert tomllib.loads(toml_text(document)) == document


@pytest.mark.parametrize("value", [None, 1j, Path("x"), [{"a": None}], np.zeros(2)])
def test_a_value_that_toml_does_not_have_is_refused(value: Any) -> None:
    with pytest.raises(InputError, match="in a TOML document; allowed: text"):
        toml_text({"a": value})


# -- refusals -------------------------------------------------------------------------------------

REFUSED: list[tuple[dict[str, Any], type[HwloopError], str]] = [
    ({"trainig": {}}, OptionError, r"unknown key 'trainig'; known here: format, version, name"),
    ({"training": {"epoch": 3}}, OptionError, r"unknown key 'training.epoch'; known here: epochs, batch_size"),
    ({"loss": {"wanted": 3.0}}, OptionError, r"unknown key 'loss.wanted'; known here: .*temperature"),
    ({"task": {"size": 28}}, OptionError, r"unknown key 'task.size'; known here: name, source"),
    ({"task": {"name": "cifar"}}, OptionError, r"task.name = 'cifar'; allowed: 'yin-yang', 'mnist'"),
    ({"loss": {"decision": "last"}}, OptionError, r"loss.decision = 'last'; allowed: 'first', 'count'"),
    ({"training": {"epochs": 0}}, InputError, r"training.epochs = 0; allowed: greater than or equal to 1"),
    ({"training": {"lr": float("nan")}}, InputError, r"training.lr = nan; allowed: a finite number"),
    ({"training": {"lr": float("inf")}}, InputError, r"training.lr = inf; allowed: (a finite|less than)"),
    ({"training": {"lr": 1e-3, "lr_min": 1e-2}}, InputError, r"lr_min = 0.01, lr = 0.001; allowed: lr_min <= lr"),
    ({"training": {"batch_size": 2.5}}, InputError, r"training.batch_size = 2.5; allowed: a valid integer"),
    ({"training": {"policy": "hope"}}, InputError, r"training.policy = 'hope'; allowed: 'clip', 'skip' or 'raise'"),
    ({"network": {"tau_mem": 0.0}}, InputError, r"network.tau_mem.0 = 0.0; allowed: greater than 0"),
    ({"network": {"tau_syn": -1e-3}}, InputError, r"network.tau_syn.0 = -0.001; allowed: greater than 0"),
    ({"network": {"v_th": 0.0}}, InputError, r"layer 0: v_th = 0, v_reset = 0; allowed: v_th > v_reset"),
    ({"network": {"tau_mem": [1e-3] * 3}}, InputError, r"tau_mem has 3 values; allowed: 1, or 2"),
    ({"network": {"hidden": [0]}}, InputError, r"network.hidden.0 = 0; allowed: greater than or equal to 1"),
    ({"task": {"source": "published"}}, InputError, r"train is fixed for published data"),
    ({"task": {"data": "/tmp"}}, InputError, r'data names a folder of files; allowed: with source = "published"'),
    ({"target": {"spread": -0.1}}, InputError, r"target.spread = -0.1; allowed: greater than or equal to 0"),
    ({"target": {"weight_scale": "quantile:2"}}, InputError, r"target.weight_scale = 'quantile:2'; allowed"),
    ({"finetune": {"loss": {"temperature": 1e-3}}}, InputError, r"finetune.loss.decision is missing"),
    ({"seed": True}, InputError, r"seed = True; allowed: a valid integer"),
    ({"name": "../evil"}, InputError, r"name = '../evil'; allowed: text that should match"),
    ({"version": 2}, InputError, r"version = 2; allowed: 1"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "error", "message"), REFUSED, ids=[message[:40] for _, _, message in REFUSED])
def test_a_value_that_is_not_allowed_is_named_with_what_is(
    changes: dict[str, Any], error: type[HwloopError], message: str
) -> None:
    with pytest.raises(error, match=message) as caught:
        BASE.changed(**changes)
    assert "experiment tiny" in str(caught.value)


MISSPELT = [
    ("epochs", "epohcs", "training.epohcs", "epochs"),
    ("[training]", "[trainig]", "trainig", "training"),
    ("hidden", "hiden", "network.hiden", "hidden"),
    ("tau_mem", "tau-men", "network.tau-men", "tau_mem"),
    ("temperature", "Temprature", "loss.Temprature", "temperature"),
    ("train = 100", "trian = 100", "task.trian", "train"),
    ("preset", "pre_set", "target.pre_set", "preset"),
    ("[finetune]", "[finetune]\nrepeat = 2", "finetune.repeat", "repeats"),
    ("[finetune]", '[finetune]\nloss = {decision = "count", wnated = 3}', "finetune.loss.wnated", "wanted"),
    (
        "[network]",
        "[task.stimulus]\nt_early = 0\nt_late = 0.01\nt_sotp = 0.05\n[network]",
        "task.stimulus.t_sotp",
        "t_stop",
    ),
]


@pytest.mark.parametrize(("right", "wrong", "key", "near"), MISSPELT, ids=[key for _, _, key, _ in MISSPELT])
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(
    tmp_path: Path, right: str, wrong: str, key: str, near: str
) -> None:
    text = Path(__file__).with_name("tiny.toml").read_text("utf-8")
    file = tmp_path / "typo.toml"
    file.write_text(text.replace(right, wrong, 1), "utf-8")
    with pytest.raises(OptionError) as caught:
        Experiment.load(file)
    message = str(caught.value)
    line = next(k for k, text in enumerate(file.read_text("utf-8").splitlines(), 1) if key.rsplit(".", 1)[-1] in text)
    assert message.startswith(f"experiment {file}, line {line}: unknown key {key!r}; known here: ")
    assert message.endswith(f". Did you mean {near!r}?")
    assert "missing" not in message
    # the remedy, followed
    file.write_text(file.read_text("utf-8").replace(key.rsplit(".", 1)[-1], near, 1), "utf-8")
    assert Experiment.load(file).name == "tiny"


def test_a_key_in_another_section_is_sent_where_it_belongs() -> None:
    with pytest.raises(OptionError, match=r"unknown key 'loss.lr'; .*It belongs to \[training\]"):
        BASE.changed(loss={"lr": 0.1})
    document = BASE.to_dict()
    document["loss"]["training"] = document.pop("training")
    with pytest.raises(OptionError, match=r"unknown key 'loss.training'; .*It belongs to the top of the file$"):
        Experiment.from_dict(document, "test")
    with pytest.raises(OptionError, match=r"'task.source'; known here: name, size.*stimulus, crop, subset$"):
        Experiment.from_dict({**BASE.to_dict(), "task": {"name": "mnist", "source": "published"}}, "test")
    document["target"]["t_early"] = document["target"]["colour"] = 1
    with pytest.raises(OptionError, match=r"'target.t_early'; .*\[task.stimulus\]\n  .*'target.colour'.*trial_noise"):
        Experiment.from_dict(document, "test")


def test_every_error_of_a_file_is_told_unknown_keys_first() -> None:
    with pytest.raises(OptionError) as caught:
        BASE.changed(training={"epochs": 0, "batch_size": "a", "lr": -1.0, "epoch": 3})
    first, *others = str(caught.value).split("\n  ")
    assert first.startswith("experiment tiny with options: unknown key 'training.epoch'; ")
    assert others == [
        "training.epochs = 0; allowed: greater than or equal to 1",
        "training.batch_size = 'a'; allowed: a valid integer",
        "training.lr = -1.0; allowed: greater than 0",
    ]
    with pytest.raises(InputError, match=r"\n  and 12 more$"):
        BASE.changed(network={"hidden": [0] * 20})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"training": 3}, r"training = 3; allowed: a table, \[training\]"),
        ({"training": {"policy": "clipp"}}, r"'clip', 'skip' or 'raise'. Did you mean 'clip'\?"),
        (
            {"task": {"name": "yinyang"}},
            r"task.name = 'yinyang'; allowed: 'yin-yang', 'mnist', 'fashion-mnist', 'emnist', 'spoken-digits', .*'images'. Did you mean 'yin-yang'\?",
        ),
        ({"network": {"tau_mem": "10ms"}}, r"tau_mem.0 = '10ms'; .* Times are numbers in seconds: write 0.01"),
    ],
)
def test_the_way_out_stands_in_the_message(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        BASE.changed(**changes)


def test_numbers_of_numpy_tuples_and_paths_are_values_too() -> None:
    changed = BASE.changed(
        seed=np.int64(3), training={"lr": np.float32(0.5)}, network={"hidden": (np.int64(7),), "tau_mem": np.array([1e-2, 2e-2])},
        task={"source": "published", "data": Path("here"), "train": None, "validation": None, "test": None},
    )  # fmt: skip
    assert (changed.seed, changed.training.lr, changed.network.hidden) == (3, 0.5, [7])
    assert changed == Experiment.from_dict(tomllib.loads(changed.to_toml()), "again")


def test_an_unknown_experiment_lists_those_built_in() -> None:
    with pytest.raises(OptionError, match=r"unknown experiment 'yinyang'; built in: demo, .*, yin-yang; or give"):
        Experiment.load("yinyang")
    with pytest.raises(OptionError, match=r"Did you mean 'yin-yang'\?"):
        Experiment.load("yinyang")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"format = ", InputError, "not TOML"),
        (b"\xff\xfe", DataError, "not UTF-8"),
        (b"x = " + b"[" * 50_000, InputError, "not TOML"),
        (b"#" * (MAX_FILE + 1), DataError, f"has {MAX_FILE + 1} bytes; allowed: at most {MAX_FILE}"),
        (b'format = "hwloop-experiment"\nversion = 1\nname = "x"', InputError, "task is missing"),
    ],
)
def test_a_broken_file_is_refused_by_its_name(
    tmp_path: Path, content: bytes, error: type[HwloopError], message: str
) -> None:
    file = tmp_path / "broken.toml"
    file.write_bytes(content)
    with pytest.raises(error, match=message) as caught:
        Experiment.load(file)
    assert str(file) in str(caught.value)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"nowhere.toml cannot be read: No such file"):
        Experiment.load("nowhere.toml")
