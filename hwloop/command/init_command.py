"""``hwloop init``: an experiment file to begin with."""

from __future__ import annotations

import re
from pathlib import Path

from .. import storage
from ..document_errors import did_you_mean
from ..errors import OptionError
from ..experiment import Experiment, builtin
from ..experiment_text import commented
from . import terminal
from .answer import Answer


def init(path: Path, source: str) -> Answer:
    """Write the built-in experiment ``source``, every value with a comment, to ``path``; nothing is overwritten."""
    if source not in builtin():
        raise OptionError(f"--from {source}; built in: {', '.join(builtin())}{did_you_mean(source, builtin())}")
    if path.suffix != ".toml":
        raise OptionError(f"{path}; allowed: a name that ends in .toml")
    if path.exists():
        raise OptionError(f"{path} exists and is left as it is; name another file: hwloop init FILE.toml")
    name = re.sub(r"[^A-Za-z0-9_.-]+", "-", path.stem).strip("-._") or source
    text = commented(Experiment.load(source).changed(name=name[:64]), source)
    storage.write_bytes(path, text.encode())
    words = f"{path}: like {source}; run it with: hwloop run {path}"
    return Answer({"file": path, "like": source}, lambda: terminal.say(words))
