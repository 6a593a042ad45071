"""Drawings hold what was recorded, show themselves in notebooks and are written as files; objects show themselves in a line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.described import html_table
from hwloop.training import Epoch, Evaluation, FitResult


@pytest.fixture(scope="module")
def net() -> hl.Network:
    torch.manual_seed(1)
    made = hl.Network([hl.Dense(3, 4), hl.LIF(4, 10e-3, 5e-3), hl.Dense(4, 2), hl.LIF(2, 10e-3, 5e-3)])
    for layer in made.layers[::2]:
        layer.init_normal_(2.0, 1.0)  # type: ignore[operator]
    return made


def spikes() -> hl.Spikes:
    return hl.Spikes.from_events([([1e-3, 3e-3, 7e-3], [0, 1, 2]), ([2e-3], [1])], 3, 40e-3)


def drawn(axes: Any) -> list[tuple[float, int]]:
    """Times (ms) and units of the ticks of a raster."""
    x, y = axes.lines[0].get_data()
    return [(float(x[k]), round((y[k] + y[k + 1]) / 2)) for k in range(0, len(x), 3)]


def test_a_raster_has_a_tick_for_each_spike_of_the_sample() -> None:
    for sample in (0, 1):
        times, units = spikes().to_events()[sample]
        found = drawn(spikes().plot(sample).figure.axes[0])
        assert [unit for _, unit in found] == units.tolist()
        np.testing.assert_allclose([t for t, _ in found], 1e3 * times, rtol=1e-6)


def test_a_record_is_drawn_with_inputs_populations_and_membranes(net: hl.Network) -> None:
    record = net(spikes())
    traces = net.membranes(record, 0, [1, 2], sample=1)
    axes = record.plot(1, membranes=traces).figure.axes
    assert len(axes) == 4
    for panel, train in zip(axes, (record.inputs, *record.populations), strict=False):
        assert len(drawn(panel)) == int(train.counts[1])  # type: ignore[union-attr]
    curve = axes[3].lines[0].get_ydata()
    np.testing.assert_allclose(curve, traces.curve(0)[1].numpy())
    assert [text.get_text() for text in axes[3].get_legend().get_texts()] == ["neuron 1", "neuron 2"]


def test_a_measured_record_says_where_it_ran(net: hl.Network) -> None:
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        measured = chip.run(spikes())
    assert "population 0, emulator" in measured.plot()._repr_svg_()
    assert repr(measured).startswith("Recording(batch=2, spikes=0: ")
    assert "ran_on=emulator, device=emulator:7/bss2/" in repr(measured)
    assert (
        repr(program)
        == f"Program(target=emulator/bss2, neurons=4 -> 2, synapses=20, weights=6 bit, warnings=0, digest={program.digest[:12]})"
    )
    comparison = hl.compare(net(spikes()), measured, net=net, labels=[0, 1])
    assert repr(comparison).startswith("Comparison(samples=2, identical=False, missing=")
    assert "measured on=emulator emulator:7/bss2/" in repr(comparison)
    for shown in (measured, program, comparison, net, spikes(), net(spikes())):
        assert len(repr(shown).splitlines()) == 1
        assert f">{type(shown).__name__}</th>" in shown._repr_html_()  # type: ignore[attr-defined]


def test_results_of_training_say_how_good_it_became() -> None:
    found = Evaluation(0.875, 8, 1, 0.2)
    result = FitResult((Epoch(1, 1e-3, 0.5, 0.6, 0, found, 1.5),), 1, found)
    assert (
        repr(result)
        == "FitResult(epochs=1, best_epoch=1, validation accuracy=87.5 %, silent samples=1 of 8, seconds=1.5)"
    )
    assert '<td style="text-align:left">87.5 %</td>' in result._repr_html_()


def test_a_calibration_says_of_what_it_is() -> None:
    class Known(hl.Calibration):
        """With the fields that are shown alone."""

    calibration = Known.model_construct(
        device_id="emulator:7", ran_on="emulator", date="2026-01-01T00:00:00+00:00", neurons=[0, 1, 2],
        verdict=["good", "masked", "good"], codes={"v_th": [1, 2, 3]}, digest="abcdef" * 10,
    )  # fmt: skip
    assert repr(calibration).startswith(
        "Known(device=emulator:7, ran_on=emulator, date=2026-01-01T00:00:00+00:00, neurons=3"
    )
    assert "verdicts=2 good, 1 masked, trimmed=v_th, id=abcdef" in repr(calibration)


def test_text_of_others_is_escaped() -> None:
    assert "<script>" not in html_table("<script>", {"<script>": "<script>"})


def test_drawings_are_written_as_what_their_name_says(tmp_path: Path) -> None:
    drawing = spikes().plot()
    heads = {".svg": b"<svg", ".png": b"\x89PNG", ".pdf": b"%PDF"}
    for ending, head in heads.items():
        assert drawing.save(tmp_path / f"x{ending}").read_bytes().startswith(head)


def test_drawing_opens_no_window_and_needs_no_pyplot(tmp_path: Path) -> None:
    code = (
        "import sys, hwloop as hl; s = hl.Spikes.from_events([([1e-3], [0])], 1, 1e-2); "
        "print('matplotlib' in sys.modules); s.plot().svg(); print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split() == ["False", "False"]
