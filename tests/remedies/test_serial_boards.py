"""Opened boards: what they have no room for, what they have not, and where they cannot go on after a restart."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import LinkError, TargetError
from hwloop.mapping.partition import PartitionedProgram
from hwloop.network import LIF, Dense, Network
from hwloop.spikes import Spikes
from hwloop_fixed_point.graph import FixedGraph
from hwloop_loihi.compiler import compile_loihi
from hwloop_serial import calls, fixed_image, fixed_limits
from hwloop_serial.board.board import Room
from hwloop_serial.board.codes import CodesModel
from hwloop_serial.board.fixed import LIMITS
from hwloop_serial.messages import Feature, Function
from hwloop_serial.session import Rebooted

from .served import loaded, network, restarting, serving, small, spikes
from .support import Case, option, refused

# -- boards that take codes -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def board() -> Iterator[Any]:
    with serving() as url, loaded(url) as device:
        yield device


def test_clock_and_temperature_take_the_values_that_are_allowed(board: Any) -> None:
    Case("CodesDevice.advance", "advance({}); allowed: finite and >= 0 device s", lambda: board.advance(-1.0),
         (lambda: board.advance(0.0), lambda: board.advance(2.5))).follow()  # fmt: skip
    Case("CodesDevice.temperature", "temperature = {} K; allowed: finite", lambda: setattr(board, "temperature", np.inf),
         lambda: setattr(board, "temperature", 0.0)).follow()  # fmt: skip


@pytest.fixture(scope="module")
def probed() -> Iterator[Any]:
    """A board that samples membranes."""
    with serving(preset="worst") as url, loaded(url, network(hidden=100)) as device:
        yield device


def test_membranes_are_read_with_the_arguments_that_are_allowed(probed: Any) -> None:
    board = probed

    def read(population: int = 1, neurons: Any = (0, 2), times: Any = (0.0, 0.06)) -> bool:
        return bool(board.read_membrane(spikes(), population, np.array(neurons), np.array(times)).shape[0] == 20)

    at = "CodesDevice.read_membrane"
    option(at, "population {}; allowed: 0..{}", read, "population", 2, 0, 1).follow()
    option(at, "neurons {} of population {}; allowed: [k] whole numbers 0..{}", read, "neurons", [3], [0], [2]).follow()
    text = "times of shape {}; allowed: [samples], ascending, within 0..{} s"
    option(at, text, read, "times", [0.03, 0.01], [0.01, 0.03], [0.0, 0.06]).follow()
    most = board.membrane_channels
    many = np.arange(most + 1)

    def in_runs() -> bool:
        parts = [board.read_membrane(spikes(), 0, part, np.array([0.01])) for part in (many[:most], many[most:])]
        return sum(part.shape[1] for part in parts) == most + 1

    text = "samples {} membranes in a run, {} were asked for; read them in several runs, or use spikes alone"
    Case(at, text, lambda: board.read_membrane(spikes(), 0, many, np.array([0.01])),
         (in_runs, lambda: board.run(spikes()))).follow()  # fmt: skip


def test_membranes_of_a_network_in_pieces_are_those_of_its_pieces() -> None:
    with serving(preset="worst") as url, hl.open(url) as opened:
        device: Any = opened
        net = network(hidden=600)
        program: Any = device.target.partition(net)
        assert isinstance(program, PartitionedProgram)
        device.load(program)

        def read() -> Any:
            return device.read_membrane(spikes(), 0, np.array([0]), np.array([0.01]))

        def piece() -> Any:
            device.load(program.pieces[0].program)
            return read()

        text = "{} holds a program in pieces; load one of them, program.pieces[0].program and so on, or compare spikes"
        Case("CodesDevice.read_membrane", text, read, (lambda: device.run(spikes()), piece)).follow()


WRONG: list[tuple[str, Any, bytes]] = [
    ("POSITION", lambda board: board.run(spikes()), b"short"),
    ("POSITION", lambda board: board.run(spikes()), calls.POSITION.pack(1, 2, np.nan, 0.0)),
    ("SEEK", lambda board: board.seek(1, 2), bytes(31)),
    ("ADVANCE", lambda board: board.advance(1.0), bytes(33)),
    ("TEMPERATURE", lambda board: setattr(board, "temperature", 1.0), b""),
    ("WRITES", lambda board: board.load(hl.compile(network(hidden=100), board)), bytes(3)),
    ("TRIM_READ", lambda board: board._codes.clear() or board.trim_codes("v_th"), bytes(7)),
    ("TRIM_READ", lambda board: board._codes.clear() or board.trim_codes("v_th"), b"\xff\xff\xff\x7f" * 512),
    ("TRIM_WRITE", lambda board: board.write_trim("v_th", board.trim_codes("v_th"), refresh=True), bytes(5)),
    ("TRIM_WRITE", lambda board: board.write_trim("v_th", board.trim_codes("v_th"), refresh=True), calls.CELLS.pack(513)),
    ("MEMBRANE", lambda board: board.read_membrane(spikes(), 0, np.array([0]), np.array([0.01])), bytes(8 * 20 - 1)),
    ("MEMBRANE", lambda board: board.read_membrane(spikes(), 0, np.array([0]), np.array([0.01])), b"\xff" * 8 * 20),
]  # fmt: skip


@pytest.mark.parametrize(("name", "use", "wrong"), WRONG, ids=lambda value: value if isinstance(value, str) else "")
def test_a_call_that_is_answered_wrongly_comes_right_from_a_board_that_was_mended(
    probed: Any, name: str, use: Callable[[Any], Any], wrong: bytes
) -> None:
    call = probed.remote.call

    def faulty(function: int, arguments: bytes = b"") -> bytes:
        right: bytes = call(function, arguments)
        return wrong if function == Function[name] else right

    with mock.patch.object(probed.remote, "call", faulty):
        text = "answered {} with what it cannot be: {}; its firmware is at fault: report it to its author"
        refused("CodesDevice._asked", text, lambda: use(probed))
    probed.load(hl.compile(network(hidden=100), probed))
    use(probed)


def test_what_a_board_has_not_is_left_out_or_asked_of_a_board_that_has_it(board: Any) -> None:
    without = board.remote.hello._replace(features=board.remote.hello.features & ~Feature.CLOCK)
    with mock.patch.object(board.remote, "hello", without):
        text = "{} has no {}; leave it out, or use a board that has it"
        refused("CodesDevice._need", text, lambda: board.advance(1.0))
        board.run(spikes())
    board.advance(1.0)


def test_output_that_does_not_fit_fits_when_fewer_samples_are_sent() -> None:
    with (
        serving(room=Room(program=65536, input=65536, output=3000, max_body=256, window=2)) as url,
        loaded(url) as device,
    ):
        with pytest.raises(TargetError, match="send fewer at once, or a network that fires less"):
            device.run(spikes(100))
        device.run(spikes(2))
        net = network()
        with torch.no_grad():
            net.blocks[0][0].weight.abs_().neg_()  # nothing fires
        device.load(hl.compile(net, device))
        device.run(spikes(100))


def test_events_that_cannot_be_come_right_from_a_board_that_was_mended(board: Any) -> None:
    run = board.remote.run

    def cut(*given: Any, **options: Any) -> Any:
        outcome = run(*given, **options)
        return dataclasses.replace(outcome, output=outcome.output[:-1])

    with mock.patch.object(board.remote, "run", cut):
        text = "answered with events that cannot be: {}; its firmware is at fault: report it to its author"
        refused("SerialDevice._checked", text, lambda: board.run(spikes()))
    board.run(spikes())


def test_a_board_that_always_starts_anew_works_with_a_power_supply_that_holds(board: Any) -> None:
    def starts_anew() -> None:
        raise Rebooted("the board started anew")

    text = "{} started anew {} times within one call; check its power supply"
    with mock.patch.object(board.remote, "again"), mock.patch.object(board, "_restore"):
        refused("SerialDevice._surviving", text, lambda: board._surviving(starts_anew))
    board.run(spikes())


def test_a_board_that_is_open_in_the_process_before_the_fork_is_closed_there_and_opened_here() -> None:
    """What a fork sees: the number of the process that opened the board is not its own."""
    with serving() as url:
        device = loaded(url)
        here = device._opener
        device._opener = here + 1
        text = "two cannot speak on one line; open it here after closing it there"
        refused("SerialDevice._check_open", text, lambda: device.run(spikes()))
        device._opener = here
        device.close()
        with loaded(url) as opened:
            opened.run(spikes())


@pytest.mark.parametrize("how", ["broken off", "cannot be sought"])
def test_a_board_whose_cells_landed_nobody_knows_where_is_measured_from_the_beginning(how: str) -> None:
    with restarting(preset="worst") as served:
        device = loaded(f"serial:{served.url}")
        if how == "broken off":
            with (
                mock.patch.object(device.remote, "upload", side_effect=LinkError("unplugged")),
                pytest.raises(LinkError, match="unplugged"),
            ):
                device.load(hl.compile(network(), device))
            device.load(hl.compile(network(), device))
        has = type(device)._has
        served.restart()
        with mock.patch.object(type(device), "_has", lambda self, one: has(self, one) and (how != "cannot be sought" or one != Feature.NOISE)):  # fmt: skip
            text = "Begin the measurement again, or go on from a checkpoint"
            refused("CodesDevice._restore", text, lambda: device.run(spikes()))
        device.close()
        with loaded(f"serial:{served.url}") as again:
            again.run(spikes())


def test_a_board_whose_clock_is_ahead_after_a_restart_is_measured_from_the_beginning() -> None:
    with restarting(preset="bss2", later=3600.0) as served:
        device = loaded(f"serial:{served.url}", session=5)
        served.restart()
        text = "started anew and cannot be brought back to where it was: {}; begin the measurement again"
        refused("CodesDevice._restore_clock", text, lambda: device.run(spikes()))
        device.close()
        with loaded(f"serial:{served.url}", session=5) as again:
            again.run(spikes())


def test_a_target_of_another_kind_of_device_is_replaced_by_one_of_devices_made_from_the_base() -> None:
    class Other:
        name = "other"

        def open(self) -> object:
            return object()

    text = "{} opens a {}; allowed behind a board: devices made from DeviceBase"
    refused("CodesModel._opened", text, lambda: CodesModel(Other()))  # type: ignore[arg-type]
    CodesModel(find("emulator:3")).close()


# -- fixed-point boards ---------------------------------------------------------------------------


def test_a_network_that_a_board_has_no_room_for_is_made_smaller() -> None:
    with small(neurons=22) as url, hl.open(url) as opened:
        device: Any = opened
        with hl.open("loihi") as chip:
            large, less = (hl.compile(network(n), chip) for n in (20, 19))
        message = refused("FixedDevice._check_program", "{}: {}", lambda: device.load(large))
        assert "a smaller network, or a larger board" in message
        device.load(less)
        device.run(spikes())


def test_a_window_that_is_too_long_is_shortened_or_has_larger_ticks() -> None:
    with small(max_ticks=100) as url, loaded(url) as device:
        text = "{}: a window of {} ticks; allowed: {}. Use a shorter window, or a larger dt"
        refused("FixedDevice.run_graph", text, lambda: device.run(spikes()))
        device.run(spikes(t_stop=0.009))


def test_a_sample_of_too_many_events_is_sent_with_fewer() -> None:
    with (
        serving("loihi", Room(program=65536, input=20, output=3000, max_body=256, window=2)) as url,
        loaded(url) as device,
    ):
        text = "sample {} takes {} bytes of input; there are {}: send fewer events a sample"
        refused("FixedDevice._fitting", text, lambda: device.run(spikes()))
        few = torch.full((3, 5), torch.inf)
        few[:, 0] = 0.01
        device.run(Spikes.from_first_times(few, 0.06))


def test_a_program_of_another_target_is_compiled_for_the_board() -> None:
    with serving("loihi") as url, hl.open(url) as device, hl.open("emulator:3") as chip:
        other = hl.compile(network(), chip)
        text = "{} runs programs compiled for it or for loihi; got {}: compile the network for it"
        refused("device._program_of", text, lambda: device._check_program(other))  # type: ignore[attr-defined]
        device.load(hl.compile(network(), device))
        device.load(hl.compile(network(), find("loihi", dt=device.target.dt)))  # type: ignore[attr-defined]


def graph_of(net: Network) -> FixedGraph:
    return compile_loihi(net, 1e-4).graph


def fits(net: Network, room: int = 10**6, **limits: int | bool) -> None:
    graph = graph_of(net)
    fixed_limits.check(graph, LIMITS.model_copy(update=limits), fixed_image.write(graph), room, "board")


def biased(bias: bool) -> Network:
    net = Network([Dense(5, 3, bias=bias), LIF(3, 10e-3, 5e-3)])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.fill_(0.5)
    return net


def in_one_part(net: Network) -> bytes:
    """The image of ``net`` where an image has room for one population alone."""
    with mock.patch.object(fixed_image, "MOST_PARTS", 1):
        return fixed_image.write(graph_of(net))


CASES = [
    Case("fixed_limits.check", "{}, or a larger board", lambda: fits(network(), neurons=22),
         (lambda: fits(network(19), neurons=22), lambda: fits(network(), neurons=23))),
    Case("fixed_limits.check", "{} bytes of program memory ({})",
         lambda: fits(network(), 300), (lambda: fits(network(2), 300), lambda: fits(network(), 3000))),
    Case("fixed_limits.check", "build the network without {}", lambda: fits(biased(True), bias=False),
         lambda: fits(biased(False), bias=False)),
    Case("fixed_image.write", "an image has {} of each: build the network of fewer", lambda: in_one_part(network()),
         lambda: in_one_part(biased(False))),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_the_remedy_works(case: Case) -> None:
    case.follow()


# -- options of the target ------------------------------------------------------------------------


def test_options_that_a_board_has_not_are_left_out() -> None:
    net = network()
    with serving() as codes, serving("loihi") as fixed:
        ours, theirs = find(codes), find(fixed)
        cases = [
            Case("SerialTarget.dt", "{} runs in continuous time; leave dt out", lambda: find(codes).dt, lambda: ours.capabilities),
            Case("SerialTarget.dt", "{} is bound to ticks of {} s; dt = {} was asked: leave it out",
                 lambda: find(fixed, dt=1e-3).dt, lambda: theirs.dt == 1e-4),
            Case("SerialTarget.capabilities", "{} runs in continuous time; leave dt out",
                 lambda: find(codes, dt=1e-3).capabilities, lambda: ours.capabilities),
            Case("SerialTarget.partition", "{} runs no networks in pieces; leave partition out",
                 lambda: theirs.partition(net), lambda: theirs.compile(net)),
            Case("SerialTarget.choose_dt", "{} has no time step to choose; leave --dt out",
                 lambda: theirs.choose_dt(net, spikes()), lambda: theirs.compile(net)),
            Case("SerialTarget.open", "{} has no noise; leave session out", lambda: hl.open(fixed, session=3),
                 lambda: hl.open(fixed).close()),
        ]  # fmt: skip
        for case in cases:
            case.follow()
