"""Weight codes that devices read back are those that they hold, in chains and graphs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import LinkError, TargetError
from hwloop_serial.board.server import Serving
from hwloop_serial.messages import Region


def chain() -> hl.Network:
    generator = torch.Generator().manual_seed(2)
    return hl.Network([hl.Dense(3, 6, generator=generator), hl.LIF(6, 10e-3, 5e-3),
                       hl.Dense(6, 2, generator=generator), hl.LIF(2, 10e-3, 5e-3)]).double()  # fmt: skip


def graph() -> hl.Network:
    """With a loop, and with few of the synapses that there could be from the inputs."""
    generator = torch.Generator().manual_seed(3)
    nodes = {"in": hl.Input(3), "hidden": hl.LIF(4, 10e-3, 5e-3), "out": hl.LIF(2, 10e-3, 5e-3)}
    projections = [
        hl.Projection("in", "hidden", hl.Sparse(3, 4, [0, 1, 2, 2], [0, 1, 2, 3], torch.tensor([3.0, -2.0, 1.0, 4.0]))),
        hl.Projection("hidden", "hidden", hl.Dense(4, 4, generator=generator)),
        hl.Projection("hidden", "out", hl.Dense(4, 2, generator=generator)),
    ]
    return hl.Network.graph(nodes, projections, output="out").double()


@pytest.fixture(params=["emulator", "loihi", "board"])
def device(request: pytest.FixtureRequest) -> Iterator[Any]:
    with ExitStack() as stack:
        if request.param == "board":
            url = stack.enter_context(Serving(find("loihi"), "tcp://127.0.0.1:0"))
            yield stack.enter_context(hl.open(f"serial:{url}"))
        else:
            options = {"preset": "bss2"} if request.param == "emulator" else {}
            yield stack.enter_context(hl.open(request.param + ":7" * bool(options), **options))


@pytest.mark.parametrize("net", [chain(), graph()], ids=["chain", "graph"])
def test_what_is_read_back_is_what_was_loaded_last(device: Any, net: hl.Network) -> None:
    for step in range(2):
        program = hl.compile(net, device)
        device.load(program)
        for read, layer in zip(device.read_codes(), program.layers, strict=True):
            assert read.shape == layer.codes.shape
            assert np.array_equal(read, layer.codes), step
        assert any(layer.codes.any() for layer in program.layers)
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.mul_(-0.5)


def test_nothing_is_read_back_without_a_program_or_once_closed(device: Any) -> None:
    with pytest.raises(TargetError, match="holds no program; call load"):
        device.read_codes()
    device.load(hl.compile(chain(), device))
    device.read_codes()
    device.close()
    with pytest.raises(TargetError, match="is closed"):
        device.read_codes()


def test_a_cell_of_a_chip_that_holds_another_code_is_read_as_it_is() -> None:
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(chain(), chip)
        chip.load(program)
        chip._chip.memory._codes[program.layers[1].neurons[1], 4] = 17
        read = chip.read_codes()
    assert read[1][1, 4] == 17
    assert int((read[1] != program.layers[1].codes).sum()) == 1


def test_a_board_whose_memory_holds_no_image_says_so_until_it_is_loaded_again() -> None:
    serving = Serving(find("loihi"), "tcp://127.0.0.1:0")
    with serving as url, hl.open(f"serial:{url}") as board:
        program = hl.compile(chain(), board)
        board.load(program)
        memory = serving.server.board.memories[Region.PROGRAM]
        memory._data[:4] = b"none"
        with pytest.raises(LinkError, match=r"holds no program image: .*load again"):
            board.read_codes()
        board.load(program)
        assert np.array_equal(board.read_codes()[0], program.layers[0].codes)
