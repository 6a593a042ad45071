"""Matplotlib without pyplot: one style, SVG text out. Imported by the figures at the moment one is drawn."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

#: Okabe and Ito's colours, told apart with any common colour vision.
BLUE, ORANGE, GREEN, SKY, RED, PURPLE = "#0072B2", "#E69F00", "#009E73", "#56B4E9", "#D55E00", "#CC79A7"
INK, SOFT, FAINT = "#1b1f24", "#5a6470", "#d9dee4"

#: Simulated and measured, in every figure.
SIMULATED, MEASURED = BLUE, RED

#: Where a result ran, in every figure.
RAN_ON_COLOURS = {"simulator": BLUE, "emulator": RED, "hardware": GREEN}

#: Width of a full figure (inch); the page is as wide.
WIDTH = 9.4

_STYLE: Any = {  # Any: the key type differs between versions of matplotlib
    "svg.fonttype": "none",  # text stays text: small, sharp, searchable
    "svg.hashsalt": "hwloop",  # the same figure gives the same file
    "text.parse_math": False,  # a label is text, also with a dollar sign
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans", "Verdana", "Arial"],
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.titlelocation": "left",
    "axes.titlepad": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.formatter.use_mathtext": False,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "figure.facecolor": "white",
}


@contextmanager
def style() -> Iterator[None]:
    """The look of every figure, for the time of drawing it."""
    import matplotlib

    with matplotlib.rc_context(_STYLE):
        yield


def grid(
    rows: int, columns: int, height: float, width: float = WIDTH, **options: Any
) -> tuple[Canvas, list[list[Axes]]]:
    """A figure of ``rows x columns`` axes, ``height`` inch in all, and its axes by row."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure as Canvas
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    figure = Canvas(
        figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.08, w_pad=0.06, hspace=0.04, wspace=0.03)
    )
    FigureCanvasSVG(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    return figure, [list(row) for row in axes]


def to_svg(figure: Canvas) -> str:
    """The figure as one ``<svg>`` element without prolog, date and metadata."""
    out = io.StringIO()
    figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return text.strip()
