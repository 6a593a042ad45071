"""``make dist``: the wheel in an empty environment of every supported Python that is there; the quick demonstration runs in each.

python tests/packaging/empty_environments.py WHEEL [--pythons python3.12 ...]
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]
SUPPORTED = ("python3.11", "python3.12", "python3.13")


def tried(python: str, wheel: Path) -> str:
    """What the demonstration printed of its last chip, and the time that each step took."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([python, "-m", "venv", folder], check=True)
        inside = Path(folder) / "bin" / "python"
        pip = [str(inside), "-m", "pip", "install", "--quiet", "-c", str(ROOT / "constraints.txt")]
        torch = next(line for line in (ROOT / "constraints.txt").read_text().splitlines() if line.startswith("torch=="))
        subprocess.run([*pip, torch], check=True)
        subprocess.run([*pip, str(wheel)], check=True)
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
    options.add_argument("--pythons", nargs="+", default=[name for name in SUPPORTED if shutil.which(name)])
    chosen = options.parse_args()
    print("Python versions:", ", ".join(chosen.pythons), flush=True)
    failed = False
    for python in chosen.pythons:
        try:
            print(tried(python, chosen.wheel.resolve()), flush=True)
        except subprocess.CalledProcessError as error:
            failed = True
            print(f"{python}: {error}\n{error.stderr or ''}", file=sys.stderr)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
