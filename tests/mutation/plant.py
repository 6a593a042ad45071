"""``make mutants``: does a test notice a slip of the pen? One change at random in each of many places of the source.

    python -m tests.mutation.plant --modules mapping losses --places 100 --seed 0

Plants one change at a time in a copy of the project, runs the tests that run the changed line, and prints the changes
that no test noticed. Exit status 0 where the share that is noticed is at least ``--at-least``; 1 where it is not, or
where a listed equivalent change no longer exists; 2 for wrong use or tests that fail as they are.
"""

from __future__ import annotations

import argparse
import getpass
import hashlib
import json
import queue
import random
import sys
import tempfile
import tomllib
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from .places import Mutant, SourceFile
from .trials import BrokenError, Copy, Coverage, Outcome, Setup

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Part:
    """A part of the project: its sources, and the tests that answer for it."""

    name: str
    sources: tuple[str, ...]
    tests: tuple[str, ...]


@dataclass(frozen=True)
class Drawn:
    """A mutant with its part and the changed text of its file."""

    part: str
    mutant: Mutant
    text: str


def read_parts(root: Path, table: Path) -> tuple[Setup, dict[str, Part]]:
    """How ``table`` says to run the tests, and its parts with their patterns resolved."""
    with table.open("rb") as file:
        document = tomllib.load(file)
    return Setup(document.pop("imports", []), document.pop("options", [])), {
        name: Part(name, *(tuple(_matching(root, entry[key])) for key in ("sources", "tests")))
        for name, entry in document.items()
    }


def _matching(root: Path, patterns: Sequence[str]) -> Iterator[str]:
    for pattern in patterns:
        yield from (path.relative_to(root).as_posix() for path in sorted(root.glob(pattern)))


def read_equivalent(path: Path) -> dict[tuple[str, str, str, str], str]:
    """Reason by key of every change that is known to change nothing."""
    with path.open("rb") as file:
        entries = tomllib.load(file).get("change", [])
    return {(entry["path"], entry["owner"], entry["before"], entry["after"]): entry["reason"] for entry in entries}


def survivors(result: Path) -> set[tuple[str, str, str, str]]:
    """Keys of the changes that no test noticed in an earlier run, from what its ``--json`` wrote."""
    tried = json.loads(result.read_text())["tried"]
    return {(t["path"], t["owner"], t["before"], t["after"]) for t in tried if not t["noticed"]}


def stale(root: Path, parts: Sequence[Part], equivalent: dict[tuple[str, str, str, str], str]) -> list[str]:
    """Listed changes of the parts' files that no place has any more."""
    ours = {path for part in parts for path in part.sources}
    found = []
    for path in sorted({key[0] for key in equivalent}):
        if not (root / path).exists():
            found.append(f"{path}: no such file")
        elif path in ours:
            source = SourceFile(root, path)
            owners = {key[1] for key in equivalent if key[0] == path}
            known = {m.key for place in source.places if place.owner in owners for m in source.mutants(place)}
            found += [f"{key[0]}, {key[1]}: {key[2]}" for key in equivalent if key[0] == path and key not in known]
    return found


def draw(
    root: Path, parts: Sequence[Part], places: int, chance: random.Random, files: Sequence[str] = ("*",)
) -> Iterator[Drawn]:
    """Places of all parts in random order, each with one of its changes; ``places`` 0: every change of every place.

    ``files`` are patterns; a source that matches none is left out.
    """
    sources = [
        (part.name, SourceFile(root, path))
        for part in parts
        for path in part.sources
        if any(fnmatch(path, pattern) for pattern in files)
    ]
    every = [(name, source, place) for name, source in sources for place in source.places]
    chance.shuffle(every)
    for name, source, place in every:
        mutants = source.mutants(place)
        for mutant in mutants if places == 0 else mutants and [chance.choice(mutants)]:
            yield Drawn(name, mutant, source.planted(mutant))


def main(arguments: Sequence[str] | None = None, root: Path = ROOT, here: Path = HERE) -> int:
    """The command; see the module."""
    setup, table = read_parts(root, here / "modules.toml")
    options = _parser(list(table)).parse_args(arguments)
    parts = [table[name] for name in options.modules]
    equivalent = read_equivalent(here / "equivalent.toml")
    again = None if options.again is None else survivors(options.again)
    chosen, same = [], Counter[str]()
    for drawn in draw(root, parts, 0 if again else options.places, random.Random(options.seed), options.files):
        if again is not None and drawn.mutant.key not in again:
            continue
        if drawn.mutant.key in equivalent:
            same[drawn.part] += 1
        else:
            chosen.append(drawn)
        if again is None and len(chosen) == options.places > 0:
            break
    try:
        with ExitStack() as stack:
            copies: queue.SimpleQueue[Copy] = queue.SimpleQueue()
            for job in range(options.jobs):
                folder = (options.keep or _folder(root)) / f"job-{job}"
                copies.put(stack.enter_context(Copy(root, folder, setup)))
            outcomes = _try_all(copies, parts, chosen, options.jobs)
    except BrokenError as error:
        print(error, file=sys.stderr)
        return 2
    gone = stale(root, parts, equivalent)
    text, share = report(outcomes, same, gone)
    print(text)
    if options.json:
        options.json.write_text(json.dumps(_document(outcomes, same), indent=1))
    return 0 if share >= options.at_least and not gone else 1


def _try_all(
    copies: queue.SimpleQueue[Copy], parts: Sequence[Part], chosen: Sequence[Drawn], jobs: int
) -> list[tuple[str, Outcome]]:
    needed = [part for part in parts if any(drawn.part == part.name for drawn in chosen)]
    order = [part.name for part in needed]
    chosen = sorted(chosen, key=lambda drawn: order.index(drawn.part))  # the tests of a part are collected once
    with ThreadPoolExecutor(jobs) as pool:
        coverage = dict(zip(order, pool.map(lambda part: _covered(copies, part), needed), strict=True))

    def one(numbered: tuple[int, Drawn]) -> tuple[str, Outcome]:
        number, drawn = numbered
        copy = copies.get()
        try:
            found = copy.outcome(drawn.mutant, drawn.text, coverage[drawn.part])
        finally:
            copies.put(copy)
        state = "noticed" if found.noticed else "SURVIVED"
        place = f"{found.mutant.place.path}:{found.mutant.place.line}"
        print(f"{number:4d}/{len(chosen)} {state} {place} {found.mutant.slip} ({found.by})", file=sys.stderr)
        return drawn.part, found

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, enumerate(chosen, 1)))


def _covered(copies: queue.SimpleQueue[Copy], part: Part) -> Coverage:
    print(f"{part.name}: running its tests as they are", file=sys.stderr)
    copy = copies.get()
    try:
        return copy.coverage(part.tests, part.sources)
    finally:
        copies.put(copy)


def report(outcomes: Sequence[tuple[str, Outcome]], same: Counter[str], gone: Sequence[str]) -> tuple[str, float]:
    """What is printed, and the share that was noticed."""
    lines = [f"{found.mutant.diff()}\n  {found.by}\n" for _, found in outcomes if not found.noticed]
    lines.append(f"{'part':<16} {'tried':>6} {'noticed':>8} {'survived':>9} {'equivalent, not tried':>22}")
    rows = {name: [found.noticed for part, found in outcomes if part == name] for name, _ in outcomes}
    rows["all"] = [found.noticed for _, found in outcomes]
    for name, noticed in rows.items():
        equal = same.total() if name == "all" else same[name]
        right = sum(noticed)
        lines.append(f"{name:<16} {len(noticed):>6} {right:>8} {len(noticed) - right:>9} {equal:>22}")
    lines += [f"equivalent.toml is stale, look at it again: {entry}" for entry in gone]
    return "\n".join(lines), sum(rows["all"]) / len(outcomes) if outcomes else 1.0


def _document(outcomes: Sequence[tuple[str, Outcome]], same: Counter[str]) -> dict[str, Any]:
    tried = [
        {
            "part": part,
            "noticed": found.noticed,
            "by": found.by,
            "slip": found.mutant.slip,
            "line": found.mutant.place.line,
        }
        | dict(zip(("path", "owner", "before", "after"), found.mutant.key, strict=True))
        for part, found in outcomes
    ]
    return {"tried": tried, "equivalent": dict(same)}


def _folder(root: Path) -> Path:
    """Where copies and compiled kernels stay between runs: the same folder for the same project and user."""
    name = hashlib.sha256(str(root).encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"hwloop-mutants-{getpass.getuser()}-{name}"


def _parser(names: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modules", nargs="+", choices=names, default=names, metavar="PART", help=", ".join(names))
    parser.add_argument(
        "--files", nargs="+", default=["*"], metavar="PATTERN", help="sources in these alone, as */nir/*.py"
    )
    parser.add_argument(
        "--places", type=int, default=100, help="places to change, one change each; 0: all, every change"
    )
    parser.add_argument("--seed", type=int, default=0, help="which places and changes")
    parser.add_argument("--jobs", type=int, default=1, help="copies of the project that run tests at the same time")
    parser.add_argument("--keep", type=Path, help="folder of the copies and of compiled kernels, kept between runs")
    parser.add_argument("--at-least", type=float, default=0.95, help="share that has to be noticed for exit status 0")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only what survived in a run whose --json this is")
    parser.add_argument("--json", type=Path, help="write every change and what noticed it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
