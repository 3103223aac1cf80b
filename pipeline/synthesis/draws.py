"""Which random number decides what: every image has one row of uniform numbers, and each effect its places.

An effect that is switched off, or one that is added at the end, leaves what all others draw as it was.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

Draws = Sequence[float]
"""One row: `WIDTH` numbers in [0, 1)."""

_PLACES = {
    "face": 1,
    "spacing": 2,
    "small_caps": 1,
    "jitter": 2,
    "neighbour": 6,
    "weight": 2,
    "outline": 6,
    "underline": 3,
    "rotation": 5,
    "shear": 3,
    "aspect": 2,
    "stretch": 2,
    "perspective": 4,
    "curve": 2,
    "margins": 5,
    "elastic": 4,
    "levels": 3,
    "texture": 7,
    "text_texture": 5,
    "fill": 4,
    "emboss": 3,
    "outline_level": 2,
    "opacity": 2,
    "line": 5,
    "light": 3,
    "glare": 5,
    "vignette": 2,
    "occlusion": 5,
    "low_resolution": 2,
    "blur": 2,
    "motion_blur": 2,
    "perspective_blur": 3,
    "noise": 4,
    "gamma": 2,
    "jpeg_twice": 2,
    "quality": 1,
    "colour": 4,
    "oblique": 4,
}


def _starts() -> Mapping[str, int]:
    starts, start = {}, 0
    for name, places in _PLACES.items():
        starts[name] = start
        start += places
    return MappingProxyType(starts)


START = _starts()
"""First place of each."""
WIDTH = sum(_PLACES.values())
"""Numbers of a row."""
