"""What came of checking claims: an outcome each, counted; as plain values for a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

from ..device.registry import Target
from ..errors import HwloopError
from ..record import RanOn
from .claim import Claim, NotApplicable, Topic, Violation
from .claims import CLAIMS
from .expectations import Expectations
from .subject import Subject

FORMAT, VERSION = "hwloop-conformance", 1

#: ``expected``: failed as the owner's file says; ``unexpected``: passed although the file says that it fails.
Status: TypeAlias = Literal["passed", "skipped", "expected", "failed", "unexpected"]
STATUSES: tuple[Status, ...] = get_args(Status)
#: Those of a target that does not conform.
BROKEN: tuple[Status, ...] = ("failed", "unexpected")


@dataclass(frozen=True)
class Outcome:
    """What came of one ``claim`` on a ``topic``: its ``status``; ``detail`` says why it was skipped or failed; ``seconds`` (s) it took."""

    claim: str
    topic: Topic
    status: Status
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """All outcomes on one target."""

    target: str
    device_id: str
    firmware: str
    ran_on: RanOn
    outcomes: tuple[Outcome, ...]

    @property
    def conforms(self) -> bool:
        """Whether no claim failed that is not expected to, and none passed that is."""
        return not any(outcome.status in BROKEN for outcome in self.outcomes)

    @property
    def counts(self) -> dict[Status, int]:
        """Outcomes of each status, skipped ones as visible as those that passed."""
        return {status: sum(outcome.status == status for outcome in self.outcomes) for status in STATUSES}

    @property
    def headline(self) -> str:
        """All counts in a line."""
        words = {"expected": "failed as expected", "unexpected": "passed against expectation"}
        shown = [
            f"{count} {words.get(status, status)}"
            for status, count in self.counts.items()
            if count or status in ("passed", "skipped", "failed")
        ]
        return ", ".join(shown)

    def to_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {
            "target": self.target, "device_id": self.device_id, "firmware": self.firmware, "ran_on": self.ran_on,
            "conforms": self.conforms, "counts": self.counts, "claims": [asdict(outcome) for outcome in self.outcomes],
        }  # fmt: skip


def check(claim: Claim, subject: Subject, expected: Expectations | None = None) -> Outcome:
    """The outcome of ``claim`` on ``subject``; errors of the target break it, whatever they are."""
    begun = time.perf_counter()
    status, detail = _found(claim, subject)
    reason = (expected or {}).get(claim.name)
    if reason is not None and status == "failed":
        status, detail = "expected", f"{reason} ({detail})"
    elif reason is not None and status == "passed":
        status, detail = "unexpected", f"passed, although expected to fail: {reason}. Take it out of the file"
    return Outcome(claim.name, claim.topic, status, detail, time.perf_counter() - begun)


def _found(claim: Claim, subject: Subject) -> tuple[Status, str]:
    try:
        claim(subject)
    except NotApplicable as reason:
        return "skipped", str(reason)
    except Violation as broken:
        return "failed", str(broken)
    except HwloopError as error:
        return "failed", f"{type(error).__name__}: {error}"
    except Exception as error:  # a backend of somebody else's raises what it likes
        return "failed", f"{type(error).__name__}: {error}; a target raises errors of hwloop.errors alone"
    return "passed", ""


def conform(
    target: Target,
    *,
    claims: Iterable[str] = (),
    expected: Mapping[str, str] | None = None,
    log: Path | None = None,
    tell: Callable[[Outcome], None] = lambda outcome: None,
) -> Verdict:
    """Check ``target``.

    Parameters
    ----------
    target : what :func:`hwloop.target.find` returns, or one of your own
    claims : names of those to check; none: all of :data:`CLAIMS`
    expected : reasons by claim, of :func:`load_expectations`
    log : path of a session log to record into; ``replay:LOG`` answers the same check from it
    tell : called with each outcome as it comes

    Raises
    ------
    TargetError
        The target does not open at all.
    OptionError
        No such claim.
    """
    chosen = [_known(name) for name in claims] or list(CLAIMS.values())
    with target.open() as device:
        identity = (device.device_id, device.firmware, device.ran_on)
    subject, outcomes = Subject(target, log), []
    for claim in chosen:
        outcomes.append(check(claim, subject, expected))
        tell(outcomes[-1])
    return Verdict(target.name, *identity, tuple(outcomes))


def _known(name: str) -> Claim:
    from ..errors import OptionError

    if name not in CLAIMS:
        raise OptionError(f"no claim is called {name!r}; there are: {', '.join(CLAIMS)}")
    return CLAIMS[name]
