"""The numbered examples run, and print what their page says; the page shows them as they are."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from .support import DOCS, ROOT
from .test_code_blocks import same

#: Lines that an example stays under.
MOST_LINES = 60
PAGE = (DOCS / "examples.md").read_text("utf-8")


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("examples_page", DOCS / "tools" / "examples_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()
NUMBERED: list[Path] = TOOL.numbered()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all of them run, one after the other: later ones read what earlier ones wrote."""
    return tmp_path_factory.mktemp("examples")


def on_page() -> dict[str, str]:
    """What the page says that each prints."""
    shown = re.findall(
        r"\(\.\./examples/(\d\d_\w+\.py)\)\n\n```py\n.*?```\n\nIt prints\n\n```text\n(.*?)```", PAGE, re.DOTALL
    )
    return dict(shown)


@pytest.mark.parametrize("script", NUMBERED, ids=lambda path: path.stem)
def test_an_example_prints_what_the_page_says(script: Path, folder: Path) -> None:
    printed = TOOL.printed(script, folder)
    assert same(printed, on_page()[script.name]), printed


def test_the_page_is_made_of_the_examples_as_they_are() -> None:
    assert TOOL.page(on_page()) == PAGE, "python docs/tools/examples_page.py"


def test_the_examples_are_ten_short_and_without_a_gap() -> None:
    assert [path.stem[:2] for path in NUMBERED] == [f"{k:02}" for k in range(1, 11)]
    lengths = {path.name: len(path.read_text("utf-8").splitlines()) for path in NUMBERED}
    assert {name: count for name, count in lengths.items() if count >= MOST_LINES} == {}


def test_an_example_names_its_own_command() -> None:
    for path in NUMBERED:
        assert f"python {path.relative_to(ROOT)}" in path.read_text("utf-8")
