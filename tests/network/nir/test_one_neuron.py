"""One neuron on eleven platforms: our steps are the exact ones, and every platform is as far off as its page says."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from hwloop import Network, Spikes

ROOT = Path(__file__).parents[3]
#: Output steps that the platforms recorded.
EXACT, LATE, EARLY = [460, 510, 710, 760], [461, 511, 711, 761], [450, 500, 710, 760]
PLATFORMS = {
    **dict.fromkeys(("exact", "nengo", "norse", "snntorch", "spinnaker2"), EXACT),
    **dict.fromkeys(("lava_cpu_fixed", "lava_cpu_float", "lava_loihi_fixed", "spyx"), LATE),
    **dict.fromkeys(("rockpool", "sinabs"), EARLY),
}


@pytest.fixture(scope="module")
def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("study_one_neuron", ROOT / "studies" / "one_neuron.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # dataclasses look their module up
    import sys

    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_our_spikes_fall_on_the_exact_steps(nir_folder: Path, dtype: torch.dtype) -> None:
    net = Network.from_nir(nir_folder / "published" / "lif_norse.nir", spike=1e-4, reset="value").to(dtype)
    inputs = np.flatnonzero(np.loadtxt(nir_folder / "one_neuron" / "exact.csv", delimiter=",")[:, 0])
    record = net(Spikes.from_events([(inputs * 1e-4, np.zeros(len(inputs), int))], 1, 0.1, dtype))
    np.testing.assert_allclose(record.output.times[0].detach() / 1e-4, EXACT, atol=1e-3)


def test_every_platform_is_as_far_off_as_the_page_says(
    nir_folder: Path, example: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = example.main(["--data", str(nir_folder.parent)])
    assert {row.name: row.steps for row in rows} == PLATFORMS
    for row in rows:
        matched = len(row.comparison.populations[0].matching.pairs[0])
        assert matched == (2 if PLATFORMS[row.name] is EARLY else 4)
        # a pulse integrated brings 1 - exp(-.04); counted whole, .04 of the input, .4 of the threshold
        whole = row.name not in ("exact", "nengo")
        assert row.jump == pytest.approx(0.4 if whole else 0.3921, abs=2e-4)
    printed = capsys.readouterr().out
    page = (ROOT / "docs" / "one_neuron.md").read_text()
    table = [line for line in printed.splitlines() if line.startswith("|")]
    assert len(table) == 14
    assert all(line in page for line in table)
