"""Writes the page that compares the training rules: what they need and keep, what they cost, where they run.

    python studies/run.py rules --out out/studies       # trains and deploys; hours
    python studies/rules_page.py --studies out/studies --page docs/rules.md

Nothing on the page is typed in but what each rule's exactness rests on, with the tests that show it: needs come from the
rules, refusals from the targets, times from a run here and now, accuracies from the rows of the study that are there.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from rule_recipes import CONVOLUTIONAL, RECIPES, counting_network

import hwloop as hl
from hwloop import rules, storage
from hwloop.errors import CompileError, HwloopError
from hwloop.experiment import Experiment
from hwloop.spikes import Spikes

#: What is exact about each rule, and the tests that show it.
EXACT = {
    "exact": (
        "spike times and their derivatives in weights, times and every neuron parameter, to rounding",
        "tests/simulate",
    ),
    "hm2bp": (
        "in continuous time `sum_j w_ij e_i|j = v_th o_i` (1e-12); in steps every spike and the sign of the first step of the "
        "authors' own run. The step from counts to gradient is a model: `o ~ a / v_th`",
        "tests/rules/test_hm2bp.py, test_hm2bp_authors_run.py",
    ),
    "na": (
        'the finite difference to every neighbour, by brute force; with `credit="g+quad"` the change of a squared loss at '
        "the output (1e-12). Taking it for a derivative is the model",
        "tests/rules/test_na.py",
    ),
    "spikegrad": (
        "events and quantised network, in whole numbers, in any order of events; `theta n = I - V`. Straight-through "
        "gradient up to O(1/alpha)",
        "tests/rules/test_spikegrad.py, test_spikegrad_events.py",
    ),
    "spide": (
        "the equilibrium's gradient in the limit of many steps: error of the spike solver below 0.75 / T_B against the "
        "linear solve; conservation in every step",
        "tests/rules/test_spide.py, test_spide_solver.py",
    ),
}
#: Batch of the timed training step, runs of which the fastest counts, share of pixels that are lit (MNIST: 0.19).
BATCH, RUNS, LIT = 100, 3, 0.19
#: The exact rule's network on MNIST.
EXACT_NETWORK = "mnist-784-350-10"
TARGETS = ("emulator:0", "loihi", "lava")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=Path, nargs="+", default=[Path("out/studies")])
    parser.add_argument("--page", type=Path, default=Path("docs/rules.md"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    rows = list(_rows(arguments.studies))
    page = "\n".join(
        [*_head(), *_needs(), *_exactness(), *_cost(), *_accuracy(rows), *_targets(), *_deployed(rows), ""]
    )
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    storage.write_bytes(arguments.page, page.encode())
    print(f"wrote {arguments.page} from {len(rows)} rows")


def _rows(folders: list[Path]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for folder in folders:
        for path in sorted(folder.glob("*.json")):
            document = storage.read_json(path, kind="hwloop-study", version=1)
            yield document["row"], document["found"]


def _table(header: list[str], body: list[list[str]]) -> list[str]:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in line] for line in body)]
    return ["| " + " | ".join(line) + " |" for line in lines] + [""]


def _head() -> list[str]:
    return [
        "# Training rules",
        "",
        "Written by `python studies/rules_page.py`; do not edit. All rules share data, losses, trainer, checkpoints and targets: "
        "`hl.fit(net, task, loss, rule=NAME)`.",
        "",
    ]


def _needs() -> list[str]:
    body = []
    for name in rules.names():
        needs = rules.find(name).needs
        body.append([f"`{name}`", " or ".join(needs.time), " or ".join(needs.reset), needs.spikes, needs.record])
    return ["## What each rule needs", "", *_table(["rule", "time", "reset", "spikes", "of a run it knows"], body)]


def _exactness() -> list[str]:
    body = [[f"`{name}`", *EXACT[name]] for name in rules.names()]
    return ["## What is exact about it", "", *_table(["rule", "exact", "shown by"], body)]


def _cost() -> list[str]:
    body = []
    for name in rules.names():
        step, what = _exact_step() if name == "exact" else _rule_step(name)
        step()
        seconds = min(_seconds(step) for _ in range(RUNS))
        body.append([f"`{name}`", what, f"{1e3 * seconds / BATCH:.2f} ms"])
    return [
        "## Cost of a training step",
        "",
        f"CPU time a sample of forward pass and gradient, one thread of the machine that wrote this page, batches of {BATCH} random "
        f"images of which {LIT:.0%} of the pixels are lit, untrained networks.",
        "",
        *_table(["rule", "network", "a sample"], body),
    ]


def _seconds(step: Callable[[], None]) -> float:
    start = time.process_time()
    step()
    return time.process_time() - start


def _images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    bright = torch.rand(BATCH, 784, generator=generator)
    return bright * (torch.rand(BATCH, 784, generator=generator) < LIT)


def _exact_step() -> tuple[Callable[[], None], str]:
    experiment = Experiment.load(EXACT_NETWORK)
    net, loss = experiment.build_network(), experiment.build_loss()
    images = _images()
    spikes = Spikes.from_first_times(torch.where(images > 0, (1 - images) * 10e-3, torch.inf), 40e-3)
    labels = torch.arange(BATCH) % 10

    def step() -> None:
        net.zero_grad(set_to_none=True)
        loss(net, net(spikes), labels).backward()

    return step, f"{EXACT_NETWORK.removeprefix('mnist-')}, events"


def _rule_step(name: str) -> tuple[Callable[[], None], str]:
    recipe = RECIPES[name]
    net, values = recipe.network(0), rules.Values(_images(), torch.arange(BATCH))
    labels = torch.arange(BATCH) % 10

    def step() -> None:
        net.zero_grad(set_to_none=True)
        recipe.loss(net, recipe.rule.differentiable(net, values), labels).backward()

    sizes = "-".join(str(n) for n in (net.n_in, *(stage.n_out for stage in net.stages)))
    return step, f"{sizes}, {net.steps} step{'s' * (net.steps > 1)}{'' if net.feedback is None else ', feedback'}"


def _accuracy(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    groups: dict[str, list[dict[str, Any]]] = {}
    for row, found in rows:
        if row["study"] == "rule":
            groups.setdefault(row["experiment"], []).append(found)
        elif row["study"] == "software" and row["experiment"] == EXACT_NETWORK and "curve" in found:
            groups.setdefault(f"{EXACT_NETWORK}-exact", []).append(found)
    body = []
    for experiment, group in sorted(groups.items()):
        test, validation = ([found[key] for found in group] for key in ("test", "validation"))
        spikes = [statistics.mean(layer) for layer in zip(*(found["spikes_a_sample"] for found in group), strict=True)]
        body.append(
            [
                experiment, str(len(group)), f"{100 * statistics.mean(validation):.2f} %",
                f"{100 * statistics.mean(test):.2f} %", f"{100 * min(test):.2f} %", str(len(group[0]["curve"])),
                " + ".join(f"{n:.0f}" for n in spikes),
            ]
        )  # fmt: skip
    header = [
        "network and rule",
        "seeds",
        "validation",
        "test, mean",
        "test, worst",
        "epochs",
        "spikes a sample, by population",
    ]
    curves = [
        f"- {experiment}, validation after each epoch (first seed): "
        + ", ".join(f"{100 * value:.2f}" for value in group[0]["curve"])
        for experiment, group in sorted(groups.items())
    ]
    missing = [name for name in RECIPES if f"mnist-784-400-10-{name}" not in groups]
    missing += [] if f"{EXACT_NETWORK}-exact" in groups else ["exact"]
    note = [f"Not measured yet: {', '.join(missing)}.", ""] if missing else []
    augmented = [f"mnist-conv-{name}" for name, recipe in CONVOLUTIONAL.items() if "augment" in recipe.fit]
    if augmented := [name for name in augmented if name in groups]:
        note += [
            f"Trained on images moved, turned and scaled a little: {', '.join(augmented)}; the others as they are.",
            "",
        ]
    return [
        "## MNIST, in software",
        "",
        "The epoch is chosen on 5,000 validation samples.",
        "",
        *_table(header, body),
        *note,
        *curves,
        "",
    ]


def _targets() -> list[str]:
    body = []
    for name in rules.names():
        for target in TARGETS:
            body.append([f"`{name}`", f"`{target}`", _carried(name, target)])
    return [
        "## Which targets carry it",
        "",
        "The networks of the study, as the targets answer. `exact` and `hm2bp` in continuous time are compiled as networks of LIF "
        "neurons, whatever trained them.",
        "",
        *_table(["rule", "target", "answer"], body),
    ]


def _carried(name: str, target: str) -> str:
    answers = []
    if name in ("exact", "hm2bp"):
        try:
            hl.compile(counting_network(0), hl.target.find(target))
            answers.append("continuous time: yes")
        except HwloopError as error:
            answers.append(f"continuous time: refused ({error})")
    if name != "exact":
        try:
            if not hasattr(hl.target.find(target), "step_device"):
                raise rules.steps.deployment.refusal(RECIPES[name].network(0), hl.target.find(target).capabilities)
            if target != "lava" or name not in ("spikegrad", "spide"):  # those would start lava-nc
                rules.open_network(RECIPES[name].network(0), target).close()
            answers.append("in steps: yes")
        except CompileError as error:
            answers.append(f"in steps: refused: {error}")
    return "; ".join(answers)


def _deployed(rows: list[tuple[dict[str, Any], dict[str, Any]]]) -> list[str]:
    body = []
    software = {row["experiment"]: f"{100 * found['test']:.2f} %" for row, found in rows if row["study"] == "counting"}
    for row, found in rows:
        if row["study"] == "rule-on":
            equal = f"{100 * found['agreement']['equal']:.2f} %"
            simulated, as_is = (f"{100 * found[key]:.2f} %" for key in ("simulated", "as_is"))
            tuned = f"{100 * found['tuned']:.2f} %" if "tuned" in found else ""
            samples = f"first {row['samples']:,}"
            body.append([row["experiment"], found["device"], found["ran_on"], samples, simulated, as_is, equal, tuned])
        if row["study"] == "counting-chip":
            chip = found["device"] + (" without mismatch: the ceiling of the same noise" if row["variant"] else "")
            tuned, as_is = (f"{100 * found[key]:.2f} %" for key in ("tuned", "as_is"))
            simulated = software.get(row["experiment"], "")
            body.append([row["experiment"], chip, found["ran_on"], "all", simulated, as_is, "", tuned])
    if not body:
        return []
    header = [
        "network and rule",
        "device",
        "ran on",
        "test samples",
        "simulated",
        "as is",
        "counts equal to the held weights' simulation",
        "in the loop",
    ]
    return ["## On the targets", "", *_table(header, body)]


if __name__ == "__main__":
    main()
