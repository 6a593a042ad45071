"""One NIR graph on eleven platforms, two of them chips: which of them differ from exact simulation, by how much, and why.

    python studies/one_neuron.py --data DIR                           # or HWLOOP_DATA; prints the table
    python studies/one_neuron.py --data DIR --page docs/one_neuron.md # and writes the page

``DIR/nir`` holds the graph (``published/lif_norse.nir``) and what every platform recorded of it (``one_neuron/*.csv``): the public
data of the paper on NIR (github.com/neuromorphs/NIR, ``paper/01_lif``). The graph says neither what a spike is nor how its neuron
is reset, so both are given; ``net.nir_evidence`` keeps that.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import hwloop as hl
from hwloop.files import data_folder

#: Time step of all recordings (s), and their number of steps.
STEP, STEPS = 1e-4, 1000
#: Threshold of a platform's membrane in its own unit, where it is not the graph's.
THRESHOLDS = {"nengo": 1.0, "snntorch": 2.5, "spinnaker2": 2.5, "lava_cpu_fixed": 1600.0, "lava_loihi_fixed": 1600.0}
#: What is behind a difference, as the recorded membranes show it.
SAME = "the same steps"
LATER = "an input spike acts one step after it came"
REASONS = {
    "exact": "the pulse integrated",
    "nengo": "the pulse integrated",
    "norse": SAME + ": adds the whole pulse, but decays by 1 - dt/tau, which is more than exp(-dt/tau)",
    "snntorch": SAME + ", as norse",
    "spinnaker2": SAME + ", as norse, in fixed point",
    "lava_cpu_float": LATER,
    "lava_cpu_fixed": LATER,
    "lava_loihi_fixed": LATER + " (the chip; equal to its emulation on a CPU)",
    "spyx": "the membrane crosses in the same steps; the spike is sent in the next",
    "rockpool": "adds the whole pulse and decays by exp(-dt/tau): 2 % more than the pulse brings, and over threshold one spike early",
    "sinabs": "as rockpool",
}


@dataclass(frozen=True)
class Row:
    """One platform: its output steps, and what its membrane shows in units of its threshold."""

    name: str
    steps: list[int]
    jump: float
    decay: float
    comparison: hl.Comparison


def trains(steps: np.ndarray) -> hl.Spikes:
    return hl.Spikes.from_events([(steps * STEP, np.zeros(len(steps), int))], 1, STEP * STEPS, torch.float64)


def read(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input spikes, membrane and output spikes of every step."""
    values = np.loadtxt(path, delimiter=",")
    return values[:, 0] > 0, values[:, 1], values[:, 2] > 0


def row(path: Path, simulated: hl.Record) -> Row:
    _, membrane, out = read(path)
    threshold = THRESHOLDS.get(path.stem, 0.1)
    first = int(np.flatnonzero(np.abs(membrane) > threshold / 100)[0])
    decay = float((membrane[first + 50] / membrane[first]) ** (1 / 50))
    measured = hl.Record((trains(np.flatnonzero(out)),), simulated.inputs)
    # a spike ten steps off is not the same one
    comparison = hl.compare(simulated, measured, window=5 * STEP, tolerance=1.5 * STEP)
    return Row(path.stem, np.flatnonzero(out).tolist(), float(membrane[first] / threshold), decay, comparison)


def through_loihi(net: hl.Network, spikes: hl.Spikes) -> str:
    """The same graph on the emulated Loihi, in the recordings' steps; or why not."""
    try:
        with hl.open("loihi", dt=STEP) as chip:
            chip.load(hl.compile(net, chip))
            return ", ".join(f"{t / STEP:.0f}" for t in chip.run(spikes).output.times[0].tolist())
    except hl.CompileError as error:
        return f"refused: {error}"


def table(ours: list[float], rows: list[Row]) -> str:
    lines = [
        "| platform | output steps | farthest (steps) | same spikes | first spike moves it by | kept a step | why |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        f"| hwloop | {', '.join(f'{t:.0f}' for t in ours)} | - | - | .392 | .9608 | the pulse integrated, in closed form |",
    ]
    for found in rows:
        farthest = max(abs(a - b) for a, b in zip(found.steps, ours, strict=True))
        matched = len(found.comparison.populations[0].matching.pairs[0])
        lines.append(
            f"| {found.name} | {', '.join(map(str, found.steps))} | {farthest:.0f} | {matched} of {len(ours)} | "
            f"{found.jump:.3f} | {found.decay:.4f} | {REASONS[found.name]} |"
        )
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> list[Row]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default=None, help="folder with nir/ (default: HWLOOP_DATA)")
    parser.add_argument("--page", type=Path, help="write the page here")
    options = parser.parse_args(argv)
    folder = data_folder(options.data, "nir", "one_neuron/exact.csv")
    net = hl.Network.from_nir(folder / "published" / "lif_norse.nir", spike=STEP, reset="value").double()
    spikes = trains(np.flatnonzero(read(folder / "one_neuron" / "exact.csv")[0]))
    with torch.no_grad():
        record = net(spikes)
    ours = [t / STEP for t in record.output.times[0].tolist()]
    rows = [row(path, record) for path in sorted((folder / "one_neuron").glob("*.csv"))]
    chip = through_loihi(net, spikes)
    print(net.nir_evidence)
    print(table(ours, rows))
    print(f"emulated Loihi: {chip}")
    if options.page is not None:
        options.page.write_text(PAGE.format(evidence=net.nir_evidence, table=table(ours, rows), chip=chip))
        print(f"page written to {options.page}")
    return rows


PAGE = """# One neuron on eleven platforms

Written by `python studies/one_neuron.py --page docs/one_neuron.md`; do not edit. The graph and the recordings are public data of the
paper on NIR (`neuromorphs/NIR`, `paper/01_lif`): one `nir.LIF` (tau 2.5 ms, r = 1, threshold .1), 34 input spikes of weight 1, 1,000
steps of .1 ms. Two rows are chips: `lava_loihi_fixed` (Loihi) and `spinnaker2`.

NIR does not say what a spike is, nor how a neuron is reset. Read here as

<!-- no-run: needs the paper's file -->
```python
net = hl.Network.from_nir("lif_norse.nir", spike=1e-4, reset="value")
```

which `net.nir_evidence` keeps: {evidence}.

{table}

*farthest*: largest distance of a spike from ours. *same spikes*: pairs within 5 steps (`hl.compare`). *first spike moves it by*: of the
threshold; a pulse of one step brings 1 - exp(-.04) = .0392 of r, .392 of the threshold, and .04 or .4 counted whole. *kept a step*:
share of the membrane that is left after one; exp(-.04) = .9608, 1 - .04 = .96.

Nengo, Norse, snnTorch and SpiNNaker2 agree with the paper's exact solution, and with ours, to the step. Lava, on a CPU and on Loihi, and Spyx are one step late throughout, which is
their pipeline and not the neuron. Rockpool and Sinabs spike ten steps early at first: they count the pulse whole and decay
exactly, and at step 450 their membrane is at 1.010 of the threshold, and resets, where it is at .990 exactly and at .998 in Norse: one input
spike short of it. Norse, snnTorch and SpiNNaker2 count it whole too, but Euler's decay takes off about what that adds.

The same graph on the emulated Loihi of this project: {chip}.
"""

if __name__ == "__main__":
    main()
