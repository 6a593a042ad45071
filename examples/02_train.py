"""Train a network in software: 5-30-3 learns Yin-Yang by the exact gradient of its spike times.

python examples/02_train.py          # writes yin_yang.nir, which the next examples read
"""

import nir
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.losses import FirstSpike, SilentHinge

task = datasets.yin_yang(seed=0, sizes=(2000, 500, 500))  # samples to train on, to choose the epoch by, to test
generator = torch.Generator().manual_seed(0)
net = hl.Network(
    [
        hl.Dense(5, 30).init_normal_(0.8, 1.2, generator),  # weights: mean and deviation, in thresholds
        hl.LIF(30, tau_mem=10e-3, tau_syn=5e-3),  # s
        hl.Dense(30, 3).init_normal_(0.2, 0.3, generator),
        hl.LIF(3, tau_mem=10e-3, tau_syn=5e-3),
    ]
)
# the output neuron that spikes first decides; one that should have spiked and did not is pulled to its threshold
loss = FirstSpike(temperature=1e-3) + 30 * SilentHinge(only_label=True)
done = hl.fit(net, task, loss, epochs=15, batch_size=25, lr=8e-3, lr_decay=0.9, clip_norm=1.0, seed=0)
test = hl.evaluate(net, task.test)
print(f"best epoch on validation data: {done.best_epoch} of {len(done.history)}")
print(f"accuracy on {test.samples} test samples: {test.accuracy:.0%} (simulated)")
nir.write("yin_yang.nir", net.to_nir())
