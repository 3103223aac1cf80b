"""The texts of a large table within a small edit distance of a text: all of them, found in a millisecond.

The paper finds them with a BK-tree, which at distance 3 visits most of its nodes one by one. Here two filters
that can't lose a neighbour leave a few per cent of the table, and the exact distances of those are computed
side by side, bit-parallel (Myers 1999; Hyyrö 2003).
"""

import numpy as np
import numpy.typing as npt

from crnn.forward import Indices, TextTable

_WORD = 64
_STRIDE = 47  # spreads second and third occurrences over the bits
_ONE = np.uint64(1)
Words = npt.NDArray[np.uint64]


class EditNeighbours:
    """An index over a table of texts.

    Args:
        texts: As classes; any number, of any lengths.
    """

    def __init__(self, texts: TextTable) -> None:
        self._order = np.argsort(texts.lengths_E, kind="stable")
        self._texts = TextTable(texts.classes_ES[self._order], texts.lengths_E[self._order])
        self._signatures = _signatures(self._texts)
        # A column of all texts is looked at together: it must lie together.
        self._classes_SE = np.ascontiguousarray(self._texts.classes_ES.T, np.int32)
        self._most = int(texts.classes_ES.max(initial=0))

    def within(self, text: tuple[int, ...], distance: int) -> Indices:
        """Rows of the texts at most `distance` edits from `text`, in ascending order."""
        lengths = self._texts.lengths_E
        first = int(np.searchsorted(lengths, len(text) - distance, "left"))
        end = int(np.searchsorted(lengths, len(text) + distance, "right"))
        rows = first + np.flatnonzero(self._least(text, first, end) <= distance)
        close = self._distances(text, rows) <= distance
        return np.sort(self._order[rows[close]])

    def nearest(self, text: tuple[int, ...]) -> Indices:
        """Rows of the texts that are fewest edits from `text`, in ascending order."""
        lengths = self._texts.lengths_E
        least = np.maximum(self._least(text, 0, len(lengths)), np.abs(lengths - len(text)))
        rows, distances, best = np.empty(0, np.int64), np.empty(0, np.int64), int(least.max(initial=0)) + 1
        for distance in np.unique(least):
            if distance > best:
                break  # what is left is farther
            some = np.flatnonzero(least == distance)
            rows, distances = np.append(rows, some), np.append(distances, self._distances(text, some))
            best = int(distances.min())
        return np.sort(self._order[rows[distances == best]])

    def _least(self, text: tuple[int, ...], first: int, end: int) -> Indices:
        """A lower bound of the distance of each text in a range."""
        # An edit takes at most one character out of the bag of a text's characters and puts at most one in.
        own = _signature(text)
        theirs = self._signatures[:, first:end]
        extra = np.bitwise_count(theirs & ~own[:, None]).sum(axis=0)
        missing = np.bitwise_count(own[:, None] & ~theirs).sum(axis=0)
        least: Indices = np.maximum(extra, missing).astype(np.int64)
        return least

    def _distances(self, text: tuple[int, ...], rows: Indices) -> Indices:
        """Edit distances between a text and some rows of the table, which is sorted by length."""
        lengths = self._texts.lengths_E[rows]
        if not text or not len(rows):
            return lengths
        if len(text) > _WORD:
            return _distances_of_long(text, self._texts.take(rows))
        where = np.zeros(max(self._most, *text) + 1, np.uint64)
        for i, c in enumerate(text):
            where[c] |= _ONE << np.uint64(i)
        last = _ONE << np.uint64(len(text) - 1)
        up = np.full(len(rows), ~np.uint64(0))
        down = np.zeros(len(rows), np.uint64)
        distances = np.full(len(rows), len(text))
        for j in range(int(lengths[-1])):
            # Sorted by length: the texts that have a character j are the last ones.
            ended = int(np.searchsorted(lengths, j, "right"))
            match = where[self._classes_SE[j, rows[ended:]]]
            pv, mv = up[ended:], down[ended:]
            diagonal = (((match & pv) + pv) ^ pv) | match
            more = mv | ~(diagonal | pv)
            less = pv & diagonal
            distances[ended:] += (more & last) != 0
            distances[ended:] -= (less & last) != 0
            more = (more << _ONE) | _ONE
            vertical = match | mv
            up[ended:] = (less << _ONE) | ~(vertical | more)
            down[ended:] = more & vertical
        return distances


def _signature(text: tuple[int, ...]) -> Words:
    """That of one text, as `_signatures` has it for tables; [2]."""
    words = [0, 0]
    for i, c in enumerate(text):
        word, bit = divmod((c + _STRIDE * text[:i].count(c)) % (2 * _WORD), _WORD)
        words[word] |= 1 << bit
    return np.array(words, np.uint64)


def _signatures(texts: TextTable) -> Words:
    """Two words of 64 bits a text, [2, E]: a bit for each character and how often it came before.

    Bits may stand for several of these: then the filter lets more through, never less.
    """
    classes, width = texts.classes_ES, texts.classes_ES.shape[1]
    signatures = np.zeros((2, len(classes)), np.uint64)
    for i in range(width):
        before = (classes[:, :i] == classes[:, i : i + 1]).sum(axis=1)
        bit = (classes[:, i] + _STRIDE * before) % (2 * _WORD)
        mask = np.where(classes[:, i] > 0, _ONE << (bit % _WORD).astype(np.uint64), np.uint64(0))
        high = bit >= _WORD
        signatures[0] |= np.where(high, np.uint64(0), mask)
        signatures[1] |= np.where(high, mask, np.uint64(0))
    return signatures


def _distances_of_long(text: tuple[int, ...], texts: TextTable) -> Indices:
    """The same row by row of the table of distances, for a text longer than a machine word."""
    classes, lengths = texts.classes_ES, texts.lengths_E
    offsets = np.arange(classes.shape[1] + 1)
    row = np.tile(offsets, (len(classes), 1))
    for c in text:
        best = np.minimum(row[:, 1:] + 1, row[:, :-1] + (classes != c))
        best = np.concatenate([row[:, :1] + 1, best], axis=1)
        # Insertions run along the row: a running minimum of best - offset.
        row = np.minimum.accumulate(best - offsets, axis=1) + offsets
    found: Indices = row[np.arange(len(classes)), lengths]
    return found
