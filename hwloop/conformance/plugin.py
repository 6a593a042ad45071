"""Claims as tests of pytest: ``pytest --hwloop-target mychip:0`` runs one test for each, beside whatever else is collected.

Installing hwloop registers the plugin; it does nothing, and imports nothing, without ``--hwloop-target``. Where plugins are not
loaded by themselves, ``-p hwloop.conformance.plugin`` names it. What a target lacks is a skipped test with the reason, and an expected
failure is ``xfail``, strict: one that passes fails.
"""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .claim import Claim
    from .subject import Subject

#: What the items are listed under.
PLACE = "hwloop-conformance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options; all of them begin with ``--hwloop``."""
    group = parser.getgroup("hwloop", "conformance of a target of hwloop")
    group.addoption("--hwloop-target", metavar="NAME", help="check what every target promises on this one: mychip:0")
    group.addoption(
        "--hwloop-option",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="an option of the target; may be repeated",
    )
    group.addoption("--hwloop-expected", metavar="FILE.toml", help="claims that the target is known to break, and why")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    """Add an item for each claim; ``-k`` chooses among them as among all others."""
    name = config.getoption("hwloop_target")
    if not name or any(isinstance(item, ClaimItem) for item in items):
        return
    from ..device.registry import find
    from ..errors import HwloopError
    from .claims import CLAIMS
    from .expectations import load_expectations
    from .subject import Subject

    path = config.getoption("hwloop_expected")
    try:
        subject = Subject(find(name, **dict(map(_pair, config.getoption("hwloop_option")))))
        expected = load_expectations(path) if path else {}
    except HwloopError as error:
        raise pytest.UsageError(f"--hwloop-target {name}: {error}") from error
    made: list[pytest.Item | pytest.Collector] = []
    for claim in CLAIMS.values():
        place = f"{PLACE}::{claim.name}"
        item = ClaimItem.from_parent(session, name=claim.name, nodeid=place, claim=claim, subject=subject)
        if (reason := expected.get(claim.name)) is not None:
            item.add_marker(pytest.mark.xfail(reason=reason, strict=True))
        items.append(item)
        made.append(item)
    # so that the terminal counts them among those collected
    config.hook.pytest_collectreport(report=pytest.CollectReport(PLACE, "passed", None, made))


def _pair(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals:
        raise pytest.UsageError(f"--hwloop-option {text!r}; allowed: KEY=VALUE, such as preset=bss2")
    try:
        return key, tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key, value


class ClaimItem(pytest.Item):
    """One claim on the target."""

    def __init__(self, *, claim: Claim, subject: Subject, **options: Any) -> None:
        super().__init__(**options)
        self.claim, self.subject = claim, subject

    def runtest(self) -> None:
        """Check the claim."""
        from .verdict import check

        outcome = check(self.claim, self.subject)
        if outcome.status == "skipped":
            pytest.skip(outcome.detail)
        if outcome.status == "failed":
            raise ClaimBroken(outcome.detail)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What the claim demands, and by what it is broken; no traceback of the suite's own."""
        if isinstance(excinfo.value, ClaimBroken):
            return f"{self.claim.demand}\n\nbroken by {self.subject.target.name}: {excinfo.value}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Any, int | None, str]:
        """Where it stands, in reports."""
        return self.path, None, f"{PLACE}: {self.claim.name}"


class ClaimBroken(Exception):
    """The target breaks a claim."""
