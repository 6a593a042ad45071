"""The reference holds every public name, and every public name has a docstring."""

from __future__ import annotations

import importlib
import inspect
import re
from typing import Any

import hwloop

from .public_names import described, everything, methods, numbers, parameters, undescribed
from .support import DOCS

PAGES = [page.read_text("utf-8") for page in sorted((DOCS / "reference").glob("*.md"))]


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


def test_every_method_and_property_of_a_public_class_says_what_it_is() -> None:
    found = [(f"{name}.{key}", value) for name, owner in everything() for key, value in methods(owner)]
    assert len(found) > 500
    assert [name for name, value in found if not inspect.getdoc(value)] == []


def test_every_parameter_of_the_names_of_hwloop_stands_in_their_docstrings() -> None:
    public = [
        (name, value) for name, value in everything() if name.startswith("hwloop.") and name[7:] in hwloop.__all__
    ]
    missing = {name: lacking for name, value in public if (lacking := undescribed(value, parameters(value)))}
    assert missing == {}


def test_every_number_and_array_that_a_public_name_takes_stands_in_its_docstring() -> None:
    """Where it does not, nobody can know its unit or shape."""
    missing = {name: lacking for name, value in everything() if (lacking := undescribed(value, numbers(value)))}
    assert missing == {}


def test_a_parameter_that_is_not_described_is_noticed() -> None:
    def drawn(rate: float, n: int, dt: float) -> None:
        """Spikes of ``n`` units at ``rate`` (1/s)."""

    assert parameters(drawn) == ["rate", "n", "dt"]
    assert undescribed(drawn, numbers(drawn)) == ["dt"]
    assert "rate" in described(drawn)


def test_the_figures_page_counts_what_there_is() -> None:
    counts = re.search(
        r"documents (\d+) public names with (\d+) methods.*?of (\d+) parameters",
        (DOCS / "figures.md").read_text(),
        re.DOTALL,
    )
    assert counts is not None
    unique = {id(value): value for _, value in everything()}.values()
    found = (len(unique), sum(len(methods(value)) for value in unique), sum(len(numbers(value)) for value in unique))
    assert tuple(map(int, counts.groups())) == found, "python -m tests.docs.public_names"
