"""Files of data sets: what to do about each that is missing, damaged, or another one."""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from hwloop import datasets, files
from hwloop.download import download_mnist

from .data_files import RATE, idx, idx_files, members, written
from .support import Said, option, refused


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """MNIST of a few images, and Yin-Yang, whole."""
    idx_files(tmp_path, train=6, test=2)
    for part in ("train", "validation", "test"):
        np.save(tmp_path / f"{part}_samples.npy", np.full((3, 4), 0.5))
        np.save(tmp_path / f"{part}_labels.npy", np.arange(3))
    return tmp_path


def read(folder: Path) -> None:
    files.read_mnist(folder, "train")


def yin_yang(folder: Path) -> None:
    datasets.yin_yang(folder, source="published")


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
WHOLE = idx(np.zeros((6, 28, 28)))


def npy(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        path.write_bytes(change(path.read_bytes()))

    return damage


def content(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data) and None


def array(values: np.ndarray) -> Callable[[Path], None]:
    return lambda path: np.save(path, values)


#: What happened to a file, by the function and the text that says so; each text asks for the file to be got again.
DAMAGE = [
    (Said("read_idx", "truncated or damaged gzip file ({}); get the file again"), IMAGES, content(gzip.compress(WHOLE)[:-9])),
    (Said("_parse_idx", "magic number {}; allowed: {}; get the file again"), IMAGES, content(idx(np.zeros(6)))),
    (Said("_parse_idx", "truncated in its header; get the file again"), IMAGES, content(WHOLE[:6])),
    (Said("_parse_idx", "declares {} items of {}; allowed: 1..{} of {}"), IMAGES, content(idx(np.zeros((6, 27, 28))))),
    (Said("_parse_idx", "declares {} bytes; the file can hold {}"), IMAGES, content(WHOLE[:-9])),
    (Said("_parse_idx", "bytes of data; its header declares {}; truncated, get it again"), IMAGES, content(gzip.compress(WHOLE[:-9]))),
    (Said("_parse_idx", "holds more than the {} bytes that its header declares; get the file again"), IMAGES, content(WHOLE + b"x")),
    (Said("_read_images", "labels for {} images; the files do not belong together"), LABELS, content(idx(np.zeros(5)))),
    (Said("_read_images", "label {}; allowed: {}..{}"), LABELS, content(idx(np.full(6, 10)))),
    (Said("_idx_path", "lacks {} (or {}.gz); {} consists of {}"), IMAGES, Path.unlink),
    (Said("read_npy", "allowed: {} ({})"), "test_samples.npy", array(np.zeros((3, 4), np.float32))),
    (Said("read_npy", "bytes of data; its header declares {}"), "test_samples.npy", npy(lambda data: data[:-8])),
    (Said("read_npy", "check the path and its permissions"), "test_labels.npy", Path.unlink),
    (Said("_npy_header", "not a valid .npy file ({}); get the file again"), "test_samples.npy", content(b"a picture")),
    (Said("yin_yang_task._published", "features outside 0..1 or NaN; get the file again"), "test_samples.npy", array(np.full((3, 4), 2.0))),
    (Said("yin_yang_task._published", "labels {}..{}; allowed: 0..2"), "test_labels.npy", array(np.arange(3) + 1)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("error", "name", "damage"), DAMAGE, ids=lambda value: value[1] if isinstance(value, Said) else None
)
def test_the_file_got_again_is_read(error: Said, name: str, damage: Callable[[Path], None], folder: Path) -> None:
    run = yin_yang if name.endswith("npy") else read
    again = (folder / name).read_bytes()
    run(folder)
    damage(folder / name)
    refused(*error, lambda: run(folder))
    (folder / name).write_bytes(again)
    run(folder)


def test_a_path_that_is_checked_is_read(folder: Path) -> None:
    refused("read_idx", "check the path and its permissions", lambda: files.read_idx(folder, (28, 28)))
    files.read_idx(folder / IMAGES, (28, 28))


def test_labels_of_another_set_are_got_again_too(folder: Path) -> None:
    (folder / LABELS).write_bytes(idx(np.zeros(5)))
    refused("_read_images", "get both again", lambda: read(folder))
    idx_files(folder, train=6, test=2)
    read(folder)


def test_a_folder_of_data_is_found_once_it_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.setenv(files.DATA_VARIABLE, str(elsewhere))
    load = lambda data=None: datasets.mnist(data, n_validation=2)  # noqa: E731
    refused("data_folder", "Name the folder that holds it with --data DIR or the environment variable", load)
    load(folder)
    monkeypatch.setenv(files.DATA_VARIABLE, str(folder))
    load()


def test_images_of_the_allowed_sizes_are_encoded(folder: Path) -> None:
    def mnist(**options: int) -> None:
        datasets.mnist(folder, n_validation=2, **options)

    option("arguments.whole", "{} = {}; allowed: a whole number >= {}", mnist, "size", 0, 1).follow()
    option("image_tasks._checked", "crop an even number of 2..28", mnist, "crop", 5, 2, 28).follow()


def test_another_file_with_the_same_shape_is_refused_until_the_right_one_is_there(tmp_path: Path) -> None:
    path = tmp_path / "images"
    path.write_bytes(WHOLE)
    right = files.hashlib.md5(WHOLE, usedforsecurity=False).hexdigest()
    path.write_bytes(idx(np.ones((6, 28, 28))))
    refused("check_md5", "get the file again", lambda: files.read_idx(path, (28, 28), md5=right))
    path.write_bytes(WHOLE)
    files.read_idx(path, (28, 28), md5=right)


def unreachable(url: str) -> bytes:
    raise OSError("no network")


def test_files_copied_by_hand_take_the_place_of_a_download(folder: Path, tmp_path: Path) -> None:
    target = tmp_path / "copied"
    said = refused("_from_a_mirror", "copy the four files", lambda: download_mnist(target, get=unreachable))
    names = [name.rstrip(",") for name in said.split("the four files ")[1].split() if name.rstrip(",").endswith(".gz")]
    assert len(names) == 4
    for name in names:
        (target / name).write_bytes(gzip.compress((folder / name.removesuffix(".gz")).read_bytes()))
    assert download_mnist(target, get=unreachable) == target
    datasets.mnist(target, n_validation=2)


def test_a_download_goes_into_a_folder_that_is_writable(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")
    wrong, right = tmp_path / "a file" / "mnist", tmp_path / "mnist"
    refused("download_mnist", "name a folder that is writable", lambda: download_mnist(wrong, get=unreachable))
    right.mkdir()
    for name in files.MNIST_MD5:
        shutil.copy(folder / name, right / f"{name}.gz")
    assert download_mnist(right, get=unreachable) == right


def emnist_files(folder: Path, subset: str = "letters", first: int = 1) -> None:
    """A subset of EMNIST of a few images."""
    for part, n in (("train", 6), ("test", 2)):
        (folder / f"emnist-{subset}-{part}-images-idx3-ubyte").write_bytes(idx(np.zeros((n, 28, 28))))
        (folder / f"emnist-{subset}-{part}-labels-idx1-ubyte").write_bytes(idx(np.arange(n) + first))


def test_a_subset_of_emnist_that_is_known_is_read(tmp_path: Path) -> None:
    emnist_files(tmp_path)
    refused("emnist", "subset = {}; allowed: {}", lambda: datasets.emnist(tmp_path, subset="greek", n_validation=2))
    assert datasets.emnist(tmp_path, subset="letters", n_validation=2).n_out == 26


def test_images_in_halves_are_read_in_whole_ones(folder: Path) -> None:
    run = lambda **sizes: datasets.mnist(folder, n_validation=2, **sizes)  # noqa: E731
    refused("_checked", "allowed: size >= 1, crop an even number of 2..28", lambda: run(crop=21))
    run(size=1, crop=2)
    run(size=28, crop=28)


def test_mnist_is_not_taken_for_fashion(tmp_path: Path, mnist_folder: Path) -> None:
    refused(
        "read_fashion_mnist", "is of MNIST; allowed: the file of that name of Fashion-MNIST, in a folder fashion_mnist",
        lambda: datasets.fashion_mnist(mnist_folder),
    )  # fmt: skip
    own = tmp_path / "fashion_mnist"
    own.mkdir()
    idx_files(own, train=6, test=2)
    assert datasets.fashion_mnist(tmp_path, n_validation=2).name == "fashion-mnist-28x28"


@pytest.mark.parametrize(
    ("name", "wrong", "allowed"),
    [
        ("low", 0.5, (1.0, 3799.0)), ("high", 2e6, (101.0, 1e6)), ("smoothing", 1e-3, (8e-3, 1.0)), ("span", 0.0, (1.0, 120.0)),
        ("area", 0.0, (1e-3, 10.0)), ("speedup", 0.0, (1e-3, 1e6)),
    ],
)  # fmt: skip
def test_a_filter_bank_takes_what_it_allows(name: str, wrong: float, allowed: tuple[float, ...]) -> None:
    option("filter_bank._between", "{} = {}; allowed: {}..{}", datasets.FilterBank, name, wrong, *allowed).follow()


def test_bands_are_put_in_order_and_below_half_the_rate() -> None:
    refused("__post_init__", "allowed: low < high", lambda: datasets.FilterBank(low=500, high=400))
    datasets.FilterBank(low=400, high=500)
    encode = lambda high: datasets.FilterBank(high=high).encode([np.ones(400)], RATE)  # noqa: E731
    said = refused("FilterBank._checked", "allowed: below {} Hz", lambda: encode(4000.0))
    encode(float(said.split("below ")[1].split(" Hz")[0]) - 1)


def test_sound_in_one_row_is_heard() -> None:
    bank = datasets.FilterBank()
    refused(
        "_sound", "allowed: finite numbers [samples >= 1] in one row", lambda: bank.levels(np.zeros((2, 800)), RATE)
    )
    bank.levels(np.zeros((2, 800))[0], RATE)


def test_recordings_are_split_by_a_speaker_and_in_a_window_as_said(tmp_path: Path) -> None:
    run = lambda **options: datasets.spoken_digits(written(tmp_path), **options)  # noqa: E731
    said = refused("split_of", "held_out = {}; allowed: one of {}, and not all", lambda: run(held_out="eve"))
    for speaker in said.split("one of ")[1].split(", and")[0].split(", "):
        assert len(run(held_out=speaker).test) == 24
    said = refused("spoken_digits", "t_stop = {} s; allowed: >= {} s, the longest recording", lambda: run(t_stop=1e-3))
    run(t_stop=float(said.split(">= ")[1].split(" s")[0]))


def test_recordings_with_the_takes_that_are_named_are_split(tmp_path: Path) -> None:
    few = members(takes=10)
    refused(
        "split_of", "files with takes 0..4, 5..9 and above", lambda: datasets.spoken_digits(written(tmp_path, **few))
    )
    datasets.spoken_digits(written(tmp_path, **members(takes=11)))


#: Two recordings as tonic gives them.
EVENTS = np.array([(10, 1, 0, 1)], [("t", "i8"), ("x", "i8"), ("y", "i8"), ("p", "i8")])
PAIRS = [(EVENTS, 0), (EVENTS, 1)]


def test_data_like_those_of_tonic_are_read_once_sensor_and_samples_are_named() -> None:
    refused(
        "from_tonic", "give sensor_size=(width, height, polarities)", lambda: datasets.from_tonic(PAIRS, t_stop=2e-3)
    )
    refused(
        "from_tonic",
        "samples = {}: none; give the numbers of those to take, or leave it out",
        lambda: datasets.from_tonic(PAIRS, t_stop=2e-3, sensor_size=(4, 3, 2), samples=[]),
    )
    for samples, count in (([1], 1), (None, 2)):
        found = datasets.from_tonic(PAIRS, t_stop=2e-3, sensor_size=(4, 3, 2), samples=samples)
        assert len(found) == count
