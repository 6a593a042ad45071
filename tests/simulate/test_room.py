"""Room for spikes: remembered, bounded, and without effect on a result."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from hwloop.errors import InputError
from hwloop.neurons import PARAMETERS
from hwloop.simulate import Options, cpu, layer_call, room
from hwloop.simulate.contract import Trace
from hwloop.spikes import Spikes

from .support import Case, random_case

N_IN, N = 3, 40


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_needed", {})
    monkeypatch.setattr(room, "_kept", room._Kept())


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Samples and room of every pass over a layer, as they happen."""
    seen: list[tuple[int, int]] = []
    run = cpu._forward

    def watched(layer: Any, inputs: Any, t_stop: float, measured: Any, size: int) -> Trace:
        seen.append((len(inputs.counts), size))
        return run(layer, inputs, t_stop, measured, size)

    monkeypatch.setattr(cpu, "_forward", watched)
    return seen


def busy(strength: float = 12.0, batch: int = 6, **changes: Any) -> Case:
    case = random_case(5, "ratio 2", batch=batch, n_in=N_IN, n_out=N, n_events=20, strength=strength)
    return case.with_(**changes)


def forward(case: Case) -> Trace:
    return cpu.forward(case.layer, case.inputs, case.t_stop)


def same(a: Trace, b: Trace) -> bool:
    arrays = [
        [t.spikes.times, t.spikes.units, t.spikes.counts, t.current, t.release_time, t.release_current, t.residual]
        for t in (a, b)
    ]
    return all(np.array_equal(x, y) for x, y in zip(*arrays, strict=True))


def test_a_layer_that_spikes_often_is_run_once_from_its_second_batch_on(passes: list[tuple[int, int]]) -> None:
    case = busy()
    first = forward(case)
    assert first.current.shape[1] > N * room.FIRST_ROOM, "it has to spike more often than the first room allows"
    assert len(passes) == 2
    del passes[:]
    for _ in range(3):
        assert same(forward(case), first)
    assert [samples for samples, _ in passes] == [6, 6, 6]


def test_samples_that_lack_room_are_run_again_alone(passes: list[tuple[int, int]]) -> None:
    case = busy()
    inputs = replace(case.inputs, counts=np.where(np.arange(6) == 2, case.inputs.counts, 1))
    case = replace(case, inputs=inputs)
    trace = forward(case)
    assert trace.spikes.counts[2] > N * room.FIRST_ROOM
    assert [samples for samples, _ in passes] == [6, 1]
    assert same(forward(case), trace), "with room for all of it at once"


@pytest.mark.parametrize("refractory", [False, True])
@pytest.mark.parametrize("thresholds", [1, 6], ids=["one threshold", "a threshold a sample"])
def test_room_changes_no_bit(refractory: bool, thresholds: int) -> None:
    case = busy()
    t_ref = np.where(np.arange(N) % 2, 1e-5, 0.0) if refractory else np.zeros(N)
    rise = 1.0 + 0.3 * np.arange(thresholds)[:, None]
    case = case.with_(t_ref=t_ref, threshold=case.layer.threshold * rise)
    with_little = cpu._forward(case.layer, case.inputs, case.t_stop, None, 150)
    counts = with_little.spikes.counts
    assert counts.max() > 150
    assert same(with_little, cpu._forward(case.layer, case.inputs, case.t_stop, None, int(counts.max()) + 50))


def test_what_is_remembered_is_forgotten_again() -> None:
    forward(busy())
    much = room.expected((N_IN, N), 0, cpu.MAX_EVENTS)
    quiet = busy(strength=0.1)
    rooms = []
    for _ in range(60):
        forward(quiet)
        rooms.append(room.expected((N_IN, N), 0, cpu.MAX_EVENTS))
    assert much > rooms[0] > rooms[10]
    assert rooms == sorted(rooms, reverse=True)
    assert rooms[-1] == max(room.LEAST_ROOM, N * room.FIRST_ROOM)
    assert not room._needed


def test_no_more_than_a_number_of_shapes_is_remembered() -> None:
    for n in range(1, 3 * room.REMEMBERED):
        room.remember((7, n), 1000 * n)
    assert len(room._needed) == room.REMEMBERED
    assert room.expected((7, n), 0, cpu.MAX_EVENTS) >= 1000 * n


def test_a_cap_on_spikes_bounds_the_room() -> None:
    room.remember((N_IN, N), 100 * N)
    assert room.expected((N_IN, N), 3, cpu.MAX_EVENTS) == 3 * N


def test_what_is_remembered_refuses_no_batch_that_would_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    case = busy()
    needed = forward(case).current.shape[1]
    monkeypatch.setattr(cpu, "MAX_EVENTS", 6 * needed)  # without the margin that is kept for the next batch
    assert forward(case).current.shape[1] == needed
    monkeypatch.setattr(cpu, "MAX_EVENTS", 6 * needed - 1)
    with pytest.raises(InputError, match="allowed"):
        forward(case)


def test_kept_memory_is_bounded_and_reused() -> None:
    small = room.borrow(4, 100, np.dtype(np.float32), False, False)
    room.give_back(small)
    again = room.borrow(4, 100, np.dtype(np.float32), False, False)
    assert again is small
    other = room.borrow(4, 100, np.dtype(np.float32), False, False)
    assert other.times is not again.times, "the first is still in use"
    room.give_back(again)
    room.give_back(other)
    large = room.borrow(1 << 12, 1 << 12, np.dtype(np.float32), False, False)
    room.give_back(large)
    assert room._kept.buffer is not None
    assert len(room._kept.buffer) <= room.KEPT_BYTES


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("measured", [False, True])
@pytest.mark.parametrize("holding", [False, True])
def test_arrays_of_a_room_do_not_overlap(holding: bool, measured: bool, dtype: Any) -> None:
    found = room.borrow(3, 7, np.dtype(dtype), holding, measured)
    arrays = [array for array in found[:-1] if array.shape == (3, 7)]
    assert len(arrays) == 3 + 2 * holding + measured
    for number, array in enumerate(arrays):
        array[...] = number
    assert all((array == number).all() for number, array in enumerate(arrays))


def test_an_answer_is_no_view_of_memory_that_the_next_run_writes_to() -> None:
    g = torch.Generator().manual_seed(1)
    inputs = [Spikes.from_first_times(torch.rand((4, N_IN), generator=g) * 10e-3, 60e-3) for _ in range(2)]
    weight = torch.full((N, N_IN), 3.0, requires_grad=True)
    values = {"tau_mem": 10e-3, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 1e-3}
    params = {name: torch.full((N,), values[name]) for name in PARAMETERS}

    def gradient(of: Spikes) -> torch.Tensor:
        return torch.autograd.grad(torch.where(of.valid, of.times, 0.0).square().sum(), weight, retain_graph=True)[0]

    out, _ = layer_call(inputs[0], weight, params, Options())
    times, found = out.times.detach().clone(), gradient(out)
    layer_call(inputs[1], weight * 1.5, params, Options())
    assert torch.equal(out.times, times)
    assert torch.equal(gradient(out), found)
