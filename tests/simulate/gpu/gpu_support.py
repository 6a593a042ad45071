"""Where the GPU's kernels run in these tests: on a CUDA device, or in Triton's interpreter where ``TRITON_INTERPRET=1``."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from hwloop.simulate.gpu.place import interpreted

#: Whether Triton is installed; the extra ``test`` brings it.
TRITON = importlib.util.find_spec("triton") is not None

#: Whether the kernels can run in this process.
RUNS = TRITON and (interpreted() or torch.cuda.is_available())

#: For modules whose tests need the kernels. Without a GPU ``test_interpreted.py`` runs them in a process of its own.
needs_kernels = pytest.mark.skipif(not RUNS, reason="no GPU and no TRITON_INTERPRET=1: test_interpreted.py runs these")


def device() -> torch.device:
    """The device of these tests."""
    return torch.device("cpu" if interpreted() else "cuda")
