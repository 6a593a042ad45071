"""`python -m tests.interop.run`: networks to and from the packages of the field, and the table of what came of them."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from importlib.metadata import version
from itertools import chain
from pathlib import Path

import torch

from . import cells, page
from .evaluate import inward, outward
from .package import FINENESS, Package

#: Module and class of each package, loaded when its turn comes.
PACKAGES = {
    "norse": "Norse", "snntorch": "SnnTorch", "spikingjelly": "SpikingJelly", "rockpool": "Rockpool", "sinabs": "Sinabs",
}  # fmt: skip


def package(name: str) -> Package:
    """The package of that name."""
    made: Package = getattr(import_module(f".peers.{name}", __package__), PACKAGES[name])()
    return made


def main() -> int:
    """1 where a cell is wrong and nothing says so, or a fault made on purpose is not called wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, required=True)
    parser.add_argument("--page", type=Path)
    parser.add_argument("--only", choices=[*PACKAGES], nargs="+", default=[*PACKAGES])
    given = parser.parse_args()
    torch.set_num_threads(1)
    found: list[cells.Cell] = []
    controls: list[cells.Control] = []
    for name in given.only:
        torch.manual_seed(0)
        for compared in chain(inward(package(name)), outward(package(name))):
            cell = compared.cell
            print(
                f"{cell.package:13} {cell.direction:4} {cell.kind:32} {cell.outcome:12} {cell.slope} {cell.gaps} {cell.says[:300]}",
                flush=True,
            )
            found.append(cell)
            for control in compared.controls():
                verdict = "WRONG" if control.seen else "not seen"
                print(f"{'':18} {control.fault:48} {verdict:12} {control.gaps}", flush=True)
                controls.append(control)
    versions = {name: version(name) for name in ("nir", "nirtorch", *given.only, "torch")}
    results = cells.Results(versions, FINENESS, found, controls)
    cells.write(results, given.results)
    if given.page:
        given.page.write_text(page.text(results), encoding="utf-8")
    return int(any(cell.outcome == "WRONG" for cell in found) or any(c.wanted and not c.seen for c in controls))


if __name__ == "__main__":
    sys.exit(main())
