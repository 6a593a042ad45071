"""The chip as it is written to a board, simulated with the board's flash and memory: it starts from the flash, and is right."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from hwloop_rtl import RtlTarget, building, synthesise_chip, tools
from hwloop_rtl.parameters import Parameters
from hwloop_rtl.simulation_process import Simulation
from tests.needed_programs import need

from ..serial.firmware.built import FIRMWARE
from .chip import TOOLS

BENCHES = Path(__file__).parent / "boards"
CHECK = runpy.run_path(str(FIRMWARE / "check_board.py"))
#: Clocks of the simulation for a bit on the line: an iCE40HX8K-EVB divides its clock by four.
LINE_CLOCKS = {"icebreaker": 4, "olimex_hx8k": 100}


class BoardTarget(RtlTarget):
    """A simulated board in place of the simulated chip."""

    def __init__(self, name: str, folder: Path) -> None:
        # an empty memory is filled from the flash first, some million clocks
        super().__init__(dt=1e-3, deadline=120.0)
        self.board, self.folder = name, folder

    def own(self) -> Simulation:
        command = (str(self.folder / "simulation"),)
        return Simulation(command, self.folder, seed=1, clocks=LINE_CLOCKS[self.board])

    @property
    def _built(self) -> tuple[Path, Path]:
        return self.folder, self.folder


def board(name: str, folder: Path, *, damage: int | None = None) -> BoardTarget:
    """The board ``name``, built in ``folder``, byte ``damage`` of its firmware another one."""
    need(*TOOLS)
    found, chip = tools.find(), Parameters(memory=2 ** synthesise_chip.BOARDS[name].memory_bits, sha=False)
    firmware = (building.firmware(chip, found, ran_on="hardware", optimise="-Os") / "firmware.bin").read_bytes()
    flash = bytearray(synthesise_chip.flashed(firmware))
    if damage is not None:
        flash[damage] ^= 0x10
    (folder / "flash.hex").write_text("".join(f"{byte:02x}\n" for byte in flash))
    synthesise_chip.boot_program(found, chip.memory, folder)
    sources = [*synthesise_chip.sources(name), BENCHES / "models.sv", BENCHES / f"{name}_bench.sv"]
    sources.append(building.HERE / "core" / "core_assertions.sv")
    command = [
        str(found.paths["verilator"]),
        *building.VERILATE,
        "--top-module",
        "simulated_chip",
        "--Mdir",
        str(folder / "made"),
    ]
    command += ["-MAKEFLAGS", "OPT_FAST=-O2", "-CFLAGS", "-O2", "-o", "simulation", "+define+ASSERTIONS"]
    tools.run([*command, *map(str, sources), str(building.HERE / "simulation" / "main.cpp")], what="verilator")
    (folder / "made" / "simulation").replace(folder / "simulation")
    return BoardTarget(name, folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", LINE_CLOCKS)
def test_a_board_starts_from_its_flash_and_is_right(name: str, tmp_path: Path) -> None:
    with board(name, tmp_path).open() as device:
        assert device.ran_on == "hardware"
        assert device.device_id == Parameters(2 ** synthesise_chip.BOARDS[name].memory_bits, sha=False).device_id
        said = CHECK["check"](device, 6)
        assert said.startswith("equal: 6 networks"), said
        # a board has no flow control: what is sent while it starts may break
        assert device.counted[-1].lost_bytes == 0
        assert device.counted[-1].broken_bytes <= 1


@pytest.mark.slow
def test_firmware_that_is_damaged_in_the_flash_does_not_start(tmp_path: Path) -> None:
    damaged = board("icebreaker", tmp_path, damage=1000)
    damaged.deadline = 15.0
    with pytest.raises(Exception, match="no answer from the board within 15 s"):
        damaged.open()


def test_the_flash_holds_the_firmware_with_its_crc() -> None:
    whole = synthesise_chip.flashed(b"\1\2\3")
    assert len(whole) == synthesise_chip.FLASHED
    assert whole[:4] == b"\1\2\3\0"
    with pytest.raises(RuntimeError, match="fit the flash"):
        synthesise_chip.flashed(bytes(synthesise_chip.FLASHED))
