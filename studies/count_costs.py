"""Counts of ``hwloop cost`` beside a plain count of the same recorded spikes, of trained networks of dense layers.

    python studies/count_costs.py out/yy --samples 300
    python studies/count_costs.py out/mnist --samples 1000 --target loihi

Plainly: a spike of unit u is as many synaptic events as column u of the weights has entries that are not zero; every time at which
anything arrives is one update of every neuron of a dense layer, or with steps every neuron is updated at each step. Exits with 1
where any count differs.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch

import hwloop as hl
from hwloop.command.folder import load_trained
from hwloop.experiment import Experiment
from hwloop.record import Record


def main() -> None:
    """Count both ways, and print both."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("--experiment", default=None)
    parser.add_argument("--samples", type=int, default=100)
    parser.add_argument("--target", default=None)
    arguments = parser.parse_args()
    trained = load_trained(
        arguments.run, None if arguments.experiment is None else Experiment.load(arguments.experiment)
    )
    net, inputs = trained.net, trained.experiment.build_task().test.inputs[: arguments.samples]
    if arguments.target is None:
        with torch.no_grad():
            record: Record = net(inputs)
        weights = [dense.weight.detach().numpy() for dense, _ in net.blocks]
        cost, steps = hl.cost_of(record, net, decision=trained.experiment.decision), None
    else:
        with hl.open(arguments.target) as device:
            program = hl.compile(net, device)
            device.load(program)
            record = device.run(inputs)
        weights = [layer.codes for layer in program.layers]
        cost = hl.cost_of(record, program, decision=trained.experiment.decision)
        steps = cost.steps
    same = True
    for k, (weight, part) in enumerate(zip(weights, cost.populations, strict=True)):
        plain = plain_counts(weight, record.inputs if k == 0 else record[k - 1], steps)
        found = (part.effective, part.connected, part.updates, part.spikes)
        plain = (*plain, int(record[k].counts.sum()))
        same = same and found == plain
        print(f"layer {k}: effective, connected, updates, spikes {found}; plainly {plain}")
    print(cost)
    print("equal" if same else "NOT equal")
    sys.exit(not same)


def plain_counts(weight: np.ndarray, train: hl.Spikes, steps: int | None) -> tuple[int, int, int]:
    """Effective and connected events, and updates, of the layer with ``weight [n_out, n_in]`` that ``train`` drives."""
    n_out = weight.shape[0]
    counts = train.unit_counts().sum(0).numpy()
    moments = sum(len(set(times.tolist())) for times, _ in train.to_events())
    updates = (moments if steps is None else steps * len(train)) * n_out
    return int(counts @ (weight != 0).sum(0)), int(counts.sum()) * n_out, updates


if __name__ == "__main__":
    main()
