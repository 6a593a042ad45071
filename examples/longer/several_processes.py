"""Train on several processes, on one machine or several: the same weights as one process, in less time.

torchrun --nproc-per-node 2 examples/longer/several_processes.py
"""

import torch

import hwloop as hl
from hwloop import datasets, losses

torch.set_num_threads(1)
with hl.ranks.joined(deadline=60) as ranks:  # seconds that a rank waits for the others
    task = datasets.yin_yang(sizes=(1000, 200, 200))
    layers = [hl.Dense(5, 30).init_normal_(1.5, 1.0), hl.LIF(30, 10e-3, 5e-3)]
    net = hl.Network([*layers, hl.Dense(30, 3).init_normal_(0.5, 0.5), hl.LIF(3, 10e-3, 5e-3)])
    hl.fit(net, task, losses.FirstSpike(1e-3), epochs=3, checkpoint_dir="out/together", resume=True, ranks=ranks)
    if ranks.first:
        print(hl.evaluate(net, task.test))
