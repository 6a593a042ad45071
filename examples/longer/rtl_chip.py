"""Yin-Yang and MNIST 16 x 16 on the simulated chip, beside ``loihi``: every spike, comparison and weight, and the cycles that they took.

    python examples/longer/rtl_chip.py --out out/rtl                  # trains, deploys, compares, fine-tunes in the loop
    python examples/longer/rtl_chip.py --out out/rtl --samples 50     # of the Yin-Yang test set; 1,000 take minutes
    python examples/longer/rtl_chip.py --mnist FOLDER                 # a checkpoint of mnist-256-128-10 instead of one trained here

All of it runs twice, on ``rtl:`` and on ``loihi``, which has the same arithmetic in this process: what differs ends the script. Cycles
are those of the chip's clock; seconds are those of its simulation on this machine, and say nothing of an FPGA.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import hwloop as hl
from hwloop.checkpoint import load_checkpoint
from hwloop.datasets import Task
from hwloop.experiment import Experiment
from hwloop.losses import predict

#: Samples of a batch: their events fit the chip's memories.
BATCH = 100


@dataclass
class Ran:
    """What one device did, spikes and weights aside as plain values."""

    figures: dict[str, Any] = field(default_factory=dict)
    tensors: list[torch.Tensor] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    cycles: int = 0
    events: int = 0
    samples: int = 0


def run_all(device: hl.Device, data: Any, ran: Ran, name: str) -> None:
    """``data`` in batches: accuracy, spikes of all layers, cycles."""
    right = spikes = 0
    begun = time.perf_counter()
    for first in range(0, len(data), BATCH):
        part = data.select(slice(first, first + BATCH))
        record = device.run(part.inputs)
        right += int((predict(record.output, "first") == part.labels).sum())
        spikes += sum(int(population.counts.sum()) for population in record.populations)
        ran.tensors += [one for population in record.populations for one in (population.times, population.units)]
        ran.cycles += record.cycles or 0
        ran.events += record.synaptic_events or 0
    ran.seconds[name] = time.perf_counter() - begun
    ran.samples += len(data)
    ran.figures |= {f"{name}: accuracy": right / len(data), f"{name}: spikes": spikes}


def on(name: str, net: hl.Network, task: Task, experiment: Experiment) -> Ran:
    """Deployed, compared with the model, fine-tuned in the loop for an epoch, and run again."""
    ran, tuned = Ran(), copy.deepcopy(net)
    with hl.open(name) as device:
        program = hl.compile(net, device)
        device.load(program)
        run_all(device, task.test, ran, "as is")
        part = task.test.select(slice(0, BATCH))
        compared = hl.compare(net(part.inputs), device.run(part.inputs), net=net, labels=part.labels)
        ran.figures["comparison"] = [[*one.spikes, one.bias, one.rmse] for one in compared.populations]
        begun = time.perf_counter()
        options = {
            **experiment.finetune_options(),
            "weight_scale": list(program.scales),
            "progress": False,
            "epochs": 1,
        }
        result = hl.finetune(tuned, device, task, experiment.build_finetune_loss(), **options)
        ran.seconds["fine-tuning"] = time.perf_counter() - begun
        ran.figures["losses of fine-tuning"] = [epoch.loss for epoch in result.history]
        device.load(result.program)
        run_all(device, part, ran, "fine-tuned")
    ran.tensors += [dense.weight.detach() for dense, _ in tuned.blocks]
    return ran


def differences(one: Ran, other: Ran) -> list[str]:
    """What is not equal to the last bit."""
    found = [name for name in one.figures if repr(one.figures[name]) != repr(other.figures[name])]
    same = len(one.tensors) == len(other.tensors) and all(map(torch.equal, one.tensors, other.tensors))
    return found if same else [*found, "spikes or weights"]


def trained(experiment: Experiment, task: Task, path: Path, folder: Path | None) -> hl.Network:
    """The network of ``experiment``: from the checkpoint in ``folder``, from ``path`` where it was trained before, or trained now."""
    net = experiment.build_network()
    if folder is not None:
        kept = load_checkpoint(folder, net)
        if kept is None:
            raise SystemExit(f"{folder} holds no checkpoint")
        net.load_state_dict(kept.state["weights"])  # type: ignore[arg-type]
    elif path.exists():
        net.load_state_dict(load_file(path))
    else:
        hl.fit(net, task, experiment.build_loss(), **experiment.fit_options())
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return net


def compared(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """One experiment on both; ends the script where they differ."""
    experiment = Experiment.load(name).changed(target={"name": "loihi"}, training={"epochs": options.training})
    task = experiment.build_task()
    folder = options.mnist if name.startswith("mnist") else None
    net = trained(experiment, task, options.out / f"{name}.safetensors", folder)
    samples = options.samples if name == "yin-yang" else options.mnist_samples
    few = task.train.select(slice(0, options.tuned))
    task = Task(
        task.name, few, task.validation.select(slice(0, BATCH // 2)), task.test.select(slice(0, samples)), task.n_in, task.n_out, task.t_stop
    )  # fmt: skip
    here, there = (on(target, net, task, experiment) for target in ("loihi", options.target))
    if different := differences(here, there):
        raise SystemExit(f"{name}: {options.target} and loihi differ in: {', '.join(different)}")
    spikes = sum(there.figures[f"{part}: spikes"] for part in ("as is", "fine-tuned"))
    print(f"{name}: equal, {spikes} spikes, {len(few)} samples of fine-tuning and all weights compared")
    print(
        f"  accuracy as is {there.figures['as is: accuracy']:.1%} of {len(task.test)}, fine-tuned "
        f"{there.figures['fine-tuned: accuracy']:.1%} of {min(BATCH, samples)}"
    )
    print(
        f"  {there.cycles / there.samples:,.0f} cycles a sample, {there.events / there.samples:,.0f} synaptic events, "
        f"{there.cycles / max(1, there.events):.1f} cycles an event; s: "
        + ", ".join(f"{what} {taken:.1f}" for what, taken in there.seconds.items())
    )
    plain = {name: value for name, value in vars(there).items() if name != "tensors"}
    return {**plain, "seconds of loihi": here.seconds}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/rtl"))
    parser.add_argument("--target", default="rtl:", help="such as rtl:core=software, or serial:/dev/ttyUSB1")
    parser.add_argument("--only", choices=("yin-yang", "mnist-256-128-10"))
    parser.add_argument("--training", type=int, default=15, help="epochs of training in software")
    parser.add_argument("--samples", type=int, default=1000, help="of the Yin-Yang test set")
    parser.add_argument("--mnist-samples", type=int, default=100)
    parser.add_argument("--tuned", type=int, default=100, help="training samples of fine-tuning")
    parser.add_argument("--mnist", type=Path, help="folder with a checkpoint of mnist-256-128-10")
    options = parser.parse_args(argv)
    options.out.mkdir(parents=True, exist_ok=True)
    names = [options.only] if options.only else ["yin-yang", "mnist-256-128-10"]
    found = {name: compared(name, options) for name in names}
    (options.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
