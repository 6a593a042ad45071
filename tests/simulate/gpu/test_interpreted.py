"""Without a GPU the tests of its kernels run in Triton's interpreter, which has to be asked for before kernels are made."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hwloop.simulate.gpu.place import interpreted

from .gpu_support import TRITON

HERE = Path(__file__).parent
PARITY, AUTOGRAD = "test_gpu_parity.py", "test_gpu_autograd.py"

pytestmark = [
    pytest.mark.skipif(interpreted() or torch.cuda.is_available(), reason="the kernels' own tests run in this process"),
    pytest.mark.skipif(not TRITON, reason="Triton is not installed (extra test; Linux)"),
]


@pytest.mark.parametrize(
    ("file", "marks"),
    [(PARITY, "not slow"), (AUTOGRAD, "not slow"), pytest.param(PARITY, "slow", marks=pytest.mark.slow)],
)
def test_the_kernels_pass_their_tests_in_the_interpreter(file: str, marks: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks, str(HERE / file)],
        env={**os.environ, "TRITON_INTERPRET": "1"}, capture_output=True, text=True, timeout=1800, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout[-4000:] + run.stderr[-1000:]
    assert re.search(r"\d+ passed", run.stdout)
    assert "skipped" not in run.stdout.splitlines()[-1]
