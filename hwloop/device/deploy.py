"""Putting a network on a device, measuring it there, and placing it around neurons that do not answer."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterable, Sequence
from typing import overload

import torch

from ..arguments import whole
from ..datasets import Dataset
from ..errors import CompileError, CompileWarning, InputError
from ..evaluation import Evaluation, SequentialEvaluation
from ..losses import UNDECIDED, Decision, accuracy, predict, silent_samples
from ..mapping import Program, ScaleRule
from ..mapping.partition import PartitionedProgram
from ..network import Network
from ..record import Recording
from ..simulate.threads import one_thread
from ..spikes import Spikes
from .registry import Device, compile_quietly
from .repeats import UntilSure, decide

_log = logging.getLogger(__name__)

#: Rules for the model weight of 1 LSB that are tried on validation data where the rule is "auto": the maximum or a high
#: quantile costs .5-4 points after rounding to 6 bits, and which is best depends on the network.
SCALE_RULES: tuple[ScaleRule, ...] = ("max", "quantile:0.999", "quantile:0.99")

#: Samples in which the model makes a neuron fire before its silence on the device counts as a defect, and how often the
#: network is placed anew: a replacement may be defective too.
SILENCE_EVIDENCE, PLACEMENTS = 20, 4


def run_on(device: Device, spikes: Spikes, repeats: int = 1) -> Recording:
    """``device.run(spikes, repeats=repeats)``: a recording's times are corrected for the constant latency in any case."""
    return device.run(spikes, repeats=repeats)


@overload
def measure(
    device: Device, data: Dataset, *, decision: Decision = ..., repeats: UntilSure, batch_size: int = ...
) -> SequentialEvaluation: ...


@overload
def measure(
    device: Device, data: Dataset, *, decision: Decision = ..., repeats: int = ..., batch_size: int = ...
) -> Evaluation: ...


@one_thread()
def measure(
    device: Device, data: Dataset, *, decision: Decision = "first", repeats: int | UntilSure = 1, batch_size: int = 1000
) -> Evaluation:
    """Accuracy of the loaded program on ``data``, mean over ``repeats`` runs of ``batch_size`` samples at a time.

    ``decision`` says how the output is read, as in :func:`hwloop.losses.predict`.

    With ``repeats=UntilSure(...)`` one answer a sample: those that are unsure run again, and the scores of a sample's runs
    are added up (:mod:`hwloop.device.repeats`). What that took is in the result, :class:`SequentialEvaluation`. A device
    without noise is noticed at the first samples that run again.
    """
    if isinstance(repeats, UntilSure):
        return _until_sure(device, data, decision, repeats, batch_size)
    return measure_samples(device, data, decision=decision, repeats=repeats, batch_size=batch_size)[0]


@one_thread()
def measure_samples(
    device: Device, data: Dataset, *, decision: Decision = "first", repeats: int = 1, batch_size: int = 1000
) -> tuple[Evaluation, torch.Tensor]:
    """As :func:`measure`, and of every sample the share of the ``repeats`` runs that was right, ``[samples]`` float64."""
    repeats = whole("repeats", repeats)
    shares, total, silent = [], 0, 0
    for inputs, labels in data.batches(batch_size):
        recording = run_on(device, inputs, repeats)
        predicted = predict(recording, decision)
        right = predicted == labels.repeat(repeats).to(predicted.device)
        total += int(right.sum())
        shares.append(right.reshape(repeats, len(labels)).double().mean(0))
        silent += silent_samples(recording)
    return Evaluation(total / (len(data) * repeats), len(data), silent // repeats), torch.cat(shares)


def _until_sure(
    device: Device, data: Dataset, decision: Decision, repeats: UntilSure, batch_size: int
) -> SequentialEvaluation:
    found = [decide(device, inputs, repeats, decision=decision) for inputs, _ in data.batches(batch_size)]
    decisions, runs = (torch.cat([getattr(one, name) for one in found]) for name in ("decisions", "runs"))
    return SequentialEvaluation(
        accuracy(decisions, data.labels), len(data), int((decisions == UNDECIDED).sum()), decisions=decisions, runs=runs,
        unsure=sum(int(one.unsure.sum()) for one in found), deterministic=any(one.deterministic for one in found),
    )  # fmt: skip


@one_thread()
def deploy(
    net: Network,
    device: Device,
    *,
    validation: Dataset | None = None,
    weight_scale: ScaleRule | Sequence[ScaleRule] = "auto",
    mask: Iterable[int] = (),
    decision: Decision = "first",
    partition: bool = False,
) -> Program:
    """Compile ``net`` for ``device`` and load it; warns of what that lost, as :func:`hwloop.device.registry.compile` does.

    Parameters
    ----------
    net, device : what is deployed, where
    validation : Dataset, optional
        Data on which ``weight_scale="auto"`` picks among :data:`SCALE_RULES`, on the device itself, and the probe on which
        layers that fall silent or saturate with rounded weights are found.
    weight_scale : rule of :func:`hwloop.device.registry.compile`, or "auto"
    mask : physical neurons not to be used
    decision : how an output is read
    partition : as of :func:`hwloop.device.registry.compile`

    Raises
    ------
    InputError
        "auto" without validation data.
    CompileError
        The target cannot carry the network.
    """
    mask = tuple(mask)
    probe = None if validation is None or not device.capabilities.weight_bits else validation.inputs
    if weight_scale != "auto" or not device.capabilities.weight_bits:
        rule = "max" if weight_scale == "auto" else weight_scale
        best = compile_quietly(net, device, weight_scale=rule, mask=mask, probe=probe, partition=partition)
    else:
        if validation is None:
            raise InputError(
                'weight_scale = "auto" chooses on validation data; give validation=..., or a rule such as "max"'
            )
        tried = []
        for candidate in SCALE_RULES:
            program = compile_quietly(net, device, weight_scale=candidate, mask=mask, partition=partition)
            device.load(program)
            tried.append((measure(device, validation, decision=decision).accuracy, candidate))
        chosen = max(tried, key=lambda pair: pair[0])[1]
        best = compile_quietly(net, device, weight_scale=chosen, mask=mask, probe=probe, partition=partition)
    for text in best.warnings:
        warnings.warn(text, CompileWarning, stacklevel=2)
    device.load(best)
    return best


def silent_neurons(net: Network, device: Device, program: Program, data: Dataset) -> tuple[tuple[int, ...], ...]:
    """Physical neurons, a tuple a layer, that never fired on ``data`` although the model makes them fire in many samples."""
    fired = [torch.zeros(layer.n_out, dtype=torch.int64) for layer in program.layers]
    wanted = [torch.zeros_like(counts) for counts in fired]
    with torch.no_grad():
        for inputs, _ in data.batches(1000):
            measured, model = run_on(device, inputs), net(inputs)
            for k in range(len(program.layers)):
                fired[k] += measured[k].unit_counts().sum(0).cpu()
                wanted[k] += (model[k].unit_counts() > 0).sum(0).cpu()
    bad = [torch.nonzero((f == 0) & (w >= SILENCE_EVIDENCE))[:, 0] for f, w in zip(fired, wanted, strict=True)]
    return tuple(tuple(int(layer.neurons[n]) for n in b.tolist()) for layer, b in zip(program.layers, bad, strict=True))


@one_thread()
def place_around_silence(
    net: Network, device: Device, program: Program, data: Dataset, mask: tuple[int, ...]
) -> Program:
    """Place the network on other neurons where some never fire; of the placements tried, the one that lacks fewest.

    A silent neuron of a later layer weighs more: the loss of an output is that of a class.
    """
    found: list[tuple[list[int], Program]] = []
    while True:
        silent = silent_neurons(net, device, program, data)
        found.append(([len(layer) for layer in reversed(silent)], program))
        if not any(silent) or len(found) > PLACEMENTS:
            break
        mask = (*mask, *(neuron for layer in silent for neuron in layer))
        try:
            program = compile_quietly(
                net,
                device,
                weight_scale=list(program.scales),
                mask=mask,
                partition=isinstance(program, PartitionedProgram),
            )
        except CompileError as error:
            _log.warning("%s: neurons %s never fire, and no others are free: %s", device.device_id, silent, error)
            break
        _log.info("%s: neurons %s never fire; the network is placed around them", device.device_id, silent)
        device.load(program)
    best = min(found, key=lambda pair: pair[0])[1]
    if best is not program:
        device.load(best)
    return best
