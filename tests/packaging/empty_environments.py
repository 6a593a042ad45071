"""``make dist``: the wheel in an empty environment of every supported Python that is there; the quick demonstration runs in each.

python tests/packaging/empty_environments.py WHEEL [--pythons python3.12 ...]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pythons import interpreters

ROOT = Path(__file__).parents[2]


def made(python: str, folder: Path, *needs: str) -> Path:
    """The interpreter of a new environment of ``python`` in ``folder``, with torch as it is pinned, then ``needs``."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    inside = folder / "bin" / "python"
    pip = [str(inside), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
    torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
    subprocess.run([*pip, torch], check=True)
    subprocess.run([*pip, *needs], check=True, cwd=ROOT)
    return inside


def tried(python: str, wheel: Path) -> str:
    """What the demonstration printed of its last chip, and the time that each step took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        inside = made(python, Path(folder), str(wheel))
        installed = time.perf_counter()
        done = subprocess.run(
            [str(inside.with_name("hwloop")), "demo", "--quick", "--out", f"{folder}/demo"],
            cwd=folder, check=True, capture_output=True, text=True,
        )  # fmt: skip
        assert (Path(folder) / "demo" / "report.html").stat().st_size > 10_000
        line = [line.strip() for line in done.stdout.splitlines() if line.strip().startswith("emulator:")][-1]
        return (
            f"{python}: installed in {installed - start:.0f} s, ran in {time.perf_counter() - installed:.0f} s; {line}"
        )


def main() -> int:
    """Status 1 where it did not run."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("wheel", type=Path)
    options.add_argument("--pythons", nargs="+", default=[], help="default: every supported one that is here")
    chosen = options.parse_args()
    pythons = interpreters(chosen.pythons)
    print("Python versions:", ", ".join(pythons) or "none", flush=True)
    failed = not pythons
    for python in pythons:
        try:
            print(tried(python, chosen.wheel.resolve()), flush=True)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"{python}: {error}\n{error.stderr or ''}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
