"""``hwloop bench``: speed and exactness beside the tools that users would pick instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import options
from .answer import Answer

if TYPE_CHECKING:
    from ..bench.exactness import Exactness
    from ..bench.growth import Point
    from ..bench.results import Row

PARTS = ("speed", "exactness", "scaling")


def bench(
    part: Annotated[
        list[str] | None, typer.Option("--part", help=f"One of several: {', '.join(PARTS)}; default: the first two.")
    ] = None,
    workload: Annotated[
        list[str] | None, typer.Option("--workload", "-w", help="One of several; default: all.")
    ] = None,
    peer: Annotated[
        list[str] | None, typer.Option("--peer", "-p", help="hwloop against this one, of several; default: all.")
    ] = None,
    rounds: Annotated[int | None, typer.Option(min=1, help="Interleaved rounds; default: 9.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="3 rounds.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of spikes and weights.")] = 0,
    json_file: options.JsonFile = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Write report.html and bench.json there.")] = None,
) -> Answer:
    """Time hwloop beside the simulators that are installed here, and measure how exact each is; one core, one thread."""
    from ..bench.pinning import one_core

    with one_core() as core:  # before anything imports a numerical library
        from ..bench.peers import PEERS, REFERENCE
        from ..bench.timed_rows import QUICK_ROUNDS, ROUNDS, machine
        from ..bench.workloads import WORKLOADS

        parts = _chosen("--part", part or PARTS[:2], PARTS)
        workloads = _chosen("--workload", workload or WORKLOADS, WORKLOADS)
        asked = _chosen("--peer", peer or PEERS, PEERS)
        names = [name for name in PEERS if name == REFERENCE or name in asked]
        with _one_torch_thread():
            facts = machine(core, rounds or (QUICK_ROUNDS if quick else ROUNDS), seed)
            return _run(parts, workloads, names, facts, seed, json_file, out)


def _run(
    parts: Sequence[str], workloads: Sequence[str], names: Sequence[str], facts: dict[str, Any], seed: int, json_file: Path | None,
    out: Path | None,
) -> Answer:  # fmt: skip
    from .. import storage
    from ..bench.bench_page import page
    from ..bench.peers import REFERENCE
    from ..bench.results import title, to_json
    from ..bench.timed_rows import run_workload, verdict
    from ..bench.workloads import WORKLOADS, make_inputs
    from . import terminal

    rounds = facts["rounds"]
    for folder in (out, None if json_file is None else json_file.parent):
        if folder is not None:  # before minutes of measuring
            folder.mkdir(parents=True, exist_ok=True)
    terminal.say(", ".join(f"{key}: {value}" for key, value in facts.items()))
    timed: list[tuple[str, list[Row]]] = []
    exact: list[Exactness] = []
    points: list[Point] = []
    if "speed" in parts:
        for name in workloads:
            chosen = WORKLOADS[name]
            heading = title(chosen, make_inputs(chosen, seed).events_per_sample)
            with _bar(name, len(names) * (1 + rounds)) as tick:
                rows = run_workload(chosen, names, rounds, seed, tick)
            timed.append((heading, rows))
            _print_speed(heading, rows)
    if "exactness" in parts:
        exact = _exactness(names, seed)
    if "scaling" in parts:
        points = _scaling(names, rounds, seed)
    found = [row for _, rows in timed for row in rows]
    document = to_json(found, exact, points, facts)
    for path in (json_file, None if out is None else out / "bench.json"):
        if path is not None:
            storage.write_bytes(path, (_text(document) + "\n").encode())
    if out is not None:
        page(timed, exact, points, facts).write(out / "report.html", out / "plots")

    def words() -> None:  # the tables have been said as they came
        for line in verdict(found) if found else ():
            terminal.say(line)
        if out is not None:
            terminal.say(f"report: {out / 'report.html'}")

    return Answer(document, words, passed=all(row.description is not None for row in found if row.peer == REFERENCE))


def _print_speed(heading: str, rows: Sequence[Row]) -> None:
    from ..bench.results import COLUMNS, NUMBERS, cells, remark
    from . import terminal

    terminal.say(heading, "bold")
    terminal.table(COLUMNS, [cells(row) for row in rows], NUMBERS)
    for row in rows:
        if text := remark(row):
            terminal.say(f"  {row.peer}: {text}")


def _exactness(names: Sequence[str], seed: int) -> list[Exactness]:
    from ..bench.bench_page import EXACT
    from ..bench.exactness import examine
    from ..bench.results import EXACTNESS_COLUMNS, exactness_cells
    from . import terminal

    found = examine(names, seed)
    terminal.say(EXACT)
    terminal.table(EXACTNESS_COLUMNS, [exactness_cells(row) for row in found], EXACTNESS_COLUMNS[4:7])
    return found


def _scaling(names: Sequence[str], rounds: int, seed: int) -> list[Point]:
    from ..bench.growth import AXES, NAMES, points
    from . import terminal

    with _bar("scaling", sum(map(len, AXES.values()))) as tick:
        found = list(points(names, rounds, seed, tick))
    for axis, values in AXES.items():
        terminal.say(f"CPU time a sample (µs) against {NAMES[axis]}", "bold")
        by = {(p.peer, p.value): p for p in found if p.axis == axis}
        rows = [
            [name, *("-" if (s := by[name, v].seconds) is None else f"{1e6 * s:.4g}" for v in values)] for name in names
        ]
        columns = ["peer", *(f"{value:g}" for value in values)]
        terminal.table(columns, rows, columns[1:])
    return found


def _chosen(option: str, asked: Sequence[str] | dict[str, Any], known: Sequence[str] | dict[str, Any]) -> list[str]:
    for name in asked:
        if name not in known:
            raise OptionError(f"{option} {name!r}; allowed: {', '.join(known)}")
    return [name for name in known if name in asked]


@contextmanager
def _one_torch_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal; silence in a pipe."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda: bar.advance(task)


def _text(document: dict[str, Any]) -> str:
    from json import dumps

    return dumps(document, indent=2)
