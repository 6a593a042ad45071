"""Each extra of the package brings something that hwloop does with it; it is used, where it is installed."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.datasets import from_tonic
from hwloop.errors import InputError
from hwloop.training.epoch_logs import TensorBoardLog
from hwloop_calibration.yield_.study import _cluster

ROOT = Path(__file__).parents[2]
EXTRAS: dict[str, list[str]] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
#: Those of people who work on hwloop: `make` installs all three.
OURS = {"test", "lint", "docs"}


@dataclass
class Point:
    """What a training loop says of an epoch."""

    number: int
    loss: float


def events(*rows: tuple[int, int, int, int]) -> np.ndarray[Any, Any]:
    return np.array(list(rows), dtype=[("t", "i8"), ("x", "i8"), ("y", "i8"), ("p", "i8")])


def test_every_extra_is_used_below_and_is_known_to_the_constraints() -> None:
    tested = {name.removeprefix("test_extra_") for name in globals() if name.startswith("test_extra_")}
    assert tested == set(EXTRAS) - OURS
    pinned = {
        re.split(r"[=<>]", line)[0].lower()
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {re.split(r"[\[>=<; ]", need)[0].lower() for name, extra in EXTRAS.items() for need in extra}
    # triton is left free, and said so there; tonic is not part of the tested set
    assert wanted - pinned <= {"triton", "tonic"}


def test_what_works_on_hwloop_is_in_the_extras_that_make_installs() -> None:
    assert set(EXTRAS) >= OURS
    assert "EXTRAS := [test,lint,docs]" in (ROOT / "Makefile").read_text()


def test_extra_neo() -> None:
    pytest.importorskip("neo")
    spikes = hl.Spikes.from_events([([1e-3, 2e-3], [0, 1])], n_units=2, t_stop=5e-3)
    back = hl.Spikes.from_neo(spikes.to_neo())
    torch.testing.assert_close(back.times, spikes.times, check_dtype=False)  # Neo counts in float64
    assert torch.equal(back.units, spikes.units)


def test_extra_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    log = TensorBoardLog(tmp_path)
    log(Point(3, 0.5))
    assert [path.name.startswith("events.out.tfevents") for path in tmp_path.iterdir()] == [True]


def test_extra_dask() -> None:
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None, protocol="tcp"
        ) as cluster,
        _cluster(cluster.scheduler_address) as cores,
    ):
        assert cores == 2


def test_extra_tonic() -> None:
    tonic = pytest.importorskip("tonic")

    class Two(tonic.Dataset):  # type: ignore[misc, name-defined]  # untyped
        sensor_size = (4, 3, 2)

        def __init__(self) -> None:
            super().__init__("data")

        def __len__(self) -> int:
            return 2

        def __getitem__(self, index: int) -> tuple[Any, int]:
            return self.transform(events((5, 1, 0, 0), (2005, 1, 1, 1))) if self.transform else events(
                (5, 1, 0, 0)
            ), index

        def _check_exists(self) -> bool:
            return True

    found = from_tonic(Two(), t_stop=5e-3)
    assert found.inputs.n_units == 24
    assert found.labels.tolist() == [0, 1]


# -- from_tonic, whatever is installed ------------------------------------------------------------

PAIRS = [(events((100, 1, 0, 0), (1100, 3, 2, 1)), 4), (events((7, 0, 0, 1)), 2)]


def test_events_of_tonic_keep_time_pixel_polarity_and_label() -> None:
    found = from_tonic(PAIRS, t_stop=2e-3, sensor_size=(4, 3, 2))
    times, units = found.inputs.to_events()[0]
    np.testing.assert_allclose(times, [0.0, 1e-3], rtol=1e-6)  # counted from the sample's first event
    assert units.tolist() == [1, (1 * 3 + 2) * 4 + 3]
    assert found.labels.tolist() == [4, 2]
    assert from_tonic(PAIRS, 2e-3, samples=[1], sensor_size=(4, 3, 2)).labels.tolist() == [2]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"t_stop": 2e-3}, "sensor_size=\\(width, height, polarities\\)"),
        ({"t_stop": 2e-3, "sensor_size": (4, 3, 2), "samples": []}, "give the numbers"),
        ({"t_stop": 0.5e-3, "sensor_size": (4, 3, 2)}, "t_stop"),
        ({"t_stop": 2e-3, "sensor_size": (2, 3, 2)}, "sample 0"),
    ],
)  # fmt: skip
def test_what_would_be_lost_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        from_tonic(PAIRS, **options)
