from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from hwloop.compare import compare
from hwloop.errors import DataError, InputError
from hwloop.record import Record
from hwloop.spikes import Spikes

from .support import disturbed, pair, random_spikes, recording


def test_a_record_against_itself_is_identical() -> None:
    simulated, _ = pair()
    found = compare(simulated, simulated, labels=[0] * 6)
    assert found.identical
    assert found.divergences.earliest is None
    assert len(found.decisions.flipped) == 0
    for population in found.populations:
        summary = population.summary()
        assert summary["missing"] == summary["extra"] == summary["rmse"] == summary["van_rossum"] == 0
    assert "equal to the last digit" in found.to_text()
    assert found.provenance["ran_on"] == "simulator"


def test_figures_of_a_layer_are_those_of_its_spikes() -> None:
    simulated, measured = pair(batch=20)
    found = compare(simulated, measured, window=1.0, q=3.0)
    for k, population in enumerate(found.populations):
        summary = population.summary()
        assert summary["matched"] + summary["missing"] == summary["simulated_spikes"] == int(simulated[k].counts.sum())
        assert summary["matched"] + summary["extra"] == summary["measured_spikes"] == int(measured[k].counts.sum())
        assert population.rmse**2 == pytest.approx(np.mean(population.matching.errors**2))
        weights = population.neurons.matched / population.neurons.matched.sum()
        assert population.jitter**2 == pytest.approx(np.nansum(weights * population.neurons.jitter**2))


def test_victor_purpura_at_two_over_the_window_is_the_matching() -> None:
    simulated, measured = pair()
    shared, solved = compare(simulated, measured, window=1.0), compare(simulated, measured, window=1.0, q=2.0 + 1e-12)
    assert shared.settings.q == 2.0
    for a, b in zip(shared.populations, solved.populations, strict=True):
        assert a.victor_purpura == pytest.approx(b.victor_purpura, abs=1e-9)


def test_defaults_follow_the_time_scale() -> None:
    simulated, measured = pair()
    found = compare(simulated, measured).settings
    assert (found.tau, found.window, found.tolerance, found.q) == pytest.approx((1.0, 1.0, 0.05, 2.0))
    assert compare(simulated, measured, tau=0.5).settings.window == 0.5


def test_json_holds_every_figure_without_nan(tmp_path: Path) -> None:
    simulated, measured = pair()
    found = compare(simulated, measured, labels=[0, 1, 2, 0, 1, 2])
    found.to_json(tmp_path / "c.json")
    document = json.loads((tmp_path / "c.json").read_text(), parse_constant=pytest.fail)
    assert (document["format"], document["version"]) == ("hwloop.comparison", 1)
    assert document["provenance"]["device_id"] == "emulator:7"
    assert len(document["populations"][0]["per_neuron"]["bias"]) == 9
    assert document["first_divergence"]["summary"] == found.divergences.summary()
    assert document["decisions"]["flipped"] == len(found.decisions.flipped)
    plain = {k: v for k, v in document.items() if k not in ("format", "version")}
    assert plain == json.loads(json.dumps(found.to_dict()))


@pytest.mark.parametrize("width", [60, 80, 140])
def test_text_keeps_within_its_width(width: int) -> None:
    simulated, measured = pair()
    text = compare(simulated, measured, labels=[0] * 6).to_text(width)
    assert max(len(line) for line in text.splitlines()) <= width
    assert "First divergence: sample" in text
    assert "\x1b[" not in text


def test_colours_are_for_terminals_that_ask() -> None:
    assert "\x1b[" in compare(*pair()).to_text(100, color=True)


def test_silence_on_either_side_is_legal(tmp_path: Path) -> None:
    quiet = Spikes.from_events([([], [])] * 3, 2, 1.0)
    busy = random_spikes(0, 3, 2, 2.0, t_stop=1.0)
    for a, b in ((quiet, quiet), (quiet, busy), (busy, quiet)):
        found = compare(Record((a,)), recording((b,)), labels=[0, 1, 0])
        assert found.populations[0].bias is None
        assert json.dumps(found.to_dict(), allow_nan=False)
        assert found.to_text()
        found.to_html(tmp_path / "r.html")


def test_hundreds_of_neurons_and_a_thousand_samples_are_compared() -> None:
    simulated = random_spikes(0, 1000, 512, 3.0)
    measured = disturbed(simulated, 1, 0.05, 0.01, 0.01)
    found = compare(Record((simulated,)), recording((measured,)))
    assert found.populations[0].rmse == pytest.approx(0.05, rel=0.5)


def test_long_trains_are_matched_in_pieces() -> None:
    times = np.arange(1, 20001) * 1e-3
    a = Spikes.from_events([(times, np.zeros(20000, int))], 1, 30.0)
    b = Spikes.from_events([(times + 1e-4, np.zeros(20000, int))], 1, 30.0)
    assert compare(Record((a,)), recording((b,)), window=5e-4).populations[0].bias == pytest.approx(1e-4, rel=0.02)


def test_records_that_do_not_belong_together_are_refused_naming_both() -> None:
    simulated, measured = pair()
    with pytest.raises(InputError, match="simulated has 2 populations, measured has 1"):
        compare(simulated, recording(measured.populations[:1]))
    other = (*measured.populations[:1], random_spikes(0, 6, 5, 1.0))
    with pytest.raises(InputError, match="layer 1: simulated has 3 units, measured has 5"):
        compare(simulated, recording(other))
    with pytest.raises(InputError, match="input: simulated has 4 units, measured has 2"):
        compare(simulated, recording(measured.populations, random_spikes(0, 6, 2, 1.0)))


@pytest.mark.parametrize(("name", "value"), [("window", 0.0), ("tau", -1.0), ("tolerance", -1e-3), ("q", math.inf)])
def test_settings_out_of_range_are_refused(name: str, value: float) -> None:
    with pytest.raises(InputError, match=name):
        compare(*pair(), **{name: value})


def test_a_terminal_too_narrow_is_refused() -> None:
    with pytest.raises(InputError, match="width = 20 columns; allowed: >= 60"):
        compare(*pair()).to_text(20)


def test_a_missing_folder_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        compare(*pair()).to_html(tmp_path / "none" / "r.html")
    assert list(tmp_path.iterdir()) == []


def test_a_comparison_keeps_what_it_compared_whatever_becomes_of_the_records() -> None:
    spikes = Spikes.from_events([([0.1, 0.4], [0, 1])], 2, 1.0)
    records = [Record((Spikes.from_events([([0.2, 0.5], [0, 1])], 2, 1.0),), inputs=spikes) for _ in range(2)]
    comparison = compare(*records)
    document = comparison.to_dict()
    for record in records:
        record.output.times.zero_()
    spikes.times.zero_()
    assert comparison.to_dict() == document
    for kept in (comparison.simulated, comparison.measured):
        assert kept.output.times.tolist() == [[pytest.approx(0.2), 0.5]]
        assert kept.inputs is not None
        assert kept.inputs.times.tolist() == [[pytest.approx(0.1), pytest.approx(0.4)]]
