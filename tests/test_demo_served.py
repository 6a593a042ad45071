"""The demonstration against a served chip: the report of the same chip in process, every figure, row and point of its pictures."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import hwloop as hl
from hwloop.demo import DemoResult, run_demo
from hwloop.demo_report import demo_report
from hwloop.device.registry import Emulating, find
from hwloop.device.trim import Trimmable
from hwloop.experiment import Experiment
from hwloop.results import read_summary
from hwloop_serial.board.server import Serving

TINY = Experiment.load(Path(__file__).with_name("tiny.toml")).changed(
    network={"hidden": [8]}, training={"epochs": 2}, finetune={"epochs": 1, "lr": 0.01}
)
CHIP = "emulator:1"


def of_target(name: str) -> Experiment:
    return Experiment.from_dict({**TINY.to_dict(), "target": {"name": name}}, "tiny")


def shown(page: str, name: str) -> list[str]:
    """What a report shows: without the name of the target, how long it took, and ids of clip paths, drawn by chance."""
    device = re.compile(rf"{CHIP}(/[a-z0-9]+(?:/[0-9a-f]{{8}})?)")
    page = device.sub(r"DEVICE\1", page).replace(name, "TARGET").replace(quote(name), "TARGET")
    page = re.sub(r"-p[0-9a-f]{10}", "-ID", page)
    return re.sub(r"\b\d+ s(?=</(dd|td)>)", "SECONDS", page).replace(">", ">\n").splitlines()


def done(name: str) -> DemoResult:
    return run_demo(of_target(name), (name,), runs=2, jobs=1, progress=False)


def test_the_report_over_a_line_is_that_in_process() -> None:
    expected = done(CHIP)
    with Serving(find(CHIP), "tcp://127.0.0.1:0") as url:
        found = done(f"serial:{url}")
    assert "as is, no mismatch" in [result.network for result in found.results]
    assert found.results == expected.results
    assert shown(demo_report(found).html(), f"serial:{url}") == shown(demo_report(expected).html(), CHIP)


def test_trimmed_parameters_are_in_the_order_of_the_chip() -> None:
    """It is the order in which a calibration is written, and each write lands with an error of its own."""
    with Serving(find(CHIP), "tcp://127.0.0.1:0") as url, hl.open(CHIP) as chip, hl.open(f"serial:{url}") as board:
        assert isinstance(chip, Trimmable)
        assert isinstance(board, Trimmable)
        assert list(board.trim_ranges) == list(chip.trim_ranges) != sorted(chip.trim_ranges)


@pytest.mark.parametrize(
    "options", [{}, {"spread": 0.1}, {"trial_noise": False}, {"mismatch": False, "preset": "bss2"}]
)
def test_a_served_chip_is_known_without_its_mismatch(options: dict[str, Any]) -> None:
    chip = find(CHIP, **options)
    assert isinstance(chip, Emulating)
    with Serving(chip, "tcp://127.0.0.1:0") as url:
        served = find(f"serial:{url}")
        assert isinstance(served, Emulating)
        ideal, expected = served.without_mismatch(), chip.without_mismatch()
    assert ideal is not None
    assert expected is not None
    assert ideal.capabilities == expected.capabilities
    assert ideal.device_id == expected.device_id  # type: ignore[attr-defined]


def test_a_chip_of_a_preset_that_the_host_has_not_is_not_guessed_at(tmp_path: Path) -> None:
    import hwloop_emulator

    text = (Path(hwloop_emulator.__file__).parent / "presets" / "bss2.toml").read_text()
    (tmp_path / "own.toml").write_text(text)
    for chip in (find(CHIP, preset=str(tmp_path / "own.toml")), find(CHIP, clock=5.0), find("loihi")):
        with Serving(chip, "tcp://127.0.0.1:0") as url:
            served = find(f"serial:{url}")
            assert isinstance(served, Emulating)
            assert served.without_mismatch() is None


# -- the command, in full -------------------------------------------------------------------------


def command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "hwloop", *arguments], stdout=subprocess.PIPE, text=True)


def summary(folder: Path, name: str) -> dict[str, Any]:
    """Without what differs: the name of the target, and times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(one) for key, one in value.items() if key not in ("seconds", "started", "finished")}
        if isinstance(value, list):
            return [timeless(one) for one in value]
        return "TARGET" if value == name else value

    found: dict[str, Any] = timeless(read_summary(folder))
    for name_of_the_target in ("experiment", "command"):
        found.pop(name_of_the_target)
    return found


@pytest.mark.slow
def test_the_whole_demonstration_over_a_line_is_that_in_process(tmp_path: Path) -> None:
    with command("demo", "--target", CHIP, "--out", str(tmp_path / "here")) as here:
        assert here.wait(1800) == 0
    with command("serve", "--target", CHIP, "--port", f"pty:{tmp_path / 'board'}") as board:
        try:
            assert board.stdout is not None
            name = board.stdout.readline().strip()
            with command("demo", "--target", name, "--out", str(tmp_path / "there")) as there:
                assert there.wait(1800) == 0
        finally:
            board.kill()
    pages = [shown((tmp_path / f / "report.html").read_text(), t) for f, t in (("here", CHIP), ("there", name))]
    assert pages[0] == pages[1]
    assert summary(tmp_path / "there", name) == summary(tmp_path / "here", CHIP)
