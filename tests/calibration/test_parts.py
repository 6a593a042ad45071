from __future__ import annotations

import numpy as np
import pytest

import hwloop as hl
from hwloop.errors import CalibrationError
from hwloop_calibration.calibrate import spreads
from hwloop_calibration.characterise import measure as characterise
from hwloop_calibration.characterise.measure import CrowdedLinkError
from hwloop_calibration.document import parts

from .support import opened, preset, program_for


def test_chunks_are_ascending_disjoint_and_never_too_large() -> None:
    found = parts.chunks(np.arange(300)[::-1])
    assert [n for part in found for n in part] == list(range(300))
    assert max(map(len, found)) <= parts.CROWD
    assert len(found) == 3


def test_neurons_whose_events_overflow_the_link_are_calibrated_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """A FIFO of 8 events: 24 neurons that fire together lose spikes and are unlike the model, 6 at a time are not."""
    for module in (parts, characterise_module()):
        monkeypatch.setattr(module, "CROWD", 6)
    device = opened(preset(24, link_rate=5e6, link_fifo=8))
    program = program_for(device, t_ref=0.0)
    with pytest.raises(CrowdedLinkError, match="do not behave like the model.*Measure at most 6 at once"):
        characterise(device, program, neurons=range(24), synapses=False)
    stages: list[str] = []
    found = hl.calibrate(device, program, neurons="all", trim=False, synapses=False, repeats=8, on_stage=stages.append)
    assert any("overflow the device's link" in stage for stage in stages)
    assert found.neurons == list(range(24))
    assert len(found.mask) <= 3
    assert device.calibration is found
    assert found.effort.runs > 0


def test_parts_are_one_document_and_foreign_or_overlapping_ones_are_refused() -> None:
    device = opened(preset(12))
    program = program_for(device)
    first, second = (
        hl.calibrate(device, program, neurons=neurons, trim=False, synapses=False, repeats=4)
        for neurons in (range(4), range(4, 9))
    )
    whole = parts.merged([first, second], spreads)
    assert whole.neurons == list(range(9))
    assert whole.estimates["tau_mem"].value == first.estimates["tau_mem"].value + second.estimates["tau_mem"].value
    assert whole.effort.samples == first.effort.samples + second.effort.samples
    assert whole.id not in (first.id, second.id)
    with pytest.raises(CalibrationError, match="share neurons"):
        parts.merged([first, first], spreads)
    with pytest.raises(CalibrationError, match="parts of different device_id: 'other'"):
        parts.merged([first.model_copy(update={"device_id": "other"}), second], spreads)


def characterise_module() -> object:
    import sys

    return sys.modules["hwloop_calibration.characterise.measure"]
