"""What mkdocs is told about these pages: files that stand elsewhere in the repository, and what is an error.

A page links to ``../CHANGELOG.md`` or ``../studies/delays.py`` as the repository has them, so that the link works there
too. Here the same link leads to a copy inside the site. A page that would load anything from the network is an error.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
#: Pages that stand elsewhere in the repository: path there, and in the site.
PAGES = {"CHANGELOG.md": "changelog.md", "backends/hwloop_serial/PROTOCOL.md": "protocol.md"}
#: Folders whose files can be read from the site as they are.
SHOWN = (
    "examples",
    "studies",
    "hwloop/experiments",
    "hwloop/device",
    "hwloop/cost",
    "backends/hwloop_emulator/presets",
    "tests",
)
#: Kinds of such files.
KINDS = (".py", ".toml", ".md")

_LINK = re.compile(r"(?<=\]\()(?P<up>(?:\.\./)+)(?P<path>[\w./-]+)")
_FETCHED = re.compile(r'<(?:script|img|link rel="stylesheet")[^>]*(?:src|href)="?(?P<url>(?:https?:)?//[^" >]+)')
_MODULE = re.compile(
    r'id="([\w.]+)" class="doc doc-heading">\s*<code class="doc-symbol doc-symbol-heading doc-symbol-module"'
)


def _source(path: str) -> Path | None:
    """Where ``path`` of the repository stands, if the site has a copy of it."""
    found = ROOT / path
    shown = path in PAGES or (path.startswith(SHOWN) and found.suffix in KINDS)
    return found if shown and found.is_file() else None


def _place(path: str) -> str:
    """Where the site has ``path`` of the repository; sources as text, which browsers show."""
    return PAGES.get(path) or f"source/{path}.txt"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what stands elsewhere: the pages, and the files that any page links to."""
    wanted = set(PAGES)
    for file in list(files.documentation_pages()):
        wanted |= {link["path"] for link in _LINK.finditer(file.content_string)}
    for path in sorted(wanted):
        source = _source(path)
        if source is not None:
            files.append(File.generated(config, _place(path), content=source.read_text("utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links that leave the pages' folder to the copies inside the site."""
    here = page.file.src_uri
    origin = next((path for path, place in PAGES.items() if place == here), f"docs/{here}")
    depth = origin.count("/")

    def turned(match: re.Match[str]) -> str:
        # from a page of docs/: as many steps up as the page is deep lead to the repository's root
        if match["up"].count("../") != depth or _source(match["path"]) is None:
            return match[0]
        return "../" * here.count("/") + _place(match["path"])

    markdown = _LINK.sub(turned, markdown)
    if origin in PAGES:
        # of the page's own folder in the repository
        markdown = re.sub(r"(?<=\]\()docs/", "", markdown)
    return markdown


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse what a reader's browser would fetch from elsewhere."""
    fetched = _FETCHED.search(output)
    if fetched is not None:
        raise PluginError(f"{page.file.src_uri} would load {fetched['url']} from the network")
    module = _MODULE.search(output)
    if module is not None:
        raise PluginError(
            f"{page.file.src_uri}: {module[1]} is a module of that name; write the function's full path behind :::"
        )
    return output
