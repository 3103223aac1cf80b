"""Grey levels: backgrounds, letters and what lies behind them, light on all of it, things before it.

Pictures here are float32 [H, W] in grey levels of 0–255, not yet clipped.
"""

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT

Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.uint8]
_SHARES = np.arange(256, dtype=np.float32) / np.float32(255)

_LEVELS, _TEXTURE, _TEXT_TEXTURE = START["levels"], START["texture"], START["text_texture"]
_FILL, _EMBOSS, _OUTLINE_LEVEL = START["fill"], START["emboss"], START["outline_level"]
_OPACITY, _LINE, _LIGHT, _GLARE = START["opacity"], START["line"], START["light"], START["glare"]
_VIGNETTE, _OCCLUSION = START["vignette"], START["occlusion"]


@dataclass(frozen=True, slots=True)
class Painted:
    """A picture before the camera has spoilt it."""

    image: Floats
    contrast: float
    """Difference of text and background in grey levels."""
    effects: int


class Painter:
    """Paints masks of letters."""

    def __init__(self, config: SynthesisConfig, assets: Assets) -> None:
        self._config = config
        self._tiles = np.asarray(assets.textures)  # a plain view: slices of a numpy.memmap are slow
        count, self._tile_height, self._tile_width = self._tiles.shape
        flat = self._tiles[:, ::4, ::4].reshape(count, -1)  # every pixel would be read, and paged in
        self._means = flat.mean(axis=1).tolist()
        self._deviations = np.maximum(flat.std(axis=1), 4.0).tolist()
        self._down = np.linspace(-0.5, 0.5, config.height, dtype=np.float32)[:, None]
        self._slants = _slant_kernels()

    def paint(self, front: Mask, behind: Mask | None, shadow: bool, u: Draws) -> Painted:
        """Letters on a background.

        Args:
            front: How much of each pixel is covered by letters.
            behind: The same for outlines, shadows or blocks.
            shadow: What lies behind is a shadow: dark, and not dense.
            u: The image's draws.
        """
        chances = self._config.chances
        width = front.shape[1]
        ground, ink, effects = self._levels(u)
        contrast = abs(ink - ground)
        image, textured = self._ground(width, ground, contrast, u)
        letters, filled = self._letters(front, ink, contrast, u)
        effects |= textured | filled
        if behind is not None:
            dark = shadow and u[_OUTLINE_LEVEL + 1] < 0.8
            level = u[_OUTLINE_LEVEL] * (ground if dark else 255)
            if abs(level - ink) < 45:
                level = (ink + ground) / 2 if shadow else 255.0 if ink < 128 else 0.0
            dense = 0.35 + 0.6 * u[_OUTLINE_LEVEL + 1] if shadow else 1.0
            image += (np.float32(level) - image) * _cover(behind, dense)
        opacity = 1.0
        if u[_OPACITY] < chances.opacity:
            opacity = 0.65 + 0.35 * u[_OPACITY + 1]
            effects |= BIT["opacity"]
        image += (letters - image) * _cover(front, opacity)
        if u[_EMBOSS] < chances.emboss:
            slant = self._slants[int(u[_EMBOSS + 1] * len(self._slants))]
            image += cv2.filter2D(front, cv2.CV_32F, slant) * np.float32(0.1 + 0.25 * u[_EMBOSS + 2])
            effects |= BIT["emboss"]
        return Painted(image, contrast, effects | self._light(image, contrast, u))

    def _levels(self, u: Draws) -> tuple[float, float, int]:
        """Grey level of the background and of the letters; both polarities."""
        strengths = self._config.strengths
        darkest, lightest = strengths.background
        ground = darkest + u[_LEVELS] * (lightest - darkest)
        contrast = strengths.contrast[0] + u[_LEVELS + 1] * (strengths.contrast[1] - strengths.contrast[0])
        sign = 1 if u[_LEVELS + 2] < 0.5 else -1
        ink = ground + sign * contrast
        if not 0 <= ink <= 255:
            ink = ground - sign * contrast
        if not 0 <= ink <= 255:
            ink = 0.0 if ground > 127 else 255.0
        return ground, ink, BIT["light_on_dark"] if ink > ground else 0

    def _ground(self, width: int, level: float, contrast: float, u: Draws) -> tuple[Floats, int]:
        if u[_TEXTURE] >= self._config.chances.texture:
            return np.full((self._config.height, width), level, np.float32), 0
        share = 0.42 if u[_TEXTURE + 2] < 0.85 else 0.65
        deviation = min(u[_TEXTURE + 1] ** 2 * self._config.strengths.texture, contrast * share)
        return self._tile(width, level, deviation, u, _TEXTURE + 3), BIT["texture"]

    def _letters(
        self, front: Mask, level: float, contrast: float, u: Draws
    ) -> tuple[Floats | np.float32, int]:
        chances = self._config.chances
        width = front.shape[1]
        if u[_TEXT_TEXTURE] < chances.text_texture:
            deviation = u[_TEXT_TEXTURE + 1] * contrast * 0.35
            return self._tile(width, level, deviation, u, _TEXT_TEXTURE + 2), BIT["text_texture"]
        fill, far = u[_FILL], np.float32((u[_FILL + 1] - 0.5) * contrast)
        if fill < chances.gradient_fill:
            along = u[_FILL + 2] < 0.5
            ramp = _ramp(width) if along else self._down
            return np.broadcast_to(np.float32(level) + far * ramp, front.shape), BIT["gradient_fill"]
        if fill < chances.gradient_fill + chances.two_tone_fill:
            split = np.where(self._down < np.float32(0.4 * (u[_FILL + 2] - 0.5)), far * 0.5, far * -0.5)
            return np.broadcast_to(np.float32(level) + split.astype(np.float32), front.shape), BIT[
                "two_tone_fill"
            ]
        return np.float32(level), 0

    def _tile(self, width: int, level: float, deviation: float, u: Draws, place: int) -> Floats:
        """A piece of a texture with this mean and standard deviation, mirrored half of the time."""
        height = self._config.height
        tile = int(u[place] * len(self._tiles))
        top = int(u[place + 1] * (self._tile_height - height)) if self._tile_height > height else 0
        have = min(width, self._tile_width)
        left = int(u[place + 2] * (self._tile_width - have))
        piece = self._tiles[tile, top : top + height, left : left + have]
        if u[place + 1] * 7 % 1 < 0.5:
            piece = piece[:, ::-1]
        if piece.shape != (height, width):  # a picture larger than its texture
            piece = cv2.resize(piece, (width, height), interpolation=cv2.INTER_LINEAR)
        gain = deviation / self._deviations[tile]
        tile_of: Floats = cv2.addWeighted(
            piece, gain, piece, 0, level - gain * self._means[tile], dtype=cv2.CV_32F
        )
        return tile_of

    def _light(self, image: Floats, contrast: float, u: Draws) -> int:
        """Lines, light, glare, vignettes and things before the text, in place; returns the effects."""
        chances, effects = self._config.chances, 0
        height, width = image.shape
        if u[_LINE] < chances.line:
            ends = (int(u[_LINE + 1] * 1.25 * height - 4), int(u[_LINE + 2] * 1.25 * height - 4))
            thickness = 1 + int(u[_LINE + 4] * 2)
            cv2.line(image, (0, ends[0]), (width, ends[1]), float(u[_LINE + 3] * 255), thickness, cv2.LINE_AA)
            effects |= BIT["line"]
        if u[_OCCLUSION] < chances.occlusion:
            self._occlude(image, u)
            effects |= BIT["occlusion"]
        if u[_LIGHT] < chances.light:
            image *= 1 + np.float32((u[_LIGHT + 1] - 0.5) * 0.9) * _ramp(width)
            image *= 1 + np.float32((u[_LIGHT + 2] - 0.5) * 0.6) * self._down
            effects |= BIT["light"]
        if u[_GLARE] < chances.glare:
            x = (_ramp(width) - np.float32(u[_GLARE + 1] - 0.5)) * np.float32(width / height)
            y = self._down - np.float32(u[_GLARE + 2] - 0.5)
            slope = np.float32(2 * u[_GLARE + 4] - 1)
            reach = np.float32(0.15 + 0.5 * u[_GLARE + 3])
            # A streak: bright along a slanted line, fading across it.
            image += np.float32(min(90.0, 0.6 * contrast)) * np.exp(-(((x + slope * y) / reach) ** 2))
            effects |= BIT["glare"]
        if u[_VIGNETTE] < chances.vignette:
            radius = _ramp(width) ** 2 + self._down**2
            image *= 1 - np.float32(0.5 + 0.7 * u[_VIGNETTE + 1]) * radius
            effects |= BIT["vignette"]
        return effects

    def _occlude(self, image: Floats, u: Draws) -> None:
        """A bar as from a pole or a twig, too narrow to hide a letter."""
        height, width = image.shape
        x = int(u[_OCCLUSION + 1] * width)
        lean = int((u[_OCCLUSION + 2] - 0.5) * height)
        thickness = max(1, round((0.04 + 0.08 * u[_OCCLUSION + 3]) * height))
        level = float(u[_OCCLUSION + 4] * 255)
        cv2.line(image, (x, -2), (x + lean, height + 2), level, thickness, cv2.LINE_AA)


def _cover(mask: Mask, dense: float) -> Floats:
    """Share of each pixel that ink of this density hides."""
    cover: Floats = cv2.LUT(mask, _SHARES * np.float32(dense))
    return cover


@cache
def _ramp(width: int) -> Floats:
    """From -0.5 at the left to 0.5 at the right."""
    return np.linspace(-0.5, 0.5, width, dtype=np.float32)


def _slant_kernels() -> list[Floats]:
    """Differences along eight directions, for edges lit from one side."""
    kernels = []
    for dy, dx in ((-1, -1), (-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1)):
        kernel = np.zeros((3, 3), np.float32)
        kernel[1 + dy, 1 + dx], kernel[1 - dy, 1 - dx] = 1.0, -1.0
        kernels.append(kernel)
    return kernels
