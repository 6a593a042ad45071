"""What has to hold before several ranks train together."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ..checkpoint import signature
from ..errors import InputError
from ..ranks import Ranks
from .options import Model

#: Samples of a data set that are compared value by value; of the others the labels are.
COMPARED = 1000


def begin_together(
    ranks: Ranks,
    options: Mapping[str, Any],
    net: Model,
    train: Any,
    validation: Any,
    batch_size: int,
    folder: Path | str | None,
) -> None:
    """Refuse ranks that are more than a batch has samples, or that were given different things; say how a run goes on.

    Raises :class:`InputError`.
    """
    if batch_size < ranks.size or len(train) < ranks.size:
        what = f"batch_size = {batch_size}" if batch_size < ranks.size else f"{len(train)} training samples"
        raise InputError(
            f"{what} for {ranks.size} ranks; allowed: at least one sample a rank in every full batch. Start fewer ranks, or "
            f"train with batch_size >= {ranks.size}"
        )
    ranks.agree(
        {**options, "network": signature(net), "training data": _digest(train), "validation data": _digest(validation)}
    )
    if not ranks.remedy:
        ranks.remedy = (
            "Nothing was saved; name a checkpoint_dir to be able to go on"
            if folder is None
            else f"{folder} keeps the last finished epoch: start again with resume=True, with any number of ranks or none"
        )


def _digest(data: Any) -> str:
    """A number that tells data sets apart; of batches that come from elsewhere nothing is known."""
    labels = getattr(data, "labels", None)
    if not isinstance(labels, Tensor):
        return "unknown"
    found = _crc(0, labels)
    inputs = data.inputs[: min(COMPARED, len(labels))]
    for name in ("counts", "times", "units", "values"):
        if isinstance(value := getattr(inputs, name, None), Tensor):
            found = _crc(found, value)
    return f"{len(labels)} samples, {found:08x}"


def _crc(start: int, values: Tensor) -> int:
    return zlib.crc32(values.detach().cpu().contiguous().numpy().tobytes(), start)
