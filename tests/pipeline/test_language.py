"""The language model of the generator's strings: the n-gram of the training split, the words of both."""

import numpy as np
import pytest

from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.language_model import CharacterModel
from pipeline.language import ORDER, learn_language, learn_n_gram, learn_vocabulary
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.presets import scene
from pipeline.synthesis.words import Words


def equal(one: CharacterModel, other: CharacterModel) -> bool:
    arrays, others = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_it_is_a_function_of_words_and_seed_and_knows_them_from_noise(tiny_assets: str) -> None:
    assets = Assets.open(tiny_assets)
    model = learn_n_gram(assets, LATIN94, strings=30_000, seed=3)
    assert model.order == ORDER
    assert equal(model, learn_n_gram(assets, LATIN94, strings=30_000, seed=3))
    assert not equal(model, learn_n_gram(assets, LATIN94, strings=30_000, seed=4))
    words = Words(assets, scene().words, "train").sample(np.random.default_rng(9), 400)
    words = [word for word in words if len(word) > 4]
    turned = [word[::-1] for word in words]
    assert np.mean([model.log_prob(w) for w in words]) > np.mean([model.log_prob(w) for w in turned]) + 3


def test_strings_that_the_charset_can_not_write_are_not_learnt(tiny_assets: str) -> None:
    model = learn_n_gram(Assets.open(tiny_assets), ALNUM36, strings=5_000, seed=3)
    assert model.charset == ALNUM36
    # Nothing seen: every character would be as likely as any other.
    assert np.ptp(model.next_scores([()])) > 2


def test_the_vocabulary_holds_the_words_of_both_splits_by_how_often_they_are_written(
    tiny_assets: str,
) -> None:
    assets = Assets.open(tiny_assets)
    vocabulary = learn_vocabulary(assets, LATIN94)
    assert vocabulary is not None
    columns = (assets.words.column(name).to_pylist() for name in ("table", "split", "word", "weight"))
    rows = list(zip(*columns, strict=True))
    assert {split for _, split, _, _ in rows} == {"train", "validation"}
    assert np.isfinite(vocabulary.log_probs([word for _, _, word, _ in rows])).all()
    frequent = {word: weight for table, _, word, weight in rows if table == "frequent"}
    first, second = sorted(frequent, key=lambda word: -frequent[word])[:2]
    apart = float(np.subtract(*vocabulary.log_probs([first, second])))
    assert apart == pytest.approx(2 * np.log(frequent[first] / frequent[second]), abs=0.1)
    folded = learn_vocabulary(assets, ALNUM36)
    assert folded is not None
    assert len(folded) < len(vocabulary)


def test_without_a_word_to_write_there_is_an_n_gram_alone(tiny_assets: str) -> None:
    digits = Charset(characters="0123456789")
    language = learn_language(Assets.open(tiny_assets), digits, strings=2_000, seed=3)
    assert language.vocabulary is None
    assert language.model.charset == digits
