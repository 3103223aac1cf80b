"""Signs that aren't what their character says: a Q for the underscore, a star for the question mark.

Letters and digits are judged face by face (`legibility`); fonts that pass still hold jokes, mathematics or
ligatures in the places of signs.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.synthesis.face_reader import RawFace
from pipeline.synthesis.shapes import comparable

_LEAST_FACES = 8
"""Ordinary faces below which there is nothing to compare with: no verdict."""
_LEAST_COSINE = 0.6
"""With the usual shape; slanted brackets and odd ampersands reach it."""
_FARTHEST = 15
"""Pixels that a sign's middle may lie above or below the usual place, half a capital's height."""
_MOST_ODD = 3
"""Odd signs of a face above which all of its signs are left out: its encoding is another."""


def odd_signs(faces: Sequence[RawFace], ordinary: Sequence[bool], characters: str) -> npt.NDArray[np.bool_]:
    """F × C: which glyphs shouldn't be used; letters and digits never are among them."""
    odd = np.zeros((len(faces), len(characters)), bool)
    signs = [i for i, c in enumerate(characters) if not c.isalnum()]
    for i in signs:
        holders = [n for n, face in enumerate(faces) if face.boxes[i, 6]]
        usual = [place for place, n in enumerate(holders) if ordinary[n]]
        if len(usual) < _LEAST_FACES:
            continue
        shapes = np.stack([comparable(faces[n].bitmap(i)) for n in holders])
        middles = np.array([faces[n].boxes[i, 4] + faces[n].boxes[i, 2] / 2 for n in holders])
        model = np.median(shapes[usual], axis=0)
        cosines = shapes @ model / np.linalg.norm(model)
        away = np.abs(middles - np.median(middles[usual]))
        odd[holders, i] = (cosines < _LEAST_COSINE) | (away > _FARTHEST)
    foreign = odd.sum(1) > _MOST_ODD
    odd[np.ix_(foreign, signs)] = True
    return odd
