"""Faces grouped by design: what is drawn alike belongs together, whatever its family is called."""

import re
from collections import Counter
from collections.abc import Sequence

import numpy as np

from pipeline.synthesis.shapes import Shapes

ALIKE = 0.985
"""Mean cosine of two faces' glyphs from which they are one design: Arimo and Liberation Sans reach 0.993, a
face and its own bold about 0.96, Roboto and Liberation Sans 0.971."""
_CHUNK = 512
"""Faces at once, to bound memory."""


def group_designs(shapes: Shapes, families: Sequence[str]) -> list[str]:
    """The design of each face: those of one family, and of families with faces that are drawn alike.

    Args:
        shapes: F × J × D, of `shapes.face_shapes`.
        families: Of the F faces.

    Returns:
        Names, each that of the design's most frequent family.
    """
    leader = list(range(len(families)))

    def find(i: int) -> int:
        while leader[i] != i:
            leader[i] = leader[leader[i]]
            i = leader[i]
        return i

    first: dict[str, int] = {}
    for i, family in enumerate(families):
        leader[find(i)] = find(first.setdefault(_plain(family), i))
    flat = shapes.reshape(len(shapes), shapes.shape[1] * shapes.shape[2])  # there may be no face
    for start in range(0, len(flat), _CHUNK):
        alike = flat[start : start + _CHUNK] @ flat.T / shapes.shape[1]
        for i, j in np.argwhere(alike >= ALIKE):
            leader[find(int(i) + start)] = find(int(j))
    roots = [find(i) for i in range(len(families))]
    members: dict[int, list[str]] = {}
    for root, family in zip(roots, families, strict=True):
        members.setdefault(root, []).append(family)
    names = {
        root: min(Counter(some).items(), key=lambda pair: (-pair[1], pair[0]))[0]
        for root, some in members.items()
    }
    return [names[root] for root in roots]


def _plain(family: str) -> str:
    """The same for families that differ in spacing, case and numbers alone, such as those of optical sizes.

    TeX names its own by three letters, styles and a size (drmitbx10): there, the three letters.
    """
    tex = re.fullmatch(r"([a-z]{3})[a-z]*\d+", family)
    return tex[1] if tex else re.sub(r"[\W\d_]+", "", family).casefold() or family
