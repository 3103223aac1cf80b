"""How likely whole words are: what a character n-gram can't tell of MUSEUM and MJSEUM, a list of words can.

Words are looked up without their case and without the punctuation around them; how likely capitals and
punctuation are is told apart from how likely the word is.
"""

import unicodedata
from collections.abc import Mapping, Sequence
from math import isfinite, log
from typing import Any

import numpy as np
import numpy.typing as npt

from crnn.charset import Charset

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]
NAMES = ("words", "word_log_probs")
"""Of the arrays that keep a vocabulary."""
_UPPER, _CAPITALISED, _SMALL, _MIXED = 0.46, 0.26, 0.26, 0.02
"""Shares of words on signs and packages: in capitals, with one first, with none, anyhow."""
_BESIDE = 0.01
"""Probability of a given character of punctuation before or behind a word."""
_TINY = 1e-300
_CONTROL = frozenset(b"\n\0")
_LONGEST = 64
"""Bytes of a word, in UTF-8; longer ones stand on no sign."""


class Vocabulary:
    """Words and how often they are written.

    Args:
        words: Frequencies of any scale, above 0. Cases of a word add up. What the charset can't write, and
            what is no word without the punctuation around it, is passed over.
        charset: Of the recogniser.

    Raises:
        ValueError: A frequency that is no positive number, or no word is left.
    """

    def __init__(self, words: Mapping[str, float], charset: Charset) -> None:
        if not all(isfinite(frequency) and frequency > 0 for frequency in words.values()):
            raise ValueError("Frequencies of words are finite and above 0; some of these aren't.")
        beside, most = _beside(charset), max(words.values(), default=1.0)
        found: dict[bytes, float] = {}
        for word, frequency in words.items():
            key = charset.normalize(word).strip(beside).lower().encode()
            if 0 < len(key) <= _LONGEST and not _CONTROL.intersection(key) and not charset.foreign(word):
                found[key] = found.get(key, 0.0) + frequency / most
        if not found:
            raise ValueError("A vocabulary holds one word at least that the charset can write.")
        keys = sorted(found)
        total = sum(found.values())
        log_probs = np.array([log(max(found[key] / total, _TINY)) for key in keys], np.float16)
        self._take(charset, np.array(keys, np.bytes_), log_probs)

    def _take(
        self, charset: Charset, keys: npt.NDArray[np.bytes_], log_probs: npt.NDArray[np.float16]
    ) -> None:
        self.charset, self._beside = charset, _beside(charset)
        # Of one width, so that a search for some words is one search in an array.
        self._keys, self._kept = keys, log_probs

    def __len__(self) -> int:
        return len(self._keys)

    def log_probs(self, texts: Sequence[str]) -> Floats:
        """Natural log of the probability of each text as it is written; minus infinity of what is no word."""
        found = np.full(len(texts), -np.inf)
        asked: list[tuple[int, bytes]] = []
        for i, text in enumerate(texts):
            word = text.strip(self._beside)
            key = word.lower().encode()
            if 0 < len(key) <= self._keys.itemsize:
                asked.append((i, key))
                found[i] = self._manner(word) + log(_BESIDE) * (len(text) - len(word))
        rows = np.array([i for i, _ in asked], np.int64)
        keys = np.array([key for _, key in asked], self._keys.dtype)
        at = np.minimum(np.searchsorted(self._keys, keys), len(self._keys) - 1)
        known = self._keys[at] == keys
        scores = np.full(len(texts), -np.inf)
        scores[rows[known]] = found[rows[known]] + self._kept[at[known]]
        return scores

    def _manner(self, word: str) -> float:
        """Natural log of the probability that the word is written with these capitals."""
        letters = sum(letter.lower() != letter.upper() for letter in word)
        if self.charset.fold_case or not letters:
            return 0.0
        share = _MIXED * 0.5**letters
        share += _UPPER * (word == word.upper()) + _SMALL * (word == word.lower())
        share += _CAPITALISED * (word == word[0].upper() + word[1:].lower())
        return log(share)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For a file: `words`, UTF-8 with a line feed behind each, and `word_log_probs` [W], three digits."""
        text = b"\n".join(self._keys.tolist()) + b"\n"
        return {"words": np.frombuffer(text, np.uint8), "word_log_probs": self._kept}

    @classmethod
    def from_arrays(cls, arrays: Arrays, charset: Charset) -> "Vocabulary":
        """A vocabulary from `to_arrays`.

        Raises:
            ValueError: They aren't such arrays.
        """
        if set(arrays) != set(NAMES):
            raise ValueError(f"A vocabulary is {' and '.join(NAMES)}; {', '.join(sorted(arrays))} found.")
        words, log_probs = (arrays[name] for name in NAMES)
        if words.dtype != np.uint8 or log_probs.dtype != np.float16 or words.ndim != 1 or log_probs.ndim != 1:
            raise ValueError("The words of a vocabulary are bytes, their log-probabilities 16-bit floats.")
        text = words.tobytes()
        keys = text.split(b"\n")
        last = keys.pop()
        array = np.array(keys, np.bytes_)
        whole = not last and len(keys) == len(log_probs) > 0 and array.itemsize <= _LONGEST
        if not whole or b"\0" in text or not array[0] or not (array[1:] > array[:-1]).all():
            raise ValueError("The words of a vocabulary stand in order, each once, with a line feed behind.")
        if not (log_probs <= 0).all() or not np.isfinite(log_probs).all():
            raise ValueError("The log-probabilities of a vocabulary can't be such.")
        vocabulary = cls.__new__(cls)
        vocabulary._take(charset, array, log_probs)
        return vocabulary


def _beside(charset: Charset) -> str:
    """The characters that stand around words without being part of them, as vowel signs and accents are."""
    return "".join(c for c in charset.characters if not (c.isalnum() or unicodedata.category(c)[0] == "M"))
