"""log p(text | image) of many texts at once: the CTC forward pass over ready-made tables of texts.

`crnn.ctc.log_prob` is the reference; this is some ten times faster where the texts are many and short.
Shapes: N images, T frames, V classes with the blank at 0, E texts, S longest text, L = 2 S + 1 states.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from crnn.ctc import log_prob

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
        width = max((table.classes_ES.shape[1] for table in tables), default=0)
        padded = [
            np.pad(t.classes_ES, ((0, 0), (0, width - t.classes_ES.shape[1])))
            if t.classes_ES.shape[1] < width
            else t.classes_ES
            for t in tables
        ]
        return cls(np.concatenate(padded), np.concatenate([table.lengths_E for table in tables]))

    @classmethod
    def of(cls, texts: list[tuple[int, ...]]) -> "TextTable":
        """From the classes of each text."""
        lengths = np.fromiter((len(text) for text in texts), np.int64, len(texts))
        classes = np.zeros((len(texts), int(lengths.max(initial=0))), np.int64)
        flat = np.fromiter((c for text in texts for c in text), np.int64, int(lengths.sum()))
        classes[np.arange(classes.shape[1]) < lengths[:, None]] = flat
        return cls(classes, lengths)


def text_log_probs(
    log_probs_NTV: npt.NDArray[np.float32], images_E: Indices, texts: TextTable, *, refine: bool = True
) -> Floats:
    """log p(text | image) of pairs of an image and a text, summed over all alignments.

    Args:
        log_probs_NTV: Normalised over V.
        images_E: Which of the N images each text is asked of.
        texts: The texts.
        refine: Whether texts below e^-600 have to be exact too; they are given too low otherwise.

    Returns:
        float64 [E]; minus infinity where the text needs more than T frames.
    """
    probs_TNV = np.exp(log_probs_NTV.astype(np.float64)).transpose(1, 0, 2).copy()
    result = np.empty(len(images_E))
    order = np.argsort(texts.lengths_E, kind="stable")
    start = 0
    while start < len(order):
        # Short texts first, in passes of bounded size, so that little is padding.
        stop = start + max(1, _CELLS // (2 * int(texts.lengths_E[order[start]]) + 1))
        rows = order[start:stop]
        while len(rows) > 1 and len(rows) * (2 * int(texts.lengths_E[rows[-1]]) + 1) > 2 * _CELLS:
            rows = rows[: len(rows) // 2]
        result[rows] = _forward(probs_TNV, images_E[rows], texts.take(rows))
        start += len(rows)
    # What underflows on the way adds up to less than e^-700: only results near that can have suffered.
    lost = np.flatnonzero(result < UNSURE) if refine else np.empty(0, np.int64)
    for some in np.array_split(lost, -(-len(lost) // _REFINED)) if len(lost) else ():
        result[some] = _by_logarithms(log_probs_NTV, images_E[some], texts.take(some))
    return result


def _forward(probs_TNV: Floats, images_E: Indices, texts: TextTable) -> Floats:
    """Products of probabilities, rescaled now and then; too small, or nothing, where they underflow."""
    frames, _, num_classes = probs_TNV.shape
    count, longest = texts.classes_ES.shape
    states_LE = np.zeros((2 * longest + 1, count), np.int64)
    states_LE[1::2] = texts.classes_ES.T
    # From a character straight to the next one, without a blank, unless they are equal.
    skips = (states_LE[3::2] != states_LE[1:-2:2]).astype(np.float64)
    where_LE = states_LE + images_E * num_classes
    alpha = np.zeros((2 * longest + 1, count))
    alpha[0] = 1.0
    following, scale = np.empty_like(alpha), np.zeros(count)
    for t in range(frames):
        np.copyto(following, alpha)
        if t:
            following[1:] += alpha[:-1]
            following[3::2] += alpha[1:-2:2] * skips
        else:
            following[1:2] = 1.0
        following *= probs_TNV[t].ravel().take(where_LE)
        alpha, following = following, alpha
        if t % _RESCALE_EVERY == _RESCALE_EVERY - 1:
            largest = alpha.max(axis=0)
            largest[largest == 0.0] = 1.0
            alpha /= largest
            scale += np.log(largest)
    columns, last = np.arange(count), 2 * texts.lengths_E
    total = alpha[last, columns] + np.where(last > 0, alpha[last - 1, columns], 0.0)
    with np.errstate(divide="ignore"):
        logs: Floats = np.log(total) + scale
    return logs


def _by_logarithms(log_probs_NTV: npt.NDArray[np.float32], images_E: Indices, texts: TextTable) -> Floats:
    inside = np.arange(texts.classes_ES.shape[1]) < texts.lengths_E[:, None]
    found = log_prob(
        torch.from_numpy(log_probs_NTV[images_E]),
        torch.from_numpy(texts.classes_ES[inside]),
        torch.from_numpy(texts.lengths_E),
    )
    values: Floats = found.double().numpy()
    return values
