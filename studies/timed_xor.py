"""Timed XOR: two cues 80 ms apart, eight membrane time constants; were they alike? A loop remembers, a layer cannot.

Six input units, three to a cue: the first cue comes within 6 ms of time 0, the second within 6 ms of 80 ms, each of kind A
(units 0..2) or B (3..5). A hidden population drives itself after 10 ms and an output that does not spike; the class is the
larger time integral of its membranes. The same network without the loop is trained beside it. Everything is simulated.

    python studies/timed_xor.py            # three seeds, one minute
    python studies/timed_xor.py --seeds 1 --epochs 3
"""

from __future__ import annotations

import argparse

import torch

import hwloop as hl
from hwloop.datasets import Dataset, Task
from hwloop.membrane_losses import MembraneIntegral

GAP, SPREAD, WINDOW = 80e-3, 6e-3, 160e-3
HIDDEN = 30


def cues(samples: int, seed: int) -> Dataset:
    """Random pairs of cues; label 1 where they differ."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 2, (samples, 2), generator=generator)
    times = torch.rand(samples, 2, 3, generator=generator) * SPREAD + torch.tensor([0.0, GAP])[:, None]
    events = []
    for when, kind in zip(times, kinds, strict=True):
        units = (3 * kind[:, None] + torch.arange(3)).reshape(-1)
        order = torch.argsort(when.reshape(-1))
        events.append((when.reshape(-1)[order], units[order]))
    return Dataset(hl.Spikes.from_events(events, n_units=6, t_stop=WINDOW), (kinds[:, 0] != kinds[:, 1]).long())


def network(seed: int, loop: bool) -> hl.Network:
    """The network; with ``loop``, every hidden neuron drives itself strongly enough to fire again, and others at random."""
    generator = torch.Generator().manual_seed(seed)
    projections = [
        hl.Projection("cues", "hidden", hl.Dense(6, HIDDEN).init_normal_(1.0, 1.5, generator)),
        hl.Projection("hidden", "answer", hl.Dense(HIDDEN, 2).init_normal_(0.0, 0.5, generator)),
    ]
    if loop:
        again = hl.Dense(HIDDEN, HIDDEN, delay=10e-3).init_normal_(0.0, 0.3, generator)
        with torch.no_grad():
            again.weight += 5.0 * torch.eye(HIDDEN)
        projections.append(hl.Projection("hidden", "hidden", again))
    nodes = {
        "cues": hl.Input(6),
        "hidden": hl.LIF(HIDDEN, tau_mem=10e-3, tau_syn=5e-3, t_ref=2e-3),
        "answer": hl.LI(2, tau_mem=20e-3, tau_syn=5e-3),
    }
    return hl.Network.graph(nodes, projections)


def main() -> int:
    """Train with and without the loop, and print the accuracies on the test set."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=15)
    chosen = options.parse_args()
    task = Task("timed-xor", cues(600, 1), cues(300, 2), cues(1000, 3), n_in=6, n_out=2, t_stop=WINDOW)
    for loop in (True, False):
        for seed in range(chosen.seeds):
            net = network(seed, loop)
            found = hl.fit(
                net,
                task,
                MembraneIntegral(0.1),
                epochs=chosen.epochs,
                batch_size=50,
                lr=5e-3,
                clip_norm=1.0,
                seed=seed,
                decision="integral",
            )
            accuracy = hl.evaluate(net, task.test, decision="integral").accuracy
            print(
                f"{'with' if loop else 'without'} the loop, seed {seed}: test accuracy {accuracy:.1%}, epoch "
                f"{found.best_epoch} of {chosen.epochs}, chosen on validation data ({found.best_validation.accuracy:.1%})"
            )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
