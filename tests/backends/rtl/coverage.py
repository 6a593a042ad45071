"""What of the RTL the tests reach: lines, branches and toggled bits by module, from files that Verilator's models write.

HWLOOP_RTL_COVERAGE=out/rtl python -m pytest tests/backends/rtl/test_core.py && python tests/backends/rtl/coverage.py out/rtl
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: Checks of the simulation: no part of what is built.
CHECKS = ("core_assertions.sv",)
_FIELD = re.compile("\x01([a-z_]+)\x02([^\x01']*)")


@dataclass(frozen=True)
class Point:
    """Something that can be reached: ``kind`` is line, branch or toggle."""

    kind: str
    module: str
    line: int
    name: str


def reached(files: Iterable[Path]) -> dict[Point, int]:
    """How often each point was reached, over all ``files`` and all instances."""
    counts: dict[Point, int] = defaultdict(int)
    for file in files:
        for text in file.read_text(errors="replace").splitlines():
            if text.startswith("C "):
                entry, count = text[2:].rsplit(" ", 1)
                values = dict(_FIELD.findall(entry))
                kind = values["page"].split("/")[0].removeprefix("v_")
                module = Path(values["f"]).name
                if module not in CHECKS and kind in ("line", "branch", "toggle"):
                    counts[Point(kind, module, int(values["l"]), values["o"])] += int(count)
    return counts


def share(counts: dict[Point, int], kind: str) -> float:
    """Share of the points of ``kind`` that were reached."""
    found = [count > 0 for point, count in counts.items() if point.kind == kind]
    return sum(found) / len(found)


def report(counts: dict[Point, int]) -> str:
    """A table by module, and every line and branch that nothing reaches."""
    kinds = tuple(kind for kind in ("line", "branch", "toggle") if any(point.kind == kind for point in counts))
    lines = ["| module | " + " | ".join(kinds) + " |", "| --- " * (1 + len(kinds)) + "|"]
    for module in [*sorted({point.module for point in counts}), "all"]:
        row = []
        for kind in kinds:
            found = [n > 0 for p, n in counts.items() if p.kind == kind and module in (p.module, "all")]
            row.append(f"{sum(found)} of {len(found)}")
        lines.append(f"| {module} | " + " | ".join(row) + " |")
    lines.append("all: " + ", ".join(f"{kind} {100 * share(counts, kind):.1f} %" for kind in kinds))
    lines += [
        f"not reached: {p.module}:{p.line} {p.kind} {p.name}"
        for p, count in sorted(counts.items(), key=lambda item: (item[0].module, item[0].line))
        if count == 0 and p.kind != "toggle"
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(reached(Path(sys.argv[1]).glob("*.dat"))))
