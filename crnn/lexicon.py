"""Reading words that are known to be in a list: argmax of p(entry | image), exact for lists of any size.

Policy. Entries are normalised as the charset says (case, Unicode form) and what is read is the entry in that
form. Blank entries, repeated ones and those with characters outside the charset are dropped and counted:
accents are not stripped, since "cafe" and "café" are different words. Of equally likely entries the one that
stands first wins. Where no entry lies within the asked edit distance of the best path, all are considered.
Where no entry fits into the image's frames, the text is empty and its confidence 0.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from math import inf

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crnn.charset import BLANK, Charset
from crnn.decode import Hypothesis, best_path
from crnn.errors import CRNNError
from crnn.forward import UNSURE, Floats, Indices, TextTable, text_log_probs
from crnn.neighbours import EditNeighbours

_FIRST_LOOK = 16
"""Entries of each image that are scored before any can be ruled out."""
_CLOSE = 2.3
"""Entries that could be at least 10 % as likely as the best are scored, so that confidences know of them."""
_ITEMS = 64
_SLACK = 1e-3  # bounds are computed in single precision


class LexiconError(CRNNError, ValueError):
    """A lexicon without one usable entry."""


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
            text, codes = _codes(word.strip(), charset)
            if not text or codes is None:
                dropped["outside_charset" if text else "blank"] += 1
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
        """Positions of the entries at most `distance` edits from a text, in ascending order."""
        if self._index is None:
            self._index = EditNeighbours(self.texts)
        return self._index.within(tuple(self.charset.encode(text)), distance)

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
    lexicons: Lexicon | Sequence[Lexicon],
    *,
    max_distance: int | None = None,
    n_best: int = 1,
) -> list[Hypothesis]:
    """The likeliest entry of a lexicon for each image.

    Args:
        log_probs_NTV: float32, normalised over V, on the CPU.
        lexicons: One for all images, or one an image; of one charset.
        max_distance: Only entries within so many edits of the best path, as in the paper (3); None considers
            all entries, which is exact, and slow only where a large list meets an unclear image.
        n_best: How many entries to give; those after the first are `alternatives`.

    Returns:
        log_prob is log p(entry | image); confidence is the entry's share of the probability of the whole
        lexicon, which is its probability of being right if the lexicon holds the truth.
    """
    count = log_probs_NTV.shape[0]
    each = [lexicons] * count if isinstance(lexicons, Lexicon) else list(lexicons)
    if not count:
        return []
    if count > _ITEMS:
        # The bounds of all entries for all images would not fit into memory.
        return [
            hypothesis
            for start in range(0, count, _ITEMS)
            for hypothesis in decode_with_lexicon(
                log_probs_NTV[start : start + _ITEMS],
                lexicons if isinstance(lexicons, Lexicon) else each[start : start + _ITEMS],
                max_distance=max_distance,
                n_best=n_best,
            )
        ]
    log_probs = log_probs_NTV.numpy()
    appears_NV = _log_appears(log_probs)
    if max_distance is not None:
        paths = best_path(log_probs_NTV, each[0].charset)
        near = [each[i].neighbours(paths[i].text, max_distance) for i in range(count)]
        rows = [near[i] if len(near[i]) else np.arange(len(each[i])) for i in range(count)]
        limits = [each[i].bounds_of(appears_NV[i], rows[i]) for i in range(count)]
    else:
        rows = [np.arange(len(lexicon)) for lexicon in each]
        together = isinstance(lexicons, Lexicon)
        limits = (
            list(each[0].bounds(appears_NV))
            if together
            else [each[i].bounds(appears_NV[i : i + 1])[0] for i in range(count)]
        )
    searches = [_Search(each[i], rows[i], limits[i], n_best) for i in range(count)]
    size, active = _FIRST_LOOK, list(range(count))
    while active:
        asked = [searches[i].next_rows(size) for i in active]
        images = np.repeat(active, [len(some) for some in asked])
        tables = [each[i].texts.take(some) for i, some in zip(active, asked, strict=True)]
        # Once every image has fair entries, how hopeless the hopeless ones are doesn't matter.
        refine = any(searches[i].threshold < UNSURE for i in active)
        scores = text_log_probs(log_probs, images, TextTable.join(tables), refine=refine)
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
        )
        return Hypothesis(best.text, best.log_prob, best.confidence, alternatives=tuple(others))

    def _possible(self, rows: Indices) -> npt.NDArray[np.bool_]:
        possible: npt.NDArray[np.bool_] = self._limits[rows] >= self.threshold
        return possible

    def _by_limit(self, rows: Indices) -> Indices:
        return rows[np.argsort(-self._limits[rows], kind="stable")]


def fold_classes(
    log_probs_NTV: Tensor, charset: Charset, onto: Charset, normalize: Callable[[str], str]
) -> Tensor:
    """Log-probabilities over a smaller charset: what a protocol merges adds up, what it drops becomes blank.

    So a recogniser that tells case apart can be asked for words of a lexicon that doesn't.

    Args:
        log_probs_NTV: float32 over `charset`.
        normalize: What the protocol makes of a character: one character of `onto`, or nothing.
    """
    targets = [BLANK]
    for character in charset.characters:
        normal = normalize(character)
        targets.append(onto.encode(normal)[0] if normal and not onto.unsupported(normal) else BLANK)
    probs = log_probs_NTV.exp()
    folded = probs.new_zeros((*probs.shape[:-1], onto.num_classes))
    folded.index_add_(-1, torch.tensor(targets), probs)
    return folded.clamp_min(torch.finfo(torch.float32).tiny).log()


@lru_cache(maxsize=1 << 18)
def _codes(word: str, charset: Charset) -> tuple[str, tuple[int, ...] | None]:
    """The normalised word and its classes, None where it holds a character outside; per-image lexicons of one
    set share most of their words."""
    text = charset.normalize(word)
    return text, None if charset.unsupported(word) else tuple(charset.encode(word))


def _log_appears(log_probs_NTV: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Log-probability of each class to be in a path at all; float32 [N, V]."""
    with np.errstate(divide="ignore"):
        absent = np.log1p(-np.minimum(np.exp(log_probs_NTV.astype(np.float64)), 1.0)).sum(axis=1)
        appears = np.log(-np.expm1(absent))
    limits: npt.NDArray[np.float32] = np.maximum(appears, -1e4).astype(np.float32)
    return limits
