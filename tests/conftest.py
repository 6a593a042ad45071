"""Fixtures shared by all tests."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
import torch

from hwloop.errors import DataError
from hwloop.files import data_folder

from .pickle_guard import guard

_ROOT = Path(__file__).parents[1]
#: Whatever unpickles within the sources fails the run.
pytest_sessionfinish = guard([str(_ROOT / source) for source in ("hwloop", "backends", "calibration")])


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


@pytest.fixture(scope="session")
def nir_folder() -> Path:
    """Folder of the NIR graphs of the field; the test is skipped where there is none."""
    return _real("nir", "published/lif_norse.nir")


class Interruption:
    """Raises ``error`` when the ``index``-th line of the files named is about to run; counts the lines that did.

    ``with Interruption(["hwloop_emulator/"], 7): device.load(program)``: whatever line is the seventh, Ctrl-C comes there.
    """

    def __init__(self, files: Sequence[str], index: int | None = None, error: type[BaseException] = KeyboardInterrupt):
        self.files, self.index, self.error, self.lines = tuple(files), index, error, 0

    def __enter__(self) -> Interruption:
        self._before = sys.gettrace()
        sys.settrace(self._call)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _call(self, frame: FrameType, event: str, argument: object) -> Callable[..., object] | None:
        name = frame.f_code.co_filename.replace(os.sep, "/")
        return self._line if any(part in name for part in self.files) else None

    def _line(self, frame: FrameType, event: str, argument: object) -> Callable[..., object]:
        if event == "line":
            if self.lines == self.index:
                raise self.error("interrupted by the test")
            self.lines += 1
        return self._line


@pytest.fixture
def interruption() -> type[Interruption]:
    """See :class:`Interruption`."""
    return Interruption


@pytest.fixture(scope="session")
def spoken_digits_folder() -> Path:
    """Folder of the recordings of spoken digits; the test is skipped where there is none."""
    return _real("spoken_digits", "spoken_digits.npz")
