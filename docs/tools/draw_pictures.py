"""Draw the pictures of README and docs: SVG files, the same from run to run.

    python docs/tools/draw_pictures.py            # all of them, into docs/pictures
    python docs/tools/draw_pictures.py neuron     # one

All but ``demo`` are computed here from small networks and emulated chips; ``demo`` draws the figures that ``hwloop demo
--quick`` printed, as the page of five minutes holds them.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

import hwloop as hl
from hwloop.experiment import Experiment

DOCS = Path(__file__).parents[1]
INK, SOFT, SIMULATED, MEASURED, GOOD = "#263238", "#90a4ae", "#00695c", "#e65100", "#1565c0"
TAU_MEM, TAU_SYN = 10e-3, 5e-3  # s


def figure(width: float, height: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    made = Figure(figsize=(width, height), layout="constrained")
    axes = [made.add_subplot(1, columns, k + 1) for k in range(columns)]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.spines[["left", "bottom"]].set_color(SOFT)
        ax.tick_params(colors=INK)
    return made, axes


def demo() -> Figure:
    """Bars of what the demonstration printed."""
    rows = re.findall(
        r"^ (emulator:\d)\S* +emulator +([\d.]+) % +([\d.]+) % +([\d.]+) % +([\d.]+) %",
        (DOCS / "quickstart.md").read_text("utf-8"),
        re.MULTILINE,
    )
    made, (ax,) = figure(7, 2.8)
    names = ("software (simulator)", "as is", "calibrated", "in the loop")
    for k, (name, color) in enumerate(zip(names, (SOFT, MEASURED, GOOD, SIMULATED), strict=True)):
        values = [float(row[k + 1]) for row in rows]
        bars = ax.bar(np.arange(len(rows)) + 0.2 * (k - 1.5), values, 0.19, color=color, label=name)
        ax.bar_label(bars, fmt="%.0f", fontsize=8, color=INK)
    ax.set(xticks=range(len(rows)), xticklabels=[row[0] for row in rows], ylim=(0, 108), ylabel="accuracy, %")
    made.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return made


def neuron() -> Figure:
    """The network of the page of five minutes: membrane, threshold and spikes of one hidden neuron."""
    torch.manual_seed(1)
    net = hl.Network(
        [hl.Dense(3, 4), hl.LIF(4, TAU_MEM, TAU_SYN, v_th=1.0), hl.Dense(4, 2), hl.LIF(2, TAU_MEM, TAU_SYN)]
    )
    spikes = hl.Spikes.from_events([([1e-3, 3e-3, 7e-3], [0, 1, 2])], n_units=3, t_stop=40e-3)
    hidden = net(spikes)[0].detach()
    fired = hidden.times[0][hidden.units[0] == 3].numpy()
    weight = net.layers[0].weight[3].detach().numpy()
    grid = np.sort(np.concatenate([np.linspace(0, 20e-3, 801), fired - 1e-9, fired]))
    u, i, last, trace = 0.0, 0.0, 0.0, []
    arrivals = {1e-3: weight[0], 3e-3: weight[1], 7e-3: weight[2]}
    for t in np.unique(np.concatenate([grid, list(arrivals)])):
        s, k = t - last, TAU_SYN / (TAU_MEM - TAU_SYN)
        u, i = (u + k * i) * np.exp(-s / TAU_MEM) - k * i * np.exp(-s / TAU_SYN), i * np.exp(-s / TAU_SYN)
        last = t
        i += arrivals.get(float(t), 0.0)
        if t in fired:
            u = 0.0
        trace.append((t, u))
    made, (ax,) = figure(7, 2.8)
    ax.plot([1e3 * t for t, _ in trace], [u for _, u in trace], color=SIMULATED, label="membrane of hidden neuron 3")
    ax.axhline(1, color=SOFT, lw=0.8, ls="--", label="threshold")
    ax.plot(1e3 * fired, np.full(len(fired), 1.12), "|", ms=12, mew=2, color=MEASURED, label="its spikes")
    ax.plot([1, 3, 7], np.full(3, -0.12), "|", ms=12, mew=2, color=INK, label="input spikes")
    ax.set(xlabel="time, ms", ylabel="u / v_th", xlim=(0, 20), ylim=(-0.25, 1.3))
    ax.legend(frameon=False, fontsize=9)
    return made


def compare() -> Figure:
    """One sample of the page on comparison: simulated and measured spikes."""
    experiment = Experiment.load("demo-quick")
    task, net, loss = experiment.build_task(), experiment.build_network(), experiment.build_loss()
    hl.fit(net, task, loss, epochs=10, batch_size=25, lr=4e-3, clip_norm=1.0, progress=False)
    inputs = task.test[:100][0]
    with hl.open("emulator:1", preset="bss2", session=0) as chip:
        chip.load(hl.compile(net, chip))
        measured = chip.run(inputs)
    with torch.no_grad():
        simulated = net(inputs)
    made, (ax,) = figure(7, 3.2)
    for record, color, size, label in (
        (simulated, SIMULATED, 9, "simulated"),
        (measured, MEASURED, 4, "emulated chip"),
    ):
        times, units = record[0].to_events()[0]
        ax.plot(1e3 * times, units, "|", color=color, ms=size, mew=1.4, label=label)
    ax.set(xlabel="time, ms", ylabel="hidden neuron")
    made.legend(loc="outside upper center", ncols=2, frameon=False, fontsize=9)
    return made


#: Boxes of the flow: text, place of the middle, colour.
BOXES = {
    "data": ("data", 0.06, 0.75, INK),
    "spikes": ("spikes", 0.22, 0.75, INK),
    "network": ("network\nsimulated, exact", 0.44, 0.75, SIMULATED),
    "record": ("record", 0.66, 0.75, SIMULATED),
    "gradient": ("loss,\ngradient", 0.87, 0.75, INK),
    "program": ("program\nweight codes", 0.44, 0.2, MEASURED),
    "device": ("device\nruns the spikes", 0.66, 0.2, MEASURED),
    "recording": ("recording\nmeasured", 0.87, 0.2, MEASURED),
}
ARROWS = (
    ("data", "spikes"), ("spikes", "network"), ("network", "record"), ("record", "gradient"), ("network", "program"),
    ("program", "device"), ("device", "recording"), ("recording", "record"),
)  # fmt: skip


def flow() -> Figure:
    """How data become a gradient, and where a chip comes in."""
    made = Figure(figsize=(8, 2.6))
    ax = made.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 1), ylim=(0, 1))
    ax.axis("off")
    for text, x, y, color in BOXES.values():
        half = 0.055 if "\n" not in text else 0.082
        ax.add_patch(
            FancyBboxPatch(
                (x - half, y - 0.13),
                2 * half,
                0.26,
                boxstyle="round,pad=0,rounding_size=0.02",
                fc="white",
                ec=color,
                lw=1.5,
            )
        )
        ax.text(x, y, text, ha="center", va="center", fontsize=9, color=color)
    for start, end in ARROWS:
        (one, x0, y0, _), (other, x1, y1, _) = BOXES[start], BOXES[end]
        wide = [0.057 if "\n" not in text else 0.084 for text in (one, other)]
        if y0 == y1:
            ends = (x0 + wide[0], y0), (x1 - wide[1], y1)
        else:
            up = 1 if y1 > y0 else -1
            ends = (x0, y0 + 0.135 * up), (x1, y1 - 0.135 * up)
        loop = (start, end) == ("recording", "record")
        ax.add_patch(
            FancyArrowPatch(
                *ends, arrowstyle="-|>", mutation_scale=11, color=MEASURED if loop else SOFT, lw=2 if loop else 1.2
            )
        )
    ax.text(0.83, 0.46, "takes its place", fontsize=9, color=MEASURED)
    ax.text(0.45, 0.46, "compile", fontsize=9, color=INK)
    return made


PICTURES: dict[str, Callable[[], Figure]] = {"demo": demo, "neuron": neuron, "compare": compare, "flow": flow}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="which; default: all")
    parser.add_argument("--out", type=Path, default=DOCS / "pictures")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    # the same file from run to run; text stays text
    with mpl.rc_context({"svg.hashsalt": "hwloop", "svg.fonttype": "none", "font.family": "sans-serif"}):
        for name in options.names or PICTURES:
            PICTURES[name]().savefig(
                options.out / f"{name}.svg", format="svg", metadata={"Date": None, "Creator": None}
            )


if __name__ == "__main__":
    main()
