"""What convolutions and loops cost, beside the same work in another form.

    python -m tests.benchmarks.graphs [conv] [loop] [--rounds N]

``conv``: 5x5, 1 -> 15 at 24x24, 150 input events, forward and backward, beside the same layer as an unrolled dense matrix (whose
gradient nobody gathers back into the kernel), at batches of 20 and 1; and the whole network 15C5-P2-40C5-P2-300-10, seconds a
sample. ``loop``: 120 neurons that drive themselves, beside a layer without a loop that gets the same events (the inputs', and
the spikes of the loop as more inputs), without and with a delay of 1 ms, shared and own time constants, in float32 and float64.
Process CPU time on one thread, interleaved, medians.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable

from hwloop.bench.pinning import pin_to_one_core

pin_to_one_core()

import torch  # noqa: E402 (after the threads are set)

import hwloop as hl  # noqa: E402
from hwloop.bench.timing import interleave  # noqa: E402
from hwloop.network.trains import merged  # noqa: E402

TAUS = (10e-3, 5e-3)
EVENTS, WINDOW = 150, 40e-3
#: How many times as fast as the dense matrix a convolution has to be; seconds a sample of the whole network; how many times the
#: time of a layer without a loop.
CONV_GOAL, NETWORK_GOAL, LOOP_GOAL = 6.0, 25e-3, 3.0


def main() -> int:
    """Print the figures; exit status 1 where a goal is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", choices=["conv", "loop", []], help="default: both")
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    missed = 0
    if "conv" in (chosen.what or ["conv"]):
        missed += convolution(chosen.rounds)
    if "loop" in (chosen.what or ["loop"]):
        missed += loops(chosen.rounds)
    return int(missed > 0)


def step(net: hl.Network, inputs: hl.Spikes) -> Callable[[], None]:
    """Forward and backward to all weights."""

    def run() -> None:
        net.zero_grad()
        out = net(inputs).output.times
        torch.autograd.backward(out, torch.ones_like(out))

    return run


def images(batch: int, seed: int = 0) -> hl.Spikes:
    """Events of random pixels of 28 x 28, one each."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.full((batch, 784), torch.inf)
    for sample in first:
        sample[torch.randperm(784, generator=generator)[:EVENTS]] = torch.rand(EVENTS, generator=generator) * WINDOW / 4
    return hl.Spikes.from_first_times(first, WINDOW)


def convolution(rounds: int) -> int:
    """Figures of ``conv``; how many goals were missed."""
    missed = 0
    maps = hl.Conv2d(1, 15, 5).init_normal_(0.5, 0.6, torch.Generator().manual_seed(0))
    matrix = hl.Dense(784, 15 * 576)
    found = maps.synapses((1, 28, 28))
    with torch.no_grad():
        matrix.weight.zero_()
        matrix.weight[found.targets, found.sources] = maps.weight.reshape(-1)[found.parameters]
    conv = hl.Network([maps, hl.LIF((15, 24, 24), *TAUS)], in_shape=(1, 28, 28))
    dense = hl.Network([matrix, hl.LIF(15 * 576, *TAUS)])
    for batch in (20, 1):
        inputs = images(batch)
        a, b = (int(net(inputs).output.counts.sum()) for net in (conv, dense))
        if a != b:
            raise SystemExit(f"the convolution answered with {a} spikes, the matrix with {b}")
        seconds = interleave({"conv": step(conv, inputs), "dense": step(dense, inputs)}, rounds)
        ratio = statistics.median(d / c for c, d in zip(seconds["conv"], seconds["dense"], strict=True))
        each = statistics.median(seconds["conv"]) / batch
        missed += ratio < CONV_GOAL
        print(f"conv 5x5, 1 -> 15 at 24x24, batch {batch}: {1e3 * each:.2f} ms a sample, {ratio:.1f} x as fast as its matrix "
              f"(goal {CONV_GOAL:g}), {a / batch / 8640:.2f} spikes a neuron")  # fmt: skip
    net, inputs = whole(), images(20)
    seconds = interleave({"whole": step(net, inputs)}, rounds)
    each = statistics.median(seconds["whole"]) / 20
    missed += each > NETWORK_GOAL
    rates = [float(p.counts.float().mean()) / p.n_units for p in net(inputs).populations]
    print(f"15C5-P2-40C5-P2-300-10: {1e3 * each:.1f} ms a sample (goal {1e3 * NETWORK_GOAL:g}); spikes a neuron "
          + ", ".join(f"{rate:.2f}" for rate in rates))  # fmt: skip
    return missed


def whole() -> hl.Network:
    """The convolutional network of Bacho & Chu, at rates of about a spike a neuron."""
    generator = torch.Generator().manual_seed(0)
    return hl.Network(
        [
            hl.Conv2d(1, 15, 5).init_normal_(1.2, 1.0, generator), hl.LIF((15, 24, 24), *TAUS),
            hl.SumPool2d(2), hl.Conv2d(15, 40, 5).init_normal_(0.01, 0.06, generator), hl.LIF((40, 8, 8), *TAUS),
            hl.SumPool2d(2), hl.Flatten(), hl.Dense(640, 300).init_normal_(0.002, 0.02, generator), hl.LIF(300, *TAUS),
            hl.Dense(300, 10).init_normal_(0.01, 0.05, generator), hl.LIF(10, *TAUS),
        ],
        in_shape=(1, 28, 28),
    )  # fmt: skip


def loops(rounds: int) -> int:
    """Figures of ``loop``; how many goals were missed."""
    missed = 0
    for dtype in (torch.float32, torch.float64):
        for own in (False, True):
            for delay in (None, 1e-3):
                ratio, rate = loop(rounds, dtype, own, delay)
                missed += ratio > LOOP_GOAL
                name = f"{str(dtype)[6:]}, {'own' if own else 'shared'} time constants, delay {(delay or 0) * 1e3:g} ms"
                print(f"loop of 120 neurons, {name}: {ratio:.2f} x a layer of equal events (goal <= {LOOP_GOAL:g}), "
                      f"{rate:.1f} spikes a neuron")  # fmt: skip
    return missed


def loop(rounds: int, dtype: torch.dtype, own: bool, delay: float | None) -> tuple[float, float]:
    """Time of the loop over that of the layer, and spikes a neuron."""
    n, batch, generator = 120, 50, torch.Generator().manual_seed(0)
    into = hl.Dense(40, n).init_normal_(0.5, 0.5, generator)
    again = hl.Dense(n, n, delay=delay).init_normal_(-0.02, 0.15, generator)
    spread = 1 + 0.1 * torch.randn(n, generator=generator) if own else torch.ones(n)
    taus = [tau * spread if own else tau for tau in TAUS]
    nodes = {"in": hl.Input(40), "h": hl.LIF(n, *taus)}
    looped = hl.Network.graph(nodes, [hl.Projection("in", "h", into), hl.Projection("h", "h", again)]).to(dtype)
    inputs = hl.Spikes.from_first_times(torch.rand(batch, 40, generator=generator).to(dtype) * WINDOW, WINDOW)
    spikes = looped(inputs).output.detach()
    joint = hl.Dense(40 + n, n, delay=None if delay is None else torch.cat([torch.zeros(40), torch.full((n,), delay)]))
    with torch.no_grad():
        joint.weight.copy_(torch.cat([into.weight, again.weight], dim=1))
    plain = hl.Network([joint, hl.LIF(n, *taus)]).to(dtype)
    both = merged([inputs, spikes])
    seconds = interleave({"loop": step(looped, inputs), "layer": step(plain, both)}, rounds)
    ratio = statistics.median(a / b for a, b in zip(seconds["loop"], seconds["layer"], strict=True))
    return ratio, float(spikes.counts.float().mean()) / n


if __name__ == "__main__":
    sys.exit(main())
