"""Whether a face's letters look like what they are: a small classifier learns letters from other families.

Dingbats, Greek letters at Latin places, runes and mazes score near 0, text faces near 1.
Shapes: F faces, J judged characters, D numbers a glyph, R features, N classes.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.synthesis.shapes import Shapes
from pipeline.synthesis.split import rank_of

LEAST_FAMILIES = 6
"""Families below which there is too little to learn from: no verdict. With runes among five families, even
DejaVu Sans is taken for runes."""
_ALIKE = ("il1", "o0", "s5", "z2", "g9q", "b6")
"""Characters that even good faces draw alike."""
_FOLDS = 4
_FACES_PER_FAMILY = 3
"""That are learnt from, so that families with many weights don't rule."""
_FEATURES = 1200
_RIDGE = 30.0
_CHUNK = 100
"""Faces at once, to bound memory."""

Floats = npt.NDArray[np.float64]


def legibility(shapes: Shapes, characters: str, families: Sequence[str]) -> Floats:
    """Share of each face's characters that are recognised by what other families look like.

    A ridge regression on random features, fitted as often as there are folds of families, so that no face is
    judged by its own family.

    Args:
        shapes: F × J × D, of `shapes.face_shapes`.
        characters: The J characters.
        families: Of the F faces.

    Returns:
        F shares; ones where there are too few families to learn from.
    """
    names = sorted(set(families), key=lambda name: (rank_of(name), name))
    if len(names) < LEAST_FAMILIES:
        return np.ones(len(shapes))
    fold = np.array([names.index(family) % _FOLDS for family in families])
    classes = _classes(characters)
    sums = _sums(shapes, classes, families, fold)
    whole = [sum(part) for part in zip(*sums, strict=True)]
    recognised = np.zeros(len(shapes))
    for k, (gram, moment) in enumerate(sums):
        ridge = _RIDGE * np.eye(len(gram))
        weights = np.linalg.solve(whole[0] - gram + ridge, whole[1] - moment).astype(np.float32)
        for i in np.flatnonzero(fold == k):
            recognised[i] = ((_features(shapes[i]) @ weights).argmax(1) == classes).mean()
    return recognised


def _classes(characters: str) -> npt.NDArray[np.int64]:
    """J class numbers: case is folded, and characters that are drawn alike are one."""
    alike = {c: group[0] for group in _ALIKE for c in group}
    folded = [alike.get(c.casefold(), c.casefold()) for c in characters]
    return np.unique(folded, return_inverse=True)[1]


def _sums(
    shapes: Shapes, classes: npt.NDArray[np.int64], families: Sequence[str], fold: npt.NDArray[np.int64]
) -> list[tuple[Floats, Floats]]:
    """The regression's sums over each fold's faces: R × R and R × N."""
    seen: Counter[str] = Counter()
    learnt = np.zeros(len(shapes), bool)
    for i, family in enumerate(families):
        learnt[i] = seen[family] < _FACES_PER_FAMILY
        seen[family] += 1
    targets = np.eye(classes.max() + 1, dtype=np.float32)[classes]
    sums = []
    for k in range(_FOLDS):
        gram: Floats | float = 0.0
        moment: Floats | float = 0.0
        members = np.flatnonzero((fold == k) & learnt)
        for start in range(0, len(members), _CHUNK):
            some = members[start : start + _CHUNK]
            features = _features(shapes[some].reshape(-1, shapes.shape[2]))
            gram = gram + (features.T @ features).astype(np.float64)
            moment = moment + (features.T @ np.tile(targets, (len(some), 1))).astype(np.float64)
        sums.append((np.asarray(gram), np.asarray(moment)))
    return sums


def _features(shapes: Shapes) -> Shapes:
    """The numbers themselves and random combinations of them, cut off at 0."""
    generator = np.random.Generator(np.random.Philox(key=36))
    mixing = 2 * generator.standard_normal((shapes.shape[1], _FEATURES), dtype=np.float32)
    offsets = 2 * generator.random(_FEATURES, dtype=np.float32) - 1
    return np.concatenate([4 * shapes, np.maximum(shapes @ mixing + offsets, 0)], axis=1)
