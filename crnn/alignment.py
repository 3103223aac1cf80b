"""Where the characters of a text stand: the likeliest alignment's frames, and these in pixels of the image.

Shapes: T frames, V classes with the blank at 0, L = 2 × characters + 1 states, blanks between all of them.
"""

from collections.abc import Sequence
from itertools import pairwise
from math import inf

import numpy as np
from torch import Tensor

from crnn.charset import BLANK
from crnn.decode import Span


def character_spans(log_probs_TV: Tensor, classes: Sequence[int]) -> tuple[Span, ...]:
    """Frames of each character of a text on its likeliest alignment, by Viterbi's algorithm.

    Of the best path's own text, these are the best path's own spans, but where classes of a frame are equally
    likely: then any of the likeliest alignments may be the one.

    Args:
        log_probs_TV: float32, normalised over V, on the CPU.
        classes: Of the text, without blanks.

    Returns:
        First frame and one past the last of each character; none where the text doesn't fit into T frames.
    """
    log_probs = log_probs_TV.double().numpy()
    frames, count = len(log_probs), 2 * len(classes) + 1
    states = np.full(count, BLANK)
    states[1::2] = classes
    # From a character straight to the next one, without a blank, unless they are equal.
    skips = np.zeros(count, bool)
    skips[3::2] = states[3::2] != states[1:-2:2]
    scores = np.full(count, -inf)
    scores[0] = 0.0
    steps_TL = np.zeros((frames, count), np.int64)
    for t in range(frames):
        ways = np.full((3, count), -inf)
        ways[0] = scores
        ways[1, 1:] = scores[:-1]
        if t:
            ways[2, 2:] = np.where(skips[2:], scores[:-2], -inf)
        steps_TL[t] = ways.argmax(axis=0)
        scores = ways.max(axis=0) + log_probs[t, states]
    state = count - 1 - int(scores[-2:].argmax() == 0 and count > 1)
    if scores[state] == -inf:
        return ()
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= steps_TL[t, state]
    characters = np.arange(1, count, 2)
    firsts, ends = (np.searchsorted(path, characters, side) for side in ("left", "right"))
    return tuple(zip(firsts.tolist(), ends.tolist(), strict=True))


def pixel_boxes(
    spans: tuple[Span, ...], frames: int, canonical_width: int, scaled_width: int, width: int
) -> list[tuple[float, float]]:
    """Left and right edge of each character in pixels of the original image.

    A network that learnt by CTC fires for a frame or two somewhere on a character, so that the edge between
    two characters is taken midway between their frames.

    Args:
        spans: Of a hypothesis.
        frames: T of its log-probabilities.
        canonical_width: Pixels of the padded line image, which the frames cover evenly.
        scaled_width: Pixels of it that are image, not padding.
        width: Pixels of the original.
    """
    if not spans:
        return []
    centres = [(first + end) / 2 for first, end in spans]
    middles = [(a + b) / 2 for a, b in pairwise(centres)]
    reach = max(middles[0] - centres[0], centres[-1] - middles[-1]) if middles else frames / 2
    edges = [centres[0] - reach, *middles, centres[-1] + reach]
    scale = canonical_width / frames * (width / scaled_width)
    pixels = [min(max(edge * scale, 0.0), float(width)) for edge in edges]
    return list(pairwise(pixels))
