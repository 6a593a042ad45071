"""Entry point of the command ``hwloop``; see :mod:`hwloop.command`."""

from .command import app as app

__all__ = ["app"]
