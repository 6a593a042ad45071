"""Labels as users have them: whole numbers from 0, or the names of classes that are stated."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..document_errors import did_you_mean
from ..errors import DataError
from ..storage import printable


def labels_of(array: NDArray[Any], n: int, classes: int, names: Sequence[str], where: str) -> NDArray[np.int64]:
    """``array`` ``[n]`` as labels 0..classes-1: whole numbers, or text that is one of ``names``.

    Raises :class:`DataError` naming ``where``, row, value and what is allowed.
    """
    if array.ndim != 1:
        hint = ". Of one row a sample: labels.argmax(1)" if array.ndim == 2 else ""
        raise DataError(f"{where}: shape {array.shape}; allowed: one label for each of {n} samples{hint}")
    if len(array) != n:
        raise DataError(f"{where}: {len(array)} labels for {n} samples; allowed: one for each")
    if array.dtype.kind == "U":
        return np.array([label_of(str(text), classes, names, f"{where}, row {row}") for row, text in enumerate(array)])
    if array.dtype.kind not in "iu":
        raise DataError(
            f"{where}: {array.dtype}; allowed: whole numbers 0..{classes - 1}, or names of classes that are stated. "
            "Of whole numbers held otherwise: labels.astype('int64')"
        )
    bad = (array < 0) | (array >= classes)
    if bad.any():
        row = int(np.argmax(bad))
        one = ". Where they count from 1: labels - 1" if array.min() == 1 and array.max() == classes else ""
        raise DataError(f"{where}, row {row}: label {array[row]}; allowed: 0..{classes - 1}, of {classes} classes{one}")
    return array.astype(np.int64)


def label_of(text: str, classes: int, names: Sequence[str], where: str) -> int:
    """The label that ``text`` is: one of ``names``, or without names a whole number; raises as :func:`labels_of`."""
    if names:
        if text in names:
            return names.index(text)
        known = ", ".join(map(repr, names[:20]))
        raise DataError(f"{where}: label {printable(text)!r}; allowed: one of {known}{did_you_mean(text, names)}")
    if text.isascii() and text.isdigit() and int(text) < classes:
        return int(text)
    raise DataError(
        f"{where}: label {printable(text)!r}; allowed: 0..{classes - 1}. Of classes with names: state them all, "
        'names = ["...", ...]'
    )
