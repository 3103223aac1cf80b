"""Words cut out of pages: the inside of a quadrilateral, or of a curved band, laid out upright.

A polygon is x, y of its corners in pixels: along the upper edge from the text's beginning to its end, then
back along the lower edge; so a quadrilateral's are clockwise from the top left. A curved text has more
corners, as many above as below, as in the annotations of Total-Text.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_PIXELS, MIN_SIDE, GreyImage

Point = tuple[float, float]

OUTSIDE = "box_outside_page"


def crop(page: GreyImage, polygon: Sequence[float]) -> GreyImage:
    """The part of a page inside a polygon, turned upright; what sticks out of the page repeats its edge.

    Args:
        page: uint8 [H, W].
        polygon: See above; 8 numbers or 12, 16, ….

    Returns:
        uint8, as high and wide as the polygon's edges are on average.

    Raises:
        ImageRejectedError: box_outside_page, too_small or too_large.
        ValueError: Not the corners of a polygon.
    """
    if len(polygon) < 8 or len(polygon) % 4:
        raise ValueError(f"{len(polygon)} numbers aren't corners above and below a text.")
    corners = list(zip(polygon[::2], polygon[1::2], strict=True))
    above, below = corners[: len(corners) // 2], corners[len(corners) // 2 :][::-1]
    height, width = page.shape
    xs, ys = polygon[::2], polygon[1::2]
    if max(xs) <= 0 or max(ys) <= 0 or min(xs) >= width or min(ys) >= height:
        raise ImageRejectedError(OUTSIDE, f"a page of {width}×{height} pixels, and corners {list(polygon)}")
    rectangle = _rectangle(above, below)
    if rectangle is not None:
        left, top, right, bottom = rectangle
        _check_size(right - left, bottom - top)
        return _with_edges(page, left, top, right, bottom)
    lengths = [
        (math.dist(a, b) + math.dist(c, d)) / 2
        for (a, b), (c, d) in zip(pairwise(above), pairwise(below), strict=True)
    ]
    across = sum(math.dist(a, b) for a, b in zip(above, below, strict=True)) / len(above)
    edges = [0, *(round(sum(lengths[: i + 1])) for i in range(len(lengths)))]
    size = (edges[-1], round(across))
    _check_size(*size)
    mesh = [
        ((edges[i], 0, edges[i + 1], size[1]), (*above[i], *below[i], *below[i + 1], *above[i + 1]))
        for i in range(len(lengths))
        if edges[i + 1] > edges[i]
    ]
    inside, shift = _neighbourhood(page, xs, ys)
    shifted = [(box, tuple(v - shift[place % 2] for place, v in enumerate(quad))) for box, quad in mesh]
    image = Image.fromarray(inside).transform(
        size, Image.Transform.MESH, shifted, resample=Image.Resampling.BICUBIC
    )
    return np.asarray(image)


def _rectangle(above: list[Point], below: list[Point]) -> tuple[int, int, int, int] | None:
    """Left, top, right and bottom, where the sides are upright: then no pixel has to be computed."""
    if len(above) != 2:
        return None
    (left, top), (right, same_top) = above
    if top != same_top or below[0][0] != left or below[1][0] != right or below[0][1] != below[1][1]:
        return None
    bottom = below[0][1]
    if right <= left or bottom <= top:
        return None  # turned by half
    return round(left), round(top), round(right), round(bottom)


def _check_size(width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise ImageRejectedError("too_small", f"{width}×{height} pixels hold no readable character")
    if width * height > MAX_PIXELS:
        raise ImageRejectedError("too_large", f"{width}×{height} pixels; at most {MAX_PIXELS:,} are cut out")


def _with_edges(page: GreyImage, left: int, top: int, right: int, bottom: int) -> GreyImage:
    """A part of a page, whose edge is repeated where the part sticks out of it."""
    height, width = page.shape
    inside = page[max(top, 0) : min(bottom, height), max(left, 0) : min(right, width)]
    if not inside.size:
        raise ImageRejectedError(
            OUTSIDE, f"a page of {width}×{height} pixels, and less than one of them inside"
        )
    around = ((max(-top, 0), max(bottom - height, 0)), (max(-left, 0), max(right - width, 0)))
    return np.pad(inside, around, mode="edge") if any(map(any, around)) else np.ascontiguousarray(inside)


def _neighbourhood(
    page: GreyImage, xs: Sequence[float], ys: Sequence[float]
) -> tuple[GreyImage, tuple[int, int]]:
    """The page around a polygon, and where it begins: what is outside of the page would come out black."""
    left, top = math.floor(min(xs)) - 2, math.floor(min(ys)) - 2
    right, bottom = math.ceil(max(xs)) + 3, math.ceil(max(ys)) + 3
    if (right - left) * (bottom - top) > MAX_PIXELS:
        raise ImageRejectedError("too_large", f"corners {right - left}×{bottom - top} pixels apart")
    return _with_edges(page, left, top, right, bottom), (left, top)
