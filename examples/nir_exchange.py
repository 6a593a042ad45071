"""Exchange networks with other tools as NIR files: write one, read it back, and read one of another tool.

    python examples/nir_exchange.py

Our own files keep every value: the network that comes back spikes bit for bit like the one that was written. A file of
another tool may be in other units of time, and scale its inputs in another way; ``net.nir_evidence`` says what was taken
and why, and what we cannot carry is refused by the name of the node.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import nir
import numpy as np
import torch

import hwloop as hl


def our_own(path: Path, samples: int) -> None:
    generator = torch.Generator().manual_seed(0)
    net = hl.Network(
        [
            hl.Dense(5, 40, delay=1e-3, generator=generator),
            hl.LIF(40, tau_mem=10e-3, tau_syn=5e-3),
            hl.Dense(40, 3, generator=generator),
            hl.LIF(3, tau_mem=10e-3, tau_syn=5e-3),
        ]
    )
    nir.write(path, net.to_nir())
    back = hl.Network.from_nir(nir.read(path))

    times, units = np.linspace(0, 20e-3, 15), np.arange(15) % 5
    spikes = hl.Spikes.from_events(
        [(times * (k + 1) / samples, units) for k in range(samples)], n_units=5, t_stop=50e-3
    )
    written, read = net(spikes).output, back(spikes).output
    print(
        f"written and read back: {int(written.counts.sum())} output spikes, equal: {torch.equal(written.times, read.times)}"
    )


def from_another_tool() -> None:
    # milliseconds, and as a tool that counts in steps of .1 ms writes its neurons; nothing said about either
    neurons = nir.CubaLIF(
        tau_syn=np.full(2, 5.0),
        tau_mem=np.full(2, 10.0),
        r=np.full(2, 10.0 / 0.1),
        v_leak=np.zeros(2),
        v_threshold=np.ones(2),
        w_in=np.full(2, 5.0 / 0.1),
    )
    graph = nir.NIRGraph.from_list(nir.Affine(weight=np.full((2, 3), 0.04), bias=np.zeros(2)), neurons)
    net = hl.Network.from_nir(graph)
    dense, lif = net.blocks[0]
    print(f"foreign file: {net.nir_evidence}")
    print(f"  tau_mem {lif.tau_mem[0]:g} s; weight 0.04 a step became {float(dense.weight[0, 0].detach()):g}")

    recurrent = nir.NIRGraph(
        {**graph.nodes, "back": nir.Linear(np.full((2, 2), -0.04))},
        [*graph.edges, ("cubalif", "back"), ("back", "cubalif")],
        type_check=False,
    )
    looped = hl.Network.from_nir(recurrent)
    print(f"  with a loop: {', '.join(f'{link.source} -> {link.target}' for link in looped.structure.links)}")

    neurons.r = np.full(2, 20.0)  # gains that agree on no step: what a spike is has to be said
    try:
        hl.Network.from_nir(graph)
    except hl.InputError as error:
        print(f"  refused: {error}")
    print(f"  said: {hl.Network.from_nir(graph, spike='jump').nir_evidence}")


def for_other_tools(path: Path) -> None:
    net = hl.Network([hl.Dense(5, 3, generator=torch.Generator().manual_seed(0)), hl.LIF(3, 10e-3, 5e-3)])
    nir.write(path, net.to_nir(dt=1e-4))  # as tools that count in steps of .1 ms run it rightly
    back = hl.Network.from_nir(path)
    worst = (back.blocks[0][0].weight - net.blocks[0][0].weight).detach().abs().max()
    print(f"for steps of .1 ms, and read back: weights differ by {float(worst):.1g} at most")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the file here; by default it is deleted")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        our_own(options.out or Path(folder) / "net.nir", samples=5 if options.quick else 100)
        for_other_tools(Path(folder) / "steps.nir")
    from_another_tool()


if __name__ == "__main__":
    main()
