"""The page of the benchmark is drawn without a warning, also where a peer is missing."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hwloop.bench.bench_page import page
from hwloop.bench.exactness import Exactness
from hwloop.bench.growth import AXES, Point
from hwloop.bench.peers.base import Description
from hwloop.bench.results import Row

from ..browser.looking import browser, faults


def test_a_page_of_all_parts_is_written(tmp_path: Path) -> None:
    what = Description("1", "float32", "exact", None, 1)
    rows = [
        Row("YY", "hwloop", what, ratios=(1.0,), samples_per_second=3.0),
        Row("YY", "norse", reason="not installed", goal=40),
        Row("YY", "cumsum", what, ratios=(3.0, 4.0), goal=4, samples_per_second=1.0),
    ]
    exact = [Exactness("hwloop", "float32", "exact", None, 0, 0, 299, 1e-6), Exactness("norse", remark="not installed")]
    points = [Point(a, v, "hwloop", 1e-4 * v, (1.0,)) for a, values in AXES.items() for v in values]
    points += [Point(a, v, "norse", None, reason="not installed") for a, values in AXES.items() for v in values]
    report = page([("YY", rows)], exact, points, {"threads": 1})
    report.write(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert text.count("<svg") == 2
    assert "mathdefault" not in text
    assert "not run: not installed" in text
    with browser() as opened:
        assert faults(opened, tmp_path / "report.html") == []
    speed, growth = (list(csv.DictReader(io.StringIO(figure.data.csv()))) for _, figure in report.plots())
    assert [(row["workload"], row["peer"], float(row["median"])) for row in speed] == [("YY", "cumsum", 3.5)]
    drawn = []
    for stem, figure in report.plots():
        assert figure.drawing is not None
        if stem == "02-growth":
            drawn = [xy for axes in figure.drawing.figure.axes for line in axes.get_lines() for xy in line.get_xydata()]
    assert [(float(row["to"]), float(row["CPU time a sample (s)"])) for row in growth] == [tuple(xy) for xy in drawn]
