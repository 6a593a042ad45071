"""What keeps the house in order: the length of files, the arguments of kernels, names that tell files apart."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
#: Folders of the project's own Python files.
SOURCES = ("hwloop", "backends", "calibration", "docs", "tests", "examples", "studies")

#: Lines of a file. One that grows beyond holds two ideas: split it.
LONGEST = 400
#: Positional arguments of a kernel that is called by its name; arrays that belong together come in a tuple.
MOST_ARGUMENTS = 10

_EMULATOR = "the emulator: one chip, and in a folder of its own the same for many or compiled"
_JOINT = "simulate/joint does for a component with loops what the file of that name does for a layer"
_BACKENDS = "one a backend"
_RULES = "one a rule"
_OF_FOLDER = "that of the package it stands in"
_PEER = "hwloop/bench: the package timed; tests/interop: networks to and from it"
_TABLE = "tests/interop: of its table of packages"
_BENCHMARK = "hwloop/bench and tests/benchmarks: what is timed, and how, beside the source"

#: Names that may stand in several folders, and what tells them apart. A newcomer finds the room by the folder's name.
SHARED_NAMES = {
    "__main__.py": "the name that Python runs: of the command, and of the worker of lava",
    "adjoint.py": f"{_JOINT}; rules/spide: of an equilibrium",
    "autograd.py": _JOINT,
    "base.py": "what everything in the folder builds on: devices, rules, peers of a benchmark",
    "built.py": "what tests build once for a run: firmware; rtl",
    "cells.py": f"hwloop_emulator: of a chip, which hold synapses; {_TABLE}",
    "chip.py": _EMULATOR,
    "codes.py": "board: programs of codes behind a line; trim: of a chip's cells",
    "compiler.py": "mapping: of the chips whose spikes have times; hwloop_loihi: of its fixed point",
    "contract.py": _JOINT,
    "crossings.py": _JOINT,
    "delays.py": "hwloop_loihi: what its steps make of them; examples: a network that learns them",
    "dense.py": _BENCHMARK,
    "device.py": f"{_BACKENDS}; {_EMULATOR}",
    "engine.py": "the way in of simulate/convolution and of simulate/joint, as cpu is of layers",
    "evaluate.py": f"training: a network on a data set; {_TABLE}",
    "event_kernels.py": _RULES,
    "events.py": f"{_EMULATOR}; {_RULES}: its run in continuous time",
    "files.py": "hwloop: folders of data; bundle: the files inside one",
    "fit.py": "training: of weights to a task; characterise: of a model to a device",
    "graph.py": "mapping: as arrays; hwloop_fixed_point: in whole numbers; worker: as processes of Lava",
    "kernels.py": f"compiled loops, {_OF_FOLDER}",
    "lines.py": "board: what a board listens on; firmware: what its tests speak on",
    "link.py": "the emulator: a chip's event link; tests/benchmarks: what a serial line carries",
    "membranes.py": "of an emulated chip, in what a calibration measures, of a readout that does not spike",
    "memory.py": "the emulator: weight cells; board: the regions of the protocol",
    "model.py": "network: the user's; characterise: of a device, which is fitted",
    "neuron.py": "simulate/kernels and its slow twin of the same name in simulate/reference",
    "neurons.py": f"hwloop: parameters and bounds for all; {_RULES}: its own neurons in steps",
    "noise.py": "training: what a network is trained with; characterise: what a device was measured to have",
    "norse.py": _PEER,
    "options.py": "command: of several commands; training: of all loops",
    "population.py": _BENCHMARK,
    "program.py": "mapping: of the chips whose spikes have times; hwloop_loihi: of its fixed point",
    "recorder.py": "session_log: of a device's runs; worker: of spikes in Lava",
    "reference.py": f"the slow twin from the formulas, {_OF_FOLDER}",
    "report.py": f"{_OF_FOLDER}: of a comparison, a program, a calibration, a yield study",
    "results.py": _BENCHMARK,
    "rule.py": _RULES,
    "run.py": "board: one run at a time; the command of tests/interop",
    "server.py": "board: of a device on a line; tests/mutation: of forked test runs",
    "silicon.py": _EMULATOR,
    "snntorch.py": _PEER,
    "soft_device.py": _BACKENDS,
    "soft_reset.py": "hwloop_fixed_point: the arithmetic; hwloop_lava: on Lava",
    "spikes.py": _BENCHMARK,
    "spikingjelly.py": _PEER,
    "streams.py": _EMULATOR,
    "synapses.py": "hwloop_fixed_point: what a layer computes with; characterise: what is measured one by one",
    "target.py": f"hwloop: the public face for backends; {_BACKENDS}",
    "text.py": f"what is printed, {_OF_FOLDER}: of a comparison, a calibration",
    "threads.py": _BENCHMARK,
    "timing.py": _BENCHMARK,
    "trains.py": "network: on their way through a graph; compiled: as the chip's kernels take them",
    "weights.py": "training: as its loops move them; tests/interop: those that all packages get",
}

#: In tests the folder says what is tested; these are the helpers of a folder.
TESTS = re.compile(r"test_\w+|conftest|support")


def files() -> Iterator[Path]:
    """Python files of the project, from its root; environments and what was built are none."""
    for source in SOURCES:
        for path in sorted((ROOT / source).rglob("*.py")):
            if not {"build", "__pycache__"} & set(path.parts):
                yield path


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def kernels(path: Path) -> Iterator[tuple[str, int]]:
    """Kernels of a file that are called by their name, and how many arguments each takes by position.

    One that is always inlined is no call: its text is put into the kernel that uses it.
    """
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.FunctionDef):
            continue
        for decorator in node.decorator_list:
            call = ast.unparse(decorator)
            if re.match(r"_?kernel\(", call) and "inline='always'" not in call:
                yield node.name, len(node.args.posonlyargs) + len(node.args.args)


def test_no_file_is_longer_than_400_lines() -> None:
    long = {name_of(path): len(path.read_text().splitlines()) for path in files()}
    long = {name: lines for name, lines in long.items() if lines > LONGEST}
    assert not long, f"lines: {long}; allowed: {LONGEST}; split a file by idea, tests by what they claim"


def test_kernels_take_at_most_ten_arguments() -> None:
    found = {f"{name_of(path)}:{name}": n for path in files() for name, n in kernels(path)}
    assert len(found) > 80, "the kernels are no longer found: are they decorated otherwise?"
    many = {name: n for name, n in found.items() if n > MOST_ARGUMENTS}
    assert not many, f"arguments: {many}; allowed: {MOST_ARGUMENTS}; group arrays that belong together in a tuple"


def test_a_file_name_stands_once_or_its_folder_tells_it_apart() -> None:
    places = defaultdict(list)
    for path in files():
        if path.stem != "__init__" and not TESTS.fullmatch(path.stem):
            places[path.name].append(name_of(path))
    twice = {name: where for name, where in places.items() if len(where) > 1 and name not in SHARED_NAMES}
    assert not twice, f"{twice}: name the new one by what is in it, or say in SHARED_NAMES what tells them apart"
