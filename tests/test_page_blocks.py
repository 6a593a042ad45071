"""Python blocks of the pages on conformance and cost run, and print what the page says below them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
#: A block of Python, and the indented lines that follow it.
BLOCK = re.compile(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)*)", re.DOTALL)


@pytest.mark.parametrize("name", ["conformance.md", "cost.md"])
def test_python_blocks_print_what_the_page_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    blocks = BLOCK.findall((DOCS / name).read_text())
    assert blocks
    for code, printed in blocks:
        exec(compile(code, name, "exec"), {})  # noqa: S102  # what is tested
        assert capsys.readouterr().out == re.sub("^    ", "", printed, flags=re.MULTILINE)
