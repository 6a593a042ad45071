"""``data.json`` of a run: digests of the data files that it was trained on, and what is in the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from .. import storage
from ..datasets import Task
from ..errors import DataError, OptionError
from ..experiment import Experiment
from ..own_data import FileDigest, changed_files, class_counts, digests_of
from ..strict_documents import Count, Name, Sha256, StrictDocument, Text, parse_document
from . import terminal

FILE, FORMAT = "data.json", "hwloop-data"
#: Largest document (bytes): of some 300,000 files.
MAX_BYTES = 2**26
#: Differences that are told one by one.
_MOST = 5


class _Entry(StrictDocument):
    part: Name
    path: Text
    name: Text
    bytes: Count
    sha256: Sha256


class _Document(StrictDocument):
    format: Literal["hwloop-data"]
    version: Literal[1]
    files: list[_Entry]


def of(experiment: Experiment) -> list[FileDigest]:
    """Digests of the files that the task of ``experiment`` is read from; none where it is generated."""
    return digests_of(experiment.task.files())


def stored(run: Path) -> list[FileDigest] | None:
    """Those that ``run`` was begun with; None where it keeps none."""
    path = run / FILE
    if not path.is_file():
        return None
    document = parse_document(_Document, storage.read_bytes(path, MAX_BYTES), str(path))
    return [FileDigest(**entry.model_dump()) for entry in document.files]


def keep(run: Path, digests: Sequence[FileDigest]) -> None:
    """Write ``digests`` into ``run``, or remove those of an earlier run where there are none."""
    if not digests:
        (run / FILE).unlink(missing_ok=True)
        return
    document = {"files": [asdict(digest) for digest in digests]}
    storage.write_json(run / FILE, document, kind=FORMAT, version=1)


def refuse_changed(run: Path, now: Sequence[FileDigest]) -> None:
    """Raise :class:`OptionError` where the data are no longer those that ``run`` was begun with."""
    before = stored(run)
    changes = [] if before is None else changed_files(before, now)
    if changes:
        raise OptionError(
            f"{run} was begun on other data: {_listed(changes)}. Resume it with the data of then, or begin anew with --force or "
            "another --out"
        )


def note_changed(run: Path, experiment: Experiment) -> None:
    """Say where the data are no longer those that ``run`` was trained on."""
    before = stored(run)
    if before is None:
        return
    try:
        changes = changed_files(before, of(experiment))
    except DataError:
        return  # data that are not there: what needs them will say so
    if changes:
        terminal.note(f"note: the data are not those of {run}: {_listed(changes)}")


def say_counts(task: Task, names: Sequence[str] = ()) -> None:
    """Print how many samples of each class each part of ``task`` has, and which classes training never sees."""
    counts = class_counts(task)
    rows = [(names[k] if names else k, *(counts[part][k] for part in counts)) for k in range(task.n_out)]
    columns = ("class", *counts)
    terminal.say(f"data: {task.name}, {task.n_in} inputs, {task.n_out} classes, window {task.t_stop:g} s")
    terminal.table(columns, [*rows, ("all", *map(sum, counts.values()))], columns[1:])
    if missing := [str(row[0]) for row in rows if not row[1]]:
        terminal.note(f"note: no training samples of class {', '.join(missing[:20])}")


def _listed(changes: Sequence[str]) -> str:
    more = f"; and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return "; ".join(changes[:_MOST]) + more
