"""Yield: how good a network is on many chips, for each strategy, against what the strategy spends on every chip.

A study is a list of rows, plain data each: one chip, one strategy, one effort. A row is a function of that data alone, so
rows run on all cores (joblib) or on a Dask cluster, in any order, and an interrupted study goes on where it stopped.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from hwloop import storage
from hwloop.device.registry import compile as compile_for
from hwloop.device.registry import find
from hwloop.errors import DataError, HwloopError, InputError, TargetError
from hwloop.experiment import Experiment
from hwloop.network import Network
from hwloop.training.harden import harden
from hwloop.training.noise import NoiseModel
from hwloop.workers import how_many, workers

from ..document.calibration import Calibration
from .plan import Row, RowResult, YieldPlan
from .strategies import CALIBRATED, CHIP_SPREAD, Setting, apply_strategy, averaged_accuracy, calibrate_for

FORMAT, VERSION = "hwloop-yield-row", 1
#: Epochs of hardening before the study, without any device: with the noise alone, and with random mismatch.
HARDEN_EPOCHS, RANDOM_EPOCHS = 25, 30
#: Rows handed to a Dask cluster at a time, for each of its cores: what an interruption can lose.
ROWS_A_JOB = 2
#: Seconds within which a Dask scheduler has to answer.
CONNECT_TIMEOUT = 10.0
#: Share of dead hidden neurons that random mismatch trains for; largest file of weights (bytes).
DEAD, MAX_WEIGHTS = 0.01, 2**28


# -- networks that need no device -----------------------------------------------------------------


def prepare(
    experiment: Experiment,
    software: Network,
    plan: YieldPlan,
    folder: Path,
    on_stage: Callable[[str], None] = lambda text: None,
) -> dict[str, Network]:
    """The networks that all rows start from: ``software``, and those hardened for noise and for random mismatch.

    Hardened ones are kept in ``folder``, named by what they were made from, and read from there the next time.
    """
    target = find(f"emulator:{plan.chips[0]}", preset=plan.preset, spread=plan.spread)
    noise = plan.noise(target.capabilities.time_step * target.capabilities.speedup)
    spread = dict(CHIP_SPREAD)
    if plan.spread is not None:
        spread |= dict.fromkeys(("tau_mem", "tau_syn", "gain"), plan.spread)
    nets, stages = {"software": software}, {"hardened": HARDEN_EPOCHS, "random": RANDOM_EPOCHS}
    for name, epochs in stages.items():
        model = noise if name == "hardened" else replace(noise, dead=DEAD, spread=spread)
        nets[name] = experiment.build_network()
        path = folder / f"{name}-{_origin(experiment, software, model, epochs, plan.seed)}.safetensors"
        if path.exists():
            nets[name].load_state_dict(_weights(storage.read_bytes(path, MAX_WEIGHTS), str(path)))
            continue
        on_stage(f"hardening the network for {'noise' if name == 'hardened' else 'random mismatch'}, {epochs} epochs")
        nets[name].load_state_dict(software.state_dict())
        harden(
            nets[name], compile_for(nets[name], target), experiment.build_task(), experiment.build_finetune_loss(), model,
            epochs=epochs, lr_decay=0.9, seed=plan.seed, decision=experiment.decision, progress=None,
        )  # fmt: skip
        storage.write_bytes(path, _saved(nets[name]))
    return nets


def _origin(experiment: Experiment, software: Network, noise: NoiseModel, epochs: int, seed: int) -> str:
    """Digest (12 characters) of what a hardened network is made from."""
    digest = hashlib.sha256(_saved(software))
    content = [experiment.to_dict(), asdict(noise), epochs, seed]
    digest.update(json.dumps(content, sort_keys=True).encode())
    return digest.hexdigest()[:12]


def _saved(net: Network) -> bytes:
    """Weights as safetensors: to keep, and to hand to workers."""
    from safetensors.torch import save

    return bytes(save({key: value.detach().clone().contiguous() for key, value in net.state_dict().items()}))


def _weights(content: bytes, where: str = "what the worker was sent") -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        return dict(load(content))
    except SafetensorError as error:
        raise DataError(f"{where}: weights of a hardened network are damaged ({error}); remove it") from error


# -- rows -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """What every row of a study needs besides itself, as plain data."""

    plan: dict[str, Any]
    experiment: dict[str, Any]
    nets: dict[str, bytes]


@contextmanager
def _setting(work: Work, chip: int, mismatch: bool, effort: float) -> Iterator[tuple[Setting, YieldPlan]]:
    """The chip opened anew, and all that a strategy is given."""
    torch.set_num_threads(1)
    plan, experiment = YieldPlan.of(**work.plan), Experiment.from_dict(work.experiment, "yield study")
    nets: dict[str, Network] = {}
    for name, content in work.nets.items():
        nets[name] = experiment.build_network()
        nets[name].load_state_dict(_weights(content))
    options: dict[str, Any] = {"preset": plan.preset, "spread": plan.spread, "mismatch": mismatch, "session": 1}
    with find(f"emulator:{chip}", **options).open() as device:
        noise = plan.noise(device.capabilities.time_step * device.capabilities.speedup)
        yield Setting(experiment, experiment.build_task(), nets, device, noise, effort, plan.seed), plan


def calibrate_chip(chip: int, work: Work) -> tuple[int, dict[str, Any]]:
    """Calibration of ``chip`` as a document, or ``{"failure": reason}``."""
    with _setting(work, chip, True, 1.0) as (setting, _):
        try:
            return chip, calibrate_for(setting).model_dump(mode="json")
        except HwloopError as error:
            return chip, {"failure": str(error)}


def run_row(row: Row, work: Work, calibration: dict[str, Any] | None) -> RowResult:
    """Carry out one row; a strategy that fails on a chip is a result too: the chip is lost to it."""
    with _setting(work, row.chip, row.mismatch, row.effort) as (setting, plan):
        device = setting.device
        failure = "" if calibration is None else str(calibration.get("failure", ""))
        try:
            if failure:
                raise TargetError(failure)
            if calibration is not None:
                setting = replace(setting, calibration=Calibration.model_validate(calibration))
            outcome = apply_strategy(row.strategy, setting)
        except (InputError, DataError):
            raise
        except HwloopError as error:
            return RowResult(row, device.device_id, device.ran_on, 0.0, 0.0, plan.runs, 0, 0, 0.0, 0.0, "", str(error))
        decision = setting.experiment.decision
        single, averaged = averaged_accuracy(device, setting.task.test, plan.runs, decision)
        return RowResult(
            row, device.device_id, device.ran_on, single, averaged, plan.runs, outcome.samples, outcome.cells,
            outcome.device_seconds, outcome.seconds, outcome.program.digest,
        )  # fmt: skip


def run_study(
    plan: YieldPlan,
    experiment: Experiment,
    nets: dict[str, Network],
    folder: Path,
    *,
    jobs: int = -1,
    dask: str | None = None,
    on_row: Callable[[RowResult], None] = lambda result: None,
    on_stage: Callable[[str], None] = lambda text: None,
) -> list[RowResult]:
    """Run the rows of ``plan`` that have no file in ``folder`` yet; all results, in the order of the plan.

    Parameters
    ----------
    plan, experiment, nets : what is studied; ``nets`` as from :func:`prepare`
    folder : where each row is kept
    jobs : processes; -1: one a core
    dask : address of a Dask scheduler, e.g. ``tcp://host:8786``: the rows run on its workers instead
    on_row : told of each finished row
    on_stage : told of each calibrated chip

    Raises
    ------
    DataError
        A row in the folder is damaged or of another study.
    TargetError
        Dask is not installed, or its scheduler does not answer.
    """
    jobs = how_many(jobs)
    stamp = _stamp(plan, experiment)
    rows, done = plan.rows(), {}
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot write into {folder}: {error.strerror or error}; name another folder") from error
    for row in rows:
        path = folder / f"{row.name}.json"
        if path.exists():
            done[row] = _read(path, row, stamp)
    missing = [row for row in rows if row not in done]
    work = Work(plan.model_dump(), experiment.to_dict(), {name: _saved(net) for name, net in nets.items()})
    with _workers(jobs, dask) as each:
        wanted = sorted({row.chip for row in missing if row.strategy in CALIBRATED})
        known = _calibrations(each, wanted, work, folder, stamp, on_stage)
        calls = [(row, work, known[row.chip] if row.strategy in CALIBRATED else None) for row in missing]
        for result in each(run_row, calls):
            _write(folder / f"{result.row.name}.json", stamp, asdict(result))
            done[result.row] = result
            on_row(result)
    return [done[row] for row in rows]


def read_row(plan: YieldPlan, row: Row, experiment: Experiment, folder: Path) -> RowResult:
    """A finished row of the study in ``folder``; raises :class:`DataError` where it is missing, damaged or of another."""
    return _read(folder / f"{row.name}.json", row, _stamp(plan, experiment))


def _stamp(plan: YieldPlan, experiment: Experiment) -> dict[str, Any]:
    """What all rows of a study share; chips, strategies and efforts may be added later."""
    shared = plan.model_dump(exclude={"chips", "strategies", "efforts", "ceilings"})
    return {"plan": shared, "experiment": experiment.to_dict()}


def _calibrations(
    each: Each, wanted: list[int], work: Work, folder: Path, stamp: dict[str, Any], on_stage: Callable[[str], None]
) -> dict[int, dict[str, Any]]:
    """Calibration documents of the chips ``wanted``: those in the folder, and the others, made now."""
    known = {
        chip: _content(path, stamp) for chip in wanted if (path := _calibration_path(folder, chip)).exists()
    }  # fmt: skip
    missing = [chip for chip in wanted if chip not in known]
    for number, (chip, found) in enumerate(each(calibrate_chip, [(chip, work) for chip in missing]), 1):
        _write(_calibration_path(folder, chip), stamp, found)
        known[chip] = found
        on_stage(f"calibrated chip {chip} ({number} of {len(missing)})")
    return known


def _calibration_path(folder: Path, chip: int) -> Path:
    return folder / f"calibration-chip-{chip}.json"


def _write(path: Path, stamp: dict[str, Any], result: dict[str, Any]) -> None:
    storage.write_json(path, {"study": stamp, "result": result}, kind=FORMAT, version=VERSION)


#: ``each(function, arguments)``: results of all calls, in the order in which they are finished.
Each: TypeAlias = Callable[[Callable[..., Any], Sequence[tuple[Any, ...]]], Iterator[Any]]


@contextmanager
def _workers(jobs: int, dask: str | None) -> Iterator[Each]:
    """What runs calls side by side: on processes of this machine, or on a Dask cluster."""
    if dask is None:
        with workers(jobs) as side:
            yield side.each
        return
    from joblib import Parallel, delayed, parallel_config

    with _cluster(dask) as cores, parallel_config(backend="dask"):

        def each(function: Callable[..., Any], arguments: Sequence[tuple[Any, ...]]) -> Iterator[Any]:
            for begin in range(0, len(arguments), ROWS_A_JOB * cores):
                part = arguments[begin : begin + ROWS_A_JOB * cores]
                yield from Parallel(n_jobs=-1)(delayed(function)(*one) for one in part)

        yield each


@contextmanager
def _cluster(address: str) -> Iterator[int]:
    """A connection to the Dask scheduler at ``address``, and the cores of its workers."""
    try:
        from distributed import Client
    except ImportError as error:
        raise TargetError(f"no Dask here ({error}); install it: pip install 'hwloop[dask]'") from error
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise TargetError(f"no Dask scheduler answers at {address}: {error}; start one: dask scheduler") from error
    with client:
        cores = sum(client.ncores().values())
        if not cores:
            raise TargetError(f"the Dask scheduler at {address} has no workers; start some: dask worker {address}")
        yield cores


def _content(path: Path, stamp: dict[str, Any]) -> dict[str, Any]:
    document = storage.read_json(path, kind=FORMAT, version=VERSION)
    if document.get("study") != stamp or not isinstance(document.get("result"), dict):
        raise DataError(f"{path} is of another study (plan or experiment differ); name another folder, or remove it")
    return dict(document["result"])


def _read(path: Path, row: Row, stamp: dict[str, Any]) -> RowResult:
    content = _content(path, stamp)
    try:
        found = RowResult(**{**content, "row": Row(**content["row"])})
    except (KeyError, TypeError) as error:
        raise DataError(f"{path} holds no row of a yield study ({type(error).__name__}: {error}); remove it") from error
    if found.row != row:
        raise DataError(f"{path} holds row {found.row.name}; remove it")
    return found
