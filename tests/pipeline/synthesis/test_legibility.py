"""pipeline.synthesis.legibility on made-up shapes: hands that write the same letters, or others."""

import string

import numpy as np
import numpy.typing as npt

from pipeline.synthesis.legibility import LEAST_FAMILIES, legibility

LETTERS = string.ascii_letters + string.digits
D = 64


def hands(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Faces whose letters look alike: each glyph a vector near its letter's."""
    rng = np.random.default_rng(seed)
    letters = rng.random((len(LETTERS), D))
    shapes = letters + rng.standard_normal((count, len(LETTERS), D)) * 0.1
    unit: npt.NDArray[np.float32] = (shapes / np.linalg.norm(shapes, axis=2, keepdims=True)).astype(
        np.float32
    )
    return unit


def test_faces_that_write_what_others_write_are_recognised_and_dingbats_are_not() -> None:
    shapes = hands(11)
    shapes[10] = hands(1, seed=1)[0]
    scores = legibility(shapes, LETTERS, [f"family {i}" for i in range(11)])
    assert scores[:10].min() > 0.9
    assert scores[10] < 0.2


def test_letters_in_the_places_of_others_are_not_recognised() -> None:
    shapes = hands(11)
    shapes[10] = np.roll(shapes[10], 5, axis=0)
    assert legibility(shapes, LETTERS, [f"family {i}" for i in range(11)])[10] < 0.2


def test_a_face_is_not_judged_by_its_own_family() -> None:
    dingbats = hands(4, seed=2)
    scores = legibility(
        np.concatenate([hands(8), dingbats]), LETTERS, [f"family {i}" for i in range(8)] + ["dingbats"] * 4
    )
    assert scores[:8].min() > 0.9
    assert scores[8:].max() < 0.2


def test_letters_that_differ_in_case_or_that_all_draw_alike_are_no_errors() -> None:
    shapes = hands(8)
    places = {c: i for i, c in enumerate(LETTERS)}
    for one, other in (("O", "0"), ("o", "0"), ("l", "I"), ("1", "I"), ("C", "c"), ("S", "5"), ("s", "5")):
        shapes[:, places[one]] = shapes[:, places[other]]
    assert legibility(shapes, LETTERS, [f"family {i}" for i in range(8)]).min() > 0.9


def test_too_few_families_give_no_verdict() -> None:
    count = LEAST_FAMILIES - 1
    scores = legibility(hands(count), LETTERS, [f"family {i}" for i in range(count)])
    assert scores.tolist() == [1.0] * count


def test_scores_are_the_same_every_time() -> None:
    families = [f"family {i}" for i in range(6)]
    assert (legibility(hands(6), LETTERS, families) == legibility(hands(6), LETTERS, families)).all()
