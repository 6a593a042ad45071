"""Yin-Yang and MNIST 16 x 16 on the firmware's Cortex-M3 image in QEMU, beside ``loihi``: every spike, accuracy and weight.

    python examples/longer/qemu_board.py --out out/qemu            # trains, deploys, compares, fine-tunes in the loop; minutes
    python examples/longer/qemu_board.py --out out/qemu --quick    # few samples and epochs
    python examples/longer/qemu_board.py --port serial:/dev/ttyUSB0   # a board of your own in place of QEMU

Yin-Yang (5-120-3) is trained in software, deployed, compared and fine-tuned in the loop; MNIST (256-128-10) runs as it was trained.
All of it twice, on the board and on ``loihi``, which has the same arithmetic in this process: what differs ends the script. QEMU is an
emulator: its times say nothing of a micro-controller. Needs qemu-system-arm, gcc-arm-none-eabi and libnewlib-arm-none-eabi.
"""

from __future__ import annotations

import argparse
import copy
import json
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

import hwloop as hl
from hwloop.datasets import Dataset, Task
from hwloop.experiment import Experiment
from hwloop.losses import predict

ROOT = Path(__file__).resolve().parents[2]
IMAGE = ROOT / "build" / "firmware" / "hwloop-device.elf"
#: Samples of MNIST that are run together: their events fit the board's memories.
BATCH = 100


@contextmanager
def board(port: str | None) -> Iterator[str]:
    """Name of the board: ``port``, or the image in QEMU, its UART behind a TCP port of this computer."""
    if port is not None:
        yield port
        return
    folder = ROOT / "backends" / "hwloop_serial" / "firmware"
    subprocess.run(["make", "-s", "-C", str(folder), f"BUILD={IMAGE.parent}", "qemu"], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        number = free.getsockname()[1]
    seed = f"loader,addr=0x20000000,data={secrets.randbits(32)},data-len=4"
    command = ["qemu-system-arm", "-M", "mps2-an385", "-display", "none", "-monitor", "none", "-kernel", str(IMAGE)]
    command += ["-device", seed, "-serial", f"tcp:127.0.0.1:{number},server=on,wait=off,nodelay=on"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL) as running:
        try:
            while True:  # until it listens
                try:
                    socket.create_connection(("127.0.0.1", number)).close()
                    break
                except OSError:
                    if running.poll() is not None:
                        raise
                    time.sleep(0.05)
            yield f"serial:socket://127.0.0.1:{number}"
        finally:
            running.kill()


@dataclass
class Ran:
    """What one device did."""

    figures: dict[str, Any] = field(default_factory=dict)
    spikes: list[hl.Spikes] = field(default_factory=list)
    weights: list[torch.Tensor] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - start


def differences(one: Ran, other: Ran) -> list[str]:
    """What is not equal to the last bit."""
    found = [name for name in one.figures if one.figures[name] != other.figures[name]]
    for number, (ours, theirs) in enumerate(zip(one.spikes, other.spikes, strict=True)):
        same = torch.equal(ours.counts, theirs.counts) and torch.equal(ours.units, theirs.units)
        if not (same and torch.equal(ours.times, theirs.times)):
            found.append(f"spikes of record {number}")
    if not all(map(torch.equal, one.weights, other.weights)):
        found.append("weights")
    return found


def run_all(device: hl.Device, test: Dataset, ran: Ran, name: str) -> None:
    """The test set in batches; accuracy, events and spikes of all layers are kept."""
    right = events = 0
    for first in range(0, len(test), BATCH):
        part = test.select(slice(first, first + BATCH))
        record = device.run(part.inputs)
        right += int((predict(record.output, "first") == part.labels).sum())
        events += sum(int(population.counts.sum()) for population in record.populations)
        ran.spikes += record.populations
    ran.figures |= {f"{name}: accuracy": right / len(test), f"{name}: spikes": events}


def yin_yang(name: str, net: hl.Network, task: Task, experiment: Experiment) -> Ran:
    """Deployed, compared with the model, fine-tuned in the loop, and run again."""
    ran, tuned = Ran(), copy.deepcopy(net)
    with hl.open(name) as device:
        with ran.timed("deploy and run"):
            program = hl.compile(net, device)
            device.load(program)
            run_all(device, task.test, ran, "as is")
        with ran.timed("compare"):
            part = task.test.select(slice(0, BATCH))
            compared = hl.compare(net(part.inputs), device.run(part.inputs), net=net, labels=part.labels)
            ran.figures["comparison"] = [[*one.spikes, one.bias, one.rmse] for one in compared.populations]
        with ran.timed("fine-tune"):
            options = {**experiment.finetune_options(), "weight_scale": list(program.scales), "progress": False}
            result = hl.finetune(tuned, device, task, experiment.build_finetune_loss(), **options)
            ran.figures["losses of fine-tuning"] = [epoch.loss for epoch in result.history]
        with ran.timed("run fine-tuned"):
            device.load(result.program)
            run_all(device, task.test, ran, "fine-tuned")
    ran.weights = [dense.weight.detach() for dense, _ in tuned.blocks]
    return ran


def mnist(name: str, net: hl.Network, task: Task, experiment: Experiment) -> Ran:
    """As it was trained."""
    ran = Ran()
    with hl.open(name) as device, ran.timed("deploy and run"):
        device.load(hl.compile(net, device))
        run_all(device, task.test, ran, "as is")
    return ran


def trained(experiment: Experiment, task: Task, path: Path) -> hl.Network:
    """The network of ``experiment``, trained in software, or read from ``path`` where that was done before."""
    net = experiment.build_network()
    if path.exists():
        net.load_state_dict(load_file(path))
        return net
    hl.fit(net, task, experiment.build_loss(), **experiment.fit_options())
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, path)
    return net


#: Experiment, what is done with it, samples of its test set, and what ``--quick`` takes instead.
JOBS: dict[str, tuple[Callable[..., Ran], int | None, dict[str, Any], int]] = {
    "yin-yang": (yin_yang, None, {
        "task": {"train": 200, "validation": 50, "test": 50}, "training": {"epochs": 2}, "finetune": {"epochs": 1},
    }, 50),
    "mnist-256-128-10": (mnist, None, {"training": {"epochs": 1}}, 100),
}  # fmt: skip


def compared(name: str, port: str, options: argparse.Namespace) -> dict[str, Any]:
    """One experiment on the board and on ``loihi``: figures and times; ends the script where they differ."""
    job, samples, quick, few = JOBS[name]
    experiment = Experiment.load(name).changed(target={"name": "loihi"})
    if options.quick:
        experiment, samples = experiment.changed(**quick), few
    if options.training is not None:
        experiment = experiment.changed(training={"epochs": options.training})
    if options.epochs is not None:
        experiment = experiment.changed(finetune={"epochs": options.epochs})
    task = experiment.build_task()
    net = trained(experiment, task, options.out / f"{name}{'-quick' if options.quick else ''}.safetensors")
    task = Task(
        task.name, task.train, task.validation, task.test.select(slice(0, samples)), task.n_in, task.n_out, task.t_stop
    )
    here, there = (job(target, net, task, experiment) for target in ("loihi", port))
    simulated = hl.evaluate(net, task.test).accuracy
    different = differences(here, there)
    if different:
        raise SystemExit(f"{name}: {port} and loihi differ in: {', '.join(different)}")
    spikes = sum(int(one.counts.sum()) for one in there.spikes)
    print(
        f"{name}, {len(task.test)} test samples: equal, {spikes} spike times compared; accuracy simulated {simulated:.1%}",
        end="",
    )
    for figure, value in there.figures.items():
        if figure.endswith("accuracy"):
            print(f", {figure.removesuffix(': accuracy')} {value:.1%}", end="")
    print("; s on the board: " + ", ".join(f"{what} {taken:.1f}" for what, taken in there.seconds.items()))
    return {"simulated": simulated, **there.figures, "seconds": there.seconds, "seconds in process": here.seconds}


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("out/qemu"))
    parser.add_argument("--port", help="a board instead of QEMU, such as serial:/dev/ttyUSB0")
    parser.add_argument("--only", choices=tuple(JOBS))
    parser.add_argument("--training", type=int, help="epochs of training in software; default: the experiment's")
    parser.add_argument("--epochs", type=int, help="epochs of fine-tuning; default: the experiment's")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args(argv)
    found = {}
    with board(options.port) as port:
        for name in [options.only] if options.only else list(JOBS):
            found[name] = compared(name, port, options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "figures.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
