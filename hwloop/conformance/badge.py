"""A badge, as SVG: how many claims hold, and how many do not apply, side by side."""

from __future__ import annotations

from xml.sax.saxutils import escape

from .verdict import Verdict

#: Colours of a target that conforms and of one that does not; of the label.
GOOD, BAD, LABEL = "#2f7d3b", "#b3261e", "#444"
#: Width of a letter of 11 px, and space on both sides of a text (px).
LETTER, SPACE = 6.6, 10


def badge_of(verdict: Verdict) -> str:
    """The badge of ``verdict``; all text is escaped."""
    label, text = "hwloop conformance", verdict.headline
    first, second = (round(len(words) * LETTER) + 2 * SPACE for words in (label, text))
    colour = GOOD if verdict.conforms else BAD
    title = escape(f"{verdict.target}: {label}, {text}")
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{first + second}" height="20" role="img" aria-label="{title}">
<title>{title}</title>
<rect width="{first}" height="20" fill="{LABEL}"/><rect x="{first}" width="{second}" height="20" fill="{colour}"/>
<g fill="#fff" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11" text-anchor="middle">
<text x="{first / 2:g}" y="14">{label}</text><text x="{first + second / 2:g}" y="14">{escape(text)}</text>
</g></svg>
"""
