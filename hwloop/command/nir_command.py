"""``hwloop nir``: what a NIR file means and who can carry it; a trained network as a NIR file."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from . import terminal
from .answer import Answer
from .exit_status import Command

if TYPE_CHECKING:
    from ..network import Network

app = typer.Typer(
    no_args_is_help=True, add_completion=False, rich_markup_mode="rich", epilog="Example: hwloop nir check net.nir"
)

_File = Annotated[Path, typer.Argument(metavar="FILE", help="A .nir file.")]
_Unit = Annotated[str | None, typer.Option(metavar="s|ms|us", help="Unit of its times, where that is not evident.")]
_Spike = Annotated[
    str | None,
    typer.Option(
        metavar="jump|delta|SECONDS",
        help="What a spike is; SECONDS: a pulse of the exporter's time step. Two, as jump,1e-4: with a current, and without.",
    ),
]
_Reset = Annotated[str | None, typer.Option(metavar="value|subtract", help="How its neurons are reset.")]
_Output = Annotated[str | None, typer.Option(metavar="NODE", help="Which output, where there are several.")]


@app.command(cls=Command, epilog="Example: hwloop nir check net.nir --spike 1e-4 --reset subtract")
def check(
    file: _File, time_unit: _Unit = None, spike: _Spike = None, reset: _Reset = None, output: _Output = None
) -> Answer:
    """Say what a NIR file means, and why; which targets carry it; how far a round trip moves its spikes."""
    from ..network.nir.check import round_trips, rows_of
    from ..network.nir.hdf5 import read_graph
    from ..network.nir.read import network_of, reading_of

    with _said_here():
        reading = reading_of(read_graph(file), time_unit, _width(spike), reset)
        net = network_of(reading, output)
        meaning = [str(part) for part in (reading.unit, reading.spike, reading.resets, *reading.flat.notes)]
        nodes, carried, trips = rows_of(net), _carried(net), round_trips(net)

    def words() -> None:
        for part in meaning:
            terminal.say(part)
        terminal.table(("node", "kind", "shape", "takes from"), nodes)
        terminal.table(
            ("target", "carries it"), [(name, "yes" if why is None else f"no: {why}") for name, why in carried]
        )
        terminal.say("round trip, on a stimulus at random:")
        for trip in trips:
            terminal.say(f"  {trip}")

    document = {
        "file": file, "meaning": meaning,
        "nodes": [dict(zip(("node", "kind", "shape", "takes_from"), row, strict=True)) for row in nodes],
        "targets": [{"target": name, "carries_it": why is None, "why_not": why} for name, why in carried],
        "round_trips": trips,
    }  # fmt: skip
    return Answer(document, words)


@app.command(cls=Command, epilog="Example: hwloop nir export out/yy --dt 1e-4")
def export(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a run of train or finetune, or a checkpoint in it.")
    ],
    dt: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="In the numbers that packages run in this step; default: our own."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Default: RUN/network.nir.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file that is there.")] = False,
    experiment: Annotated[
        str | None, typer.Option("--experiment", help="What RUN is, where its folder does not say.")
    ] = None,
) -> Answer:
    """Write a trained network as a NIR file."""
    import nir

    from ..errors import InputError
    from ..storage import write_bytes
    from .named_runs import load

    net = load(run, experiment, None).net
    path = out or (run if run.is_dir() else run.parent) / "network.nir"
    if path.exists() and not force:
        raise InputError(f"{path} exists; name another --out, or replace it with --force")
    graph = net.to_nir(dt)
    content = io.BytesIO()
    nir.write(content, graph)
    write_bytes(path, content.getvalue())
    how = "its own numbers" if dt is None else f"the numbers of steps of {dt:g} s"
    nodes, edges = len(graph.nodes), len(graph.edges)
    document = {"file": path, "nodes": nodes, "edges": edges, "dt": dt}
    return Answer(document, lambda: terminal.say(f"{path}: {nodes} nodes, {edges} edges, in {how}"))


def _width(spike: str | None) -> Any:
    """Numbers where ``spike`` is one, or a pair that holds some."""
    if spike is None:
        return None
    parts = tuple(map(_number, spike.split(",")))
    return parts[0] if len(parts) == 1 else parts


def _number(part: str) -> str | float:
    try:
        return float(part)
    except ValueError:
        return part.strip()


def _carried(net: Network) -> list[tuple[str, str | None]]:
    """Every installed target, and why it does not carry ``net``; None where it does."""
    from ..device.registry import available, compile_quietly
    from ..errors import HwloopError
    from .listing import some

    rows: list[tuple[str, str | None]] = []
    for backend in available():
        try:
            target = some(backend)
            compile_quietly(net, target)
            rows.append((target.name, None))
        except HwloopError as error:
            rows.append((backend, str(error)))
    return rows


@contextmanager
def _said_here() -> Iterator[None]:
    """What the reader logs the command says itself."""
    logger = logging.getLogger("hwloop.network.nir")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
