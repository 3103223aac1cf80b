"""pipeline.synthesis.designs on made-up shapes: unit vectors whose likeness is known."""

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.synthesis.designs import ALIKE, group_designs

J, D = 10, 256


def unlike(count: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Faces of which no two are alike."""
    shapes = np.random.default_rng(seed).standard_normal((count, J, D))
    unit: npt.NDArray[np.float32] = (shapes / np.linalg.norm(shapes, axis=2, keepdims=True)).astype(
        np.float32
    )
    return unit


def near(shapes: npt.NDArray[np.float32], cosine: float, seed: int) -> npt.NDArray[np.float32]:
    """The same faces, each glyph turned away by this cosine."""
    noise = np.random.default_rng(seed).standard_normal(shapes.shape)
    noise -= (noise * shapes).sum(2, keepdims=True) * shapes
    noise /= np.linalg.norm(noise, axis=2, keepdims=True)
    turned: npt.NDArray[np.float32] = (cosine * shapes + (1 - cosine**2) ** 0.5 * noise).astype(np.float32)
    return turned


def test_a_familys_faces_are_one_design_however_unlike_they_are() -> None:
    assert group_designs(unlike(4), ["Sans", "Serif", "Sans", "Other"]) == ["Sans", "Serif", "Sans", "Other"]


@pytest.mark.parametrize(("cosine", "one"), [(ALIKE + 0.005, True), (ALIKE - 0.01, False)])
def test_faces_that_are_drawn_alike_are_one_design_whatever_their_names(cosine: float, one: bool) -> None:
    shapes = unlike(1)
    both = group_designs(np.concatenate([shapes, near(shapes, cosine, 1)]), ["Arimo", "Liberation Sans"])
    assert both == (["Arimo", "Arimo"] if one else ["Arimo", "Liberation Sans"])


def test_likeness_joins_whole_families_and_the_larger_one_names_them() -> None:
    shapes = unlike(4)
    shapes[3] = near(shapes[:1], 0.995, 2)[0]
    families = ["Arimo", "Big Sans", "Big Sans", "Big Sans"]
    assert group_designs(shapes, families) == ["Big Sans"] * 4


def test_likeness_is_found_beyond_the_faces_that_are_compared_at_once() -> None:
    shapes = unlike(600)
    shapes[599] = near(shapes[:1], 0.995, 3)[0]
    designs = group_designs(shapes, [f"{'abcdefghij'[i // 60]}{chr(0x4E00 + i)}" for i in range(600)])
    assert len(set(designs)) == 599
    assert designs[0] == designs[599]


@pytest.mark.parametrize(
    ("first", "second", "one"),
    [
        ("EB Garamond 08", "EB Garamond 12", True),
        ("Open Sans", "OpenSans", True),
        ("drmitbx10", "drmr8", True),
        ("drmr10", "ecrm10", False),
        ("1942", "2019", False),
        ("Sans", "Serif", False),
    ],
)
def test_names_that_differ_in_spacing_and_size_alone_are_one_family(
    first: str, second: str, one: bool
) -> None:
    designs = group_designs(unlike(2), [first, second])
    assert (designs[0] == designs[1]) is one


def test_the_order_of_faces_does_not_change_who_belongs_together() -> None:
    shapes = unlike(6)
    shapes[4], shapes[5] = near(shapes[:2], 0.995, 4)
    families = ["A", "B", "C", "D", "E", "E"]
    designs = group_designs(shapes, families)
    order = np.random.default_rng(5).permutation(6)
    mixed = group_designs(shapes[order], [families[i] for i in order])
    assert mixed == [designs[i] for i in order]
    assert len({designs[i] for i in (0, 1, 4, 5)}) == 1


def test_no_faces_are_no_designs() -> None:
    assert group_designs(unlike(0), []) == []
