"""The long experiments behind the figures of the README: every row is one JSON file, so an interrupted run goes on.

    python examples/studies.py yin-yang --out out/studies        # software, 5 seeds, published test set
    python examples/studies.py chips --out out/studies           # 3 base networks on 10 chips, 10 and 20 % spread
    python examples/studies.py mnist --out out/studies           # 784-350-10 in software, full data set
    python examples/studies.py mnist-16 --out out/studies        # 256-128-10: software, as is and in the loop on 3 chips
    python examples/studies.py loihi --out out/studies           # fixed point: step, as is, fine-tuned; convergence
    python examples/studies.py lava --out out/studies            # lava-nc itself beside its twin, first test samples
    python examples/studies.py rules --out out/studies           # MNIST 784-400-10 by each training rule in steps
    python examples/studies.py yield --out out/studies           # 30 chips by every strategy; also out/studies/yield/
    python examples/studies.py table --out out/studies           # what is there so far

Without a name: all of them. Test sets are looked at once, at the end of a row; every choice is made on validation data.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
import yield_rows
from rule_facts import facts
from rule_recipes import (
    CONVOLUTIONAL,
    COUNTING_FINETUNE,
    COUNTING_FIT,
    COUNTING_LOSS,
    COUNTING_RULE,
    RECIPES,
    Recipe,
    counting_network,
    counting_task,
)  # fmt: skip

import hwloop as hl
from hwloop import rules, storage
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.experiment import Experiment
from hwloop.losses import accuracy, predict
from hwloop_loihi import choose_dt, convergence

SEEDS, BASES, CHIPS, QUIET_CHIPS, SPREADS = range(5), range(3), range(10), range(5), (0.1, 0.2)
MNIST_CHIPS = range(3)
#: Steps (s) on the fixed-point target beside the one that is measured to be best: coarse ones are what the loop repairs.
COARSE = (1e-3, 4e-4)
#: Samples and steps (shares of tau_syn) of the convergence table.
CONVERGENCE_SAMPLES, CONVERGENCE_SHARES = 200, (1 / 5, 1 / 10, 1 / 20, 1 / 50, 1 / 100, 1 / 200, 1 / 500, 1 / 1000)
#: Runs of the test set on a chip: its noise adds to the sampling error of one run.
TEST_REPEATS = 3

Row = dict[str, Any]


def main() -> None:
    """Run the studies that are named, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", choices=[*STUDIES, "table", []], help="default: all")
    parser.add_argument("--out", type=Path, default=Path("out/studies"))
    parser.add_argument("--data", default=None, help="folder with mnist/ and yin_yang/ (default: HWLOOP_DATA)")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.studies or STUDIES:
        if name != "table":
            for stage in STUDIES[name]():
                _run_all(stage, arguments)
    print(_table(arguments.out))
    if (found := yield_rows.report(arguments.out, _experiment("yin-yang", arguments.data, 0))) is not None:
        print(f"\n{found}")


def _run_all(rows: list[Row], arguments: argparse.Namespace) -> None:
    """Run the rows that have no file yet, ``--jobs`` at a time."""
    missing = [row for row in rows if not _path(arguments.out, row).exists()]
    if arguments.jobs == 1:
        for row in missing:
            _run(row, arguments.out, arguments.data)
        return
    with ProcessPoolExecutor(arguments.jobs, mp_context=get_context("spawn")) as pool:
        for future in [pool.submit(_run, row, arguments.out, arguments.data) for row in missing]:
            future.result()


def _run(row: Row, out: Path, data: str | None) -> None:
    """One row, to its file."""
    torch.set_num_threads(int(row.get("threads", 1)))
    start, cpu = time.perf_counter(), time.process_time()
    found = RUNNERS[row["study"]](row, out, data)
    found |= {"seconds": round(time.perf_counter() - start, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}
    storage.write_json(_path(out, row), {"row": row, "found": found}, kind="hwloop-study", version=1)
    print(_name(row), json.dumps(found), flush=True)


def _experiment(name: str, data: str | None, seed: int) -> Experiment:
    source = {"source": "published"} if name == "yin-yang" else {}
    return Experiment.load(name).changed(seed=seed, task={**source, **({"data": data} if data else {})})


def _software(row: Row, out: Path, data: str | None) -> Row:
    """Train in software; keep the network for the rows that deploy it."""
    experiment = _experiment(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), experiment.build_network()
    start = time.perf_counter()
    result = hl.fit(net, task, experiment.build_loss(), **experiment.fit_options(), progress=False)
    seconds = time.perf_counter() - start
    save_checkpoint(_network(out, row["experiment"], row["seed"]), net, {"weights": dict(net.state_dict())}, step=0)
    test = hl.evaluate(net, task.test, decision=experiment.decision)
    with torch.no_grad():
        record = net(task.test.inputs[:1000])
    return {
        "ran_on": "simulator", "validation": result.best_validation.accuracy, "test": test.accuracy,
        "best_epoch": result.best_epoch, "training_seconds": round(seconds, 1),
        "curve": [epoch.validation.accuracy for epoch in result.history],
        "spikes_a_sample": [round(float(layer.counts.double().mean()), 1) for layer in record.populations],
    }  # fmt: skip


def _chip(row: Row, out: Path, data: str | None) -> Row:
    """Deploy a base network as is, fine-tune it in the loop, measure the test set before and after."""
    experiment = _experiment(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), _base(row, out, experiment)
    options: dict[str, Any] = {"preset": "bss2", **row["variant"]}
    how = {"decision": experiment.decision, "repeats": TEST_REPEATS}
    with hl.open(f"emulator:{row['chip']}", session=1, **options) as chip:
        hl.deploy(net, chip, validation=task.validation, decision=experiment.decision)
        as_is = hl.measure(chip, task.test, **how)
        result = hl.finetune(
            net, chip, task, experiment.build_finetune_loss(), **experiment.finetune_options(), progress=False
        )
        tuned = hl.measure(chip, task.test, **how)
        last = result.history[-1].health
        return {
            "ran_on": result.ran_on, "device": result.device_id, "as_is": as_is.accuracy, "tuned": tuned.accuracy,
            "validation": result.best_validation.accuracy, "best_epoch": result.best_epoch,
            "below_floor": last.below_floor, "missing": last.missing, "extra": last.extra, "writes": chip.writes.total,
        }  # fmt: skip


def _loihi(row: Row, out: Path, data: str | None) -> Row:
    """Deploy a base network on the fixed-point target as is, fine-tune it there, measure the test set before and after."""
    experiment = _experiment(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), _base(row, out, experiment)
    dt, found = row["dt"], {}
    if dt == "auto":
        choice = choose_dt(net, task.validation.inputs[:300], decision=experiment.decision)
        print(choice, flush=True)
        dt, found = choice.dt, {"choice": choice.to_dict()}
    software = hl.evaluate(net, task.test, decision=experiment.decision).accuracy
    with hl.open("loihi", dt=dt) as device:
        program = hl.deploy(net, device, validation=task.validation, decision=experiment.decision)
        print(program.report(), flush=True)
        found |= {"ran_on": device.ran_on, "dt_s": dt, "software": software}
        found |= {"as_is": hl.measure(device, task.test, decision=experiment.decision).accuracy}
        if row.get("finetune") == {}:
            return found
        options = experiment.finetune_options() | row.get("finetune", {})
        result = hl.finetune(net, device, task, experiment.build_finetune_loss(), **options, progress=False)
        tuned = hl.measure(device, task.test, decision=experiment.decision)
        return found | {
            "tuned": tuned.accuracy, "validation_as_is": result.as_is.accuracy,
            "validation": result.best_validation.accuracy, "best_epoch": result.best_epoch,
        }  # fmt: skip


def _lava(row: Row, out: Path, data: str | None) -> Row:
    """A base network, as is, on lava-nc and on its twin: the first test samples, and whether every spike is equal."""
    experiment = _experiment(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), _base(row, out, experiment)
    test = task.test.select(slice(row["samples"]))
    with hl.open("loihi", dt=row["dt"]) as twin, hl.open("lava", dt=row["dt"]) as lava:
        program = hl.compile(net, lava)
        recordings, seconds = [], []
        for device in (twin, lava):
            device.load(program)
            device.run(test.inputs[:2])  # compiles, or starts the worker
            recordings.append(device.run(test.inputs))
            seconds.append(recordings[-1].wall_time / len(test))
        pairs = list(zip(*(recording.populations for recording in recordings), strict=True))
        same = [torch.equal(a.times, b.times) and torch.equal(a.units, b.units) for a, b in pairs]
        right = [accuracy(predict(recording, experiment.decision), test.labels) for recording in recordings]
        return {
            "ran_on": lava.ran_on, "firmware": lava.firmware, "samples": len(test), "equal": all(same),
            "spikes": [int(b.counts.sum()) for _, b in pairs], "loihi": right[0], "as_is": right[1],
            "software": hl.evaluate(net, test, decision=experiment.decision).accuracy,
            "seconds_a_sample": {"loihi": seconds[0], "lava": seconds[1]},
        }  # fmt: skip


def _convergence(row: Row, out: Path, data: str | None) -> Row:
    """Spike times of the stepped graphs against the exact simulation, for ever smaller steps."""
    experiment = _experiment(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), _base(row, out, experiment)
    tau = experiment.network.tau_syn[0]
    rows = convergence(net, task.validation.inputs[:CONVERGENCE_SAMPLES], [share * tau for share in CONVERGENCE_SHARES])
    return {"ran_on": "emulator", "steps": [entry.to_dict() for entry in rows]}


def _base(row: Row, out: Path, experiment: Experiment) -> hl.Network:
    """The network that the software study of this row's experiment left."""
    net = experiment.build_network()
    kept = load_checkpoint(_network(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {_name(row)}; run the software study first")
    net.load_state_dict(kept.state["weights"])
    return net


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


def _mnist_16() -> list[list[Row]]:
    name = "mnist-256-128-10"
    chips: list[Row] = [
        {"study": "chip", "experiment": name, "seed": 0, "chip": chip, "variant": {}} for chip in MNIST_CHIPS
    ]
    ceiling: Row = {"study": "chip", "experiment": name, "seed": 0, "chip": 0, "variant": {"mismatch": False}}
    return [[{"study": "software", "experiment": name, "seed": 0}], [*chips, ceiling]]


def _fixed_point() -> list[list[Row]]:
    yin_yang, mnist = "yin-yang", "mnist-784-350-10"
    base = [{"study": "software", "experiment": yin_yang, "seed": seed} for seed in BASES]
    base += [{"study": "software", "experiment": mnist, "seed": 0}]
    rows: list[Row] = [
        {"study": "loihi", "experiment": yin_yang, "seed": seed, "dt": dt} for dt in ("auto", *COARSE) for seed in BASES
    ]
    # gentle: without noise there is little to repair, and averaged weights keep what training found
    gentle = {"epochs": 2, "lr": 5e-4, "averaging": 0.995}
    rows += [{"study": "loihi", "experiment": mnist, "seed": 0, "dt": dt, "finetune": gentle} for dt in (1e-4, 4e-4)]
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


def _rule(row: Row, out: Path, data: str | None) -> Row:
    """Train a network by one of the training rules in steps; keep it for the rows that deploy it."""
    recipe = _recipe(row)
    task, net = rules.mnist_values(data), recipe.network(row["seed"])
    kept = {"checkpoint_dir": out / "checkpoints" / _name(row), "resume": True}  # an interrupted row goes on
    result = hl.fit(net, task, recipe.loss, rule=recipe.rule, seed=row["seed"], progress=False, **kept, **recipe.fit)
    save_checkpoint(_network(out, _name(row), row["seed"]), net, {"weights": dict(net.state_dict())}, step=0)
    test = hl.evaluate(net, task.test, rule=recipe.rule)
    with torch.no_grad():
        record = recipe.rule.forward(net, task.test.inputs[:1000])
    return {
        "ran_on": "simulator", "validation": result.best_validation.accuracy, "test": test.accuracy,
        "best_epoch": result.best_epoch, "curve": [epoch.validation.accuracy for epoch in result.history],
        "training_seconds": round(sum(epoch.seconds for epoch in result.history), 1),
        "spikes_a_sample": [round(float(count.abs().sum(1).double().mean()), 1) for count in record.counts],
        **facts(recipe.rule, net, task, recipe.loss, recipe.fit["batch_size"]),
    }  # fmt: skip


def _recipe(row: Row) -> Recipe:
    return (CONVOLUTIONAL if row["experiment"].startswith("mnist-conv") else RECIPES)[row["recipe"]]


def _rule_on(row: Row, out: Path, data: str | None) -> Row:
    """Put a network that a rule has trained on a target: test samples, before and after training samples in the loop."""
    recipe, task = _recipe(row), rules.mnist_values(data)
    net = recipe.network(row["seed"])
    trained = _name({**row, "study": "rule", "target": ""})
    kept = load_checkpoint(_network(out, trained, row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no network for {_name(row)}; run the row {trained} first")
    net.load_state_dict(kept.state["weights"])
    test = task.test.select(slice(0, row["samples"]))
    simulated = hl.evaluate(net, test, rule=recipe.rule).accuracy
    with rules.open_network(net, row["target"]) as chip:
        start = time.perf_counter()
        measured = chip.run(test.inputs)
        seconds = time.perf_counter() - start
        found: Row = {
            "ran_on": chip.device.ran_on, "device": chip.device.device_id, "simulated": simulated,
            "as_is": _share_right(measured, test.labels), "seconds_a_sample": round(seconds / len(test), 6),
            "agreement": rules.agreement(measured, chip.device.expected(test.inputs)),
        }  # fmt: skip
        if row.get("looped"):
            part = task.subset(row["looped"], len(task.validation), len(task.test))
            options = {**recipe.fit, "epochs": 1, "lr": 0.1 * recipe.fit["lr"], "progress": False}
            hl.fit(net, part, recipe.loss, rule=recipe.rule, forward=chip.forward, **options)
            chip.device.write(net)
            found["tuned"] = _share_right(chip.run(test.inputs), test.labels)
    return found


def _counting(row: Row, out: Path, data: str | None) -> Row:
    """Train by HM2-BP in continuous time; keep the network for the chips."""
    task, net = counting_task(data), counting_network(row["seed"])
    kept = {"checkpoint_dir": out / "checkpoints" / _name(row), "resume": True}
    result = hl.fit(
        net, task, COUNTING_LOSS, rule=COUNTING_RULE, seed=row["seed"], progress=False, **kept, **COUNTING_FIT
    )  # fmt: skip
    save_checkpoint(_network(out, row["experiment"], row["seed"]), net, {"weights": dict(net.state_dict())}, step=0)
    test = hl.evaluate(net, task.test, decision="count").accuracy
    curve = [epoch.validation.accuracy for epoch in result.history]
    return {"ran_on": "simulator", "validation": result.best_validation.accuracy, "test": test, "curve": curve}


def _counting_chip(row: Row, out: Path, data: str | None) -> Row:
    """Fine-tune that network in the loop, by HM2-BP from measured spikes."""
    task, net = counting_task(data), counting_network(row["seed"])
    kept = load_checkpoint(_network(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {_name(row)}; run its software row first")
    net.load_state_dict(kept.state["weights"])
    with hl.open(f"emulator:{row['chip']}", session=1, preset="bss2", **row["variant"]) as chip:
        hl.deploy(net, chip, validation=task.validation, decision="count")
        as_is = hl.measure(chip, task.test, decision="count", repeats=TEST_REPEATS)
        result = hl.finetune(
            net, chip, task, COUNTING_LOSS, rule=COUNTING_RULE, seed=row["seed"], progress=False, **COUNTING_FINETUNE
        )  # fmt: skip
        tuned = hl.measure(chip, task.test, decision="count", repeats=TEST_REPEATS)
    return {
        "ran_on": result.ran_on, "device": result.device_id, "as_is": as_is.accuracy, "tuned": tuned.accuracy,
        "validation": result.best_validation.accuracy, "best_epoch": result.best_epoch,
    }  # fmt: skip


def _share_right(record: rules.StepRecord, labels: torch.Tensor) -> float:
    return float((predict(record, "readout") == labels).double().mean())


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


def _yield_row(row: Row, out: Path, data: str | None) -> Row:
    experiment = _experiment(row["experiment"], data, row["seed"])
    net = experiment.build_network()
    kept = load_checkpoint(_network(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {_name(row)}; run the software study first")
    net.load_state_dict(kept.state["weights"])
    return yield_rows.run(row, out, experiment, net)


STUDIES: dict[str, Callable[[], list[list[Row]]]] = {
    "yin-yang": _yin_yang,
    "chips": _chips,
    "mnist": _mnist,
    "mnist-16": _mnist_16,
    "rules": _rules,
    "loihi": _fixed_point,
    "lava": _real_lava,
    "yield": _yield,
}
RUNNERS: dict[str, Callable[[Row, Path, str | None], Row]] = {
    "software": _software,
    "chip": _chip,
    "loihi": _loihi,
    "lava": _lava,
    "convergence": _convergence,
    "rule": _rule,
    "rule-on": _rule_on,
    "counting": _counting,
    "counting-chip": _counting_chip,
    "yield": _yield_row,
}


def _name(row: Row) -> str:
    variant = "-".join(f"{key}-{value}" for key, value in row.get("variant", {}).items())
    chip = f"-chip-{row['chip']}" if "chip" in row else ""
    step = f"-dt-{row['dt']}" if "dt" in row else ""
    target = f"-{row['target']}" if row.get("target") else ""
    return (
        f"{row['experiment']}-{row['study']}{target}-seed-{row['seed']}{chip}{step}{'-' + variant if variant else ''}"
    )


def _path(out: Path, row: Row) -> Path:
    return out / f"{_name(row)}.json"


def _network(out: Path, experiment: str, seed: int) -> Path:
    return out / "networks" / f"{experiment}-{seed}"


def _table(out: Path) -> str:
    """Mean and worst of every group of rows that is there."""
    groups: dict[tuple[str, str, str], list[float]] = {}
    for path in sorted(out.glob("*.json")):
        document = storage.read_json(path, kind="hwloop-study", version=1)
        row, found = document["row"], document["found"]
        variant = ", ".join(f"{key} {value}" for key, value in row.get("variant", {}).items())
        variant = f"{row['study']}, dt {row['dt']}" if "dt" in row else variant
        for key in ("test", "as_is", "tuned"):
            if key in found:
                groups.setdefault((row["experiment"], variant, f"{key} ({found['ran_on']})"), []).append(found[key])
    lines = [
        f"{'experiment':18s} {'variant':34s} {'accuracy on the test set':26s} {'rows':>4s} {'mean':>6s} {'worst':>6s}"
    ]
    for (experiment, variant, what), values in sorted(groups.items()):
        mean, worst = 100 * statistics.mean(values), 100 * min(values)
        lines.append(f"{experiment:18s} {variant:34s} {what:26s} {len(values):4d} {mean:6.2f} {worst:6.2f}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
