from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hwloop import datasets
from hwloop.datasets import Dataset, Stimulus, Task
from hwloop.errors import DataError, InputError
from hwloop.spikes import Spikes


def tiny(n: int = 10, n_units: int = 2) -> Dataset:
    inputs = Spikes.from_first_times(torch.linspace(0, 1, n * n_units).reshape(n, n_units), 2.0)
    return Dataset(inputs, torch.arange(n) % 3)


# -- Yin-Yang -------------------------------------------------------------------------------------


def test_generated_points_lie_in_the_disc_and_features_mirror() -> None:
    x, _ = datasets.yin_yang_samples(2000, np.random.default_rng(1))
    np.testing.assert_allclose(x[:, 2:], 1 - x[:, :2], rtol=0, atol=0)
    assert np.hypot(x[:, 0] - 0.5, x[:, 1] - 0.5).max() <= 0.5


def test_classes_are_equally_likely() -> None:
    n = 30_000
    _, labels = datasets.yin_yang_samples(n, np.random.default_rng(2))
    # five standard errors of a binomial share of 1/3
    assert np.abs(np.bincount(labels) / n - 1 / 3).max() < 5 * math.sqrt(2 / 9 / n)


def test_figure_is_symmetric_under_half_a_turn() -> None:
    x, labels = datasets.yin_yang_samples(3000, np.random.default_rng(3))
    turned = datasets.yin_yang_class(1 - x[:, 0], 1 - x[:, 1])
    assert np.array_equal(turned, np.array([1, 0, 2])[labels])


def test_same_seed_same_samples_and_parts_differ() -> None:
    first, again, other = (datasets.yin_yang(seed=s, sizes=(50, 50, 50)) for s in (4, 4, 5))
    assert torch.equal(first.train.inputs.times, again.train.inputs.times)
    assert not torch.equal(first.train.inputs.times, other.train.inputs.times)
    assert not torch.equal(first.train.inputs.times, first.test.inputs.times)


def test_yin_yang_stimulus_is_four_features_and_a_bias_at_zero() -> None:
    task = datasets.yin_yang(sizes=(20, 5, 5), stimulus=datasets.yin_yang_stimulus(tau_syn=2e-3))
    assert (task.n_in, task.n_out, task.t_stop) == (5, 3, 0.02)
    times = task.train.inputs.first_times()
    assert bool((times[:, 4] == 0).all())
    assert bool((times[:, :4] <= 8e-3).all())
    # x and 1 - x: two times that add up to the span, to float32 rounding
    torch.testing.assert_close(times[:, 0] + times[:, 2], torch.full((20,), 8e-3), rtol=1e-6, atol=0)


def test_published_labels_follow_the_definition(yin_yang_folder: Path) -> None:
    task = datasets.yin_yang(yin_yang_folder, source="published", dtype=torch.float64)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [5000, 1000, 1000]
    for part in (task.train, task.validation, task.test):
        x = (part.inputs.first_times() / 0.02).numpy()
        # a point may lie on a border by rounding; none of the published ones does
        assert np.array_equal(datasets.yin_yang_class(x[:, 0], x[:, 1]), part.labels.numpy())


def test_generated_distribution_equals_the_published_one(yin_yang_folder: Path) -> None:
    published = np.load(yin_yang_folder / "train_samples.npy")[:, :2]
    generated = datasets.yin_yang_samples(len(published), np.random.default_rng(6))[0][:, :2]
    n = len(published)
    # two-sample Kolmogorov-Smirnov on several directions, at 1e-6 each: sqrt(-ln(1e-6 / 2) / 2) sqrt(2 / n)
    limit = math.sqrt(-math.log(5e-7) / 2) * math.sqrt(2 / n)
    for angle in np.linspace(0, np.pi, 6, endpoint=False):
        a, b = (np.sort(p @ [np.cos(angle), np.sin(angle)]) for p in (published, generated))
        both = np.concatenate([a, b])
        gap = np.abs(np.searchsorted(a, both, "right") - np.searchsorted(b, both, "right")).max() / n
        assert gap < limit


def test_unknown_source_is_refused() -> None:
    with pytest.raises(InputError, match="'generated', 'published'"):
        datasets.yin_yang(source="internet")  # type: ignore[arg-type]


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test_samples\.npy in .*nowhere"):
        datasets.yin_yang(tmp_path / "nowhere", source="published")


# -- images ---------------------------------------------------------------------------------------


def test_resampling_keeps_the_mean_and_a_constant_image() -> None:
    images = np.random.default_rng(7).integers(0, 256, size=(3, 28, 28), dtype=np.uint8)
    for size in (7, 16, 28):
        small = datasets.resample_area(images, size)
        # sums of 784 products: a few hundred roundings
        np.testing.assert_allclose(small.mean((1, 2)), images.mean((1, 2)) / 255, rtol=1e-12)
        flat = datasets.resample_area(np.full((1, 28, 28), 51, np.uint8), size)
        np.testing.assert_allclose(flat, 0.2, rtol=1e-12)


def test_resampling_equals_the_mean_over_a_common_grid() -> None:
    images = np.random.default_rng(8).integers(0, 256, size=(2, 28, 28), dtype=np.uint8)
    fine = np.kron(images / 255, np.ones((4, 4)))  # 112 = 4 * 28 = 7 * 16
    coarse = fine.reshape(2, 16, 7, 16, 7).mean((2, 4))
    np.testing.assert_allclose(datasets.resample_area(images, 16), coarse, rtol=1e-12, atol=1e-15)


def test_resampling_to_the_same_size_changes_nothing() -> None:
    images = np.random.default_rng(9).integers(0, 256, size=(2, 28, 28), dtype=np.uint8)
    np.testing.assert_array_equal(datasets.resample_area(images, 28), images / 255)


def test_an_odd_crop_is_refused() -> None:
    with pytest.raises(InputError, match="crop 21"):
        datasets.mnist(size=16, crop=21)


@pytest.mark.slow
def test_mnist_task_of_the_real_files(mnist_folder: Path) -> None:
    task = datasets.mnist(mnist_folder, size=16, crop=20)
    assert (task.n_in, task.n_out) == (256, 10)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [55_000, 5_000, 10_000]


# -- data sets and tasks --------------------------------------------------------------------------


def test_split_is_disjoint_complete_and_seeded() -> None:
    data = tiny()
    first, second = datasets.split(data, 3, seed=0)
    rows = torch.cat([first.inputs.times[:, 0], second.inputs.times[:, 0]])
    assert torch.equal(torch.sort(rows).values, data.inputs.times[:, 0])
    assert torch.equal(second.inputs.times, datasets.split(data, 3, seed=0)[1].inputs.times)


def test_shuffled_batches_hold_every_sample_once() -> None:
    data = tiny(10)
    batches = list(data.batches(4, np.random.default_rng(0)))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    starts = torch.cat([inputs.times[:, 0] for inputs, _ in batches])
    assert torch.equal(torch.sort(starts).values, data.inputs.times[:, 0])
    assert not torch.equal(starts, data.inputs.times[:, 0])


def test_a_data_loader_works_with_collate() -> None:
    loader = torch.utils.data.DataLoader(tiny(6), batch_size=4, collate_fn=datasets.collate)
    inputs, labels = next(iter(loader))
    assert torch.equal(inputs.times, tiny(6).inputs.times[:4])
    assert labels.tolist() == [0, 1, 2, 0]


@pytest.mark.parametrize("workers", [{}, {"num_workers": 1, "multiprocessing_context": "fork"}], ids=["here", "forked"])
def test_a_plain_data_loader_yields_spikes_and_labels(workers: dict[str, Any]) -> None:
    loader: Any = torch.utils.data.DataLoader(tiny(6), batch_size=4, **workers)
    (inputs, labels), (rest, _) = loader
    assert isinstance(inputs, Spikes)
    assert torch.equal(inputs.times, tiny(6).inputs.times[:4])
    assert labels.tolist() == [0, 1, 2, 0]
    assert len(rest) == 2


def test_a_data_loader_in_spawned_workers_shuffles_parts_of_a_data_set() -> None:
    part = torch.utils.data.Subset(tiny(6), [5, 3, 1])  # type: ignore[arg-type, var-annotated]
    loader: Any = torch.utils.data.DataLoader(
        part, batch_size=3, shuffle=True, num_workers=1, multiprocessing_context="spawn"
    )
    ((inputs, labels),) = loader
    assert sorted(inputs.times[:, 0].tolist()) == tiny(6).inputs.times[[1, 3, 5], 0].tolist()
    assert sorted(labels.tolist()) == [0, 1, 2]


def test_labels_may_be_lists_arrays_and_narrow_or_floating_whole_numbers() -> None:
    frozen = np.array([0, 1, 2], ">i2")
    frozen.flags.writeable = False
    for labels in ([0, 1, 2], np.array([0, 1, 2]), frozen, torch.tensor([0, 1, 2], dtype=torch.uint8), np.arange(3.0)):
        data = Dataset(tiny(3).inputs, labels)  # type: ignore[arg-type]
        assert (data.labels.dtype, data.labels.tolist()) == (torch.int64, [0, 1, 2])


def test_samples_are_picked_by_numpys_numbers_slices_and_lists() -> None:
    data = tiny(6)
    assert data[np.int64(4)][1].item() == data[-2][1].item() == 1
    for index in (slice(2, 4), [2, 3], np.array([2, 3]), torch.tensor([2, 3])):
        inputs, labels = data[index]  # type: ignore[index]
        assert (len(inputs), labels.tolist()) == (2, [2, 0])
    assert len(list(data)) == 6  # type: ignore[call-overload]
    assert [len(b) for b, _ in data.batches(np.int64(4))] == [4, 2]  # type: ignore[arg-type]
    assert len(datasets.split(data, np.int64(2), np.int64(0))[1]) == 2  # type: ignore[arg-type]
    assert len(datasets.yin_yang(seed=np.int64(1), sizes=np.array([5, 5, 5])).train) == 5  # type: ignore[arg-type]


def test_a_task_takes_numpys_numbers() -> None:
    inputs = Spikes.from_first_times(torch.zeros(3, 2), 0.05)
    data = Dataset(inputs, [0, 1, 2])
    task = Task("t", data, data, data, np.int64(2), np.int64(3), np.float32(0.05))  # type: ignore[arg-type]
    assert (task.n_in, task.n_out, task.t_stop) == (2, 3, 0.05)
    assert [type(n) for n in (task.n_in, task.n_out, task.t_stop)] == [int, int, float]


def test_subset_takes_the_first_samples() -> None:
    task = datasets.subset(Task("t", tiny(), tiny(), tiny(), 2, 3, 2.0), 4, 3, 2)
    assert [len(part) for part in (task.train, task.validation, task.test)] == [4, 3, 2]


def test_stimulus_without_bias_adds_no_unit() -> None:
    assert datasets.yin_yang(sizes=(5, 5, 5), stimulus=Stimulus(0, 1e-2, 2e-2)).n_in == 4


def test_labels_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="one for each of 10"):
        Dataset(tiny().inputs, torch.zeros(9, dtype=torch.int64))
    with pytest.raises(InputError, match="label -1"):
        Dataset(tiny().inputs, torch.full((10,), -1))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0.5] * 10, "labels must be whole numbers, found 0.5"),
        ([True] * 10, "labels are booleans"),
        (np.eye(10), r"labels have shape \(10, 10\); .*the class: labels.argmax\(1\)"),
        (["yin"] * 10, "labels = .*allowed: numbers"),
        (3, r"labels have shape \(\); expected one for each of 10"),
    ],
)
def test_labels_that_are_no_whole_numbers_are_refused(labels: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Dataset(tiny().inputs, labels)


def test_one_row_per_sample_becomes_its_class_as_told() -> None:
    assert Dataset(tiny(3).inputs, np.eye(3).argmax(1)).labels.tolist() == [0, 1, 2]


def test_inputs_that_are_no_spikes_are_answered_with_how_to_make_them() -> None:
    with pytest.raises(InputError, match=r"inputs are a tensor \(2, 3\).*Spikes.from_first_times\(times, t_stop\)"):
        Dataset(torch.rand(2, 3), [0, 1])  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "build",
    [
        lambda: next(tiny().batches(2.5)),  # type: ignore[arg-type]
        lambda: datasets.split(tiny(), 2.5, 0),  # type: ignore[arg-type]
        lambda: datasets.split(tiny(), 2, "0"),  # type: ignore[arg-type]
        lambda: datasets.yin_yang(sizes=(5, -1, 5)),
        lambda: datasets.mnist(size=0),
        lambda: datasets.mnist(crop=True),
    ],
)
def test_sizes_and_seeds_that_are_no_whole_numbers_are_refused(build: Any) -> None:
    with pytest.raises(InputError, match="allowed: a whole number >= "):
        build()


def test_a_folder_that_was_named_is_never_passed_over_for_another(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="no yin_yang data"):
        datasets.yin_yang("", source="published")


def test_a_task_refuses_parts_of_another_encoding_and_labels_without_class() -> None:
    with pytest.raises(InputError, match="validation: 3 units"):
        Task("t", tiny(), tiny(n_units=3), tiny(), 2, 3, 2.0)
    with pytest.raises(InputError, match="label 2; allowed: 0..1"):
        Task("t", tiny(), tiny(), tiny(), 2, 2, 2.0)


def test_batches_of_no_samples_are_refused() -> None:
    with pytest.raises(InputError, match="batch size 0"):
        next(tiny().batches(0))


# -- EMNIST, Fashion-MNIST ------------------------------------------------------------------------


def image_files(folder: Path, stem: str, labels: list[int]) -> np.ndarray:
    """IDX files of images in which pixel (row 3, column 20) alone is white, and of ``labels``; the images."""
    images = np.zeros((len(labels), 28, 28), np.uint8)
    images[:, 3, 20] = 255
    for kind, data in (("images-idx3", images), ("labels-idx1", np.array(labels, np.uint8))):
        header = bytes([0, 0, 8, data.ndim]) + b"".join(n.to_bytes(4, "big") for n in data.shape)
        (folder / f"{stem}-{kind}-ubyte").write_bytes(header + data.tobytes())
    return images


@pytest.mark.parametrize(
    ("subset", "first", "classes"),
    [
        ("balanced", 0, 47),
        ("bymerge", 0, 47),
        ("byclass", 0, 62),
        ("letters", 1, 26),
        ("digits", 0, 10),
        ("mnist", 0, 10),
    ],
)
def test_emnist_is_turned_upright_and_counts_from_0(tmp_path: Path, subset: str, first: int, classes: int) -> None:
    labels = [first, first + classes - 1, first + 2, first + 1]
    image_files(tmp_path, f"emnist-{subset}-train", labels)
    image_files(tmp_path, f"emnist-{subset}-test", labels[:2])
    task = datasets.emnist(tmp_path, subset=subset, n_validation=1)
    assert (task.name, task.n_in, task.n_out) == (f"emnist-{subset}-28x28", 784, classes)
    assert task.test.labels.tolist() == [0, classes - 1]
    assert (len(task.train), len(task.validation)) == (3, 1)
    # rows and columns change places: (3, 20) is (20, 3)
    assert task.test.inputs.units[:, 0].tolist() == [20 * 28 + 3] * 2
    image_files(tmp_path, f"emnist-{subset}-test", [first + classes] * 2)
    with pytest.raises(DataError, match=rf"label {first + classes}; allowed: {first}..{first + classes - 1}"):
        datasets.emnist(tmp_path, subset=subset, n_validation=1)


def test_letters_do_not_count_from_0_in_the_file(tmp_path: Path) -> None:
    image_files(tmp_path, "emnist-letters-train", [1, 2, 3])
    image_files(tmp_path, "emnist-letters-test", [0, 1])
    with pytest.raises(DataError, match=r"label 0; allowed: 1..26"):
        datasets.emnist(tmp_path, subset="letters", n_validation=1)


def test_a_part_of_emnist_that_is_missing_is_named(tmp_path: Path) -> None:
    image_files(tmp_path, "emnist-digits-test", [1, 2])
    with pytest.raises(
        DataError, match=r"lacks emnist-digits-train-images-idx3-ubyte .*EMNIST consists of emnist-digits-train"
    ):
        datasets.emnist(tmp_path, subset="digits")
    with pytest.raises(DataError, match=r"no emnist data: no file emnist-balanced-test-images-idx3-ubyte\*"):
        datasets.emnist(tmp_path)


def test_fashion_mnist_has_files_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "fashion_mnist").mkdir()
    image_files(tmp_path / "fashion_mnist", "train", [1, 2, 9])
    image_files(tmp_path / "fashion_mnist", "t10k", [0, 3])
    task = datasets.fashion_mnist(tmp_path, n_validation=1, size=14)
    assert (task.name, task.n_in, task.n_out) == ("fashion-mnist-14x14", 196, 10)
    assert task.test.labels.tolist() == [0, 3]
    with pytest.raises(DataError, match="no mnist data"):
        datasets.mnist(tmp_path)
