"""``make bench``: forward + backward samples/s on one core, hwloop beside its peers, in one process.

Every peer gets a slice of each round (A B C A B C ...), timed by process CPU time; a ratio is hwloop's samples/s
divided by the peer's in the same round; printed are the median over the rounds and the quartiles.
"""

from __future__ import annotations

import argparse
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .pinning import pin_to_one_core

if TYPE_CHECKING:
    from rich.progress import Progress

    from .peers import Peer
    from .results import Row
    from .workloads import Workload

#: Rounds of a full and of a quick run.
ROUNDS, QUICK_ROUNDS = 9, 3


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 where hwloop itself did not run."""
    core = pin_to_one_core()
    # below: modules that import numerical libraries, which read their thread counts at import
    import torch
    from rich.console import Console
    from rich.progress import Progress

    from .peers import PEERS, REFERENCE
    from .results import TABLE_WIDTH, print_table, to_json
    from .workloads import WORKLOADS, make_inputs

    options = _parser(list(WORKLOADS), list(PEERS)).parse_args(arguments)
    torch.set_num_threads(1)
    rounds = options.rounds or (QUICK_ROUNDS if options.quick else ROUNDS)
    names = [p for p in PEERS if p == REFERENCE or not options.peer or p in options.peer]
    machine = _machine(core, rounds, options.seed)
    console = Console() if sys.stdout.isatty() else Console(width=TABLE_WIDTH)
    console.print(", ".join(f"{key}: {value}" for key, value in machine.items()), highlight=False)
    rows: list[Row] = []
    with Progress(console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as progress:
        for name in options.workload or WORKLOADS:
            workload = WORKLOADS[name]
            found = run_workload(workload, names, rounds, options.seed, progress)
            print_table(workload, make_inputs(workload, options.seed).events_per_sample, found, console)
            rows += found
    _print_verdict(rows, console.print)
    if options.out:
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(to_json(rows, machine), indent=2) + "\n", encoding="utf-8")
    return 0 if all(r.description is not None for r in rows if r.peer == REFERENCE) else 1


def run_workload(workload: Workload, names: Sequence[str], rounds: int, seed: int, progress: Progress) -> list[Row]:
    """Build, tune, check and time the peers ``names``; a row for each, those that cannot run with the reason."""
    from .peers import REFERENCE, Unavailable
    from .results import Row, goal_of, measured
    from .timing import interleave

    task = progress.add_task(f"{workload.name}: tuning", total=len(names) * (1 + rounds))
    ready: dict[str, tuple[Peer, list[float]]] = {}
    reasons: dict[str, str] = {}
    for name in names:
        try:
            ready[name] = _prepare(name, workload, seed)
        except Unavailable as error:
            reasons[name] = str(error)
        except Exception as error:  # whatever a foreign library raises becomes its row's reason, never a silent gap
            reasons[name] = f"{type(error).__name__}: {error}"
        progress.advance(task)
    progress.update(task, description=workload.name)
    steps = {name: peer.step for name, (peer, _) in ready.items()}
    seconds = interleave(steps, rounds, lambda: progress.advance(task))
    progress.remove_task(task)
    batch = ready[REFERENCE][0].description.batch if REFERENCE in ready else 1
    reference = [s / batch for s in seconds[REFERENCE]] if REFERENCE in ready else None
    return [
        measured(workload, name, ready[name][0].description, ready[name][1], seconds[name], reference)
        if name in ready
        else Row(workload.name, name, goal=goal_of(workload, name), reason=reasons[name])
        for name in names
    ]


def _prepare(name: str, workload: Workload, seed: int) -> tuple[Peer, list[float]]:
    from .peers import build, tune
    from .workloads import make_inputs

    peer = build(name, workload, make_inputs(workload, seed), seed)
    tune(peer, workload.rate)
    peer.step()
    return peer, peer.rates()


def _print_verdict(rows: Sequence[Row], write: Any) -> None:
    held = [r for r in rows if r.reached is not None]
    missed = [f"{r.peer} on {r.workload}" for r in held if not r.reached]
    write(
        f"goals reached: {len(held) - len(missed)} of {len(held)}"
        + (f"; missed: {', '.join(missed)}" if missed else "")
    )
    unmeasured = [f"{r.peer} on {r.workload}" for r in rows if r.goal is not None and r.reached is None]
    if unmeasured:
        write(f"goals not measured: {', '.join(unmeasured)}")


def _machine(core: int | None, rounds: int, seed: int) -> dict[str, Any]:
    import torch

    return {
        "cpu": _cpu_model(),
        "core": core,
        "torch threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "rounds": rounds,
        "seed": seed,
        "clock": "process CPU time",
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _parser(workloads: list[str], peers: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.run", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--workload", action="append", choices=workloads, help="run this one (repeatable); default all")
    parser.add_argument("--peer", action="append", choices=peers, help="hwloop against this one (repeatable)")
    parser.add_argument("--rounds", type=_positive, help=f"interleaved rounds; default {ROUNDS}")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROUNDS} rounds")
    parser.add_argument("--seed", type=int, default=0, help="seed of spikes and weights")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every figure as JSON")
    return parser


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}; allowed: a whole number >= 1")
    return value


if __name__ == "__main__":
    sys.exit(main())
