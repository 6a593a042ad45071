"""Yin-Yang with 30 hidden neurons: weights alone, with axonal delays, with synaptic delays, all trained with exact gradients.

    python studies/delays.py --out out/delays            # 3 seeds of each kind, half an hour; an interrupted run goes on
    python studies/delays.py --out out/delays --kind synaptic --seeds 1 --epochs 20

An axonal delay belongs to an input unit of a layer, a synaptic one to a single synapse. Everything is simulated; the epoch is
chosen on validation data, and the test set is looked at once.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets, storage
from hwloop.losses import FirstSpike, SilentHinge

TAU_MEM, TAU_SYN, HIDDEN = 10e-3, 5e-3, 30
KINDS = ("weights", "axonal", "synaptic")


def delays(kind: str, n_in: int, n_out: int, generator: torch.Generator) -> torch.nn.Parameter | None:
    """First delays, drawn evenly from 0..tau_syn."""
    if kind == "weights":
        return None
    shape = (n_in,) if kind == "axonal" else (n_out, n_in)
    return torch.nn.Parameter(TAU_SYN * torch.rand(shape, generator=generator))


def network(kind: str, seed: int) -> hl.Network:
    generator = torch.Generator().manual_seed(seed)
    hidden = hl.Dense(5, HIDDEN, delay=delays(kind, 5, HIDDEN, generator)).init_normal_(1.5, 1.5, generator)
    output = hl.Dense(HIDDEN, 3, delay=delays(kind, HIDDEN, 3, generator)).init_normal_(0.8, 0.8, generator)
    return hl.Network([hidden, hl.LIF(HIDDEN, TAU_MEM, TAU_SYN), output, hl.LIF(3, TAU_MEM, TAU_SYN)])


def train(kind: str, seed: int, epochs: int, out: Path) -> dict[str, object]:
    """One row: trained, the epoch chosen on validation data, tested once."""
    task = datasets.yin_yang(seed=seed)
    net = network(kind, seed)
    loss = FirstSpike(temperature=0.04 * TAU_SYN) + 30 * SilentHinge(only_label=True) + 0.1 * SilentHinge()
    found = hl.fit(
        net,
        task,
        loss,
        epochs=epochs,
        batch_size=50,
        lr=1e-2,
        lr_decay=0.02 ** (1 / epochs),
        clip_norm=1.0,
        averaging=0.998,
        seed=seed,
        checkpoint_dir=out / f"{kind}-{seed}",
        resume=True,
    )
    test = hl.evaluate(net, task.test)
    validation = found.best_validation.accuracy
    return {"kind": kind, "seed": seed, "epoch": found.best_epoch, "validation": validation, "test": test.accuracy}


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/delays"))
    options.add_argument("--kind", choices=KINDS, action="append")
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=300)
    chosen = options.parse_args()
    for kind in chosen.kind or KINDS:
        for seed in range(chosen.seeds):
            row = train(kind, seed, chosen.epochs, chosen.out)
            storage.write_json(chosen.out / f"{kind}-{seed}.json", row, kind="hwloop-delays", version=1)
            print(
                f"{kind}, seed {seed}: test {row['test']:.2%}, validation {row['validation']:.2%}, epoch {row['epoch']}"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
