"""Proofs of properties that stand in the RTL: Yosys makes the transition system, yosys-smtbmc and z3 prove it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

from tests.needed_programs import need

#: Seconds that a proof may take.
TIMEOUT = 120


def proved(source: Path, parameters: dict[str, int], *, depth: int, bounded: int) -> bool:
    """Whether the assertions of the module in ``source`` hold, by induction over ``depth`` cycles and ``bounded`` ones from reset."""
    need("yosys", "yosys-smtbmc", "z3")
    values = " ".join(f"-set {name} {value}" for name, value in parameters.items())
    with tempfile.TemporaryDirectory() as folder:
        system = Path(folder) / "system.smt2"
        script = (
            f"read_verilog -sv -formal {source}; chparam {values} {source.stem}; prep -top {source.stem}; "
            f"async2sync; dffunmap; write_smt2 -wires {system}"
        )
        _run(["yosys", "-q", "-p", script])
        base = _run(["yosys-smtbmc", "--noprogress", "-s", "z3", "-t", str(bounded), str(system)], fails=True)
        induction = _run(["yosys-smtbmc", "--noprogress", "-s", "z3", "-i", "-t", str(depth), str(system)], fails=True)
    return _passed(base) and _passed(induction)


def _passed(said: str) -> bool:
    found = re.findall(r"Status: (\w+)", said)
    if not found:
        raise RuntimeError(f"yosys-smtbmc did not finish:\n{said}")
    return bool(found[-1] == "PASSED")


def _run(command: list[str], *, fails: bool = False) -> str:
    # yosys-smtbmc starts z3, which would outlive it: all of the session end together
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            said, _ = process.communicate(timeout=TIMEOUT)
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
    if process.returncode and not fails:
        raise RuntimeError(f"{command[0]} failed:\n{said}")
    return said
