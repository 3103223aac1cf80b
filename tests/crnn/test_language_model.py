import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.beam import Prior, prefix_beam_search
from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.decode import best_path
from crnn.language_model import CharacterModel
from crnn.scores import ScoreTable

AB = Charset(characters="ab")


@settings(deadline=None)
@given(
    st.lists(st.text(alphabet="abc", max_size=5), max_size=8),
    st.integers(1, 4),
    st.lists(st.integers(1, 2), max_size=6),
)
def test_what_may_follow_any_prefix_adds_up_to_1_and_nothing_is_impossible(
    words: list[str], order: int, prefix: list[int]
) -> None:
    (scores,) = CharacterModel(words, AB, order=order).next_scores([tuple(prefix)])
    assert np.exp(scores).sum() == pytest.approx(1.0)
    assert np.isfinite(scores).all()


def test_probabilities_of_all_words_add_up_to_1() -> None:
    model = CharacterModel(["ab", "abb", "b"], AB, order=3)
    words = ("".join(w) for n in range(11) for w in product("ab", repeat=n))
    assert sum(math.exp(model.log_prob(w)) for w in words) == pytest.approx(1.0, abs=1e-3)


def test_probabilities_by_hand() -> None:
    model = CharacterModel(["ab", "ac"], AB, order=2)  # "ac" is outside of the charset
    first, after_a = np.exp(model.next_scores([(), (1,)]))
    # Seen with no context: a, b, end, once each; 3 kinds; mixed with 1/3 each.
    assert first == pytest.approx([1 / 3, 1 / 3, 1 / 3])
    assert after_a == pytest.approx([(0 + 1 / 3) / 2, (0 + 1 / 3) / 2, (1 + 1 / 3) / 2])


def test_frequent_words_weigh_more() -> None:
    model = CharacterModel(["a", "b"], AB, counts={"a": 9.0})
    assert model.log_prob("a") > model.log_prob("b")


def test_frequencies_say_the_same_as_counts() -> None:
    words = {"a": 1.0, "ab": 900.0, "bb": 40.0}
    counted = CharacterModel(words, AB, counts=words)
    frequent = CharacterModel(words, AB, counts={word: count * 1e-7 for word, count in words.items()})
    for text in ("a", "ab", "bb", "ba"):
        assert frequent.log_prob(text) == pytest.approx(counted.log_prob(text))
    assert frequent.log_prob("ab") > frequent.log_prob("ba") + 3  # not as good as uniform


def test_words_that_are_never_written_are_passed_over() -> None:
    model = CharacterModel(["ab", "b"], AB, counts={"ab": 0.0, "b": 2.0})
    assert model.log_prob("ab") == CharacterModel(["b"], AB, counts={"b": 2.0}).log_prob("ab")
    none = CharacterModel(["ab"], AB, counts={"ab": 0.0})
    assert np.isfinite(none.next_scores([()])).all()
    signs = replace(AB, drop_others=True)
    left = CharacterModel(["?!", "b?", "café"], signs)
    assert left.log_prob("b") == CharacterModel(["b"], signs).log_prob("b")


@pytest.mark.parametrize("count", [-1.0, math.nan, math.inf])
def test_counts_that_are_none_are_refused(count: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        CharacterModel(["ab"], AB, counts={"ab": count})


def test_words_of_the_list_are_likelier_than_their_letters_in_disorder() -> None:
    model = CharacterModel(["street", "station", "hotel", "house", "market"], ALNUM36)
    assert model.log_prob("hotel") > model.log_prob("htleo") + 3


@pytest.mark.parametrize("order", [0, 65])
def test_an_order_that_can_not_be_is_refused(order: int) -> None:
    with pytest.raises(ValueError, match="order"):
        CharacterModel([], AB, order=order)


WORDS = ["street", "station", "stop", "hotel", "house", "house", "market", "Main", "12:30"]


def all_scores(model: CharacterModel, words: list[str]) -> np.ndarray:
    prefixes = {tuple(model.charset.encode(word)[:n]) for word in words for n in range(len(word) + 1)}
    return model.next_scores(sorted(prefixes))


@pytest.mark.parametrize("order", [1, 2, 5])
def test_it_comes_back_from_its_arrays_to_three_digits_and_then_exactly(order: int) -> None:
    model = CharacterModel(WORDS, LATIN94, order=order)
    back = CharacterModel.from_arrays(model.to_arrays(), LATIN94)
    assert back.order == order
    assert np.allclose(all_scores(back, WORDS), all_scores(model, WORDS), atol=2e-3)
    again = CharacterModel.from_arrays(back.to_arrays(), LATIN94)
    assert np.array_equal(all_scores(again, WORDS), all_scores(back, WORDS))


def test_arrays_depend_on_what_was_learnt_and_not_on_its_order() -> None:
    one, other = (CharacterModel(words, LATIN94).to_arrays() for words in (WORDS, WORDS[::-1]))
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_more_classes_than_a_byte_holds_come_back_too() -> None:
    hangul = Charset(characters="".join(chr(code) for code in range(0xAC00, 0xAC00 + 400)))
    words = [hangul.characters[i : i + 3] for i in (0, 150, 390)]
    model = CharacterModel(words, hangul)
    back = CharacterModel.from_arrays(model.to_arrays(), hangul)
    assert np.allclose(all_scores(back, words), all_scores(model, words), atol=2e-3)


def broken(arrays: dict[str, np.ndarray], name: str, value: object) -> dict[str, np.ndarray]:
    return arrays | {name: np.asarray(value, arrays[name].dtype)}


def test_arrays_of_something_else_are_refused() -> None:
    arrays = CharacterModel(["ab", "b"], AB, order=2).to_arrays()
    with pytest.raises(ValueError, match="An n-gram is lengths"):
        CharacterModel.from_arrays({"codes": arrays["codes"]}, AB)
    for name, value in (
        ("kinds", arrays["kinds"][:-1]),
        ("codes", arrays["codes"][:-1]),
        ("lengths", [9, 9, 9]),
    ):
        with pytest.raises(ValueError, match="don't fit each other"):
            CharacterModel.from_arrays(broken(arrays, name, value), AB)
    with pytest.raises(ValueError, match="can't be counts"):
        CharacterModel.from_arrays(broken(arrays, "log_counts", arrays["log_counts"] * np.nan), AB)
    flat = arrays | {"contexts": arrays["contexts"].ravel()}
    signed = arrays | {"codes": arrays["codes"].astype(np.int64)}
    deep = arrays | {"codes": arrays["codes"][:, None]}
    empty = broken(arrays, "kinds", [0, *arrays["kinds"][1:-1], arrays["kinds"][0] + arrays["kinds"][-1]])
    for odd in (flat, signed, deep, empty):
        with pytest.raises(ValueError, match="don't fit each other"):
            CharacterModel.from_arrays(odd, AB)
    with pytest.raises(ValueError, match="can't be counts"):
        CharacterModel.from_arrays(broken(arrays, "log_counts", arrays["log_counts"] + 700), AB)
    for same in (np.full_like(arrays["contexts"], 1), np.zeros_like(arrays["contexts"])):
        with pytest.raises(ValueError, match="different ones, without blanks"):
            CharacterModel.from_arrays(arrays | {"contexts": same}, AB)
    with pytest.raises(ValueError, match="more classes than the charset's 2"):
        CharacterModel.from_arrays(arrays, Charset(characters="a"))


def test_a_pruned_model_forgets_what_was_rare_and_keeps_single_characters() -> None:
    model = CharacterModel(["abab"] * 9 + ["ba"], AB, order=3)
    pruned = model.pruned(context=5, follower=3)
    rare, often = tuple(AB.encode("ba")), tuple(AB.encode("ab"))
    assert np.allclose(
        pruned.next_scores([often])[:, AB.encode("a")],
        model.next_scores([often])[:, AB.encode("a")],
        atol=0.1,
    )
    sizes = [len(each.to_arrays()["codes"]) for each in (model, pruned)]
    assert sizes[1] < sizes[0]
    assert np.exp(pruned.next_scores([rare])).sum() == pytest.approx(1.0)
    untouched = model.pruned(context=0, follower=0)
    assert np.array_equal(all_scores(untouched, ["abab", "ba"]), all_scores(model, ["abab", "ba"]))
    nothing = model.pruned(context=1e9, follower=0)
    assert np.array_equal(nothing.next_scores([often]), model.pruned(1e9, 1e9).next_scores([often[-1:]]))


def test_fused_into_beam_search_it_decides_between_look_alikes() -> None:
    path = ALNUM36.encode("h0tel")
    log_probs_TV = torch.full((11, ALNUM36.num_classes), -9.0)
    log_probs_TV[::2, 0] = 0.0
    for i, c in enumerate(path):
        log_probs_TV[2 * i + 1, c] = 0.0
    log_probs_TV[3, ALNUM36.encode("o")[0]] = -0.4  # nearly as likely as the zero
    log_probs_TV = log_probs_TV.log_softmax(-1)
    assert best_path(log_probs_TV[None], ALNUM36)[0].text == "h0tel"
    model = CharacterModel(["hotel", "hostel", "motel"], ALNUM36)
    prior = Prior(scores=ScoreTable(model, ALNUM36.num_classes), weight=0.5)
    (found,) = prefix_beam_search([log_probs_TV], ALNUM36, prior=prior, n_best=2)
    assert found.text == "hotel"
    assert found.alternatives[0].text == "h0tel"
