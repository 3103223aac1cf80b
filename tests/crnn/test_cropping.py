import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crnn.cropping import crop
from crnn.errors import ImageRejectedError


def page(width: int = 300, height: int = 200) -> np.ndarray:
    """Smooth, and different everywhere."""
    y, x = np.mgrid[:height, :width]
    return (128 + 60 * np.sin(x / 9) + 60 * np.cos(y / 7)).astype(np.uint8)


def rectangle(left: float, top: float, right: float, bottom: float) -> tuple[float, ...]:
    return (left, top, right, top, right, bottom, left, bottom)


def turned(polygon: tuple[float, ...], degrees: float) -> tuple[float, ...]:
    """About the page's middle, clockwise."""
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    points = [(x - 150, y - 100) for x, y in zip(polygon[::2], polygon[1::2], strict=True)]
    return tuple(value for x, y in points for value in (150 + x * cos - y * sin, 100 + x * sin + y * cos))


@given(left=st.integers(0, 250), top=st.integers(0, 150), width=st.integers(3, 50), height=st.integers(3, 50))
def test_an_upright_box_is_cut_out_as_it_is(left: int, top: int, width: int, height: int) -> None:
    found = crop(page(), rectangle(left, top, left + width, top + height))
    assert np.array_equal(found, page()[top : top + height, left : left + width])


@settings(max_examples=30, deadline=None)
@given(degrees=st.floats(-180, 180))
def test_a_turned_word_comes_out_upright(degrees: float) -> None:
    box = rectangle(110, 85, 190, 115)
    turned_page = np.asarray(
        Image.fromarray(page()).rotate(-degrees, Image.Resampling.BICUBIC, center=(150, 100))
    )
    found = crop(turned_page, turned(box, degrees))
    wanted = page()[85:115, 110:190]
    assert abs(found.shape[0] - 30) <= 1
    assert abs(found.shape[1] - 80) <= 1
    inner = np.s_[2:28, 2:78]
    difference = np.abs(found[:30, :80][inner].astype(int) - wanted[inner])
    assert difference.mean() < 4


def test_upside_down_and_mirrored_corners_say_how_the_text_runs() -> None:
    left, top, right, bottom = 40, 50, 120, 80
    upside_down = (right, bottom, left, bottom, left, top, right, top)
    assert np.abs(crop(page(), upside_down).astype(int) - page()[50:80, 40:120][::-1, ::-1]).max() <= 1
    sideways = (left, bottom, left, top, right, top, right, bottom)
    assert np.abs(crop(page(), sideways).astype(int) - np.rot90(page()[50:80, 40:120], -1)).max() <= 1


def test_a_curved_band_is_laid_out_flat() -> None:
    radius, height = 120.0, 24.0
    angles = [math.radians(a) for a in range(-150, -29, 10)]

    def arc(r: float) -> list[tuple[float, float]]:
        return [(150 + r * math.cos(a), 160 + r * math.sin(a)) for a in angles]

    y, x = np.mgrid[:200, :300] + 0.5
    along = np.arctan2(y - 160, x - 150)
    stripes = (128 + 100 * np.sin(along * 20)).astype(np.uint8)  # upright once it is flat
    corners = arc(radius + height / 2) + arc(radius - height / 2)[::-1]
    found = crop(stripes, [value for point in corners for value in point])
    assert found.shape == pytest.approx((24, radius * math.radians(120)), rel=0.02)
    middle = found[12, 4:-4].astype(int)
    assert np.abs(found[3:-3, 4:-4].astype(int) - middle).mean() < 12
    assert middle.std() > 50


def test_what_sticks_out_of_the_page_repeats_its_edge() -> None:
    found = crop(page(), rectangle(-10, 20, 10, 40))
    assert np.array_equal(found[:, 10:], page()[20:40, :10])
    assert np.all(found[:, :10] == found[:, 10:11])
    askew = crop(page(), (-8, -6, 40, 0, 38, 20, -10, 14))
    assert askew.min() > 0


@pytest.mark.parametrize(
    ("polygon", "reason"),
    [
        (rectangle(300, 0, 340, 20), "box_outside_page"),
        (rectangle(-40, 0, 0, 20), "box_outside_page"),
        (rectangle(299.6, 0, 340, 20), "box_outside_page"),
        (rectangle(10, 10, 11, 40), "too_small"),
        ((5, 5, 6, 6, 6, 6, 5, 5), "too_small"),
        (rectangle(-1e6, -1e6, 1e6, 1e6), "too_large"),
        ((-1e6, 0, 1e6, 50, 1e6, 60, -1e6, 10), "too_large"),
    ],
)
def test_boxes_with_nothing_to_read_are_rejected(polygon: tuple[float, ...], reason: str) -> None:
    with pytest.raises(ImageRejectedError) as caught:
        crop(page(), polygon)
    assert caught.value.reason == reason


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.floats(-400, 700), min_size=8, max_size=8)
    | st.lists(st.floats(-50, 350), min_size=12, max_size=12)
)
def test_any_corners_give_an_image_or_a_reason(polygon: list[float]) -> None:
    try:
        found = crop(page(), polygon)
    except ImageRejectedError:
        return
    assert found.dtype == np.uint8
    assert min(found.shape) >= 3


def test_what_is_no_polygon_is_refused() -> None:
    for polygon in ((0, 0, 5, 5), range(10)):
        with pytest.raises(ValueError, match="corners"):
            crop(page(), polygon)
