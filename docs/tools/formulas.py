"""Formulas as pictures inside the page: paths drawn by matplotlib's mathtext when the page is made, no font, no script."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from typing import Any

from matplotlib.font_manager import FontProperties
from matplotlib.mathtext import MathTextParser
from matplotlib.path import Path
from matplotlib.textpath import TextToPath

#: Size at which glyphs are drawn; in the page one em is this many units.
EM = 100.0
#: Height of a formula's letters relative to the text around it: glyphs of mathtext are a little smaller.
SCALE = 1.08
FONT = FontProperties(family="DejaVu Serif", math_fontfamily="stix", size=EM)

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\(?P<open>[(\[])(?P<latex>.*?)\\[)\]]</(?P=tag)>', re.DOTALL
)
_COMMANDS = {Path.MOVETO: "M", Path.LINETO: "L", Path.CURVE3: "Q", Path.CURVE4: "C", Path.CLOSEPOLY: "Z"}


@lru_cache(maxsize=1)
def _tools() -> tuple[TextToPath, MathTextParser[object]]:
    return TextToPath(), MathTextParser("path")


def drawn(latex: str) -> str:
    """``latex`` as an inline SVG that stands on the line of the text and has its colour.

    Raises ValueError where mathtext does not know a command.
    """
    outline, parser = _tools()
    text = f"${' '.join(latex.split())}$"
    width, height, depth = parser.parse(text, dpi=72, prop=FONT)[:3]  # type: ignore[index]
    vertices, codes = outline.get_text_path(FONT, text, ismath=True)
    parts = []
    for points, code in Path(vertices, codes).iter_segments(curves=True, simplify=False):
        numbers = (
            "" if code == Path.CLOSEPOLY else " ".join(f"{n:.1f}" for n in points * ([1, -1] * (len(points) // 2)))
        )
        parts.append(_COMMANDS[code] + numbers)
    margin = 2.0  # strokes that lean out of their box
    box = (-margin, -height - margin, width + 2 * margin, height + depth + 2 * margin)
    size = [f"{SCALE * n / EM:.3f}em" for n in (box[2], box[3], -depth - margin)]
    return (
        f'<svg class="formula" role="img" aria-label="{html.escape(latex, quote=True)}" viewBox="{" ".join(f"{n:.1f}" for n in box)}" '
        f'style="width:{size[0]};height:{size[1]};vertical-align:{size[2]}"><path fill="currentColor" d="{"".join(parts)}"/></svg>'
    )


def on_page_content(content: str, **_: Any) -> str:
    """Formulas as pictures in the page."""

    def picture(match: re.Match[str]) -> str:
        latex = html.unescape(match["latex"])
        if match["open"] == "(":
            return drawn(latex)
        # a line of its own has room for fractions of full size
        return '<div class="formula">' + drawn(latex.replace("\\frac", "\\dfrac")) + "</div>"

    return _FORMULA.sub(picture, content)
