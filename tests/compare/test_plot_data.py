"""What is saved of a plot is what is drawn; and what stands in a page's sections and chapters."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest

from hwloop.compare.report import Figure, Folded, Report, Source, Table
from hwloop.drawing.plot_data import PlotData
from hwloop.errors import DataError

from .test_report import FIGURES, Page

Row = dict[str, str]
EMULATED = Source("emulator", "emulator:7", "3fa9c1d7e2b84a55")
#: Seconds of the units on an axis.
SECONDS = {"s": 1.0, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def read_back(figure: Figure) -> list[Row]:
    return list(csv.DictReader(io.StringIO(figure.data.csv())))


def numbers(rows: list[Row], column: str) -> np.ndarray[Any, Any]:
    return np.array([float(row[column]) if row[column] else np.nan for row in rows])


def panels(figure: Figure) -> list[Any]:
    assert figure.drawing is not None
    return [axes for axes in figure.drawing.figure.axes if axes.axison]


def marked(axes: Any, marker: str) -> Iterator[np.ndarray[Any, Any]]:
    return (line.get_xydata() for line in axes.get_lines() if line.get_marker() == marker)


def seconds_of(axes: Any) -> float:
    return SECONDS[axes.get_xlabel().partition("(")[2].partition(")")[0]]


@pytest.mark.parametrize("name", ["bars", "markers"])
def test_accuracies(name: str) -> None:
    figure = FIGURES[name]()
    (axes,) = panels(figure)
    rows = read_back(figure)
    dots = np.concatenate([points[:, 0] for points in marked(axes, "o")])
    assert numbers([r for r in rows if r["shown as"] == "dot"], "accuracy (%)").tolist() == dots.tolist()
    means = [r for r in rows if r["shown as"] == "mean"]
    assert all(any(line.get_xdata()[0] == m for line in axes.get_lines()) for m in numbers(means, "accuracy (%)"))
    references = [r for r in rows if r["shown as"] == "reference line"]
    lines = {line.get_label(): float(line.get_xdata()[0]) for line in axes.get_lines()}
    assert all(
        lines[f"{r['setting']} ({float(r['accuracy (%)']):.1f} %)"] == float(r["accuracy (%)"]) for r in references
    )
    assert len(references) == (name == "bars")


@pytest.mark.parametrize("name", ["curves", "mapping"])
def test_curves(name: str) -> None:
    figure = FIGURES[name]()
    rows = read_back(figure)
    drawn = {line.get_label(): line.get_xydata() for axes in panels(figure) for line in axes.get_lines()}
    curves = [column for column in rows[0] if column != "epoch"]
    assert len(curves) == (4 if name == "curves" else 2)
    for column in curves:
        points = drawn[column.removesuffix(" (%)")]
        assert column.endswith("(%)") == ("accuracy" in column)
        np.testing.assert_array_equal(numbers(rows, "epoch"), points[:, 0])
        np.testing.assert_array_equal(numbers(rows, column), points[:, 1])


@pytest.mark.parametrize("name", ["raster", "matched raster"])
def test_spikes(name: str) -> None:
    figure = FIGURES[name]()
    rows = read_back(figure)
    for axes in panels(figure):
        here = [r for r in rows if r["panel"] == axes.get_title(loc="left")]
        # a tick is a line from one edge of its row to the other; half of it above the middle, or below
        ticks = [line.get_xydata() for line in axes.get_lines() if line.get_linewidth() == 1.3]
        assert len(ticks) == (1 if here[0]["train"] == "input" else 2)
        factor = seconds_of(panels(figure)[-1])
        for train, points in zip(("simulated", "measured") if len(ticks) == 2 else ("input",), ticks, strict=True):
            said = [r for r in here if r["train"] == train]
            np.testing.assert_allclose(numbers(said, "time (s)"), factor * points[::3, 0])
            middle = np.rint(
                (points[::3, 1] + points[1::3, 1]) / 2 + {"simulated": 1e-3, "measured": -1e-3, "input": 0}[train]
            )
            np.testing.assert_array_equal(numbers(said, "unit"), middle)
        if len(ticks) == 2:
            rings = sum(len(points) for points in marked(axes, "o")) + sum(len(points) for points in marked(axes, "x"))
            partners = numbers(here, "time of the same spike in the other train (s)")
            assert np.isnan(partners).sum() == rings
            column = "time of the same spike in the other train (s)"
            pairs = {
                train: {(r["unit"], r["time (s)"], r[column]) for r in here if r["train"] == train and r[column]}
                for train in ("simulated", "measured")
            }
            assert pairs["measured"] == {(unit, other, time) for unit, time, other in pairs["simulated"]} != set()
            joined = next(line.get_xydata() for line in axes.get_lines() if line.get_linewidth() == 0.6)
            paired = [
                r for r in here if r["train"] == "simulated" and r["time of the same spike in the other train (s)"]
            ]
            np.testing.assert_allclose(
                numbers(paired, "time of the same spike in the other train (s)"), factor * joined[1::3, 0]
            )


@pytest.mark.parametrize("name", ["errors", "errors by pairs", "no errors"])
def test_spike_time_errors(name: str) -> None:
    figure = FIGURES[name]()
    rows = read_back(figure)
    for axes in panels(figure):
        here = [r for r in rows if r["layer"] == axes.get_title(loc="left").partition(":")[0]]
        bars = axes.patches
        if name == "errors":  # three panels of one name
            here = here[: len(bars)]
        np.testing.assert_array_equal(numbers(here, "spike pairs"), [bar.get_height() for bar in bars])
        edges = seconds_of(axes) * np.array([bar.get_x() for bar in bars])
        np.testing.assert_allclose(numbers(here, "error from (s)"), edges, atol=1e-15)


@pytest.mark.parametrize("name", ["one neuron", "undefined", "512 neurons", "4000 neurons"])
def test_maps(name: str) -> None:
    figure = FIGURES[name]()
    rows = read_back(figure)
    meshes = [mesh for axes in panels(figure) for mesh in axes.collections if axes.get_title(loc="left") in rows[0]]
    assert len(meshes) == len(rows[0]) - 1
    for label, mesh in zip(list(rows[0])[1:], meshes, strict=True):
        cells = np.ma.filled(mesh.get_array().astype(float), np.nan).ravel()[: len(rows)]
        np.testing.assert_array_equal(numbers(rows, label), cells)
    assert numbers(rows, "neuron").tolist() == list(range(len(rows)))


@pytest.mark.parametrize("name", ["confusion", "many classes"])
def test_decisions(name: str) -> None:
    figure = FIGURES[name]()
    rows = read_back(figure)
    (axes,) = panels(figure)
    np.testing.assert_array_equal(numbers(rows, "samples"), axes.images[0].get_array().ravel())
    assert {(r["row shows"], r["column shows"]) for r in rows} == {(axes.get_ylabel(), axes.get_xlabel())}
    assert [r["row"] == r["column"] for r in rows] == [r["samples"] == "1" for r in rows]


def test_floats_are_read_back_to_their_last_digit_and_nothing_as_nothing() -> None:
    data = PlotData(("name", "value (s)"), [('a, "b"\nc', 0.1 + 0.2), ("", None), ("n", float("nan")), ("k", 3)])
    rows = list(csv.reader(io.StringIO(data.csv())))
    assert rows[0] == ["name", "value (s)"]
    assert (rows[1][0], float(rows[1][1])) == ('a, "b"\nc', 0.1 + 0.2)
    assert [row[1] for row in rows[2:]] == ["", "", "3"]


# -- beside the page, and in it ------------------------------------------------------------------------


def two_plots() -> Report:
    table = Table("c", ["a"], [[1]], EMULATED)
    folded = Folded("more", "Deep.", [table], [FIGURES["confusion"]()])
    return Report("Two").add_section("First", "Text.", figures=[FIGURES["bars"]()], folded=folded)


def test_every_plot_is_written_beside_the_page_and_those_of_before_go(tmp_path: Path) -> None:
    folder = tmp_path / "plots"
    folder.mkdir()
    for name in ("07-accuracy.png", "notes.csv"):
        (folder / name).write_text("old")
    report = two_plots()
    report.write(tmp_path / "report.html", folder)
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [f"{stem}.{kind}" for stem in ("01-accuracy", "02-decisions") for kind in ("svg", "png", "csv")] + ["notes.csv"]
    )
    for stem, figure in report.plots():
        assert (folder / f"{stem}.csv").read_text() == figure.data.csv()
        assert (folder / f"{stem}.svg").read_text() == figure.svg
        assert (folder / f"{stem}.png").read_bytes().startswith(b"\x89PNG")
    page = Page((tmp_path / "report.html").read_text())
    links = [unquote(reference) for reference in page.references if reference.startswith("data:text/csv")]
    assert [link.partition(",")[2] for link in links] == [figure.data.csv() for _, figure in report.plots()]


def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "plots").write_text("a file")
    with pytest.raises(DataError, match="cannot write into .*; name another folder"):
        two_plots().write(tmp_path / "report.html", tmp_path / "plots")
    assert not (tmp_path / "report.html").exists()
    two_plots().write(tmp_path / "report.html", tmp_path / "another")
    assert (tmp_path / "report.html").exists()


def test_chapters_hold_other_pages_with_ids_headings_and_files_of_their_own() -> None:
    page = two_plots().html()
    whole = Report("Whole").add_section("In short", figures=[FIGURES["bars"]()])
    whole.add_chapter("Fine-tune", "One line.", "Open", page).add_chapter("Deploy", "", "Open", page)
    html = whole.html()
    parsed = Page(html)
    assert len(parsed.ids) == len(set(parsed.ids))
    assert {r[1:] for r in parsed.references if r.startswith("#")} <= set(parsed.ids)
    assert {part.split(")")[0] for part in html.split("url(#")[1:]} <= set(parsed.ids)
    assert (html.count("<h2>Fine-tune</h2>"), html.count("<h3>First</h3>"), html.count("<h1>")) == (1, 2, 1)
    for name in ("01-accuracy", "fine-tune-01-accuracy", "fine-tune-02-decisions", "deploy-02-decisions"):
        assert f'download="{name}.csv"' in html
        assert f'name="{name}" value="svg"' in html
    assert parsed.tags.count("script") == 1
    assert [stem for stem, _ in whole.plots()] == ["01-accuracy"]  # the others lie beside their own page


def test_a_page_that_no_report_wrote_is_no_chapter() -> None:
    with pytest.raises(DataError, match="no report of this version"):
        Report("Whole").add_chapter("Deploy", "", "Open", "<html><section>x</section></html>")
