"""The guard of the test session: whatever unpickles within the sources fails the run."""

from __future__ import annotations

import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

import hwloop as hl

ROOT = Path(hl.__file__).parents[1]


def test_the_guard_catches_an_unpickling_in_the_sources(tmp_path: Path) -> None:
    """In a session of its own: a source file that unpickles, called by a test that would pass."""
    source = tmp_path / "hwloop" / "unpickles.py"
    source.parent.mkdir()
    source.write_text(
        "import pickle\n\ndef load(data):\n    try:\n        return pickle.loads(data)\n    except Exception:\n        return None\n"
    )
    (tmp_path / "conftest.py").write_text(
        f"import sys\nsys.path[:0] = [{str(ROOT)!r}, {str(source.parent)!r}]\n"
        f"from tests.pickle_guard import guard\npytest_sessionfinish = guard([{str(tmp_path / 'hwloop')!r}])\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pickle, collections, unpickles\n\ndef test_it():\n    unpickles.load(pickle.dumps(collections.OrderedDict()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(tmp_path), str(tmp_path)],
        capture_output=True, text=True, timeout=120, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode != 0, done.stdout
    assert "unpickled collections.OrderedDict" in done.stdout + done.stderr


def test_kernels_that_numba_kept_are_let_pass() -> None:
    """A run that finds compiled kernels reads Numba's own index; it is not failed for that."""
    code = (
        "import hwloop as hl\nfrom tests.pickle_guard import guard\n"
        f"finish = guard([{str(ROOT / 'hwloop')!r}])\n"
        "hl.Network([hl.Dense(2, 2), hl.LIF(2, 1e-2, 5e-3)])(hl.Spikes.from_events([([1e-3], [0])], n_units=2, t_stop=1e-2))\n"
        "class Session:\n    exitstatus = 0\n"
        "finish(Session, 0)\nassert Session.exitstatus == 0\n"
    )
    for _ in range(2):  # the first run may have to compile them
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=False, cwd=ROOT
        )
        assert done.returncode == 0, done.stderr


def test_pickles_of_tests_themselves_are_let_pass() -> None:
    from collections import OrderedDict

    assert pickle.loads(pickle.dumps(OrderedDict(a=1))) == {"a": 1}  # noqa: S301 (what is tested)


def test_no_source_names_a_function_that_unpickles() -> None:
    names = re.compile(
        r"\bpickle\.(?:loads?|Unpickler)|\btorch\.load\(|allow_pickle=True|\bshelve\b|\bjoblib\.load\(|\bdill\b|yaml\.load"
    )
    found = [
        f"{path.relative_to(ROOT)}: {match.group()}"
        for source in ("hwloop", "backends", "calibration")
        for path in (ROOT / source).rglob("*.py")
        if (match := names.search(path.read_text()))
    ]
    assert not found


@pytest.mark.parametrize("name", ["x.hwb", "x.log", "x.npz", "x.nir", "summary.json"])
def test_a_pickle_under_any_name_is_refused_unread(tmp_path: Path, name: str) -> None:
    from hwloop.errors import HwloopError
    from hwloop.event_files import read_events
    from hwloop.results import read_summary
    from hwloop.session_log import read_log

    (tmp_path / name).write_bytes(b"cos\nsystem\n(S'touch hwloop-canary'\ntR.")
    read = {
        "x.hwb": hl.load_bundle, "x.log": read_log, "x.npz": read_events, "x.nir": hl.Network.from_nir,
        "summary.json": lambda path: read_summary(path.parent),
    }[name]  # fmt: skip
    with pytest.raises(HwloopError, match=re.escape(str(tmp_path / name))):
        read(tmp_path / name)
