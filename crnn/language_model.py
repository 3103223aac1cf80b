"""A character n-gram learnt from words, to be fused into beam search.

Interpolated Witten-Bell smoothing (Chen and Goodman 1998): every character stays possible after every prefix,
so that names and numbers that are in no list can still be read.
Shapes: C contexts, F followers of all contexts, P prefixes, V classes of the charset with the blank at 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from crnn.charset import BLANK, Charset

Floats = npt.NDArray[np.float64]
Arrays = Mapping[str, npt.NDArray[Any]]
MAX_ORDER = 64
_MOST = 80.0
"""Natural logarithm of a count, at most."""


class _Table(NamedTuple):
    """What was seen after each context."""

    spans: Mapping[tuple[int, ...], tuple[int, int]]
    """First follower of a context, and one past its last."""
    codes: npt.NDArray[np.integer[Any]]
    """Of the followers; [F]."""
    counts: Floats
    """How often each was seen; [F]."""


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
        if not 1 <= order <= MAX_ORDER:
            raise ValueError(f"An n-gram looks at 1 to {MAX_ORDER} characters; order is {order}.")
        weights = counts or {}
        if not all(isfinite(count) and count >= 0 for count in weights.values()):
            raise ValueError("Counts of words are finite and not negative; some of these aren't.")
        # Smoothing adds whole followers: against frequencies far below 1 nothing else would be left.
        rarest = min((count for count in weights.values() if count), default=1.0)
        unit = min(rarest, 1.0)
        seen: dict[tuple[int, ...], dict[int, float]] = {}
        for word in words:
            weight = weights.get(word, unit) / unit
            if not weight or charset.foreign(word) or (word and not charset.normalize(word)):
                continue
            # The end of the word takes the blank's place: texts hold no blanks.
            codes = (*charset.encode(word), BLANK)
            for i, code in enumerate(codes):
                for length in range(min(order - 1, i) + 1):
                    found = seen.setdefault(codes[i - length : i], {})
                    found[code] = found.get(code, 0.0) + weight
        self._take(charset, order, _table(seen))

    def _take(self, charset: Charset, order: int, table: _Table) -> None:
        self.charset, self.order, self._table = charset, order, table

    def next_scores(self, prefixes: Sequence[tuple[int, ...]]) -> Floats:
        """Natural log p(next | prefix) of each class after each prefix; [P, V], column 0 is the end of the
        word."""
        size, table = self.charset.num_classes, self._table
        shares = np.full((len(prefixes), size), 1.0 / size)
        for length in range(self.order):
            known = []
            for row, prefix in enumerate(prefixes):
                span = table.spans.get(prefix[len(prefix) - length :]) if len(prefix) >= length else None
                if span is not None:
                    known.append((row, *span))
            if not known:
                continue
            rows, starts, ends = np.array(known).T
            kinds = ends - starts
            firsts = kinds.cumsum() - kinds
            of_row = np.repeat(np.arange(len(rows)), kinds)
            at = np.arange(len(of_row)) + (starts - firsts)[of_row]
            counts = table.counts[at]
            # As many followers as a context has had, so likely is another one.
            totals = np.add.reduceat(counts, firsts) + kinds
            shares[rows] *= (kinds / totals)[:, None]
            shares[rows[of_row], table.codes[at]] += counts / totals[of_row]
        scores: Floats = np.log(shares)
        return scores

    def log_prob(self, word: str) -> float:
        """Natural log of the probability of a whole word of the charset, its end included."""
        codes = (*self.charset.encode(word), BLANK)
        scores = self.next_scores([codes[:i] for i in range(len(codes))])
        return float(scores[np.arange(len(codes)), codes].sum())

    def pruned(self, context: float, follower: float) -> "CharacterModel":
        """The same without what was seen seldom: a smaller model, for which shorter contexts answer.

        Args:
            context: Least count of a context of two characters or more.
            follower: Least count of a character after such a context.
        """
        kept: dict[tuple[int, ...], dict[int, float]] = {}
        for codes, (start, end) in self._table.spans.items():
            counts = self._table.counts[start:end]
            often = counts >= (follower if len(codes) > 1 else 0)
            if len(codes) < 2 or (counts.sum() >= context and often.any()):
                found = self._table.codes[start:end][often].tolist()
                kept[codes] = dict(zip(found, counts[often].tolist(), strict=True))
        return self._with(_table(kept))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """For a file, counts rounded to three digits: `lengths` [C] and `contexts` [C, order - 1] of the
        contexts, zeros behind their ends; `kinds` [C], how many followers each has; `codes` and `log_counts`
        [F] of these."""
        spans, width = self._table.spans, self.order - 1
        small = np.uint8 if self.charset.num_classes <= 1 << 8 else np.uint16
        rows = np.zeros((len(spans), width), small)
        for row, codes in zip(rows, spans, strict=True):
            row[: len(codes)] = codes
        return {
            "lengths": np.array([len(codes) for codes in spans], np.uint8),
            "contexts": rows,
            "kinds": np.array([end - start for start, end in spans.values()], np.uint16),
            "codes": self._table.codes.astype(small),
            "log_counts": np.log(self._table.counts).astype(np.float16),
        }

    @classmethod
    def from_arrays(cls, arrays: Arrays, charset: Charset) -> "CharacterModel":
        """A model from `to_arrays`.

        Raises:
            ValueError: They aren't such arrays, or of another charset.
        """
        names = ("lengths", "contexts", "kinds", "codes", "log_counts")
        if set(arrays) != set(names):
            raise ValueError(f"An n-gram is {', '.join(names)}; {', '.join(sorted(arrays)) or 'none'} found.")
        lengths, contexts, kinds, codes, log_counts = (arrays[name] for name in names)
        shapes = [arrays[name].ndim for name in names] == [1, 2, 1, 1, 1]
        whole = shapes and all(column.dtype.kind == "u" for column in (lengths, contexts, kinds, codes))
        whole = whole and len(lengths) == len(contexts) == len(kinds) and log_counts.dtype.kind == "f"
        ends = np.cumsum(kinds, dtype=np.int64) if whole else np.zeros(0, np.int64)
        whole = whole and len(codes) == len(log_counts) == (ends[-1] if len(ends) else 0)
        if not whole or lengths.max(initial=0) > contexts.shape[1] or kinds.min(initial=1) < 1:
            raise ValueError("The arrays of an n-gram don't fit each other.")
        if max(contexts.max(initial=0), codes.max(initial=0)) >= charset.num_classes:
            raise ValueError(f"The n-gram has more classes than the charset's {charset.num_classes}.")
        if not (np.abs(log_counts) < _MOST).all():
            raise ValueError("The counts of an n-gram can't be counts.")
        keys = (tuple(row[:length]) for row, length in zip(contexts.tolist(), lengths.tolist(), strict=True))
        spans = dict(zip(keys, zip((ends - kinds).tolist(), ends.tolist(), strict=True), strict=True))
        if len(spans) != len(lengths) or any(BLANK in key for key in spans):
            raise ValueError("The contexts of an n-gram are different ones, without blanks.")
        model = cls((), charset, order=contexts.shape[1] + 1)
        return model._with(_Table(spans, codes, np.exp(log_counts.astype(np.float64))))

    def _with(self, table: _Table) -> "CharacterModel":
        other = CharacterModel.__new__(CharacterModel)
        other._take(self.charset, self.order, table)
        return other


def _table(seen: Mapping[tuple[int, ...], Mapping[int, float]]) -> _Table:
    """Short contexts first, and all in the order of their classes: equal counts give an equal table."""
    spans: dict[tuple[int, ...], tuple[int, int]] = {}
    codes: list[int] = []
    counts: list[float] = []
    for context in sorted(seen, key=lambda key: (len(key), key)):
        start = len(codes)
        for code in sorted(seen[context]):
            codes.append(code)
            counts.append(seen[context][code])
        spans[context] = (start, len(codes))
    return _Table(spans, np.array(codes, np.int64), np.array(counts, np.float64))
