"""Plain values as a TOML document; Python reads TOML but does not write it."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from .arguments import shown
from .errors import InputError


def toml_text(document: dict[str, Any]) -> str:
    """``document`` of text, booleans, numbers (NumPy's too), lists of these or of tables, and nested tables, as TOML.

    Raises :class:`InputError` naming a value that TOML has no form for.
    """
    return "\n".join(_table(document, "")) + "\n"


def _table(table: dict[str, Any], path: str) -> list[str]:
    """Lines of a table: values first, then the tables in it."""
    lines = [f"{_key(key)} = {_value(value)}" for key, value in table.items() if not _is_table(value)]
    for key, value in table.items():
        name = f"{path}{_key(key)}"
        if isinstance(value, dict):
            lines += ["", f"[{name}]", *_table(value, f"{name}.")]
        elif _is_table(value):
            for item in value:
                lines += ["", f"[[{name}]]", *_table(item, f"{name}.")]
    return lines


def _is_table(value: Any) -> bool:
    """Whether ``value`` is a table, or a list of tables alone."""
    return isinstance(value, dict) or (
        isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
    )


def _key(key: str) -> str:
    bare = key.isascii() and key.replace("_", "").replace("-", "").isalnum()
    return key if bare else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):  # in a list with other values
        return "{" + ", ".join(f"{_key(key)} = {_value(item)}" for key, item in value.items()) + "}"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # a JSON string is a TOML basic string, but for DEL, which TOML wants escaped
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (int, float)):
        return repr(value)
    raise InputError(f"{shown(value)} in a TOML document; allowed: text, booleans, numbers, lists of these, tables")
