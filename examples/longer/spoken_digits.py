"""Spoken digits with networks that use time: one layer, axonal delays, synaptic delays, a loop, trained with exact gradients.

    python examples/longer/spoken_digits.py --seeds 3 --out out/digits              # all kinds; an interrupted run goes on
    python examples/longer/spoken_digits.py --kind axonal --held-out theo --out out/digits-theo

A filter bank turns a recording into some 200 events of 40 channels, ten times faster than it was spoken. Every kind has the same
hidden neurons and a readout that does not spike; what differs is how the hidden neurons look back:

feed-forward   by their own time constants alone
axonal         every channel reaches them five times, each time after a trained delay of its own
synaptic       each hears a part of the channels, every synapse after a trained delay
recurrent      they drive each other

The epoch is chosen on validation data, and the test set is looked at once. Everything is simulated or emulated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets, storage
from hwloop.membrane_losses import MembraneIntegral
from hwloop.training import FitResult

TAU_MEM, TAU_SYN, HIDDEN, EPOCHS = 10e-3, 5e-3, 128, 12
#: Lines on which every channel reaches a neuron, and the first delays of neighbouring lines (s).
LINES, GAP = 5, 12e-3
#: Channels that a neuron with synaptic delays hears.
HEARD = 10
KINDS = ("feed-forward", "axonal", "synaptic", "recurrent")


def into_hidden(kind: str, n_in: int, hidden: int, generator: torch.Generator) -> list[hl.Projection]:
    """What drives the hidden neurons."""
    if kind == "axonal":
        made = []
        for line in range(LINES):
            delay = torch.nn.Parameter(line * GAP + GAP * torch.rand(n_in, generator=generator))
            dense = hl.Dense(n_in, hidden, delay=delay).init_normal_(0.05, 0.1, generator)
            made.append(hl.Projection("sound", "hidden", dense))
        return made
    if kind == "synaptic":
        sources = torch.cat([torch.randperm(n_in, generator=generator)[:HEARD] for _ in range(hidden)])
        targets = torch.arange(hidden).repeat_interleave(HEARD)
        weight = 0.1 + 0.5 * torch.randn(len(sources), generator=generator)
        delay = torch.nn.Parameter(LINES * GAP * torch.rand(len(sources), generator=generator))
        return [hl.Projection("sound", "hidden", hl.Sparse(n_in, hidden, sources, targets, weight, delay=delay))]
    made = [hl.Projection("sound", "hidden", hl.Dense(n_in, hidden).init_normal_(0.05, 0.3, generator))]
    if kind == "recurrent":
        loop = hl.Dense(hidden, hidden, delay=10e-3).init_normal_(0.0, 0.05, generator)
        made.append(hl.Projection("hidden", "hidden", loop))
    return made


def network(kind: str, seed: int, n_in: int = 40, hidden: int = HIDDEN) -> hl.Network:
    """The untrained network of a kind."""
    generator = torch.Generator().manual_seed(seed)
    projections = into_hidden(kind, n_in, hidden, generator)
    readout = hl.Dense(hidden, 10).init_normal_(0.0, 0.1, generator)
    nodes = {
        "sound": hl.Input(n_in),
        "hidden": hl.LIF(hidden, TAU_MEM, TAU_SYN),
        "digit": hl.LI(10, 2 * TAU_MEM, TAU_SYN),
    }
    return hl.Network.graph(nodes, [*projections, hl.Projection("hidden", "digit", readout)])


def trained(kind: str, seed: int, epochs: int, task: datasets.Task, out: Path) -> tuple[hl.Network, FitResult]:
    """The network of the epoch that is best on validation data; read from ``out`` where it was trained before."""
    net = network(kind, seed, task.n_in)
    found = hl.fit(
        net,
        task,
        MembraneIntegral(0.03, fading=True),
        epochs=epochs,
        batch_size=12,
        lr=6e-3,
        lr_decay=0.1 ** (1 / epochs),
        clip_norm=1.0,
        floor=0.3,
        input_dropout=0.1,
        averaging=0.99,
        seed=seed,
        decision="integral",
        checkpoint_dir=out / f"{kind}-{seed}",
        resume=True,
    )
    return net, found


def tested(kind: str, seed: int, epochs: int, task: datasets.Task, out: Path) -> dict[str, object]:
    """One row: trained, and tested once."""
    net, found = trained(kind, seed, epochs, task, out)
    test = hl.evaluate(net, task.test, decision="integral")
    row = {
        "kind": kind, "seed": seed, "task": task.name, "epochs": epochs, "epoch": found.best_epoch, "samples": len(task.test),
        "validation": found.best_validation.accuracy, "test": test.accuracy,
        "history": [[epoch.accuracy, epoch.validation.accuracy] for epoch in found.history],
    }  # fmt: skip
    storage.write_json(out / f"{kind}-{seed}.json", row, kind="hwloop-spoken-digits", version=1)
    return row


def main() -> int:
    """Train what is asked for, and print a line for each network."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/spoken-digits"))
    options.add_argument("--kind", choices=KINDS, action="append")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--held-out", help="a speaker whose recordings are the test set")
    options.add_argument("--quick", action="store_true", help="sixty recordings: to see that it runs")
    chosen = options.parse_args()
    task = datasets.spoken_digits(held_out=chosen.held_out)
    if chosen.quick:
        task = datasets.subset(task, 60, 20, 20)
    out = chosen.out if chosen.held_out is None else chosen.out / chosen.held_out
    for kind in chosen.kind or KINDS:
        for seed in range(chosen.seeds):
            row = tested(kind, seed, chosen.epochs, task, out)
            print(
                f"{task.name}, {kind}, seed {seed}: test {row['test']:.2%} of {row['samples']}, validation "
                f"{row['validation']:.2%}, epoch {row['epoch']} of {row['epochs']}",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
