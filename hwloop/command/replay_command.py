"""What ``hwloop replay`` says of a session log."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from ..session_log import LogContent, read_log
from . import terminal


def summarise_log(path: Path) -> bool:
    """Print what ``path`` holds; whether all of it is whole."""
    log = read_log(path)
    terminal.say(
        f"{path}: {path.stat().st_size} bytes, {len(log.sessions)} sessions, {len(log.loads)} loads, {len(log.runs)} runs"
    )
    terminal.table(
        ("session", "device", "ran on", "firmware", "opened (UTC)", "first run"),
        [
            (k, s.target.device_id, s.target.ran_on, s.target.firmware, _time(s.at), s.runs)
            for k, s in enumerate(log.sessions)
        ],
    )
    if log.runs:
        terminal.table(
            ("program", "loads", "runs", "samples", "spikes", "lost", "device (s)"),
            _rows(log),
            ("loads", "runs", "samples", "spikes", "lost", "device (s)"),
        )
        terminal.say(f"from {_time(log.runs[0].at)} to {_time(log.runs[-1].at)} (UTC)")
    for way in sorted(log.frames):
        terminal.say(f"frames {way}: {log.frames[way]}, {log.frame_bytes[way]} bytes")
    terminal.say("all of it is whole" if log.damage is None else str(log.damage))
    return log.damage is None


def _rows(log: LogContent) -> list[tuple[object, ...]]:
    """A row a program, in the order of their first runs."""
    found: list[tuple[object, ...]] = []
    for program in dict.fromkeys(run.program for run in log.runs):
        numbers = [k for k, run in enumerate(log.runs) if run.program == program]
        runs = [log.runs[k] for k in numbers]
        spikes = sum(int(train.counts.sum()) for k in numbers for train in log.events(k)[1])
        loads = sum(load.program == program for load in log.loads)
        samples = sum(run.inputs.samples * run.repeats for run in runs)
        lost = sum(run.lost_events for run in runs)
        found.append(
            (program[:12], loads, len(runs), samples, spikes, lost, f"{sum(run.wall_time for run in runs):.3f}")
        )
    return found


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"
