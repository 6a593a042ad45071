"""The reference holds every public name, and every public name has a docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

import hwloop

from .support import DOCS

#: Modules whose names are public, beside ``hwloop`` itself.
MODULES = (
    "hwloop.losses", "hwloop.membrane_losses", "hwloop.margin_losses", "hwloop.encoding", "hwloop.datasets",
    "hwloop.experiment", "hwloop.own_data", "hwloop.training", "hwloop.rules", "hwloop.ranks", "hwloop.simulate", "hwloop.record",
    "hwloop.network", "hwloop.mapping", "hwloop.compare", "hwloop.conformance", "hwloop.cost", "hwloop.target", "hwloop.device.trim", "hwloop.errors",
    "hwloop.bundle", "hwloop.session_log", "hwloop_calibration", "hwloop_emulator", "hwloop_loihi", "hwloop_lava",
    "hwloop_rtl", "hwloop_serial", "hwloop_replay",
)  # fmt: skip
PAGES = [page.read_text("utf-8") for page in sorted((DOCS / "reference").glob("*.md"))]


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Public names of ``module``: its ``__all__``, else what it defines or exports as itself (``import x as x``)."""
    names = getattr(module, "__all__", None)
    if names is None:
        exported = set(re.findall(r"import (\w+) as \1$", inspect.getsource(module), re.MULTILINE))
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and (value.__module__ == module.__name__ or name in exported)
        ]
    for name in names:
        yield f"{module.__name__}.{name}", getattr(module, name)


def everything() -> list[tuple[str, Any]]:
    found = list(public(hwloop))
    for name in MODULES:
        found += public(importlib.import_module(name))
    return [(name, value) for name, value in found if getattr(value, "__module__", "hwloop").startswith("hwloop")]


def in_reference() -> list[tuple[str, Any]]:
    """Names that the pages take from docstrings, and what each is."""
    found = []
    for name in (name for page in PAGES for name in re.findall(r"^::: ([\w.]+)$", page, re.MULTILINE)):
        module, _, attribute = name.rpartition(".")
        found.append((name, getattr(importlib.import_module(module), attribute)))
    return found


def test_every_public_name_is_in_the_reference() -> None:
    documented = {id(value) for _, value in in_reference()}
    text = "\n".join(PAGES)
    missing = [name for name, value in everything() if id(value) not in documented and f"`{name}`" not in text]
    assert len(everything()) > 250
    assert not missing, "put them into docs/reference"


def test_every_name_of_the_reference_is_public_and_stands_once() -> None:
    names = [name for name, _ in in_reference()]
    assert len(names) == len(set(names))
    assert len({id(value) for _, value in in_reference()}) == len(names)
    known = {id(value) for _, value in everything()}
    assert not [name for name, value in in_reference() if id(value) not in known]


def test_no_public_name_is_undocumented() -> None:
    undocumented = [name for name, value in in_reference() if not (value.__doc__ or "").strip()]
    # a dataclass without a docstring gets its signature for one
    undocumented += [
        name for name, value in in_reference() if (value.__doc__ or "").startswith(f"{name.rpartition('.')[2]}(")
    ]
    assert undocumented == []


def test_the_tree_of_errors_is_that_of_the_source() -> None:
    assert inspect.getdoc(importlib.import_module("hwloop.errors")) in "\n".join(PAGES)
