"""Calibrate a chip: what each of its neurons is, from spikes alone, and trimmed to what it should be.

python examples/02_train.py && python examples/04_calibrate.py     # writes chip-1.json
"""

import hwloop as hl
from hwloop import datasets

net = hl.Network.from_nir("yin_yang.nir")
test = datasets.yin_yang(seed=0, sizes=(1, 1, 500)).test

with hl.open("emulator:1", preset="bss2", session=0) as chip:
    program = hl.compile(net, chip)
    chip.load(program)
    print(f"as is: {hl.measure(chip, test).accuracy:.0%} ({chip.ran_on})")

    calibration = hl.calibrate(chip, program, repeats=8)  # and writes the chip's trim cells
    for name in ("tau_mem", "tau_syn", "gain"):
        spread = calibration.spread[name]
        print(f"{name} differs by {spread.before:.1%} between neurons, by {spread.after:.1%} once trimmed")
    calibration.save("chip-1.json")  # chip.apply(hl.Calibration.load(...)) writes it again, later

    chip.load(hl.compile(net, chip))
    print(f"calibrated: {hl.measure(chip, test).accuracy:.0%}")
