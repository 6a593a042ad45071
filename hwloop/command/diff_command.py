"""``hwloop diff``: how two runs differ in what was asked, what it ran on, what came out, and in their weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import DataError
from ..results import Result, read_summary
from . import data_provenance, terminal
from .answer import Answer
from .folder import flat, load_trained, stored_experiment

#: Parts of a summary that are no figures of a result, or stand in a table of their own.
_ELSEWHERE = (
    "format",
    "version",
    "kind",
    "status",
    "command",
    "versions",
    "results",
    "seconds",
    "seed",
    "steps",
    "experiment",
)
#: Rows of one table, the rest are counted.
_MOST = 40
#: What the name of an accuracy begins with, and what stands for a value that a run does not have.
_ACCURACY, _ABSENT = "accuracy", object()


@dataclass(frozen=True)
class _Run:
    """What a run folder says of itself."""

    path: Path
    summary: dict[str, Any]
    experiment: dict[str, Any]
    data: dict[str, str]
    weights: dict[str, Tensor] | None

    @classmethod
    def read(cls, path: Path) -> _Run:
        """The run in ``path``; :class:`DataError` where there is none."""
        if not (path / "summary.json").is_file():
            raise DataError(
                f"{path} holds no run; give the folder of one, such as `hwloop run` or `hwloop train --out` made"
            )
        experiment = stored_experiment(path)
        digests = data_provenance.stored(path) or []
        data = {f"{digest.part}: {digest.name or Path(digest.path).name}": digest.sha256[:16] for digest in digests}
        values = {} if experiment is None else flat(experiment.to_dict())
        return cls(path, read_summary(path), values, data, _weights(path))

    def figures(self) -> dict[str, Any]:
        """Accuracies (0..1) and other single values of the summary."""
        found: dict[str, Any] = {}
        for entry in self.summary["results"]:
            result = Result(**entry)
            found[f"{_ACCURACY} of {result.network} ({result.ran_on}), {result.data}"] = result.accuracy
        rest = {key: value for key, value in self.summary.items() if key not in _ELSEWHERE}
        return {
            **found,
            **{key: value for key, value in flat(rest).items() if not isinstance(value, list) and not _clock(key)},
        }


def _clock(key: str) -> bool:
    """Whether a figure is one of the clock, which differs from run to run."""
    return key.rpartition(".")[2] in ("seconds", "device_seconds")


@dataclass(frozen=True)
class _Table:
    """What of one kind is not equal in two runs: ``rows`` of ``(name, first, second)``; ``of``: how many were compared."""

    what: str
    column: str
    of: int
    rows: tuple[tuple[str, Any, Any], ...]

    def say(self) -> None:
        """Print it; many rows are counted."""
        if not self.rows:
            terminal.say(f"{self.what}: no difference" if self.of else f"{self.what}: none in both")
            return
        terminal.say(f"{self.what}: {len(self.rows)} of {self.of} differ", "bold")
        cells = [(name, _cell(name, one), _cell(name, other)) for name, one, other in self.rows[:_MOST]]
        terminal.table((self.column, "first", "second"), cells)
        _say_more(len(self.rows))

    def to_dict(self) -> dict[str, Any]:
        """All rows as plain values."""
        rows = [
            {"name": name, **{key: value for key, value in (("first", one), ("second", other)) if value is not _ABSENT}}
            for name, one, other in self.rows
        ]
        return {"compared": self.of, "differing": rows}


def diff_runs(first: Path, second: Path) -> Answer:
    """How the runs in two folders differ."""
    one, other = _Run.read(first), _Run.read(second)
    kinds = [run.summary["kind"] for run in (one, other)]
    tables = [
        _compared("experiment", "key", one.experiment, other.experiment),
        _compared("data", "file", one.data, other.data),
        _compared("versions", "package", one.summary["versions"], other.summary["versions"]),
        _compared("figures", "figure", one.figures(), other.figures()),
    ]
    weights = _compared_weights(one, other)

    def words() -> None:
        if kinds[0] != kinds[1]:
            terminal.say(f"{first} is a run of {kinds[0]}, {second} of {kinds[1]}")
        for table in tables:
            table.say()
        if weights is None:
            without = [str(run.path) for run in (one, other) if run.weights is None]
            terminal.say(f"weights: not compared, no network in {' and '.join(without)}")
        else:
            _say_weights(weights, len({*(one.weights or ()), *(other.weights or ())}))

    document = {
        "first": {"folder": first, "kind": kinds[0]}, "second": {"folder": second, "kind": kinds[1]},
        **{table.what: table.to_dict() for table in tables}, "weights": weights,
    }  # fmt: skip
    return Answer(document, words)


def _compared(what: str, column: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> _Table:
    """The values that are not equal."""
    keys = [key for key in dict.fromkeys((*one, *other)) if one.get(key) != other.get(key)]
    rows = tuple((key, one.get(key, _ABSENT), other.get(key, _ABSENT)) for key in keys)
    return _Table(what, column, len({*one, *other}), rows)


def _cell(name: str, value: Any) -> str:
    if value is _ABSENT:
        return "-"
    if isinstance(value, float):
        return f"{100 * value:.2f} %" if name.startswith(_ACCURACY) else f"{value:.6g}"
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _say_more(count: int) -> None:
    if count > _MOST:
        terminal.say(f"and {count - _MOST} more")


def _weights(path: Path) -> dict[str, Tensor] | None:
    """Every stored value of the network that came out of the run, the fine-tuned one where there is one; None without one."""
    for folder in (path / "finetune", path / "train", path):
        if (folder / "network").is_dir():
            return dict(load_trained(folder).net.state_dict())
    return None


@dataclass(frozen=True)
class _Gap:
    """How far the values called ``name`` are apart; of two shapes, or in one run alone, there is no distance."""

    name: str
    first: list[int] | None
    second: list[int] | None
    largest_difference: float | None = None
    rms_difference: float | None = None

    def row(self) -> tuple[str, ...]:
        """Cells of a table."""
        gaps = (self.largest_difference, self.rms_difference)
        return (
            self.name,
            _shape(self.first),
            _shape(self.second),
            *("-" if gap is None else f"{gap:.3g}" for gap in gaps),
        )


def _compared_weights(one: _Run, other: _Run) -> list[_Gap] | None:
    """What is not equal; None where a run has no network."""
    if one.weights is None or other.weights is None:
        return None
    found = []
    for name in dict.fromkeys((*one.weights, *other.weights)):
        a, b = one.weights.get(name), other.weights.get(name)
        shapes = _shape_of(a), _shape_of(b)
        if a is None or b is None or a.shape != b.shape:
            found.append(_Gap(name, *shapes))
        elif a.numel() and not bool((a == b).all()):
            gap = (a.double() - b.double()).abs()
            found.append(_Gap(name, *shapes, gap.max().item(), gap.square().mean().sqrt().item()))
    return found


def _shape_of(values: Tensor | None) -> list[int] | None:
    return None if values is None else list(values.shape)


def _say_weights(gaps: Sequence[_Gap], of: int) -> None:
    if not gaps:
        terminal.say("weights: no difference")
        return
    terminal.say(f"weights: {len(gaps)} of {of} differ", "bold")
    columns = ("values", "first", "second", "largest difference", "rms difference")
    terminal.table(columns, [gap.row() for gap in gaps[:_MOST]], columns[3:])
    _say_more(len(gaps))


def _shape(shape: Sequence[int] | None) -> str:
    return "-" if shape is None else " x ".join(map(str, shape)) or "one"
