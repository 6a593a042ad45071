"""The page says what the file of results says, and no cell is wrong without a word."""

from __future__ import annotations

from pathlib import Path

import pytest

from . import cells, page, weights
from .closeness import Gap, agree, slope_of

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def results() -> cells.Results:
    return cells.read(DOCS / "interop.json")


def test_the_page_is_that_of_the_results(results: cells.Results) -> None:
    assert (DOCS / "interop.md").read_text(encoding="utf-8") == page.text(results)


def test_the_versions_are_those_that_are_installed(results: cells.Results) -> None:
    pinned = (Path(__file__).parent / "requirements-peers.txt").read_text(encoding="utf-8").splitlines()
    for name in {cell.package for cell in results.cells}:
        assert f"{name}=={results.versions[name]}" in pinned


def test_no_cell_is_wrong_without_a_word(results: cells.Results) -> None:
    """And what is called right is so by its own figures."""
    assert results.cells
    for cell in results.cells:
        assert cell.outcome in ("right", "refused", "n.a.", "their fault"), cell
        assert cell.says or cell.outcome == "right", cell
        if cell.outcome == "right" or cell.option:
            found = [Gap(int(a), int(b), float(c), int(d)) for a, b, c, d in cell.gaps]
            assert cell.outcome == "their fault" or agree(results.fineness, found, cell.spiking), cell
            if cell.slope is not None:
                # figures are kept to four digits
                assert cell.slope == pytest.approx(slope_of(results.fineness, found, cell.spiking), abs=0.02)


def test_no_fault_made_on_purpose_passed_for_right(results: cells.Results) -> None:
    """By the figures that are kept; every cell that is called right was tried."""
    for control in results.controls:
        found = [Gap(int(a), int(b), float(c), int(d)) for a, b, c, d in control.gaps]
        of = next(c for c in results.cells if (c.package, c.direction, c.kind) == _place(control))
        assert control.seen == (not agree(results.fineness, found, of.spiking)), control
        assert control.seen or not control.wanted, control
    tried = {_place(control) for control in results.controls if control.wanted}
    right = {_place(c) for c in results.cells if c.outcome == "right" or (c.outcome == "refused" and c.option)}
    assert tried == right


def _place(of: cells.Cell | cells.Control) -> tuple[str, str, str]:
    return of.package, of.direction, of.kind


def test_results_are_read_as_they_were_written(results: cells.Results, tmp_path: Path) -> None:
    cells.write(results, tmp_path / "again.json")
    again = cells.read(tmp_path / "again.json")
    assert list(again.cells) == list(results.cells)
    assert list(again.controls) == list(results.controls)
    assert again.versions == results.versions


def test_a_stimulus_is_the_same_at_every_step() -> None:
    coarse, fine = weights.stimulus(1, False), weights.stimulus(4, False)
    assert (fine[::4] == coarse).all()
    assert fine.sum() == coarse.sum() > 50
