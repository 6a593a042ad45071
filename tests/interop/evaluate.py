"""The cells of one package: what its export becomes here, and what ours becomes there."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator, Mapping
from typing import Any

import nir
import numpy as np

from hwloop import InputError, Network

from . import closeness, weights
from .cells import Cell
from .ours import OURS, Ours, gap_to
from .package import DT, FINENESS, NoSuchLayer, Package, Raster, Theirs, Written

#: Characters of a message that a cell keeps.
LONGEST = 220


def inward(package: Package) -> Iterator[Cell]:
    """What our import makes of networks of ``package``."""
    for kind, case in package.theirs.items():
        if isinstance(case, str):
            yield Cell(package.name, "in", kind, "n.a.", says=case)
            continue
        yield _imported(package.name, kind, case)


def _imported(name: str, kind: str, case: Theirs) -> Cell:
    gaps, refusal = [], ""
    for f in FINENESS:
        try:
            written = case.make(f)
        except Exception as error:  # whatever a package raises is its answer
            return Cell(name, "in", kind, "n.a.", says=f"its exporter: {type(error).__name__}: {error}"[:LONGEST])
        net, said = _ours(written.graph, {})
        refusal = refusal or said
        if net is None and case.options:
            net, said = _ours(written.graph, case.options)
        if net is None:
            reason = said or refusal
            return Cell(name, "in", kind, "refused", spiking=case.spiking, says=reason[:LONGEST])
        try:
            gaps.append(_gap(net, written, case, f))
        except InputError as error:  # such a network is not simulated, and that is said
            return Cell(name, "in", kind, "refused", spiking=case.spiking, says=str(error)[:LONGEST])
    outcome = _outcome(gaps, case.spiking, bool(refusal))
    if case.fault:
        outcome = "their fault"
    option = ", ".join(f"{key}={value!r}" for key, value in case.options.items()) if refusal else ""
    return _cell(name, "in", kind, outcome, option, gaps, case.spiking, case.fault or refusal)


def _ours(graph: nir.NIRGraph, options: Mapping[str, Any]) -> tuple[Network | None, str]:
    try:
        return Network.from_nir(copy.deepcopy(graph), **options), ""
    except InputError as error:
        return None, str(error)


def _gap(net: Network, written: Written, case: Theirs, f: int) -> closeness.Gap:
    raster = weights.stimulus(f, case.maps)
    return gap_to(net, raster, written.run(raster), _step(case.options), case.spiking)


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
    held = tuple((gap.ours, gap.theirs, round(gap.distance, 4), gap.changed) for gap in gaps)
    power = closeness.slope_of(FINENESS, gaps, spiking)
    return Cell(
        name, direction, kind, outcome, option, held, round(power, 2) if np.isfinite(power) else None, spiking, says[:LONGEST]
    )  # fmt: skip


def outward(package: Package) -> Iterator[Cell]:
    """What ``package`` makes of networks of ours, written with ``to_nir(dt=...)``."""
    for kind, case in OURS.items():
        yield _exported(package, kind, case)


def _exported(package: Package, kind: str, case: Ours) -> Cell:
    gaps, warned = [], ""
    for f in FINENESS:
        net = case.make(f)
        raster = weights.stimulus(f, case.maps)
        warnings = _Warnings()
        graph = _written(net, warnings)
        warned = _of(package.name, warnings.said)
        try:
            theirs = _run(package, graph, raster)
        except Exception as error:  # whatever a package raises is its answer
            return Cell(
                package.name,
                "out",
                kind,
                "n.a.",
                spiking=case.spiking,
                says=f"{type(error).__name__}: {error}"[:LONGEST],
            )
        gaps.append(gap_to(net, raster, theirs, DT, case.spiking))
    outcome = _outcome(gaps, case.spiking, False)
    if outcome == "WRONG" and warned:  # to_nir says so
        outcome = "their fault"
    return _cell(package.name, "out", kind, outcome, "", gaps, case.spiking, warned)


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
