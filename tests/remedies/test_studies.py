"""Chips that cannot be calibrated, and yield studies."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import hwloop as hl
from hwloop.experiment import Experiment
from hwloop.workers import Call, how_many, workers
from hwloop_calibration import characterise
from hwloop_calibration.characterise.bench import Bench, targets_of
from hwloop_calibration.characterise.stimuli import Pattern, Stimuli
from hwloop_calibration.document import parts
from hwloop_calibration.yield_ import study as yield_study
from hwloop_calibration.yield_.plan import Row, RowResult, YieldPlan
from hwloop_calibration.yield_.report import YieldReport
from hwloop_calibration.yield_.strategies import STRATEGIES
from hwloop_calibration.yield_.study import run_study
from hwloop_emulator import EmulatorDevice, EmulatorTarget, Preset

from .support import Case, Said, option, refused

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml").changed(
    task={"train": 50, "validation": 20, "test": 20}, training={"epochs": 1}
)


def preset(n_neurons: int = 8, **effects: float) -> Preset:
    data = Preset.load("bss2").model_dump(exclude_unset=True)
    data["limits"]["n_neurons"] = {"value": n_neurons, "source": "test"}
    chip = Preset.model_validate(data)
    for name in sorted(effects, key=lambda key: not key.endswith("_rate")):
        chip = chip.with_effect(name, effects[name])
    return chip


def network() -> hl.Network:
    generator = torch.Generator().manual_seed(5)
    first = hl.Dense(4, 4, generator=generator).init_normal_(1.6, 0.8, generator)
    settings = {"tau_mem": 10e-3, "tau_syn": 5e-3, "t_ref": 2e-3}
    return hl.Network([first, hl.LIF(4, **settings)]).double()


def opened(**options: Any) -> EmulatorDevice:
    return EmulatorTarget("3", preset=preset(**{"dead": 0.0, **options}), session=0).open()


def characterised(device: EmulatorDevice, **options: Any) -> Any:
    return characterise(
        device, hl.compile(network(), device), **{"neurons": "all", "synapses": False, "repeats": 4, **options}
    )


# -- chips ----------------------------------------------------------------------------------------


def test_a_chip_that_runs_is_characterised() -> None:
    message = "check that the device runs, that its outputs are routed, and that the program's v_th can be reached"
    refused("Session._designed", message, lambda: characterised(opened(dead=1.0)))
    characterised(opened())


def test_a_chip_whose_noise_is_mended_is_characterised() -> None:
    said = refused("_refuse_chip", "neurons cannot be calibrated ({}); allowed: up to half of them. {}",
                   lambda: characterised(opened(hot=1.0, hot_rate=5e4)))  # fmt: skip
    assert "noise of the device" in said
    characterised(opened(hot=0.0))


def test_neurons_of_a_crowded_link_are_measured_in_the_parts_that_are_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (parts, sys.modules["hwloop_calibration.characterise.measure"]):
        monkeypatch.setattr(module, "CROWD", 6)
    device = opened(n_neurons=24, link_rate=5e6, link_fifo=8)
    said = refused("_refuse_crowd", "Measure at most {} at once: neurons=range({}), and so on",
                   lambda: characterised(device, neurons=range(24), repeats=8))  # fmt: skip
    size = int(said.split("range(")[1].split(")")[0])
    characterised(device, neurons=range(size), repeats=8)
    characterised(device, neurons=range(size, 2 * size), repeats=8)


def test_a_backend_that_answers_with_other_samples_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    device = opened()
    bench = Bench(device, targets_of(hl.compile(network(), device), device, "all"), 1)
    bench.load()
    stimuli = Stimuli((Pattern((1e-3,)),), torch.zeros(1, dtype=torch.int64).numpy(), 1, 0.05)
    real = device.run
    with monkeypatch.context() as backend:
        backend.setattr(device, "run", lambda spikes, repeats: real(spikes, repeats=1))
        refused("Bench.measure", "expected {} of {}: check the backend", lambda: bench.measure(stimuli, 4))
    bench.measure(stimuli, 4)


# -- studies --------------------------------------------------------------------------------------


def plan(**changes: Any) -> YieldPlan:
    return YieldPlan.of(**{"chips": [0], "strategies": ["as-is"], "ceilings": 0, "runs": 1, **changes})


def study(folder: Path, jobs: int = 1, dask: str | None = None, **changes: Any) -> Any:
    return run_study(plan(**changes), TINY, {"software": TINY.build_network()}, folder, jobs=jobs, dask=dask)


PLANS = [
    option("how_many", "jobs = {}; allowed: -1 (one a core), or a whole number >= 1", how_many, "jobs", 0, -1, 1),
    Case("YieldPlan._known", "strategy {}; known: {}", lambda: plan(strategies=["luck"]),
         lambda said: plan(strategies=said.split("known: ")[1].split(", ")).strategies == list(STRATEGIES)),
    Case("YieldPlan._known", "{} names one of them twice; allowed: each once", lambda: plan(chips=[1, 1]), lambda: plan(chips=[1])),
    Case("YieldPlan.of", "plan of a yield study: {}{}", lambda: plan(runs=0), lambda: plan(runs=1)),
    Case("YieldReport.__post_init__", "give at least one chip and strategy", lambda: YieldReport(plan(), ()), lambda: YieldReport(plan(), (ROW,))),
]  # fmt: skip

ROW = RowResult(Row(0, "as-is", 1.0, True), "emulator:0", "emulator", 0.5, 0.5, 1, 1, 1, 1.0, 1.0, "digest")


@pytest.mark.parametrize("case", PLANS, ids=str)
def test_what_a_plan_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_study_runs_on_the_jobs_and_in_the_folder_that_are_allowed(tmp_path: Path) -> None:
    refused("how_many", "allowed: -1 (one a core), or a whole number >= 1", lambda: study(tmp_path / "run", jobs=0))
    (tmp_path / "file").write_text("")
    refused("run_study", "name another folder", lambda: study(tmp_path / "file" / "run"))
    study(tmp_path / "run", jobs=1)


def test_a_worker_that_died_is_run_by_itself() -> None:
    future: Future[int] = Future()
    future.set_exception(BrokenProcessPool("a process was killed. More"))
    refused("Call.result", "Run fewer side by side: --jobs 1, or jobs=1 in Python", Call(future).result)
    with workers(1) as alone:
        assert alone.submit(abs, -1).result() == 1


def row_file(folder: Path) -> Path:
    (path,) = folder.glob("*.json")
    return path


def edit(path: Path, **result: Any) -> None:
    document = json.loads(path.read_text())
    document["result"] = {**document["result"], **result}
    path.write_text(json.dumps(document))


#: What is wrong with the row of a study.
ROWS = [
    (Said("_content", "is of another study (plan or experiment differ); name another folder, or remove it"), {"study": 1}),
    (Said("yield_.study._read", "holds no row of a yield study ({}: {}); remove it"), {"result": {"accuracy": 1.0}}),
    (Said("yield_.study._read", "holds row {}; remove it"), {"row": {"chip": 9, "strategy": "as-is", "effort": 1.0, "mismatch": True}}),
]  # fmt: skip


@pytest.mark.parametrize(("error", "damage"), ROWS, ids=lambda value: getattr(value, "text", None))
def test_a_row_that_is_removed_is_run_again(tmp_path: Path, error: Said, damage: dict[str, Any]) -> None:
    (whole,) = study(tmp_path / "run")
    path = row_file(tmp_path / "run")
    if "row" in damage:
        edit(path, **damage)
    else:
        path.write_text(json.dumps({**json.loads(path.read_text()), **damage}))
    refused(*error, lambda: study(tmp_path / "run"))
    study(tmp_path / "another")
    path.unlink()
    (again,) = study(tmp_path / "run")
    assert again.accuracy == whole.accuracy


def test_hardened_weights_that_are_removed_are_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(yield_study, "HARDEN_EPOCHS", 1)
    monkeypatch.setattr(yield_study, "RANDOM_EPOCHS", 1)

    def prepare() -> None:
        yield_study.prepare(TINY, TINY.build_network(), plan(), tmp_path)

    prepare()
    path = next(tmp_path.glob("hardened-*"))
    path.write_bytes(b"damaged")
    said = refused("_weights", "{}: weights of a hardened network are damaged ({}); remove it", prepare)
    Path(said.split(": weights")[0]).unlink()
    prepare()


class Cluster:
    """Dask's client without Dask: no scheduler, or one without workers."""

    def __init__(self, cores: dict[str, int] | None) -> None:
        self.cores = cores

    def __call__(self, address: str, timeout: float) -> Cluster:
        if self.cores is None:
            raise OSError("refused")
        return self

    def ncores(self) -> dict[str, int]:
        assert self.cores is not None
        return self.cores

    def __enter__(self) -> Cluster:
        return self

    def __exit__(self, *_: object) -> None:
        return None


@contextmanager
def connected() -> Iterator[None]:
    with yield_study._cluster("tcp://host:8786") as cores:
        assert cores == 4
        yield


def connect() -> None:
    with connected():
        pass


def test_a_cluster_is_used_once_it_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "distributed", None)
        refused("_cluster", "install it: pip install 'hwloop[dask]'", connect)
    module = type(sys)("distributed")
    monkeypatch.setitem(sys.modules, "distributed", module)
    module.Client = Cluster(None)  # type: ignore[attr-defined]
    refused("_cluster", "start one: dask scheduler", connect)
    module.Client = Cluster({})  # type: ignore[attr-defined]
    refused("_cluster", "has no workers; start some: dask worker {}", connect)
    module.Client = Cluster({"a": 2, "b": 2})  # type: ignore[attr-defined]
    connect()
    assert "dask = [" in (Path(__file__).parents[2] / "pyproject.toml").read_text()
