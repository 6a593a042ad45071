"""`hwloop lava` and `hwloop doctor`, and the other commands on this target."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hwloop.cli import app
from hwloop.command import doctor
from hwloop.device import registry as target
from hwloop.errors import TargetError
from hwloop_lava import Environment
from hwloop_lava.environment import ENVIRONMENT_VARIABLE

LONG = "/a/folder/of/many/letters" * 8
TINY = Path(__file__).resolve().parents[2] / "tiny.toml"


def run(*arguments: object, env: dict[str, str] | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb", **(env or {})})


def test_doctor_says_what_is_there(environment: Environment) -> None:
    result = run("doctor")
    assert result.exit_code == 0, result.output
    lines = {line.split("  ")[0].strip(): line for line in result.stdout.splitlines()}
    assert sys.executable in lines["Python"]
    assert re.search(r"torch +\d+\.\d+", lines["torch"])
    assert {"hwloop", "numpy", "numba", "data: mnist", "target: emulator", "target: lava"} <= set(lines)
    assert environment.firmware in lines["lava: environment"]
    assert "nothing is broken" in result.stdout


def test_doctor_says_what_to_do_where_there_is_no_environment(tmp_path: Path) -> None:
    result = run("doctor", env={ENVIRONMENT_VARIABLE: str(tmp_path)})
    assert result.exit_code == 0
    assert re.search(r"lava: environment +not built yet .* hwloop lava setup", result.stdout)
    assert list(tmp_path.iterdir()) == []


def test_doctor_fails_where_something_is_broken(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> target.TargetFactory:
        raise TargetError(f"backend {name!r} does not import: ImportError: {LONG} has no vendor")

    monkeypatch.setattr(doctor, "factory", broken)
    monkeypatch.setattr(doctor, "available", lambda: {"mine": "hwloop_mine:Target"})
    monkeypatch.setattr(doctor, "PACKAGES", ("torch", "no-such-package"))
    result = run("doctor")
    assert result.exit_code == 1
    assert f"{LONG} has no vendor" in result.stdout  # in one line, however long: where nobody reads it a program does
    assert re.search(r"no-such-package +not installed +pip install no-such-package", result.stdout)
    assert "does not work: no-such-package, target: mine" in result.stdout


def test_setup_says_what_is_ready(environment: Environment) -> None:
    result = run("lava", "setup")
    assert result.exit_code == 0, result.output
    assert f"{environment.firmware}: ready in {environment.folder}" in result.stdout
    assert environment.firmware in run("lava", "status").stdout


def test_setup_refuses_what_is_no_python(tmp_path: Path) -> None:
    result = run("lava", "setup", "--python", "/bin/true", env={ENVIRONMENT_VARIABLE: str(tmp_path / "cache")})
    assert result.exit_code == 1
    assert re.search(r"error: /bin/true is no usable Python", result.stderr)
    assert "Traceback" not in result.output
    assert not (tmp_path / "cache").exists()


def test_status_says_what_to_do(tmp_path: Path) -> None:
    result = run("lava", "status", env={ENVIRONMENT_VARIABLE: str(tmp_path)})
    assert re.search(r"not built yet .* hwloop lava setup", result.stdout)


def on_lava(folder: Path, *commands: tuple[object, ...]) -> None:
    assert run("train", TINY, "--epochs", 1, "--out", folder / "run").exit_code == 0
    for name, *options in commands:
        result = run(name, folder / "run", "--target", "lava", "--dt", "1e-3", *options)
        assert result.exit_code == 0, result.output
        assert "lava/fixed/1000us" in result.stdout


def test_deploy_works_on_lava(environment: Environment, tmp_path: Path) -> None:
    on_lava(tmp_path, ("deploy", "--runs", 1))


@pytest.mark.slow
def test_compare_and_finetune_work_on_lava(environment: Environment, tmp_path: Path) -> None:
    compare = ("compare", "--samples", 10, "--out", tmp_path / "compared")
    on_lava(tmp_path, compare, ("finetune", "--epochs", 1, "--runs", 1, "--out", tmp_path / "tuned"))
