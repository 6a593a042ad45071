"""Lava without lava-nc: options, interpreters, the environment's folder, and workers that are scripts."""

from __future__ import annotations

import stat
import sys
import tempfile
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest
from typer.testing import CliRunner

import hwloop as hl
from hwloop.command import app
from hwloop.device.registry import choose_dt, find
from hwloop_lava import LavaDevice, LavaTarget, environment, install, selftest, worker_process
from hwloop_lava.soft_reset import run_soft_reset
from hwloop_lava.worker import protocol
from hwloop_lava.worker_process import Worker

from .support import Case, Said, option, refused

NET = hl.Network([hl.Dense(3, 2), hl.LIF(2, 10e-3, 5e-3)])
SPIKES = hl.Spikes.from_events([([1e-3, 2e-3], [0, 1])], 3, 0.02)


def target(**options: Any) -> Any:
    return find("lava", **options)


OPTIONS = [
    Case("LavaTarget.__init__", "allowed: lava, with the options dt (s) and arithmetic", lambda: find("lava:3"),
         lambda: target(dt=1e-3, arithmetic="fixed")),
    option("LavaTarget.__init__", "arithmetic = {}; allowed: {}", target, "arithmetic", "double", "fixed", "float"),
    option("LavaTarget.__init__", "deadline = {}; allowed: finite and > 0 (s)", target, "deadline", 0, 1e-9),
    Case("LavaTarget.choose_dt", "name a step: --dt SECONDS", lambda: choose_dt(target(arithmetic="float"), NET, SPIKES),
         lambda: hl.compile(NET, target(arithmetic="float", dt=1e-4))),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_what_lava_asks_for_is_accepted(case: Case) -> None:
    case.follow()


# -- the environment ------------------------------------------------------------------------------


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def answering(folder: Path, version: str, missing: str = "[]") -> str:
    return script(folder / "python", f"echo '[{version}, \"python\", {missing}]'")


def test_an_interpreter_of_the_allowed_kind_is_taken(tmp_path: Path) -> None:
    said = refused(
        "inspect_python", "there is no interpreter {}; {}", lambda: install.inspect_python("python-of-nobody")
    )
    refused(
        "inspect_python",
        "is no usable Python (status {}: {}); {}",
        lambda: install.inspect_python(script(tmp_path / "python", "exit 1")),
    )
    refused("inspect_python", "{} is Python {}; {}", lambda: install.inspect_python(answering(tmp_path, "[3, 9, 18]")))
    refused(
        "inspect_python",
        "lacks the module {}; {}",
        lambda: install.inspect_python(answering(tmp_path, "[3, 11, 2]", '["venv"]')),
    )
    low, high = said.split("allowed: Python ")[1].split(" with")[0].split(" to ")
    for allowed in (low, high):
        install.inspect_python(answering(tmp_path, f"[{allowed.replace('.', ', ')}, 0]"))


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Steps that take no time instead of the real ones, in a folder of their own."""

    def create(python: install.Python, folder: Path, until: float) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setattr(environment, "create", create)
    monkeypatch.setattr(environment, "install", lambda interpreter, folder, until: None)
    monkeypatch.setattr(environment, "self_test", lambda interpreter: None)
    return tmp_path / "cache"


def test_a_build_waits_for_another_and_goes_into_a_folder_that_is_named(
    steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps.mkdir()
    with filelock.FileLock(steps / "lock"):
        refused("environment.ensure", "wait for it, or end it", lambda: environment.ensure(deadline=0.05))
    environment.ensure()
    (steps / "file").write_text("")
    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(steps / "file" / "cache"))
    refused("environment.ensure", "free space there, or name another folder with {}", environment.ensure)
    monkeypatch.setenv(environment.ENVIRONMENT_VARIABLE, str(steps / "another"))
    environment.ensure()


def test_a_build_that_failed_is_tried_again_once_its_cause_is_gone(
    steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, pip = install.install, script(tmp_path / "pip", "echo 'No space left on device' >&2; exit 1")
    with monkeypatch.context() as full:
        full.setattr(environment, "install", lambda interpreter, folder, until: real(Path(pip), folder, until))
        refused("environment._build", "the Lava environment could not be built: {}", environment.ensure)
        said = refused("install.install", "pip install {} ... failed: {}", environment.ensure)
        assert "free about 400 MB, then hwloop lava setup" in said
    environment.ensure()


def test_a_step_that_had_too_little_time_is_done_with_more(tmp_path: Path) -> None:
    pip = Path(script(tmp_path / "pip", "sleep 0.4"))
    message = "try again: hwloop lava setup, and where the network is slow with --deadline SECONDS"
    refused("install._run", message, lambda: install.install(pip, tmp_path, time.monotonic() + 0.1))
    install.install(pip, tmp_path, time.monotonic() + 30)


def test_an_interpreter_without_venv_is_replaced_by_one_with_it(tmp_path: Path) -> None:
    broken = install.Python(script(tmp_path / "python", "echo no >&2; exit 1"), "3.11.0")
    refused(
        "install.create", "-m venv failed: {}", lambda: install.create(broken, tmp_path / "env", time.monotonic() + 30)
    )
    install.create(
        install.Python(script(tmp_path / "python", "exit 0"), "3.11.0"), tmp_path / "env", time.monotonic() + 30
    )


class Chosen:
    """A worker that computes as lava-nc does, or, made from an interpreter in a folder called ``wrong``, too fast."""

    versions: dict[str, list[str]] = {"foreign": []}  # noqa: RUF012

    def __init__(self, interpreter: Path) -> None:
        self.late = 0 if "wrong" in (interpreter.parent.parent / "made_from").read_text() else 2

    def ask(self, message: protocol.Message) -> protocol.Message:
        copies = message.fields["copies"]
        ticks = np.tile(np.arange(self.late, 10 + self.late, 2), copies)
        return protocol.Message("ran", {}, {"ticks0": ticks, "units0": np.repeat(np.arange(copies), 5)})

    def stop(self) -> None: ...


def test_another_interpreter_builds_what_passes_the_self_test(
    steps: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create(python: install.Python, folder: Path, until: float) -> None:
        folder.mkdir()
        (folder / "made_from").write_text(python.executable)

    for name in ("wrong", "right"):
        (tmp_path / name).mkdir()
        script(tmp_path / name / "python", f"echo '[[3, 11, 2], \"{tmp_path / name / 'python'}\", []]'")
    monkeypatch.setattr(selftest, "Worker", Chosen)
    monkeypatch.setattr(environment, "create", create)
    monkeypatch.setattr(environment, "self_test", selftest.self_test)
    setup = LavaTarget.setup
    said = refused(
        "selftest._check",
        "Try another interpreter: hwloop lava setup --python PATH",
        lambda: setup(str(tmp_path / "wrong" / "python")),
    )
    assert "gave spikes at ticks [0, 2, 4, 6, 8]; right: [2, 4, 6, 8, 10]" in said
    arguments = ["lava", "setup", "--python", str(tmp_path / "right" / "python")]
    assert said.endswith(" ".join(["hwloop", *arguments[:-1], "PATH"]))
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    assert f"made from {tmp_path / 'right' / 'python'}" in done.output


# -- programs -------------------------------------------------------------------------------------


def test_a_program_of_another_kind_is_compiled_for_the_device(tmp_path: Path) -> None:
    # nothing is run: no worker, no lava-nc
    device = LavaDevice(target(), environment.Environment(tmp_path, "3.11.2", "python", 1.0))
    right = hl.compile(NET, device)
    wrong = hl.mapping.Program(right.capabilities, right.layers)
    message = (
        "runs programs compiled for lava or loihi; got {}: compile the network for it, hwloop.compile(net, device)"
    )
    refused("hwloop_lava.device._graph_of", message, lambda: device.load(wrong))
    device.load(right)
    device.load(hl.compile(NET, find("loihi")))
    floating = LavaDevice(target(arithmetic="float"), environment.Environment(tmp_path, "3.11.2", "python", 1.0))
    floating.load(hl.compile(NET, floating))


# -- workers --------------------------------------------------------------------------------------

HELLO = f"""
sys.path.insert(0, {str(Path(protocol.__file__).parent)!r})
from protocol import Message, encode, receive
os.write(answers, encode(Message("hello", {{"foreign": []}})))
"""
#: Answers each request after a while.
SLOW = """
while True:
    receive(lambda n: os.read(requests, n))
    time.sleep({seconds})
    os.write(answers, encode(Message("pong")))
"""


@contextmanager
def worker(text: str, deadline: float = 20.0) -> Iterator[Worker]:
    head = "import os, sys, time\nrequests, answers = int(sys.argv[2]), int(sys.argv[3])\n"
    command = (sys.executable, "-c", head + textwrap.dedent(HELLO + text))
    found = Worker(Path(sys.executable), deadline=deadline, command=command)
    try:
        yield found
    finally:
        found.stop()


def ask(text: str, deadline: float = 20.0) -> None:
    with worker(text, deadline) as found:
        assert found.ask(protocol.Message("ping")).kind == "pong"


def test_a_worker_that_is_given_the_deadline_that_is_printed_answers() -> None:
    message = "give it longer: open the target with deadline={}"
    said = refused(
        "Worker._wait", "the Lava worker took more than {} s {}. {}", lambda: ask(SLOW.format(seconds=1.0), 0.7)
    )
    assert message.format("1.4") in said
    ask(SLOW.format(seconds=1.0), 1.4)
    assert find("lava", deadline=1.4).deadline == 1.4


#: What goes wrong in a worker that is asked, and what the message says of the next one.
FAULTS = [
    (Said("_receive", "where that happens again, build its environment anew: hwloop lava setup --force"), "os.write(answers, b'garbage ' * 20); time.sleep(60)"),
    (Said("_died", "in the middle of its work; the next run starts a new one"), "sys.exit(3)"),
    (Said("_failure", "the Lava worker failed: {}; the next run starts a new one"), "os.write(answers, encode(Message('failed', {'reason': 'why'}))); time.sleep(60)"),
]  # fmt: skip


@pytest.mark.parametrize(("error", "fault"), FAULTS, ids=lambda value: getattr(value, "at", None))
def test_the_next_worker_answers(error: Said, fault: str) -> None:
    refused(*error, lambda: ask(fault))
    ask(SLOW.format(seconds=0))


def test_an_environment_built_anew_starts_a_worker(tmp_path: Path) -> None:
    message = "build its environment anew: hwloop lava setup --force"
    refused("Worker.__init__", message, lambda: Worker(tmp_path / "nowhere"))
    ask(SLOW.format(seconds=0))


def test_a_temporary_folder_that_is_writable_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_process, "MAX_TEMPORARY", 1000)  # no Lava, no sockets
    (tmp_path / "file").write_text("")
    with monkeypatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(tmp_path / "file"))
        message = "free space there, or set TMPDIR to a folder that is writable"
        refused("_temporary_folder", message, lambda: ask(SLOW.format(seconds=0)))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ask(SLOW.format(seconds=0))


class Echo:
    """A worker that answers a run without spikes, and says that it was asked."""

    def ask(self, message: protocol.Message) -> protocol.Message:
        none = np.zeros(0, np.int32)
        return protocol.Message("ran", {}, {"ticks0": none, "units0": none})


def soft(weight: int, bias: tuple[int, int] = (1, 2)) -> Any:
    return run_soft_reset(
        Echo(), np.full((2, 3), weight), np.zeros((1, 4, 3), np.int8), np.zeros(bias, int), vth=10, quantum=640,  # type: ignore[arg-type]
        start=np.zeros(2, int),
    )  # fmt: skip


SOFT = [
    option("run_soft_reset", "{} has shape {}; expected {}", lambda bias: soft(2, bias), "bias", (1, 3), (1, 2)),
    option("soft_reset._check_codes", "allowed: even numbers -256..254", soft, "weight", 3, -256, 254),
]


@pytest.mark.parametrize("case", SOFT, ids=str)
def test_codes_and_shapes_that_are_allowed_are_run(case: Case) -> None:
    case.follow()
