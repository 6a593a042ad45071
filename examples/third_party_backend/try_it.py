"""Run a small network on the example backend: ``pip install -e examples/third_party_backend`` comes first.

``--quick`` runs 5 samples instead of 100.
"""

from __future__ import annotations

import argparse

import numpy as np
import torch

import hwloop as hl


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true")
    samples = 5 if parser.parse_args(argv).quick else 100

    generator = torch.Generator().manual_seed(0)
    hidden, output = hl.Dense(5, 40, generator=generator), hl.Dense(40, 3, generator=generator)
    net = hl.Network([hidden, hl.LIF(40, 10e-3, 5e-3), output, hl.LIF(3, 10e-3, 5e-3)])
    rng = np.random.default_rng(0)
    events = [(np.sort(rng.uniform(0, 20e-3, 15)), rng.integers(0, 5, 15)) for _ in range(samples)]
    spikes = hl.Spikes.from_events(events, n_units=5, t_stop=50e-3)

    with hl.open("mychip:0", tick=10e-6) as chip:
        program = hl.compile(net, chip)
        chip.load(program)
        measured = chip.run(spikes)
        print(
            f"{measured.device_id} ({measured.ran_on}): {chip.writes.total} cells written, program {program.digest[:12]}"
        )

        hidden.weight.data[0, 0] *= 0.5  # one weight changes, one cell is written
        chip.load(program.with_weights(net))
        print(f"after one changed weight: {chip.writes.last} cell written")

        delayed = hl.Network([hl.Dense(5, 40, delay=1e-3), hl.LIF(40, 10e-3, 5e-3)])
        try:
            hl.compile(delayed, chip)
        except hl.CompileError as error:
            print(f"refused: {error}")


if __name__ == "__main__":
    main()
