"""A real browser without a window looks at a page: what a reader would miss or stumble over, in words."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

#: Widths of a phone, a half and a full screen (CSS pixels), and the two colour schemes.
WIDTHS, SCHEMES = (400, 1000, 1600), ("light", "dark")
#: Least contrast of text (WCAG 2, level AA), and least size of text in a plot (CSS pixels).
CONTRAST, PLOT_TEXT = 4.5, 7.0
NAMES = ("chromium", "chromium-browser", "google-chrome")

#: Text whose contrast is too low: what it says and the ratio. A background is that of the nearest ancestor that has one.
_FAINT = """(least) => {
  const channels = text => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
    return .2126 * part(r) + .7152 * part(g) + .0722 * part(b);
  };
  const behind = element => {
    for (let e = element; e; e = e.parentElement) {
      const c = channels(getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const element of document.querySelectorAll('body *:not(svg):not(svg *)')) {
    const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    if (!own || !element.getClientRects().length) continue;
    const [a, b] = [light(channels(getComputedStyle(element).color)), light(behind(element))];
    const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
    if (ratio < least) found.push(`${element.textContent.trim().slice(0, 30)} (${ratio.toFixed(1)})`);
  }
  return found;
}"""
#: Plots with text smaller than so many pixels.
_SMALL = """(least) => [...document.querySelectorAll('svg')].filter(svg => svg.checkVisibility()).filter(svg =>
  [...svg.querySelectorAll('text')].some(t => {
    const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
    return parseFloat(getComputedStyle(t).fontSize) * scale < least;
  })).map(svg => svg.getAttribute('aria-label').slice(0, 40))"""
#: Places that scroll sideways and cannot be reached by the keyboard, and links without a target.
_OUT_OF_REACH = """() => [
  ...[...document.querySelectorAll('*')].filter(e => e.scrollWidth > e.clientWidth + 1
      && ['auto', 'scroll'].includes(getComputedStyle(e).overflowX) && e.tabIndex < 0).map(e => e.className),
  ...[...document.querySelectorAll('a[href^="#"]')].filter(a => !document.getElementById(a.hash.slice(1))).map(a => a.hash),
]"""
#: The elements that Tab should reach, in their order; what is folded is out of its way.
_REACHABLE = """() => [...document.querySelectorAll('a[href], button, summary, [tabindex="0"]')]
  .filter(e => e.checkVisibility({ contentVisibilityAuto: true }) && !e.hidden).map((e, i) => (e.dataset.stop = i, i))"""
#: Opens what is folded, from the outside in, each by the keyboard; how many there were that did not open.
_FOLDED = "() => document.querySelectorAll('details:not([open])').length"
_NEXT_FOLDED = (
    "() => { const s = document.querySelector('details:not([open]) > summary'); s.focus(); return s.textContent; }"
)


def browser_path() -> str:
    """The browser; without one the test is skipped with what to install, or fails where tools are promised."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        said = f"none of {', '.join(NAMES)} is installed: apt-get install chromium"
        if os.environ.get("CI") or os.environ.get("HWLOOP_NEEDS_TOOLS"):
            pytest.fail(said)
        pytest.skip(said)
    return found


@contextmanager
def browser() -> Iterator[Browser]:
    """A browser; each page has a context of its own."""
    from playwright.sync_api import sync_playwright

    path = browser_path()
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield opened
        finally:
            opened.close()


def faults(opened: Browser, path: Path) -> list[str]:
    """What is wrong with the page, at every width and in both schemes; empty where nothing is."""
    found = []
    for scheme in SCHEMES:
        for width in WIDTHS:
            context = opened.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)  # type: ignore[arg-type]
            try:
                found += [f"{width} px, {scheme}: {fault}" for fault in _at(context.new_page(), path, width, scheme)]
            finally:
                context.close()
    return found


def _at(page: Page, path: Path, width: int, scheme: str) -> list[str]:
    found: list[str] = []
    page.on("console", lambda message: found.append(f"console: {message.text}"))
    page.on("pageerror", lambda error: found.append(f"error: {error}"))
    page.on(
        "request",
        lambda request: (
            request.url.startswith(("data:", path.as_uri())) or found.append(f"request of {request.url[:80]}")
        ),
    )
    page.goto(path.as_uri())
    # the order of Tab is that of the page, whatever its width and colours: walked once, folded and opened
    walked = (width, scheme) == (WIDTHS[0], SCHEMES[0])
    found += _seen(page, width, walked=walked)
    if page.evaluate(_FOLDED):
        found += _opened(page)
        found += [f"opened: {fault}" for fault in _seen(page, width, walked=walked)]
    return found


def _opened(page: Page) -> list[str]:
    """Open everything that is folded with the keyboard; what does not open."""
    left = int(page.evaluate(_FOLDED))
    while left:
        name = page.evaluate(_NEXT_FOLDED)
        page.keyboard.press("Enter")
        if (now := int(page.evaluate(_FOLDED))) >= left:
            return [f"does not open by the keyboard: {name}"]
        left = now
    return []


def _seen(page: Page, width: int, *, walked: bool) -> list[str]:
    """What is wrong with the page as it is now."""
    found: list[str] = []
    wide = int(page.evaluate("document.documentElement.scrollWidth"))
    if wide > width:
        found.append(f"scrolls sideways, {wide} px wide")
    found += [f"faint: {text}" for text in page.evaluate(_FAINT, CONTRAST)]
    found += [f"small text in the plot {name!r}" for name in page.evaluate(_SMALL, PLOT_TEXT)]
    found += [f"out of the keyboard's reach: {name}" for name in page.evaluate(_OUT_OF_REACH)]
    if walked:
        found += _walk(page)
    return found


def _walk(page: Page) -> list[str]:
    """Where Tab goes, from the top of the page, if that is not everywhere in its order."""
    page.evaluate("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    wanted = page.evaluate(_REACHABLE)
    reached = []
    for _ in wanted:
        page.keyboard.press("Tab")
        reached.append(page.evaluate("parseInt(document.activeElement.dataset.stop ?? -1)"))
    return [] if reached == wanted else [f"Tab reaches {reached}, not {wanted}"]
