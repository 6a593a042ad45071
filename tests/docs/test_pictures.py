"""Pictures show what was computed: the tool that draws them runs, and its curves and bars are right."""

from __future__ import annotations

import importlib.util
import re
from types import ModuleType

import numpy as np
import pytest

from .support import DOCS, ROOT


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_pictures", DOCS / "tools" / "draw_pictures.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_membrane_reaches_its_threshold_at_its_spikes_and_nowhere_else(tool: ModuleType) -> None:
    (ax,) = tool.neuron().axes
    times, membrane = (np.asarray(data, float) for data in ax.lines[0].get_data())
    spikes = np.asarray(ax.lines[2].get_xdata(), float)
    assert len(spikes) == 2
    assert membrane.max() < 1 + 1e-5
    # it falls at its spikes alone, from the threshold to 0; times are drawn in ms, spikes are float32
    falls = np.flatnonzero(np.diff(membrane) < -0.5)
    np.testing.assert_allclose(times[falls], spikes, atol=1e-5)
    np.testing.assert_allclose(membrane[falls], 1, atol=1e-5)
    np.testing.assert_array_equal(membrane[falls + 1], 0)


def test_bars_are_the_figures_of_the_demonstration(tool: ModuleType) -> None:
    rows = re.findall(r"^ emulator:.*$", (DOCS / "quickstart.md").read_text("utf-8"), re.MULTILINE)
    assert len(rows) == 3
    assert rows == re.findall(r"^ emulator:.*$", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE)
    wanted = [float(figure) for row in rows for figure in re.findall(r"([\d.]+) %", row)]
    bars = [bar.get_height() for bar in tool.demo().axes[0].patches]
    assert sorted(bars) == sorted(wanted)


def test_every_picture_is_written_as_text_and_the_same_again(tool: ModuleType, tmp_path) -> None:
    for folder in ("a", "b"):
        tool.main(["flow", "demo", "--out", str(tmp_path / folder)])
    for name in ("flow.svg", "demo.svg"):
        written = (tmp_path / "a" / name).read_bytes()
        assert written == (tmp_path / "b" / name).read_bytes()
        assert b"<text" in written
