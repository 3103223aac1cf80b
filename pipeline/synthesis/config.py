"""What may happen to a word on its way into a picture, how often, and how much of it."""

import math
from dataclasses import dataclass, field, fields
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.synthesis.strengths import Strengths
from pipeline.synthesis.words import WordsConfig

_EXCLUSIVE = (("border", "shadow", "extrusion", "hollow"), ("gradient_fill", "two_tone_fill"))
"""Effects of which a picture has one at most, as one draw decides."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Chances:
    """How often each effect comes, as a share of the images."""

    spacing: float = 0.45
    """Letters further apart, in one of twenty such words far apart, or closer together."""
    small_caps: float = 0.015
    """Small letters drawn as small capitals, and labelled as capitals."""
    jitter: float = 0.06
    """Letters that dance on their baseline."""
    neighbour: float = 0.20
    """Text of the next line or word in the margin, cut off by the picture's edge."""
    weight: float = 0.20
    """Strokes thicker or thinner than the font's."""
    border: float = 0.10
    """An outline in another tone."""
    shadow: float = 0.10
    """A shadow beside the letters, hard or soft."""
    extrusion: float = 0.05
    """Letters as blocks, seen from the side."""
    hollow: float = 0.012
    """Outlines alone."""
    emboss: float = 0.03
    """Edges lit from one side, as if stamped or carved."""
    underline: float = 0.02
    rotation: float = 0.70
    """Beyond the degree or two that every picture may be askew."""
    shear: float = 0.40
    """Leaning letters."""
    stretch: float = 0.08
    """Letters much taller or wider than drawn."""
    perspective: float = 0.35
    """Seen from the side, from above or below."""
    oblique: float = 0.15
    """Passed by: narrow, with lines that climb or fall and upright strokes that stay upright."""
    curve: float = 0.18
    """On an arc."""
    elastic: float = 0.18
    """On cloth or paper that isn't flat."""
    texture: float = 0.65
    """A background that isn't even."""
    text_texture: float = 0.22
    """Letters that aren't even."""
    gradient_fill: float = 0.08
    """Letters that change tone along the word or from top to bottom."""
    two_tone_fill: float = 0.02
    """Letters in two tones, split by a line."""
    opacity: float = 0.18
    """Letters that let the background through."""
    line: float = 0.04
    """A line across: a wire, a crease, an edge."""
    light: float = 0.40
    """Light that falls off along the picture."""
    glare: float = 0.05
    """A bright spot or streak."""
    vignette: float = 0.06
    """Corners darker than the middle."""
    occlusion: float = 0.02
    """Something small before the letters."""
    low_resolution: float = 0.50
    """Taken from afar and enlarged."""
    blur: float = 0.80
    """Out of focus."""
    motion_blur: float = 0.07
    perspective_blur: float = 0.04
    """Sharp at one end, out of focus at the other."""
    noise: float = 0.85
    gamma: float = 0.30
    """Exposed too long or too short."""
    jpeg_twice: float = 0.20
    """Compressed before, and harder."""

    def __post_init__(self) -> None:
        wrong = [f.name for f in fields(self) if not 0 <= getattr(self, f.name) <= 1]
        if wrong:
            raise ConfigError(f"Chances lie from 0 to 1; these don't: {', '.join(wrong)}.")
        for group in _EXCLUSIVE:
            if math.fsum(getattr(self, name) for name in group) > 1:
                raise ConfigError(f"{', '.join(group)} exclude each other: at most 1 in all.")

    def only(self, names: tuple[str, ...]) -> "Chances":
        """Every image gets the effects named, none the others.

        Raises:
            ConfigError: One isn't an effect; those there are are named.
        """
        known = [f.name for f in fields(self)]
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ConfigError(f"No effects: {', '.join(unknown)}. There are {', '.join(known)}.")
        return Chances(**{name: float(name in names) for name in known})

    @classmethod
    def none(cls) -> "Chances":
        """No effect ever."""
        return cls(**{f.name: 0.0 for f in fields(cls)})


WIDEST = 2_048
"""Pixels of any picture: as wide as the noise is that is drawn once for all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SynthesisConfig:
    """Everything that decides the pictures, besides the assets and the seed."""

    height: int = 32
    """Of the pictures, in pixels; their width follows from the text."""
    max_width: int = 1024
    """Of the pictures, in pixels; a text that would be wider is drawn anew."""
    colour: Literal["grey", "rgb"] = "grey"
    """rgb pictures are three times as large; recognisers read grey."""
    coding: Literal["jpeg", "raw"] = "jpeg"
    """How pictures are kept: as they leave the camera, or decoded, as PGM or PPM: four times the size, and a
    training core packs three times as many a second. Their pixels are the same."""
    ordinary: float = 0.7
    """Share of words in faces made for signs and text; the rest is in any face."""
    designs: Literal["split", "all"] = "split"
    """split: faces of the split's own designs alone, so that validation tells how unseen fonts are read; all:
    every face, where there are too few to hold some back. Words are held back in any case."""
    words: WordsConfig = field(default_factory=WordsConfig)
    """What is written."""
    chances: Chances = field(default_factory=Chances)
    """How often each effect comes."""
    strengths: Strengths = field(default_factory=Strengths)
    """How much of it."""

    def __post_init__(self) -> None:
        if not 16 <= self.height <= 128:
            raise ConfigError(f"Pictures are 16 to 128 pixels high; {self.height} isn't.")
        if not 4 * self.height <= self.max_width <= WIDEST:
            raise ConfigError(
                f"max_width is from {4 * self.height}, 4 × height, to {WIDEST:,}; {self.max_width} isn't."
            )
        if not 0 <= self.ordinary <= 1:
            raise ConfigError(f"ordinary is a share of the words, 0 to 1; {self.ordinary} isn't.")


DRAWING = 4
"""Counts the changes of the code by which the same seed gives other pictures: a stream, which is drawn anew
whenever its run goes on, is another one then, and an unfinished data set isn't gone on with."""
