"""pipeline.synthesis.cases on made-up shapes: what small letters look like decides how labels are written."""

import string

import numpy as np
import numpy.typing as npt

from pipeline.synthesis.cases import find_cases

LETTERS = string.ascii_letters
HALF = len(LETTERS) // 2


def drawn(shapes: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """The shapes as another hand draws them: unit vectors near them, no two alike."""
    noise = np.random.default_rng(seed).standard_normal(shapes.shape) * 0.5 / np.sqrt(shapes.shape[1])
    near = shapes / np.linalg.norm(shapes, axis=1, keepdims=True) + noise
    unit: npt.NDArray[np.float32] = (near / np.linalg.norm(near, axis=1, keepdims=True)).astype(np.float32)
    return unit


def letters() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """What small letters and capitals usually look like, each 26 × 256."""
    usual = np.random.default_rng(0).random((2, HALF, 256)).astype(np.float32)
    return usual[0], usual[1]


def test_faces_with_small_letters_and_capitals_of_their_own_keep_both() -> None:
    small, large = letters()
    faces = np.stack([np.concatenate([drawn(small, i), drawn(large, 100 + i)]) for i in range(12)])
    assert find_cases(faces, LETTERS) == ["both"] * 12


def test_small_capitals_are_capitals_though_drawn_lighter_or_wider_than_the_large_ones() -> None:
    small, large = letters()
    ordinary = [np.concatenate([drawn(small, i), drawn(large, 100 + i)]) for i in range(12)]
    capitals = np.concatenate([drawn(large, 200), drawn(large, 201)])
    likeness = (capitals[:HALF] * capitals[HALF:]).sum(1)
    assert likeness.max() < 0.97  # no drawing is used twice
    assert find_cases(np.stack([*ordinary, capitals]), LETTERS) == ["both"] * 12 + ["upper"]


def test_small_letters_of_which_half_are_small_capitals_are_capitals() -> None:
    """As hands write them: some letters have one form for both, and that is the capital's."""
    small, large = letters()
    ordinary = [np.concatenate([drawn(small, i), drawn(large, 100 + i)]) for i in range(12)]
    telling = [LETTERS.index(c) for c in "abdeghmnqr"]
    for count, case in ((6, "upper"), (2, "both")):
        own = small.copy()
        own[telling[:count]] = large[telling[:count]]
        face = np.concatenate([drawn(own, 200), drawn(large, 201)])
        assert find_cases(np.stack([*ordinary, face]), LETTERS)[-1] == case


def test_one_drawing_for_both_is_told_by_which_it_looks_like() -> None:
    small, large = letters()
    ordinary = [np.concatenate([drawn(small, i), drawn(large, 100 + i)]) for i in range(12)]
    upper, lower = (np.tile(drawn(shapes, 300), (2, 1)) for shapes in (large, small))
    assert find_cases(np.stack([*ordinary, upper, lower]), LETTERS)[12:] == ["upper", "lower"]


def test_without_letters_in_both_cases_nothing_is_changed() -> None:
    shapes = np.random.default_rng(1).random((3, 10, 256)).astype(np.float32)
    assert find_cases(shapes, string.digits) == ["both"] * 3
    assert find_cases(shapes[:0], string.digits) == []
