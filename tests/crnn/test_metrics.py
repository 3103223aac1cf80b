import pickle
from functools import reduce
from operator import add

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.metrics import PROTOCOLS, Counts, align, edit_distance
from tests.oracles import recursive_edit_distance

texts = st.text(alphabet="abcé1", max_size=12)


@settings(deadline=None)
@given(texts, texts)
def test_edit_distance_equals_its_recursive_definition(a: str, b: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a) == recursive_edit_distance(a, b)


def test_edit_distance_of_texts_longer_than_a_machine_word() -> None:
    a, b = "ab" * 60, "ba" * 75
    assert edit_distance(a, b) == recursive_edit_distance(a, b)
    assert edit_distance("x" * 500, "") == 500


@settings(deadline=None)
@given(texts, texts)
def test_an_alignment_spells_both_texts_with_as_many_errors_as_their_distance(a: str, b: str) -> None:
    pairs = align(a, b)
    assert "".join(x for x, _ in pairs) == a
    assert "".join(y for _, y in pairs) == b
    assert sum(x != y for x, y in pairs) == edit_distance(a, b)


@settings(deadline=None)
@given(st.lists(st.tuples(texts, texts), max_size=12), st.integers(0, 12))
def test_counts_of_parts_add_up_to_the_counts_of_all(pairs: list[tuple[str, str]], cut: int) -> None:
    whole = Counts.over(pairs)
    parts = Counts.over(pairs[:cut]) + Counts.over(pairs[cut:])
    one_by_one = reduce(add, (Counts.of(*pair) for pair in pairs), Counts())
    for counts in (parts, one_by_one):
        assert (counts.words, counts.correct, counts.characters, counts.edits) == (
            whole.words,
            whole.correct,
            whole.characters,
            whole.edits,
        )
        assert counts.ned_sum == pytest.approx(whole.ned_sum)


def test_scores_of_a_small_set_by_hand() -> None:
    counts = Counts.over([("word", "word"), ("word", "ward"), ("ab", "abcd"), ("", "")])
    assert counts.word_accuracy == 0.5
    assert counts.cer == 3 / 10
    assert counts.ned == pytest.approx((0 + 1 / 4 + 2 / 4 + 0) / 4)
    assert counts.one_minus_ned == pytest.approx(1 - counts.ned)


def test_scores_of_no_words_are_defined_and_never_flatter() -> None:
    assert (Counts().word_accuracy, Counts().cer, Counts().ned, Counts().one_minus_ned) == (0, 0, 0, 0)


@settings(deadline=None)
@given(texts, texts)
def test_ned_stays_between_0_and_1(a: str, b: str) -> None:
    assert 0 <= Counts.of(a, b).ned <= 1


def test_counts_travel_between_processes() -> None:
    counts = Counts.of("a", "b")
    assert pickle.loads(pickle.dumps(counts)) == counts


@pytest.mark.parametrize(
    ("protocol", "normal"),
    [
        ("alnum36", "cafe1abcdk"),
        ("alnum62", "Cafe1ABcdK"),
        ("latin94", "Cafe-1!ABcdK"),
        ("as_is", "Cafe-1! ＡＢ cdK"),
    ],
)
def test_each_protocol_keeps_what_it_says(protocol: str, normal: str) -> None:
    assert PROTOCOLS[protocol].normalize("Cafe-1! ＡＢ cdK") == normal


def test_letters_with_accents_are_dropped_not_mistaken_for_plain_ones() -> None:
    assert PROTOCOLS["alnum36"].normalize("Café") == "caf"
    assert PROTOCOLS["as_is"].normalize("Cafe\u0301") == "Café"


@settings(deadline=None)
@given(st.text(max_size=20), st.sampled_from(sorted(PROTOCOLS)))
def test_normalising_twice_changes_nothing_more(text: str, name: str) -> None:
    once = PROTOCOLS[name].normalize(text)
    assert PROTOCOLS[name].normalize(once) == once
