"""The HTML of a report: the template, its one script, and the sections of one page within another."""

from __future__ import annotations

import hashlib
import re
from base64 import b64encode
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from ..errors import DataError

if TYPE_CHECKING:
    from jinja2 import Template
    from markupsafe import Markup

#: Comments of the template around what a page has of its own.
_BEGIN, _END = "<!-- sections -->", "<!-- end of sections -->"


def page_of(**content: Any) -> str:
    """The page with ``content``, all of whose text is escaped."""
    script = _script()
    # a policy that names the script's digest lets no other script run, whatever a page's text says
    digest = b64encode(hashlib.sha256(script.encode()).digest()).decode()
    from markupsafe import Markup

    return _template().render(**content, script=Markup(script), script_digest=digest)  # the package's own


def sections_of(page: str) -> str:
    """The sections of a page that :func:`page_of` made; :class:`DataError` for any other."""
    _, begun, rest = page.partition(_BEGIN)
    found, ended, _ = rest.partition(_END)
    if not (begun and ended):
        raise DataError("no report of this version of hwloop; run the step again (--force) to have its page made anew")
    return found


def inside(sections: str, prefix: str, name: str) -> Markup:
    """``sections`` within another page: headings one step down, ids and what refers to them with ``prefix``, files with ``name``."""
    from markupsafe import Markup

    for level in (4, 3, 2):
        sections = re.sub(rf"(</?)h{level}\b", rf"\g<1>h{level + 1}", sections)
    for reference in ('id="', 'href="#', "url(#"):
        sections = sections.replace(reference, f"{reference}{prefix}-")
    for called in ('<button type="button" name="', 'download="'):
        sections = sections.replace(called, f"{called}{name}-")
    return Markup(sections)  # a page of ours, whose text was escaped when it was made


@cache
def _script() -> str:
    return (resources.files(__package__) / "save_plots.js").read_text("utf-8")


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    loader = PackageLoader("hwloop.compare", ".")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["identity"] = id
    return environment.get_template("report.html.jinja")
