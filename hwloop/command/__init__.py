"""The command ``hwloop``: one module for the options, one for the work, one each for folders, pages and the terminal."""

from .commands import app as app

__all__ = ["app"]
