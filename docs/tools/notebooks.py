"""Turn the tutorials into notebooks, and run them.

    python docs/tools/notebooks.py --out out/notebooks --execute

A block of Python becomes a cell of code, what stands between blocks a cell of text; printed output is left out, since the
notebook prints its own. Blocks that need a board stay text. Executed notebooks are not stored with their outputs: a page
is checked by running it, and the reader's own run fills it.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import nbformat
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

TUTORIALS = Path(__file__).parents[1] / "tutorials"
#: A notebook that takes longer hangs (s).
DEADLINE = 600

_PART = re.compile(
    r"(?P<skip><!-- no-run: [^>]+ -->\n)?^```(?P<kind>python|text)\n(?P<body>.*?)^```$\n?", re.MULTILINE | re.DOTALL
)


def cells(page: str) -> Iterator[NotebookNode]:
    """The cells of a page of Markdown, in order."""
    end, after_code = 0, False
    for part in _PART.finditer(page):
        runs = part["kind"] == "python" and part["skip"] is None
        between = page[end : part.start()]
        printed = part["kind"] == "text" and after_code and not between.strip()
        text = between if runs or printed else page[end : part.end()]
        if text.strip():
            yield new_markdown_cell(text.strip())
        if runs:
            yield new_code_cell(part["body"].rstrip("\n"))
        end, after_code = part.end(), runs
    if page[end:].strip():
        yield new_markdown_cell(page[end:].strip())


def notebook(page: Path) -> NotebookNode:
    """The notebook of ``page``, without outputs; the same from run to run."""
    made = new_notebook(cells=list(cells(page.read_text("utf-8"))))
    for number, cell in enumerate(made.cells):
        cell["id"] = f"cell-{number}"
    made.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
    return made


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/notebooks"))
    parser.add_argument("--only", default="*", metavar="NAME", help="of this tutorial alone")
    parser.add_argument("--execute", action="store_true", help="run each once, in a folder that is thrown away")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    failed = 0
    for page in sorted(TUTORIALS.glob(f"{options.only}.md")):
        made = notebook(page)
        nbformat.write(made, options.out / f"{page.stem}.ipynb")
        print(f"{options.out / page.stem}.ipynb", end="", flush=True)
        if options.execute:
            failed += not _runs(made)
        print()
    return 1 if failed else 0


def _runs(made: NotebookNode) -> bool:
    """Whether all cells of ``made`` run; what went wrong is printed."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    with tempfile.TemporaryDirectory() as folder:
        place, quiet = {"metadata": {"path": folder}}, ["--log-level=ERROR"]
        try:
            NotebookClient(made, timeout=DEADLINE, resources=place, extra_arguments=quiet).execute()
        except CellExecutionError as error:
            print(f"\n{error}", file=sys.stderr)
            return False
    print(": runs", end="")
    return True


if __name__ == "__main__":
    sys.exit(main())
