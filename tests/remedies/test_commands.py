"""Commands, their run folders, and experiment files."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

import hwloop as hl
from hwloop.checkpoint import save_checkpoint
from hwloop.cli import app
from hwloop.command import listing, work
from hwloop.command.bench_command import bench
from hwloop.command.folder import load_trained, prepare
from hwloop.command.pages import page_in
from hwloop.command.target_choice import TargetChoice
from hwloop.compare.report_page import sections_of
from hwloop.experiment import MAX_FILE, Experiment, builtin

from .support import Case, Said, pattern, refused

TINY = Experiment.load(Path(__file__).parents[1] / "tiny.toml")


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], env={"COLUMNS": "400", "TERM": "dumb"})


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def said(error: Said, *arguments: object) -> str:
    """What the command complained about, which has to hold the error's text."""
    result = run(*arguments)
    assert result.exit_code in (1, 2), result.output
    assert re.search(pattern(error.text), result.stderr), result.stderr
    return result.stderr


def file_of(folder: Path, experiment: Experiment = TINY) -> Path:
    path = folder / "tiny.toml"
    path.write_text(experiment.to_toml())
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    done("train", file_of(folder), "--out", folder / "run")
    return folder / "run"


# -- run folders ----------------------------------------------------------------------------------


def test_a_page_that_is_lost_or_old_is_made_anew_with_force(tmp_path: Path) -> None:
    out = tmp_path / "run"
    again = ("train", file_of(tmp_path), "--out", out, "--force")
    done(*again)
    page = out / "report.html"
    page.unlink()
    refused("pages.page_in", "cannot be read ({}); run the step again with --force", lambda: page_in(out))
    done(*again)
    page.write_text("<html>a page of long ago</html>")
    refused("sections_of", "run the step again (--force) to have its page made anew", lambda: sections_of(page_in(out)))
    done(*again)
    assert "<section" in sections_of(page_in(out))


def test_resume_goes_on_and_force_begins_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done("train", file_of(tmp_path), "--out", out)
    message = "--resume goes on, --force begins anew"
    refused("folder.prepare", message, lambda: prepare(out, "train", resume=True, force=True))
    refused(
        "folder.prepare",
        "go on with --resume, replace it with --force, or name another folder",
        lambda: prepare(out, "train"),
    )
    done("train", file_of(tmp_path), "--out", out, "--resume")
    done("train", file_of(tmp_path), "--out", out, "--force")
    done("train", file_of(tmp_path), "--out", tmp_path / "another")


def test_a_run_that_cannot_be_resumed_is_replaced_or_made_elsewhere(trained: Path, tmp_path: Path) -> None:
    deploy = ("deploy", trained, "--target", "emulator:3", "--runs", 1, "--out")
    done(*deploy, tmp_path / "run")
    message = "holds a run already; replace it with --force, or name another folder"
    refused("folder.prepare", message, lambda: prepare(tmp_path / "run", "deploy"))
    done(*deploy, tmp_path / "run", "--force")
    done(*deploy, tmp_path / "another")
    # nor does it hold a network for the next command
    text = refused("load_trained", "holds no trained network {}", lambda: load_trained(tmp_path / "run"))
    assert "give the folder that `hwloop train --out` or `hwloop finetune --out` made" in text
    load_trained(trained)


@pytest.mark.parametrize(
    ("error", "occupy"),
    [
        (Said("folder.prepare", "--out {}: {}; allowed: a folder"), lambda path: path.write_text("")),
        (Said("folder.prepare", "holds {} and no run of hwloop; name another folder"), lambda path: (path.mkdir(), (path / "mine").write_text(""))),
        (Said("folder.prepare", "holds a run of `hwloop {}`; name another folder for `hwloop {}`"), lambda path: done("deploy", "TRAINED", "--runs", 1, "--out", path)),
    ],
    ids=lambda value: getattr(value, "text", None),
)  # fmt: skip
def test_another_folder_is_taken(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Said, occupy: Callable[[Path], Any]
) -> None:
    (tmp_path / "TRAINED").symlink_to(trained)
    monkeypatch.chdir(tmp_path)
    occupy(tmp_path / "run")
    refused(*error, lambda: prepare(tmp_path / "run", "train"))
    done("train", file_of(tmp_path), "--out", tmp_path / "another")


def test_a_folder_that_can_be_written_is_begun(tmp_path: Path) -> None:
    # made by whoever holds it, before the run begins
    refused("RunFolder.begin", "name another folder", lambda: prepare(tmp_path / "none", "train").begin(TINY))
    (tmp_path / "another").mkdir()
    prepare(tmp_path / "another", "train").begin(TINY)


def test_a_run_with_other_options_is_resumed_with_the_same_or_made_elsewhere(tmp_path: Path) -> None:
    out = tmp_path / "run"
    done("train", file_of(tmp_path), "--out", out)
    error = Said(
        "refuse_other", "was begun with {} = {}, this run has {}; resume with the same options, or name another folder"
    )
    assert "seed = 0" in said(error, "train", file_of(tmp_path), "--out", out, "--resume", "--seed", 3)
    done("train", file_of(tmp_path), "--out", out, "--resume", "--seed", 0)
    done("train", file_of(tmp_path), "--out", tmp_path / "another", "--seed", 3)


def test_a_trained_network_is_found_as_the_message_says(trained: Path, tmp_path: Path) -> None:
    refused("load_trained", "does not exist; give the folder of a run", lambda: load_trained(tmp_path / "none"))
    load_trained(trained)
    bare = tmp_path / "bare"
    bare.mkdir()
    refused(
        "load_trained",
        "holds no experiment.toml; give the folder of a run, or say --experiment NAME",
        lambda: load_trained(bare),
    )
    net = load_trained(trained).net
    save_checkpoint(bare / "network", net, {"weights": dict(net.state_dict()), "tuned": None}, step=1)
    load_trained(bare, TINY)
    save_checkpoint(bare / "network", net, {"something": 1}, step=2)
    refused("load_trained", "holds no network ({}: {}); {}", lambda: load_trained(bare, TINY))


def test_a_folder_without_a_run_is_checked_or_begun(tmp_path: Path) -> None:
    error = Said("experiment_of", "holds no run to resume; check --out, or name the experiment to begin it with")
    said(error, "train", "--out", tmp_path / "none", "--resume")
    done("train", file_of(tmp_path), "--out", tmp_path / "none", "--resume")
    done("train", "--out", tmp_path / "none", "--resume")


def test_an_interrupted_run_is_finished_with_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*args: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(work, "fit", interrupted)
        assert run("train", file_of(tmp_path), "--out", out).exit_code == 130
    text = refused("load_trained", "holds no trained network {}", lambda: load_trained(out))
    assert "(was its run interrupted?); finish it with --resume" in text
    done("train", file_of(tmp_path), "--out", out, "--resume")
    load_trained(out)


# -- options --------------------------------------------------------------------------------------

OPTIONS = [
    Case("TargetChoice.in_experiment", "allowed: the name of a target, such as emulator:7", lambda: TargetChoice(name="").in_experiment(TINY),
         lambda: TargetChoice(name="emulator:7").in_experiment(TINY)),
    Case("TargetChoice._find", "allowed: --{}, which the run remembers", lambda: TargetChoice(extra=["preset=bss2"]).find_named("emulator:7"),
         lambda: TargetChoice(preset="bss2").find_named("emulator:7")),
    Case("TargetChoice.dt", "allowed: a step in seconds, e.g. 1e-4, or {}", lambda: TargetChoice(step="fast").dt,
         (lambda: TargetChoice(step="1e-4").dt, lambda: TargetChoice(step="auto").dt)),
    Case("target_choice._pair", "allowed: KEY=VALUE, e.g. --option session=3", lambda: TargetChoice(extra=["session"]).find_named("emulator:7"),
         lambda: TargetChoice(extra=["session=3"]).find_named("emulator:7")),
    Case("registry._load", "available: {}", lambda: TargetChoice().find_named("loihi3"),
         lambda: TargetChoice().find_named("loihi")),
]  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS, ids=str)
def test_what_an_option_asks_for_is_accepted(case: Case) -> None:
    case.follow()


def test_a_target_is_named_where_no_backend_has_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listing, "available", lambda: {"loihi": "hwloop_loihi:LoihiTarget"})
    message = "name a target, see `hwloop targets`"
    refused("listing._with_presets", message, lambda: listing.show_target(None, TargetChoice()))
    done("targets")
    listing.show_target("loihi", TargetChoice())


def test_a_calibration_is_exported_as_each_of_the_kinds_that_are_named(tmp_path: Path) -> None:
    with hl.open("emulator:7", preset="bss2") as chip:
        program = hl.compile(TINY.build_network(), chip)
        found = hl.calibrate(chip, program, neurons=[0, 1], trim=False, synapses=False, repeats=4)
    found.save(tmp_path / "calibration.json")
    export = ("calibrations", "export", tmp_path / "calibration.json")
    text = said(Said("export", "kind {}; allowed: .json, .html, .txt"), *export, tmp_path / "chip.pdf")
    for kind in text.strip().split("allowed: ")[1].split(", "):
        done(*export, tmp_path / f"chip{kind}")


# -- experiments ----------------------------------------------------------------------------------


def load(folder: Path, old: str, new: str) -> Experiment:
    text = TINY.to_toml()
    assert old in text
    path = folder / "mine.toml"
    path.write_text(text.replace(old, new, 1))
    return Experiment.load(path)


def test_an_experiment_is_named_or_read_from_a_file(tmp_path: Path) -> None:
    text = refused("experiment._read", "built in: {}; or give a .toml file", lambda: Experiment.load("yin-yan"))
    for name in text.split("built in: ")[1].split(";")[0].split(", "):
        Experiment.load(name)
    assert set(builtin()) == set(text.split("built in: ")[1].split(";")[0].split(", "))
    Experiment.load(file_of(tmp_path))


#: What a file holds, and what its message makes of it.
FILES: list[tuple[Said, str, str, tuple[str, ...]]] = [
    (Said("Experiment.load", "not TOML"), "version = 1", "version = ", ("version = 1",)),
    (Said("_consistent", "{} has {} values; allowed: 1, or {} (one a spiking layer)"), "tau_mem = [0.01]", "tau_mem = [0.01, 0.01, 0.01]", ("tau_mem = [0.01]", "tau_mem = [0.01, 0.02]")),
    (Said("_consistent", "state both, or none for the default of Dense"), "init_std = [1.2, 0.3]\n", "", ("init_std = [1.2, 0.3]\n",)),
    (Said("_consistent", "allowed: v_th > v_reset"), "v_reset = [0.0]", "v_reset = [1.0]", ("v_reset = [0.999]",)),
    (Said("_falling", "allowed: lr_min <= lr"), "lr_min = 0.0", "lr_min = 0.02", ("lr_min = 0.01", "lr_min = 0.0")),
    (Said("_sizes_of_generated_data", 'is fixed for published data; allowed: with source = "generated"'), 'source = "generated"', 'source = "published"', ('source = "generated"',)),
    (Said("_sizes_of_generated_data", 'data names a folder of files; allowed: with source = "published"'), 'source = "generated"', 'source = "generated"\ndata = "x"', ('source = "generated"',)),
]  # fmt: skip


@pytest.mark.parametrize(("error", "old", "new", "mended"), FILES, ids=lambda value: getattr(value, "text", None))
def test_an_experiment_that_is_mended_as_it_says_loads(
    tmp_path: Path, error: Said, old: str, new: str, mended: tuple[str, ...]
) -> None:
    refused(*error, lambda: load(tmp_path, old, new))
    for right in mended:
        load(tmp_path, old, right)


def test_weights_are_drawn_by_default_where_neither_is_stated(tmp_path: Path) -> None:
    load(tmp_path, "init_mean = [0.8, 0.2]\ninit_std = [1.2, 0.3]\n", "").build_network()


def test_an_experiment_of_the_allowed_size_in_text_is_read(tmp_path: Path) -> None:
    path, text = tmp_path / "mine.toml", TINY.to_toml()
    refused("experiment._read", "cannot be read: {}", lambda: Experiment.load(path))
    path.write_bytes(b"\xff\xfe")
    refused("experiment._read", "not UTF-8 text ({})", lambda: Experiment.load(path))
    path.write_text(text + "#" * (MAX_FILE - len(text) + 1))
    refused("experiment._read", "allowed: at most {}", lambda: Experiment.load(path))
    path.write_text(text + "#" * (MAX_FILE - len(text)))
    Experiment.load(path)


def test_keys_that_are_known_are_those_that_are_printed(tmp_path: Path) -> None:
    def mended(old: str, wrong: str, *texts: str) -> str:
        said = refused("Experiment.from_dict", "experiment {}", lambda: load(tmp_path, old, wrong))
        assert all(text in said for text in texts), said
        return said

    said = mended(
        "batch_size = 25",
        "batchsize = 25",
        "unknown key 'training.batchsize'; known here: ",
        "Did you mean 'batch_size'?",
    )
    load(tmp_path, "batch_size = 25", f"{said.split('Did you mean ')[1].split('?')[0][1:-1]} = 25")
    mended("batch_size = 25\n", "", "training.batch_size is missing; state it")
    load(tmp_path, "batch_size = 25\n", "batch_size = 25\n")
    said = mended(
        'name = "yin-yang"', 'name = "yinyang"', "task.name = 'yinyang'; allowed: ", "Did you mean 'yin-yang'?"
    )
    load(tmp_path, 'name = "yin-yang"', f'name = "{said.split("Did you mean ")[1].split("?")[0][1:-1]}"')
    said = mended("batch_size = 25", "batch_size = 0", "training.batch_size = 0; allowed: greater than or equal to 1")
    load(tmp_path, "batch_size = 25", "batch_size = 1")
    said = mended("[finetune]\nepochs = 2", "[finetune]\nepochs = 2\nhidden = [3]", "It belongs to [network]")
    load(tmp_path, "hidden = [10]", "hidden = [3]")


def test_a_nir_file_that_exists_is_replaced_or_another_is_named(trained: Path, tmp_path: Path) -> None:
    export = ("nir", "export", trained, "--out", tmp_path / "net.nir")
    done(*export)
    said(Said("nir_command.export", "exists; name another --out, or replace it with --force"), *export)
    done(*export, "--force")
    done("nir", "export", trained, "--out", tmp_path / "another.nir")


def test_a_benchmark_of_what_does_not_exist_lists_what_does(tmp_path: Path) -> None:
    def run(part: str) -> None:
        bench(
            part=[part],
            workload=None,
            peer=["cumsum"],
            rounds=1,
            quick=True,
            seed=0,
            json_file=tmp_path / "bench.json",
            out=None,
        )

    message = refused("bench_command._chosen", "{} {}; allowed: {}", lambda: run("speeed"))
    assert "exactness" in message
    run("exactness")
