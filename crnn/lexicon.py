"""Reading words that are known to be in a list: argmax of p(entry | image), exact for lists of any size.

Policy. Entries are normalised as the charset says (case, Unicode form) and what is read is the entry in that
form. Blank entries, repeated ones and those with characters outside the charset, or with letters outside
one that drops the rest of a label, are dropped and counted: accents are not stripped, since "cafe" and "café"
are different words. Entries longer than any image has
frames are dropped too. Of equally likely entries the one that stands first wins. Where no entry lies within
the asked edit distance of the best path, those nearest to it are considered. Where no entry fits into the
image's frames, the text is empty and its confidence 0.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis, best_path
from crnn.errors import CRNNError
from crnn.folding import Folding
from crnn.forward import UNSURE, Floats, Indices, TextTable, text_log_probs
from crnn.neighbours import EditNeighbours

_FIRST_LOOK = 16
"""Entries of each image that are scored before any can be ruled out."""
_CLOSE = 2.3
"""Entries that could be at least 10 % as likely as the best are scored, so that confidences know of them."""
_ITEMS = 64
_LONGEST = 1_000
"""Characters of an entry at most: images have some 500 frames, and an endless line makes a huge table."""
_SLACK = 1e-3  # bounds are computed in single precision


class LexiconError(CRNNError, ValueError):
    """A lexicon without one usable entry, or one of another charset than what is to be read."""


class Lexicon:
    """A list of the words that an image may hold.

    Args:
        words: Any number, in the order in which ties are decided.
        charset: Of the log-probabilities that will be decoded.

    Raises:
        LexiconError: Not one entry can be read with this charset.
    """

    def __init__(self, words: Iterable[str], charset: Charset) -> None:
        dropped: Counter[str] = Counter()
        found: dict[str, tuple[int, ...]] = {}
        for word in words:
            if len(word) > _LONGEST:
                dropped["too_long"] += 1
                continue
            text, codes = _codes(word.strip(), charset)
            if not text or codes is None:
                dropped["blank" if codes == () else "outside_charset"] += 1
            elif text in found:
                dropped["duplicate"] += 1
            else:
                found[text] = codes
        if not found:
            raise LexiconError(
                f"Not one entry of the lexicon can be read ({dict(dropped) or 'it is empty'}) with this "
                f"charset of {len(charset.characters)} characters. Give words made of its characters."
            )
        self.charset = charset
        self.entries = tuple(found)
        self.dropped: Mapping[str, int] = dict(dropped)
        self.texts = TextTable.of(list(found.values()))
        self._presence_EV = np.zeros((len(found), charset.num_classes), np.float32)
        np.put_along_axis(self._presence_EV, self.texts.classes_ES, 1.0, axis=1)
        self._presence_EV[:, BLANK] = 0.0
        self._index: EditNeighbours | None = None

    def __len__(self) -> int:
        return len(self.entries)

    def neighbours(self, text: str, distance: int) -> Indices:
        """Positions of the entries at most `distance` edits from a text, in ascending order; where there are
        none, of those that are fewest edits from it."""
        if self._index is None:
            self._index = EditNeighbours(self.texts)
        codes = tuple(self.charset.encode(text))
        near = self._index.within(codes, distance)
        return near if len(near) else self._index.nearest(codes)

    def bounds(self, appears_NV: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Upper bounds of log p(entry | image), [N, E]: every character of the entry is in the path.

        Args:
            appears_NV: Log-probability of each class to be in a path at all.

        Frames are independent and hold one class each, so that the presences of different classes are
        negatively associated (Joag-Dev and Proschan 1983) and their joint probability is at most the product.
        """
        limits: npt.NDArray[np.float32] = appears_NV @ self._presence_EV.T
        return limits

    def bounds_of(self, appears_V: npt.NDArray[np.float32], rows: Indices) -> npt.NDArray[np.float32]:
        """The same for some entries of one image, [E]; minus infinity for the others."""
        limits = np.full(len(self), -inf, np.float32)
        limits[rows] = self._presence_EV[rows] @ appears_V
        return limits


def decode_with_lexicon(
    log_probs_NTV: Tensor,
    charset: Charset | Folding,
    lexicons: Lexicon | Sequence[Lexicon],
    *,
    max_distance: int | None = None,
    n_best: int = 1,
) -> list[Hypothesis]:
    """The likeliest entry of a lexicon for each image.

    Args:
        log_probs_NTV: float32, normalised over V, on the CPU.
        charset: Whose classes V are; a folding where the lexicons are of a smaller charset than these.
        lexicons: One for all images, or one an image; of that charset, or of the one that it is folded onto.
        max_distance: Only entries within so many edits of the best path, as in the paper (3); None considers
            all entries, which is slow only where a large list meets an unclear image.
        n_best: How many entries to give, fewer where fewer fit into the frames; those after the first are
            `alternatives`.

    Returns:
        log_prob is log p(entry | image), exact; confidence is the entry's share among the entries considered,
        the probability of being right if one of them is what stands there. Entries that are less than a tenth
        as likely as the best may be left out of that sum.

    Raises:
        LexiconError: A lexicon is of another charset.
    """
    count = log_probs_NTV.shape[0]
    each = [lexicons] * count if isinstance(lexicons, Lexicon) else list(lexicons)
    _check(charset.onto if isinstance(charset, Folding) else charset, each)
    # The bounds of all entries for all images would not fit into memory.
    return [
        hypothesis
        for start in range(0, count, _ITEMS)
        for hypothesis in _decode(
            log_probs_NTV[start : start + _ITEMS],
            charset,
            each[start : start + _ITEMS],
            max_distance,
            n_best,
        )
    ]


def _check(charset: Charset, lexicons: Iterable[Lexicon]) -> None:
    for lexicon in lexicons:
        if lexicon.charset is not charset and lexicon.charset != charset:
            raise LexiconError(
                f"The lexicon is of a charset of {len(lexicon.charset.characters)} characters "
                f"({lexicon.charset.fingerprint}), what is to be read of another one of "
                f"{len(charset.characters)} ({charset.fingerprint}). Make the lexicon with the recogniser's "
                "charset, or fold the recogniser's onto the lexicon's."
            )


def _decode(
    log_probs_NTV: Tensor,
    charset: Charset | Folding,
    each: list[Lexicon],
    max_distance: int | None,
    n_best: int,
) -> list[Hypothesis]:
    split_NKTV = charset.split(log_probs_NTV) if isinstance(charset, Folding) else log_probs_NTV[:, None]
    log_probs_NKTV = split_NKTV.numpy()
    appears_NV = _log_appears(log_probs_NKTV)
    if max_distance is not None:
        texts = _path_texts(log_probs_NTV, charset)
        rows = [lexicon.neighbours(text, max_distance) for lexicon, text in zip(each, texts, strict=True)]
        limits = [
            lexicon.bounds_of(appears_V, some)
            for lexicon, appears_V, some in zip(each, appears_NV, rows, strict=True)
        ]
    else:
        rows = [np.arange(len(lexicon)) for lexicon in each]
        limits = (
            list(each[0].bounds(appears_NV))
            if all(lexicon is each[0] for lexicon in each)
            else [lexicon.bounds(appears_NV[i : i + 1])[0] for i, lexicon in enumerate(each)]
        )
    searches = [_Search(*parts, n_best) for parts in zip(each, rows, limits, strict=True)]
    size, active = _FIRST_LOOK, list(range(len(each)))
    while active:
        asked = [searches[i].next_rows(size) for i in active]
        images = np.repeat(active, [len(some) for some in asked])
        tables = [each[i].texts.take(some) for i, some in zip(active, asked, strict=True)]
        # Once every image has fair entries, how hopeless the hopeless ones are doesn't matter.
        refine = any(searches[i].threshold < UNSURE for i in active)
        scores = text_log_probs(log_probs_NKTV, images, TextTable.join(tables), refine=refine)
        ends = np.cumsum([len(some) for some in asked])[:-1]
        for i, some, part in zip(active, asked, np.split(scores, ends), strict=True):
            searches[i].take(some, part)
        active = [i for i, some in zip(active, asked, strict=True) if len(some)]
        size *= 4
    return [search.result() for search in searches]


class _Search:
    """The search for one image: entries in the order of their bounds, until none left can matter."""

    def __init__(
        self,
        lexicon: Lexicon,
        rows: Indices,
        limits_E: npt.NDArray[np.float32],
        n_best: int,
    ) -> None:
        self.lexicon, self._n_best, self._limits = lexicon, max(n_best, 1), limits_E
        # Most images are settled by the first look: no need to sort fifty thousand bounds for it.
        first = min(_FIRST_LOOK, len(rows)) - 1
        parted = rows[np.argpartition(-limits_E[rows], first)]
        self._queue, self._rest = self._by_limit(parted[: first + 1]), parted[first + 1 :]
        self._rows, self._scores = np.empty(0, np.int64), np.empty(0)
        self.threshold = -inf
        """Scores and bounds below it can't matter any more."""

    def next_rows(self, size: int) -> Indices:
        """The next entries to score; none where no other can matter."""
        if not len(self._queue):
            self._queue, self._rest = self._by_limit(self._rest[self._possible(self._rest)]), self._rest[:0]
        self._queue = self._queue[self._possible(self._queue)]
        batch, self._queue = self._queue[:size], self._queue[size:]
        return batch

    def take(self, rows: Indices, scores: Floats) -> None:
        """Notes the scores of the entries that `next_rows` gave."""
        self._rows, self._scores = np.concatenate([self._rows, rows]), np.concatenate([self._scores, scores])
        place = min(self._n_best, len(self._scores)) - 1
        worst_kept = -np.partition(-self._scores, place)[place]
        self.threshold = min(worst_kept, self._scores.max() - _CLOSE) - _SLACK

    def result(self) -> Hypothesis:
        """The best entries."""
        order = np.lexsort((self._rows, -self._scores))
        scores = self._scores[order]
        if np.isneginf(scores[0]):
            return Hypothesis("", -inf, 0.0)
        shares = np.exp(scores - np.logaddexp.reduce(scores))
        best, *others = (
            Hypothesis(self.lexicon.entries[row], float(score), min(float(share), 1.0))
            for row, score, share in zip(self._rows[order[: self._n_best]], scores, shares, strict=False)
            if score > -inf
        )
        return Hypothesis(best.text, best.log_prob, best.confidence, alternatives=tuple(others))

    def _possible(self, rows: Indices) -> npt.NDArray[np.bool_]:
        possible: npt.NDArray[np.bool_] = self._limits[rows] >= self.threshold
        return possible

    def _by_limit(self, rows: Indices) -> Indices:
        return rows[np.argsort(-self._limits[rows], kind="stable")]


@lru_cache(maxsize=1 << 18)
def _codes(word: str, charset: Charset) -> tuple[str, tuple[int, ...] | None]:
    """The normalised word and its classes, None where it holds a character outside; per-image lexicons of one
    set share most of their words."""
    text = charset.normalize(word)
    return text, None if charset.foreign(word) else tuple(charset.encode(word))


def _path_texts(log_probs_NTV: Tensor, charset: Charset | Folding) -> list[str]:
    if isinstance(charset, Folding):
        return charset.best_texts(log_probs_NTV)
    return [path.text for path in best_path(log_probs_NTV, charset)]


def _log_appears(log_probs_NKTV: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log-probability of each class to be in a path at all, as any of its variants; float32 [N, V]."""
    probs_NTV = np.exp(log_probs_NKTV.astype(np.float64)).sum(axis=1)
    with np.errstate(divide="ignore"):
        absent = np.log1p(-np.minimum(probs_NTV, 1.0)).sum(axis=1)
        appears = np.log(-np.expm1(absent))
    limits: npt.NDArray[np.float32] = np.maximum(appears, -1e4).astype(np.float32)
    return limits
