"""The rows of the studies of ``run.py``: which are run, stage by stage, and where each one is kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import yield_rows
from rule_recipes import CONVOLUTIONAL, RECIPES

import hwloop as hl
from hwloop.checkpoint import load_checkpoint
from hwloop.experiment import Experiment

SEEDS, BASES, CHIPS, QUIET_CHIPS, SPREADS = range(5), range(3), range(10), range(5), (0.1, 0.2)
MNIST_CHIPS, FULL_SCALE_SEEDS = range(3), range(3)
#: Fine-tuning without noise: there is little to repair, and averaged weights keep what training found.
GENTLE = {"epochs": 2, "lr": 5e-4, "averaging": 0.995}
#: Steps (s) on the fixed-point target beside the one that is measured to be best: coarse ones are what the loop repairs.
COARSE = (1e-3, 4e-4)
#: Runs of the test set on a chip: its noise adds to the sampling error of one run.
TEST_REPEATS = 3

Row = dict[str, Any]


def experiment_of(name: str, data: str | None, seed: int) -> Experiment:
    source = {"source": "published"} if name == "yin-yang" else {}
    return Experiment.load(name).changed(seed=seed, task={**source, **({"data": data} if data else {})})


def base_network(row: Row, out: Path, experiment: Experiment) -> hl.Network:
    """The network that the software study of this row's experiment left."""
    net = experiment.build_network()
    kept = load_checkpoint(network_folder(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {name_of(row)}; run the software study first")
    net.load_state_dict(kept.state["weights"])
    return net


def name_of(row: Row) -> str:
    variant = "-".join(f"{key}-{value}" for key, value in row.get("variant", {}).items())
    chip = f"-chip-{row['chip']}" if "chip" in row else ""
    step = f"-dt-{row['dt']}" if "dt" in row else f"-epochs-{row['epochs']}" if "epochs" in row else ""
    target = f"-{row['target']}" if row.get("target") else ""
    return (
        f"{row['experiment']}-{row['study']}{target}-seed-{row['seed']}{chip}{step}{'-' + variant if variant else ''}"
    )


def path_of(out: Path, row: Row) -> Path:
    return out / f"{name_of(row)}.json"


def network_folder(out: Path, experiment: str, seed: int) -> Path:
    return out / "networks" / f"{experiment}-{seed}"


def _yin_yang() -> list[list[Row]]:
    return [[{"study": "software", "experiment": "yin-yang", "seed": seed} for seed in SEEDS]]


def _chips() -> list[list[Row]]:
    def row(seed: int, chip: int, **variant: float | bool) -> Row:
        return {"study": "chip", "experiment": "yin-yang", "seed": seed, "chip": chip, "variant": variant}

    base = [{"study": "software", "experiment": "yin-yang", "seed": seed} for seed in BASES]
    ceiling = [row(seed, 0, mismatch=False) for seed in BASES]
    noisy = [row(seed, chip, spread=spread) for spread in SPREADS for seed in BASES for chip in CHIPS]
    quiet = [row(0, chip, spread=spread, trial_noise=False) for spread in SPREADS for chip in QUIET_CHIPS]
    return [base, ceiling + noisy + quiet]


def _mnist() -> list[list[Row]]:
    return [[{"study": "software", "experiment": "mnist-784-350-10", "seed": 0}]]


def _full_scale() -> list[list[Row]]:
    """The experiments of Bacho & Chu on MNIST; those on EMNIST and Fashion-MNIST run by their files, where the data are."""
    dense = ("mnist-784-800-10-count", "mnist-784-350-10-augmented", "mnist-784-800-10-augmented")
    rows: list[Row] = [
        {"study": "software", "experiment": name, "seed": seed} for name in dense for seed in FULL_SCALE_SEEDS
    ]
    on_loihi: list[Row] = [
        {"study": "loihi", "experiment": name, "seed": 0, "dt": dt, "finetune": finetune}
        for name in dense[1:]  # the first caps the spikes of a neuron, which no step of loihi does
        for dt, finetune in ((1e-4, GENTLE), ("auto", {}))
    ]
    return [[*rows, {"study": "software", "experiment": "mnist-conv-count", "seed": 0}], on_loihi]


def _mnist_16() -> list[list[Row]]:
    name = "mnist-256-128-10"
    chips: list[Row] = [
        {"study": "chip", "experiment": name, "seed": 0, "chip": chip, "variant": {}} for chip in MNIST_CHIPS
    ]
    ceiling: Row = {"study": "chip", "experiment": name, "seed": 0, "chip": 0, "variant": {"mismatch": False}}
    twins: list[Row] = [{"study": "twin", "experiment": name, "seed": 0, "chip": chip} for chip in MNIST_CHIPS]
    return [[{"study": "software", "experiment": name, "seed": 0}], [*chips, ceiling, *twins]]


def _fixed_point() -> list[list[Row]]:
    yin_yang, mnist = "yin-yang", "mnist-784-350-10"
    base = [{"study": "software", "experiment": yin_yang, "seed": seed} for seed in BASES]
    base += [{"study": "software", "experiment": mnist, "seed": 0}]
    rows: list[Row] = [
        {"study": "loihi", "experiment": yin_yang, "seed": seed, "dt": dt} for dt in ("auto", *COARSE) for seed in BASES
    ]
    rows += [{"study": "loihi", "experiment": mnist, "seed": 0, "dt": dt, "finetune": GENTLE} for dt in (1e-4, 4e-4)]
    # the finest step: as is alone
    rows += [{"study": "loihi", "experiment": mnist, "seed": 0, "dt": "auto", "finetune": {}}]
    table: Row = {"study": "convergence", "experiment": yin_yang, "seed": 0}
    return [base, [table, *rows]]


def _real_lava() -> list[list[Row]]:
    kinds = (("yin-yang", 1e-4, 1000), ("yin-yang", 4e-4, 1000), ("mnist-784-350-10", 4e-4, 500))
    names = dict.fromkeys(name for name, _, _ in kinds)
    base: list[Row] = [{"study": "software", "experiment": name, "seed": 0} for name in names]
    rows: list[Row] = [
        {"study": "lava", "experiment": name, "seed": 0, "dt": dt, "samples": samples} for name, dt, samples in kinds
    ]
    return [base, rows]


def _rules() -> list[list[Row]]:
    def row(study: str, experiment: str, name: str, seed: int, **more: Any) -> Row:
        return {"study": study, "experiment": f"{experiment}-{name}", "recipe": name, "seed": seed, **more}

    dense, maps = "mnist-784-400-10", "mnist-conv"
    trained = [row("rule", dense, name, seed) for seed in BASES for name in RECIPES]
    trained += [{"study": "software", "experiment": "mnist-784-350-10", "seed": 0}]  # the exact rule
    convolutional = [row("rule", maps, name, 0) for name in CONVOLUTIONAL]
    on_loihi = [row("rule-on", dense, name, 0, target="loihi", samples=10_000, looped=10_000) for name in RECIPES]
    on_lava = [row("rule-on", dense, name, 0, target="lava", samples=200) for name in ("spikegrad", "spide")]
    small = "mnist-256-128-10-hm2bp"
    counting: Row = {"study": "counting", "experiment": small, "seed": 0}
    chips: list[Row] = [
        {"study": "counting-chip", "experiment": small, "seed": 0, "chip": chip, "variant": {}} for chip in MNIST_CHIPS
    ]
    ceiling: Row = {**chips[0], "variant": {"mismatch": False}}
    return [[*trained, *convolutional, counting], [*on_loihi, *on_lava, ceiling, *chips]]


def _yield() -> list[list[Row]]:
    experiment: Row = {"study": "yield", "experiment": "yin-yang", "seed": 0}
    software: Row = {**experiment, "study": "software"}
    return [[software], [experiment], [{**experiment, "chip": chip} for chip in yield_rows.CHIPS]]


def _noise() -> list[list[Row]]:
    base: Row = {"study": "noise-base", "experiment": "yin-yang", "seed": 0}
    return [[base], [{**base, "study": "noise", "chip": chip} for chip in CHIPS]]


STUDIES: dict[str, Callable[[], list[list[Row]]]] = {
    "yin-yang": _yin_yang,
    "chips": _chips,
    "mnist": _mnist,
    "full-scale": _full_scale,
    "mnist-16": _mnist_16,
    "rules": _rules,
    "loihi": _fixed_point,
    "lava": _real_lava,
    "yield": _yield,
    "noise": _noise,
}
