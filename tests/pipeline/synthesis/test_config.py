from dataclasses import fields, replace
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.synthesis import strengths
from pipeline.synthesis.config import Chances, SynthesisConfig
from pipeline.synthesis.effects import EFFECTS
from pipeline.synthesis.presets import PRESETS
from pipeline.synthesis.strengths import Strengths

NAMES = [f.name for f in fields(Chances)]


def test_every_chance_is_an_effect_with_a_bit_and_every_effect_but_polarity_has_a_chance() -> None:
    assert set(EFFECTS) - set(NAMES) == {"light_on_dark"}
    assert set(NAMES) <= set(EFFECTS)


def test_only_gives_every_picture_what_is_named_and_nothing_else() -> None:
    only = Chances().only(("curve", "noise"))
    assert {name for name in NAMES if getattr(only, name)} == {"curve", "noise"}
    assert only.curve == only.noise == 1.0
    assert Chances().only(()) == Chances.none()


def test_a_misspelt_effect_is_named_beside_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"No effects: curvy\. There are spacing, .*curve"):
        Chances().only(("curvy", "noise"))


def test_effects_that_exclude_each_other_can_not_both_be_had_always() -> None:
    with pytest.raises(ConfigError, match="exclude each other"):
        Chances().only(("border", "shadow"))


@pytest.mark.parametrize("chance", [-0.1, 1.01, float("nan")])
def test_a_chance_is_a_share(chance: float) -> None:
    with pytest.raises(ConfigError, match="these don't: blur"):
        Chances(blur=chance)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"height": 8}, "16 to 128 pixels high; 8"),
        ({"max_width": 120}, "from 128, 4 × height"),
        ({"max_width": 4_096}, "to 2,048"),
        ({"height": 129}, "129"),
        ({"max_width": 100}, "max_width is .*; 100 isn"),
        ({"ordinary": 1.5}, "ordinary"),
    ],
)
def test_sizes_and_shares_that_can_not_work_are_refused(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        SynthesisConfig(**fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"blur": (2.0, 1.0)}, "blur"),
        ({"background": (-1.0, 255.0)}, "background"),
        ({"gamma": (0.0, 2.0)}, "gamma"),
        ({"quality": (40.0, 101.0)}, "quality"),
        ({"scale": (0.0, 1.0)}, "scale"),
        ({"rotation": -3.0}, "rotation"),
        ({"perspective": 1.5}, "perspective"),
        ({"contrast": (float("nan"), 200.0)}, "contrast"),
    ],
)
def test_strengths_out_of_their_limits_are_named(fields: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        Strengths(**fields)


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_are_sound_and_differ(preset: str) -> None:
    assert PRESETS[preset]() == replace(PRESETS[preset]())
    assert [name for name in PRESETS if PRESETS[name]() == PRESETS[preset]()] == [preset]


def test_every_strength_has_its_limits() -> None:
    assert {field.name for field in fields(Strengths)} == set(strengths._LIMITS)
    assert all(low < high for low, high in strengths._LIMITS.values())


@pytest.mark.parametrize("span", [(1.0, 4.0), (1.0, 3.7), (2.5, 2.9), (3.0, 3.0)])
def test_whole_numbers_stay_within_their_range(span: tuple[float, float]) -> None:
    drawn = [strengths.whole(span, i / 1000) for i in range(1000)]
    assert (min(drawn), max(drawn)) == (int(span[0]), int(span[1]))
