"""ExactSNN-nn: not to be had from the package registry any more, so no adapter could be written and checked against it."""

from __future__ import annotations

from .base import Problem, Unavailable


class ExactSnn:
    """Says that it is missing, wherever it is asked for."""

    def __init__(self, problem: Problem) -> None:
        raise Unavailable(
            "not installed: ExactSNN-nn is not to be had from the package registry, and has no adapter here"
        )
