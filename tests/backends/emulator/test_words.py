"""What a preset does and leaves out, in words: nothing is forgotten, nothing stands on both sides, and values decide."""

from __future__ import annotations

import pytest

from hwloop_emulator import EFFECTS, Preset, effects_in_words, shipped
from hwloop_emulator.words import LIMIT_WORDS, PART_OF, WORDS


def test_every_effect_has_words_or_is_a_part_of_one_that_has() -> None:
    assert set(WORDS) | set(PART_OF) == set(EFFECTS)
    assert not set(WORDS) & set(PART_OF)
    assert set(PART_OF.values()) <= set(WORDS)
    texts = [*WORDS.values(), *LIMIT_WORDS.values()]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", shipped())
def test_every_effect_of_a_preset_is_accounted_for(name: str) -> None:
    preset = Preset.load(name)
    emulated, left_out = effects_in_words(preset)
    assert sorted(emulated + left_out) == sorted([*WORDS.values(), *LIMIT_WORDS.values()])
    for effect, text in WORDS.items():
        assert text in (emulated if preset.scale(effect) > 0 else left_out)
    for effect, stated in preset.effects.items():
        if stated.scale > 0:
            assert WORDS[PART_OF.get(effect, effect)] in emulated


def test_the_ideal_chip_emulates_nothing_and_the_worst_all_it_can() -> None:
    assert effects_in_words(Preset.load("ideal"))[0] == []
    assert effects_in_words(Preset.load("worst"))[1] == []


def test_words_follow_the_values() -> None:
    bss2 = Preset.load("bss2")
    emulated, left_out = effects_in_words(bss2)
    for text in (
        "drift that fluctuates around a mean",
        "crosstalk between neighbouring trim cells",
        "weights of limited resolution",
    ):
        assert text in emulated
    assert "hot neurons, with spurious spikes" in left_out
    without = effects_in_words(bss2.with_effect("drift_ou", 0.0))
    assert set(without[1]) - set(left_out) == {"drift that fluctuates around a mean"}
    assert "jitter of spikes" in effects_in_words(bss2.without_trial_noise())[1]
    assert "spread of thresholds between neurons" in effects_in_words(bss2.without_mismatch())[1]


def test_a_defect_whose_rate_is_0_does_nothing() -> None:
    hot = Preset.load("ideal").with_effect("hot_rate", 0.0).with_effect("hot", 0.1)
    assert "hot neurons, with spurious spikes" in effects_in_words(hot)[1]
    assert "hot neurons, with spurious spikes" in effects_in_words(hot.with_effect("hot_rate", 10.0))[0]


def test_a_least_refractory_time_of_0_is_none() -> None:
    data = Preset.load("ideal").model_dump(exclude_unset=True)
    data["limits"]["refractory_min"] = {"value": 1e-6, "source": "test"}
    assert effects_in_words(Preset.model_validate(data))[0] == ["a least refractory time"]
