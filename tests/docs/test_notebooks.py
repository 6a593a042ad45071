"""Notebooks hold what the tutorials hold; `make notebooks` executes them."""

from __future__ import annotations

import importlib.util
import os
from types import ModuleType

import pytest

from .support import DOCS, name_of, python_blocks

TUTORIALS = sorted((DOCS / "tutorials").glob("*.md"))


@pytest.fixture(scope="module")
def notebooks() -> ModuleType:
    if not (os.environ.get("CI") or os.environ.get("HWLOOP_NEEDS_TOOLS")):
        pytest.importorskip("nbformat", reason="of the extra docs")
    spec = importlib.util.spec_from_file_location("docs_notebooks", DOCS / "tools" / "notebooks.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", TUTORIALS, ids=name_of)
def test_cells_are_the_blocks_of_the_page_in_order(page, notebooks: ModuleType) -> None:
    made = notebooks.notebook(page)
    code = [cell.source for cell in made.cells if cell.cell_type == "code"]
    assert code == [block.source.rstrip("\n") for block in python_blocks(page) if block.skipped is None]
    text = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert text.startswith("# ")
    # printed output is the notebook's own, what is not run stays text
    assert all(
        block.output is None or block.output not in text
        for block in python_blocks(page)
        if len(block.output or "") > 20
    )
    assert all(block.source in text for block in python_blocks(page) if block.skipped is not None)


def test_notebooks_are_written_without_outputs(
    notebooks: ModuleType, tmp_path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.write", lambda text: len(text))
    assert notebooks.main(["--out", str(tmp_path)]) == 0
    written = sorted(tmp_path.glob("*.ipynb"))
    assert [path.stem for path in written] == [page.stem for page in TUTORIALS]
    first = [path.read_text("utf-8") for path in written]
    assert not any('"output_type"' in text for text in first)
    notebooks.main(["--out", str(tmp_path)])
    assert [path.read_text("utf-8") for path in written] == first
