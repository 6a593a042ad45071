"""Readers of foreign data files, and where such files are looked for.

Every size that a file declares is checked against a limit and against the file's real content before memory of that
size is taken. Whatever is wrong raises :class:`hwloop.errors.DataError` naming file, found and allowed.
"""

from __future__ import annotations

import gzip
import hashlib
import math
import os
import struct
import zlib
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import Path
from tokenize import TokenError
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from .errors import DataError
from .storage import malformed

#: Environment variable that names the data folder.
DATA_VARIABLE = "HWLOOP_DATA"
#: Where data lie by default, seen from the working folder and from the source tree.
DEFAULT_FOLDERS = ("data", "../shared/data")

#: Side of an MNIST image (pixels).
MNIST_SIDE = 28
#: Largest number of images or labels accepted (the real files hold 60,000).
MAX_IMAGES = 300_000
#: Largest ``.npy`` file accepted (bytes); the published Yin-Yang files hold 160 kB.
MAX_NPY_BYTES = 2**28
#: MD5 of the four unpacked IDX files, as published with the data set.
MNIST_MD5 = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
#: First and last label in the files of each subset of EMNIST (Cohen and others, arXiv 1702.05373).
EMNIST_LABELS = {
    "balanced": (0, 46), "bymerge": (0, 46), "byclass": (0, 61), "letters": (1, 26), "digits": (0, 9), "mnist": (0, 9)
}  # fmt: skip
#: IDX type code of unsigned bytes.
_UBYTE = 0x08
#: Deflate cannot pack more than this many bytes into one.
_DEFLATE_RATIO = 1032


def data_folder(data: Path | str | None, name: str, pattern: str) -> Path:
    """The folder that holds a file like ``pattern``: ``DIR`` or ``DIR/name`` for the first ``DIR`` that applies.

    ``DIR`` is ``data`` if given, else the environment variable ``HWLOOP_DATA``, else the first of ``data`` and
    ``../shared/data``, seen from the working folder and from the source tree. A folder that was named is never passed
    over for another one.

    Raises :class:`DataError` naming every folder that was looked at.
    """
    tried = []
    for base in _candidates(data):
        for folder in (base, base / name):
            tried.append(str(folder))
            if folder.is_dir() and any(folder.glob(pattern)):
                return folder
    raise DataError(
        f"no {name} data: no file {pattern} in {', '.join(tried)}. "
        f"Name the folder that holds it with --data DIR or the environment variable {DATA_VARIABLE}"
    )


def _candidates(data: Path | str | None) -> list[Path]:
    named = data if data is not None else os.environ.get(DATA_VARIABLE) or None
    if named is not None:
        return [Path(named).expanduser()]
    tree = Path(__file__).resolve().parents[1]
    found = [(base / folder).resolve() for folder in DEFAULT_FOLDERS for base in (Path.cwd(), tree)]
    return list(dict.fromkeys(found))


def read_npy(path: Path, dtype: np.dtype[np.generic], shape: tuple[int | None, ...]) -> NDArray[np.generic]:
    """An array of exactly ``dtype`` and ``shape`` (``None``: any length >= 1) from a ``.npy`` file."""
    try:
        with path.open("rb") as file:
            found_shape, fortran, found = _npy_header(file, str(path))
            if found != dtype or fortran or not _fits(found_shape, shape):
                wanted = ", ".join("any" if n is None else str(n) for n in shape)
                raise DataError(
                    f"{path}: {'Fortran-ordered ' if fortran else ''}{found} {found_shape}; allowed: {dtype} ({wanted})"
                )
            declared = math.prod(found_shape) * found.itemsize
            present = os.fstat(file.fileno()).st_size - file.tell()
            if declared != present or declared > MAX_NPY_BYTES:
                raise DataError(
                    f"{path}: {present} bytes of data; its header declares {declared}; "
                    f"allowed: what it declares, up to {MAX_NPY_BYTES}; get the file again"
                )
            return np.frombuffer(file.read(declared), dtype=dtype).reshape(found_shape)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error


def parse_npy(data: bytes, where: str) -> NDArray[np.generic]:
    """The array in ``data``, the content of a ``.npy`` file without objects; :class:`DataError` naming ``where`` otherwise."""
    file = BytesIO(data)
    shape, fortran, dtype = _npy_header(file, where)
    count, plain = math.prod(shape), dtype.kind in "biufU" and dtype.itemsize > 0 and min(shape, default=0) >= 0
    if not plain or count * dtype.itemsize != len(data) - file.tell():
        raise malformed(
            where, "its header", f"{dtype} {shape}", f"what {len(data) - file.tell()} bytes hold, no objects"
        )
    return np.frombuffer(data, dtype, count, file.tell()).reshape(shape, order="F" if fortran else "C")


def parse_structured_npy(data: bytes, where: str) -> NDArray[Any]:
    """The structured array ``[n]`` of plain numbers in ``data``, the content of a ``.npy`` file; raises as :func:`parse_npy`."""
    file = BytesIO(data)
    shape, _, dtype = _npy_header(file, where)
    fields = [dtype.fields[name][0] for name in dtype.names or ()] if dtype.fields else []
    plain = bool(fields) and all(field.kind in "biuf" and field.shape == () for field in fields)
    if not plain or len(shape) != 1 or shape[0] * dtype.itemsize != len(data) - file.tell():
        raise malformed(where, "its header", f"{dtype} {shape}", "a structured array of one axis, fields of numbers")
    return np.frombuffer(data, dtype, shape[0], file.tell())


def _npy_header(file: BinaryIO, where: str) -> tuple[tuple[int, ...], bool, np.dtype[np.generic]]:
    try:
        # typed in some of the supported versions of NumPy, not in others
        version: Any = npy.read_magic(file)  # type: ignore[no-untyped-call,unused-ignore]
        read: Any = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        header: tuple[tuple[int, ...], bool, np.dtype[np.generic]] = read(file)
        return header
    # the header is a Python literal: a hostile one fails in as many ways as the parser knows
    except (ValueError, TypeError, EOFError, SyntaxError, RecursionError, MemoryError, TokenError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{where}: not a valid .npy file ({reason}); get the file again") from None


def _fits(found: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(found) == len(wanted) and all(
        f >= 1 if w is None else f == w for f, w in zip(found, wanted, strict=True)
    )


def read_idx(path: Path, item_shape: tuple[int, ...], *, md5: str | None = None) -> NDArray[np.uint8]:
    """Bytes ``[n, *item_shape]`` from an IDX file, plain or gzip.

    ``md5``, if given, has to be that of the unpacked content.

    Raises :class:`DataError` for another magic number, other dimensions, missing or surplus data, or a broken archive.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == b"\x1f\x8b"
            raw.seek(0)
            size = os.fstat(raw.fileno()).st_size
            if not packed:
                return _parse_idx(path, raw, size, item_shape, md5)
            with gzip.GzipFile(fileobj=raw) as unpacked:
                return _parse_idx(path, unpacked, size * _DEFLATE_RATIO, item_shape, md5)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path}: truncated or damaged gzip file ({error}); get the file again") from None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error


def _parse_idx(
    path: Path, file: BinaryIO | gzip.GzipFile, most: int, item_shape: tuple[int, ...], md5: str | None
) -> NDArray[np.uint8]:
    """``most``: bytes that the file can hold at all."""
    n_dims = 1 + len(item_shape)
    header = file.read(4 + 4 * n_dims)
    magic = bytes([0, 0, _UBYTE, n_dims])
    if header[:4] != magic:
        raise DataError(
            f"{path}: magic number {header[:4].hex() or 'missing'}; allowed: {magic.hex()}; get the file again"
        )
    if len(header) < 4 + 4 * n_dims:
        raise DataError(f"{path}: truncated in its header; get the file again")
    n, *items = struct.unpack(f">{n_dims}I", header[4:])
    if tuple(items) != item_shape or not 1 <= n <= MAX_IMAGES:
        raise DataError(
            f"{path}: declares {n} items of {tuple(items)}; allowed: 1..{MAX_IMAGES} of {item_shape}; get the file again"
        )
    declared = n * math.prod(item_shape)
    if declared > most - len(header):
        raise DataError(
            f"{path}: declares {declared} bytes; the file can hold {max(0, most - len(header))}; truncated, get it again"
        )
    data = file.read(declared)
    if len(data) < declared:
        raise DataError(f"{path}: {len(data)} bytes of data; its header declares {declared}; truncated, get it again")
    if file.read(1):
        raise DataError(f"{path}: holds more than the {declared} bytes that its header declares; get the file again")
    if md5 is not None:
        check_md5(path, header + data, md5)
    return np.frombuffer(data, dtype=np.uint8).reshape(n, *item_shape)


def check_md5(path: Path | str, content: bytes, md5: str) -> None:
    """Refuse ``content`` whose MD5, a check against damage and not against forgery, is another one."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise DataError(f"{path}: MD5 of the unpacked content {found}; expected {md5}; get the file again")


def read_mnist(folder: Path, part: str, *, verify: bool = False) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Images ``[n, 28, 28]`` and labels ``[n]`` of ``part`` (``"train"`` or ``"test"``) from IDX files in ``folder``.

    ``verify`` demands the published MD5 sums.
    """
    stem = {"train": "train", "test": "t10k"}[part]
    return _read_images(folder, stem, "MNIST", (0, 9), MNIST_MD5 if verify else {})


def read_fashion_mnist(folder: Path, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The same of Fashion-MNIST, whose files have the names of MNIST's; MNIST's own are refused, told by their MD5 sums."""
    stem = {"train": "train", "test": "t10k"}[part]
    labels = f"{stem}-labels-idx1-ubyte"
    path = _idx_path(folder, labels, "Fashion-MNIST")
    content = read_idx(path, ()).tobytes()
    header = bytes([0, 0, _UBYTE, 1]) + struct.pack(">I", len(content))
    if hashlib.md5(header + content, usedforsecurity=False).hexdigest() == MNIST_MD5[labels]:
        raise DataError(
            f"{path} is of MNIST; allowed: the file of that name of Fashion-MNIST, in a folder fashion_mnist"
        )
    return _read_images(folder, stem, "Fashion-MNIST", (0, 9), {})


def read_emnist(folder: Path, subset: str, part: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The same of a ``subset`` of EMNIST (a key of :data:`EMNIST_LABELS`), upright; labels count from 0.

    Its files hold every image with rows and columns exchanged, and the letters count from 1.
    """
    first, last = EMNIST_LABELS[subset]
    images, labels = _read_images(folder, f"emnist-{subset}-{part}", "EMNIST", (first, last), {})
    return np.ascontiguousarray(images.transpose(0, 2, 1)), labels - first


def _read_images(
    folder: Path, stem: str, name: str, allowed: tuple[int, int], sums: Mapping[str, str]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images_name, labels_name = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
    images = read_idx(_idx_path(folder, images_name, name), (MNIST_SIDE, MNIST_SIDE), md5=sums.get(images_name))
    labels_path = _idx_path(folder, labels_name, name)
    labels = read_idx(labels_path, (), md5=sums.get(labels_name))
    if len(labels) != len(images):
        raise DataError(
            f"{labels_path}: {len(labels)} labels for {len(images)} images; the files do not belong together, get both again"
        )
    wrong = labels[(labels < allowed[0]) | (labels > allowed[1])]
    if len(wrong):
        raise DataError(f"{labels_path}: label {wrong.max()}; allowed: {allowed[0]}..{allowed[1]}; get the file again")
    return images, labels.astype(np.int64)


def _idx_path(folder: Path, name: str, task: str) -> Path:
    for candidate in (folder / name, folder / f"{name}.gz"):
        if candidate.is_file():
            return candidate
    others: Iterable[str] = MNIST_MD5
    if task == "EMNIST":
        stem = "-".join(name.split("-")[:2])
        others = [
            f"{stem}-{part}-{kind}-ubyte" for part in ("train", "test") for kind in ("images-idx3", "labels-idx1")
        ]
    raise DataError(
        f"{folder} lacks {name} (or {name}.gz); {task} consists of {', '.join(others)}; get what is missing"
    )
