from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from hwloop.compare import compare
from hwloop.compare.report import (
    AccuracyRow,
    ErrorSet,
    Figure,
    MapPanel,
    Matrix,
    Report,
    Source,
    Table,
    accuracy_bars,
    confusion,
    error_histogram,
    neuron_map,
    raster,
    training_curves,
)
from hwloop.errors import InputError
from hwloop.training import Epoch, Evaluation

from .support import pair

EMULATED = Source("emulator", "emulator:7", "3fa9c1d7e2b84a55")
HOSTILE = "<script>alert('x')</script> & $x_1$"


class Page(HTMLParser):
    """Collects tags, ids, references and text of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("href", "src", "xlink:href"):
                self.references.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    path = tmp_path_factory.mktemp("report") / "r.html"
    compare(*pair(batch=12), labels=[0, 1, 2] * 4).to_html(path)
    html = path.read_text()
    return html, Page(html)


def test_the_page_refers_to_nothing_outside(page: tuple[str, Page]) -> None:
    html, parsed = page
    assert not {"link", "iframe", "object"} & set(parsed.tags)
    assert all(r.startswith(("#", "data:")) for r in parsed.references)
    without_names = html.replace("http://www.w3.org/2000/svg", "").replace("http://www.w3.org/1999/xlink", "")
    assert "http" not in without_names.replace("http-equiv", "")
    assert "@import" not in html


def test_the_page_s_policy_lets_its_own_script_run_and_no_other(page: tuple[str, Page]) -> None:
    html, parsed = page
    assert parsed.tags.count("script") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; script-src 'sha256-{digest}';" in html
    assert not re.search(r" on[a-z]+=", html)


def test_ids_of_all_figures_differ_and_every_reference_resolves(page: tuple[str, Page]) -> None:
    html, parsed = page
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {r[1:] for r in parsed.references if r.startswith("#")} <= set(parsed.ids)
    used = {part.split(")")[0] for part in html.split("url(#")[1:]}
    assert used <= set(parsed.ids)


def test_every_figure_and_table_says_where_it_ran(page: tuple[str, Page]) -> None:
    html, parsed = page
    assert parsed.tags.count("figure") == html.count('class="source"') > 6
    assert html.count(">Ran on: simulator; emulator, emulator:7<") == parsed.tags.count("figure")


def test_digests_stand_under_provenance_alone(page: tuple[str, Page]) -> None:
    html, _ = page
    before, heading, after = html.partition("<h2>Provenance</h2>")
    assert heading
    assert "3fa9c1d7e2b84a55" not in before
    assert "<td>emulator:7</td><td>3fa9c1d7e2b84a55</td>" in after
    digest = Source("emulator", "emulator:7/bss2/9364d0b8", "3fa9c1d7e2b84a55")
    figure = accuracy_bars([AccuracyRow("a", [0.5], "emulator")], digest)
    html = Report("t", provenance={"firmware": "1.0"}).add_section("s", figures=[figure]).html()
    before, _, after = html.partition("<h2>Provenance</h2>")
    assert "Ran on: emulator, emulator:7/bss2<" in before
    assert "9364d0b8" not in before
    assert "emulator:7/bss2/9364d0b8" in after
    assert "<td>firmware</td>" in after
    assert "Provenance" not in Report("t").add_section("s", "Nothing ran.").html()


def test_axes_carry_units(page: tuple[str, Page]) -> None:
    for label in ("time in sample", "measured - simulated spike time (", "spike pairs", "bias (", "RMSE (", "decision"):
        assert label in page[1].text


def test_all_text_is_escaped() -> None:
    table = Table(HOSTILE, [HOSTILE], [[HOSTILE]], Source("emulator", HOSTILE))
    bars = accuracy_bars(
        [AccuracyRow(HOSTILE, [0.5], "emulator")], EMULATED, references={HOSTILE: 0.9}, caption=HOSTILE
    )
    html = Report(HOSTILE, HOSTILE, {HOSTILE: HOSTILE}, HOSTILE).add_section(HOSTILE, HOSTILE, [table], [bars]).html()
    assert html.count("<script") == Page(html).tags.count("script") == 1
    assert html.count("$x_1$") >= 12  # a dollar is a dollar, also in a figure


def test_tables_print_numbers_flush_right_and_undefined_as_a_dash() -> None:
    table = Table(
        "c",
        ["name", "value", "time"],
        [["a", 1.23456, "3.2 ms"], ["b", None, "12 µs"], ["c", float("nan"), "-"]],
        EMULATED,
    )
    assert table.cells == [["a", "1.235", "3.2 ms"], ["b", "-", "12 µs"], ["c", "-", "-"]]
    assert table.numeric == [False, True, True]
    assert Table("c", ["a"], [], EMULATED).numeric == [False]


def test_many_devices_are_named_in_one_line() -> None:
    sources = [Source("simulator"), *(Source("emulator", f"emulator:{k}", "abc") for k in range(6))]
    figure = Figure("", "", sources)
    assert figure.source_line == "Ran on: simulator; emulator, emulator:0, emulator:1, emulator:2, emulator:3, 2 more"


def epochs(n: int) -> list[Epoch]:
    return [Epoch(k + 1, 1e-3, 1 / (k + 1), 0.5, 0, Evaluation(0.6, 10, 0, None if k else 0.4), 0.1) for k in range(n)]


FIGURES = {
    "bars": lambda: accuracy_bars([AccuracyRow("a", [0.4, 0.6], "hardware")], EMULATED, references={"ceiling": 0.95}),
    "markers": lambda: accuracy_bars([AccuracyRow("a", [0.94], "simulator")], EMULATED, lower=0.9),
    "curves": lambda: training_curves(epochs(3), EMULATED, best=2),
    "mapping": lambda: training_curves({"loss": [1.0, 0.5], "floored": [0.1, float("nan")]}, EMULATED),
    "raster": lambda: raster(*pair(), 0, 1.0),
    "matched raster": lambda: raster(*pair(), 3, 1.0, matchings=[p.matching for p in compare(*pair()).populations]),
    "errors": lambda: error_histogram([ErrorSet("l", np.linspace(-1, 1, 99) * 1e-6)] * 3, EMULATED),
    "errors by pairs": lambda: error_histogram(
        [ErrorSet("a", np.linspace(-1, 1, 9)), ErrorSet("b", np.linspace(-3, 3, 9)), ErrorSet("c", np.zeros(2))],
        EMULATED,
        pairs_alike=True,
    ),
    "no errors": lambda: error_histogram([ErrorSet("l", np.zeros(0)), ErrorSet("m", np.zeros(4))], EMULATED),
    "one neuron": lambda: neuron_map([MapPanel("x", np.ones(1))], EMULATED),
    "undefined": lambda: neuron_map([MapPanel("x", np.full(9, np.nan), True)], EMULATED),
    "512 neurons": lambda: neuron_map([MapPanel("x", np.arange(512.0)), MapPanel("y", np.zeros(512))], EMULATED),
    "4000 neurons": lambda: neuron_map([MapPanel("x", np.arange(4000.0))], EMULATED),
    "confusion": lambda: confusion(
        [Matrix("t", np.eye(3, dtype=np.int64), "label", "decision", ["0", "1", "none"])], EMULATED
    ),
    "many classes": lambda: confusion(
        [Matrix("t", np.eye(50, dtype=np.int64), "l", "d", [str(k) for k in range(50)])], EMULATED
    ),
}


@pytest.mark.parametrize("name", FIGURES)
def test_each_figure_is_one_svg_element_and_always_the_same(name: str) -> None:
    figure = FIGURES[name]()
    assert figure.svg.startswith("<svg ")
    assert figure.svg.endswith("</svg>")
    assert "<metadata" not in figure.svg
    assert figure.caption
    assert figure.svg == FIGURES[name]().svg


def test_panels_of_a_pair_share_their_axes() -> None:
    sets = [ErrorSet("before", np.linspace(-3, 3, 90)), ErrorSet("after", np.linspace(-1, 1, 40))]

    def labels(**options: bool) -> int:
        return error_histogram(sets, EMULATED, **options).svg.count("−3")

    assert labels(pairs_alike=True) == 2 * labels(pairs_alike=False) > 0


def test_curves_of_a_history_show_both_sets_in_per_cent() -> None:
    svg = training_curves(epochs(5), EMULATED, best=3).svg
    for text in ("training loss", "validation accuracy", "accuracy (%)", "kept: epoch 3", "epoch"):
        assert f">{text}<" in svg


def test_figures_without_data_are_refused() -> None:
    refusals = (
        (lambda: accuracy_bars([], EMULATED), "no rows"),
        (lambda: accuracy_bars([AccuracyRow("as is", [46.4], "emulator")], EMULATED), r"row 'as is': values \[46.4\]"),
        (lambda: accuracy_bars([AccuracyRow("a", [0.4], "emulator")], EMULATED, lower=90), "lower = 90"),
        (lambda: training_curves({}, EMULATED), "empty history"),
        (lambda: error_histogram([], EMULATED), "no layers"),
        (lambda: neuron_map([MapPanel("x", np.ones(3)), MapPanel("y", np.ones(4))], EMULATED), r"\[3, 4\] neurons"),
        (lambda: confusion([], EMULATED), "no matrices"),
        (lambda: raster(*pair(), 99, 1.0), r"sample = 99; allowed: 0..5"),
    )
    for make, message in refusals:
        with pytest.raises(InputError, match=message):
            make()


def test_a_comparison_writes_its_plots_where_it_is_told(tmp_path: Path) -> None:
    compare(*pair(batch=3)).to_html(tmp_path / "r.html", plots=tmp_path / "plots")
    assert {path.suffix for path in (tmp_path / "plots").iterdir()} == {".svg", ".png", ".csv"}


def test_a_sample_that_does_not_exist_is_refused_and_nothing_written(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"sample = 6; allowed: 0..5"):
        compare(*pair()).to_html(tmp_path / "r.html", sample=6)
    assert list(tmp_path.iterdir()) == []


def test_importing_the_comparison_loads_no_plotting_library() -> None:
    code = "import sys, hwloop.compare, hwloop.compare.report; sys.exit(any(m in sys.modules for m in ('matplotlib', 'jinja2')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
