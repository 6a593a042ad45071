"""Processes of our own, for what no stock process does; each alone in its folder, with a model per arithmetic.

Alone, since Lava's search for models executes every .py file beside a process. The graph names the models itself, but
users who take a process out of here into a Lava program of theirs rely on that search.
"""

from __future__ import annotations

from .soft_reset.process import PySoftResetFixed, PySoftResetFloat, SoftReset

#: name in a description -> (process, {arithmetic: model})
MODELS: dict[str, tuple[type, dict[str, type]]] = {
    "soft_reset": (SoftReset, {"fixed": PySoftResetFixed, "float": PySoftResetFloat}),
}
