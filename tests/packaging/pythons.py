"""Which of the supported Pythons are here: names on the PATH that really start one, else what pyenv keeps."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Minor versions that the package supports.
SUPPORTED = (11, 12, 13)
#: Says its version, and fails where no environment can be made of it.
_PROBE = "import sys, venv, ensurepip; print('%d.%d' % sys.version_info[:2])"


def interpreters(asked: Sequence[str] = ()) -> list[str]:
    """A command for each supported Python that is here, or those ``asked`` for as they are."""
    if asked:
        return list(asked)
    found = []
    for minor in SUPPORTED:
        found += [python for python in _candidates(minor) if _starts(python, minor)][:1]
    return found


def _candidates(minor: int) -> list[str]:
    """Where Python 3.``minor`` may be; a shim of pyenv stands on the PATH for versions that are not chosen, too."""
    name = f"python3.{minor}"
    kept = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    homes = sorted(kept.glob(f"3.{minor}.*"), key=lambda home: int("".join(filter(str.isdigit, home.name[5:])) or 0))
    on_path = [name] if shutil.which(name) else []
    return [*on_path, *(str(home / "bin" / name) for home in reversed(homes))]


def _starts(python: str, minor: int) -> bool:
    """Whether ``python`` starts Python 3.``minor`` with all that an environment needs."""
    try:
        done = subprocess.run([python, "-c", _PROBE], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return False
    return done.returncode == 0 and done.stdout.strip() == f"3.{minor}"
