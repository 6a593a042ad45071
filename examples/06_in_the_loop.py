"""Repair a network in the loop: measured spikes take the place of simulated ones, in the same loss and gradient.

python examples/02_train.py && python examples/06_in_the_loop.py
"""

import hwloop as hl
from hwloop import datasets
from hwloop.losses import FirstSpike, SilentHinge

net = hl.Network.from_nir("yin_yang.nir")
task = datasets.yin_yang(seed=0, sizes=(1000, 300, 500))
loss = FirstSpike(temperature=1e-3) + 30 * SilentHinge(only_label=True)  # the one that it was trained with

with hl.open("emulator:1", preset="bss2", session=0) as chip:
    chip.load(hl.compile(net, chip))
    print(f"as is: {hl.measure(chip, task.test).accuracy:.0%} ({chip.ran_on})")

    done = hl.finetune(net, chip, task, loss, epochs=4, batch_size=25, lr=4e-3, lr_decay=0.7, clip_norm=1.0, seed=0)
    print(f"in the loop, epoch {done.best_epoch} of {len(done.history)}: {hl.measure(chip, task.test).accuracy:.0%}")
    print(f"{sum(epoch.writes for epoch in done.history)} weight cells were written")

print(f"the same weights in simulation, without the chip's neurons: {hl.evaluate(net, task.test).accuracy:.0%}")
