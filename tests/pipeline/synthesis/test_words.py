"""pipeline.synthesis.words: what is drawn from known tables, and how often."""

import string
from collections import Counter
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.split import Split, split_of
from pipeline.synthesis.word_tables import WordTable, words_arrow
from pipeline.synthesis.words import KINDS, Words, WordsConfig

PRINTABLE = "".join(map(chr, range(33, 127)))


@pytest.fixture(scope="module")
def assets(tiny_assets: str) -> Assets:
    return Assets.open(tiny_assets)


def listing(assets: Assets, **tables: Mapping[str, float]) -> Assets:
    """The assets with these tables of words and weights instead of their own."""
    made = {
        name: WordTable(source="here", weights=weights, read=len(weights), rejected={})
        for name, weights in tables.items()
    }
    return replace(assets, words=pa.ipc.open_file(pa.py_buffer(words_arrow(made))).read_all())


def alone(kind: str, **values: Any) -> WordsConfig:
    """A mixture of one kind."""
    return WordsConfig(**(dict.fromkeys(KINDS, 0.0) | {kind: 1.0} | values))


def draw(words: Words, count: int, seed: int = 0) -> list[str]:
    return words.sample(np.random.Generator(np.random.Philox(seed)), count)


def trained(*words: str) -> dict[str, float]:
    """Those of the words that are for training, all alike."""
    return {word: 1.0 for word in words if split_of(word) == "train"}


def made_up(count: int, seed: int, length: int = 6) -> list[str]:
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(list(string.ascii_lowercase), length)) for _ in range(count)]


def near(count: int, total: int, share: float) -> bool:
    """Within five standard deviations of what chance gives."""
    return bool(abs(count - total * share) <= 5 * (total * share * (1 - share)) ** 0.5 + 1e-9)


@settings(max_examples=3, deadline=None)
@given(seed=st.integers(0, 2**32), upper=st.floats(0, 0.5), longest=st.integers(1, 25))
def test_no_string_of_one_split_is_ever_one_of_the_other_in_any_case(
    tiny_assets: str, seed: int, upper: float, longest: int
) -> None:
    assets, config = Assets.open(tiny_assets), WordsConfig(upper=upper, longest=longest)
    splits: tuple[Split, ...] = ("train", "validation")
    drawn = {split: draw(Words(assets, config, split), 200, seed) for split in splits}
    for split, texts in drawn.items():
        assert {split_of(text) for text in texts} == {split}
        assert max(map(len, texts)) <= longest
        assert min(map(len, texts)) >= 1
    assert not {t.casefold() for t in drawn["train"]} & {t.casefold() for t in drawn["validation"]}


def test_the_same_state_of_the_generator_gives_the_same_strings_and_another_others(assets: Assets) -> None:
    first, second = (Words(assets, WordsConfig(), "train") for _ in range(2))
    assert draw(first, 500) == draw(second, 500) == draw(first, 500)
    assert draw(first, 500) != draw(first, 500, seed=1)


def test_every_printable_character_is_reached_and_nothing_else(assets: Assets) -> None:
    assert set(assets.characters) == set(PRINTABLE)
    assert set("".join(draw(Words(assets, WordsConfig(), "train"), 50_000))) == set(PRINTABLE)


def test_lengths_lean_to_four_to_six_with_short_strings_and_a_tail(assets: Assets) -> None:
    lengths = Counter(map(len, draw(Words(assets, WordsConfig(), "train"), 30_000)))
    assert {length for length, _ in lengths.most_common(3)} <= {3, 4, 5, 6}
    assert lengths.most_common(1)[0][0] in (4, 5, 6)
    assert sum(lengths[length] for length in (1, 2, 3)) > 0.12 * 30_000
    assert 0.0005 * 30_000 < sum(n for length, n in lengths.items() if length > 15) < 0.1 * 30_000


def test_a_tables_many_long_words_are_drawn_no_more_often_than_lengths_allow(assets: Assets) -> None:
    long, short = made_up(3_000, 1, length=12), made_up(300, 2, length=5)
    words = Words(listing(assets, dictionary=trained(*long, *short)), alone("dictionary"), "train")
    drawn = Counter(map(len, draw(words, 20_000)))
    assert near(drawn[5], 20_000, 15 / (15 + 2.1))  # the wanted weights of lengths 5 and 12


def test_words_of_a_length_keep_the_ratio_of_their_weights(assets: Assets) -> None:
    plain = trained(*made_up(80, 3))
    first, second = list(plain)[:2]
    words = Words(listing(assets, frequent=plain | {first: 30.0, second: 10.0}), alone("frequent"), "train")
    drawn = Counter(text.lower() for text in draw(words, 20_000))
    assert near(drawn[first], drawn[first] + drawn[second], 0.75)


def test_syllables_keep_their_lengths_and_their_share_beside_latin_words(assets: Assets) -> None:
    korean = {chr(0xAC00 + 7 * i) + chr(0xAC00 + 11 * i): 1.0 for i in range(400)}
    latin = dict.fromkeys(made_up(200, 3, 5) + made_up(200, 4, 12), 1.0)
    everything = "".join(sorted({*"".join(korean), *string.ascii_letters}))
    changed = replace(listing(assets, frequent=korean | latin), characters=everything)
    drawn = Counter(len(text) for text in draw(Words(changed, alone("frequent"), "train"), 20_000))
    there = Counter(map(split_of, [*korean, *latin]))["train"]
    share = sum(split_of(word) == "train" for word in korean) / there
    assert near(drawn[2], 20_000, share)
    assert drawn[5] > 5 * drawn[12] > 0


def test_cases_are_mixed_as_the_config_says(assets: Assets) -> None:
    words = Words(listing(assets, frequent=trained(*made_up(500, 4, 8))), alone("frequent"), "train")
    texts = draw(words, 20_000)
    config = WordsConfig()
    assert near(sum(text.isupper() for text in texts), 20_000, config.upper)
    assert near(sum(text.istitle() for text in texts), 20_000, config.capitalised)
    rest = 1 - config.upper - config.capitalised - config.mixed
    assert near(sum(text.islower() for text in texts), 20_000, rest)
    assert sum(not (t.isupper() or t.istitle() or t.islower()) for t in texts) > 0.01 * 20_000


@pytest.mark.parametrize("kind", ["names", "dictionary"])
def test_capitals_of_a_lists_own_are_kept_where_no_case_is_drawn(assets: Assets, kind: str) -> None:
    listed = trained("McDonald", "O'Brien", "NATO", "Paris", "paper")
    words = Words(listing(assets, **{kind: listed}), alone(kind, upper=0, capitalised=0, mixed=0), "train")
    assert set(draw(words, 500)) == set(listed)


def test_names_are_written_in_small_letters_where_there_are_no_capitals(assets: Assets) -> None:
    config = alone("names", characters=string.ascii_lowercase, upper=0, capitalised=0, mixed=0)
    words = Words(listing(assets, names=trained("Paris", "McDonald", "O'Brien")), config, "train")
    assert set(draw(words, 200)) == {"paris", "mcdonald"}
    assert words.filtered == {"names": {"read": 3, "kept": 2, "filtered": 1}}


def test_a_users_own_list_is_drawn_by_its_weights_as_it_stands(assets: Assets) -> None:
    own = {word: 10.0**-i for i, word in enumerate(trained("eXit", "Open24h", "shop", "x", "LONGISHWORD"))}
    words = Words(listing(assets, own=own, frequent=trained(*made_up(50, 5))), alone("own"), "train")
    drawn = Counter(draw(words, 30_000))
    assert set(drawn) <= set(own)
    for word, weight in own.items():
        assert near(drawn[word], 30_000, weight / sum(own.values()))


def test_a_users_words_that_need_other_characters_as_they_stand_are_left_out_and_counted(
    assets: Assets,
) -> None:
    own = trained("exit", "EXIT", "Open", "shop")
    words = Words(listing(assets, own=own), alone("own", characters=string.ascii_lowercase), "train")
    assert set(draw(words, 300)) == {"exit", "shop"}
    assert words.filtered == {"own": {"read": 4, "kept": 2, "filtered": 2}}


def test_words_outside_the_wanted_characters_and_lengths_are_counted(assets: Assets) -> None:
    listed = trained("abba", "cab", "zebra", "Bad", "abcabcabcabc")
    words = Words(
        listing(assets, dictionary=listed), alone("dictionary", characters="abcd", longest=6), "train"
    )
    assert words.filtered == {"dictionary": {"read": 5, "kept": 3, "filtered": 2}}
    assert set(draw(words, 300)) == {"abba", "cab", "bad"}


@settings(max_examples=5, deadline=None)
@given(st.sets(st.sampled_from(PRINTABLE), min_size=3))
def test_any_set_of_characters_gives_strings_of_these_alone(tiny_assets: str, characters: set[str]) -> None:
    config = WordsConfig(characters="".join(sorted(characters)))
    words = Words(Assets.open(tiny_assets), config, "validation")
    assert set("".join(draw(words, 100))) <= characters
    assert sum(words.shares.values()) == pytest.approx(1)
    assert all(told["read"] == told["kept"] + told["filtered"] for told in words.filtered.values())


def test_kinds_that_can_not_be_given_leave_their_share_to_the_others_in_proportion(assets: Assets) -> None:
    shares = Words(assets, WordsConfig(characters=string.digits), "train").shares
    assert {"numbers", "random_characters"} <= set(shares)
    assert not {"frequent", "dictionary", "names", "addresses", "own"} & set(shares)
    config = WordsConfig()
    assert shares["numbers"] / shares["phones"] == pytest.approx(config.numbers / config.phones)


def test_a_missing_character_is_named(assets: Assets) -> None:
    with pytest.raises(ConfigError, match=r"no glyphs for \['é', '한'\]"):
        Words(assets, WordsConfig(characters="abcé한"), "train")


def test_an_own_list_without_usable_words_and_nothing_else_is_an_error(assets: Assets) -> None:
    with pytest.raises(ConfigError, match=r"Nothing of the train words .*--words"):
        Words(listing(assets, own=trained("EXIT")), alone("own", characters="abc"), "train")


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"numbers": -0.1}, "shares of the kinds"),
        ({"upper": 0.8, "capitalised": 0.3}, "at most 1"),
        ({"mixed": -0.1}, "at most 1"),
        ({"longest": 0}, "1 to 64"),
        ({"longest": 65}, "1 to 64"),
    ],
)
def test_values_that_can_not_work_are_refused(values: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        WordsConfig(**values)


def test_a_mixture_of_nothing_is_refused() -> None:
    nothing: dict[str, Any] = dict.fromkeys(KINDS, 0.0)
    with pytest.raises(ConfigError, match="not all 0"):
        WordsConfig(**nothing)


def test_each_kind_has_a_share_in_the_config() -> None:
    assert set(KINDS) <= {field.name for field in fields(WordsConfig)}
