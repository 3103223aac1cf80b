"""Posteriors that stand for a trained network's: sure of most words, wrong about some."""

import numpy as np
import pytest
import torch

from crnn.charset import ALNUM36, LATIN94, Charset
from crnn.decode import best_path
from pipeline.benchmark.decoding import common_words
from pipeline.benchmark.posteriors import peaked_posteriors


@pytest.mark.parametrize("charset", [ALNUM36, LATIN94])
def test_words_are_read_about_as_often_as_a_trained_network_reads_them(charset: Charset) -> None:
    words = common_words(400)
    packs = peaked_posteriors(words, charset, seed=0)
    assert sorted(word for pack in packs for word in pack.words) == sorted(words)
    read = {
        word: hypothesis
        for pack in packs
        for word, hypothesis in zip(pack.words, best_path(pack.log_probs_NTV, charset), strict=True)
    }
    right = np.mean([hypothesis.text == word for word, hypothesis in read.items()])
    assert 0.7 < right < 0.9
    assert np.median([hypothesis.confidence for hypothesis in read.values()]) > 0.9


def test_posteriors_are_normalised_and_depend_on_the_seed_alone() -> None:
    first, again, other = (peaked_posteriors(["one", "three"], ALNUM36, seed) for seed in (0, 0, 1))
    for pack, same, different in zip(first, again, other, strict=True):
        assert torch.allclose(pack.log_probs_NTV.exp().sum(-1), torch.ones(()), atol=1e-5)
        assert torch.equal(pack.log_probs_NTV, same.log_probs_NTV)
        assert not torch.equal(pack.log_probs_NTV, different.log_probs_NTV)
