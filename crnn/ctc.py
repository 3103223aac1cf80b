"""Connectionist temporal classification (Graves et al. 2006) over batches in which every frame counts.

Shapes: N batch, T frames, V classes with the blank at 0, S target length. This is the only place that knows
torch's (T, N, V) order. Batches hold one canonical width, so that all N items have the same T frames.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from crnn.charset import BLANK


def min_frames(target: Sequence[int]) -> int:
    """Fewest frames in which CTC can write the classes: one each, and a blank between two equal ones."""
    return len(target) + sum(a == b for a, b in pairwise(target))


def ctc_loss(logits_NTV: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """Negative log p(target | image) of each item, in fp32 whatever the logits' type.

    Args:
        logits_NTV: Unnormalised scores.
        targets: int [sum of lengths], the items' classes one after the other, without blanks.
        target_lengths: int [N]; 0 is allowed and asks for blanks only.

    Returns:
        float32 [N]. Infinite where the target needs more than T frames: `min_frames` finds those when data
        is read, so an infinity here is a defect of the data path and is not hidden.
    """
    log_probs_TNV = logits_NTV.float().log_softmax(dim=-1).transpose(0, 1)
    frames = torch.full((logits_NTV.shape[0],), logits_NTV.shape[1], dtype=torch.long)
    return F.ctc_loss(
        log_probs_TNV, targets.long(), frames, target_lengths.long(), blank=BLANK, reduction="none"
    )


def log_prob(log_probs_NTV: Tensor, targets: Tensor, target_lengths: Tensor) -> Tensor:
    """log p(target | image), summed over all alignments; float32 [N], minus infinity where impossible.

    Arguments as in `ctc_loss`; normalised log-probabilities may be given, since a log-softmax of them
    changes nothing.
    """
    return -ctc_loss(log_probs_NTV, targets, target_lengths)
