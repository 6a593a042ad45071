"""``hwloop conform``: whether a target keeps what every target promises, claim by claim."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import OptionError
from . import completion, options
from .answer import Answer

if TYPE_CHECKING:
    from ..conformance import Outcome, Verdict


def conform(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="Such as emulator:7, mychip:0 or serial:/dev/ttyUSB0.",
            autocompletion=completion.targets,
        ),
    ] = None,
    preset: options.Preset = None,
    spread: options.Spread = None,
    mismatch: options.Mismatch = None,
    trial_noise: options.Noise = None,
    dt: options.Step = None,
    option: options.Extra = None,
    claim: Annotated[list[str] | None, typer.Option("--claim", help="Only this one, of several; default: all.")] = None,
    expected: Annotated[
        Path | None, typer.Option(metavar="FILE.toml", help="Claims that the target is known to break, and why.")
    ] = None,
    json_file: options.JsonFile = None,
    badge: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Write a badge there.")] = None,
    log: options.Log = None,
    list_: Annotated[bool, typer.Option("--list", help="List the claims and what each demands, and stop.")] = False,
) -> Answer:
    """Check what every target promises on one of them: times, order, state, weights, delays, losses, digests, refusals."""
    from ..conformance import CLAIMS
    from ..results import versions
    from . import terminal
    from .target_choice import TargetChoice

    if list_:
        rows = [(c.name, c.topic, c.summary) for c in CLAIMS.values()]
        claims = [dict(zip(("claim", "topic", "demands"), row, strict=True)) for row in rows]
        return Answer({"claims": claims}, lambda: terminal.table(("claim", "about", "demands"), rows))
    if target is None:
        raise OptionError("no target; allowed: the name of one, such as emulator:7 (see `hwloop targets`), or --list")
    choice = TargetChoice(target, preset, spread, mismatch, trial_noise, option or (), dt)
    verdict = _checked(choice, target, claim or [], expected, log)
    document = {**verdict.to_dict(), "versions": versions()}
    _write(verdict, document, json_file, badge)
    return Answer(document, lambda: _say(verdict), passed=verdict.conforms)


def _checked(choice: object, name: str, claims: list[str], expected: Path | None, log: Path | None) -> Verdict:
    from ..conformance import conform as check
    from ..conformance import load_expectations
    from . import terminal

    known = {} if expected is None else load_expectations(expected)
    target = choice.find_named(name)  # type: ignore[attr-defined]  # TargetChoice, which is imported late
    return check(
        target, claims=claims, expected=known, log=log, tell=lambda o: terminal.status(f"{o.claim}: {o.status}")
    )


def _say(verdict: Verdict) -> None:
    from . import terminal

    terminal.table(("claim", "about", "outcome", "why"), [_row(outcome) for outcome in verdict.outcomes])
    terminal.say(f"{verdict.target}: {verdict.headline}", "bold" if verdict.conforms else "bold red")
    terminal.say(f"{verdict.device_id} ({verdict.ran_on}, {verdict.firmware})")


def _row(outcome: Outcome) -> tuple[str, str, str, str]:
    return outcome.claim, outcome.topic, outcome.status, outcome.detail or "-"


def _write(verdict: Verdict, document: dict[str, Any], json_file: Path | None, badge: Path | None) -> None:
    from .. import storage
    from ..conformance.badge import badge_of
    from ..conformance.verdict import FORMAT, VERSION

    if json_file is not None:
        storage.write_json(json_file, document, kind=FORMAT, version=VERSION)
    if badge is not None:
        storage.write_bytes(badge, badge_of(verdict).encode())
