"""Write ``docs/examples.md``: the numbered examples with what they print, and a list of the longer ones.

python docs/tools/examples_page.py            # runs them, in the order of their numbers, half a minute
"""

from __future__ import annotations

import ast
import contextlib
import io
import os
import runpy
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = ROOT / "docs" / "examples.md"

HEAD = """\
# Examples

Ten scripts in the order in which one learns them, each with one idea, each in a few seconds. They are in
[`examples/`](../examples/01_one_neuron.py) and begin with their command. The second writes `yin_yang.nir`, which later ones read. Chips
and boards are emulated here, and what they print says so. Written by `python docs/tools/examples_page.py`, which runs them; the tests run
them again.
"""
LONGER = """\
## Longer ones

Each says in its first lines what it does, how long it takes, and how to try it in less. Whole experiments without a script:
[`hwloop run`](tutorials/your_data.md).

| | |
| --- | --- |
"""


def numbered() -> list[Path]:
    """The examples in their order."""
    return sorted(EXAMPLES.glob("[0-9][0-9]_*.py"))


def longer() -> list[Path]:
    """Those that are no part of the course: scripts, and the package of a backend."""
    return [*sorted((EXAMPLES / "longer").glob("*.py")), EXAMPLES / "third_party_backend" / "try_it.py"]


def idea(script: Path) -> str:
    """The first paragraph of what a script says of itself, without the full stop."""
    text = ast.get_docstring(ast.parse(script.read_text("utf-8"))) or ""
    return " ".join(text.split("\n\n")[0].split()).rstrip(".")


def printed(script: Path, folder: Path) -> str:
    """What ``script`` prints in ``folder``, run as a user runs it, in this process."""
    shown, before, dtype = io.StringIO(), Path.cwd(), torch.get_default_dtype()
    arguments, sys.argv = sys.argv, [str(script)]
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(shown):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        os.chdir(before)
        sys.argv = arguments
        torch.set_default_dtype(dtype)
    return shown.getvalue()


def sections(outputs: dict[str, str]) -> Iterator[str]:
    """The page: a section an example, with its source and what it printed."""
    yield HEAD
    for script in numbered():
        source, title = script.read_text("utf-8"), idea(script)
        body = source.split('"""\n', 2)[1].lstrip("\n")
        yield f"## {script.stem[:2]} {title.partition(':')[0]}\n\n{title}: [`{script.name}`](../examples/{script.name})\n"
        yield f"```py\n{body}```\n\nIt prints\n\n```text\n{outputs[script.name]}```\n"
    rows = [f"| [`{script.name}`](../{script.relative_to(ROOT)}) | {idea(script)} |" for script in longer()]
    yield LONGER + "\n".join(rows) + "\n"


def page(outputs: dict[str, str]) -> str:
    """The text of the page."""
    return "\n".join(sections(outputs))


def main() -> int:
    with tempfile.TemporaryDirectory() as folder:
        outputs = {script.name: printed(script, Path(folder)) for script in numbered()}
    PAGE.write_text(page(outputs), "utf-8")
    print(f"{PAGE}: {len(outputs)} examples")
    return 0


if __name__ == "__main__":
    sys.exit(main())
