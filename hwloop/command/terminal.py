"""What the command prints: results on standard output, progress and errors on standard error."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from textwrap import TextWrapper
from typing import TYPE_CHECKING, Literal

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
#: Characters of a cell that is not broken where a table is wider than the terminal.
SHORT = 14


def _console(*, stderr: bool = False, piped: int = PIPE_WIDTH) -> Console:
    # markup and highlighting off: a device may be called [red]
    console = Console(stderr=stderr, markup=False, highlight=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, markup=False, highlight=False, emoji=False, width=piped)
    return console


def width() -> int:
    """Columns of standard output."""
    return _console().width


def _print(console: Console, line: str, style: str = "") -> None:
    """``line``, on a terminal broken between words; where it is piped, in one piece."""
    if console.is_terminal:
        # a word that is longer than the terminal is wide, a path say, stays whole
        wrap = TextWrapper(console.width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False)
        line = "\n".join("\n".join(wrap.wrap(part)) for part in line.split("\n"))
    console.print(Text(line, style=style), soft_wrap=True)


def say(line: str, style: str = "") -> None:
    """One line of the result."""
    _print(_console(), line, style)


def progress_line(line: str) -> None:
    """One line of progress."""
    _print(_console(stderr=True), line, "dim")


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
    _print(_console(stderr=True), "error: " + line, "bold red")


def note(line: str) -> None:
    """What the user should know although nothing failed."""
    _print(_console(stderr=True), line)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], numbers: Sequence[str] = ()) -> None:
    """A table; ``numbers`` names the columns that are set flush right.

    On a terminal that is too narrow for it, columns stand closer, headings are broken, and of the cells the long ones.
    """
    console = _console(piped=TABLE_WIDTH)
    cells = [[str(cell) for cell in row] for row in rows]
    widest = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    narrow = sum(widest) + 3 * len(columns) > console.width
    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0) if narrow else (0, 1))
    for k, name in enumerate(columns):
        short = narrow and max((len(row[k]) for row in cells), default=0) <= SHORT
        heading = name.replace(" ", "\n") if short else name
        justify: Literal["left", "right"] = "right" if name in numbers else "left"
        drawn.add_column(Text(heading), justify=justify, overflow="fold", no_wrap=short)
    for row in cells:
        drawn.add_row(*map(Text, row))
    console.print(drawn)


def results(found: Sequence[Result]) -> None:
    """A table of results; every row says where it ran."""
    from ..results import COLUMNS

    table(COLUMNS, [result.row() for result in found], COLUMNS[4:])
