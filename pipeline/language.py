"""The language model of a shipped recogniser: learnt from the strings that its pictures show."""

from collections import Counter
from dataclasses import replace

import numpy as np

from crnn.charset import Charset
from crnn.language_model import CharacterModel
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.presets import scene
from pipeline.synthesis.words import Words

ORDER = 6
LEAST_CONTEXT, LEAST_FOLLOWER = 20.0, 5.0
"""Counts below which a context, and a character after it, isn't worth its bytes: ten times as many would read
0.2 % of the words better."""
_BATCH = 20_000


def learn_language(assets: Assets, charset: Charset, *, strings: int, seed: int) -> CharacterModel:
    """An n-gram of the strings of `scene`, words by how often people write them, numbers and codes included.

    Args:
        assets: Hold the tables of words; those of the training split alone are used.
        charset: Of the recogniser; strings that it can't write aren't drawn.
        strings: How many to draw.
        seed: Names the drawing.
    """
    config = scene().words
    drawn = config.characters or assets.characters
    writable = "".join(c for c in drawn if not charset.unsupported(c))
    words = Words(assets, replace(config, characters=writable), "train")
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for first in range(0, strings, _BATCH):
        counts.update(words.sample(generator, min(_BATCH, strings - first)))
    return CharacterModel(counts, charset, order=ORDER, counts=counts).pruned(LEAST_CONTEXT, LEAST_FOLLOWER)
