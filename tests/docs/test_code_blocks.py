"""Every Python block of README and docs runs, page by page, and prints what the page says it prints."""

from __future__ import annotations

import contextlib
import io
import linecache
import re
from pathlib import Path
from typing import Any

import pytest

from .support import PAGES, Block, name_of, python_blocks

#: Blocks that cannot run here: a board, several processes, a file of others. Their number may shrink.
MOST_SKIPPED = 6
#: How far a printed figure may lie from the page's, as a share, and for counts and near 0: other processors round otherwise,
#: and training carries it on. Which sample or neuron is the first to differ may then be another one.
CLOSE, FEW, NEAR_ZERO = 0.3, 3, 0.05
_WHICH = re.compile(r"\b(sample|neuron) \d+")

WITH_CODE = [page for page in PAGES if any(block.skipped is None for block in python_blocks(page))]
_NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?")


def run(block: Block, page: Path, namespace: dict[str, Any]) -> str:
    """Execute ``block``; what it printed. A traceback names the page's own line."""
    name = f"{name_of(page)}:{block.line}"
    linecache.cache[name] = (len(block.source), None, block.source.splitlines(keepends=True), name)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.source, name, "exec"), namespace)  # noqa: S102  # the project's own pages
    return printed.getvalue()


def same(printed: str, shown: str) -> bool:
    """Whether all words agree and every figure is close."""
    printed, shown = (_WHICH.sub(r"\1", text) for text in (printed, shown))
    words = [[" ".join(part.split()) for part in _NUMBER.split(text)] for text in (printed, shown)]
    if words[0] != words[1]:
        return False
    figures = [[n.replace(",", "") for n in _NUMBER.findall(text)] for text in (printed, shown)]
    return all(
        abs(float(a) - float(b)) <= max(CLOSE * abs(float(b)), FEW if b.isdecimal() else NEAR_ZERO)
        for a, b in zip(*figures, strict=True)
    )


@pytest.mark.parametrize("page", WITH_CODE, ids=name_of)
def test_the_blocks_of_a_page_run_and_print_what_it_says(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    for block in python_blocks(page):
        if block.skipped is None:
            printed = run(block, page, namespace)
            if block.output is not None:
                assert same(printed, block.output), f"{name_of(page)}:{block.line} prints\n{printed}"


def test_blocks_that_do_not_run_are_few_and_say_why() -> None:
    skipped = [(name_of(page), block.skipped) for page in PAGES for block in python_blocks(page) if block.skipped]
    assert len(skipped) <= MOST_SKIPPED, skipped
    assert all(len(why or "") > 8 for _, why in skipped)


def test_python_stands_in_fenced_blocks_alone() -> None:
    """An indented block of Python would not be run."""
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        found = re.findall(r"^ {4}(?:import|from \w+ import|with hl\.|\w+ = hl\.).*$", text, re.MULTILINE)
        assert not found, f"{name_of(page)}: {found[0]!r}: put it into a block ```python"


def test_a_page_that_prints_otherwise_is_noticed() -> None:
    assert same("accuracy 71.3 %, 3 lost\n", "accuracy 70.0 %, 3 lost")
    assert same("sample 3: neuron 8, 5 late", "sample 61: neuron 42, 6 late")
    assert not same("accuracy 41.3 %", "accuracy 70.0 %")
    assert not same("12 late", "6 late")
    assert not same("refused: 3 neurons", "refused: 3 synapses")
