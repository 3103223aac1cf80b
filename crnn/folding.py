"""A recogniser's classes as a smaller charset's: it tells apart what a lexicon doesn't, such as case.

Shapes: N batch, K variants of a class, T frames, V classes of the recogniser, U of the smaller charset; the
blank at 0 of both.
"""

from collections.abc import Callable
from math import inf

import torch
from torch import Tensor

from crnn.charset import BLANK, Charset
from crnn.decode import best_path


class Folding:
    """Which classes of a recogniser write each character of a smaller charset.

    Adding their probabilities up would merge "Ll" into one "l": two different classes in adjacent frames are
    two characters, though they are the same character of the smaller charset. So they are kept side by side.

    Args:
        charset: The recogniser's.
        onto: The smaller one.
        normalize: What a text of `charset` is in `onto`: of a single character, one character or nothing.
    """

    def __init__(self, charset: Charset, onto: Charset, normalize: Callable[[str], str]) -> None:
        self.charset, self.onto, self._normalize = charset, onto, normalize
        found: list[list[int]] = [[BLANK], *([] for _ in onto.characters)]
        for number, character in enumerate(charset.characters, start=1):
            normal = normalize(character)
            # A character that is dropped parts its neighbours and writes nothing, as the blank does.
            written = onto.encode(normal)[0] if normal and not onto.unsupported(normal) else BLANK
            found[written].append(number)
        self._blanks = torch.tensor(found[BLANK])
        variants = max(1, *(len(numbers) for numbers in found[1:]))
        # The class behind the last one stands for variants that a character doesn't have.
        none = charset.num_classes
        rows = [[none] * variants, *(numbers + [none] * (variants - len(numbers)) for numbers in found[1:])]
        self._variants_UK = torch.tensor(rows)

    def split(self, log_probs_NTV: Tensor) -> Tensor:
        """Log-probabilities by variant, [N, K, T, U]: minus infinity where a character has fewer of them."""
        padded = torch.nn.functional.pad(log_probs_NTV, (0, 1), value=-inf)
        split_NKTU = padded[..., self._variants_UK].permute(0, 3, 1, 2)
        split_NKTU[:, 0, :, BLANK] = log_probs_NTV[..., self._blanks].logsumexp(dim=-1)
        return split_NKTU.contiguous()

    def best_texts(self, log_probs_NTV: Tensor) -> list[str]:
        """The best path's text of each item, in the smaller charset."""
        return [self._normalize(found.text) for found in best_path(log_probs_NTV, self.charset)]
