"""Faces without small letters, or without capitals: what they write must be changed first, or labels lie."""

import numpy as np
import numpy.typing as npt

from pipeline.synthesis.assets import Case
from pipeline.synthesis.shapes import Shapes

_TELLING = "abdeghmnqr"
"""Letters whose capitals are drawn otherwise in every ordinary face."""
_SAME = 0.97
"""Cosine from which a capital and its small letter are one drawing."""
_MOST = 0.5
"""Share of a face's small letters that look more like the usual capitals, from which on they are small
capitals, where they do so on average as well."""


def find_cases(shapes: Shapes, characters: str) -> list[Case]:
    """The case of each face.

    Args:
        shapes: F × J × D, of `shapes.face_shapes`.
        characters: The J characters; without letters in both cases, every face has both.
    """
    letters = [c for c in _TELLING if c in characters and c.upper() in characters]
    if not letters or not len(shapes):
        return ["both"] * len(shapes)
    small = shapes[:, [characters.index(c) for c in letters]]
    large = shapes[:, [characters.index(c.upper()) for c in letters]]
    single = ((small * large).sum(2) >= _SAME).mean(1) >= 0.5
    usual = ~single if not single.all() else single
    as_small = _likeness(small, small[usual])
    as_large = _likeness(small, large[usual])
    nearer = as_large - as_small
    capitals = ((nearer > 0).mean(1) >= _MOST) & (nearer.mean(1) >= 0)
    return [
        "upper" if small_capitals else "both" if not alone else "upper" if large >= small else "lower"
        for small_capitals, alone, small, large in zip(
            capitals, single, as_small.sum(1), as_large.sum(1), strict=True
        )
    ]


def _likeness(shapes: Shapes, usual: Shapes) -> npt.NDArray[np.float32]:
    """F × letters: cosine of each face's letters with what these faces have on average."""
    average = usual.mean(0)
    average /= np.linalg.norm(average, axis=1, keepdims=True)
    likeness: npt.NDArray[np.float32] = (shapes * average).sum(2)
    return likeness
