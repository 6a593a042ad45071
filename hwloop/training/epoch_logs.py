"""What each epoch brought, written as it goes: a table as CSV, or for TensorBoard. Given to ``on_epoch`` of a training loop.

hl.fit(net, task, loss, on_epoch=training.CsvLog("epochs.csv"))
hl.fit(net, task, loss, on_epoch=training.TensorBoardLog("runs/one"))
"""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..errors import DataError, OptionError
from ..storage import read_bytes, write_bytes

#: Largest table read (bytes): some million epochs.
MAX_BYTES = 2**28


def write_epochs(path: Path, history: Sequence[Any]) -> None:
    """The table of all epochs of ``history``, as :class:`CsvLog` leaves it."""
    _write(path, [_flat(asdict(epoch)) for epoch in history])


class CsvLog:
    """A row for every epoch in the table ``path``; figures of a figure are called ``validation.accuracy`` and the like.

    Rows of the table that stand there from the same epoch on are replaced: a run that is resumed goes on in it, one that begins
    anew begins it anew.

    Raises :class:`OptionError` where ``path`` does not end in ``.csv``, :class:`DataError` where it holds another table or cannot be
    written.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        if self.path.suffix != ".csv":
            raise OptionError(f"{self.path}; allowed: a file that ends in .csv")

    def __call__(self, epoch: Any) -> None:
        """Write the row of ``epoch``, of any training loop."""
        figures = _flat(asdict(epoch))
        rows = [row for row in self._before(list(figures)) if int(row["number"]) < epoch.number]
        _write(self.path, [*rows, figures])

    def _before(self, columns: list[str]) -> list[dict[str, str]]:
        """Rows that the table has."""
        if not self.path.exists():
            return []
        try:
            reader = csv.DictReader(
                io.StringIO(read_bytes(self.path, MAX_BYTES).decode("utf-8"), newline=""), strict=True
            )
            rows = list(reader)
            same = reader.fieldnames == columns and all(row["number"].isdigit() for row in rows)
        except (UnicodeDecodeError, csv.Error, KeyError, AttributeError):
            same = False
        if not same:
            raise DataError(
                f"{self.path} holds another table; allowed: one of columns {', '.join(columns)}, or name a new file"
            )
        return rows


class TensorBoardLog:
    """A point for every epoch and figure in ``folder``, for ``tensorboard --logdir``; needs the extra ``hwloop[tensorboard]``.

    Figures of a figure are called ``validation/accuracy`` and the like; those of a run that is resumed take the place of those
    that stand there.

    Raises :class:`OptionError` where TensorBoard is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise OptionError(
                f"TensorBoard cannot be imported ({error}); install it: pip install 'hwloop[tensorboard]', or log to a .csv: CsvLog"
            ) from None
        self._make, self.folder = SummaryWriter, Path(folder)
        self._writer: Any = None

    def __call__(self, epoch: Any) -> None:
        """Write the figures of ``epoch``, of any training loop."""
        if self._writer is None:
            self._writer = self._make(str(self.folder), purge_step=epoch.number)
        for name, value in _flat(asdict(epoch), "/").items():
            if isinstance(value, (int, float)) and name != "number":
                self._writer.add_scalar(name, value, epoch.number)
        self._writer.flush()


def _write(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    content = io.StringIO(newline="")
    writer = csv.DictWriter(content, list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, content.getvalue().encode())


def _flat(figures: dict[str, Any], between: str = ".", before: str = "") -> dict[str, Any]:
    """Single figures by name, those of a figure behind its name."""
    found: dict[str, Any] = {}
    for name, value in figures.items():
        found |= (
            _flat(value, between, f"{before}{name}{between}") if isinstance(value, dict) else {f"{before}{name}": value}
        )
    return found
