"""From frames to text: best path, and prefix beam search that sums over alignments.

Shapes: N batch, T frames, V classes with the blank at 0, B prefixes in the beam. All T frames count.
"""

from dataclasses import dataclass
from math import exp
from typing import Protocol

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crnn.charset import BLANK, Charset

Floats = npt.NDArray[np.floating]
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


class PrefixScorer(Protocol):
    """A language model over characters, as `prefix_beam_search` asks it."""

    def next_scores(self, prefix: tuple[int, ...]) -> Floats:
        """Natural log p(next | prefix) of each class; [V], where entry 0 is the end of the text."""
        ...


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


def prefix_beam_search(
    log_probs_TV: Tensor,
    charset: Charset,
    *,
    beam_width: int = 16,
    n_best: int = 1,
    language_model: PrefixScorer | None = None,
    weight: float = 0.5,
    length_bonus: float = 0.0,
) -> Hypothesis:
    """The likeliest text found by extending the `beam_width` likeliest prefixes frame by frame.

    Probabilities are summed over alignments (Graves and Jaitly 2014; Hannun et al. 2014). The result is exact
    where the beam holds every prefix. With a language model, prefixes are ranked by
    log p(prefix | image) + weight · log p_lm(prefix) + length_bonus · length.

    Args:
        log_probs_TV: float32, normalised over V.
        beam_width: Prefixes that are kept from frame to frame, at least 1.
        n_best: How many texts to give; those after the first are its `alternatives`.

    Raises:
        ValueError: A beam of no prefix.

    Returns:
        log_prob is log p(text | image) as far as the beam saw its alignments, without the language model;
        confidence is its share among all texts that the beam holds at the end, weighed by the rank's score.
    """
    if beam_width < 1:
        raise ValueError(f"A beam holds 1 prefix at least; beam_width is {beam_width}.")
    log_probs = log_probs_TV.double().numpy()
    num_classes = log_probs.shape[1]
    prefixes: list[tuple[int, ...]] = [()]
    last = np.full(1, BLANK)
    ended_by_blank, ended_by_character = np.zeros(1), np.full(1, -np.inf)
    prior = np.zeros(1)
    priors_next: dict[tuple[int, ...], Floats] = {}

    def extension(prefix: tuple[int, ...]) -> Floats:
        if prefix not in priors_next:
            assert language_model is not None
            priors_next[prefix] = weight * language_model.next_scores(prefix) + length_bonus
        return priors_next[prefix]

    for frame in log_probs:
        rows = np.arange(len(prefixes))
        total = np.logaddexp(ended_by_blank, ended_by_character)
        stay_blank = total + frame[BLANK]
        stay_character = np.where(last == BLANK, -np.inf, ended_by_character + frame[last])
        # A character that equals the last one is a new one only after a blank.
        grow = total[:, None] + frame[None, :]
        grow[rows, last] = ended_by_blank + frame[last]
        grow[:, BLANK] = -np.inf
        # What grows into a prefix that the beam holds already belongs to that one.
        index = {prefix: i for i, prefix in enumerate(prefixes)}
        parents = [(index[p[:-1]], i) for i, p in enumerate(prefixes) if p and p[:-1] in index]
        if parents:
            parent, child = np.array(parents).T
            stay_character[child] = np.logaddexp(stay_character[child], grow[parent, last[child]])
            grow[parent, last[child]] = -np.inf
        bonus = np.zeros((len(prefixes), num_classes))
        if language_model is not None:
            bonus = np.stack([extension(prefix) for prefix in prefixes])
        scores = np.concatenate(
            [np.logaddexp(stay_blank, stay_character) + prior, (grow + prior[:, None] + bonus).ravel()]
        )
        keep = _largest(scores, beam_width)
        stayed, grown = keep[keep < len(prefixes)], keep[keep >= len(prefixes)] - len(prefixes)
        from_row, character = np.divmod(grown, num_classes)
        prior = np.concatenate([prior[stayed], prior[from_row] + bonus[from_row, character]])
        ended_by_blank = np.concatenate([stay_blank[stayed], np.full(len(grown), -np.inf)])
        ended_by_character = np.concatenate([stay_character[stayed], grow[from_row, character]])
        last = np.concatenate([last[stayed], character])
        prefixes = [prefixes[i] for i in stayed] + [
            (*prefixes[i], int(c)) for i, c in zip(from_row, character, strict=True)
        ]
    totals = np.logaddexp(ended_by_blank, ended_by_character)
    ends = np.zeros(len(prefixes))
    if language_model is not None:
        ends = np.array([extension(prefix)[BLANK] - length_bonus for prefix in prefixes])
    ranked = totals + prior + ends
    shares = np.exp(ranked - np.logaddexp.reduce(ranked))
    order = sorted(range(len(prefixes)), key=lambda i: (-ranked[i], prefixes[i]))[: max(n_best, 1)]
    found = [
        Hypothesis(charset.decode(prefixes[i]), float(totals[i]), min(float(shares[i]), 1.0)) for i in order
    ]
    best = found[0]
    return Hypothesis(best.text, best.log_prob, best.confidence, alternatives=tuple(found[1:]))


def _largest(scores: Floats, count: int) -> Indices:
    """Indices of the largest finite scores, at most `count`; of equals, the first ones."""
    finite = np.flatnonzero(scores > -np.inf)
    if len(finite) <= count:
        return finite
    order = np.argsort(-scores[finite], kind="stable")
    return np.sort(finite[order[:count]])
