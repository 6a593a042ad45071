"""Run folders: what a command leaves behind, and what the next one reads.

    experiment.toml   the experiment with all its values
    inputs/           files that it names: a network of another package, a preset
    data.json         digests of the data files, where there are any
    summary.json      kind of run, status, versions, seed, results
    report.html
    plots/            every plot of the report, as SVG, PNG and CSV
    epochs.csv        figures of every epoch of training or fine-tuning
    checkpoints/      of training or fine-tuning, to resume
    network/          the network that came out, a checkpoint
    comparison.json   of `compare`
    calibration.json  of `calibrate`; of `finetune` on a calibrated device
    rows/, yield.json of `yield`
    train/, deploy/, calibrate/, compare/, finetune/   of `run`, each a run of that command
    .replaced/        the run that an unfinished one replaces (`--force`)
    .run.lock, .run.json   who runs in it now

A folder that holds anything else is never written to.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import storage
from ..checkpoint import load_checkpoint, newest_manifest, save_checkpoint
from ..errors import CheckpointError, DataError, OptionError
from ..experiment import Experiment
from ..mapping import Program
from ..network import Network
from ..ownership import held
from ..results import Result, read_summary, write_summary
from ..training.epoch_logs import write_epochs
from . import data_provenance, own_files, replaced, terminal
from .calibrations import kept_calibration

if TYPE_CHECKING:
    from hwloop_calibration import Calibration

    from ..compare.report import Report

#: Table of the epochs.
EPOCHS = "epochs.csv"
#: Folder of the plots of the report.
PLOTS = "plots"
#: Everything that a run writes besides the documents that say what it is; its network goes last.
_CONTENT = (
    "report.html",
    PLOTS,
    EPOCHS,
    "comparison.json",
    "calibration.json",
    "yield.json",
    "checkpoints",
    "rows",
    "network",
)
#: What a run of all steps writes besides: a folder for each.
_STEPS = ("deploy", "calibrate", "compare", "finetune", "train")
#: Keys that name files: what counts is what is in them.
FILES = ("network.nir", "target.preset")


@dataclass(frozen=True)
class RunFolder:
    """A folder that a run of ``kind`` may write to; made by :func:`prepare`, and on disk from :meth:`begin` on."""

    path: Path
    kind: str
    resumed: bool

    @property
    def checkpoints(self) -> Path:
        """Where training saves its state."""
        return self.path / "checkpoints"

    def begin(self, experiment: Experiment, results: Sequence[Result] = ()) -> None:
        """Set aside what an earlier run left (unless resumed), and write experiment and summary of a run under way.

        Raises :class:`DataError` where the folder cannot be written, :class:`OptionError` where a run is resumed and the data
        have changed since it was begun.
        """
        data = data_provenance.of(experiment)
        if self.resumed:
            data_provenance.refuse_changed(self.path, data)
        replaces = not self.resumed and (self.path / "summary.json").exists()
        try:
            own_files.check(experiment)
            storage.remove_leftovers(self.path)
            if replaces:
                replaced.copy_documents(self.path)
            write_summary(self.path, self.kind, status="running", seed=experiment.seed, results=results)
            if replaces:
                replaced.set_aside(self.path, (*_CONTENT, *(_STEPS if self.kind == "run" else ())))
            written = own_files.kept(experiment, self.path)
            data_provenance.keep(self.path, data)
        except OSError as error:
            raise DataError(f"cannot write into {self.path}: {error.strerror or error}; name another folder") from error
        storage.write_bytes(self.path / "experiment.toml", written.to_toml().encode())

    def finish(self, experiment: Experiment, results: Sequence[Result] = (), /, **content: Any) -> dict[str, Any]:
        """Write the summary of a finished run, and return it; what it replaced goes."""
        seed = experiment.seed
        written = write_summary(self.path, self.kind, status="finished", seed=seed, results=results, **content)
        own_files.tidy(self.path)
        replaced.forget(self.path)
        return written

    def save_network(self, net: Network, step: int, program: Program | None = None, device_id: str = "") -> None:
        """Save what came out; with ``program``, the scales and the placement that the network was tuned with.

        A network that is there already stays until the new one has been read back.
        """
        tuned = None
        if program is not None:
            mask = _mask([[int(n) for n in layer.neurons] for layer in program.layers])
            tuned = {"scales": list(program.scales), "mask": mask, "device": device_id}
        save_checkpoint(self.path / "network", net, {"weights": dict(net.state_dict()), "tuned": tuned}, step=step)

    def write_report(self, report: Report) -> None:
        """Write the page, and every plot beside it."""
        report.write(self.path / "report.html", self.path / PLOTS)

    def log_epochs(self, history: Sequence[Any]) -> None:
        """Write the figures of all epochs as a table."""
        write_epochs(self.path / EPOCHS, history)

    @contextmanager
    def resumable(self) -> Iterator[None]:
        """Tell the user how to go on where the run inside is interrupted."""
        try:
            yield
        except KeyboardInterrupt:
            terminal.note(f"{self.path} keeps the last finished epoch; go on with the same command and --resume")
            raise


@contextmanager
def opened(path: Path, kind: str, *, resume: bool = False, force: bool = False) -> Iterator[RunFolder]:
    """The folder of a run of ``kind``, held against every other run inside.

    Raises as :func:`prepare`, and :class:`CheckpointError` where another process runs in it.
    """
    prepare(path, kind, resume=resume, force=force)
    with held(path, say=terminal.note):
        # again: another run may have finished in it meanwhile
        yield prepare(path, kind, resume=resume, force=force)


def prepare(path: Path, kind: str, *, resume: bool = False, force: bool = False) -> RunFolder:
    """Check that a run of ``kind`` may write to ``path``. Nothing is written yet.

    Raises :class:`OptionError` where the folder holds something that is not a run of this kind, or one that is neither
    to be resumed nor replaced.
    """
    if resume and force:
        raise OptionError("--resume and --force exclude each other; --resume goes on, --force begins anew")
    try:
        content = sorted(file.name for file in path.iterdir() if file.name[0] != ".") if path.exists() else []
    except OSError as error:
        raise OptionError(f"--out {path}: {error.strerror or error}; allowed: a folder") from None
    if not content:
        return RunFolder(path, kind, False)
    try:
        found = read_summary(path).get("kind")
    except DataError:
        raise OptionError(f"--out {path} holds {content[0]} and no run of hwloop; name another folder") from None
    if found != kind:
        raise OptionError(f"--out {path} holds a run of `hwloop {found}`; name another folder for `hwloop {kind}`")
    if not (resume or force):
        raise OptionError(f"--out {path} holds a run already; go on with --resume, replace it with --force, or name another folder"
                          if kind in ("train", "finetune", "yield", "run") else
                          f"--out {path} holds a run already; replace it with --force, or name another folder")  # fmt: skip
    return RunFolder(path, kind, resume)


def stored_experiment(path: Path) -> Experiment | None:
    """The experiment of the run in ``path``, if there is one."""
    file = path / "experiment.toml"
    return Experiment.load(file) if file.exists() else None


def refuse_other(stored: Experiment, wanted: Experiment, path: Path, free: Iterable[str]) -> None:
    """Raise :class:`OptionError` where ``wanted`` differs from what the run in ``path`` was begun with.

    ``free`` are keys that may differ, such as ``training.epochs``.
    """
    before, now = (flat(experiment.to_dict()) for experiment in (stored, wanted))
    moved = {"task.data"} if (path / data_provenance.FILE).is_file() else set()  # their digests are compared
    for key in sorted(before.keys() | now.keys()):
        one, other = before.get(key), now.get(key)
        if key not in {*free, *moved} and one != other and not (key in FILES and own_files.same(one, other)):
            raise OptionError(
                f"{path} was begun with {key} = {one!r}, this run has {other!r}; resume with the same "
                "options, or name another folder"
            )


def flat(table: dict[str, Any], path: str = "") -> dict[str, Any]:
    """The values in nested tables by their keys with dots."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= flat(value, f"{path}{key}.") if isinstance(value, dict) else {f"{path}{key}": value}
    return found


# -- networks -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Trained:
    """A network that a run left: its experiment, and for a fine-tuned one the device, its calibration and how it was compiled."""

    path: Path
    experiment: Experiment
    net: Network
    device_id: str = ""
    scales: tuple[float, ...] = ()
    mask: tuple[int, ...] = ()
    calibration: Calibration | None = None


def load_trained(path: Path, experiment: Experiment | None = None) -> Trained:
    """The network in ``path``: a run folder, a folder of checkpoints, or a checkpoint's ``step-NNNNNNNN.json``.

    ``experiment`` says what it is; by default the ``experiment.toml`` beside it does.

    Raises
    ------
    DataError
        There is no network, or nothing that says what it is.
    CheckpointError
        The checkpoint is damaged or of another network.
    """
    folder = path.parent if path.is_file() else path
    if not folder.exists():
        raise DataError(f"{path} does not exist; give the folder of a run, such as `hwloop train --out` made")
    folder, run = _network_of(folder)
    if experiment is None:
        if not (run / "experiment.toml").is_file():
            raise DataError(f"{path} holds no experiment.toml; give the folder of a run, or say --experiment NAME")
        experiment = Experiment.load(run / "experiment.toml")
    net = experiment.build_network()
    checkpoint = load_checkpoint(folder, net)
    if checkpoint is None:
        raise DataError(f"{path} holds no trained network {_without_network(run)}")
    try:
        tuned = _restore(net, checkpoint.state)
    except (KeyError, TypeError, ValueError, IndexError, RuntimeError) as error:
        raise CheckpointError(
            f"{checkpoint.path} holds no network ({type(error).__name__}: {error}); "
            "give the folder of a run, such as `hwloop train --out` made"
        ) from error
    if not tuned:
        return Trained(path, experiment, net)
    device, scales, mask = str(tuned["device"]), tuple(tuned["scales"]), tuple(tuned["mask"])
    return Trained(path, experiment, net, device, scales, mask, kept_calibration(run))


def _network_of(folder: Path) -> tuple[Path, Path]:
    """Where the checkpoint of the network is, and the folder whose experiment.toml says what it is."""
    if newest_manifest(folder) is not None:
        return folder, next((p for p in (folder, folder.parent) if (p / "experiment.toml").is_file()), folder)
    before = folder / replaced.KEPT
    if newest_manifest(folder / "network") is None and newest_manifest(before / "network") is not None:
        terminal.note(f"the run under way in {folder} has no network yet; this is the one of the run that it replaces")
        return before / "network", before
    return folder / "network", folder


def _without_network(run: Path | None) -> str:
    """What to do about a folder without a network: what its run was decides."""
    try:
        kind = None if run is None else read_summary(run).get("kind")
    except DataError:
        kind = None
    if kind == "run":
        return "itself; give one of the folders in it, train or finetune"
    if kind in ("train", "finetune"):
        return "(was its run interrupted?); finish it with --resume"
    return "at all; give the folder that `hwloop train --out` or `hwloop finetune --out` made"


def _restore(net: Network, state: dict[str, Any]) -> dict[str, Any] | None:
    """Put the weights of a checkpoint into ``net``: those that came out, or the best so far of a run under way."""
    weights: dict[str, Tensor] | list[Tensor] = state["weights"] if "weights" in state else state["best"]["weights"]
    if isinstance(weights, dict):
        net.load_state_dict(weights)
        return state.get("tuned")
    net.load_state_dict(state["network"])
    with torch.no_grad():
        for (dense, _), weight in zip(net.blocks, weights, strict=True):
            dense.weight.copy_(weight)
    return {"scales": state["scales"], "mask": _mask(state["neurons"]), "device": state["options"]["device"]}


def _mask(placement: list[list[int]]) -> list[int]:
    """Physical neurons that a placement left out."""
    used = {n for layer in placement for n in layer}
    return [n for n in range(max(used)) if n not in used]
