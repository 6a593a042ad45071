"""Entry point of the worker: ``python -I FOLDER_OF_THIS_FILE TOKEN REQUESTS ANSWERS``; see :mod:`.serve`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

if __name__ == "__main__":
    folder = Path(__file__).resolve().parent
    # run as a folder, Python puts this folder first on its path; wanted is the package, and last
    sys.path[:] = [entry for entry in sys.path if entry != str(folder) and entry != sys.argv[0]]
    sys.path.append(str(folder.parent))
    importlib.import_module("worker.serve").main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
