"""Every report in a real browser, at three widths, light and dark; and the checks themselves on pages that are wrong."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib import image

from hwloop.experiment import STEPS

from ..cli_runs import TINY, done, file_of
from .looking import browser, faults

if TYPE_CHECKING:
    from playwright.sync_api import Browser

#: The chapters of a run's page are too many for the smallest network to matter.
TINY_WHOLE = TINY.changed(steps=list(STEPS), network={"hidden": [6]}, training={"epochs": 1}, finetune={"epochs": 1})


@pytest.fixture(scope="module")
def opened() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The reports of all commands on the smallest experiment."""
    folder = tmp_path_factory.mktemp("reports")
    done("run", file_of(folder, TINY_WHOLE), "--out", folder / "run")
    done("cost", folder / "run" / "train", "--target", "loihi", "--out", folder / "cost")
    found = {name: folder / "run" / name for name in STEPS} | {"run": folder / "run", "cost": folder / "cost"}
    return {name: path / "report.html" for name, path in found.items()}


@pytest.mark.parametrize("name", [*STEPS, "run", "cost"])
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


def test_a_plot_is_saved_as_svg_png_and_csv_without_a_request(pages: dict[str, Path], opened: Browser) -> None:
    context = opened.new_context(viewport={"width": 400, "height": 900}, color_scheme="dark", accept_downloads=True)
    page = context.new_page()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(pages["run"].as_uri())
    saved = {}
    chapter = page.locator("section", has=page.locator("h2", has_text="Compare")).first
    chapter.locator("> details > summary").click()
    for place, prefix in (
        (page.locator(".save").first, "01-accuracy"),
        (chapter.locator(".save").first, "compare-01-"),
    ):
        for button in place.locator("button, a").all():
            with page.expect_download() as download:
                button.click()
            name = download.value.suggested_filename
            assert name.startswith(prefix)
            saved[name] = download.value.path().read_bytes()
    context.close()
    assert all(url.startswith(("data:", "blob:")) or url == pages["run"].as_uri() for url in asked)
    assert [name.rpartition(".")[2] for name in saved] == ["svg", "png", "csv"] * 2
    assert saved["01-accuracy.csv"] == (pages["run"].parent / "plots" / "01-accuracy.csv").read_bytes()
    beside = pages["compare"].parent / "plots"
    (name,) = (name for name in saved if name.startswith("compare") and name.endswith("csv"))
    assert saved[name] == (beside / name.removeprefix("compare-")).read_bytes()
    size = drawn_size(saved["01-accuracy.svg"].decode())
    picture = saved["01-accuracy.png"]
    assert picture.startswith(b"\x89PNG")
    assert struct.unpack(">II", picture[16:24]) == tuple(int(2 * x) for x in size)
    pixels = np.asarray(image.imread(io.BytesIO(picture)))[..., :3]
    assert pixels[0, 0].tolist() == [1.0, 1.0, 1.0]  # on white, whatever the page
    colours = len(np.unique((255 * pixels).astype(int).reshape(-1, 3), axis=0))
    assert colours > 50  # and not only white


def drawn_size(svg: str) -> tuple[float, float]:
    """Width and height of the view box of a picture that stands alone."""
    root = ElementTree.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    return width, height


def test_without_scripts_the_data_can_still_be_saved_and_no_button_is_dead(
    pages: dict[str, Path], opened: Browser
) -> None:
    context = opened.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    save = page.locator(".save").first
    assert [button.is_visible() for button in save.locator("button").all()] == [False, False]
    with page.expect_download() as download:
        save.locator("a").click()
    assert download.value.path().read_bytes() == (pages["run"].parent / "plots" / "01-accuracy.csv").read_bytes()
    context.close()


def test_a_script_that_is_written_into_a_page_does_not_run(
    pages: dict[str, Path], opened: Browser, tmp_path: Path
) -> None:
    page_text = pages["train"].read_text()
    changed = tmp_path / "changed.html"
    changed.write_text(page_text.replace("</main>", "<script>document.title = 'run'</script></main>", 1))
    context = opened.new_context()
    page = context.new_page()
    page.goto(changed.as_uri())
    assert page.title() != "run"
    assert page.locator(".save button").first.is_visible()
    context.close()


def test_what_is_folded_is_printed(pages: dict[str, Path], opened: Browser) -> None:
    context = opened.new_context()
    page = context.new_page()
    page.goto(pages["run"].as_uri())
    assert page.locator("details:not([open])").count() > 5
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator("details:not([open])").count() == 0
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
    "does not open by the keyboard: stuck": '<details onkeydown="0"><summary tabindex="-1" style="display: block">stuck</summary>x</details>'
    "<script>document.querySelector('summary').addEventListener('keydown', e => e.preventDefault())</script>",
    "opened: scrolls sideways": '<details><summary>more</summary><p style="width: 2000px">wide</p></details>',
    "opened: faint: pale": '<details><summary>more</summary><p style="color: #bbb">pale</p></details>',
    "Tab reaches": '<button>one</button><a href="#x" id="x" tabindex="3">two</a>',
    "out of the keyboard's reach: #gone": '<a href="#gone">link</a>',
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_wrong_with_a_page_is_found(fault: str, tmp_path: Path, opened: Browser) -> None:
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><html><body style='background: #fff'>{WRONG[fault]}</body></html>")
    found = faults(opened, page)
    assert any(fault in one for one in found), json.dumps(found)
