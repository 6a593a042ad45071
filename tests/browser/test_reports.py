"""Every report in a real browser, at three widths, light and dark; and the checks themselves on pages that are wrong."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ..cli_runs import TINY, done, file_of
from .looking import browser, faults

if TYPE_CHECKING:
    from playwright.sync_api import Browser

STEPS = ("train", "deploy", "compare", "finetune")


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports of all commands on the smallest experiment."""
    folder = tmp_path_factory.mktemp("reports")
    done("run", file_of(folder, TINY), "--out", folder / "run")
    trained = folder / "run" / "train"
    done("cost", trained, "--target", "loihi", "--out", folder / "cost")
    done("calibrate", trained, "--target", "emulator:1", "--preset", "bss2", "--out", folder / "calibrate")
    found = {name: folder / "run" / name for name in STEPS} | {"run": folder / "run"}
    found |= {name: folder / name for name in ("cost", "calibrate")}
    return {name: path / "report.html" for name, path in found.items()}


@pytest.mark.parametrize("name", [*STEPS, "run", "cost", "calibrate"])
def test_a_report_is_read_at_every_width_in_light_and_dark(name: str, pages: dict[str, Path], opened: Browser) -> None:
    assert faults(opened, pages[name]) == []


def test_the_page_of_a_run_leads_to_the_pages_of_its_steps(pages: dict[str, Path], opened: Browser) -> None:
    context = opened.new_context()
    page = context.new_page()
    titles = []
    for step in STEPS:
        page.goto(pages["run"].as_uri())
        page.click(f"nav a[href='{step}/report.html']")
        assert page.url == pages[step].as_uri()
        titles.append(page.title())
    assert len(set(titles)) == len(STEPS)
    context.close()


def test_a_wide_table_scrolls_by_the_keyboard(pages: dict[str, Path], opened: Browser) -> None:
    context = opened.new_context(viewport={"width": 400, "height": 900})
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    page.focus(".scroll")
    for _ in range(50):  # it scrolls smoothly
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(100)
        if page.evaluate("document.querySelector('.scroll').scrollLeft") > 0:
            break
    else:
        pytest.fail("the table does not move")
    context.close()


WRONG = {
    "scrolls sideways": '<p style="width: 2000px">wide</p>',
    "faint: pale": '<p style="color: #bbb">pale</p>',
    "console: said": "<script>console.log('said')</script>",
    "error: thrown": "<script>throw new Error('thrown')</script>",
    "request of http://127.0.0.1:9/x.png": '<img src="http://127.0.0.1:9/x.png">',
    "small text in the plot 'tiny'": '<svg aria-label="tiny" viewBox="0 0 900 90" width="300"><text y="50" font-size="9">x</text></svg>',
    "out of the keyboard's reach: held": '<div class="held" style="overflow-x: auto; width: 9em"><p style="width: 99em">x</p></div>',
    "out of the keyboard's reach: #gone": '<a href="#gone">link</a>',
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_with_a_page_is_found(fault: str, tmp_path: Path, opened: Browser) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><html><body style='background: #fff'>{WRONG[fault]}</body></html>")
    found = faults(opened, page)
    assert any(fault in one for one in found), json.dumps(found)
