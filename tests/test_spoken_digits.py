"""Spoken digits: the filter bank against its equations, the reader against damage, the splits, and the real recordings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import signal

from hwloop import datasets
from hwloop.datasets.filter_bank import ORDER, FilterBank, mel_edges
from hwloop.datasets.recordings import Recordings, read_recordings
from hwloop.datasets.spoken_digits_task import split_of
from hwloop.errors import DataError, InputError
from hwloop.experiment import Experiment

from .remedies.data_files import RATE, members, written


def tone(hertz: float, duration: float = 0.5, amplitude: float = 0.5) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * hertz * np.arange(int(duration * RATE)) / RATE)


# -- the filter bank ------------------------------------------------------------------------------


def test_edges_are_equal_steps_apart_on_the_mel_scale() -> None:
    edges = mel_edges(100, 3800, 40)
    steps = np.diff(2595 * np.log10(1 + edges / 700))
    np.testing.assert_allclose(steps, steps[0], rtol=1e-12)
    np.testing.assert_allclose(edges[[0, -1]], [100, 3800], rtol=1e-12)


@pytest.mark.parametrize("hertz", [300.0, 1000.0, 2500.0])
def test_levels_of_a_tone_are_apart_by_the_gain_of_the_filters(hertz: float) -> None:
    bank = FilterBank(channels=12, span=60)
    levels = bank.levels(tone(hertz), RATE)[:, 300:]
    edges = mel_edges(bank.low, bank.high, bank.channels)
    gains = []
    for c in range(bank.channels):
        sections = signal.butter(ORDER, (edges[c], edges[c + 2]), "bandpass", fs=RATE, output="sos")
        gains.append(abs(signal.sosfreqz(sections, [hertz], fs=RATE)[1][0]))
    decibels = 20 * np.log10(np.array(gains) / max(gains))
    heard = decibels > -30
    assert heard.sum() >= 2
    # a rectified tone ripples with its frequency, which the smoothing of 10 ms leaves some hundredths of a level of
    found = bank.span * (levels.mean(1) - levels.mean(1).max())
    np.testing.assert_allclose(found[heard], decibels[heard], atol=0.3)


def test_the_loudest_band_fires_every_area_and_a_band_out_of_span_never() -> None:
    bank = FilterBank(area=20e-3, speedup=10)
    times, units = bank.encode([tone(1000.0)], RATE)[0]
    loudest = int(bank.levels(tone(1000.0), RATE).mean(1).argmax())
    intervals = np.diff(times[units == loudest])[5:]
    assert mel_edges(bank.low, bank.high, 40)[loudest] < 1000 < mel_edges(bank.low, bank.high, 40)[loudest + 2]
    # the level ripples below 1: an interval is 2 ms of the events' time, or a little more
    assert intervals.min() > 2e-3
    np.testing.assert_allclose(intervals, 2e-3, rtol=0.05)
    assert 0 not in units
    assert 39 not in units


def test_events_fall_where_the_integral_of_the_level_says() -> None:
    bank = FilterBank(channels=8)
    sound = np.random.default_rng(1).normal(size=4000) * np.hanning(4000)
    times, units = bank.encode([sound], RATE)[0]
    levels = bank.levels(sound, RATE)
    for channel in range(8):
        at = times[units == channel] * bank.speedup
        area = np.interp(
            at, np.arange(levels.shape[1] + 1) * 1e-3, np.concatenate([[0], np.cumsum(levels[channel]) * 1e-3])
        )
        np.testing.assert_allclose(area, bank.area * np.arange(1, len(at) + 1), rtol=1e-9)
        assert len(at) == int(levels[channel].sum() * 1e-3 / bank.area)


def test_loudness_does_not_count_and_silence_has_no_events() -> None:
    bank, sound = FilterBank(), np.random.default_rng(2).normal(size=3000)
    (times, units), (other, same), (none, _) = bank.encode([sound, 8 * sound, 0 * sound], RATE)
    assert np.array_equal(units, same)
    np.testing.assert_allclose(times, other, rtol=1e-9)
    assert len(times) > 50
    assert len(none) == 0


def test_a_recording_has_the_same_events_alone_and_among_others() -> None:
    generator = np.random.default_rng(3)
    sounds = [generator.normal(size=n) for n in (801, 3000, 2222, 160)]
    together = FilterBank().encode(sounds, RATE)
    for sound, (times, units) in zip(sounds, together, strict=True):
        alone = FilterBank().encode([sound], RATE)[0]
        assert np.array_equal(times, alone[0])
        assert np.array_equal(units, alone[1])


def test_a_later_start_shifts_all_events() -> None:
    bank, sound = FilterBank(), np.random.default_rng(4).normal(size=3000)
    (times, units), (later, same) = bank.encode([sound, np.concatenate([np.zeros(400), sound])], RATE)
    assert np.array_equal(units, same)
    np.testing.assert_allclose(later, times + 50e-3 / bank.speedup, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, r"channels = 0; allowed: "),
        ({"smoothing": 1e-3}, r"smoothing = 0.001; allowed: 0.008..1"),
        ({"span": float("nan")}, r"span = nan; allowed: 1..120"),
        ({"area": "much"}, r"area = 'much'; allowed: 0.001..10"),
        ({"low": 500.0, "high": 400.0}, r"low = 500 Hz, high = 400 Hz; allowed: low < high"),
    ],
)
def test_an_option_out_of_range_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        FilterBank(**options)


@pytest.mark.parametrize("audio", [np.zeros((2, 9)), np.zeros(0), np.array([1.0, np.inf]), np.array(["a"])])
def test_what_is_no_sound_is_refused(audio: np.ndarray) -> None:
    with pytest.raises(InputError, match="allowed: finite numbers"):
        FilterBank().levels(audio, RATE)


def test_bands_beyond_half_the_rate_are_refused() -> None:
    with pytest.raises(
        InputError, match="high = 3800 Hz, of recordings with 6000 samples a second; allowed: below 3000 Hz"
    ):
        FilterBank().encode([np.zeros(100)], 6000)


# -- the file and its splits ----------------------------------------------------------------------


def test_the_own_split_keeps_five_takes_for_the_test_and_five_for_validation(tmp_path: Path) -> None:
    found = read_recordings(written(tmp_path) / "spoken_digits.npz")
    train, validation, test = split_of(found)
    assert sorted([*train, *validation, *test]) == list(range(len(found)))
    assert set(found.take[test]) == set(range(5))
    assert set(found.take[validation]) == set(range(5, 10))
    assert set(found.take[train]) == {10, 11}


def test_a_speaker_who_is_held_out_is_neither_trained_nor_validated_on(tmp_path: Path) -> None:
    found = read_recordings(written(tmp_path) / "spoken_digits.npz")
    train, validation, test = split_of(found, "bob")
    assert sorted([*train, *validation, *test]) == list(range(len(found)))
    assert set(found.speaker[test]) == {"bob"}
    assert len(test) == 24
    assert set(found.take[validation]) == set(range(5, 10))
    assert set(found.take[train]) == {0, 1, 2, 3, 4, 10, 11}
    assert set(found.speaker[np.concatenate([train, validation])]) == {"ada", "cy"}


def test_the_task_holds_the_events_and_labels_of_each_part(tmp_path: Path) -> None:
    folder, bank = written(tmp_path), FilterBank(channels=6, area=1e-3)
    task = datasets.spoken_digits(folder, encoder=bank, t_stop=0.01, dtype=torch.float64)
    assert (task.name, task.n_in, task.n_out, task.t_stop) == ("spoken-digits", 6, 10, 0.01)
    assert tuple(map(len, (task.train, task.validation, task.test))) == (12, 30, 30)
    found = read_recordings(folder / "spoken_digits.npz")
    first = int(split_of(found)[2][3])
    times, units = bank.encode([found.sound(first)], RATE)[0]
    held = task.test.inputs[3]
    assert held.times.dtype == torch.float64
    assert np.array_equal(held.times[0].numpy(), times)
    assert np.array_equal(held.units[0].numpy(), units)
    assert int(task.test.labels[3]) == found.label[first]


def test_the_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    held = members()
    found = read_recordings(written(tmp_path) / "spoken_digits.npz")
    assert np.array_equal(found.sound(2), held["audio"][320:480])
    assert len(found) == 72
    assert found.rate == RATE


@pytest.mark.parametrize("who", ["eve", ""])
def test_a_speaker_who_is_not_there_is_refused_with_those_who_are(tmp_path: Path, who: str) -> None:
    with pytest.raises(InputError, match=f"held_out = '{who}'; allowed: one of ada, bob, cy"):
        datasets.spoken_digits(written(tmp_path), held_out=who)


def test_a_window_shorter_than_a_recording_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="t_stop = 0.001 s; allowed: >= 0.002 s"):
        datasets.spoken_digits(written(tmp_path), t_stop=1e-3)


def test_files_without_takes_to_train_on_are_refused(tmp_path: Path) -> None:
    few = members(takes=10)
    with pytest.raises(InputError, match="no recordings for training"):
        datasets.spoken_digits(written(tmp_path, **few))


def test_a_missing_file_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"no spoken_digits data: no file spoken_digits.npz in {tmp_path}"):
        datasets.spoken_digits(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"take": None}, "take is missing"),
        ({"audio": np.zeros(72 * 160)}, "audio is float64"),
        ({"audio": np.zeros(72 * 160, np.int32)}, "audio is int32"),
        ({"rate": np.int64(5)}, "rate is 5 samples a second; allowed: 4000..192000"),
        ({"start": np.arange(73) * 159}, "start is 72 recordings; allowed: rising from 0 to the samples of audio"),
        ({"start": np.zeros(73, np.int64)}, "start is 72 recordings"),
        ({"speaker": np.array(["ada"])}, "speaker is 1 values; allowed: one for each of 72 recordings"),
        ({"label": np.full(72, 10)}, "label is 10..10; allowed: 0..9"),
        ({"label": np.zeros((72, 1), int)}, "label is int64 of shape"),
        ({"more": np.zeros(3)}, "no archive"),
    ],
)
def test_a_damaged_file_is_named_with_what_is_wrong(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message) as caught:
        read_recordings(written(tmp_path, **changes) / "spoken_digits.npz")
    assert "Get the file again" in str(caught.value)


@pytest.mark.parametrize("damage", [lambda data: data[:-40], lambda data: b"RIFF" + data[4:], lambda data: b""])
def test_what_is_no_archive_is_refused(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    path = written(tmp_path) / "spoken_digits.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=r"no archive .*a file of recordings, .npz"):
        read_recordings(path)


def test_a_pickle_in_the_file_is_not_loaded(tmp_path: Path) -> None:
    held = {**members(), "speaker": np.array(["ada"] * 71 + [{}], object)}
    np.savez(tmp_path / "spoken_digits.npz", allow_pickle=True, **held)
    with pytest.raises(DataError, match="speaker"):
        read_recordings(tmp_path / "spoken_digits.npz")


# -- in an experiment -----------------------------------------------------------------------------


def experiment(**task: Any) -> Experiment:
    base = Experiment.load("yin-yang").to_dict()
    return Experiment.from_dict({**base, "task": {"name": "spoken-digits", **task}}, "test")


def test_an_experiment_builds_the_task_with_its_options(tmp_path: Path) -> None:
    made = experiment(data=str(written(tmp_path)), held_out="cy", channels=7, area=2e-3, speedup=5, t_stop=0.02)
    task = made.build_task()
    assert (task.name, task.n_in, task.t_stop) == ("spoken-digits-without-cy", 7, 0.02)
    assert made.build_network().n_in == 7
    bank = FilterBank(channels=7, area=2e-3, speedup=5)
    found = read_recordings(tmp_path / "spoken_digits.npz")
    assert np.array_equal(
        task.test.inputs.units[0, : int(task.test.inputs.counts[0])].numpy(),
        bank.encode([found.sound(int(split_of(found, "cy")[2][0]))], RATE)[0][1],
    )


def test_an_experiment_names_an_option_out_of_range() -> None:
    with pytest.raises(InputError, match="task.span = 200"):
        experiment(span=200)


# -- the real recordings --------------------------------------------------------------------------


def test_the_real_recordings_are_split_as_their_set_says(spoken_digits_folder: Path) -> None:
    found = read_recordings(spoken_digits_folder / "spoken_digits.npz")
    assert len(found) == 3000
    assert [len(part) for part in split_of(found)] == [2400, 300, 300]
    assert [len(part) for part in split_of(found, "theo")] == [2250, 250, 500]


def test_digits_can_be_told_apart_by_their_events(spoken_digits_folder: Path) -> None:
    """A linear least-squares read-out of event counts, trained on 800 recordings, is far above chance on other takes."""
    found = read_recordings(spoken_digits_folder / "spoken_digits.npz")
    train, validation, _ = split_of(found)
    chosen = np.concatenate([train[::3], validation[::3]])
    features = features_of(found, chosen)
    known = len(train[::3])
    wanted = np.eye(10)[found.label[chosen]]
    gram = features[:known].T @ features[:known] + 10 * np.eye(features.shape[1])
    readout = np.linalg.solve(gram, features[:known].T @ wanted[:known])
    correct = (features[known:] @ readout).argmax(1) == found.label[chosen[known:]]
    assert correct.mean() > 0.7


def features_of(found: Recordings, chosen: np.ndarray) -> np.ndarray:
    """Events of each unit in eight windows of 60 ms of the recording, and a one."""
    bank, rows = FilterBank(channels=20), []
    for times, units in bank.encode([found.sound(int(k)) for k in chosen], found.rate):
        counts = np.zeros((8, 20))
        np.add.at(counts, (np.minimum((times * bank.speedup / 60e-3).astype(int), 7), units), 1)
        rows.append(np.append(counts.reshape(-1), 1.0))
    return np.array(rows)
