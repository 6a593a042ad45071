"""Boards opened: the same spikes as in process, parts of a batch, refusals of a board's limits, states that come back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch

import hwloop as hl
from hwloop.device.registry import find
from hwloop.errors import CompileError, InputError, LinkError, OptionError, TargetError
from hwloop.network import LIF, Dense, Network
from hwloop.record import Recording
from hwloop.spikes import Spikes
from hwloop_serial import information
from hwloop_serial.board.board import Room
from hwloop_serial.board.fixed import LIMITS, FixedModel
from hwloop_serial.board.lines import line
from hwloop_serial.board.server import Server, Serving, model_of
from tests.reliability.support import Restarting


def network(dtype: torch.dtype = torch.float32, weight: float = 1.2) -> Network:
    g = torch.Generator().manual_seed(1)
    return Network([
        Dense(5, 20).init_normal_(weight, weight, g), LIF(20, 10e-3, 5e-3), Dense(20, 3).init_normal_(0.4, 0.4, g), LIF(3, 10e-3, 5e-3),
    ]).to(dtype)  # fmt: skip


def inputs(batch: int = 20, dtype: torch.dtype = torch.float32) -> Spikes:
    rng = np.random.default_rng(2)
    return Spikes.from_first_times(torch.tensor(np.sort(rng.random((batch, 5)) * 0.02, 1), dtype=dtype), 0.06)


def same(found: Recording, expected: Recording) -> None:
    for a, b in zip(found.populations, expected.populations, strict=True):
        assert a.times.dtype == b.times.dtype
        for (times, units), (other_times, other_units) in zip(a.to_events(), b.to_events(), strict=True):
            np.testing.assert_array_equal(times, other_times)
            np.testing.assert_array_equal(units, other_units)
    assert (found.lost_events, found.late_events) == (expected.lost_events, expected.late_events)
    assert found.program_digest == expected.program_digest
    assert found.device_id == expected.device_id
    assert found.ran_on == expected.ran_on


@contextmanager
def serving(name: str, room: Room | None = None, **options: Any) -> Iterator[str]:
    with Serving(find(name, **options), "tcp://127.0.0.1:0", room) as url:
        yield f"serial:{url}"


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["emulator:3", "loihi"])
def test_spikes_over_a_line_are_those_in_process(name: str, dtype: torch.dtype) -> None:
    net, spikes = network(dtype), inputs(dtype=dtype)
    options = {} if name == "loihi" else {"session": 4}
    with serving(name) as url, hl.open(url, **options) as board, hl.open(name, **options) as chip:
        for device in (board, chip):
            device.load(hl.compile(net, device))
        for repeats in (1, 3):
            same(board.run(spikes, repeats=repeats), chip.run(spikes, repeats=repeats))
        with torch.no_grad():
            net.blocks[0][0].weight[2] *= 0.5
        for device in (board, chip):
            device.load(device.program.with_weights(net))  # type: ignore[attr-defined]
        same(board.run(spikes), chip.run(spikes))
        assert board.writes == chip.writes


def test_trim_cells_clock_temperature_and_membranes_are_those_in_process() -> None:
    net, spikes = network(), inputs(4)
    how = {"preset": "worst", "session": 4}
    with (
        serving("emulator:3", preset="worst") as url,
        hl.open(url, session=4) as board,
        hl.open("emulator:3", **how) as chip,
    ):
        found: list[list[Any]] = []
        for opened in (board, chip):
            device: Any = opened
            device.load(hl.compile(net, device))
            codes = np.arange(20) % 7 + device.trim_ranges["v_th"].default
            device.write_trim("v_th", codes, np.arange(20))
            device.write_trim("v_th", codes[:5] + 1, np.arange(5), refresh=True)
            device.advance(7200.0)
            device.temperature = 3.0
            seen = [device.run(spikes), device.read_membrane(spikes, 0, np.arange(3), np.array([0.01, 0.02, 0.05]))]
            device.seek(9, 17)
            seen += [device.run(spikes), device.device_time, device.temperature, device.session, device.batch]
            found.append(
                [*seen, device.trim_codes("v_th"), device.writes, device.trim_ranges, device.membrane_channels]
            )
    ours, theirs = found
    same(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1])
    same(ours[2], theirs[2])
    np.testing.assert_array_equal(ours[7], theirs[7])
    assert ours[3:7] == theirs[3:7]
    assert ours[8:] == theirs[8:]


class Restarted:
    """A served target that can lose its power between two requests."""

    def __init__(self, name: str, **options: Any) -> None:
        self.target, self.port = find(name, **options), 0
        self.served = Restarting(lambda: model_of(self.target), self._line)
        self.url, self.restart = f"serial:{self.served.url}", self.served.restart

    def _line(self) -> Any:
        made = line(f"tcp://127.0.0.1:{self.port}")
        self.port = int(made.url.rpartition(":")[2])
        return made

    def __enter__(self) -> Restarted:
        return self

    def __exit__(self, *_: object) -> None:
        self.served.stop()


def use(device: Any, restart: Callable[[], None]) -> list[Any]:
    """Loads, trim cells, runs and a seek, the board started anew between any two; what came out."""
    net, spikes, found = network(), inputs(4), []

    def run() -> None:
        restart()
        found.extend([device.run(spikes), device.device_time, device.writes])

    device.load(hl.compile(net, device))
    run()
    if device.trim_ranges:
        device.write_trim("v_th", np.arange(20) % 5 + device.trim_ranges["v_th"].default, np.arange(20))
    for share in (0.5, 1.0, 1.7):  # cells that are written again, and some that are not
        with torch.no_grad():
            net.blocks[0][0].weight[3:9] *= share
        restart()
        device.load(device.program.with_weights(net))
    run()
    run()
    device.temperature = 2.0
    restart()
    device.seek(4, 11)
    run()
    with torch.no_grad():
        net.blocks[1][0].weight *= 0.9
    device.load(device.program.with_weights(net))
    if device.trim_ranges:
        device.write_trim("v_th", np.arange(5) + device.trim_ranges["v_th"].default, np.arange(5))
    run()
    return found


@pytest.mark.parametrize("preset", ["ideal", "bss2", "dynapse", "worst"])
def test_a_board_that_starts_anew_between_any_two_requests_measures_what_it_would_have(preset: str) -> None:
    with Restarted("emulator:3", preset=preset) as served, hl.open(served.url, session=4) as board:
        ours = use(board, served.restart)
    with hl.open("emulator:3", preset=preset, session=4) as chip:
        theirs = use(chip, lambda: None)
    for one, other in zip(ours, theirs, strict=True):
        if isinstance(one, Recording):
            same(one, other)
        else:
            assert one == other


def test_a_board_whose_cells_landed_nobody_knows_where_is_not_brought_back_until_it_is_sought_with_a_program() -> None:
    """A load that broke off may have written cells, each with an error of its own."""
    with Restarted("emulator:3", preset="worst") as served, hl.open(served.url, session=4) as opened:
        board: Any = opened
        program = hl.compile(network(), board)
        board.load(program)
        with (
            mock.patch.object(board.remote, "upload", side_effect=LinkError("unplugged")),
            pytest.raises(LinkError, match="unplugged"),
        ):
            board.load(program)
        board.load(program)
        board.run(inputs(2))
        served.restart()
        with pytest.raises(LinkError, match="since a load broke off since its noise was last sought. Begin"):
            board.run(inputs(2))


def test_a_batch_larger_than_the_board_runs_in_parts() -> None:
    """40 samples of 5 inputs take 34 bytes each; 500 bytes take 14 of them, and outputs overflow in between."""
    net, spikes = network(), inputs(40)
    room = Room(program=65536, input=500, output=3000, max_body=256, window=2)
    with serving("loihi", room) as url, hl.open(url) as board, hl.open("loihi") as chip:
        for device in (board, chip):
            device.load(hl.compile(net, device))
        same(board.run(spikes), chip.run(spikes))


def test_a_current_that_wraps_is_refused_as_on_loihi() -> None:
    net, spikes = network(), inputs(4)
    times = torch.linspace(0, 0.02, 400, dtype=torch.float64)
    crowd = Spikes.from_events([(times, torch.arange(400) % 5)], 5, 0.06)
    said = []
    with serving("loihi", dt=1e-3) as url, hl.open(url) as board, hl.open("loihi", dt=1e-3, headroom=1.0) as chip:
        for device in (board, chip):
            program = hl.compile(net, chip)
            device.load(program)
            device.run(spikes)
            try:
                device.run(crowd)
            except TargetError as error:
                said.append(str(error))
            else:
                said.append("ran")
    assert said[0] == said[1]


def small(**limits: int | bool) -> Any:
    """A served board of ``limits``."""
    model = FixedModel(find("loihi"), LIMITS.model_copy(update=limits))  # type: ignore[arg-type]
    served = Serving(find("loihi"), "tcp://127.0.0.1:0")
    served.server.board.model = model
    served.server.board._info = model.info
    return served


@pytest.mark.parametrize(
    ("limits", "said"),
    [({"neurons": 22}, "found 23; the target allows 22 neurons"), ({"inputs": 4}, "found 5; the target allows 4 inputs"),
     ({"synapses": 100}, "the target allows 100 synapses"), ({"state_bytes": 64}, "64 bytes of working memory")],
)  # fmt: skip
def test_a_network_that_a_board_has_no_room_for_is_refused(limits: dict[str, int], said: str) -> None:
    with small(**limits) as url, pytest.raises(CompileError, match=said):
        hl.compile(network(), find(f"serial:{url}"))


def test_a_window_of_more_ticks_than_a_board_runs_is_refused() -> None:
    with small(max_ticks=100) as url, hl.open(f"serial:{url}") as board:
        board.load(hl.compile(network(), board))
        with pytest.raises(TargetError, match="allowed: 100. Use a shorter window"):
            board.run(inputs())


def test_what_a_board_has_not_is_refused_by_name() -> None:
    with serving("loihi") as url:
        with pytest.raises(OptionError, match="has no noise; leave session out"):
            hl.open(url, session=3)
        with pytest.raises(OptionError, match="bound to ticks of 0.0001 s; dt = 0.001 was asked"):
            hl.open(url, dt=1e-3)
    with pytest.raises(InputError, match="baud = 0; allowed"):
        find("serial:/dev/ttyUSB0", baud=0)
    with pytest.raises(InputError, match="deadline"):
        find("serial:/dev/ttyUSB0", deadline=-1.0)


def test_a_second_opening_names_the_owner() -> None:
    with (
        serving("loihi") as url,
        hl.open(url),
        pytest.raises(LinkError, match="is in use: another run in this process"),
    ):
        hl.open(url)


def test_a_run_that_fails_on_the_board_says_why() -> None:
    """A rate of defective neurons that no chip has is found when it runs."""
    from dataclasses import replace

    from hwloop_emulator import Preset

    worst = Preset.load("worst")
    hot = replace(worst.effects["stuck_rate"], scale=1e13) if not hasattr(worst, "model_copy") else None
    preset = (
        worst.model_copy(
            update={
                "effects": {
                    **worst.effects,
                    "stuck_rate": worst.effects["stuck_rate"].model_copy(update={"scale": 1e13}),
                }
            }
        )
        if hot is None
        else replace(worst, effects={**worst.effects, "stuck_rate": hot})
    )
    with serving("emulator:3", preset=preset) as url, hl.open(url) as board:
        board.load(hl.compile(network(), board))
        with pytest.raises(TargetError, match="the run failed on the board: .*effects.stuck_rate.scale"):
            board.run(inputs())


def test_a_calibration_over_a_line_is_that_in_process() -> None:
    net = network()
    with serving("emulator:3") as url, hl.open(url, session=1) as board, hl.open("emulator:3", session=1) as chip:
        found = [hl.calibrate(d, hl.compile(net, d), repeats=4, synapses=False) for d in (board, chip)]
        kept = {"created", "date", "effort", "digest", "id"}
        ours, theirs = (one.model_dump(exclude=kept) for one in found)
        assert ours == theirs
        assert found[0].device_id == found[1].device_id


@pytest.mark.parametrize(
    ("change", "said"),
    [({"kind": "both"}, "kind"), ({"extra": 1}, "extra"), ({"device_id": "\x1b[31mred"}, "printable"),
     ({"version": 2}, "version"), ({"limits": None}, "kind 'fixed' has limits"), ({"dt": -1.0}, "dt"),
     ({"trim": {"v_th": {"codes_min": 3, "codes_max": 1, "default": 2, "law": "linear", "step": 1.0}}}, "codes_min <= default <= codes_max")],
)  # fmt: skip
def test_an_info_that_is_none_is_refused(change: dict[str, Any], said: str) -> None:
    import json

    good = json.loads(FixedModel(find("loihi")).info)  # type: ignore[arg-type]
    assert information.read(json.dumps(good).encode(), "x").kind == "fixed"
    with pytest.raises(LinkError, match=said):
        information.read(json.dumps({**good, **change}).encode(), "x")


def test_a_server_stops_when_it_is_told_to() -> None:
    server = Server(model_of(find("loihi")), line("pty"))
    server.stop()
    server.run()
    server.stop()  # a signal that comes late


def test_a_server_that_ends_before_it_is_woken_is_stopped_all_the_same() -> None:
    """Whoever stops it may be held up between saying so and waking it; the loop looks by itself meanwhile."""
    server = Server(model_of(find("loihi")), line("pty"))
    send = server._wake.send
    server._wake = mock.Mock(wraps=server._wake)
    server._wake.send.side_effect = lambda data: (server.run() if server._stopped else None, send(data))
    thread = threading.Thread(target=server.stop)
    thread.start()
    thread.join()
    server.run()
    assert server._wake.close.called


@pytest.mark.parametrize("port", ["udp://127.0.0.1:1", "tcp://127.0.0.1", "nonsense", "tcp://127.0.0.1:99999"])
def test_a_line_that_is_none_is_refused(port: str) -> None:
    with pytest.raises(OptionError, match="allowed: pty"):
        line(port)
