"""``make test-pythons``: the quick part of the test suite in an environment of every supported Python that is here.

python tests/packaging/each_python.py [--pythons python3.12 ...] [--folder out/pythons] [tests ...]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from empty_environments import ROOT, made
from pythons import interpreters

#: Tests that a new Python breaks first: values, files, the command, packaging, the examples.
QUICK = (
    "tests/test_public.py", "tests/test_spikes.py", "tests/test_encoding.py", "tests/test_datasets.py", "tests/test_losses.py",
    "tests/test_storage.py", "tests/test_checkpoint.py", "tests/test_experiment.py", "tests/test_cli.py", "tests/test_house.py",
    "tests/command", "tests/packaging", "tests/docs/test_examples_page.py", "tests/simulate", "tests/mapping",
)  # fmt: skip


def ran(python: str, folder: Path, tests: list[str]) -> tuple[bool, str]:
    """Whether all passed, and the last line of pytest; the environment stays in ``folder`` for the next time."""
    start = time.perf_counter()
    inside = folder / "bin" / "python"
    if not (folder / ".installed").exists():
        inside = made(python, folder, "-e", ".[test,docs]")
        (folder / ".installed").touch()
    installed = time.perf_counter()
    environment = {**os.environ, "PATH": f"{inside.parent}{os.pathsep}{os.environ['PATH']}"}
    command = [str(inside), "-m", "pytest", "-q", "-p", "no:cacheprovider", *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    (folder / "tests.log").write_text(done.stdout)
    failures = re.findall(r"^(?:FAILED|ERROR) .*$", done.stdout, re.MULTILINE)
    last = (done.stdout.strip().splitlines() or ["nothing was said"])[-1]
    text = f"{python}: made in {installed - start:.0f} s; {last}"
    return done.returncode == 0, "\n".join([text, *failures])


def main() -> int:
    """Status 1 where a test failed in any, or there is none."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "tests", nargs="*", default=[], help="paths and options of pytest; default: a quick part of the suite"
    )
    options.add_argument("--pythons", nargs="+", default=[], help="default: every supported one that is here")
    options.add_argument("--folder", type=Path, default=Path("out/pythons"), help="where the environments are kept")
    chosen = options.parse_args()
    pythons = interpreters(chosen.pythons)
    print("Python versions:", ", ".join(pythons) or "none", flush=True)
    passed = bool(pythons)
    for python in pythons:
        folder = (chosen.folder / re.sub(r"[^\w.]+", "-", python).strip("-")).resolve()
        good, text = ran(python, folder, chosen.tests or list(QUICK))
        print(text, flush=True)
        passed &= good
    return int(not passed)


if __name__ == "__main__":
    sys.exit(main())
