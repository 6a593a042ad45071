"""How objects show themselves: one short line, and in a notebook a small table."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

#: Characters of a value in a line.
MOST = 60


class Described:
    """Base: :meth:`_facts` names what there is to say, the first of them for the line too."""

    def _facts(self) -> Mapping[str, Any]:
        """What is shown, by name, in order."""
        raise NotImplementedError

    def __repr__(self) -> str:
        """One line."""
        said = ", ".join(f"{name}={_short(value)}" for name, value in self._facts().items())
        return f"{type(self).__name__}({said})"

    def _repr_html_(self) -> str:
        return html_table(type(self).__name__, self._facts())


def html_table(title: str, facts: Mapping[str, Any]) -> str:
    """``facts`` as a table of two columns; all text is escaped."""
    rows = "".join(
        f'<tr><td style="text-align:left">{escape(str(name))}</td><td style="text-align:left">{escape(_short(value, 300))}</td></tr>'
        for name, value in facts.items()
    )
    return f'<table><thead><tr><th colspan="2" style="text-align:left">{escape(title)}</th></tr></thead><tbody>{rows}</tbody></table>'


def _short(value: Any, most: int = MOST) -> str:
    text = f"{value:.4g}" if isinstance(value, float) else str(value)
    return text if len(text) <= most else f"{text[: most - 3]}..."
