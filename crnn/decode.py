"""From frames to text by best path, and what a text that was found is told as.

Shapes: N batch, T frames, V classes with the blank at 0. All T frames count.
"""

from dataclasses import dataclass
from math import exp

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crnn.charset import BLANK, Charset

Indices = npt.NDArray[np.int64]
Span = tuple[int, int]
"""Frames of a character: first, and one past the last."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A text that an image may hold."""

    text: str
    log_prob: float
    """Natural log of its probability: of one alignment from best path, of all of them from the others; of its
    share among the texts of the beam where a language model read."""
    confidence: float
    """Probability of the text being right, in [0, 1]; calibrated where the bundle says how."""
    spans: tuple[Span, ...] = ()
    """Frames of each character, where asked for; `crnn.alignment.pixel_boxes` makes boxes of them."""
    alternatives: tuple["Hypothesis", ...] = ()
    """Other texts, likeliest first, where asked for."""
    turned: int = 0
    """Degrees clockwise that the image was turned by, where that made it surer."""


def best_path(log_probs_NTV: Tensor, charset: Charset, *, spans: bool = False) -> list[Hypothesis]:
    """The text of the likeliest alignment of each item: argmax per frame, repeats merged, blanks dropped.

    Args:
        log_probs_NTV: float32, normalised over V, on any device: only the best of each frame leaves it.
        charset: Whose classes V are.
        spans: Whether to note the frames of each character.

    Returns:
        One hypothesis an item; its log_prob is the alignment's, its confidence that probability.
    """
    count, frames = log_probs_NTV.shape[:2]
    if not frames:
        return [Hypothesis("", 0.0, 1.0)] * count
    values, classes = log_probs_NTV.max(dim=-1)
    log_probs = values.double().sum(dim=1).tolist()
    classes_NT = classes.cpu().numpy()
    starts = classes_NT != BLANK
    starts[:, 1:] &= classes_NT[:, 1:] != classes_NT[:, :-1]
    # One string for the whole batch, cut by lengths: a Python loop over characters would cost the most.
    text = _text(classes_NT[starts], charset)
    ends = starts.sum(axis=1).cumsum().tolist()
    cuts = zip([0, *ends], ends, log_probs, strict=False)
    if not spans:
        return [Hypothesis(text[i:j], p, exp(p)) for i, j, p in cuts]
    runs = _runs(classes_NT)
    return [Hypothesis(text[i:j], p, exp(p), tuple(runs[i:j])) for i, j, p in cuts]


def _text(classes: Indices, charset: Charset) -> str:
    code_points = np.frombuffer(charset.characters.encode("utf-32-le"), "<u4")
    return code_points[classes - 1].tobytes().decode("utf-32-le")


def _runs(classes_NT: Indices) -> list[Span]:
    """First frame and one past the last of each character of all items, in order."""
    count, frames = classes_NT.shape
    changes = np.ones((count, frames), bool)
    changes[:, 1:] = classes_NT[:, 1:] != classes_NT[:, :-1]
    # Every item's first frame begins a run, so that the last run of the item before ends there.
    firsts = np.flatnonzero(changes)
    lengths = np.diff(firsts, append=count * frames)
    written = classes_NT.ravel()[firsts] != BLANK
    first = firsts[written] % frames
    return list(zip(first.tolist(), (first + lengths[written]).tolist(), strict=True))
