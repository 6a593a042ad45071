"""The private environment of lava-nc, built by the first test that needs it; nothing here is ever skipped for want of it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from hwloop_lava import Environment, ensure
from hwloop_lava.worker_process import Worker


@pytest.fixture(scope="session")
def environment() -> Environment:
    return ensure()


@pytest.fixture(scope="module")
def worker(environment: Environment) -> Iterator[Worker]:
    started = Worker(environment.interpreter)
    yield started
    started.stop()
