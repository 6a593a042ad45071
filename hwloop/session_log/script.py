"""What was asked besides loads and runs, served back in its order; and where the device then stood."""

from __future__ import annotations

from ..array_file import Array
from ..device.trim import TrimRange
from ..errors import TargetError
from .asked import Asked, AskedText, NowText, OpenedText, Reply
from .content import LogContent

#: What to do where something else was recorded.
_SAME = "Use the same network, data, seed and options, in the same order"


class Script:
    """The questions of ``log``, from its beginning.

    Attributes
    ----------
    ranges, codes, channels : trim cells and their codes (int64), and channels for membranes, where the device stands now
    now : its clock, temperature and cells written when it was last asked; None where the log does not tell
    clock : its clock (device s)
    """

    def __init__(self, log: LogContent) -> None:
        self._log = log
        self.seek(0)
        self._free = -1

    def seek(self, run: int) -> None:
        """Go to before run number ``run``. Whether what was asked between it and the run before is asked again, nobody knows."""
        self._next, self._free = 0, run
        self.ranges: dict[str, TrimRange] = {}
        self.codes: dict[str, Array] = {}
        self.channels = 0
        self.now: NowText | None = None
        self.clock = 0.0
        while self._next < len(self._log.asked) and self._log.asked[self._next].run < run:
            self._pass()
        self._pending(run)

    def skip(self) -> None:
        """Go to the end."""
        while self._next < len(self._log.asked):
            self._pass()

    def _pass(self) -> Reply:
        """Over the next record; where the device stands then."""
        text, place = self._log.asked[self._next], self._next
        self._next += 1
        self.now, self.clock = text.now, text.now.device_time
        if isinstance(text, OpenedText):
            self.ranges, self.channels = text.trim_ranges, text.membrane_channels
            self.codes = self._log.opened(text, place)
            return Reply({})
        _, reply = self._log.question(text, place)
        self.codes = {**self.codes, **reply.codes}
        return reply

    def _pending(self, run: int) -> AskedText | None:
        """The next question, if it is of before run number ``run``; beginnings of sessions before it are passed over."""
        while self._next < len(self._log.asked) and (text := self._log.asked[self._next]).run <= run:
            if isinstance(text, AskedText):
                return text
            self._pass()
        return None

    def loaded_or_ran(self, clock: float | None) -> None:
        """A load or a run was answered, after which the clock was at ``clock`` (device s; None: the log does not tell)."""
        self.clock = self.clock if clock is None else clock

    def pending(self, run: int) -> bool:
        """Whether something was asked before run number ``run`` that has not been asked again."""
        return self._pending(run) is not None

    def _may_be_left_out(self, text: AskedText) -> bool:
        return text.run == self._free or text.name == "apply"

    def answer(self, asked: Asked, run: int) -> Reply:
        """What was recorded when the device was asked the same before run number ``run``.

        Raises :class:`~hwloop.errors.TargetError` where something else was recorded, or what the device said then.
        """
        while (text := self._pending(run)) is not None:
            recorded, _ = self._log.question(text, self._next)
            difference = asked.difference(recorded)
            if difference is None:
                reply = self._pass()
                if text.error is not None:
                    raise TargetError(text.error)
                return reply
            if not self._may_be_left_out(text):
                raise TargetError(
                    f"{self._log.path}, before run {run}, was recorded otherwise: asked was {difference}. {_SAME}"
                )
            self._pass()
        raise TargetError(f"{self._log.path}: {asked.name} was not recorded before run {run}. {_SAME}")

    def check_run(self, run: int) -> None:
        """Raise :class:`~hwloop.errors.TargetError` where something that changes what runs was asked before run number ``run``."""
        while (text := self._pending(run)) is not None:
            if not self._may_be_left_out(text):
                raise TargetError(
                    f"{self._log.path}: {text.name} was recorded before run {run}, and was not asked. {_SAME}"
                )
            self._pass()
