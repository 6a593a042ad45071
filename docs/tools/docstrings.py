"""Docstrings as the reference shows them: roles such as ``:func:`x` `` become the plain name."""

from __future__ import annotations

import re
from typing import Any

import griffe

#: A line of a section of parameters: their names, and what they are.
_TYPE = re.compile(r"^(\w+(?:, \w+)* : )(.*``.*)$", re.MULTILINE)
_ROLE = re.compile(r":(?:func|class|meth|mod|data|attr|exc):`~?\.?([^`]+)`")


class PlainNames(griffe.Extension):
    """Takes the roles out of every docstring before it is read."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Called by griffe for each module, class, function and attribute."""
        if obj.docstring is not None:
            text = _ROLE.sub(r"`\1`", obj.docstring.value)
            obj.docstring.value = _TYPE.sub(lambda line: line[1] + line[2].replace("`", ""), text)
