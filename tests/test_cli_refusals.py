"""What the command refuses, with which status, and that nothing is written then."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from hwloop.experiment import Experiment

from .cli_runs import TINY, content, done, file_of, preset_file, refused, untrained


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done("train", file_of(folder, TINY), "--out", folder / "run")
    return folder / "run"


def idx(*shape: int, cut: int = 0) -> bytes:
    """An IDX file of unsigned bytes, all zero, its last ``cut`` bytes missing."""
    header = struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape)
    return header + bytes(int(np.prod(shape)) - cut)


def mnist_files(folder: Path, cut: int) -> Path:
    for part, n in (("train", 20), ("t10k", 10)):
        for kind, data in (("images-idx3", idx(n, 28, 28, cut=cut)), ("labels-idx1", idx(n))):
            (folder / f"{part}-{kind}-ubyte.gz").write_bytes(gzip.compress(data))
    return folder


def refused_and_nothing_written(folder: Path, status: int, message: str, *arguments: object) -> None:
    before = content(folder)
    refused(status, message, *arguments, "--out", folder / "out")
    assert content(folder) == before
    assert not (folder / "out").exists()


def test_a_network_of_too_many_neurons_is_refused(tmp_path: Path) -> None:
    sizes = {"hidden": [200, 200, 200], "init_mean": 1.0, "init_std": 1.0}
    large = untrained(tmp_path / "run", TINY.changed(network=sizes))
    message = r"found 603 .*the target allows .*512.*Cheapest fix"
    for command in ("deploy", "compare", "finetune"):
        refused_and_nothing_written(tmp_path, 1, message, command, large, "-t", "emulator:1")


def test_a_fan_in_that_is_too_large_is_refused_before_data_are_read(tmp_path: Path) -> None:
    mnist = untrained(tmp_path / "run", Experiment.load("mnist-784-350-10"))
    message = r"layer 0 \(Dense\): found 784 inputs a neuron; the target allows a fan-in of 256"
    refused_and_nothing_written(tmp_path, 1, message, "deploy", mnist, "--preset", "bss2", "--data", tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[effects.jitter]", "[effects.jiter]", "unknown key 'effects.jiter'; known here: tau_mem"),
        ("scale = 0.10", "scale = -0.10", "effects.tau_mem.scale = -0.1; .*greater than or equal to 0"),
        ("scale = 0.10", "scale = nan", "effects.tau_mem.scale = nan"),
    ],
)
def test_a_bad_preset_is_refused(trained: Path, tmp_path: Path, old: str, new: str, message: str) -> None:
    file = preset_file(tmp_path, old, new)
    refused_and_nothing_written(tmp_path, 2, message, "deploy", trained, "--preset", file)
    refused(2, message, "targets", "--preset", file)


def test_an_unknown_target_lists_those_available(trained: Path, tmp_path: Path) -> None:
    message = r"unknown target 'loihi9:1'; available: .*emulator"
    for command in ("deploy", "compare", "finetune"):
        refused_and_nothing_written(tmp_path, 2, message, command, trained, "--target", "loihi9:1")
    refused(2, message, "targets", "loihi9:1")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--preset", "bss3"), "unknown preset 'bss3'; shipped: bss2, dynapse, ideal, worst"),
        (("--target", "emulator:x"), "emulator:x is no chip; allowed: emulator:N"),
        (("--spread", "-0.1"), "spread"),
        (("--option", "sped=3"), "has no option 'sped'; it has: preset, spread"),
        (("--option", "session"), "allowed: KEY=VALUE"),
        (("--runs", "0"), "runs"),
        (("--experiment", "nope"), "unknown experiment 'nope'; built in"),
        (("--nonsense",), "nonsense"),
    ],
)
def test_wrong_use_is_status_2(trained: Path, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    refused_and_nothing_written(tmp_path, 2, message, "deploy", trained, *arguments)


def test_a_command_that_does_not_exist_is_wrong_use() -> None:
    refused(2, "No such command 'tran'", "tran")


def test_a_checkpoint_of_another_network_is_refused(trained: Path, tmp_path: Path) -> None:
    other = file_of(tmp_path, TINY.changed(network={"hidden": [11]}))
    message = "is a checkpoint of another network. Saved: layers.0.weight 10x5"
    refused_and_nothing_written(tmp_path, 1, message, "deploy", trained, "--experiment", other)


def test_a_damaged_checkpoint_is_refused(tmp_path: Path) -> None:
    run_folder = untrained(tmp_path / "run", TINY)
    (data,) = (run_folder / "network").glob("*.safetensors")
    data.write_bytes(data.read_bytes()[:-1])
    refused_and_nothing_written(tmp_path, 1, "damaged checkpoint: .*sha256", "deploy", run_folder)


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    refused(1, "does not exist; give the folder of a run", "deploy", tmp_path / "nowhere")
    refused(1, "holds no experiment.toml", "deploy", tmp_path)


def test_a_missing_data_folder_is_refused(tmp_path: Path) -> None:
    message = r"no mnist data: no file t10k-images-idx3-ubyte\* in .*nowhere.*--data DIR or the environment variable"
    refused_and_nothing_written(tmp_path, 1, message, "train", "mnist-256-128-10", "--data", tmp_path / "nowhere")


def test_a_truncated_mnist_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data = mnist_files(tmp_path / "data", cut=7)
    message = r"train-images-idx3-ubyte.gz.*(7833|15673)"
    refused_and_nothing_written(tmp_path, 1, message, "train", "mnist-256-128-10", "--data", data)


def test_labels_out_of_range_are_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for part in ("train", "validation", "test"):
        np.save(tmp_path / "data" / f"{part}_samples.npy", np.full((4, 4), 0.5))
        np.save(tmp_path / "data" / f"{part}_labels.npy", np.array([0, 1, 2, 3]))
    published = file_of(
        tmp_path, Experiment.from_dict({**TINY.to_dict(), "task": {"name": "yin-yang", "source": "published"}}, "")
    )
    message = r"train_labels.npy: labels 0..3; allowed: 0..2"
    refused_and_nothing_written(tmp_path, 1, message, "train", published, "--data", tmp_path / "data")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tau_mem = [0.01]", "tau_mem = [0.0]", "network.tau_mem.0 = 0.0; allowed: greater than 0"),
        ("v_reset = [0.0]", "v_reset = [1.0]", "v_th = 1, v_reset = 1; allowed: v_th > v_reset"),
        ("lr = 0.01", "lr = inf", "training.lr = inf"),
        ("hidden", "hiden", "unknown key 'network.hiden'|network.hidden is missing"),
    ],
)
def test_a_bad_experiment_is_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = TINY.to_toml()
    assert old in text
    (tmp_path / "bad.toml").write_text(text.replace(old, new, 1))
    refused_and_nothing_written(tmp_path, 2, rf"bad.toml, line \d+: .*({message})", "train", tmp_path / "bad.toml")


def test_what_is_in_a_folder_is_never_written_over(trained: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("two years")
    before = content(trained.parent)
    file = trained.parent / "tiny.toml"
    cases = [
        (("train", file, "--out", tmp_path), "holds thesis.txt and no run of hwloop"),
        (("train", file, "--out", tmp_path, "--force"), "holds thesis.txt and no run of hwloop"),
        (("train", file, "--out", trained), "holds a run already; go on with --resume, replace it with --force"),
        (("train", file, "--out", trained, "--resume", "--force"), "exclude each other"),
        (("train", file, "--out", trained, "--resume", "--seed", 9), "begun with seed = 0, this run has 9"),
        (("train", file, "--out", file), "allowed: a folder"),
        (("demo", "--out", trained, "--force"), "holds a run of `hwloop train`; name another folder"),
        (("deploy", trained, "--out", trained, "--force"), "holds a run of `hwloop train`; name another folder"),
    ]
    for arguments, message in cases:
        refused(2, message, *arguments)
    assert content(trained.parent) == before
    assert content(tmp_path) == {"thesis.txt": b"two years"}


def test_a_folder_that_cannot_be_made_fails_without_traceback(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    refused(
        1, "cannot write into .*Not a directory", "train", file_of(tmp_path, TINY), "--out", tmp_path / "file" / "x"
    )
