"""Deploy a trained network to an analog chip, as it is. The chip is emulated, and says so.

python examples/02_train.py && python examples/03_deploy.py
"""

import hwloop as hl
from hwloop import datasets

net = hl.Network.from_nir("yin_yang.nir")
test = datasets.yin_yang(seed=0, sizes=(1, 1, 500)).test
print(f"simulated: {hl.evaluate(net, test).accuracy:.0%}")

for number in range(3):
    # every chip has neurons of its own; session=0 is the noise of its first session, which comes again
    with hl.open(f"emulator:{number}", preset="bss2", session=0) as chip:
        program = hl.compile(net, chip)  # what the chip cannot carry is refused, see below
        chip.load(program)
        print(f"{chip.device_id} ({chip.ran_on}): {hl.measure(chip, test).accuracy:.0%}")
print(program.report().headline)

too_large = hl.Network([hl.Dense(2000, 3), hl.LIF(3, tau_mem=10e-3, tau_syn=5e-3)])
try:
    hl.compile(too_large, chip)
except hl.CompileError as error:
    print("refused:", error)
