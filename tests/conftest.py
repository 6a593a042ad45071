"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from hwloop.errors import DataError
from hwloop.files import data_folder


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> Iterator[None]:
    """Tests that interrupt need Ctrl-C to do something, also where a shell started them in its background, ignoring it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(autouse=True)
def _seeded() -> None:
    """Weights that a test leaves to chance are the same whichever tests ran before it."""
    torch.manual_seed(0)
    np.random.seed(0)


def _real(name: str, pattern: str) -> Path:
    try:
        return data_folder(None, name, pattern)
    except DataError as error:
        if os.environ.get("CI"):
            raise  # there the data have to be
        pytest.skip(f"needs real data that the project does not ship: {error}")


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """Folder of the real MNIST files; the test is skipped where there is none."""
    return _real("mnist", "t10k-images-idx3-ubyte*")


@pytest.fixture(scope="session")
def yin_yang_folder() -> Path:
    """Folder of the published Yin-Yang files; the test is skipped where there is none."""
    return _real("yin_yang", "test_samples.npy")
