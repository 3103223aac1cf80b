"""Posteriors as a trained recogniser gives them, made without one: peaked on words, with its kind of doubts.

What decoding costs depends on how sure the network is: noise would be too hard for a lexicon, and certainty
too easy. Here each character fires for a frame or two, and one in fourteen has a rival that is as likely as
not to win. About three words in four are read right, as on clear photographs.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from crnn.batching import plan_packs
from crnn.charset import Charset

_FRAMES_A_CHARACTER = 4
_WIDTH_STEP = 2  # frames: 8 pixels, as canonical widths have it
_BLANK = 12.0
_PEAK, _PEAK_SPREAD = 14.0, 2.0
_DOUBTFUL = 0.07  # share of characters that have a rival
_RIVALRY = 2.5  # spread of the margin between the two
_NOISE = 1.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Pack:
    """Words of equally many frames."""

    words: tuple[str, ...]
    log_probs_NTV: Tensor
    """float32, normalised over V."""


def peaked_posteriors(words: Sequence[str], charset: Charset, seed: int) -> list[Pack]:
    """Packs of posteriors of words, every word in exactly one.

    Args:
        words: Made of the charset's characters.
        charset: Whose classes the posteriors are over.
        seed: Decides every doubt.
    """
    generator = np.random.default_rng(seed)
    frames = [
        -(-(len(word) * _FRAMES_A_CHARACTER + _WIDTH_STEP) // _WIDTH_STEP) * _WIDTH_STEP for word in words
    ]
    packs = []
    for members in plan_packs(frames, 4_096):
        logits = np.stack([_logits(words[i], frames[i], charset, generator) for i in members])
        packs.append(
            Pack(
                words=tuple(words[i] for i in members),
                log_probs_NTV=torch.from_numpy(logits).log_softmax(-1),
            )
        )
    return packs


def _logits(word: str, frames: int, charset: Charset, generator: np.random.Generator) -> np.ndarray:
    """float32 [T, V]."""
    logits = generator.normal(0.0, _NOISE, (frames, charset.num_classes))
    logits[:, 0] += _BLANK
    for i, code in enumerate(charset.encode(word)):
        at = 1 + i * _FRAMES_A_CHARACTER + int(generator.integers(0, 2))
        peak = generator.normal(_PEAK, _PEAK_SPREAD)
        doubtful = generator.random() < _DOUBTFUL
        rival, margin = int(generator.integers(1, charset.num_classes)), generator.normal(0.0, _RIVALRY)
        for t in range(at, at + int(generator.integers(1, 3))):
            logits[t, 0] -= _BLANK - 2.0
            logits[t, code] += peak
            if doubtful:
                logits[t, rival] += peak - margin
    found: np.ndarray = logits.astype(np.float32)
    return found
