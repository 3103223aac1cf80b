"""Glyphs made comparable: the same letter of a light and a heavy, a wide and a narrow face look alike.

Shapes: F faces, J judged characters, D = SIDE × SIDE numbers a glyph.
"""

import string

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.assets import Bytes
from pipeline.synthesis.face_reader import RawFace

SIDE = 16
"""Pixels of a comparable glyph's side."""
_MOST_JUDGED = 64
"""Characters that stand for all: comparing thousands of syllables would add nothing."""

Shapes = npt.NDArray[np.float32]


def judged(characters: str) -> list[int]:
    """Indices of the characters by which faces are compared: ASCII's letters and digits, or others where
    there are too few of them."""
    plain = [i for i, c in enumerate(characters) if c in string.ascii_letters + string.digits]
    if len(plain) >= 10:
        return plain
    others = [i for i, c in enumerate(characters) if c.isalnum()]
    return others[:: -(-len(others) // _MOST_JUDGED)]


def face_shapes(face: RawFace, indices: list[int]) -> Shapes:
    """J × D: the face's glyphs, each a vector of length 1."""
    return np.stack([comparable(face.bitmap(i)) for i in indices])


def comparable(bitmap: Bytes) -> Shapes:
    """D numbers, a vector of length 1, whatever the bitmap's size and the weight of its strokes."""
    height, width = bitmap.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = np.zeros((SIDE, SIDE), np.float32)
    left, top = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square[top : top + size[1], left : left + size[0]] = cv2.resize(
        bitmap, size, interpolation=cv2.INTER_AREA
    )
    # Strokes of any weight overlap once they are blurred.
    vector = cv2.GaussianBlur(square, (0, 0), 0.8).ravel()
    unit: npt.NDArray[np.float32] = (vector / max(float(np.linalg.norm(vector)), 1e-6)).astype(np.float32)
    return unit
