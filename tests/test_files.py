from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from hwloop import download, files
from hwloop.errors import DataError

F8 = np.dtype("<f8")


def idx(n: int, side: int = 28, declared: int | None = None) -> bytes:
    body = bytes(range(256)) * (n * side * side // 256 + 1)
    return struct.pack(">IIII", 0x803, n if declared is None else declared, side, side) + body[: n * side * side]


def labels(n: int) -> bytes:
    return struct.pack(">II", 0x801, n) + bytes(i % 10 for i in range(n))


def put(folder: Path, content: bytes, name: str = "x") -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


# -- IDX ------------------------------------------------------------------------------------------


def test_plain_and_gzip_files_read_the_same(tmp_path: Path) -> None:
    plain, packed = put(tmp_path, idx(3)), put(tmp_path, gzip.compress(idx(3)), "y.gz")
    images = files.read_idx(plain, (28, 28))
    assert images.shape == (3, 28, 28)
    np.testing.assert_array_equal(images, files.read_idx(packed, (28, 28)))
    assert images[0, 0, :4].tolist() == [0, 1, 2, 3]


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    whole = idx(1)
    for pack in (bytes, gzip.compress):
        content = pack(whole)
        for length in [*range(40), len(content) // 2, len(content) - 9, len(content) - 1]:
            with pytest.raises(DataError, match="x"):
                files.read_idx(put(tmp_path, content[:length]), (28, 28))


def test_every_flipped_bit_of_an_archive_is_refused_or_harmless(tmp_path: Path) -> None:
    content = gzip.compress(labels(20))
    expected = files.read_idx(put(tmp_path, content), ())
    for position in range(len(content)):
        flipped = bytearray(content)
        flipped[position] ^= 1
        try:
            found = files.read_idx(put(tmp_path, bytes(flipped)), ())
        except DataError:
            continue
        np.testing.assert_array_equal(found, expected)  # time stamp and name fields of gzip carry no data


def test_surplus_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="more than the 784 bytes"):
        files.read_idx(put(tmp_path, idx(1) + b"\0"), (28, 28))


def test_a_lying_count_is_refused_before_anything_is_allocated(tmp_path: Path) -> None:
    for declared in (files.MAX_IMAGES, 2**32 - 1):
        with pytest.raises(DataError, match="declares"):
            files.read_idx(put(tmp_path, idx(1, declared=declared)), (28, 28))
        with pytest.raises(DataError, match="declares"):
            files.read_idx(put(tmp_path, gzip.compress(idx(1, declared=declared))), (28, 28))


@pytest.mark.parametrize(
    "content", [b"\x00\x00\x08\x01" + bytes(20), b"\x00\x00\x0d\x03" + bytes(20), b"PK\x03\x04" * 9]
)
def test_another_magic_number_is_refused(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(DataError, match="magic number .* allowed: 00000803"):
        files.read_idx(put(tmp_path, content), (28, 28))


def test_other_image_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"\(27, 27\); allowed: .*\(28, 28\)"):
        files.read_idx(put(tmp_path, idx(2, side=27)), (28, 28))


def test_a_wrong_md5_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="MD5"):
        files.read_idx(put(tmp_path, labels(3)), (), md5="0" * 32)


def test_labels_of_other_images_are_refused(tmp_path: Path) -> None:
    put(tmp_path, idx(3), "t10k-images-idx3-ubyte")
    put(tmp_path, labels(4), "t10k-labels-idx1-ubyte")
    with pytest.raises(DataError, match="4 labels for 3 images"):
        files.read_mnist(tmp_path, "test")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    put(tmp_path, idx(3), "t10k-images-idx3-ubyte")
    with pytest.raises(DataError, match="lacks t10k-labels-idx1-ubyte"):
        files.read_mnist(tmp_path, "test")


def test_real_test_set_has_the_published_md5_sums(mnist_folder: Path) -> None:
    images, digits = files.read_mnist(mnist_folder, "test", verify=True)
    assert images.shape == (10_000, 28, 28)
    assert np.bincount(digits).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


# -- npy ------------------------------------------------------------------------------------------


def test_npy_reads_what_numpy_wrote(tmp_path: Path) -> None:
    array = np.random.default_rng(0).normal(size=(5, 4))
    np.save(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(files.read_npy(tmp_path / "a.npy", F8, (None, 4)), array)


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 3)), np.zeros(5), np.zeros((5, 4), np.float32), np.asfortranarray(np.ones((5, 4))), np.zeros((0, 4))],
)
def test_npy_of_another_shape_or_type_is_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(DataError, match=r"allowed: float64 \(any, 4\)"):
        files.read_npy(tmp_path / "a.npy", F8, (None, 4))


def test_npy_with_objects_is_refused_and_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[1, {}]], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="object"):
        files.read_npy(tmp_path / "a.npy", F8, (None, 2))


def test_npy_that_is_truncated_or_declares_more_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((5, 4)))
    content = (tmp_path / "a.npy").read_bytes()
    for length in (0, 3, 8, 40, 100, 128, len(content) - 1):
        with pytest.raises(DataError, match=r"a\.npy"):
            files.read_npy(put(tmp_path, content[:length], "a.npy"), F8, (None, 4))
    lying = content.replace(b"(5, 4)", b"(2**40, 4)".replace(b"2**40", b"10000000"))
    with pytest.raises(DataError, match=r"a\.npy"):
        files.read_npy(put(tmp_path, lying, "a.npy"), F8, (None, 4))


@pytest.mark.parametrize(
    "text", ["(" * 9000, "{'descr': 1}", "{'descr': '<f8', 'fortran_order': 0, 'shape': -1}", "\0"]
)
def test_npy_with_a_hostile_header_is_refused(tmp_path: Path, text: str) -> None:
    header = text.encode().ljust(10_000)
    with pytest.raises(DataError, match=r"a\.npy"):
        files.read_npy(
            put(tmp_path, b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header, "a.npy"), F8, (None, 4)
        )


# -- folders --------------------------------------------------------------------------------------


def test_the_argument_wins_over_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("argument", "environment"):
        (tmp_path / name / "mnist").mkdir(parents=True)
        put(tmp_path / name / "mnist", b"", "wanted")
    monkeypatch.setenv(files.DATA_VARIABLE, str(tmp_path / "environment"))
    assert files.data_folder(tmp_path / "argument", "mnist", "wanted") == tmp_path / "argument" / "mnist"
    assert files.data_folder(None, "mnist", "wanted") == tmp_path / "environment" / "mnist"
    assert files.data_folder(tmp_path / "argument" / "mnist", "mnist", "wanted") == tmp_path / "argument" / "mnist"


def test_a_named_folder_is_never_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data" / "mnist").mkdir(parents=True)
    put(tmp_path / "data" / "mnist", b"", "wanted")
    monkeypatch.delenv(files.DATA_VARIABLE, raising=False)
    assert files.data_folder(None, "mnist", "wanted") == tmp_path / "data" / "mnist"
    with pytest.raises(DataError, match=f"--data DIR or the environment variable {files.DATA_VARIABLE}"):
        files.data_folder(tmp_path / "other", "mnist", "wanted")


# -- download -------------------------------------------------------------------------------------


def test_download_offline_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    def offline(url: str) -> bytes:
        raise OSError("network is unreachable")

    with pytest.raises(DataError, match=r"network is unreachable.*--data DIR"):
        download.download_mnist(tmp_path / "mnist", get=offline)
    assert list((tmp_path / "mnist").iterdir()) == []


def test_download_of_other_content_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="MD5"):
        download.download_mnist(tmp_path, get=lambda url: gzip.compress(b"not MNIST"))


def test_download_goes_on_to_the_next_mirror(mnist_folder: Path, tmp_path: Path) -> None:
    asked = []

    def get(url: str) -> bytes:
        asked.append(url)
        if url.startswith("first"):
            raise OSError("503")
        return (mnist_folder / url.rsplit("/", 1)[1]).read_bytes()

    if not (mnist_folder / "t10k-labels-idx1-ubyte.gz").is_file():
        pytest.skip("the real files are not packed here")
    download.download_mnist(tmp_path, mirrors=("first", "second"), get=get)
    assert len(asked) == 8
    assert len(files.read_mnist(tmp_path, "test")[1]) == 10_000
