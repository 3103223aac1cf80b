"""log p(text | image) of many texts at once: the CTC forward pass over ready-made tables of texts.

`crnn.ctc.log_prob` is the reference; this is some ten times faster where the texts are many and short, and
classes may have variants, such as a letter's two cases, any of which writes the class (`crnn.folding`).
Shapes: N images, K variants, T frames, V classes with the blank at 0, E texts, S longest text.
"""

from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from crnn.charset import BLANK

Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

_RESCALE_EVERY = 4
UNSURE = -600.0
"""Below this natural logarithm, products of probabilities may have underflowed on the way."""
_REFINED = 256
_CELLS = 1 << 18
"""States of one pass: few enough to stay in a core's cache."""


@dataclass(frozen=True, slots=True)
class TextTable:
    """Texts as classes."""

    classes_ES: Indices
    """Without blanks; 0 behind the end of each."""
    lengths_E: Indices

    def take(self, rows: Indices) -> "TextTable":
        """Some of the texts, no wider than they need."""
        lengths = self.lengths_E[rows]
        width = int(lengths.max(initial=0))
        return TextTable(self.classes_ES[rows, :width], lengths)

    @classmethod
    def join(cls, tables: list["TextTable"]) -> "TextTable":
        """The texts of several tables, one after the other."""
        shapes = [table.classes_ES.shape for table in tables]
        classes = np.zeros((sum(rows for rows, _ in shapes), max(width for _, width in shapes)), np.int64)
        first = 0
        for table, (rows, width) in zip(tables, shapes, strict=True):
            classes[first : first + rows, :width] = table.classes_ES
            first += rows
        return cls(classes, np.concatenate([table.lengths_E for table in tables]))

    @classmethod
    def of(cls, texts: list[tuple[int, ...]]) -> "TextTable":
        """From the classes of each text."""
        lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
        classes = np.zeros((len(texts), int(lengths.max(initial=0))), np.int64)
        flat = np.fromiter((c for text in texts for c in text), np.int64, int(lengths.sum()))
        classes[np.arange(classes.shape[1]) < lengths[:, None]] = flat
        return cls(classes, lengths)


def text_log_probs(
    log_probs_NKTV: npt.NDArray[np.float32], images_E: Indices, texts: TextTable, *, refine: bool = True
) -> Floats:
    """log p(text | image) of pairs of an image and a text, summed over all alignments.

    Args:
        log_probs_NKTV: Normalised over K and V together. The blank is variant 0 of class 0; variants that
            don't exist are minus infinity.
        images_E: Which of the N images each text is asked of.
        texts: The texts.
        refine: Whether texts below e^-600 have to be exact too; they are given too low otherwise.

    Returns:
        float64 [E]; minus infinity where the text needs more than T frames.
    """
    # Later looks ask a few images only.
    used, images_E = np.unique(images_E, return_inverse=True)
    log_probs_NKTV = log_probs_NKTV[used] if len(used) < len(log_probs_NKTV) else log_probs_NKTV
    images, variants, frames, num_classes = log_probs_NKTV.shape
    if not frames:
        return np.where(texts.lengths_E == 0, 0.0, -np.inf)
    # A class more, that is impossible, stands behind the end of texts: what they are worth doesn't depend on
    # how long others are.
    probs_TKNV = np.zeros((frames, variants, images, num_classes + 1))
    probs_TKNV[..., :-1] = np.exp(log_probs_NKTV.astype(np.float64)).transpose(2, 1, 0, 3)
    result = np.empty(len(images_E))
    order = np.argsort(texts.lengths_E, kind="stable")
    start = 0
    while start < len(order):
        # Short texts first, in passes of bounded size, so that little is padding.
        stop = start + max(1, _CELLS // (2 * int(texts.lengths_E[order[start]]) + 1))
        rows = order[start:stop]
        while len(rows) > 1 and len(rows) * (2 * int(texts.lengths_E[rows[-1]]) + 1) > 2 * _CELLS:
            rows = rows[: len(rows) // 2]
        result[rows] = _forward(probs_TKNV, images_E[rows], texts.take(rows))
        start += len(rows)
    # What underflows on the way adds up to less than e^-700: only results near that can have suffered.
    lost = np.flatnonzero(result < UNSURE) if refine else np.empty(0, np.int64)
    for some in np.array_split(lost, -(-len(lost) // _REFINED)) if len(lost) else ():
        result[some] = _by_logarithms(log_probs_NKTV, images_E[some], texts.take(some))
    return result


def _states(
    num_classes: int, images_E: Indices, texts: TextTable, behind: int = BLANK
) -> tuple[Indices, npt.NDArray[np.bool_]]:
    """Where each character's probability stands in a frame's [N · V], that of class `behind` where a text has
    ended; which equal the one before; [S, E]."""
    within_SE = np.arange(texts.classes_ES.shape[1])[:, None] < texts.lengths_E
    classes_SE = np.where(within_SE, texts.classes_ES.T, behind)
    return classes_SE + images_E * num_classes, classes_SE[1:] == classes_SE[:-1]


class _Alphas(NamedTuple):
    """Probabilities of what may be written at a frame, and views of them: making these each frame would cost
    as much as computing with them."""

    all: Floats
    blank: Floats
    """Of the texts up to each character, from none to all, where a blank ends them; [S + 1, E]."""
    blank_before: Floats
    """Those that a character may follow: but the last."""
    blank_behind: Floats
    """Those behind a character: but the first."""
    written: list[Floats]
    """The same, where a variant of the character ends them; [S, E] each."""
    before: list[Floats]
    behind: list[Floats]

    @classmethod
    def over(cls, buffer: Floats, variants: int, longest: int) -> "_Alphas":
        """Views of rows of a buffer."""
        blank = buffer[: longest + 1]
        written = np.split(buffer[longest + 1 :], variants)
        before, behind = [each[:-1] for each in written], [each[1:] for each in written]
        return cls(buffer, blank, blank[:-1], blank[1:], written, before, behind)


def _forward(probs_TKNV: Floats, images_E: Indices, texts: TextTable) -> Floats:
    """Products of probabilities, rescaled now and then; too small, or nothing, where they underflow."""
    frames, variants, _, num_classes = probs_TKNV.shape
    count, longest = texts.classes_ES.shape
    where_SE, equal = _states(num_classes, images_E, texts, behind=num_classes - 1)
    # From a character straight to the next one, without a blank, unless both are the same variant of a class.
    skips = (~equal).astype(np.float64)
    flat_TKC = probs_TKNV.reshape(frames, variants, -1)
    blanks_TE = probs_TKNV[:, 0, :, BLANK][:, images_E]
    # What may have been written so far: texts up to each character that end in a blank, then in a variant.
    buffers = np.zeros((2, longest + 1 + variants * longest, count))
    buffers[0, 0] = 1.0
    now, following = (_Alphas.over(buffer, variants, longest) for buffer in buffers)
    scale, gathered = np.zeros(count), np.empty((longest, count))
    tail = gathered[1:]
    for t in range(frames):
        following.blank[0] = now.blank[0]
        np.add(now.blank_behind, now.written[0], out=following.blank_behind)
        for k in range(variants):
            if k:
                np.add(following.blank_behind, now.written[k], out=following.blank_behind)
            np.add(now.written[k], now.blank_before, out=following.written[k])
            np.multiply(now.before[k], skips, out=tail)
            following.behind[k] += tail
            for other in range(variants):
                if other != k:
                    following.behind[k] += now.before[other]
            following.written[k] *= flat_TKC[t, k].take(where_SE, out=gathered, mode="clip")
        np.multiply(following.blank, blanks_TE[t], out=following.blank)
        now, following = following, now
        if t % _RESCALE_EVERY == _RESCALE_EVERY - 1:
            largest = now.all.max(axis=0)
            largest[largest == 0.0] = 1.0
            np.divide(now.all, largest, out=now.all)
            scale += np.log(largest)
    columns, last = np.arange(count), texts.lengths_E
    total = now.blank[last, columns]
    if longest:
        for written in now.written:
            total += np.where(last > 0, written[last - 1, columns], 0.0)
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(total) + scale
    return logs


def _by_logarithms(log_probs_NKTV: npt.NDArray[np.float32], images_E: Indices, texts: TextTable) -> Floats:
    """The same pass in logarithms, in which nothing underflows: slower."""
    _, variants, _, num_classes = log_probs_NKTV.shape
    count, longest = texts.classes_ES.shape
    where_SE, equal = _states(num_classes, images_E, texts)
    skips = np.where(equal, -np.inf, 0.0)
    blank, written = np.full((longest + 1, count), -np.inf), np.full((variants, longest, count), -np.inf)
    blank[0] = 0.0
    for frame_KNV in log_probs_NKTV.astype(np.float64).transpose(2, 1, 0, 3):
        flat_KC = frame_KNV.reshape(variants, -1)
        entered = np.logaddexp(written, blank[:-1])
        for k, other in product(range(variants), repeat=2):
            arrived = written[other, :-1] + (skips if k == other else 0.0)
            entered[k, 1:] = np.logaddexp(entered[k, 1:], arrived)
        blank[1:] = np.logaddexp(blank[1:], np.logaddexp.reduce(written, axis=0))
        blank += frame_KNV[0, images_E, BLANK]
        written = entered + flat_KC[:, where_SE]
    columns, last = np.arange(count), texts.lengths_E
    total: Floats = blank[last, columns]
    if longest:
        ended = np.logaddexp.reduce(written[:, last - 1, columns], axis=0)
        total = np.logaddexp(total, np.where(last > 0, ended, -np.inf))
    return total
