"""A figure as it is shown in a notebook and written to a file, without a window and without pyplot."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import OptionError
from ..storage import write_bytes
from . import plotting

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Endings of files that a drawing is written as.
KINDS = (".svg", ".png", ".pdf")
#: Dots per inch of a ``.png``.
DPI = 160


class Drawing:
    """One figure; a notebook shows it where it is the value of a cell.

    ``figure`` is matplotlib's, to be changed before it is saved.
    """

    def __init__(self, figure: Figure) -> None:
        self.figure = figure

    def svg(self) -> str:
        """The figure as one ``<svg>`` element."""
        with plotting.style():
            return plotting.to_svg(self.figure)

    def _repr_svg_(self) -> str:
        return self.svg()

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the figure to ``path`` in one step, as ``.svg``, ``.png`` or ``.pdf``; the path.

        Raises :class:`OptionError` for another ending, :class:`~hwloop.errors.DataError` where it cannot be written.
        """
        to = Path(path)
        if to.suffix not in KINDS:
            raise OptionError(f"{to}; allowed: a file that ends in {', '.join(KINDS)}")
        if to.suffix == ".svg":
            write_bytes(to, self.svg().encode())
            return to
        content = io.BytesIO()
        with plotting.style():
            self.figure.savefig(content, format=to.suffix[1:], dpi=DPI)
        write_bytes(to, content.getvalue())
        return to

    def __repr__(self) -> str:
        return f"Drawing({len(self.figure.axes)} panels; .save('figure.svg'), .figure)"
