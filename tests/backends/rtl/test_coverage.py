"""The tests of the core reach its lines."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from . import test_core
from .built import built
from .coverage import reached, report, share
from .networks_compared import compare


@pytest.mark.slow
def test_the_tests_reach_at_least_95_percent_of_the_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HWLOOP_RTL_COVERAGE", str(tmp_path))
    for dsp in (1, 0):
        compare(built(coverage=True, dsp=dsp), range(dsp, 200, 8 if dsp else 40))
    for name, test in inspect.getmembers(test_core, inspect.isfunction):
        if name.startswith("test_") and list(inspect.signature(test).parameters) == ["program"]:
            test(built(coverage=True))
    counts = reached(tmp_path.glob("*.dat"))
    assert share(counts, "line") >= 0.95, report(counts)
    assert share(counts, "branch") >= 0.95, report(counts)
