"""Images of the user's own: IDX files (plain or gzip) or ``.npy`` files of bytes, brighter is earlier and black silent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from .. import encoding, files
from ..arguments import allowed_dtype, whole
from ..datasets import Dataset, Stimulus, Task
from ..errors import DataError, InputError
from ..spikes import concatenate
from ..storage import read_bytes
from .class_labels import labels_of
from .parts_of_data import PartOf, Parts, Source, checked_names
from .table_files import MAX_BYTES, Array

#: Images encoded at once: bounds the memory of the sort, changes no result.
CHUNK = 5000


def images(
    train: PartOf,
    validation: PartOf,
    test: PartOf,
    *,
    height: int,
    width: int,
    classes: int,
    stimulus: Stimulus,
    seed: int | None = None,
    names: Sequence[str] = (),
    name: str = "images",
    dtype: torch.dtype | None = None,
) -> Task:
    """A task of images of bytes: ``height * width`` inputs (and a bias of ``stimulus``), row by row.

    Parameters
    ----------
    train, validation, test : Source, or (of the last two) a number of samples drawn from the training data by ``seed``
        ``Source(inputs="images-idx3-ubyte.gz", labels="labels-idx1-ubyte.gz")``, each an IDX file or an ``.npy``.
    height, width, classes : int
    stimulus : Stimulus
        When pixels spike (s): white at ``t_early``, the darkest that is not black at ``t_late``.
    names : of the classes, optional
    dtype : of the spike times, default torch's

    Raises
    ------
    InputError
        Arguments that are not allowed.
    DataError
        Files that cannot be read, are no images of bytes of that size, or whose labels do not fit, with file, row and value.
    """
    parts, classes = Parts.of(train, validation, test, seed), whole("classes", classes, 2)
    names, shape = checked_names(classes, names), (whole("height", height), whole("width", width))
    kept = allowed_dtype(dtype) or torch.get_default_dtype()

    def read(source: Source) -> Dataset:
        if source.inputs is None or source.labels is None or source.file is not None:
            raise InputError(f"{source.file or 'the images'}: state both files, inputs (images) and labels")
        pixels = _bytes(Path(source.inputs), shape)
        labels = labels_of(_bytes(Path(source.labels), ()), len(pixels), classes, names, source.labels)
        encoded = [
            encoding.intensity_to_latency(
                torch.from_numpy(pixels[k : k + CHUNK].reshape(-1, shape[0] * shape[1]) / 255.0).to(kept),
                stimulus.t_early, stimulus.t_late, stimulus.t_stop, bias_time=stimulus.bias_time,
            )
            for k in range(0, len(pixels), CHUNK)
        ]  # fmt: skip
        return Dataset(concatenate(encoded), torch.from_numpy(labels))

    return parts.task(name, read, classes, stimulus if height == width else None)


def _bytes(path: Path, shape: tuple[int, ...]) -> Array:
    """Bytes ``[n, *shape]`` of an IDX or ``.npy`` file; labels (no ``shape``) may be any whole numbers or text in an ``.npy``."""
    if path.suffix != ".npy":
        return files.read_idx(path, shape)
    array = files.parse_npy(read_bytes(path, MAX_BYTES), str(path))
    if shape and (array.dtype != np.uint8 or array.ndim != 3 or array.shape[1:] != shape or len(array) == 0):
        raise DataError(f"{path}: {array.dtype} {array.shape}; allowed: uint8 [images, {shape[0]}, {shape[1]}]")
    return array
