"""What every target and device promises, whatever it is made of, as claims that anybody can check on a target of theirs.

    hwloop conform emulator:7 --preset bss2
    pytest --hwloop-target mychip:0
    hwloop.conformance.conform(hwloop.target.find("mychip:0"))

A claim asks the target through :class:`~hwloop.device.registry.Target` and :class:`~hwloop.device.registry.Device` alone. What
a target does not have is skipped, with the reason, and counted.

Names are imported when they are first used: the plugin of pytest is loaded wherever hwloop is installed.
"""

from importlib import import_module as _import_module
from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

if _TYPE_CHECKING:
    from .claim import Claim as Claim
    from .claim import Topic as Topic
    from .claims import CLAIMS as CLAIMS
    from .expectations import Expectations as Expectations
    from .expectations import load_expectations as load_expectations
    from .subject import Subject as Subject
    from .verdict import Outcome as Outcome
    from .verdict import Verdict as Verdict
    from .verdict import check as check
    from .verdict import conform as conform

#: Where each public name comes from.
_HOMES = {
    "CLAIMS": ".claims", "Claim": ".claim", "Expectations": ".expectations", "Outcome": ".verdict", "Subject": ".subject",
    "Topic": ".claim", "Verdict": ".verdict", "check": ".verdict", "conform": ".verdict", "load_expectations": ".expectations",
}  # fmt: skip

__all__ = [
    "CLAIMS", "Claim", "Expectations", "Outcome", "Subject", "Topic", "Verdict", "check", "conform", "load_expectations",
]  # fmt: skip

if not _TYPE_CHECKING:  # a checker is to refuse unknown names

    def __getattr__(name: str) -> _Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = globals()[name] = getattr(_import_module(_HOMES[name], __name__), name)
        return value
