"""What stands in a page: fenced blocks with the output that follows, commands, links, headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
#: Pages whose blocks, links and commands are checked.
PAGES = sorted([ROOT / "README.md", *DOCS.rglob("*.md")])
#: Those, and the other pages that lead to them.
LINKED = [*PAGES, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", ROOT / "backends/hwloop_serial/PROTOCOL.md"]

_FENCE = re.compile(r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
_SKIP = re.compile(r"<!-- no-run: (?P<why>[^>]+) -->\n$")
_INDENTED = re.compile(r"(?:^(?: {4}).*\n|^\n(?= {4}))+", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A Python block: its source, its line, the output printed below it, and why it is not run, where it is not."""

    source: str
    line: int
    output: str | None
    skipped: str | None


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def python_blocks(page: Path) -> Iterator[Block]:
    """The Python blocks of ``page`` in order; a ``text`` block right below one is what it prints."""
    text = page.read_text("utf-8")
    fences = list(_FENCE.finditer(text))
    for fence, following in zip(fences, [*fences, None][1:], strict=True):
        if fence["kind"] != "python":
            continue
        shown = (
            following is not None and following["kind"] == "text" and not text[fence.end() : following.start()].strip()
        )
        skip = _SKIP.search(text, 0, fence.start())
        yield Block(
            fence["body"],
            text.count("\n", 0, fence.start()) + 2,
            following["body"] if shown and following is not None else None,
            skip["why"] if skip is not None and skip.end() == fence.start() else None,
        )


def prose(page: Path) -> str:
    """``page`` without its blocks of code and its comments."""
    text = re.sub(r"<!--.*?-->", "", page.read_text("utf-8"), flags=re.DOTALL)
    return _INDENTED.sub("\n", _FENCE.sub("", text))


def shell_lines(page: Path) -> Iterator[str]:
    """Lines of the page's indented and shell blocks, continued ones joined, comments and prompts left out."""
    text = page.read_text("utf-8")
    shell = [fence["body"] for fence in _FENCE.finditer(text) if fence["kind"] in ("console", "sh", "bash")]
    shell += [block[0] for block in _INDENTED.finditer(_FENCE.sub("", text))]
    for block in shell:
        for line in block.replace("\\\n", " ").splitlines():
            yield re.split(r"\s+#\s", line.strip().removeprefix("$ "), maxsplit=1)[0].strip()
    for code in re.findall(r"`([^`]+)`", prose(page)):
        yield " ".join(code.split())


def anchors(page: Path) -> set[str]:
    """What a link into ``page`` may name: its headings, as GitHub and the site both write them."""
    headings = re.findall(r"^#+ (.+?)\s*#*$", _FENCE.sub("", page.read_text("utf-8")), re.MULTILINE)
    plain = (re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading) for heading in headings)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in plain}
