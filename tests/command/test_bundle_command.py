"""The commands bundle, run, verify and replay, from a run folder to a device and back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from hwloop.bundle import load_bundle

from ..test_cli import TINY, done, refused, run, untrained


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bundled")
    untrained(made / "run", TINY)
    done("bundle", made / "run", "--target", "emulator:7", "--samples", 6, "--out", made / "x.hwb")
    return made


def test_a_run_becomes_a_file_that_says_what_it_is(folder: Path) -> None:
    found = load_bundle(folder / "x.hwb")
    assert len(found.golden.inputs) == 6
    assert found.target.name == "emulator:7"
    assert found.target.options == {"preset": "bss2"}  # of the experiment
    assert found.provenance.source == "network of tiny, seed 0"


def test_the_device_that_it_was_made_on_passes_and_another_does_not(folder: Path) -> None:
    said = done("verify", folder / "x.hwb").stdout
    assert "equal bit for bit" in said
    other = run("verify", folder / "x.hwb", "--target", "emulator:8")
    assert other.exit_code == 1
    assert "first difference: layer 0 (0), sample" in other.stdout


def test_new_inputs_run_on_the_target_of_the_bundle(folder: Path) -> None:
    np.savez(folder / "in.npz", times=np.array([1e-3, 2e-3]), units=[0, 1], counts=[2], n_units=5, t_stop=0.03)
    said = done("run", folder / "x.hwb", "--input", folder / "in.npz", "--out", folder / "out.npz").stdout
    assert "1 samples on emulator:7" in said
    with np.load(folder / "out.npz", allow_pickle=False) as found:
        assert found["0.counts"].sum() == len(found["0.times"])
        assert "emulator:7" in str(found["provenance"])
    np.savez(folder / "wide.npz", times=np.array([1e-3]), units=[6], counts=[1], n_units=7, t_stop=0.03)
    refused(
        2, "has 7 units; allowed: 5, the inputs of the program", "run", folder / "x.hwb", "--input", folder / "wide.npz"
    )


def test_a_session_is_recorded_and_said(folder: Path) -> None:
    done("verify", folder / "x.hwb", "--log", folder / "session.log")
    said = done("replay", folder / "session.log").stdout
    assert "1 sessions, 1 loads, 1 runs" in said
    assert "all of it is whole" in said
    done("verify", folder / "x.hwb", "--target", f"replay:{folder / 'session.log'}")
    whole = (folder / "session.log").read_bytes()
    (folder / "cut.log").write_bytes(whole[:-5])
    cut = run("replay", folder / "cut.log")
    assert cut.exit_code == 1
    assert "half-written and left out" in cut.stdout


def test_an_experiment_is_no_bundle_and_what_exists_is_not_replaced_unasked(folder: Path, tmp_path: Path) -> None:
    refused(2, "Run it: hwloop run experiment.toml", "verify", "experiment.toml")
    before = (folder / "x.hwb").read_bytes()
    again = ("bundle", folder / "run", "--target", "emulator:7", "--samples", 3, "--out", folder / "x.hwb")
    refused(2, "exists; name another --out, or replace it with --force", *again)
    assert (folder / "x.hwb").read_bytes() == before
    done(*again[:-1], tmp_path / "y.hwb")
    done(*again[:-1], tmp_path / "y.hwb", "--force")


def test_a_damaged_bundle_or_log_fails_with_its_name(folder: Path, tmp_path: Path) -> None:
    data = (folder / "x.hwb").read_bytes()
    (tmp_path / "x.hwb").write_bytes(data[: len(data) // 2])
    refused(1, "x.hwb: the file is no whole bundle", "verify", tmp_path / "x.hwb")
    refused(1, "the first line", "replay", folder / "x.hwb")
    refused(2, "unknown target 'nobody:1'", "verify", folder / "x.hwb", "--target", "nobody:1")
