"""The language model of the generator's strings: of the training split, the same from its seed, writable."""

import numpy as np

from crnn.charset import ALNUM36, LATIN94
from crnn.language_model import CharacterModel
from pipeline.language import ORDER, learn_language
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.presets import scene
from pipeline.synthesis.words import Words


def equal(one: CharacterModel, other: CharacterModel) -> bool:
    arrays, others = one.to_arrays(), other.to_arrays()
    return all(np.array_equal(arrays[name], others[name]) for name in arrays)


def test_it_is_a_function_of_words_and_seed_and_knows_them_from_noise(tiny_assets: str) -> None:
    assets = Assets.open(tiny_assets)
    model = learn_language(assets, LATIN94, strings=30_000, seed=3)
    assert model.order == ORDER
    assert equal(model, learn_language(assets, LATIN94, strings=30_000, seed=3))
    assert not equal(model, learn_language(assets, LATIN94, strings=30_000, seed=4))
    words = Words(assets, scene().words, "train").sample(np.random.default_rng(9), 400)
    words = [word for word in words if len(word) > 4]
    turned = [word[::-1] for word in words]
    assert np.mean([model.log_prob(w) for w in words]) > np.mean([model.log_prob(w) for w in turned]) + 3


def test_strings_that_the_charset_can_not_write_are_not_learnt(tiny_assets: str) -> None:
    model = learn_language(Assets.open(tiny_assets), ALNUM36, strings=5_000, seed=3)
    assert model.charset == ALNUM36
    # Nothing seen: every character would be as likely as any other.
    assert np.ptp(model.next_scores([()])) > 2
