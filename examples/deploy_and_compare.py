"""Deploy a trained Yin-Yang network to emulated analog chips as it is, and see how far their spikes are from the model's.

    python examples/train_yin_yang.py --out yin_yang.nir
    python examples/deploy_and_compare.py yin_yang.nir --chips emulator:0 emulator:1 --out out/deploy

Every chip has mismatch of its own, the same at each run. Without a file the network is untrained, which shows the path
but not an accuracy; ``--quick`` takes one chip and 50 samples. To repair the weights with what a chip measured, see
``hwloop finetune --help``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nir
import torch

import hwloop as hl
from hwloop import datasets
from hwloop.training import evaluate


def load(path: Path | None) -> hl.Network:
    if path is not None:
        return hl.Network.from_nir(nir.read(path))
    generator = torch.Generator().manual_seed(0)
    hidden, output = hl.Dense(5, 120, generator=generator), hl.Dense(120, 3, generator=generator)
    return hl.Network([hidden, hl.LIF(120, 10e-3, 5e-3), output, hl.LIF(3, 10e-3, 5e-3)])


def deploy(net: hl.Network, name: str, test: datasets.Dataset, out: Path | None) -> None:
    with hl.open(name, preset="bss2") as chip:
        program = hl.compile(net, chip)  # raises CompileError: limit, value, layer, cheapest fix
        print(program.report())
        chip.load(program)
        measured = chip.run(test.inputs)
    comparison = hl.compare(net(test.inputs), measured, net=net, labels=test.labels)
    print(comparison.to_text())
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        page = out / f"{name.replace(':', '-')}.html"
        comparison.to_html(page)
        print(f"report written to {page}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", type=Path, nargs="?", help="NIR file of a network of 5 inputs and 3 outputs")
    parser.add_argument("--chips", nargs="+", default=["emulator:0", "emulator:1", "emulator:2"])
    parser.add_argument("--out", type=Path, help="folder for the HTML reports")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)

    net = load(options.network)
    test = datasets.yin_yang(sizes=(1, 1, 50 if options.quick else 1000)).test
    print(f"accuracy {evaluate(net, test).accuracy:.1%} (simulated)")
    for name in options.chips[:1] if options.quick else options.chips:
        deploy(net, name, test, options.out)


if __name__ == "__main__":
    main()
