"""Where the GPU's kernels can run: a CUDA device, or Triton's interpreter, which takes tensors of the CPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping

import torch
from torch import Tensor

from ...errors import InputError


def interpreted() -> bool:
    """Whether ``TRITON_INTERPRET`` asks for the interpreter: kernels then run as Python on the CPU."""
    return os.environ.get("TRITON_INTERPRET", "0").lower() in ("1", "true", "on", "yes", "y")


def check_ready(device: torch.device) -> None:
    """Raise :class:`InputError` where the kernels cannot run on tensors of ``device``."""
    if device.type == "cpu" and not interpreted():
        raise InputError(
            "engine 'gpu' with tensors on the CPU: move network and input with .to('cuda'), use engine='auto', or set "
            "TRITON_INTERPRET=1 before Python starts (kernels as Python, to test them)"
        )
    if device.type == "cuda" and interpreted():
        raise InputError(
            "TRITON_INTERPRET is set: kernels run on the CPU alone; unset it, or use .to('cpu') and engine='gpu'"
        )
    if importlib.util.find_spec("triton") is None:
        raise InputError(
            "simulating on a GPU needs Triton, which is not installed: pip install triton (it comes with torch's CUDA "
            "builds for Linux), or use .to('cpu')"
        )


def device_for_arrays() -> torch.device:
    """The device that arrays of NumPy are moved to: the current CUDA device, or the CPU where kernels are interpreted."""
    device = torch.device("cpu") if interpreted() or not torch.cuda.is_available() else torch.device("cuda")
    check_ready(device)
    return device


def runs_on_device(where: str, engine: str, weight: Tensor, others: Mapping[str, Tensor]) -> bool:
    """Whether the GPU's passes take these tensors, by their device and the ``engine`` that was asked for; else the CPU's.

    Raises :class:`InputError` where the tensors are on several devices, or on one that ``engine`` does not take.
    """
    device = weight.device
    for what, tensor in others.items():
        if tensor.device != device:
            raise InputError(
                f"{where}: weights are on {device}, {what} on {tensor.device}; allowed: one device for all. Move them "
                f"with net.to('{tensor.device}') or spikes.to('{device}')"
            )
    if device.type not in ("cpu", "cuda"):
        raise InputError(
            f"{where}: weights are on {device}; layers run on 'cpu' and on 'cuda': move them with .to('cpu')"
        )
    if device.type == "cuda" and engine not in ("auto", "gpu"):
        raise InputError(
            f"{where}: engine {engine!r} takes tensors of the CPU, these are on {device}: use engine='auto', or .to('cpu')"
        )
    if device.type == "cpu" and engine != "gpu":
        return False
    check_ready(device)
    return True


def check_on_cpu(where: str, what: str, tensors: Mapping[str, Tensor]) -> None:
    """Raise :class:`InputError` where ``what`` runs on the CPU alone and one of its tensors is elsewhere."""
    for name, tensor in tensors.items():
        if not tensor.is_cpu:
            raise InputError(
                f"{where}: {name} are on {tensor.device}; {what} run on the CPU alone: move network and input with .to('cpu')"
            )
