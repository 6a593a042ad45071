"""A small graph for Yin-Yang: a convolution into maps that drive themselves, and an output that sees both them and the input."""

from __future__ import annotations

import torch

import hwloop as hl

SETTINGS = {"tau_mem": 10e-3, "tau_syn": 5e-3, "t_ref": 2e-3}


def looped(seed: int = 2) -> hl.Network:
    """5 inputs as one row, 8 neurons in two maps, 3 classes."""
    generator = torch.Generator().manual_seed(seed)

    def dense(n_in: int, n_out: int, mean: float, spread: float) -> hl.Dense:
        return hl.Dense(n_in, n_out).init_normal_(mean, spread, generator)

    return hl.Network.graph(
        {"in": hl.Input((1, 1, 5)), "maps": hl.LIF((2, 1, 4), **SETTINGS), "out": hl.LIF(3, **SETTINGS)},
        [
            hl.Projection("in", "maps", hl.Conv2d(1, 2, (1, 2)).init_normal_(1.8, 0.8, generator)),
            hl.Projection("maps", "maps", dense(8, 8, 0.05, 0.1)),
            hl.Projection("maps", "out", [hl.Scale(8, 0.5), dense(8, 3, 1.2, 0.6)]),
            hl.Projection("in", "out", dense(5, 3, 0.4, 0.6)),
        ],
    )
