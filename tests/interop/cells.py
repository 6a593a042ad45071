"""Cells of the table, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

Outcome = Literal["right", "refused", "n.a.", "their fault", "WRONG"]


@dataclass(frozen=True)
class Cell:
    """One kind of layer, one package, one direction.

    Attributes
    ----------
    direction : "in", a network of theirs imported by us; "out", one of ours imported by them
    outcome : "right" as it stands; "refused" by us, "right" with the ``option`` that the refusal names where there is one;
        "n.a.": the package has no such layer, does not write or read it; "their fault": what the package drops
    gaps : for each fineness of the step ``[ours, theirs, distance, changed]``, see :class:`.closeness.Gap`
    says : the refusal, or why
    """

    package: str
    direction: Literal["in", "out"]
    kind: str
    outcome: Outcome
    option: str = ""
    gaps: tuple[tuple[float, ...], ...] = ()
    slope: float | None = None
    spiking: bool = True
    says: str = ""


@dataclass(frozen=True)
class Control:
    """A cell that is right, once more with a fault made on purpose (:mod:`.wrong_imports`): ``gaps`` as of the cell.

    ``seen``: whether the judgement called it wrong; ``wanted``: whether it has to.
    """

    package: str
    direction: Literal["in", "out"]
    kind: str
    fault: str
    seen: bool
    wanted: bool
    gaps: tuple[tuple[float, ...], ...] = ()


@dataclass(frozen=True)
class Results:
    """All cells, the versions they hold for, how many times as fine the steps of each run were, and the controls."""

    versions: Mapping[str, str]
    fineness: Sequence[int]
    cells: Sequence[Cell]
    controls: Sequence[Control] = ()


def write(results: Results, path: Path) -> None:
    """Keep ``results`` in ``path``."""
    parts = []
    for name, part in asdict(results).items():
        lines = [json.dumps(entry, ensure_ascii=False) for entry in part] if name in ("cells", "controls") else []
        text = "[\n" + ",\n".join(lines) + "\n]" if lines else json.dumps(part, ensure_ascii=False)
        parts.append(f"{json.dumps(name)}: {text}")
    path.write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")  # a cell a line: changes are seen


def read(path: Path) -> Results:
    """The results that ``path`` keeps."""
    held = json.loads(path.read_text(encoding="utf-8"))
    cells = [Cell(**{**cell, "gaps": _tuples(cell["gaps"])}) for cell in held["cells"]]
    controls = [Control(**{**one, "gaps": _tuples(one["gaps"])}) for one in held["controls"]]
    return Results(held["versions"], held["fineness"], cells, controls)


def _tuples(gaps: Sequence[Sequence[float]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(gap) for gap in gaps)
