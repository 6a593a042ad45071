"""``hwloop diff``: how two runs differ in what was asked, what it ran on, what came out, and in their weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from ..errors import DataError
from ..results import Result, read_summary
from . import data_provenance, terminal
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
        """Accuracies and other single values of the summary."""
        found: dict[str, Any] = {}
        for entry in self.summary["results"]:
            result = Result(**entry)
            found[f"accuracy of {result.network} ({result.ran_on}), {result.data}"] = f"{100 * result.accuracy:.2f} %"
        rest = {key: value for key, value in self.summary.items() if key not in _ELSEWHERE}
        return {
            **found,
            **{key: value for key, value in flat(rest).items() if not isinstance(value, list) and not _clock(key)},
        }


def _clock(key: str) -> bool:
    """Whether a figure is one of the clock, which differs from run to run."""
    return key.rpartition(".")[2] in ("seconds", "device_seconds")


def diff_runs(first: Path, second: Path) -> None:
    """Print how the runs in two folders differ."""
    one, other = _Run.read(first), _Run.read(second)
    if one.summary["kind"] != other.summary["kind"]:
        terminal.say(f"{first} is a run of {one.summary['kind']}, {second} of {other.summary['kind']}")
    _compare("experiment", "key", one.experiment, other.experiment)
    _compare("data", "file", one.data, other.data)
    _compare("versions", "package", one.summary["versions"], other.summary["versions"])
    _compare("figures", "figure", one.figures(), other.figures())
    _compare_weights(one, other)


def _compare(what: str, column: str, one: Mapping[str, Any], other: Mapping[str, Any]) -> None:
    """A table of the values that are not equal."""
    keys = [key for key in dict.fromkeys((*one, *other)) if one.get(key) != other.get(key)]
    if not keys:
        terminal.say(f"{what}: no difference" if one else f"{what}: none in both")
        return
    terminal.say(f"{what}: {len(keys)} of {len({*one, *other})} differ", "bold")
    terminal.table((column, "first", "second"), [(key, _cell(one, key), _cell(other, key)) for key in keys[:_MOST]])
    if len(keys) > _MOST:
        terminal.say(f"and {len(keys) - _MOST} more")


def _cell(values: Mapping[str, Any], key: str) -> str:
    if key not in values:
        return "-"
    value = values[key]
    text = f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _weights(path: Path) -> dict[str, Tensor] | None:
    """Every stored value of the network that came out of the run, the fine-tuned one where there is one; None without one."""
    for folder in (path / "finetune", path / "train", path):
        if (folder / "network").is_dir():
            return dict(load_trained(folder).net.state_dict())
    return None


def _compare_weights(one: _Run, other: _Run) -> None:
    if one.weights is None or other.weights is None:
        without = [str(run.path) for run in (one, other) if run.weights is None]
        terminal.say(f"weights: not compared, no network in {' and '.join(without)}")
        return
    rows = []
    for name in dict.fromkeys((*one.weights, *other.weights)):
        a, b = one.weights.get(name), other.weights.get(name)
        if a is None or b is None or a.shape != b.shape:
            rows.append((name, _shape(a), _shape(b), "-", "-"))
        elif a.numel() and not bool((a == b).all()):
            gap = (a.double() - b.double()).abs()
            rows.append(
                (name, _shape(a), _shape(b), f"{gap.max().item():.3g}", f"{gap.square().mean().sqrt().item():.3g}")
            )
    if not rows:
        terminal.say("weights: no difference")
        return
    terminal.say(f"weights: {len(rows)} of {len({*one.weights, *other.weights})} differ", "bold")
    columns = ("values", "first", "second", "largest difference", "rms difference")
    terminal.table(columns, rows[:_MOST], columns[3:])
    if len(rows) > _MOST:
        terminal.say(f"and {len(rows) - _MOST} more")


def _shape(values: Tensor | None) -> str:
    return "-" if values is None else " x ".join(map(str, values.shape)) or "one"
