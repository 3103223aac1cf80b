"""Reading again where a first look leaves doubts: whose doubts, which looks, and how many at a time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from crnn.batching import stack
from crnn.charset import ALNUM36
from crnn.checkpoint import Bundle
from crnn.decode import Hypothesis
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.looks import further_looks
from crnn.model import seeded
from crnn.networks import NETWORKS
from crnn.preprocess import PreprocessConfig
from crnn.reader import LineReader
from crnn.recognizer import Recognizer

FUSION = Fusion(model=CharacterModel(["abc", "hello"], ALNUM36), config=FusionConfig(looks_below=0.5))
BUNDLE = Bundle(
    network=NETWORKS["small"],
    charset=ALNUM36,
    preprocess=PreprocessConfig(),
    weights=seeded(NETWORKS["small"], ALNUM36.num_classes, 1).state_dict(),
    language=FUSION,
)
RECOGNIZER = Recognizer(BUNDLE)
LINES = [
    np.random.default_rng(seed).integers(0, 256, (32, width), np.uint8)
    for seed, width in enumerate((64, 120, 64, 40, 200, 120))
]


def reader(fusion: Fusion | None = FUSION) -> LineReader:
    return LineReader(BUNDLE, RECOGNIZER.log_probs, fusion, None, max_columns=256)


def test_doubts_are_texts_below_the_language_model_s_bar_and_none_without_one() -> None:
    found = [Hypothesis("a", -1.0, confidence) for confidence in (0.49, 0.5, 0.1)]
    assert reader().doubts(found) == [0, 2]
    assert reader(None).doubts(found) == []


def test_the_first_look_is_ahead_of_the_further_ones_of_the_same_image() -> None:
    firsts = {at: RECOGNIZER.log_probs(stack([LINES[at]]))[0] for at in (4, 1, 2)}
    looks = reader().further(LINES, firsts)
    assert list(looks) == [4, 1, 2]
    for at, (first, *others) in looks.items():
        assert first is firsts[at]
        expected = [
            RECOGNIZER.log_probs(stack([look]))[0] for look in further_looks(LINES[at], BUNDLE.preprocess)
        ]
        assert len(others) == len(expected) == 2
        for found, alone in zip(others, expected, strict=True):
            assert torch.allclose(found, alone, atol=1e-4)


def test_texts_that_are_sure_stay_as_they_are() -> None:
    found = [Hypothesis(text, -0.1, 0.9) for text in "abcdef"]
    assert reader().look_again(found, {}) == found
    looks = reader().further(LINES, {3: RECOGNIZER.log_probs(stack([LINES[3]]))[0]})
    again = reader().look_again(found, looks)
    assert again[:3] + again[4:] == found[:3] + found[4:]
    assert again[3] == FUSION.search_looks([looks[3]], ALNUM36)[0]


def test_how_many_are_looked_at_again_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    doubtful = replace(BUNDLE, language=replace(FUSION, config=FusionConfig(looks_below=1.0)))
    together = Recognizer(doubtful).recognise(LINES)
    monkeypatch.setattr("crnn.recognizer._DOUBTED", 1)
    few = Recognizer(doubtful).recognise(LINES)
    assert [h.text for h in few] == [h.text for h in together]
    assert [h.confidence for h in few] == pytest.approx([h.confidence for h in together], rel=1e-3)
