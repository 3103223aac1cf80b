"""The rows of a language model that searches ask for again and again."""

import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.charset import Charset
from crnn.forward import TextTable
from crnn.language_model import CharacterModel
from crnn.scores import ScoreTable

ABC = Charset(characters="abc")
WORDS = ["abc", "abc", "cab", "bb", "cabbac"]
texts = st.lists(st.lists(st.integers(1, 3), max_size=9), min_size=1, max_size=6)


def walk(table: ScoreTable, text: Sequence[int]) -> np.ndarray:
    """The scores after each prefix of a text."""
    states = [np.zeros(1, np.int64)]
    for code in text:
        states.append(table.advance(states[-1], np.array([code])))
    return table.log_probs_SV[np.concatenate(states)]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), texts)
def test_a_state_s_row_is_what_the_model_says_after_the_prefix(order: int, found: list[list[int]]) -> None:
    model = CharacterModel(WORDS, ABC, order=order)
    table = ScoreTable(model, ABC.num_classes)
    for text in [*found, *found]:
        prefixes = [tuple(text[:i]) for i in range(len(text) + 1)]
        assert np.allclose(walk(table, text), model.next_scores(prefixes), rtol=1e-12)
    contexts = {tuple(text[max(0, i - order + 1) : i]) for text in found for i in range(len(text) + 1)}
    assert len(table._contexts) == len(contexts | {()})


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 5), texts)
def test_a_text_s_score_is_what_the_model_says_of_the_whole_word(order: int, found: list[list[int]]) -> None:
    model = CharacterModel(WORDS, ABC, order=order)
    scores = ScoreTable(model, ABC.num_classes).text_log_probs(TextTable.of([tuple(text) for text in found]))
    assert np.allclose(scores, [model.log_prob(ABC.decode(text)) for text in found], rtol=1e-12)


def test_it_is_full_once_it_holds_as_many_contexts_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnn.scores._MANY", 4)
    table = ScoreTable(CharacterModel(WORDS, ABC), ABC.num_classes)
    walk(table, [1, 2])
    assert not table.is_full
    walk(table, [1, 2, 3])
    assert table.is_full


def test_many_threads_find_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crnn.scores._ROWS", 1)  # so that the arrays grow again and again
    model = CharacterModel(WORDS, ABC)
    table = ScoreTable(model, ABC.num_classes)
    random = np.random.default_rng(0)
    many = [random.integers(1, 4, 12).tolist() for _ in range(300)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda text: walk(table, text), many))
    for text, rows in zip(many, found, strict=True):
        expected = model.next_scores([tuple(text[:i]) for i in range(len(text) + 1)])
        assert np.allclose(rows, expected, rtol=1e-12)


def test_it_travels_without_what_it_remembers() -> None:
    table = ScoreTable(CharacterModel(WORDS, ABC), ABC.num_classes)
    walk(table, [1, 2, 3])
    again = pickle.loads(pickle.dumps(table))
    assert len(again._contexts) == 1
    assert np.array_equal(walk(again, [1, 2, 3]), walk(table, [1, 2, 3]))
