"""A log as it is read: what was opened, loaded and run, the events read when they are asked for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from ..array_file import Array
from ..errors import DataError
from ..record import Recording
from ..spike_differences import first_difference
from ..spikes import Spikes
from ..storage import malformed
from ..stored_spikes import same_spikes
from .asked import Asked, AskedText, OpenedText, Reply, read_asked, read_opened
from .entries import Frame, Kind, LoadText, RunText, SessionText, decode_text, run_events
from .records import MAX_BODY, Damage, Entry, read_records


@dataclass
class LogContent:
    """What a log holds.

    Attributes
    ----------
    sessions, loads, runs : in the order in which they were recorded; ``runs[k]`` is run number k
    asked : what was asked besides, and where the device stood as a session began, in their order
    frames, frame_bytes : sent and received, by direction ("sent", "received")
    end : byte at which the whole records end
    damage : the first one, None where all of the file is whole
    """

    path: Path
    sessions: list[SessionText] = field(default_factory=list)
    loads: list[LoadText] = field(default_factory=list)
    runs: list[RunText] = field(default_factory=list)
    asked: list[AskedText | OpenedText] = field(default_factory=list)
    frames: Counter[str] = field(default_factory=Counter)
    frame_bytes: Counter[str] = field(default_factory=Counter)
    end: int = 0
    damage: Damage | None = None
    _places: list[Entry] = field(default_factory=list)
    _asked_places: list[Entry] = field(default_factory=list)

    def take(self, entry: Entry, body: bytes) -> None:
        """Add a record; :class:`DataError` naming its byte where it does not follow from those before."""
        where = f"{self.path}, record at byte {entry.start}"
        if entry.kind == Kind.SESSION:
            session = decode_text(SessionText, body, where)
            same = not self.sessions or (session.target.device_id, session.target.limits) == (
                self.sessions[0].target.device_id, self.sessions[0].target.limits
            )  # fmt: skip
            if not same or session.runs != len(self.runs):
                raise malformed(where, "the session", f"{session.target.device_id}, run {session.runs}", self._next())
            self.sessions.append(session)
        elif not self.sessions and entry.kind != Kind.FRAME:  # a link says HELLO before there is a device
            raise malformed(where, "the record", f"of kind {entry.kind}", "a session before anything else")
        elif entry.kind == Kind.LOAD:
            self.loads.append(decode_text(LoadText, body, where))
        elif entry.kind == Kind.RUN:
            run = decode_text(RunText, body, where)
            if (run.run, run.device_id) != (len(self.runs), self.device_id):
                raise malformed(where, "the run", f"number {run.run} of {run.device_id}", self._next())
            self.runs.append(run)
            self._places.append(entry)
        elif entry.kind in (Kind.OPENED, Kind.ASKED):
            text: AskedText | OpenedText = (
                decode_text(OpenedText, body, where)
                if entry.kind == Kind.OPENED
                else decode_text(AskedText, body, where)
            )
            if text.run > len(self.runs):
                raise malformed(where, "what was asked", f"before run {text.run}", f"up to {self._next()}")
            self.asked.append(text)
            self._asked_places.append(entry)
        elif entry.kind == Kind.FRAME:
            frame = Frame.decode(body, where)
            way = "sent" if frame.sent else "received"
            self.frames[way] += 1
            self.frame_bytes[way] += len(frame.data)
        else:
            raise malformed(
                where, "the record", f"of kind {entry.kind}", f"kinds {', '.join(map(str, map(int, Kind)))}"
            )

    def _next(self) -> str:
        return f"run {len(self.runs)} of {self.device_id}"

    @property
    def device_id(self) -> str:
        """Of the device; the sessions of a log are all of one."""
        return self.sessions[0].target.device_id if self.sessions else "any device"

    def events(self, number: int) -> tuple[Spikes, tuple[Spikes, ...]]:
        """``(inputs, populations)`` of run ``number``, read anew and checked."""
        return run_events(self.runs[number], self._body(self._places[number]), f"{self.path}, run {number}")

    def opened(self, text: OpenedText, place: int) -> dict[str, Array]:
        """Codes that the trim cells held where ``text``, at place ``place`` of :attr:`asked`, says that a session began."""
        return read_opened(text, self._body(self._asked_places[place]), self._asked(place))

    def question(self, text: AskedText, place: int) -> tuple[Asked, Reply]:
        """The question ``text`` at place ``place`` of :attr:`asked`, and its reply."""
        return read_asked(text, self._body(self._asked_places[place]), self._asked(place))

    def _asked(self, place: int) -> str:
        return f"{self.path}, record {place} of what was asked"

    def _body(self, entry: Entry) -> bytes:
        try:
            with self.path.open("rb") as file:
                file.seek(entry.start)
                return file.read(min(entry.length, MAX_BODY))
        except OSError as error:
            raise DataError(
                f"cannot read {self.path}: {error.strerror or error}; check the path and its permissions"
            ) from error

    def load_before(self, number: int, program: str) -> LoadText | None:
        """The load of ``program`` before run ``number``; another one of it where there is none there; None: never loaded."""
        found = [load for load in self.loads if load.program == program]
        return next((load for load in found if load.run == number), found[-1] if found else None)


def read_log(path: Path | str) -> LogContent:
    """What the log in ``path`` holds, up to its first damage, which :attr:`LogContent.damage` tells.

    Raises :class:`DataError` where it cannot be read, is no log, or holds a whole record that is none of hwloop's.
    """
    path = Path(path)
    content = LogContent(path)
    try:
        with path.open("rb") as file:
            for found in read_records(file, path):
                if isinstance(found, Damage):
                    content.damage = found
                else:
                    content.take(*found)
                    content.end = found[0].start + found[0].length
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}; check the path and its permissions") from error
    return content


def difference(
    run: RunText, recorded: Spikes, program: str, layers: tuple[str, ...], inputs: Spikes, repeats: int
) -> str | None:
    """What is asked otherwise than it was recorded as ``run``, the first thing; None: nothing."""
    if program != run.program:
        pairs = zip(layers, run.layers, strict=False)
        place = next((k for k, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
        others = "its target or limits" if len(layers) == len(run.layers) else "the number of layers"
        where = others if place is None else f"layer {place}"
        return f"program {program[:12]}, recorded was {run.program[:12]}; what differs first is {where}"
    if repeats != run.repeats:
        return f"{repeats} repeats, recorded were {run.repeats}"
    shapes = [(len(train), train.n_units, train.t_stop, train.times.dtype) for train in (inputs, recorded)]
    if shapes[0] != shapes[1]:
        return f"inputs of (samples, units, t_stop (s), dtype) {shapes[0]}, recorded were {shapes[1]}"
    found = None if same_spikes(recorded, inputs) else first_difference(recorded, inputs, -1, "input")
    return (
        None
        if found is None
        else f"inputs that differ first in sample {found.sample}, unit {found.neuron}: recorded "
        + ("no spike" if found.expected is None else f"{found.expected!r} s")
        + ", asked "
        + ("no spike" if found.found is None else f"{found.found!r} s")
    )


def answer(run: RunText, populations: tuple[Spikes, ...], inputs: Spikes, names: tuple[str, ...]) -> Recording:
    """``run`` as the recording that the device returned."""
    return Recording(
        populations=populations, names=names, inputs=inputs, latency=run.latency, ran_on=run.ran_on, device_id=run.device_id,
        firmware=run.firmware, program_digest=run.program, lost_events=run.lost_events, late_events=run.late_events,
        wall_time=run.wall_time, calibration_id=run.calibration_id, calibration_age=run.calibration_age, cycles=run.cycles,
        synaptic_events=run.synaptic_events,
    )  # fmt: skip
