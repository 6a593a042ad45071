"""The page of results: one table for each direction, then every cell with its figures."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .cells import Cell, Control, Results
from .package import DT, TAU_MEM, TAU_SYN, WINDOW

#: A kind that was not run with a package.
NONE = "-"


def text(results: Results) -> str:
    """The whole page."""
    packages = list(dict.fromkeys(cell.package for cell in results.cells))
    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    parts = [HEAD.format(versions=versions, steps=_steps(results)), "## Theirs, imported here", IN]
    parts += table(results.cells, "in", packages)
    parts += ["", "## Ours, run there", OUT]
    parts += table(results.cells, "out", packages)
    parts += ["", "## Every cell", CELLS]
    parts += list(rows(results.cells))
    if results.controls:
        parts += ["", "## Wrong on purpose", CONTROLS]
        parts += list(controls(results.controls))
    return "\n".join(parts) + "\n"


def _steps(results: Results) -> str:
    widths = ", ".join(f"{TAU_MEM * f} and {TAU_SYN * f} steps in {WINDOW * f}" for f in results.fineness)
    return f"{widths} (a step is {DT * 1e3:g} ms to all of them)"


def table(cells: Sequence[Cell], direction: str, packages: Sequence[str]) -> list[str]:
    """Kinds down, packages across."""
    of = {(cell.kind, cell.package): cell for cell in cells if cell.direction == direction}
    kinds = list(dict.fromkeys(kind for kind, _ in of))
    lines = [f"| kind | {' | '.join(packages)} |", f"| --- |{' --- |' * len(packages)}"]
    for kind in kinds:
        found = [of.get((kind, package)) for package in packages]
        lines.append(f"| {kind} | {' | '.join(NONE if cell is None else short(cell) for cell in found)} |")
    return lines


def short(cell: Cell) -> str:
    """The outcome in one word, and the option with which it is right."""
    return f"{cell.outcome}: right with `{cell.option}`" if cell.outcome == "refused" and cell.option else cell.outcome


def rows(cells: Iterable[Cell]) -> Iterable[str]:
    """One line for each cell, with its figures."""
    yield "| package | way | kind | outcome | ours / theirs | apart | more or fewer | slope | what was said |"
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for cell in cells:
        yield "| " + " | ".join(_figures(cell)) + " |"


def _figures(cell: Cell) -> list[str]:
    spikes = ", ".join(f"{gap[0]:g} / {gap[1]:g}" for gap in cell.gaps) if cell.spiking else ""
    distances = ", ".join(f"{gap[2]:.3g}" for gap in cell.gaps)
    changed = ", ".join(f"{gap[3]:g}" for gap in cell.gaps) if cell.spiking else ""
    power = "" if cell.slope is None else f"{cell.slope:.2f}"
    said = " ".join(cell.says.split()).replace("|", "/")
    return [cell.package, cell.direction, cell.kind, short(cell), spikes, distances, changed, power, said]


def controls(found: Sequence[Control]) -> Iterable[str]:
    """One line for each fault; then one for each cell that was tried with them."""
    faults = dict.fromkeys(c.fault for c in found)
    yield "| fault | tried | called wrong |"
    yield "| --- | --- | --- |"
    for fault in faults:
        own = [c for c in found if c.fault == fault]
        yield f"| {fault} | {len(own)} | {sum(c.seen for c in own)} |"
    yield ""
    yield "| package | way | kind | faults tried | called wrong | not seen |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for package, direction, kind in dict.fromkeys((c.package, c.direction, c.kind) for c in found):
        own = [c for c in found if (c.package, c.direction, c.kind) == (package, direction, kind)]
        missed = "; ".join(c.fault for c in own if not c.seen)
        yield f"| {package} | {direction} | {kind} | {len(own)} | {sum(c.seen for c in own)} | {missed} |"


HEAD = """# Exchange with five packages of the field

Made from `interop.json`, the figures of runs of `tests/interop` with the packages themselves; `make interop` installs them in an
environment of their own and makes both anew. Do not edit. Versions: {versions}.

Each network has 4 inputs (6 x 6 before a convolution), 6 hidden neurons and 8 outputs, {steps}. The same spikes at the same times go
in. Time constants that are two and four times as many steps are steps half and a quarter as wide.

- *right*: the figures come together as the steps become finer. Spikes: the first three of every neuron are within a fixed number
  of steps at each width, which is a distance that falls as the step does, and counts agree to 5 % or one spike at the finest.
  Membranes: on average within 3 % of the largest at the finest, and falling.
- *refused*: by an error that shows the candidates; with the option that it names the network is right.
- *n.a.*: the package has no such layer, or its exporter or importer does not carry it and says so.
- *their fault*: the package drops something without a word that no reader of the file can know of. The figures show what it does.
- *-*: not run with this package.
"""
IN = """
Built and exported as the package's tutorial does, imported with `hl.Network.from_nir`, simulated exactly, beside the package's own
run. `spike=("jump", dt)`: neurons with a synaptic current jump by the weight, those without take a pulse of one step.
"""
OUT = """
Written with `net.to_nir(dt=1e-4)`, loaded and run by the package's own importer, beside our exact run.
"""
CELLS = """
At the three widths, coarsest first: *ours / theirs*, output spikes in all; *apart*, median distance in steps of the first three
spikes (membranes: the mean difference, in parts of the largest); *more or fewer*, spikes that single neurons have; *slope*, the
power of the step with which the distance in time falls.
"""
CONTROLS = """
Every cell that is right (or right with its option) once more, our network made wrong on purpose and judged in the same way. What is
not seen is how small a fault the comparison tells from the steps of the package: those that are tried to learn this are weights
off by 2 to 10 % and one of the coarsest steps in each layer; all others have to be called wrong, or the run fails.
"""
