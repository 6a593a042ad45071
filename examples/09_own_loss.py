"""A loss of one's own: the right neuron is to spike a given time before any other.

python examples/09_own_loss.py
"""

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.losses import Loss, SilentHinge


class Lead(Loss):
    """Mean of the seconds that lack until the label's neuron leads every other by ``lead``."""

    def __init__(self, lead: float) -> None:
        self.lead = lead

    def __call__(self, net: hl.Network, record: hl.Record, labels: torch.Tensor) -> torch.Tensor:
        """A record is simulated or measured: a loss does not know which."""
        first = record.output.first_times()  # [batch, neuron] (s), inf where it is silent
        first = first.where(first.isfinite(), torch.full_like(first, record.output.t_stop))  # costs as much as the end
        own = first.gather(1, labels[:, None])
        others = first.scatter(1, labels[:, None], torch.inf).amin(1, keepdim=True)
        return torch.relu(self.lead - (others - own)).mean()


task = datasets.yin_yang(seed=0, sizes=(1000, 300, 500))
generator = torch.Generator().manual_seed(0)
hidden = hl.Dense(5, 30).init_normal_(0.8, 1.2, generator)
output = hl.Dense(30, 3).init_normal_(0.2, 0.3, generator)
net = hl.Network([hidden, hl.LIF(30, 10e-3, 5e-3), output, hl.LIF(3, 10e-3, 5e-3)])
print(f"untrained: {hl.evaluate(net, task.test).accuracy:.0%}")

loss = 1e3 * Lead(2e-3) + 30 * SilentHinge(only_label=True)  # losses add, and multiply by numbers
hl.fit(net, task, loss, epochs=8, batch_size=25, lr=8e-3, lr_decay=0.9, clip_norm=1.0, seed=0)
print(f"trained: {hl.evaluate(net, task.test).accuracy:.0%} (simulated)")
