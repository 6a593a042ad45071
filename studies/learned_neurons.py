"""What learned time constants and thresholds bring: Yin-Yang, weights alone and beside them, with exact gradients.

    python studies/learned_neurons.py --out out/learned      # 3 seeds of each kind; an interrupted run goes on
    python studies/learned_neurons.py --out out/learned --kind thresholds --seeds 1 --epochs 20

Every neuron has time constants and a threshold of its own, which begin at the values that the others keep. Everything is
simulated; the epoch is chosen on validation data, and the test set is looked at once.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets, storage
from hwloop.losses import FirstSpike, SilentHinge

TAU_MEM, TAU_SYN, V_TH = 10e-3, 5e-3, 1.0
LEARNED: dict[str, tuple[str, ...]] = {
    "weights": (),
    "time-constants": ("tau_mem", "tau_syn"),
    "thresholds": ("v_th",),
    "both": ("tau_mem", "tau_syn", "v_th"),
}


def neurons(n: int, learned: tuple[str, ...]) -> hl.LIF:
    """``n`` neurons, of which ``learned`` parameters are trained, one value each."""
    given = {"tau_mem": TAU_MEM, "tau_syn": TAU_SYN, "v_th": V_TH}
    return hl.LIF(n, **{k: torch.nn.Parameter(torch.full((n,), v)) if k in learned else v for k, v in given.items()})


def network(kind: str, hidden: int, seed: int) -> hl.Network:
    generator, learned = torch.Generator().manual_seed(seed), LEARNED[kind]
    first = hl.Dense(5, hidden).init_normal_(1.5, 1.5, generator)
    last = hl.Dense(hidden, 3).init_normal_(0.8, 0.8, generator)
    return hl.Network([first, neurons(hidden, learned), last, neurons(3, learned)])


def train(kind: str, hidden: int, seed: int, epochs: int, out: Path) -> dict[str, object]:
    """One row: trained, the epoch chosen on validation data, tested once."""
    task = datasets.yin_yang(seed=seed)
    net = network(kind, hidden, seed)
    loss = FirstSpike(temperature=0.04 * TAU_SYN) + 30 * SilentHinge(only_label=True) + 0.1 * SilentHinge()
    found = hl.fit(
        net, task, loss, epochs=epochs, batch_size=50, lr=1e-2, lr_decay=0.02 ** (1 / epochs), clip_norm=1.0,
        averaging=0.998, seed=seed, checkpoint_dir=out / f"{kind}-{hidden}-{seed}", resume=True,
    )  # fmt: skip
    test = hl.evaluate(net, task.test)
    spread = {
        f"{name}_{index}": [float(value.detach().min()), float(value.detach().max())]
        for index, layer in enumerate(module for module in net.modules() if isinstance(module, hl.LIF))
        for name, value in layer.named_parameters(recurse=False)
    }
    return {
        "kind": kind, "hidden": hidden, "seed": seed, "epoch": found.best_epoch,
        "validation": found.best_validation.accuracy, "test": test.accuracy, "learned": spread,
    }  # fmt: skip


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/learned"))
    options.add_argument("--kind", choices=list(LEARNED), action="append")
    options.add_argument("--hidden", type=int, default=30)
    options.add_argument("--seeds", type=int, default=3)
    options.add_argument("--epochs", type=int, default=100)
    chosen = options.parse_args()
    for kind in chosen.kind or LEARNED:
        tests = []
        for seed in range(chosen.seeds):
            row = train(kind, chosen.hidden, seed, chosen.epochs, chosen.out)
            tests.append(row["test"])
            storage.write_json(
                chosen.out / f"{kind}-{chosen.hidden}-{seed}.json", row, kind="hwloop-learned", version=1
            )
            print(
                f"{kind}, seed {seed}: test {row['test']:.2%}, validation {row['validation']:.2%}, {row['learned']}",
                flush=True,
            )
        print(f"{kind}: mean test {statistics.mean(tests):.2%}", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
