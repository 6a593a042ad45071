"""Help, version and completion come at once: nothing heavy is imported for them."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

#: Imported by what computes or draws, never by what only answers.
HEAVY = ("torch", "numpy", "numba", "matplotlib", "h5py", "hwloop_calibration", "hwloop_emulator")

COMMANDS = (
    "demo", "train", "deploy", "compare", "finetune", "calibrate", "yield", "targets", "doctor", "bench", "conform", "cost",
    "calibrations", "calibrations list", "calibrations show", "calibrations diff", "calibrations export",
    "lava", "lava setup", "lava status",
)  # fmt: skip

#: Runs the command once for every line of its input and prints what is in sys.modules by then.
PROBE = f"""
import sys
from hwloop.cli import app
for line in sys.stdin.read().splitlines():
    try:
        app(line.split(), prog_name="hwloop")
    except SystemExit as stop:
        print("status", stop.code, line, [name for name in {HEAVY} if name in sys.modules])
"""


def _statuses(*lines: str, **variables: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE], input="\n".join(lines), capture_output=True, text=True, check=True,
        env={**os.environ, **variables}, timeout=60,
    )  # fmt: skip
    return [line for line in done.stdout.splitlines() if line.startswith("status")]


def test_version_and_every_help_import_nothing_heavy() -> None:
    lines = ["--version", "--help", *(f"{command} --help" for command in COMMANDS)]
    assert _statuses(*lines) == [f"status 0 {line} []" for line in lines]


def test_a_wrong_option_is_refused_without_importing_anything_heavy() -> None:
    assert _statuses("train --no-such-option", "trian") == [
        "status 2 train --no-such-option []",
        "status 2 trian []",
    ]


def test_completion_answers_without_importing_anything_heavy() -> None:
    code = PROBE.replace("sys.stdin.read().splitlines()", "['']").replace("stop.code, line", "'completed'")
    variables = {"_HWLOOP_COMPLETE": "complete_bash", "COMP_WORDS": "hwloop fin", "COMP_CWORD": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, **variables},
    )  # fmt: skip
    assert done.stdout.splitlines() == ["finetune", "status completed []"]


def test_importing_hwloop_imports_no_torch_until_a_name_is_used() -> None:
    code = f"import sys, hwloop; print([m for m in {HEAVY} if m in sys.modules]); hwloop.Spikes; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "True"]


@pytest.mark.parametrize(
    "first", ["import hwloop.compare.report", "from hwloop.compare import match", "import hwloop.command"]
)
def test_the_function_compare_is_not_lost_to_its_package(first: str) -> None:
    code = f"{first}\nimport hwloop as hl; from hwloop.compare import compare; print(hl.compare is compare, hl.losses.predict)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.startswith("True <function predict")
