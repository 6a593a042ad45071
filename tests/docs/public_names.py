"""What is public, counted: names, methods, and what of their parameters is described.

python -m tests.docs.public_names
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from typing import Any

import hwloop

#: Modules whose names are public, beside ``hwloop`` itself.
MODULES = (
    "hwloop.losses", "hwloop.membrane_losses", "hwloop.margin_losses", "hwloop.encoding", "hwloop.datasets",
    "hwloop.experiment", "hwloop.own_data", "hwloop.training", "hwloop.rules", "hwloop.ranks", "hwloop.simulate", "hwloop.record",
    "hwloop.network", "hwloop.mapping", "hwloop.compare", "hwloop.conformance", "hwloop.cost", "hwloop.target", "hwloop.device.trim", "hwloop.errors",
    "hwloop.bundle", "hwloop.session_log", "hwloop_calibration", "hwloop_emulator", "hwloop_loihi", "hwloop_lava",
    "hwloop_rtl", "hwloop_serial", "hwloop_replay",
)  # fmt: skip
#: Annotations of what has a unit or a shape.
_NUMBER = re.compile(r"\b(?:float|Tensor|NDArray|Numbers|ParameterValue)\b")


def public(module: Any) -> Iterator[tuple[str, Any]]:
    """Public names of ``module``: its ``__all__``, else what it defines or exports as itself (``import x as x``)."""
    names = getattr(module, "__all__", None)
    if names is None:
        exported = set(re.findall(r"import (\w+) as \1$", inspect.getsource(module), re.MULTILINE))
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_")
            and (inspect.isclass(value) or inspect.isfunction(value))
            and (value.__module__ == module.__name__ or name in exported)
        ]
    for name in names:
        yield f"{module.__name__}.{name}", getattr(module, name)


def everything() -> list[tuple[str, Any]]:
    found = list(public(hwloop))
    for name in MODULES:
        found += public(importlib.import_module(name))
    return [(name, value) for name, value in found if getattr(value, "__module__", "hwloop").startswith("hwloop")]


def methods(owner: Any) -> list[tuple[str, Any]]:
    """Public methods and properties that a class defines itself."""
    if not inspect.isclass(owner):
        return []
    kinds = (classmethod, staticmethod, property)
    return [
        (name, getattr(owner, name))
        for name, value in vars(owner).items()
        if not name.startswith("_") and (inspect.isfunction(value) or isinstance(value, kinds))
    ]


def parameters(value: Any) -> list[str]:
    """Names of what a function or class takes; an error is no class to be called."""
    return list(_signature(value))


def numbers(value: Any) -> list[str]:
    """Those that are numbers of a unit, or arrays of a shape."""
    return [name for name, annotation in _signature(value).items() if _NUMBER.search(annotation)]


def _signature(value: Any) -> dict[str, str]:
    called = inspect.isfunction(value) or (inspect.isclass(value) and not issubclass(value, Exception))
    if getattr(value, "_is_protocol", False):  # which nobody makes
        return {}
    own = inspect.isclass(value) and (dataclasses.is_dataclass(value) or "__init__" in vars(value))
    if not called or (inspect.isclass(value) and not own):
        return {}
    found = inspect.signature(value).parameters
    return {name: str(one.annotation) for name, one in found.items() if not name.startswith("_")}


def described(value: Any) -> str:
    """Everything that is said of what ``value`` takes."""
    made = vars(value).get("__init__") if inspect.isclass(value) else None
    return f"{value.__doc__ or ''} {getattr(made, '__doc__', None) or ''}"


def undescribed(value: Any, names: Sequence[str]) -> list[str]:
    """Those of ``names`` that the docstring of ``value`` does not name."""
    text = described(value)
    return [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)]


def main() -> None:
    unique = {id(value): value for _, value in everything()}.values()
    documented = [value for value in unique if (value.__doc__ or "").strip()]
    inside = [method for value in unique for _, method in methods(value)]
    print(f"{len(documented)} of {len(unique)} public names are documented")
    print(
        f"{sum(bool(inspect.getdoc(method)) for method in inside)} of {len(inside)} methods and properties of public classes"
    )
    for what, chosen in (("parameters that are numbers or arrays", numbers), ("parameters", parameters)):
        found = [(value, chosen(value)) for value in unique]
        missing = sum(len(undescribed(value, names)) for value, names in found)
        total = sum(len(names) for _, names in found)
        print(f"{total - missing} of {total} {what} stand in a docstring")


if __name__ == "__main__":
    main()
