"""A board at the far end of a line: here a served one, whose arithmetic is that of ``loihi``; a real one has another name.

python examples/02_train.py && python examples/10_board.py
python examples/10_board.py serial:/dev/ttyUSB0        # yours, with the firmware of the project
"""

import sys
from contextlib import nullcontext

import torch

import hwloop as hl
from hwloop import datasets
from hwloop.target import find
from hwloop_serial.board.server import Serving

net = hl.Network.from_nir("yin_yang.nir")
test = datasets.yin_yang(seed=0, sizes=(1, 1, 200)).test

if sys.argv[1:]:
    line = nullcontext(sys.argv[1].removeprefix("serial:"))
else:
    line = Serving(find("loihi", dt=1e-4), "tcp://127.0.0.1:0")  # as `hwloop serve` does in a process of its own
with line as url, hl.open(f"serial:{url}") as board:
    program = hl.compile(net, board)  # its limits came over the line
    print(program.report().headline)
    board.load(program)
    measured = board.run(test.inputs)
    print(f"{board.ran_on}: {hl.measure(board, test).accuracy:.0%} of {len(test)} samples")

with hl.open("loihi", dt=1e-4) as chip:
    chip.load(hl.compile(net, chip))
    here = chip.run(test.inputs)
print("spike for spike what loihi answers in this process:", torch.equal(here.output.times, measured.output.times))
