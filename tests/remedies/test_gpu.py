"""What the GPU's engine refuses, on a machine that need not have one: devices that do not fit, memory, what it lacks."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from hwloop.simulate import Options, layer_call
from hwloop.simulate.convolution import Geometry, convolution_call
from hwloop.simulate.gpu import memory, place
from hwloop.simulate.gpu.unrolled_convolution import as_dense
from hwloop.simulate.readout.membranes import Membranes
from hwloop.spikes import Spikes

from .support import Case

INPUTS = Spikes.from_events([([1e-3], [0])], 4, 0.05, torch.float64)
IMAGE = Geometry((1, 2, 2), 1, 2)
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


def neurons(n: int = 1, where: str = "cpu", **more: float) -> dict[str, torch.Tensor]:
    values = {"tau_mem": 1e-2, "tau_syn": 5e-3, "v_th": 1.0, "v_leak": 0.0, "v_reset": 0.0, "t_ref": 0.0, **more}
    return {name: torch.full((n,), value, dtype=torch.float64, device=where) for name, value in values.items()}


def run(weight_on: str = "cpu", inputs_on: str = "cpu", engine: str = "auto") -> Spikes:
    weight = torch.full((1, 4), 5.0, dtype=torch.float64, device=weight_on)
    return layer_call(INPUTS.to(inputs_on), weight, neurons(1, weight_on), Options(engine=engine))[0]


def weights_on(device: str) -> Any:
    """Weights of which the device alone is looked at: there need not be one."""
    return SimpleNamespace(device=torch.device(device))


def readout(where: str) -> Membranes:
    shown = {name: value.to(where) for name, value in neurons(2).items() if name in ("tau_mem", "tau_syn", "v_leak")}
    return Membranes(INPUTS.to(where), torch.ones(2, 4, dtype=torch.float64, device=where), shown, "current")


DEVICES = [
    Case("runs_on_device", "Move them with net.to('{}') or spikes.to('{}')", lambda: run("meta", "cpu"), run),
    Case("runs_on_device", "layers run on 'cpu' and on 'cuda': move them with .to('cpu')", lambda: run("meta", "meta"), run),
    Case("runs_on_device", "takes tensors of the CPU, these are on {}: use engine='auto', or .to('cpu')",
         lambda: place.runs_on_device("layer", "cpu", weights_on("cuda"), {}),
         lambda: not place.runs_on_device("layer", "cpu", weights_on("cpu"), {})),
    Case("as_dense", "{} is not simulated on the GPU; leave it out, or move the network with .to('cpu')",
         lambda: as_dense(torch.ones(1, 1, 2, 2), neurons(1, bias=0.1), IMAGE, "convolution"),
         (lambda: as_dense(torch.ones(1, 1, 2, 2), neurons(1), IMAGE, "convolution"),
          lambda: convolution_call(INPUTS, torch.ones(1, 1, 2, 2, dtype=torch.float64), IMAGE, neurons(1, bias=0.1), Options()))),
    Case("check_on_cpu", "run on the CPU alone: move network and input with .to('cpu')", lambda: readout("meta"), lambda: readout("cpu")),
    Case("memory.check_room", "Use smaller batches, lower weights, a refractory time, or max_spikes",
         lambda: memory.check_room(1 << 13, 1 << 14), (lambda: memory.check_room(1 << 12, 1 << 14), lambda: memory.check_room(1 << 13, 1 << 13))),
]  # fmt: skip


@pytest.mark.parametrize("case", DEVICES, ids=str)
def test_what_the_message_says_works(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    case.follow()


def test_a_layer_for_the_gpu_with_tensors_of_the_cpu_is_told_where_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())

    def interpreted() -> None:
        monkeypatch.setenv("TRITON_INTERPRET", "1")
        place.check_ready(CPU)

    Case(
        "check_ready",
        "move network and input with .to('cuda'), use engine='auto', or set TRITON_INTERPRET=1",
        lambda: run(engine="gpu"),
        (run, lambda: place.check_ready(CUDA), interpreted),
    ).follow()


def test_the_interpreter_is_left_or_served_with_tensors_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())

    def unset() -> None:
        monkeypatch.delenv("TRITON_INTERPRET")
        place.check_ready(CUDA)

    Case(
        "check_ready",
        "unset it, or use .to('cpu') and engine='gpu'",
        lambda: place.check_ready(CUDA),
        (lambda: place.runs_on_device("layer", "gpu", weights_on("cpu"), {}), unset),
    ).follow()


def test_a_gpu_without_triton_is_used_once_it_is_installed_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    def installed() -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: object())
        place.check_ready(CUDA)

    Case(
        "check_ready", "pip install triton {}, or use .to('cpu')", lambda: place.check_ready(CUDA), (run, installed)
    ).follow()


def test_a_batch_that_the_device_cannot_hold_is_told_what_it_needs() -> None:
    def hold(samples: int) -> None:
        with memory.holding(CPU, f"{samples} samples", samples << 20):
            if samples > 4:
                raise torch.cuda.OutOfMemoryError

    Case("memory.holding", "Use smaller batches, or shorter ones in time", lambda: hold(8), lambda: hold(4)).follow()
