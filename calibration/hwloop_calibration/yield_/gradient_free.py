"""The loop without gradients: simultaneous perturbations of all weights, measured on the device.

One step draws a direction of ``+-1`` for every weight, runs the batch with the weights moved by it and against it, and
takes the difference of the two losses for the slope along it; several directions are averaged. With one direction this is
SPSA (Spall, IEEE Trans. Autom. Control 37:332, 1992), with several a mirrored evolution strategy (Salimans et al.,
arXiv:1703.03864). Nothing of the model is used, so nothing of it can be wrong: the baseline of every gradient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from hwloop.arguments import whole
from hwloop.class_scores import reading
from hwloop.datasets import Dataset, Task
from hwloop.device.deploy import deploy, measure, run_on, silent_neurons
from hwloop.device.registry import Device
from hwloop.errors import InputError
from hwloop.losses import Decision, FirstSpike, Loss
from hwloop.mapping import Program
from hwloop.mapping.held import codes_of
from hwloop.network import Network
from hwloop.spikes import Spikes
from hwloop.training import Evaluation, set_lr
from hwloop.training.loop_state import weights_of
from hwloop.training.options import check_task

#: Samples a batch, temperature (s) of the loss by default, and validations during the search.
BATCH, TEMPERATURE, LOOKS = 200, 1e-3, 10


@dataclass(frozen=True)
class SearchResult:
    """What the search brought: validation accuracy after so many device samples, and the best of it as a program."""

    history: tuple[tuple[int, float], ...]
    best_validation: Evaluation
    program: Program


def perturbed(
    net: Network,
    device: Device,
    task: Task,
    *,
    steps: int = 400,
    directions: int = 2,
    batch_size: int = BATCH,
    size_lsb: float = 2.0,
    lr_lsb: float = 0.5,
    loss: Loss | None = None,
    decision: Decision = "first",
    mask: tuple[int, ...] = (),
    seed: int = 0,
) -> SearchResult:
    """Search around the weights of ``net`` on ``device``; leaves both with the best on validation data.

    Parameters
    ----------
    net, device, task : the network whose weights move, a chain or any graph, where it runs, what it is to do
    steps, directions : steps, and directions measured in each (two runs of a batch a direction)
    batch_size : samples a batch
    size_lsb, lr_lsb : size of the perturbation and of the first step of Adam, in weight codes
    loss : of measured spikes alone; by default the first-spike cross-entropy
    decision, mask, seed : as in :func:`hwloop.finetune`

    Raises
    ------
    InputError
        Options out of range.
    """
    steps, directions, batch_size = (
        whole("steps", steps),
        whole("directions", directions),
        whole("batch_size", batch_size),
    )
    check_task(net, task, decision)
    if not (size_lsb > 0 and lr_lsb > 0):
        raise InputError(f"size_lsb = {size_lsb}, lr_lsb = {lr_lsb}; allowed: > 0 (weight codes)")
    program = deploy(net, device, validation=task.validation, decision=decision, mask=mask)
    silent = [neuron for layer in silent_neurons(net, device, program, task.validation) for neuron in layer]
    if silent:  # as fine-tuning does: placed around them
        program = deploy(net, device, weight_scale=list(program.scales), mask=(*mask, *silent))
    search = _Search(
        net,
        device,
        program,
        loss or FirstSpike(TEMPERATURE, reading(decision).neurons),
        np.random.default_rng([seed, 77]),
    )
    optimizer = torch.optim.Adam(search.codes, lr=lr_lsb)
    history, ran, best = [], 0, search.kept(measure(device, task.validation, decision=decision))
    every = max(1, steps // LOOKS)
    batches = _endless(task.train, batch_size, np.random.default_rng([seed, 78]))
    for step in range(1, steps + 1):
        set_lr(optimizer, lr_lsb * (1.0 - 0.9 * step / steps))
        inputs, labels = next(batches)
        search.slope(inputs, labels, size_lsb, directions)
        optimizer.step()
        ran += 2 * directions * len(labels)
        if step % every == 0:
            search.load([code.detach() for code in search.codes])
            found = measure(device, task.validation, decision=decision)
            history.append((ran, found.accuracy))
            if found.accuracy > best[0].accuracy:
                best = search.kept(found)
    search.load(best[1])
    return SearchResult(tuple(history), best[0], search.program)


class _Search:
    """Weights in units of codes, one tensor a layer or map, and the device that they are measured on."""

    def __init__(
        self, net: Network, device: Device, program: Program, loss: Loss, generator: np.random.Generator
    ) -> None:
        self.net, self.device, self.program, self.loss, self._generator = net, device, program, loss, generator
        self._weights, held = weights_of(net), codes_of(net, program)
        self._lsb = [unit.to(torch.get_default_dtype()) for _, unit, _ in held]
        self._largest = [most for _, _, most in held]
        self.codes = [value / lsb.to(value) for value, lsb in zip(self._weights.copies(), self._lsb, strict=True)]

    def slope(self, inputs: Spikes, labels: Tensor, size: float, directions: int) -> None:
        """Put the estimated slope of the loss into ``codes[k].grad``."""
        for code in self.codes:
            code.grad = torch.zeros_like(code)
        for _ in range(directions):
            signs = [torch.from_numpy(self._generator.choice([-1.0, 1.0], code.shape)).to(code) for code in self.codes]
            up = self._loss_at([c + size * s for c, s in zip(self.codes, signs, strict=True)], inputs, labels)
            down = self._loss_at([c - size * s for c, s in zip(self.codes, signs, strict=True)], inputs, labels)
            for code, sign in zip(self.codes, signs, strict=True):
                if code.grad is not None:
                    code.grad += (up - down) / (2 * size * directions) * sign

    def _loss_at(self, codes: list[Tensor], inputs: Spikes, labels: Tensor) -> float:
        self.load(codes)
        with torch.no_grad():
            return float(self.loss(self.net, run_on(self.device, inputs), labels))

    def load(self, codes: list[Tensor]) -> None:
        """Write ``codes`` to the device, by way of the network's weights."""
        parts = zip(codes, self._largest, self._lsb, strict=True)
        self._weights.put([code.clamp(-most.to(code), most.to(code)) * lsb.to(code) for code, most, lsb in parts])
        self.program = self.program.with_weights(self.net)
        self.device.load(self.program)

    def kept(self, found: Evaluation) -> tuple[Evaluation, list[Tensor]]:
        """``found`` with the codes that it belongs to."""
        return found, [code.detach().clone() for code in self.codes]


def _endless(data: Dataset, size: int, generator: np.random.Generator) -> Iterator[tuple[Spikes, Tensor]]:
    """Batches without end, every pass in another order."""
    while True:
        yield from data.batches(size, generator)
