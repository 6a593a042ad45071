"""What the command prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from ..results import Result

#: Columns of text on standard output that is no terminal; a terminal has its own width.
PIPE_WIDTH = 132
#: Columns that a table may have there: its rows are not broken, so that a search finds what stands in one.
TABLE_WIDTH = 10_000


def _console(*, stderr: bool = False, piped: int = PIPE_WIDTH) -> Console:
    # markup and highlighting off: a device may be called [red]
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=piped)
    return console


def width() -> int:
    """Columns of standard output."""
    return _console().width


def say(line: str, style: str = "") -> None:
    """One line of the result."""
    _console().print(Text(line, style=style), soft_wrap=True)


def progress_line(line: str) -> None:
    """One line of progress."""
    _console(stderr=True).print(Text(line, style="dim"), soft_wrap=True)


_status: Callable[[str], None] = progress_line


def on_status(tell: Callable[[str], None]) -> None:
    """Let ``tell`` be given what :func:`status` says."""
    global _status
    _status = tell


def status(line: str) -> None:
    """What begins, or how far it is."""
    _status(line)


def complain(line: str) -> None:
    """Why the command failed."""
    _console(stderr=True).print(Text("error: " + line, style="bold red"), soft_wrap=True)


def note(line: str) -> None:
    """What the user should know although nothing failed."""
    _console(stderr=True).print(Text(line), soft_wrap=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """A table; ``numbers`` names the columns that are set flush right."""
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        drawn.add_column(Text(name), justify="right" if name in numbers else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(str(cell)) for cell in row))
    _console(piped=TABLE_WIDTH).print(drawn)


def results(found: Sequence[Result]) -> None:
    """A table of results; every row says where it ran."""
    from ..results import COLUMNS

    table(COLUMNS, [result.row() for result in found], COLUMNS[4:])
