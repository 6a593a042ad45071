"""Without a GPU, and without Triton, everything imports and says what it does not do."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]


def python(*arguments: str) -> str:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=True
    )
    return run.stdout


def test_importing_the_simulator_imports_no_triton() -> None:
    code = "import sys, hwloop.simulate, hwloop.training; print('triton' in sys.modules, 'hwloop.simulate.gpu.jit' in sys.modules)"
    assert python("-c", code).split() == ["False", "False"]


def test_the_benchmark_says_that_there_is_no_gpu() -> None:
    assert "no GPU here" in python("-m", "tests.benchmarks.gpu")
