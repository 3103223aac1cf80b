"""The language model of a shipped recogniser: an n-gram of the strings that its pictures show, and the
words that people write."""

from collections import Counter
from dataclasses import replace

import numpy as np

from crnn.charset import Charset
from crnn.fusion import Fusion, FusionConfig
from crnn.language_model import CharacterModel
from crnn.vocabulary import Vocabulary
from pipeline.synthesis.assets import Assets
from pipeline.synthesis.presets import scene
from pipeline.synthesis.words import Words

ORDER = 6
LEAST_CONTEXT, LEAST_FOLLOWER = 20.0, 5.0
"""Counts below which a context, and a character after it, isn't worth its bytes: ten times as many would read
0.2 % of the words better."""
READING = FusionConfig(weight=0.5, length_bonus=1.5, beam_width=16, known=0.9)
"""How much a language model with a vocabulary has to say."""
_SHARES = {"frequent": 0.9, "dictionary": 0.05, "names": 0.05, "own": 1.0}
"""Of the tables of words in a vocabulary: a user's own list weighs as much as all others."""
_BATCH = 20_000


def learn_language(assets: Assets, charset: Charset, *, strings: int, seed: int) -> Fusion:
    """A language model as it ships: `learn_n_gram`, and `learn_vocabulary` where there are words to write."""
    n_gram = learn_n_gram(assets, charset, strings=strings, seed=seed)
    vocabulary = learn_vocabulary(assets, charset)
    if vocabulary is None:
        return Fusion(model=n_gram)
    return Fusion(model=n_gram, vocabulary=vocabulary, config=READING)


def learn_vocabulary(assets: Assets, charset: Charset) -> Vocabulary | None:
    """The words of both splits by how often people write them: photographs hold those that no picture of the
    training split shows as well.

    Args:
        assets: Hold the tables of words.
        charset: Of the recogniser; words that it can't write are left out.

    Returns:
        None where no word is left.
    """
    tables: dict[str, dict[str, float]] = {}
    columns = (assets.words.column(name).to_pylist() for name in ("table", "word", "weight"))
    for table, word, weight in zip(*columns, strict=True):
        # Frequent words are drawn by the square root of how frequent they are.
        tables.setdefault(table, {})[word] = weight**2 if table == "frequent" else weight
    words: Counter[str] = Counter()
    for name, table in tables.items():
        scale = _SHARES[name] / sum(table.values())
        words.update({word: scale * weight for word, weight in table.items() if not charset.foreign(word)})
    return Vocabulary(words, charset) if any(map(charset.normalize, words)) else None


def learn_n_gram(assets: Assets, charset: Charset, *, strings: int, seed: int) -> CharacterModel:
    """Of the strings of `scene`, words by how often people write them, numbers and codes included.

    Args:
        assets: Hold the tables of words; those of the training split alone are used.
        charset: Of the recogniser; strings that it can't write aren't drawn.
        strings: How many to draw.
        seed: Names the drawing.
    """
    config = scene().words
    drawn = config.characters or assets.characters
    writable = "".join(c for c in drawn if not charset.foreign(c))
    words = Words(assets, replace(config, characters=writable), "train")
    generator = np.random.default_rng(seed)
    counts: Counter[str] = Counter()
    for first in range(0, strings, _BATCH):
        counts.update(words.sample(generator, min(_BATCH, strings - first)))
    return CharacterModel(counts, charset, order=ORDER, counts=counts).pruned(LEAST_CONTEXT, LEAST_FOLLOWER)
