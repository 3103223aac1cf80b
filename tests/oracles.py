"""Slow and obviously right: what the fast code is held against."""

from collections.abc import Iterator, Sequence
from functools import cache
from itertools import groupby, product

import torch
from torch import Tensor


def collapse(path: Sequence[int]) -> tuple[int, ...]:
    """What an alignment writes: repeats merged, then blanks (0) dropped."""
    return tuple(c for c, _ in groupby(path) if c != 0)


def alignments(frames: int, classes: int) -> Iterator[tuple[int, ...]]:
    """Every path of one class a frame."""
    return product(range(classes), repeat=frames)


def text_probabilities(probs_TV: Tensor) -> dict[tuple[int, ...], Tensor]:
    """p(text | image) of every text that the frames can write, by adding up all alignments.

    Differentiable: autograd through the sum gives the exact gradient.
    """
    found: dict[tuple[int, ...], Tensor] = {}
    for path in alignments(*probs_TV.shape):
        probability = torch.stack([probs_TV[t, c] for t, c in enumerate(path)]).prod()
        text = collapse(path)
        found[text] = found[text] + probability if text in found else probability
    return found


def recursive_edit_distance(a: str, b: str) -> int:
    """Levenshtein's distance by its definition."""

    @cache
    def distance(i: int, j: int) -> int:
        if not i or not j:
            return i + j
        return min(
            distance(i - 1, j) + 1,
            distance(i, j - 1) + 1,
            distance(i - 1, j - 1) + (a[i - 1] != b[j - 1]),
        )

    return distance(len(a), len(b))
