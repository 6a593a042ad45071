"""Links of README, CHANGELOG and docs lead somewhere: files that exist, headings that stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from .support import DOCS, LINKED, ROOT, anchors, name_of, prose

_LINK = re.compile(r"\]\(([^)\s]+)\)")
#: Headings that the reference makes from names: ``reference/hwloop.md#hwloop.Spikes``.
_NAME = re.compile(r"^::: ([\w.]+)$", re.MULTILINE)


def broken(page: Path) -> list[str]:
    """Links of ``page`` that lead nowhere; those to the network are not followed."""
    found = []
    for link in _LINK.findall(prose(page)):
        if re.match(r"https?://|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        goal = (page.parent / path).resolve() if path else page
        if not goal.exists() or not goal.is_relative_to(ROOT):
            # the site shows two pages of other folders among its own
            goal = {
                "changelog.md": ROOT / "CHANGELOG.md",
                "protocol.md": ROOT / "backends/hwloop_serial/PROTOCOL.md",
            }.get(
                (page.parent / path).resolve().relative_to(DOCS).as_posix() if goal.is_relative_to(DOCS) else "", goal
            )
        if not goal.exists():
            found.append(f"{link}: no such file")
        elif (
            anchor
            and goal.suffix == ".md"
            and anchor not in anchors(goal) | set(_NAME.findall(goal.read_text("utf-8")))
        ):
            found.append(f"{link}: no such heading")
    return found


@pytest.mark.parametrize("page", LINKED, ids=name_of)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    assert not broken(page)


def test_a_dead_link_is_noticed(tmp_path: Path) -> None:
    page = DOCS / "index.md"
    text = page.read_text("utf-8")
    assert "quickstart.md" in text
    copy = DOCS / "pictures" / ".." / "index.md"  # the same page by another name: links are of the page's folder
    assert not broken(copy)
    elsewhere = tmp_path / "index.md"
    elsewhere.write_text(text)
    assert any("quickstart.md: no such file" in problem for problem in broken(elsewhere))


def test_every_page_is_in_the_site_s_list_and_every_picture_has_its_drawing() -> None:
    listed = set(re.findall(r"([\w/]+\.md)$", (ROOT / "mkdocs.yml").read_text("utf-8"), re.MULTILINE))
    pages = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    assert listed - {"changelog.md", "protocol.md"} == pages
    drawn = (DOCS / "tools" / "draw_pictures.py").read_text("utf-8")
    pictures = {path.stem for path in (DOCS / "pictures").iterdir()}
    assert pictures
    assert all(f"def {name}()" in drawn for name in pictures)
    shown = {match for page in LINKED for match in re.findall(r"pictures/(\w+)\.svg", page.read_text("utf-8"))}
    assert shown == pictures


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 100


def test_pages_load_nothing_from_the_network() -> None:
    for page in (*LINKED, *DOCS.rglob("*.css")):
        assert not re.search(
            r"!\[[^]]*\]\(https?:|<(?:script|link|img)\b|url\(\s*['\"]?https?:", page.read_text("utf-8")
        ), page
