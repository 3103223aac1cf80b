import pytest

from pipeline.synthesis.effects import BIT, EFFECTS, effect_names


def test_each_effect_has_a_bit_of_its_own_that_fits_the_column() -> None:
    assert sorted(BIT.values()) == [1 << i for i in range(len(EFFECTS))]
    assert len(EFFECTS) < 63


@pytest.mark.parametrize("names", [[], ["spacing"], ["light_on_dark"], list(EFFECTS)])
def test_a_mask_names_the_effects_it_was_made_of(names: list[str]) -> None:
    assert effect_names(sum(BIT[name] for name in names)) == names


def test_bits_stay_what_shards_already_written_say() -> None:
    assert EFFECTS[:8] == (
        "spacing",
        "small_caps",
        "jitter",
        "neighbour",
        "weight",
        "border",
        "shadow",
        "extrusion",
    )
    assert (BIT["curve"], BIT["jpeg_twice"], BIT["light_on_dark"]) == (1 << 15, 1 << 33, 1 << 34)
