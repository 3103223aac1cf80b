"""How much of each effect there is, where it comes: all ranges in one place."""

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.errors import ConfigError

Range = tuple[float, float]


def within(span: Range, drawn: float) -> float:
    """Where a draw lies in a range."""
    low, high = span
    return low + (high - low) * drawn


def whole(span: Range, drawn: float) -> int:
    """One of the range's whole numbers, each as likely."""
    low, high = span
    return min(int(high), int(low + (high - low + 1) * drawn))


_LIMITS: Mapping[str, Range] = {
    "spacing": (-4, 40),
    "small_caps": (0.3, 1),
    "jitter": (0, 12),
    "neighbour_gap": (1, 16),
    "neighbour_shown": (0, 12),
    "border": (1, 8),
    "shadow": (0, 24),
    "shadow_density": (0, 1),
    "extrusion": (1, 30),
    "hollow": (1, 8),
    "emboss": (0, 1),
    "underline": (1, 8),
    "rotation": (0, 45),
    "shear": (0, 1),
    "aspect": (0, 1),
    "stretch": (0, 1),
    "perspective": (0, 0.9),
    "narrowing": (0, 2),
    "climb": (0, 1),
    "curve": (0, 1),
    "elastic": (0, 0.3),
    "apart": (0, 100),
    "margin": (-0.1, 1),
    "background": (0, 255),
    "contrast": (0, 255),
    "texture": (0, 127),
    "text_texture": (0, 1),
    "fill": (0, 1),
    "opacity": (0.1, 1),
    "line": (1, 8),
    "light_along": (0, 2),
    "light_down": (0, 2),
    "glare": (0.01, 4),
    "glare_level": (0, 255),
    "vignette": (0, 2),
    "occlusion": (0, 0.5),
    "scale": (0.05, 1),
    "blur": (0, 5),
    "motion_blur": (0, 4),
    "perspective_blur": (0.1, 5),
    "noise": (0, 100),
    "gamma": (0.1, 10),
    "quality": (1, 100),
    "second_quality": (1, 85),
    "least_height": (1, 32),
    "least_advance": (0, 32),
    "least_contrast": (0, 255),
}
"""Between which a strength must lie, to give pictures at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Strengths:
    """How much of it, where an effect comes. Pixels are those of a picture 32 pixels high; of what is drawn
    before the warp (to `underline`), those of a canvas on which capitals are 30 pixels high."""

    spacing: Range = (-2.0, 8.0)
    """Pixels between letters besides the font's own; few are far from the lower end."""
    apart: float = 50.0
    """Most pixels by which the letters of one spaced word of twenty stand further apart than those of others:
    two heights of a capital, as on façades."""
    small_caps: float = 0.78
    """Height of small capitals by that of capitals."""
    jitter: float = 3.0
    """Most pixels that a dancing letter is off its line."""
    neighbour_gap: Range = (3.0, 11.0)
    """Pixels between the lines; beside the word there are more, so that nothing is read as part of it."""
    neighbour_shown: Range = (2.0, 11.0)
    """Pixels of the neighbour that are seen; of a letter less than half."""
    border: Range = (1.0, 4.0)
    """Width of an outline, in whole pixels."""
    shadow: Range = (2.0, 7.0)
    """Pixels between letters and their shadow."""
    shadow_density: Range = (0.35, 0.95)
    """Share of the background's light that a shadow takes."""
    extrusion: Range = (3.0, 9.0)
    """Twice the depth of blocks, in pixels."""
    hollow: Range = (1.0, 2.0)
    """Width of outlines alone, in whole pixels; thin ones are likelier."""
    underline: Range = (2.0, 4.0)
    """Thickness, in whole pixels below the upper end."""
    rotation: float = 15.0
    """Usual limit in degrees either way; 10 % go to 1.9 times that, 5 % to 2.8. Long words turn less."""
    shear: float = 0.45
    """Largest run over rise."""
    aspect: float = 0.40
    """Width changes by up to e to this power either way, always."""
    stretch: float = 0.55
    """The same for what `stretch` does besides."""
    perspective: float = 0.35
    """Largest difference of the two ends' heights, as a share."""
    narrowing: float = 1.0
    """An oblique word's width shrinks by up to e to this power."""
    climb: float = 0.6
    """Largest rise of an oblique word's lines over their run. Long words climb less."""
    curve: float = 0.30
    """Largest rise of an arc as a share of half the word's width."""
    elastic: Range = (0.02, 0.074)
    """Standard deviation of what cloth moves, as a share of the text's height."""
    margin: Range = (-0.03, 0.29)
    """Free space at each side as a share of the text's height; most are narrow."""
    background: Range = (0.0, 255.0)
    """Grey level behind the text."""
    contrast: Range = (36.0, 236.0)
    """Difference of text and background in grey levels, before it is degraded."""
    texture: float = 45.0
    """Largest standard deviation of the background, in grey levels; at most 0.42 of the contrast, in a few
    pictures 0.65."""
    text_texture: float = 0.35
    """Largest standard deviation within letters, as a share of the contrast."""
    fill: float = 0.5
    """Largest change along a gradient or between two tones, either way, as a share of the contrast."""
    opacity: Range = (0.65, 1.0)
    """Share of the background that letters hide."""
    emboss: Range = (0.1, 0.35)
    """Light on edges, as a share of the steps between letters and background."""
    line: Range = (1.0, 3.0)
    """Thickness, in whole pixels below the upper end."""
    light_along: float = 0.9
    """Largest difference of the light at the two ends, as a share of the middle's."""
    light_down: float = 0.6
    """The same from top to bottom."""
    glare: Range = (0.15, 0.65)
    """Reach of a streak, in heights of the picture."""
    glare_level: float = 90.0
    """Grey levels that it adds at most, and never over 0.6 of the contrast."""
    vignette: Range = (0.5, 1.2)
    """Darkness of corners, as a share of the light by the square of the distance."""
    occlusion: Range = (0.04, 0.12)
    """Width of what stands before the letters, in heights of the picture."""
    scale: Range = (0.28, 1.0)
    """Resolution that is left by `low_resolution`."""
    blur: Range = (0.3, 2.2)
    """Standard deviation in pixels; half of it with `low_resolution`, and less for small text. Edges so drawn
    are about as steep as in photographs of streets."""
    motion_blur: Range = (0.8, 2.6)
    """Half the way of a shaking hand, in pixels."""
    perspective_blur: float = 1.6
    """Largest standard deviation at the blurred end."""
    noise: Range = (1.0, 17.0)
    """Standard deviation in grey levels, never over 0.22 of the contrast."""
    gamma: Range = (0.5, 2.0)
    quality: Range = (40.0, 95.0)
    """Of the JPEG."""
    second_quality: Range = (25.0, 85.0)
    """Of the JPEG before; of small text 15 more."""
    least_height: float = 10.0
    """Text lower than this is drawn anew: nobody could read it."""
    least_advance: float = 3.5
    """The same of a character's width, in pixels that carry something."""
    least_contrast: float = 18.0
    """Between the text and its surroundings in the finished picture, in grey levels, and 0.8 times the noise
    on top; less is drawn anew."""

    def __post_init__(self) -> None:
        for name, (least, most) in _LIMITS.items():
            value = getattr(self, name)
            low, high = value if isinstance(value, tuple) else (value, value)
            if not least <= low <= high <= most:
                raise ConfigError(
                    f"{name} lies from {least:g} to {most:g}, in ascending order; {value} doesn't."
                )
