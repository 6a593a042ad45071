"""The long experiments behind the figures of docs/figures.md: every row is one JSON file, so an interrupted run goes on.

    python studies/run.py yin-yang --out out/studies        # software, 5 seeds, published test set
    python studies/run.py chips --out out/studies           # 3 base networks on 10 chips, 10 and 20 % spread
    python studies/run.py mnist --out out/studies           # 784-350-10 in software, full data set
    python studies/run.py full-scale --out out/studies      # the seed paper's experiments; --rows picks some of them
    python studies/run.py mnist-16 --out out/studies        # 256-128-10: software, as is and in the loop on 3 chips
    python studies/run.py loihi --out out/studies           # fixed point: step, as is, fine-tuned; convergence
    python studies/run.py lava --out out/studies            # lava-nc itself beside its twin, first test samples
    python studies/run.py rules --out out/studies           # MNIST 784-400-10 by each training rule in steps
    python studies/run.py yield --out out/studies           # 30 chips by every strategy; also out/studies/yield/
    python studies/run.py noise --out out/studies           # 10 chips: single runs, repeats until sure; out/studies/noise.svg
    python studies/run.py table --out out/studies           # what is there so far

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

import noise_rows
import rule_rows
import torch
import twin_rows
import yield_rows
from study_rows import STUDIES, TEST_REPEATS, Row, base_network, experiment_of, name_of, network_folder, path_of

import hwloop as hl
from hwloop import storage
from hwloop.checkpoint import load_checkpoint, save_checkpoint
from hwloop.losses import accuracy, predict
from hwloop_loihi import choose_dt, convergence

#: Samples and steps (shares of tau_syn) of the convergence table.
CONVERGENCE_SAMPLES, CONVERGENCE_SHARES = 200, (1 / 5, 1 / 10, 1 / 20, 1 / 50, 1 / 100, 1 / 200, 1 / 500, 1 / 1000)


def main() -> None:
    """Run the studies that are named, and print their table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("studies", nargs="*", choices=[*STUDIES, "table", []], help="default: all")
    parser.add_argument("--out", type=Path, default=Path("out/studies"))
    parser.add_argument("--data", default=None, help="folder with mnist/ and yin_yang/ (default: HWLOOP_DATA)")
    parser.add_argument("--rows", default="", help="only rows whose name has this in it")
    parser.add_argument("--epochs", type=int, help="stop trainings in software there; with more a kept one goes on")
    parser.add_argument("--jobs", type=int, default=2, help="processes, one thread each")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.studies or STUDIES:
        if name != "table":
            for stage in STUDIES[name]():
                _run_all(stage, arguments)
    print(_table(arguments.out))
    if (found := yield_rows.report(arguments.out, experiment_of("yin-yang", arguments.data, 0))) is not None:
        print(f"\n{found}")
    if (found := noise_rows.report(arguments.out)) is not None:
        print(f"\n{found}")


def _run_all(rows: list[Row], arguments: argparse.Namespace) -> None:
    """Run the rows that have no file yet, ``--jobs`` at a time."""
    if arguments.epochs is not None:
        rows = [{**row, "epochs": arguments.epochs} if row["study"] == "software" else row for row in rows]
    missing = [row for row in rows if arguments.rows in name_of(row) and not path_of(arguments.out, row).exists()]
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
    storage.write_json(path_of(out, row), {"row": row, "found": found}, kind="hwloop-study", version=1)
    print(name_of(row), json.dumps(found), flush=True)


def _software(row: Row, out: Path, data: str | None) -> Row:
    """Train in software; keep the network for the rows that deploy it."""
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), experiment.build_network()
    kept, options = out / "training" / f"{row['experiment']}-{row['seed']}", experiment.fit_options()
    options["epochs"] = min(row.get("epochs", options["epochs"]), options["epochs"])
    result = hl.fit(net, task, experiment.build_loss(), **options, progress=False, checkpoint_dir=kept, resume=True)
    seconds = sum(epoch.seconds for epoch in result.history)
    save_checkpoint(
        network_folder(out, row["experiment"], row["seed"]), net, {"weights": dict(net.state_dict())}, step=0
    )
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
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), base_network(row, out, experiment)
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
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), base_network(row, out, experiment)
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
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), base_network(row, out, experiment)
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
    experiment = experiment_of(row["experiment"], data, row["seed"])
    task, net = experiment.build_task(), base_network(row, out, experiment)
    tau = experiment.network.tau_syn[0]
    rows = convergence(net, task.validation.inputs[:CONVERGENCE_SAMPLES], [share * tau for share in CONVERGENCE_SHARES])
    return {"ran_on": "emulator", "steps": [entry.to_dict() for entry in rows]}


def _yield_row(row: Row, out: Path, data: str | None) -> Row:
    experiment = experiment_of(row["experiment"], data, row["seed"])
    net = experiment.build_network()
    kept = load_checkpoint(network_folder(out, row["experiment"], row["seed"]), net)
    if kept is None:
        raise SystemExit(f"no base network for {name_of(row)}; run the software study first")
    net.load_state_dict(kept.state["weights"])
    return yield_rows.run(row, out, experiment, net)


RUNNERS: dict[str, Callable[[Row, Path, str | None], Row]] = {
    "software": _software,
    "chip": _chip,
    "loihi": _loihi,
    "lava": _lava,
    "convergence": _convergence,
    "rule": rule_rows.train,
    "rule-on": rule_rows.on_target,
    "counting": rule_rows.train_counting,
    "counting-chip": rule_rows.counting_on_chip,
    "yield": _yield_row,
    "twin": twin_rows.on_twin,
    "noise-base": noise_rows.train,
    "noise": noise_rows.on_chip_row,
}


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
