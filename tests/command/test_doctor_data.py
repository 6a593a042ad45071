"""``hwloop doctor`` names every data set that is read from files, found or with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwloop.command import doctor

FILES = {
    "yin_yang": "test_samples.npy", "mnist": "t10k-images-idx3-ubyte.gz", "spoken_digits": "spoken_digits.npz",
    "emnist": "emnist-letters-test-images-idx3-ubyte", "fashion_mnist": "t10k-images-idx3-ubyte",
}  # fmt: skip


def test_every_data_set_is_found_in_its_folder_or_comes_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HWLOOP_DATA", str(tmp_path))
    missing = {row.what: row for row in doctor.examine() if row.what.startswith("data: ")}
    assert set(missing) == {f"data: {name}" for name in FILES}
    for name in FILES:
        assert missing[f"data: {name}"].found == "not found"
        assert f"./data/{name}" in missing[f"data: {name}"].advice
    for name, file in FILES.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    for row in doctor.examine():
        if row.what.startswith("data: "):
            assert row.found == str(tmp_path / row.what.removeprefix("data: "))
            assert not row.advice
