"""The cells of one package: what its export becomes here, what ours becomes there, and both with faults made on purpose."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from hwloop import InputError, Network

from . import closeness, weights
from .cells import Cell, Control
from .ours import OURS, Ours, gap_to
from .package import DT, FINENESS, NoSuchLayer, Package, Raster, Theirs
from .wrong_imports import FAULTS

#: Characters of a message that a cell keeps.
LONGEST = 220


@dataclass(frozen=True)
class Run:
    """One run of a package beside a network of ours: its input, the package's output, and the package's step (s)."""

    net: Network
    raster: Raster
    theirs: Raster
    step: float
    fineness: int

    def gap(self, net: Network, spiking: bool) -> closeness.Gap:
        """``net`` beside the package's output."""
        return gap_to(net, self.raster, self.theirs, self.step, spiking)


@dataclass(frozen=True)
class Compared:
    """A cell, and the runs that it is made of."""

    cell: Cell
    runs: tuple[Run, ...] = ()

    def controls(self) -> Iterator[Control]:
        """The runs of a cell that is right beside our network with every fault that it can have: judged as the cell is."""
        cell = self.cell
        if not self.runs or not (cell.outcome == "right" or cell.option) or cell.outcome == "their fault":
            return
        for name, fault in FAULTS.items():
            gaps = []
            for run in self.runs:
                wrong = fault.make(run.net, run.step * run.fineness)
                if wrong is None:
                    break
                gaps.append(run.gap(wrong, cell.spiking))
            if len(gaps) == len(self.runs):
                seen = not closeness.agree(FINENESS, gaps, cell.spiking)
                yield Control(cell.package, cell.direction, cell.kind, name, seen, fault.seen, _figures(gaps))


def inward(package: Package) -> Iterator[Compared]:
    """What our import makes of networks of ``package``."""
    for kind, case in package.theirs.items():
        if isinstance(case, str):
            yield Compared(Cell(package.name, "in", kind, "n.a.", says=case))
            continue
        yield _imported(package.name, kind, case)


def _imported(name: str, kind: str, case: Theirs) -> Compared:
    gaps, refusal, runs = [], "", []
    for f in FINENESS:
        try:
            written = case.make(f)
        except Exception as error:  # whatever a package raises is its answer
            said = f"its exporter: {type(error).__name__}: {error}"[:LONGEST]
            return Compared(Cell(name, "in", kind, "n.a.", says=said))
        net, said = _ours(written.graph, {})
        refusal = refusal or said
        if net is None and case.options:
            net, said = _ours(written.graph, case.options)
        if net is None:
            reason = said or refusal
            return Compared(Cell(name, "in", kind, "refused", spiking=case.spiking, says=reason[:LONGEST]))
        raster = weights.stimulus(f, case.maps)
        run = Run(net, raster, written.run(raster), _step(case.options), f)
        try:
            gaps.append(run.gap(net, case.spiking))
        except InputError as error:  # such a network is not simulated, and that is said
            return Compared(Cell(name, "in", kind, "refused", spiking=case.spiking, says=str(error)[:LONGEST]))
        runs.append(run)
    outcome = _outcome(gaps, case.spiking, bool(refusal))
    if case.fault:
        outcome = "their fault"
    option = ", ".join(f"{key}={value!r}" for key, value in case.options.items()) if refusal else ""
    return Compared(_cell(name, "in", kind, outcome, option, gaps, case.spiking, case.fault or refusal), tuple(runs))


def _ours(graph: nir.NIRGraph, options: Mapping[str, Any]) -> tuple[Network | None, str]:
    try:
        return Network.from_nir(copy.deepcopy(graph), **options), ""
    except InputError as error:
        return None, str(error)


def _step(options: Mapping[str, Any]) -> float:
    """Length (s) of the package's step in the graph's time: that of a unit where it counts in steps."""
    return 1e-3 if options.get("time_unit") == "ms" else DT


def _outcome(gaps: list[closeness.Gap], spiking: bool, refused: bool) -> Any:
    if not closeness.agree(FINENESS, gaps, spiking):
        return "WRONG"
    return "refused" if refused else "right"


def _cell(
    name: str, direction: Any, kind: str, outcome: Any, option: str, gaps: list[closeness.Gap], spiking: bool, says: str
) -> Cell:
    power = closeness.slope_of(FINENESS, gaps, spiking)
    slope = round(power, 2) if np.isfinite(power) else None
    return Cell(name, direction, kind, outcome, option, _figures(gaps), slope, spiking, says[:LONGEST])


def _figures(gaps: list[closeness.Gap]) -> tuple[tuple[float, ...], ...]:
    return tuple((gap.ours, gap.theirs, round(gap.distance, 4), gap.changed) for gap in gaps)


def outward(package: Package) -> Iterator[Compared]:
    """What ``package`` makes of networks of ours, written with ``to_nir(dt=...)``."""
    for kind, case in OURS.items():
        yield _exported(package, kind, case)


def _exported(package: Package, kind: str, case: Ours) -> Compared:
    gaps, warned, runs = [], "", []
    for f in FINENESS:
        net = case.make(f)
        raster = weights.stimulus(f, case.maps)
        warnings = _Warnings()
        graph = _written(net, warnings)
        warned = _of(package.name, warnings.said)
        try:
            theirs = _run(package, graph, raster)
        except Exception as error:  # whatever a package raises is its answer
            said = f"{type(error).__name__}: {error}"[:LONGEST]
            return Compared(Cell(package.name, "out", kind, "n.a.", spiking=case.spiking, says=said))
        runs.append(Run(net, raster, theirs, DT, f))
        gaps.append(runs[-1].gap(net, case.spiking))
    outcome = _outcome(gaps, case.spiking, False)
    if outcome == "WRONG" and warned:  # to_nir says so
        outcome = "their fault"
    return Compared(_cell(package.name, "out", kind, outcome, "", gaps, case.spiking, warned), tuple(runs))


def _of(package: str, said: list[str]) -> str:
    """Of what was warned of, what this package does."""
    return "; ".join(line for line in said if f" by {package}: " in line.lower())


def _run(package: Package, graph: nir.NIRGraph, raster: Raster) -> Raster:
    theirs = package.load(graph, len(raster))(raster)
    if not np.isfinite(theirs).all():
        raise NoSuchLayer("its run gives NaN or infinite values")
    return theirs


class _Warnings(logging.Handler):
    """What hwloop warns of while it writes."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


def _written(net: Network, warnings: _Warnings) -> nir.NIRGraph:
    logger = logging.getLogger("hwloop")
    logger.addHandler(warnings)
    try:
        return net.to_nir(dt=DT)
    finally:
        logger.removeHandler(warnings)
