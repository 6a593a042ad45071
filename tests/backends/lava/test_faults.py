"""Whatever happens to a worker: an error within its deadline, nothing left behind, and the next run works."""

from __future__ import annotations

import errno
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hwloop.errors import TargetError
from hwloop_lava import Environment
from hwloop_lava.worker.protocol import Message
from hwloop_lava.worker_process import GRACE, Worker, members

from .support import chain, left_behind, on_lava

#: Longest silence in these tests (s); what hangs is found out after it.
DEADLINE = 4.0
#: Ticks of a run that is still under way when the fault comes: about a millisecond each.
LONG = 60_000
#: What a fault may take beyond the deadline (s): SIGTERM, SIGKILL, and a machine on which much else runs.
SLACK = 2 * GRACE + 4.0

Fault = Callable[[Worker], None]


def run(worker: Worker, ticks: int, delay: int | None = None) -> list[int]:
    """Ticks at which the neuron of :func:`chain` fires for an input spike in each of ten ticks."""
    raster = np.zeros((1, ticks, 1), dtype=bool)
    raster[0, :10] = True
    return np.flatnonzero(on_lava(worker, chain(delay), raster)[0][0][0, :, 0]).tolist()


def later(seconds: float, action: Callable[[], object]) -> None:
    timer = threading.Timer(seconds, action)
    timer.daemon = True
    timer.start()


def children(worker: Worker) -> list[int]:
    """Lava's processes, without the worker and the tracker of shared memory, which may live longer."""
    found = []
    for pid in members(worker.pid):
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if pid != worker.pid and b"resource_tracker" not in command:
            found.append(pid)
    return found


def signal_child(worker: Worker, number: int) -> None:
    """As soon as there are some: Lava is built in half a second, later on a busy machine."""
    until = time.monotonic() + 20
    while worker.alive and time.monotonic() < until:
        if len(found := children(worker)) > 3:
            os.kill(found[-1], number)
            return
        time.sleep(0.01)


def worker_killed(worker: Worker) -> None:
    later(random.uniform(0, 1.5), lambda: os.kill(worker.pid, signal.SIGKILL))
    run(worker, LONG)


def worker_terminated(worker: Worker) -> None:
    later(random.uniform(0, 1.5), lambda: os.kill(worker.pid, signal.SIGTERM))
    run(worker, LONG)


def worker_stopped(worker: Worker) -> None:
    later(random.uniform(0, 1.5), lambda: os.kill(worker.pid, signal.SIGSTOP))
    run(worker, LONG)


def process_of_the_graph_killed(worker: Worker) -> None:
    later(random.uniform(0, 1.0), lambda: signal_child(worker, signal.SIGKILL))
    run(worker, LONG)


def process_of_the_graph_hangs(worker: Worker) -> None:
    later(random.uniform(0, 1.0), lambda: signal_child(worker, signal.SIGSTOP))
    run(worker, LONG)


def exception_in_a_model(worker: Worker) -> None:
    # beyond 63 ticks the model of a delayed Dense raises in its first step
    fields = {
        "arithmetic": "fixed", "ticks": 100, "copies": 1, "n_in": 1, "states": False,
        "populations": [{"n": 1, "model": "lif", "reset": None, "du": 0, "dv": 0, "vth": 1}],
        "connections": [{"source": -1, "target": 0, "exponent": 0, "sign": None}],
    }  # fmt: skip
    none = np.zeros(0, np.int32)
    one = np.ones((1, 1), np.int32)
    arrays = {"weight0": 5 * one, "delay0": 99 * one, "input_ticks": none, "input_units": none}
    worker.ask(Message("run", fields, arrays))


def exception_in_the_request(worker: Worker) -> None:
    worker.ask(Message("run", {"arithmetic": "analog"}))


def interrupted(worker: Worker) -> None:
    later(random.uniform(0, 1.5), lambda: os.kill(os.getpid(), signal.SIGINT))
    run(worker, LONG)


def too_slow(worker: Worker) -> None:
    worker._deadline = 0.001
    run(worker, LONG)


FAULTS: dict[Fault, str | None] = {
    worker_killed: r"(died of SIGKILL|failed)",
    worker_terminated: r"(died of SIGTERM|failed)",
    worker_stopped: r"more than 4 s to go on",
    process_of_the_graph_killed: r"processes of the graph died",
    process_of_the_graph_hangs: r"more than 4 s to go on",
    exception_in_a_model: r"expects values between 0 and 63",
    exception_in_the_request: r"KeyError: 'analog'",
    interrupted: None,
    too_slow: r"more than 0.001 s to",
}


def check(environment: Environment, fault: Fault) -> None:
    """One fault, what it costs, what it leaves, and that a new worker answers."""
    worker = Worker(environment.interpreter, deadline=DEADLINE)
    kind = KeyboardInterrupt if fault is interrupted else TargetError
    start = time.monotonic()
    try:
        with pytest.raises(kind, match=FAULTS[fault]):
            fault(worker)
        assert time.monotonic() - start < 20 + DEADLINE + SLACK
        assert not worker.alive
        assert left_behind(worker) == []
    finally:
        worker.stop()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_fault_is_reported_and_leaves_nothing(environment: Environment, fault: Fault) -> None:
    random.seed(1)
    check(environment, fault)


@pytest.mark.slow
def test_a_hundred_faults_are_reported_and_leave_nothing(environment: Environment) -> None:
    random.seed(2)
    for number in range(100):
        check(environment, list(FAULTS)[number % len(FAULTS)])
    assert not list(Path("/dev/shm").glob(f"*hwlava-{os.getpid()}-*"))
    assert run(Worker(environment.interpreter), 20) == [2, 4, 6, 8, 10]


def test_a_host_that_is_killed_takes_its_worker_along(environment: Environment) -> None:
    """In the middle of a run, where nobody on the host's side can clean up."""
    program = f"""
        import numpy as np
        from pathlib import Path
        from hwloop_lava.worker_process import Worker
        from hwloop_lava.worker.protocol import Message
        worker = Worker(Path({str(environment.interpreter)!r}))
        print(worker.pid, worker.token, flush=True)
        fields = dict(arithmetic="fixed", ticks=60000, copies=1, n_in=1, states=False,
            populations=[dict(n=1, model="lif", reset=None, du=0, dv=0, vth=1)],
            connections=[dict(source=-1, target=0, exponent=0, sign=None)])
        none = np.zeros(0, np.int32)
        worker.ask(Message("run", fields, dict(weight0=np.ones((1, 1), np.int32), input_ticks=none, input_units=none)))
    """
    host = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True)
    assert host.stdout is not None
    pid, token = host.stdout.readline().split()
    until = time.monotonic() + 20
    while len(members(int(pid))) < 5 and time.monotonic() < until:
        time.sleep(0.02)
    host.kill()
    host.wait()
    host.stdout.close()
    until = time.monotonic() + SLACK
    while members(int(pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert members(int(pid)) == []
    assert not list(Path("/dev/shm").glob(f"*{token}*"))
    assert not list(Path("/tmp").glob(f"{token}*"))


def test_a_fork_of_the_host_leaves_the_worker_alone(environment: Environment) -> None:
    worker = Worker(environment.interpreter)
    child = os.fork()
    if child == 0:
        worker.stop()
        os._exit(0)
    os.waitpid(child, 0)
    assert run(worker, 20) == [2, 4, 6, 8, 10]
    worker.stop()
    assert left_behind(worker) == []


@contextmanager
def pretending(script: str) -> Iterator[Worker]:
    """A worker that is none: a script with the descriptors of requests and answers in ``argv[2:]``."""
    head = "import os, sys, time\nanswers = int(sys.argv[3])\n"
    pretended = Worker(
        Path(sys.executable),
        deadline=0.5,
        start=0.5 + 5,
        command=(sys.executable, "-c", head + textwrap.dedent(script)),
    )
    try:
        yield pretended
    finally:
        pretended.stop()
        assert left_behind(pretended) == []


HELLO = """
sys.path.insert(0, {path!r})
from protocol import Message, encode
os.write(answers, encode(Message("hello", {{"foreign": []}})))
""".format(path=str(Path(__file__).resolve().parents[3] / "backends/hwloop_lava/worker"))


def test_a_fork_of_the_host_starts_a_worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    with pretending(HELLO + "time.sleep(60)") as worker:
        assert worker.alive
        monkeypatch.setattr("hwloop_lava.worker_process.os.getpid", lambda: -1)
        assert not worker.alive
        with pytest.raises(
            TargetError, match="belongs to process .* of which this one is a fork; open the target here"
        ):
            worker.ask(Message("run", {}, {}))
        monkeypatch.undo()
        assert worker.alive


def test_ctrl_c_while_a_worker_is_started_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr("hwloop_lava.worker_process.subprocess.Popen", interrupted)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(KeyboardInterrupt):
        Worker(Path(sys.executable))
    assert list(tmp_path.iterdir()) == []
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize(
    "script, message",
    [
        ("print('no lava here'); sys.exit(3)", r"ended \(3\).*\n?.*its log ends:\nno lava here"),
        ("os.kill(os.getpid(), 9)", "died of SIGKILL"),
        ("os.write(answers, b'garbage ' * 20); time.sleep(60)", "worker sent b'garbage '"),
        ("os.write(answers, b'hwlava1\\n' + b'\\xff' * 12); time.sleep(60)", "a frame of 4294967295"),
        ("os.close(answers); time.sleep(60)", "closed its pipe"),
    ],
)
def test_a_worker_that_does_not_get_ready_says_why(script: str, message: str) -> None:
    with pytest.raises(TargetError, match=message), pretending(script):
        pass


def test_a_worker_that_hangs_at_its_start_is_ended() -> None:
    start = time.monotonic()
    with pytest.raises(TargetError, match="took more than 0.3 s to be ready"):
        Worker(Path(sys.executable), start=0.3, command=(sys.executable, "-c", "import time; time.sleep(60)"))
    assert time.monotonic() - start < 0.3 + SLACK


@pytest.mark.parametrize(
    "script, message",
    [
        ("time.sleep(60)", "took more than 0.5 s to go on"),
        ("os.write(answers, b'hwlava1'); time.sleep(60)", "took more than 0.5 s to go on"),
        ("print('oh'); sys.exit(1)", r"ended \(1\)"),
        ("os.write(answers, os.urandom(64)); time.sleep(60)", "worker sent"),
    ],
)
def test_a_worker_that_goes_wrong_when_asked_is_ended(script: str, message: str) -> None:
    with pretending(HELLO + script) as worker:
        with pytest.raises(TargetError, match=message):
            worker.ask(Message("ping"))
        assert not worker.alive


def test_a_request_that_nobody_takes_has_a_deadline() -> None:
    with pretending(HELLO + "time.sleep(60)") as worker, pytest.raises(TargetError, match="to take a request"):
        worker.ask(Message("run", {}, {"a": np.zeros(2**20)}))  # more than a pipe holds


def test_a_worker_that_ignores_sigterm_is_killed() -> None:
    ignoring = "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    start = time.monotonic()
    with pretending(ignoring + HELLO + "time.sleep(60)") as worker:
        assert worker.alive
    assert GRACE < time.monotonic() - start < SLACK + 6


def test_an_interpreter_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="nowhere: No such file.*hwloop lava setup --force"):
        Worker(tmp_path / "nowhere")


def test_a_full_disk_is_named(monkeypatch: pytest.MonkeyPatch, environment: Environment) -> None:
    def full(*_: object, **__: object) -> str:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tempfile, "mkdtemp", full)
    with pytest.raises(
        TargetError, match=r"no temporary folder .*No space left on device; free space there, or set TMPDIR"
    ):
        Worker(environment.interpreter)
    monkeypatch.undo()
    worker = Worker(environment.interpreter)
    assert run(worker, 20) == [2, 4, 6, 8, 10]
    worker.stop()


def test_output_of_a_model_is_no_answer(worker: Worker) -> None:
    """What Lava prints goes into the worker's log, never into the pipe."""
    assert run(worker, 20) == [2, 4, 6, 8, 10]
    assert run(worker, 20, delay=3) == [5, 7, 9, 11, 13]
