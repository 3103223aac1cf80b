"""A character n-gram learnt from a list of words, to be fused into beam search.

Interpolated Witten-Bell smoothing (Chen and Goodman 1998): every character stays possible after every prefix,
so that names and numbers that are in no list can still be read.
"""

from collections.abc import Iterable, Mapping
from math import isfinite

import numpy as np
import numpy.typing as npt

from crnn.charset import BLANK, Charset

Floats = npt.NDArray[np.float64]


class CharacterModel:
    """p(next character | the characters before it), the end of the word included.

    Args:
        words: To learn from; those with characters outside the charset are passed over.
        charset: Of the recogniser.
        order: Characters that a probability looks at, the next one included; 5 is enough for words.
        counts: How often each word is written, where known: counts, or frequencies of any scale. A word that
            is missing in it counts once, or as the rarest where that is less; one with 0 is passed over.

    Raises:
        ValueError: An order below 1, or counts that are negative or not finite.
    """

    def __init__(
        self,
        words: Iterable[str],
        charset: Charset,
        *,
        order: int = 5,
        counts: Mapping[str, float] | None = None,
    ) -> None:
        if order < 1:
            raise ValueError(f"An n-gram looks at 1 character at least; order is {order}.")
        weights = counts or {}
        if not all(isfinite(count) and count >= 0 for count in weights.values()):
            raise ValueError("Counts of words are finite and not negative; some of these aren't.")
        # Smoothing adds whole followers: against frequencies far below 1 nothing else would be left.
        rarest = min((count for count in weights.values() if count), default=1.0)
        unit = min(rarest, 1.0)
        self.charset, self.order = charset, order
        self._seen: dict[tuple[int, ...], Floats] = {}
        for word in words:
            weight = weights.get(word, unit) / unit
            if not weight or charset.unsupported(word):
                continue
            # The end of the word takes the blank's place: texts hold no blanks.
            codes = (*charset.encode(word), BLANK)
            for i, code in enumerate(codes):
                for length in range(min(order - 1, i) + 1):
                    context = codes[i - length : i]
                    found = self._seen.get(context)
                    if found is None:
                        found = self._seen[context] = np.zeros(charset.num_classes)
                    found[code] += weight

    def next_scores(self, prefix: tuple[int, ...]) -> Floats:
        """Natural log p(next | prefix) of each class; [V], entry 0 is the end of the word."""
        scores: Floats = np.log(self._distribution(prefix[max(0, len(prefix) - self.order + 1) :]))
        return scores

    def log_prob(self, word: str) -> float:
        """Natural log of the probability of a whole word of the charset, its end included."""
        codes = (*self.charset.encode(word), BLANK)
        return float(sum(self.next_scores(codes[:i])[code] for i, code in enumerate(codes)))

    def _distribution(self, context: tuple[int, ...]) -> Floats:
        size = self.charset.num_classes
        shorter = self._distribution(context[1:]) if context else np.full(size, 1.0 / size)
        seen = self._seen.get(context)
        if seen is None:
            return shorter
        # As many followers as a context has had, so likely is another one.
        kinds = float(np.count_nonzero(seen))
        smoothed: Floats = (seen + kinds * shorter) / (seen.sum() + kinds)
        return smoothed
