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
    # milliseconds, weights that are scaled in the neuron, nothing said about either
    neurons = nir.CubaLIF(
        tau_syn=np.full(2, 5.0),
        tau_mem=np.full(2, 10.0),
        r=np.full(2, 2.0),
        v_leak=np.zeros(2),
        v_threshold=np.ones(2),
        w_in=np.ones(2),
    )
    graph = nir.NIRGraph.from_list(nir.Affine(weight=np.full((2, 3), 4.0), bias=np.zeros(2)), neurons)
    net = hl.Network.from_nir(graph)
    dense, lif = net.blocks[0]
    print(f"foreign file: {net.nir_evidence}")
    print(
        f"  tau_mem {lif.tau_mem[0]:g} s; weight 4 became {dense.weight[0, 0]:g}, with w_in / tau_syn and r folded in"
    )

    recurrent = nir.NIRGraph(graph.nodes, [*graph.edges, ("cubalif", "affine")], type_check=False)
    try:
        hl.Network.from_nir(recurrent)
    except hl.InputError as error:
        print(f"  refused: {error}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="keep the file here; by default it is deleted")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as folder:
        our_own(options.out or Path(folder) / "net.nir", samples=5 if options.quick else 100)
    from_another_tool()


if __name__ == "__main__":
    main()
