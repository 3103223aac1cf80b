"""How likely whole words are: frequencies, capitals, punctuation, and what is no word."""

import math
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.vocabulary import NAMES, Vocabulary

WORDS = {"museum": 3.0, "Paris": 1.0, "paris": 1.0, "a": 4.0, "it's": 1.0, "7up": 2.0}


def chance(text: str, vocabulary: Vocabulary | None = None) -> float:
    (found,) = (vocabulary or Vocabulary(WORDS, LATIN94)).log_probs([text])
    return math.exp(found)


def test_probabilities_by_hand() -> None:
    third, anyhow = 3 / 12, 0.02 / 2**6
    assert chance("museum") == pytest.approx(third * (0.26 + anyhow), rel=0.01)
    assert chance("MUSEUM") == pytest.approx(third * (0.46 + anyhow), rel=0.01)
    assert chance("Museum") == pytest.approx(third * (0.26 + anyhow), rel=0.01)
    assert chance("mUSEUM") == pytest.approx(third * anyhow, rel=0.01)
    assert chance("MUSEUM!") == pytest.approx(0.01 * chance("MUSEUM"))
    assert chance("(museum)") == pytest.approx(1e-4 * chance("museum"))
    assert chance("PARIS") == pytest.approx(2 / 12 * (0.46 + 0.02 / 2**5), rel=0.01)
    assert chance("It's") == pytest.approx(1 / 12 * (0.26 + 0.02 / 2**3), rel=0.01)
    assert chance("7up") == pytest.approx(2 / 12 * (0.26 + 0.26 + 0.02 / 2**2), rel=0.01)


@pytest.mark.parametrize("text", ["", "!", "mjseum", "museums", "museu", "mus eum", "m" * 500, "é"])
def test_what_is_no_word_is_impossible(text: str) -> None:
    assert chance(text) == 0


def test_all_manners_of_writing_a_word_add_up_to_its_frequency() -> None:
    manners = {"".join(letters) for letters in product("aA", "bB", "cC")}
    vocabulary = Vocabulary({"abc": 1.0}, LATIN94)
    assert sum(chance(text, vocabulary) for text in manners) == pytest.approx(1.0, rel=0.01)
    folded = Vocabulary({"ABC": 1.0, "abc": 3.0, "b": 4.0}, ALNUM36)
    assert chance("abc", folded) == pytest.approx(0.5, rel=0.01)


def test_a_script_without_capitals_has_one_manner() -> None:
    hangul = Vocabulary({"가게": 1.0, "서울": 1.0, "paris": 2.0}, Charset(characters="가게서울!"))
    assert len(hangul) == 2
    assert chance("서울", hangul) == pytest.approx(0.5, rel=0.01)
    assert chance("서울!", hangul) == pytest.approx(0.005, rel=0.01)


def test_vowel_signs_belong_to_their_word() -> None:
    signs = Vocabulary({"कि": 1.0, "की": 2.0}, Charset(characters="क\u093f\u0940\u0941!"))
    assert len(signs) == 2
    assert chance("की!", signs) == pytest.approx(0.01 * 2 / 3, rel=0.01)
    assert chance("क", signs) == chance("कु", signs) == 0


def test_words_are_known_in_the_form_in_which_texts_are_written() -> None:
    cafe = Vocabulary({"cafe\u0301": 1.0}, Charset(characters="caf\u00e9"))
    assert chance("caf\u00e9", cafe) > 0.1


def test_frequencies_of_the_widest_range_are_taken() -> None:
    for words in ({"a": 5e-324, "b": 1e10}, {"a": 1e308, "b": 1e308}):
        found = Vocabulary(words, LATIN94).log_probs(["a", "b"])
        assert np.isfinite(found).all()
        assert found[1] > -3


def test_what_no_line_of_a_file_can_hold_is_no_word() -> None:
    charset = Charset(characters="ab\n\0")
    vocabulary = Vocabulary({"a\nb": 1.0, "b\0a": 1.0, "ab": 1.0}, charset)
    assert len(vocabulary) == len(Vocabulary.from_arrays(vocabulary.to_arrays(), charset)) == 1


@given(st.dictionaries(st.text("abAB-", min_size=1, max_size=5), st.floats(1e-6, 1e6), min_size=1))
def test_frequencies_of_any_scale_and_a_way_to_a_file_and_back_change_nothing(
    words: dict[str, float],
) -> None:
    if not any(word.strip("-") for word in words):
        words["a"] = 1.0
    one = Vocabulary(words, LATIN94)
    other = Vocabulary({word: frequency * 1e-3 for word, frequency in words.items()}, LATIN94)
    again = Vocabulary.from_arrays(one.to_arrays(), LATIN94)
    texts = ["".join(letters) for n in range(4) for letters in product("abA-", repeat=n)]
    assert np.allclose(one.log_probs(texts), other.log_probs(texts), atol=0.02)
    assert np.array_equal(one.log_probs(texts), again.log_probs(texts))
    assert len(one) == len(again) == len({word.strip("-").lower() for word in words} - {""})


@pytest.mark.parametrize("frequency", [0.0, -1.0, math.nan, math.inf])
def test_frequencies_that_can_not_be_are_refused(frequency: float) -> None:
    with pytest.raises(ValueError, match="finite and above 0"):
        Vocabulary({"a": frequency}, LATIN94)


@pytest.mark.parametrize("words", [{}, {"é": 1.0}, {"--": 1.0}])
def test_without_a_word_there_is_none(words: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="one word at least"):
        Vocabulary(words, LATIN94)


@pytest.mark.parametrize(
    "change",
    [
        {"words": np.frombuffer(b"b\na\n", np.uint8)},
        {"words": np.frombuffer(b"a\na\n", np.uint8)},
        {"words": np.frombuffer(b"a\nb", np.uint8)},
        {"words": np.frombuffer(b"a\n", np.uint8)},
        {"words": np.frombuffer(b"a\n\n", np.uint8)},
        {"words": np.zeros(4, np.int64)},
        {"word_log_probs": np.array([-1.0, 0.5], np.float16)},
        {"word_log_probs": np.array([-1.0, -np.inf], np.float16)},
        {"word_log_probs": np.array([-1.0, -1.0])},
        {"more": np.zeros(1)},
    ],
    ids=str,
)
def test_arrays_that_are_no_vocabulary_are_refused(change: dict[str, Any]) -> None:
    arrays = Vocabulary({"a": 1.0, "b": 1.0}, LATIN94).to_arrays()
    assert tuple(arrays) == NAMES
    with pytest.raises(ValueError, match="vocabulary"):
        Vocabulary.from_arrays(arrays | change, LATIN94)
