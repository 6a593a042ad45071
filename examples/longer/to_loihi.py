"""A network on Loihi's arithmetic: which step suits it, what rounding does to its spikes, and a netx file for lava-dl.

    python examples/02_train.py
    python examples/longer/to_loihi.py yin_yang.nir --netx yin_yang.net

Without a file the network is untrained, which shows the path but not an accuracy. Everything runs on the emulator, which is
bit for bit what lava-nc computes in fixed point; ``hl.open("lava", dt=...)`` runs the same graph on lava-nc itself.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nir
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.training import evaluate
from hwloop_loihi import Emulator, choose_dt, encode, read_netx, write_netx


def load(path: Path | None) -> hl.Network:
    if path is not None:
        return hl.Network.from_nir(nir.read(path))
    generator = torch.Generator().manual_seed(0)
    hidden, output = hl.Dense(5, 120, generator=generator), hl.Dense(120, 3, generator=generator)
    return hl.Network([hidden, hl.LIF(120, 10e-3, 5e-3), output, hl.LIF(3, 10e-3, 5e-3)])


def export(net: hl.Network, dt: float, inputs: hl.Spikes, path: Path) -> None:
    program = write_netx(path, net, dt=dt)  # raises CompileError where the format cannot say it, such as delays
    graph = read_netx(path)
    ticks, _ = encode(inputs, dt)
    n_ticks = graph.n_ticks(inputs.t_stop)
    written, read = (Emulator(g).run(ticks, n_ticks).layers[-1] for g in (program.graph, graph))
    equal = (written.to_raster(n_ticks) == read.to_raster(n_ticks)).all()
    print(f"{path}: {int(written.counts.sum())} output spikes; read back and run again, equal: {bool(equal)}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, nargs="?", help="NIR file of a network of 5 inputs and 3 outputs")
    parser.add_argument("--netx", type=Path, default=Path("yin_yang.net"), help="file for lava-dl")
    parser.add_argument("--samples", type=int, default=300)
    options = parser.parse_args(argv)

    net = load(options.network)
    task = datasets.yin_yang(sizes=(1, options.samples, options.samples))
    choice = choose_dt(net, task.validation.inputs)
    print(choice)
    with hl.open("loihi", dt=choice.dt) as device:
        program = hl.compile(net, device)
        print(program.report())
        device.load(program)
        measured = hl.measure(device, task.test).accuracy
    print(f"accuracy {evaluate(net, task.test).accuracy:.1%} (simulated), {measured:.1%} (loihi, emulated)")
    export(net, choice.dt, task.test.inputs, options.netx)


if __name__ == "__main__":
    main()
