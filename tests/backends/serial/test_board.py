"""What a served board answers to requests that no host of ours sends: the errors of PROTOCOL.md, and nothing done."""

from __future__ import annotations

import struct
from typing import Any
from unittest import mock

import numpy as np
import pytest

from hwloop.errors import TargetError
from hwloop.mapping import compile_network, stored
from hwloop_serial import calls, event_lists
from hwloop_serial.board.board import Room
from hwloop_serial.calls import MembraneRequest, TrimWrite
from hwloop_serial.messages import FORGET, MAGIC, NO_DIGEST, NUMBERS, Code, Function, Region, State
from hwloop_serial.schema import SCHEMA_ID

from .asking import BOOT, SESSION, SPIKES, CodesBoard, FixedBoard, Waiting, network, sha


@pytest.fixture(scope="module")
def board() -> CodesBoard:
    return CodesBoard()


# -- greetings and headers ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body", [b"", b"hwlp", MAGIC + struct.pack("<I", SCHEMA_ID) + b"x", b"hwlq" + struct.pack("<I", SCHEMA_ID)]
)
def test_a_greeting_that_is_none_is_malformed_and_opens_nothing(board: CodesBoard, body: bytes) -> None:
    reply = board.raw(NUMBERS["HELLO"], body, session=77, boot=0)
    assert (reply.body[0], reply.body[1]) == (NUMBERS["HELLO"], Code.MALFORMED)
    assert board.error("HELLO", (MAGIC, SCHEMA_ID), session=0, boot=0) == Code.MALFORMED
    assert board.status().state in (State.NONE, State.DONE)  # the session is the same


def test_a_greeting_of_another_schema_is_answered_and_opens_nothing(board: CodesBoard) -> None:
    assert board.ask("HELLO", (MAGIC, 1), session=78, boot=0)[0].schema == SCHEMA_ID
    assert board.error("STATUS", session=78) == Code.WRONG_SESSION
    board.status()


def test_another_boot_or_session_changes_nothing(board: CodesBoard) -> None:
    assert board.error("RESET", (FORGET,), boot=BOOT + 1) == Code.WRONG_BOOT
    assert board.error("RESET", (FORGET,), session=SESSION + 1) == Code.WRONG_SESSION
    assert board.status().program == board.program


@pytest.mark.parametrize(
    ("name", "body"), [("STATUS", b"x"), ("BEGIN", b""), ("WRITE", bytes(3)), ("RUN", bytes(5)), ("CALL", b"x")]
)
def test_a_body_of_the_wrong_length_is_malformed(board: CodesBoard, name: str, body: bytes) -> None:
    reply = board.raw(NUMBERS[name], body)
    assert (reply.body[0], reply.body[1]) == (NUMBERS[name], Code.MALFORMED)


def test_a_command_takes_effect_once_and_an_old_one_not_at_all(board: CodesBoard) -> None:
    before = board.board.memories[Region.ARGUMENT].transfer
    first = board.ask("BEGIN", (Region.ARGUMENT, 0, 4))[0].transfer
    again = board.ask("BEGIN", (Region.ARGUMENT, 0, 4), sequence=board.sequence)[0].transfer
    assert first == again != before
    assert board.error("BEGIN", (Region.ARGUMENT, 0, 4), sequence=board.sequence - 1) == Code.OLD
    assert board.board.memories[Region.ARGUMENT].transfer == first


@pytest.mark.parametrize(
    ("name", "fields"),
    [("BEGIN", (Region.OUTPUT, 0, 1)), ("BEGIN", (99, 0, 1)), ("WRITE", (0, 1, 0)), ("SEAL", (9, 1, 0)), ("RESET", (2,)),
     ("CONFIGURE", (2, 5)), ("READ", (Region.INPUT, 0, 0, 1)), ("READ", (77, 0, 0, 1))],
)  # fmt: skip
def test_a_region_or_key_that_a_board_has_not_is_unknown(board: CodesBoard, name: str, fields: tuple[int, ...]) -> None:
    assert board.error(name, fields, b"x" if name == "WRITE" else b"") == Code.UNKNOWN


# -- memory ---------------------------------------------------------------------------------------


def test_transfers_hold_what_was_written_into_them_and_nothing_else(board: CodesBoard) -> None:
    region = Region.ARGUMENT
    assert board.error("BEGIN", (region, 0, 5000)) == Code.TOO_LARGE
    transfer = board.ask("BEGIN", (region, 0, 10))[0].transfer
    assert board.error("WRITE", (region, transfer, 0)) == Code.MALFORMED
    assert board.error("WRITE", (region, transfer, 8), b"abc") == Code.OUT_OF_RANGE
    assert board.error("WRITE", (region, transfer + 1, 0), b"a") == Code.WRONG_TRANSFER
    assert board.error("SEAL", (region, transfer + 1, 10)) == Code.WRONG_TRANSFER
    assert board.error("SEAL", (region, 0, 10)) == Code.WRONG_TRANSFER
    assert board.error("SEAL", (region, transfer, 9)) == Code.OUT_OF_RANGE
    board.ask("WRITE", (region, transfer, 3), b"abc")
    for _ in range(2):  # a seal may be repeated
        assert board.ask("SEAL", (region, transfer, 10))[0].digest == sha(b"\0\0\0abc\0\0\0\0")
    assert board.error("WRITE", (region, transfer, 0), b"a") == Code.WRONG_TRANSFER


def test_what_is_kept_is_cut_or_filled_with_zeros(board: CodesBoard) -> None:
    region = Region.ARGUMENT
    board.put(region, b"0123456789")
    for length, held in ((4, b"0123"), (6, b"0123\0\0")):
        transfer = board.ask("BEGIN", (region, 1, length))[0].transfer
        assert board.ask("SEAL", (region, transfer, length))[0].digest == sha(held)


def test_what_is_read_is_there_and_of_the_tag_that_was_asked(board: CodesBoard) -> None:
    assert board.ask("READ", (Region.PROGRAM, 0, 4, 100))[1] == board.image[4:104]
    assert board.error("READ", (Region.PROGRAM, 1, 0, 4)) == Code.WRONG_TAG
    assert board.error("READ", (Region.PROGRAM, 0, len(board.image) - 1, 2)) == Code.OUT_OF_RANGE
    assert board.error("READ", (Region.PROGRAM, 0, 0, 600)) == Code.OUT_OF_RANGE  # more than a body has room for
    assert board.error("READ", (Region.OUTPUT, 12345, 0, 0)) == Code.WRONG_TAG


def test_an_image_that_is_none_leaves_no_program() -> None:
    board = CodesBoard()
    transfer = board.ask("BEGIN", (Region.PROGRAM, 0, 3))[0].transfer
    board.ask("WRITE", (Region.PROGRAM, transfer, 0), b"abc")
    assert board.error("SEAL", (Region.PROGRAM, transfer, 3)) == Code.FAILED
    assert "compile the network again" in board.text(board.sequence)
    assert board.status().program == NO_DIGEST
    assert board.error("RUN", board.run()) == Code.NO_PROGRAM
    with mock.patch.object(board.board.memories[Region.PROGRAM], "digest", board.program):
        assert board.error("RUN", board.run()) == Code.NO_PROGRAM  # the model's own check
        assert board.error("CALL", (Function.MEMBRANE,), membrane()) == Code.NO_PROGRAM


# -- runs -----------------------------------------------------------------------------------------

RUNS: list[tuple[dict[str, Any], Code]] = [
    ({"program": bytes(32)}, Code.WRONG_PROGRAM), ({"input": bytes(32)}, Code.WRONG_INPUT), ({"settings": bytes(32)}, Code.WRONG_SETTINGS),
    ({"run_id": 0}, Code.UNKNOWN), ({"flags": 1}, Code.UNKNOWN), ({"batch": 0}, Code.UNKNOWN), ({"repeats": 0}, Code.UNKNOWN),
    ({"format": event_lists.TICKS}, Code.UNKNOWN), ({"format": event_lists.FLOAT64}, Code.UNKNOWN), ({"format": 8 + event_lists.FLOAT32}, Code.UNKNOWN),
    ({"batch": 1}, Code.BAD_INPUT), ({"batch": 3}, Code.BAD_INPUT), ({"batch": 500}, Code.BAD_INPUT), ({"t_stop": 0.003}, Code.BAD_INPUT),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), RUNS, ids=str)
def test_a_run_of_anything_else_than_what_the_board_holds_is_refused(
    board: CodesBoard, changes: dict[str, Any], code: Code
) -> None:
    before = board.status()
    assert board.error("RUN", board.run(**changes)) == code
    assert board.status() == before
    assert board.ask("RUN", board.run())[0].run_id == 1
    assert board.status().state == State.DONE


def test_a_run_without_input_is_refused() -> None:
    board = CodesBoard()
    board.ask("BEGIN", (Region.INPUT, 0, 4))
    assert board.error("RUN", board.run()) == Code.NO_INPUT
    assert board.error("CALL", (Function.MEMBRANE,), membrane()) == Code.NO_INPUT


def test_while_it_runs_a_board_refuses_what_changes_memory_and_a_reset_ends_the_run() -> None:
    later = Waiting()
    board = CodesBoard(spawn=later)
    board.ask("RUN", board.run())
    for name, fields in (("BEGIN", (Region.INPUT, 0, 1)), ("RUN", board.run(run_id=2)), ("CALL", (Function.WRITES,))):
        assert board.error(name, fields) == Code.BUSY
    assert board.status().state == State.RUNNING
    board.ask("RESET", (0,))
    assert (board.status().state, board.status().run_error) == (State.FAILED, Code.ABORTED)
    assert board.error("RUN", board.run(run_id=2)) == Code.BUSY  # it still holds the device
    later.work()
    assert board.status().run_error == Code.ABORTED  # what it brought is not looked at
    board.ask("RUN", board.run(run_id=3))
    later.work()
    assert (board.status().state, board.status().run_id) == (State.DONE, 3)


def test_output_that_does_not_fit_is_no_short_list() -> None:
    board = CodesBoard(room=Room(program=65536, input=4096, output=12, max_body=512, window=2))
    board.ask("RUN", board.run())
    status = board.status()
    assert (status.state, status.run_error, status.output_bytes) == (State.FAILED, Code.OVERFLOW, 0)
    assert status.samples_done < 2


def test_a_target_that_fails_is_an_answer_with_its_text() -> None:
    board = CodesBoard()
    model: Any = board.board.model
    with mock.patch.object(model.device, "_execute", side_effect=ZeroDivisionError("by zero")):
        board.ask("RUN", board.run())
    assert (board.status().state, board.status().run_error) == (State.FAILED, Code.FAILED)
    assert board.text(1) == "by zero"
    with mock.patch.object(model, "load", side_effect=TargetError("it is too hot")):
        transfer = board.ask("BEGIN", (Region.PROGRAM, 0, 3))[0].transfer
        assert board.error("SEAL", (Region.PROGRAM, transfer, 3)) == Code.FAILED
    assert board.text(board.sequence) == "it is too hot"


def test_a_program_of_other_limits_is_refused_with_the_limits(board: CodesBoard) -> None:
    from hwloop.device.registry import find

    other = stored.dump(compile_network(network(), find("emulator:3", preset="bss2").capabilities))
    mine = CodesBoard()
    transfer = mine.ask("BEGIN", (Region.PROGRAM, 0, len(other)))[0].transfer
    for place in range(0, len(other), 400):
        mine.ask("WRITE", (Region.PROGRAM, transfer, place), other[place : place + 400])
    assert mine.error("SEAL", (Region.PROGRAM, transfer, len(other))) == Code.FAILED
    assert "compiled for emulator/bss2" in mine.text(mine.sequence)


# -- calls ----------------------------------------------------------------------------------------


def membrane(**changes: Any) -> bytes:
    asked = MembraneRequest(0, 2, SPIKES.t_stop, event_lists.FLOAT32, np.array([0, 1]), np.array([0.01]))
    return calls.pack_membrane(asked._replace(**changes))


def trim(parameter: int = 0, codes: tuple[int, ...] = (1,), neurons: tuple[int, ...] = (0,)) -> bytes:
    return calls.pack_trim(TrimWrite(parameter, False, np.array(codes), np.array(neurons)))


MALFORMED: list[tuple[Function, bytes]] = [
    (Function.TRIM_READ, b""), (Function.TRIM_READ, b"\0\0"), (Function.TRIM_WRITE, b"\0"), (Function.TRIM_WRITE, trim() + b"\0"),
    (Function.TRIM_WRITE, b"\0\2" + trim()[2:]), (Function.POSITION, b"x"), (Function.SEEK, bytes(15)), (Function.ADVANCE, bytes(4)),
    (Function.TEMPERATURE, bytes(9)), (Function.MEMBRANE, bytes(7)), (Function.MEMBRANE, membrane() + b"\0"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "arguments"), MALFORMED, ids=str)
def test_arguments_of_the_wrong_length_are_malformed(board: CodesBoard, function: Function, arguments: bytes) -> None:
    assert board.error("CALL", (function,), arguments) == Code.MALFORMED


REFUSED: list[tuple[Function, bytes, str]] = [
    (Function.ADVANCE, calls.NUMBER.pack(-1.0), "allowed: 0"), (Function.TEMPERATURE, calls.NUMBER.pack(1e9), "K above reference"),
    (Function.TRIM_WRITE, trim(codes=(30000,)), "code 30000; allowed"), (Function.TRIM_WRITE, trim(neurons=(9999,)), "neuron 9999; allowed"),
    (Function.SEEK, calls.SEEK.pack(2**64 - 1, 0), "session = 18446744073709551615; allowed"), (Function.MEMBRANE, membrane(population=7), "population 7; allowed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("function", "arguments", "text"), REFUSED, ids=lambda value: value.name if isinstance(value, Function) else ""
)
def test_arguments_that_the_target_refuses_come_back_with_its_text(
    board: CodesBoard, function: Function, arguments: bytes, text: str
) -> None:
    assert board.error("CALL", (function,), arguments) == Code.FAILED
    assert text in board.text(board.sequence)


def test_a_function_or_parameter_that_there_is_not_is_unknown(board: CodesBoard) -> None:
    assert board.error("CALL", (99,)) == Code.UNKNOWN
    assert board.error("CALL", (Function.TRIM_READ,), b"\x63") == Code.UNKNOWN
    assert FixedBoard().error("CALL", (Function.WRITES,)) == Code.UNKNOWN


def test_large_arguments_stand_in_a_memory_of_their_own_and_large_results_too(board: CodesBoard) -> None:
    wanted = np.arange(70) % 3
    digest = board.put(Region.ARGUMENT, trim(codes=tuple(wanted), neurons=tuple(range(70))))
    found = board.ask("CALL", (Function.TRIM_WRITE,), digest)
    assert calls.CELLS.unpack(found[1]) == (70,)
    fields, data = board.ask("CALL", (Function.TRIM_READ,), b"\0")
    assert data == b""
    tag, codes = board.sequence, b""
    while len(codes) < fields.result_bytes:
        codes += board.ask("READ", (Region.RESULT, tag, len(codes), min(400, fields.result_bytes - len(codes))))[1]
    np.testing.assert_array_equal(np.frombuffer(codes, "<i4")[:70], wanted)


# -- fixed point ----------------------------------------------------------------------------------

FIXED: list[tuple[dict[str, Any], Code]] = [
    ({"format": event_lists.FLOAT32}, Code.UNKNOWN), ({"format": 8}, Code.UNKNOWN), ({"repeats": 2}, Code.UNKNOWN), ({"batch": 0}, Code.UNKNOWN),
    ({"n_ticks": 0}, Code.OUT_OF_RANGE), ({"n_ticks": 2**31}, Code.OUT_OF_RANGE), ({"batch": 1}, Code.BAD_INPUT),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "code"), FIXED, ids=str)
def test_a_fixed_point_board_refuses_runs_that_it_has_not(changes: dict[str, Any], code: Code) -> None:
    board = FixedBoard().ready()
    assert board.error("RUN", board.run(**changes)) == code
    board.ask("RUN", board.run())
    assert board.status().state == State.DONE
    board.ask("RESET", (FORGET,))
    with mock.patch.multiple(board.board.memories[Region.PROGRAM], digest=board.program), mock.patch.multiple(board.board.memories[Region.INPUT], digest=board.input):  # fmt: skip
        assert board.error("RUN", board.run()) == Code.NO_PROGRAM


@pytest.mark.parametrize(("limits", "code"), [({"state_bytes": 8}, Code.TOO_LARGE), ({"neurons": 5}, Code.BAD_IMAGE), ({"inputs": 4}, Code.BAD_IMAGE), ({"synapses": 7}, Code.BAD_IMAGE)])  # fmt: skip
def test_a_program_that_a_fixed_point_board_has_no_room_for_is_refused(limits: dict[str, int], code: Code) -> None:
    board = FixedBoard(**limits)
    transfer = board.ask("BEGIN", (Region.PROGRAM, 0, len(board.image)))[0].transfer
    for place in range(0, len(board.image), 400):
        board.ask("WRITE", (Region.PROGRAM, transfer, place), board.image[place : place + 400])
    assert board.error("SEAL", (Region.PROGRAM, transfer, len(board.image))) == code
    board.board.model.limits = FixedBoard().board.model.limits  # type: ignore[attr-defined]
    board.ready()


def test_more_spikes_than_a_layer_has_room_for_are_an_overflow() -> None:
    from hwloop.errors import InputError

    board = FixedBoard().ready()
    model: Any = board.board.model
    with mock.patch.object(model._emulator, "run", side_effect=InputError("no room")):
        board.ask("RUN", board.run())
    assert (board.status().state, board.status().run_error) == (State.FAILED, Code.OVERFLOW)
