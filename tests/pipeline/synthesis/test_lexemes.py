"""pipeline.synthesis.lexemes: each maker's strings have the forms that it promises, and all of them."""

import re
import string
from collections import Counter
from collections.abc import Callable
from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.synthesis import lexemes

FORMS: dict[str, tuple[str, ...]] = {
    "numbers": (
        r"\d{1,7}",
        r"(19|20)\d\d",
        r"\d{1,3}(,\d{3})+",
        r"\d+\.\d\d?",
        r"\d+(%|th|st|nd|rd|k?m|[cm]m|kg|g|ml|oz|ft|in|[pa]m|/7|x|\+|°C?|p|c|k|V|W|GB|hp)",
        r"\d{1,2}/\d{1,2}",
        r"#\d+",
        r"\d{1,2}-\d{1,2}",
    ),
    "prices": (
        r"\d{1,4}",
        r"(US\$|[$£€¥])\d{1,4}",
        r"\d{1,4}\.\d\d",
        r"(US\$|[$£€¥])\d{1,4}\.\d\d",
        r"\d{1,4},\d\d(US\$|[$£€¥])",
        r"\d{1,2}¢",
    ),
    "dates_and_times": (
        r"\d\d/\d\d/\d{4}",
        r"\d{4}-\d\d-\d\d",
        r"\d{1,2}\.\d{1,2}\.\d\d",
        r"\d{1,2}/\d{1,2}",
        r"[A-Z][a-z]{2}-\d\d",
        r"\d{1,2}:\d\d",
        r"\d{1,2}:\d\d([ap]m|[AP]M)",
        r"\d{1,2}([ap]m|[AP]M)",
        r"\d{1,2}([ap]m|[AP]M)-\d{1,2}\1",
    ),
    "phones": (
        r"\d{3}-\d{4}",
        r"\d{3}-\d{3}-\d{4}",
        r"\(\d{3}\)\d{3}-\d{4}",
        r"0\d{7}",
        r"\+\d{1,2}",
        r"\d{3}\.\d{3}\.\d{4}",
        r"1-800-\d{3}-\d{4}",
        r"\d{4}",
    ),
    "codes": (
        r"[A-Z]{1,3}\d{1,4}",
        r"[A-Z]{1,3}-\d{1,4}",
        r"\d{1,4}[A-Z]{1,2}",
        r"[A-Z]{2}\d{1,2}[A-Z]{3}",
        r"\d{1,4}-[A-Z]{2}",
    ),
}
ADDRESSES = (
    r"www\.[a-z]+(\.[a-z]+)+",
    r"[a-z]+(\.[a-z]+)+",
    r"[a-z]+@[a-z]+(\.[a-z]+)+",
    r"(info|sales|mail|contact)@[a-z]+(\.[a-z]+)+",
    r"http://[a-z]+(\.[a-z]+)+",
    r"@[a-z]+",
    r"[a-z]+(\.[a-z]+)+/[a-z]+",
    r"@[a-z]+_[a-z]+\d{1,2}",
    r"#[a-z]+",
    r"[a-z]+\.[a-z]+\d@[a-z]+(\.[a-z]+)+",
)
WORDS = ["Exit", "open", "SHOP", "a", "quay", "Zoo"] * 400


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.Philox(seed))


def assert_forms(texts: list[str], forms: tuple[str, ...]) -> None:
    """Every text has one of the forms, and every form is met."""
    assert not [text for text in texts if not any(re.fullmatch(form, text) for form in forms)]
    assert not [form for form in forms if not any(re.fullmatch(form, text) for text in texts)]


@pytest.mark.parametrize("kind", lexemes.MAKERS)
def test_a_maker_gives_its_forms_and_no_other(kind: str) -> None:
    assert_forms(lexemes.MAKERS[kind](generator(), 5_000), FORMS[kind])


@pytest.mark.parametrize("kind", lexemes.MAKERS)
def test_a_maker_gives_as_many_as_it_is_asked_for_and_the_same_for_the_same_state(kind: str) -> None:
    make = lexemes.MAKERS[kind]
    for count in (0, 1, 50):
        assert len(make(generator(), count)) == count
    assert make(generator(), 50) == make(generator(), 50) != make(generator(1), 50)


def test_short_numbers_are_the_most() -> None:
    digits = Counter(sum(map(str.isdigit, text)) for text in lexemes.numbers(generator(), 5_000))
    assert sum(digits[n] for n in (1, 2, 3, 4)) > 0.75 * 5_000
    assert min(digits[n] for n in (1, 2, 3, 4, 5)) > 0


def test_dates_are_days_that_exist_and_times_are_on_the_clock() -> None:
    texts = lexemes.dates_and_times(generator(), 5_000)
    for text in texts:
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
            assert 1950 <= date.fromisoformat(text).year < 2040
        elif time := re.fullmatch(r"(\d+):(\d\d)(\w*)", text):
            assert int(time[1]) < 24
            assert int(time[2]) < 60
            assert not time[3] or 1 <= int(time[1]) <= 12


def test_addresses_have_their_forms_and_hold_their_words_in_small_letters() -> None:
    texts = lexemes.addresses(generator(), WORDS)
    assert len(texts) == len(WORDS) // 2
    assert_forms(texts, ADDRESSES)
    for text, first, second in zip(texts, WORDS[::2], WORDS[1::2], strict=True):
        assert first.lower() in text
        assert not re.search(r"[#_]", text) or second.lower() in text


def test_an_odd_word_without_a_partner_makes_no_address() -> None:
    assert len(lexemes.addresses(generator(), ["a", "b", "c"])) == 1


@given(st.lists(st.text(string.ascii_letters, min_size=1, max_size=20), max_size=20), st.integers(0, 99))
def test_what_is_cut_is_a_shorter_part_of_its_word(words: list[str], seed: int) -> None:
    parts = lexemes.cut(generator(seed), words)
    assert len(parts) == len(words)
    for part, word in zip(parts, words, strict=True):
        assert part in word
        assert len(word) // 2 - 1 <= len(part) < len(word)


def test_words_are_cut_at_the_beginning_at_the_end_and_at_both() -> None:
    parts = lexemes.cut(generator(), ["abcdefgh"] * 500)
    assert {(part[0] == "a", part[-1] == "h") for part in parts} == {
        (False, True),
        (True, False),
        (False, False),
    }


def test_punctuation_stands_before_behind_around_or_between_words() -> None:
    texts = lexemes.punctuated(generator(), ["left", "right"] * 2_000)
    for text, word in zip(texts, ["left", "right"] * 2_000, strict=True):
        assert word in text
        assert text != word
    other = {"left": "right", "right": "left"}
    places = Counter(
        "between" if other[word] in text else (not text.startswith(word), not text.endswith(word))
        for text, word in zip(texts, ["left", "right"] * 2_000, strict=True)
    )
    assert set(places) == {"between", (True, False), (False, True), (True, True)}
    assert places[False, True] > 0.5 * len(texts)
    assert set("".join(texts)) >= set(string.punctuation) - set("`")


@given(
    st.lists(st.characters(min_codepoint=33, max_codepoint=0x24F), min_size=1, unique=True),
    st.integers(1, 12),
    st.integers(0, 99),
)
def test_chance_strings_hold_the_given_characters_and_are_no_longer_than_allowed(
    characters: list[str], longest: int, seed: int
) -> None:
    texts = lexemes.chance(generator(seed), 40, characters, longest)
    assert len(texts) == 40
    assert set("".join(texts)) <= set(characters)
    assert all(1 <= len(text) <= longest for text in texts)


def test_every_character_is_reached_by_chance_and_short_strings_are_the_most() -> None:
    texts = lexemes.chance(generator(), 5_000, string.printable[:94], 8)
    assert set("".join(texts)) == set(string.printable[:94])
    lengths = Counter(map(len, texts))
    assert [length for length, _ in lengths.most_common()] == list(range(1, 9))


@pytest.mark.parametrize("make", [lexemes.cut, lexemes.punctuated, lexemes.addresses])
def test_no_words_make_nothing(make: Callable[[np.random.Generator, list[str]], list[str]]) -> None:
    assert make(generator(), []) == []
