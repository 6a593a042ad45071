"""Single values of an experiment changed from outside: ``training.epochs=3``, a dotted key and a value as TOML has it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .errors import InputError, OptionError
from .experiment_networks import KEYS, beside, with_form

#: Words that shells have stripped of their quotes: names, paths, targets. Anything else has to be TOML.
_WORD = re.compile(r"[A-Za-z_./~][\w./:~+-]*")


def with_settings(document: dict[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """``document`` of an experiment with ``settings``, each ``KEY=VALUE``; paths in them count from the working folder.

    A number in a key is an item of a list: ``network.layers.0.channels=20``.

    Raises
    ------
    OptionError
        A setting that is no ``KEY=VALUE``.
    InputError
        A key that leads into something that is no table or list, or to an item that is not there.
    """
    for text in settings:
        change = beside(_parsed(text), Path.cwd())
        if isinstance(task := change.get("task"), dict) and isinstance(task.get("data"), str):
            # absolute: the run may be used from another folder
            change["task"] = {**task, "data": str(Path(task["data"]).expanduser().absolute())}
        document = _merged(document, change, ())
    return document


def _parsed(text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise OptionError(f"--set {text!r}; allowed: KEY=VALUE, e.g. --set training.epochs=3")
    for tried in (value, f'"{value}"' if _WORD.fullmatch(value) else None):
        if tried is None:
            break
        try:
            return tomllib.loads(f"{key} = {tried}")
        except (tomllib.TOMLDecodeError, RecursionError):
            continue
    raise OptionError(
        f"--set {text!r}: no value of TOML; allowed: a number, true, false, [a, list], or text in quotes that the shell leaves: "
        f"--set '{key}=\"...\"'"
    )


def _merged(before: Any, change: Any, path: tuple[str, ...]) -> Any:
    """``before`` with ``change``: tables key by key, lists item by item where the change names one, all else replaced."""
    if not isinstance(change, dict):
        return change
    if isinstance(before, list) and change and all(key.isdigit() for key in change):
        items = list(before)
        for key, value in change.items():
            if int(key) >= len(items):
                place = ".".join((*path, key))
                raise InputError(
                    f"--set {place}: no such item; allowed: 0..{len(items) - 1}, the list has {len(items)}"
                )
            items[int(key)] = _merged(items[int(key)], value, (*path, key))
        return items
    if not isinstance(before, dict):
        if before is not None and path:
            name = ".".join(path)
            raise InputError(f"--set {name}.{next(iter(change), '')}: {name} is no table; allowed: --set {name}=VALUE")
        return change
    if path == ("network",) and change.keys() & KEYS.keys() and with_form(change)["form"] != with_form(before)["form"]:
        return change  # another form of network: the keys of the old one mean nothing to it
    return {**before, **{key: _merged(before.get(key), value, (*path, key)) for key, value in change.items()}}
