"""The whole command on a toy project: a planted slip is noticed or not, and the working tree stays as it is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .plant import main
from .trials import Copy, Setup

TOY = "def clamp(x, top=10):\n    if x > top:\n        return top\n    return x\n\n\ndef never(x):\n    return x * 2\n"
TEST = "from toy import clamp\n\n\ndef test_clamp():\n    assert (clamp(11), clamp(3)) == (10, 3)\n"
TABLE = '[toy]\nsources = ["toy.py"]\ntests = ["test_toy.py"]\n[gone]\nsources = ["gone/*.py"]\ntests = []\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    root = tmp_path / "project"
    root.mkdir()
    for name, text in {"toy.py": TOY, "test_toy.py": TEST, "modules.toml": TABLE, "equivalent.toml": ""}.items():
        (root / name).write_text(text)
    return root


def run(project: Path, *arguments: str) -> tuple[int, dict[str, object]]:
    result = project.parent / "result.json"
    status = main(
        ["--modules", "toy", "--keep", str(project.parent / "copies"), "--json", str(result), *arguments],
        project,
        project,
    )
    return status, json.loads(result.read_text()) if result.exists() else {}


def test_slips_that_a_test_runs_into_are_noticed_others_printed_and_the_tree_is_as_before(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in project.iterdir()}
    status, document = run(project, "--places", "0")
    assert {path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in project.iterdir()} == before
    found = {entry["after"]: (entry["noticed"], entry["by"]) for entry in document["tried"]}  # type: ignore[attr-defined]
    failing = "test_toy.py::test_clamp"
    assert found == {
        "top=9": (True, failing),
        "top=11": (True, failing),
        "top=20": (True, failing),
        "if not x > top:": (True, failing),
        "if x >= top:": (False, "1 tests passed"),  # no behaviour: at the limit both return it
        "if x <= top:": (True, failing),
        "return x / 2": (False, "no test runs this line"),
        "return x": (False, "no test runs this line"),
        "return x * 1": (False, "no test runs this line"),
        "return x * 3": (False, "no test runs this line"),
        "return x * 4": (False, "no test runs this line"),
    }
    printed = capsys.readouterr().out
    assert "toy.py:2 in clamp (comparison)\n-if x > top:\n+if x >= top:\n  1 tests passed" in printed
    assert status == 1
    assert run(project, "--places", "0", "--at-least", "0.45")[0] == 0


def test_survivors_of_a_run_are_tried_again(project: Path) -> None:
    run(project, "--places", "0")
    earlier = (project.parent / "result.json").rename(project.parent / "earlier.json")
    (project / "test_toy.py").write_text(
        TEST + "\n\ndef test_never():\n    from toy import never\n\n    assert never(3) == 6\n"
    )
    _, document = run(project, "--again", str(earlier))
    found = {entry["after"]: entry["noticed"] for entry in document["tried"]}  # type: ignore[attr-defined]
    doubled = ("return x / 2", "return x", "return x * 1", "return x * 3", "return x * 4")
    assert found == {"if x >= top:": False, **dict.fromkeys(doubled, True)}


def test_a_listed_equivalent_change_is_counted_apart_and_a_stale_entry_is_reported(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = '[[change]]\npath = "toy.py"\nowner = "clamp"\nbefore = "if x > top:"\nafter = "if x >= top:"\nreason = "same"\n'
    (project / "equivalent.toml").write_text(entry)
    status, document = run(project, "--places", "0", "--at-least", "0.3")
    assert document["equivalent"] == {"toy": 1}
    assert len(document["tried"]) == 10  # type: ignore[arg-type]
    assert status == 0
    (project / "equivalent.toml").write_text(entry.replace("x >= top", "x >= up"))
    assert run(project, "--places", "1", "--at-least", "0")[0] == 1
    assert "equivalent.toml is stale, look at it again: toy.py, clamp: if x > top:" in capsys.readouterr().out


def test_the_seed_alone_chooses_the_places(project: Path) -> None:
    chosen = [run(project, "--places", "3", "--seed", seed)[1]["tried"] for seed in ("1", "1", "2")]
    assert chosen[0] == chosen[1] != chosen[2]
    assert len(chosen[0]) == 3  # type: ignore[arg-type]


def test_files_are_chosen_by_patterns(project: Path) -> None:
    assert len(run(project, "--places", "2", "--files", "t?y.py")[1]["tried"]) == 2  # type: ignore[arg-type]
    assert run(project, "--places", "2", "--files", "other/*.py")[1]["tried"] == []


def test_tests_that_fail_as_they_are_end_the_command(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "test_toy.py").write_text(TEST.replace("10, 3", "10, 4"))
    assert run(project)[0] == 2
    assert "the tests fail without any change: test_toy.py::test_clamp" in capsys.readouterr().err


def test_a_change_without_end_is_ended_and_counts_as_noticed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "toy.py").write_text("def clamp(x, top=10):\n    while x > top:\n        x -= 1\n    return x\n")
    monkeypatch.setattr(
        "tests.mutation.trials.CPU_MORE", 4.0
    )  # a busy machine needs most of it for the tests as they are
    _, document = run(project, "--places", "0")
    endless = [entry for entry in document["tried"] if entry["after"] in ("x += 1", "pass")]  # type: ignore[attr-defined]
    assert len(endless) == 2
    assert all(entry["noticed"] and entry["by"].startswith("no end within") for entry in endless)


def test_two_runs_do_not_share_a_folder(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project.parent / "copies"
    with Copy(project, folder / "job-0", Setup([], [])):
        assert run(project)[0] == 2
    assert "another run is using" in capsys.readouterr().err
    assert run(project, "--places", "1", "--at-least", "0")[0] == 0
