"""Charset: round trips, policies, refusals."""

import itertools
import string

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from crnn.charset import ALNUM36, ALNUM36_DROP, BLANK, CHARSETS, LATIN94, Charset
from crnn.errors import CharsetError


@given(st.text(alphabet=LATIN94.characters))
def test_encoding_then_decoding_gives_the_text_back(text: str) -> None:
    assert LATIN94.decode(LATIN94.encode(text)) == text


@given(st.text(alphabet=string.ascii_letters + string.digits))
def test_folding_case_encodes_both_cases_alike(text: str) -> None:
    assert ALNUM36.encode(text) == ALNUM36.encode(text.upper()) == ALNUM36.encode(text.lower())


@given(st.text(max_size=20))
def test_normalising_twice_changes_nothing_more(text: str) -> None:
    once = ALNUM36.normalize(text)
    assert ALNUM36.normalize(once) == once


@given(st.text(max_size=20))
def test_a_text_is_either_encoded_or_its_unsupported_characters_are_named(text: str) -> None:
    outside = LATIN94.unsupported(text)
    if outside:
        with pytest.raises(CharsetError, match="outside this charset"):
            LATIN94.encode(text)
    else:
        assert len(LATIN94.encode(text)) == len(LATIN94.normalize(text))


def test_no_character_has_the_index_of_the_blank() -> None:
    for charset in CHARSETS.values():
        indices = charset.encode(charset.characters)
        assert indices == list(range(1, charset.num_classes))
        assert BLANK not in indices


def test_the_field_s_sizes_hold() -> None:
    assert (ALNUM36.num_classes, LATIN94.num_classes) == (37, 95)


def test_composed_and_decomposed_accents_are_one_class() -> None:
    charset = Charset(characters="ae\u0301".replace("e\u0301", "\u00e9"))
    assert charset.encode("e\u0301") == charset.encode("\u00e9") == [2]


@pytest.mark.parametrize(
    ("characters", "fold_case", "message"),
    [
        ("", False, "at least one"),
        ("aba", False, "more than once"),
        ("aA", True, "changes"),
        ("e\u0301", False, None),
        ("\u212b", False, "changes"),
    ],
)
def test_charsets_that_can_not_work_are_refused(
    characters: str, fold_case: bool, message: str | None
) -> None:
    if message is None:  # a base letter and a lone combining mark are two usable classes
        assert Charset(characters=characters).num_classes == 3
        return
    with pytest.raises(CharsetError, match=message):
        Charset(characters=characters, fold_case=fold_case)


@given(st.text())
@example("\u210cello")
@example("\u33b9")
@example("\u0130")
def test_the_normal_form_of_a_normal_form_is_itself(text: str) -> None:
    for fold_case, form in itertools.product((True, False), ("NFC", "NFKC")):
        charset = Charset(characters="a", fold_case=fold_case, unicode_form=form)
        once = charset.normalize(text)
        assert charset.normalize(once) == once


def test_the_fingerprint_tells_order_and_policy_apart() -> None:
    variants = [
        Charset(characters="ab"),
        Charset(characters="ba"),
        Charset(characters="ab", fold_case=True),
        Charset(characters="ab", unicode_form="NFKC"),
    ]
    assert len({v.fingerprint for v in variants}) == len(variants)
    assert Charset(**LATIN94.to_dict()) == LATIN94  # type: ignore[arg-type]


def test_the_classes_of_a_text_as_it_stands_are_those_it_was_decoded_from() -> None:
    marks = Charset(characters="e\u0301é")
    for classes in ([1, 2], [3], [2, 1, 3, 1, 2]):
        assert marks.classes(marks.decode(classes)) == tuple(classes)
    assert marks.encode(marks.decode([1, 2])) == [3]  # one text to a reader


@given(st.text(max_size=20))
def test_a_charset_that_drops_others_encodes_any_text_as_what_is_left(text: str) -> None:
    left = ALNUM36_DROP.normalize(text)
    assert left == "".join(c for c in ALNUM36.normalize(text) if c in ALNUM36.characters)
    assert ALNUM36_DROP.normalize(left) == left
    assert not ALNUM36_DROP.unsupported(text)
    assert ALNUM36_DROP.decode(ALNUM36_DROP.encode(text)) == left


@given(st.text(alphabet="eE\u0301-aΑΣσςİiI\u0307", max_size=8))
def test_what_others_leave_behind_is_normalised_for_good(text: str) -> None:
    charset = Charset(characters="eé\u0301ασςi", fold_case=True, drop_others=True)
    once = charset.normalize(text)
    assert charset.normalize(once) == once
    assert charset.decode(charset.encode(text)) == once


def test_signs_may_be_dropped_from_a_word_and_letters_make_it_another() -> None:
    assert [ALNUM36_DROP.foreign(word) for word in ("don't", "café", "Ωmega?")] == ["", "é", "ω"]
    assert ALNUM36.foreign("don't") == "'"


def test_a_charset_that_drops_others_is_another_and_comes_back_from_its_file() -> None:
    assert ALNUM36_DROP.encode("DON'T!") == ALNUM36.encode("dont")
    assert Charset(**ALNUM36_DROP.to_dict()) == ALNUM36_DROP  # type: ignore[arg-type]  # as files have it
    assert ALNUM36_DROP.fingerprint != ALNUM36.fingerprint
    assert "drop_others" not in ALNUM36.to_dict()
