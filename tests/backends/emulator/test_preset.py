from __future__ import annotations

import math
import re
from pathlib import Path

import pytest

from hwloop.device.registry import find
from hwloop.errors import DataError, InputError, OptionError, TargetError
from hwloop_emulator import EFFECTS, Preset, shipped

ROOT = Path(__file__).parents[3]
SHIPPED = ROOT / "backends/hwloop_emulator/presets"

#: Section 5 of the design page: a kinder chip is not the goal.
AT_LEAST = {
    "tau_mem": 0.1,
    "tau_syn": 0.1,
    "gain": 0.1,
    "v_th": 0.05,
    "v_leak": 0.03,
    "v_reset": 0.03,
    "synapse": 0.05,
    "threshold_sample": 0.015,
    "jitter": 0.01 * 10e-6,
    "time_stamp": 0.02 * 5e-6,
    "event_loss": 0.001,
    "dead": 0.01,
}


def edited(tmp_path: Path, old: str, new: str, name: str = "bss2") -> Path:
    text = (SHIPPED / f"{name}.toml").read_text("utf-8")
    assert old in text
    path = tmp_path / "mine.toml"
    path.write_text(text.replace(old, new, 1), "utf-8")
    return path


def test_the_presets_that_are_shipped() -> None:
    assert shipped() == ("bss2", "dynapse", "ideal", "worst")


def test_every_figure_of_a_shipped_preset_is_cited_or_called_assumed() -> None:
    cited = re.compile(r"assumed|project design|et al|calix|\bas [a-z0-9_]+|ideal")
    for name in shipped():
        preset = Preset.load(name)
        stated = [getattr(preset.limits, limit) for limit in type(preset.limits).model_fields]
        entries = [*preset.effects.values(), *preset.trims.values(), *(limit for limit in stated if limit is not None)]
        assert all(cited.search(entry.source) for entry in entries)


@pytest.mark.parametrize("name", shipped())
def test_every_entry_has_a_source(name: str) -> None:
    preset = Preset.load(name)
    assert all(effect.source for effect in preset.effects.values())
    for limit in type(preset.limits).model_fields:
        stated = getattr(preset.limits, limit)
        assert stated is None or stated.source


def test_bss2_is_no_kinder_than_the_design_page() -> None:
    preset = Preset.load("bss2")
    for name, scale in AT_LEAST.items():
        assert preset.scale(name) >= scale * (1 - 1e-12), name
    limits = preset.capabilities()
    assert (limits.n_neurons, limits.fan_in, limits.speedup) == (512, 256, 1000.0)
    assert limits.max_code is not None
    assert limits.max_code <= 31
    assert limits.latency > 0
    assert limits.refractory_min > 0


def test_worst_has_every_effect() -> None:
    preset = Preset.load("worst")
    assert all(preset.scale(name) > 0 for name in EFFECTS)


def test_ideal_prints_no_difference_and_bss2_what_differs() -> None:
    assert str(Preset.load("ideal")).splitlines()[1:] == ["  none"]
    text = str(Preset.load("bss2"))
    assert "0.1 ratio, lognormal, per device" in text
    assert "hot" not in text


def test_the_example_preset_opens() -> None:
    path = ROOT / "examples/my_preset.toml"
    target = find("emulator:0", preset=str(path))
    assert target.capabilities.max_code == 127
    assert target.capabilities.n_neurons == 256


def test_a_copied_preset_is_the_same_chip_type(tmp_path: Path) -> None:
    copy = Preset.load(edited(tmp_path, "BrainScaleS-2", "anything"))
    assert copy.digest == Preset.load("bss2").digest


def test_variants_differ_in_what_they_say_alone() -> None:
    base = Preset.load("bss2")
    spread = base.with_spread(0.2)
    changed = {name for name in EFFECTS if spread.scale(name) != base.scale(name)}
    assert changed == {"tau_mem", "tau_syn", "gain"}
    quiet, equal = base.without_trial_noise(), base.without_mismatch()
    assert {n for n in EFFECTS if quiet.scale(n) != base.scale(n)} == {
        "threshold_sample",
        "jitter",
        "event_loss",
        "adc_noise",
    }
    of_chips = {name for name in EFFECTS if EFFECTS[name].time_scale in ("device", "time")}
    assert all(equal.scale(name) == 0 for name in of_chips)
    assert all(equal.scale(name) == base.scale(name) for name in EFFECTS if name not in of_chips)
    assert len({p.digest for p in (base, spread, quiet, equal)}) == 4
    assert base.digest == Preset.load("bss2").digest


def test_variants_are_reachable_by_name() -> None:
    device = find("emulator:7", preset="bss2", spread=0.2, mismatch=True, trial_noise=False).open()
    assert device.target.preset.scale("tau_syn") == 0.2  # type: ignore[attr-defined]
    assert device.target.preset.scale("jitter") == 0.0  # type: ignore[attr-defined]


def test_variants_keep_the_capabilities() -> None:
    base = Preset.load("bss2")
    for variant in (base.with_spread(0.2), base.without_mismatch(), base.without_trial_noise()):
        assert variant.capabilities() == base.capabilities()


REFUSED = [
    (
        'scale = 0.10\nmode = "relative"',
        'scale = -0.10\nmode = "relative"',
        r"effects\.tau_mem\.scale = -0\.1.*greater",
    ),
    (
        'scale = 0.10\nmode = "relative"',
        'scale = 1.5\nmode = "relative"',
        r"effects\.tau_mem\.scale = 1\.5; allowed: 0\.\.1",
    ),
    ("scale = 0.10", "scale = nan", r"effects\.tau_mem\.scale = nan.*finite|effects\.tau_mem\.scale = nan"),
    ("scale = 0.10", "scale = inf", r"effects\.tau_mem\.scale = inf"),
    ("scale = 0.10", 'scale = "10 %"', r"effects\.tau_mem\.scale = '10 %'.*number"),
    ('unit = "ratio"', 'unit = "percent"', r"effects\.tau_mem\.unit = 'percent'"),
    ('unit = "ratio"', 'unit = "swing"', r"effects\.tau_mem\.unit = 'swing'; allowed: 'ratio'"),
    ('time_scale = "device"', 'time_scale = "sample"', r"effects\.tau_mem\.time_scale = 'sample'; allowed: 'device'"),
    (
        'distribution = "lognormal"',
        'distribution = "bernoulli"',
        r"tau_mem\.distribution = 'bernoulli'; allowed: 'lognormal'",
    ),
    ("value = 512", "value = 0", r"limits\.n_neurons\.value = 0"),
    ("value = 512", "value = 512.5", r"limits\.n_neurons\.value = 512\.5"),
    ("value = 6\n", "value = 40\n", r"limits\.weight_bits\.value = 40"),
    ("[0.1e-6, 200e-6]", "[200e-6, 0.1e-6]", r"limits\.tau_mem.*low <= high"),
    ("version = 1", "version = 2", r"version = 2"),
    ("version = 1", "version = ", r"not TOML"),
]


@pytest.mark.parametrize(("old", "new", "message"), REFUSED, ids=[new.splitlines()[0] for _, new, _ in REFUSED])
def test_a_bad_value_is_refused_with_file_and_key(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(InputError, match=message) as refusal:
        Preset.load(path)
    assert "mine.toml" in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "key", "known"),
    [
        ("scale = 0.10", "scale = 0.10\nspread = 0.10", "effects.tau_mem.spread", "scale"),
        ("[limits.fan_in]", "[limits.fanin]", "limits.fanin", "fan_in"),
        ("value = 512", "value = 512\nunit = 1", "limits.n_neurons.unit", "value, source"),
        ("version = 1", "version = 1\ncolour = 1", "colour", "family"),
    ],
)
def test_an_unknown_key_is_refused_with_those_known(tmp_path: Path, old: str, new: str, key: str, known: str) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(OptionError, match=rf"mine\.toml: unknown key '{key}'; known here: .*{known}"):
        Preset.load(path)


def test_an_unknown_effect_is_refused_with_those_known(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match=r"mine\.toml: unknown key 'effects\.tau_men'; known here: tau_mem, tau_syn"):
        Preset.load(edited(tmp_path, "[effects.tau_mem]", "[effects.tau_men]"))
    with pytest.raises(OptionError, match=r"unknown effect 'tau_men'; known: tau_mem, tau_syn"):
        Preset.load("bss2").with_effect("tau_men", 0.1)


@pytest.mark.parametrize(
    ("right", "wrong", "near"),
    [
        ("[effects.tau_mem]", "[effects.tau_men]", "tau_mem"),
        ("scale = 0.10", "sclae = 0.10", "scale"),
        ("[limits.fan_in]", "[limits.fanin]", "fan_in"),
        ("value = 512", "vlaue = 512", "value"),
        ("family", "famliy", "family"),
    ],
)
def test_a_misspelt_key_is_named_with_the_one_that_was_meant(tmp_path: Path, right: str, wrong: str, near: str) -> None:
    with pytest.raises(OptionError) as caught:
        Preset.load(edited(tmp_path, right, wrong))
    assert str(caught.value).endswith(f". Did you mean {near!r}?")
    assert "missing" not in str(caught.value)


@pytest.mark.parametrize("line", ['source = "assumed: counter and clock scaler', "scale = 0.10"])
def test_an_entry_without_source_or_scale_is_refused(tmp_path: Path, line: str) -> None:
    text = (SHIPPED / "bss2.toml").read_text("utf-8").splitlines()
    index = next(i for i, found in enumerate(text) if found.startswith(line))
    path = tmp_path / "mine.toml"
    path.write_text("\n".join([*text[:index], *text[index + 1 :]]), "utf-8")
    with pytest.raises(InputError, match=r"mine\.toml: .*(source|scale) is missing"):
        Preset.load(path)


def test_a_defect_without_its_rate_is_refused() -> None:
    with pytest.raises(InputError, match=r"effects\.hot > 0 without effects\.hot_rate"):
        Preset.load("ideal").with_effect("hot", 0.1)


def test_an_unknown_preset_is_refused_with_those_shipped() -> None:
    with pytest.raises(OptionError, match=r"unknown preset 'bss3'; shipped: bss2, dynapse, ideal, worst"):
        find("emulator:7", preset="bss3")


def test_a_missing_preset_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none\.toml cannot be read"):
        find("emulator:7", preset=str(tmp_path / "none.toml"))


def test_a_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match=r"mine\.toml cannot be read"):
        Preset.load(path)


@pytest.mark.parametrize("address", ["", "x", "-1", "1.5", "٣", str(2**70)])
def test_an_address_that_is_no_chip_number_is_refused(address: str) -> None:
    with pytest.raises(TargetError, match="N a whole number >= 0"):
        find(f"emulator:{address}")


@pytest.mark.parametrize("options", [{"session": -1}, {"batch": 1.5}, {"spread": -0.1}, {"spread": math.nan}])
def test_a_bad_option_is_refused(options: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(options)) if "spread" not in options else "tau_mem"):
        find("emulator:7", **options)
