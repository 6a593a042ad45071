"""What ``hwloop replay`` says of a session log."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..session_log import LogContent, read_log
from . import terminal
from .answer import Answer


@dataclass(frozen=True)
class _Use:
    """What a program did: loads, runs, samples, spikes of all populations, lost events, and time on the device (s)."""

    program: str
    loads: int
    runs: int
    samples: int
    spikes: int
    lost: int
    device_seconds: float

    def row(self) -> tuple[object, ...]:
        """Cells of a table."""
        counts = (self.loads, self.runs, self.samples, self.spikes, self.lost)
        return (self.program[:12], *counts, f"{self.device_seconds:.3f}")


def summarise_log(path: Path) -> Answer:
    """What ``path`` holds, and whether all of it is whole."""
    log, size = read_log(path), path.stat().st_size
    uses = _uses(log)
    sessions = [
        {
            "session": k, "device_id": s.target.device_id, "ran_on": s.target.ran_on, "firmware": s.target.firmware, "opened": _time(s.at),
            "first_run": s.runs,
        }
        for k, s in enumerate(log.sessions)
    ]  # fmt: skip
    document = {
        "file": path, "bytes": size, "sessions": sessions, "loads": len(log.loads), "runs": len(log.runs), "programs": uses,
        "first_run": _time(log.runs[0].at) if log.runs else None, "last_run": _time(log.runs[-1].at) if log.runs else None,
        "frames": dict(log.frames), "frame_bytes": dict(log.frame_bytes), "damage": log.damage,
    }  # fmt: skip

    def words() -> None:
        counts = f"{len(log.sessions)} sessions, {len(log.loads)} loads, {len(log.runs)} runs"
        terminal.say(f"{path}: {size} bytes, {counts}")
        columns = ("session", "device", "ran on", "firmware", "opened (UTC)", "first run")
        terminal.table(columns, [tuple(session.values()) for session in sessions])
        if log.runs:
            numbers = ("loads", "runs", "samples", "spikes", "lost", "device (s)")
            terminal.table(("program", *numbers), [use.row() for use in uses], numbers)
            terminal.say(f"from {document['first_run']} to {document['last_run']} (UTC)")
        for way in sorted(log.frames):
            terminal.say(f"frames {way}: {log.frames[way]}, {log.frame_bytes[way]} bytes")
        terminal.say("all of it is whole" if log.damage is None else str(log.damage))

    return Answer(document, words, passed=log.damage is None)


def _uses(log: LogContent) -> list[_Use]:
    """What each program did, in the order of their first runs."""
    found = []
    for program in dict.fromkeys(run.program for run in log.runs):
        numbers = [k for k, run in enumerate(log.runs) if run.program == program]
        runs = [log.runs[k] for k in numbers]
        spikes = sum(int(train.counts.sum()) for k in numbers for train in log.events(k)[1])
        loads = sum(load.program == program for load in log.loads)
        samples = sum(run.inputs.samples * run.repeats for run in runs)
        lost = sum(run.lost_events for run in runs)
        found.append(_Use(program, loads, len(runs), samples, spikes, lost, sum(run.wall_time for run in runs)))
    return found


def _time(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").removesuffix("+00:00")
    except (ValueError, OverflowError, OSError):
        return f"{at:g} s"
