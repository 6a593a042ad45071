"""A graph with delays and a loop: two cues, 80 ms apart; were they alike? The loop keeps the first, a layer would forget it.

python examples/07_delays_and_loops.py
"""

import torch

import hwloop as hl
from hwloop.datasets import Dataset, Task
from hwloop.membrane_losses import MembraneIntegral

GAP, SPREAD, WINDOW, HIDDEN = 80e-3, 6e-3, 160e-3, 20  # s, s, s, neurons


def cues(samples: int, seed: int) -> Dataset:
    """Three spikes at 0 and three at GAP, of units 0..2 or 3..5; label 1 where the two cues differ."""
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.randint(0, 2, (samples, 2), generator=generator)
    times = torch.rand(samples, 2, 3, generator=generator) * SPREAD + torch.tensor([0.0, GAP])[:, None]
    units = 3 * kinds[..., None] + torch.arange(3)
    events = [(t.flatten().sort().values, u.flatten()) for t, u in zip(times, units, strict=True)]
    return Dataset(hl.Spikes.from_events(events, n_units=6, t_stop=WINDOW), (kinds[:, 0] != kinds[:, 1]).long())


task = Task("cues", cues(400, 1), cues(200, 2), cues(500, 3), n_in=6, n_out=2, t_stop=WINDOW)
nodes = {
    "cues": hl.Input(6),
    "hidden": hl.LIF(HIDDEN, tau_mem=10e-3, tau_syn=5e-3, t_ref=2e-3),
    "answer": hl.LI(2, tau_mem=20e-3, tau_syn=5e-3),  # does not spike: the larger integral of its membrane decides
}
for loop in (True, False):
    generator = torch.Generator().manual_seed(0)
    into = hl.Dense(6, HIDDEN).init_normal_(1.0, 1.5, generator)
    out = hl.Dense(HIDDEN, 2).init_normal_(0.0, 0.5, generator)
    projections = [hl.Projection("cues", "hidden", into), hl.Projection("hidden", "answer", out)]
    if loop:  # every hidden spike comes back to its own neuron after 10 ms, strong enough to make it spike again
        back = hl.Dense(HIDDEN, HIDDEN, delay=10e-3).init_normal_(0.0, 0.3, generator)
        with torch.no_grad():
            back.weight += 5.0 * torch.eye(HIDDEN)
        projections.append(hl.Projection("hidden", "hidden", back))
    net = hl.Network.graph(nodes, projections)
    hl.fit(
        net, task, MembraneIntegral(0.1), epochs=6, batch_size=50, lr=1e-2, clip_norm=1.0, seed=0, decision="integral"
    )
    accuracy = hl.evaluate(net, task.test, decision="integral").accuracy
    print(f"{'with' if loop else 'without'} the loop: {accuracy:.0%} of {len(task.test)} pairs")
