"""A convolutional network on analog chips: 8C5-P2-16C3-10 on MNIST of 16 x 16, in pieces on emulated `bss2`, and on `loihi`.

    python examples/longer/conv_chips.py --out out/conv-chips           # a quarter of an hour on one core, resumable
    python examples/longer/conv_chips.py --out out/quick --quick

1,418 neurons stand on 512 circuits in pieces, one after the other; a neuron of the second layer has 288 synapses and takes two
circuits. Prints accuracies on 2,000 test samples: in simulation; on a chip without mismatch, as is and in the loop, which is what
noise leaves (the ceiling); on a chip with mismatch as is, calibrated, trained on its twin, and in the loop after that; and on
`loihi`. All chips are emulated. What is chosen is chosen on validation data.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.losses import SpikeCount
from hwloop.training import NoiseModel, harden

TAU_MEM, TAU_SYN = 10e-3, 5e-3
#: Latest pixel and end of the window (s), and spikes wanted of the label and of the others; the largest count decides.
STIMULUS, LOSS, COUNT = datasets.Stimulus(0.0, 3.85e-3, 7.7e-3), SpikeCount(15, 2), {"decision": "count"}
#: Rounding of time stamps and lost events of `bss2`, which a calibration does not measure.
TIME_STEP, EVENT_LOSS = 1e-4, 1e-3


def network(seed: int) -> hl.Network:
    """Weights are drawn evenly from -w..w. All neurons have the same parameters, for pieces share the circuits of the chip."""
    generator = torch.Generator().manual_seed(seed)
    weights = [hl.Conv2d(1, 8, 5), hl.Conv2d(8, 16, 3), hl.Dense(256, 10)]
    with torch.no_grad():
        for layer, w in zip(weights, (2.5, 0.5, 1.0), strict=True):
            layer.weight.uniform_(-w, w, generator=generator)
    first, second, last = weights
    maps = [hl.LIF(shape, TAU_MEM, TAU_SYN) for shape in ((8, 12, 12), (16, 4, 4), 10)]
    layers = [first, maps[0], hl.SumPool2d(2), second, maps[1], hl.Flatten(), last, maps[2]]
    return hl.Network(layers, in_shape=(1, 16, 16))


def tuned(net: hl.Network, chip: hl.Device, task: datasets.Task, epochs: int, folder: Path, **options: object) -> float:
    """Fine-tune in the loop; accuracy on the test set."""
    hl.finetune(
        net, chip, task, LOSS, epochs=epochs, batch_size=50, lr=1e-3, lr_decay=0.6, validation_repeats=1, resume=True,
        checkpoint_dir=folder, **COUNT, **options,
    )  # fmt: skip
    return hl.measure(chip, task.test, **COUNT).accuracy


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--out", type=Path, default=Path("out/conv-chips"))
    options.add_argument("--chip", type=int, default=0)
    options.add_argument("--quick", action="store_true", help="sixty samples and one epoch: to see that it runs")
    chosen = options.parse_args()
    sizes, epochs, loops = ((60, 20, 20), 1, 1) if chosen.quick else ((55_000, 5_000, 2_000), 10, 4)
    task = datasets.subset(datasets.mnist(size=16, crop=20, stimulus=STIMULUS), *sizes)
    net, pieces = network(0), {"partition": True, **COUNT}
    part = datasets.subset(task, min(10_000, sizes[0]), min(1_000, sizes[1]), sizes[2])
    hl.fit(
        net, task, LOSS, epochs=epochs, batch_size=20, lr=3e-3, lr_decay=0.75, checkpoint_dir=chosen.out / "train", resume=True,
        **COUNT,
    )  # fmt: skip
    trained = {name: value.clone() for name, value in net.state_dict().items()}
    print(
        f"simulated: {hl.evaluate(net, task.test, **COUNT).accuracy:.2%} of {len(task.test)} test samples", flush=True
    )

    with hl.open("loihi", dt=1e-4) as chip:
        hl.deploy(net, chip, validation=part.validation, **COUNT)
        print(f"{chip.device_id}, as is: {hl.measure(chip, task.test, **COUNT).accuracy:.2%}", flush=True)
        print(f"  in the loop: {tuned(net, chip, part, 1, chosen.out / 'loihi'):.2%}", flush=True)

    net.load_state_dict(trained)
    with hl.open(f"emulator:{chosen.chip}", preset="bss2", mismatch=False) as chip:
        hl.deploy(net, chip, validation=part.validation, **pieces)
        print(f"bss2 without mismatch, as is: {hl.measure(chip, task.test, **COUNT).accuracy:.2%}", flush=True)
        print(
            f"  in the loop, the ceiling: {tuned(net, chip, part, loops, chosen.out / 'ceiling', partition=True):.2%}",
            flush=True,
        )

    net.load_state_dict(trained)
    with hl.open(f"emulator:{chosen.chip}", preset="bss2") as chip:
        program = hl.deploy(net, chip, validation=part.validation, **pieces)
        print(
            f"{chip.device_id}, as is: {hl.measure(chip, task.test, **COUNT).accuracy:.2%}; {program.notes[0]}",
            flush=True,
        )
        found = hl.calibrate(chip, program, synapses=False)
        program = hl.deploy(net, chip, validation=part.validation, mask=[int(n) for n in found.mask], **pieces)
        print(f"  calibrated: {hl.measure(chip, task.test, **COUNT).accuracy:.2%}", flush=True)
        twin, known = net.with_twin(found, program), found.noise
        noise = NoiseModel(known.threshold, known.jitter, TIME_STEP, EVENT_LOSS)
        harden(twin, program, part, LOSS, noise, epochs=loops, lr_decay=0.6, progress=False, **COUNT)
        hl.deploy(twin, chip, validation=part.validation, mask=[int(n) for n in found.mask], **pieces)
        print(f"  trained on its twin: {hl.measure(chip, task.test, **COUNT).accuracy:.2%}", flush=True)
        print(
            f"  and in the loop: {tuned(twin, chip, part, loops, chosen.out / 'loop', partition=True):.2%}", flush=True
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
