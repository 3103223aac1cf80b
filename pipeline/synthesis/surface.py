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
from pipeline.synthesis.strengths import within

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
        self._config, self._strengths = config, config.strengths
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
            self._lay_behind(image, behind, (ground, ink), shadow, u)
        opacity = 1.0
        if u[_OPACITY] < chances.opacity:
            opacity = within(self._strengths.opacity, u[_OPACITY + 1])
            effects |= BIT["opacity"]
        image += (letters - image) * _cover(front, opacity)
        if u[_EMBOSS] < chances.emboss:
            self._emboss(image, front, u)
            effects |= BIT["emboss"]
        return Painted(image, contrast, effects | self._lit(image, contrast, u))

    def _lay_behind(
        self, image: Floats, behind: Mask, levels: tuple[float, float], shadow: bool, u: Draws
    ) -> None:
        """Outlines and blocks in any tone that isn't the letters', shadows mostly darker than the ground."""
        (ground, ink), drawn = levels, u[_OUTLINE_LEVEL + 1]
        level = u[_OUTLINE_LEVEL] * (ground if shadow and drawn < 0.8 else 255)
        if abs(level - ink) < 45:
            level = (ink + ground) / 2 if shadow else 255.0 if ink < 128 else 0.0
        dense = within(self._strengths.shadow_density, drawn) if shadow else 1.0
        image += (np.float32(level) - image) * _cover(behind, dense)

    def _emboss(self, image: Floats, front: Mask, u: Draws) -> None:
        slant = self._slants[int(u[_EMBOSS + 1] * len(self._slants))]
        bright = np.float32(within(self._strengths.emboss, u[_EMBOSS + 2]))
        image += cv2.filter2D(front, cv2.CV_32F, slant) * bright

    def _levels(self, u: Draws) -> tuple[float, float, int]:
        """Grey level of the background and of the letters; both polarities."""
        ground = within(self._strengths.background, u[_LEVELS])
        contrast = within(self._strengths.contrast, u[_LEVELS + 1])
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
        deviation = min(u[_TEXTURE + 1] ** 2 * self._strengths.texture, contrast * share)
        return self._tile(width, level, deviation, u, _TEXTURE + 3), BIT["texture"]

    def _letters(
        self, front: Mask, level: float, contrast: float, u: Draws
    ) -> tuple[Floats | np.float32, int]:
        chances, strengths = self._config.chances, self._strengths
        if u[_TEXT_TEXTURE] < chances.text_texture:
            deviation = u[_TEXT_TEXTURE + 1] * contrast * strengths.text_texture
            tile = self._tile(front.shape[1], level, deviation, u, _TEXT_TEXTURE + 2)
            return tile, BIT["text_texture"]
        fill, far = u[_FILL], (2 * u[_FILL + 1] - 1) * strengths.fill * contrast
        if fill < chances.gradient_fill:
            return self._gradient(front, level, far, u), BIT["gradient_fill"]
        if fill < chances.gradient_fill + chances.two_tone_fill:
            return self._two_tones(front, level, far, u), BIT["two_tone_fill"]
        return np.float32(level), 0

    def _gradient(self, front: Mask, level: float, far: float, u: Draws) -> Floats:
        ramp = _ramp(front.shape[1]) if u[_FILL + 2] < 0.5 else self._down
        return np.broadcast_to(np.float32(level) + np.float32(far) * ramp, front.shape)

    def _two_tones(self, front: Mask, level: float, far: float, u: Draws) -> Floats:
        upper = self._down < np.float32(0.4 * (u[_FILL + 2] - 0.5))
        split = np.where(upper, np.float32(far) * 0.5, np.float32(far) * -0.5)
        return np.broadcast_to(np.float32(level) + split.astype(np.float32), front.shape)

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

    def _lit(self, image: Floats, contrast: float, u: Draws) -> int:
        """Lines, things before the text, light, glare and vignettes, in place; returns the effects."""
        chances, effects = self._config.chances, 0
        if u[_LINE] < chances.line:
            self._line(image, u)
            effects |= BIT["line"]
        if u[_OCCLUSION] < chances.occlusion:
            self._occlude(image, u)
            effects |= BIT["occlusion"]
        if u[_LIGHT] < chances.light:
            self._light(image, u)
            effects |= BIT["light"]
        if u[_GLARE] < chances.glare:
            self._glare(image, contrast, u)
            effects |= BIT["glare"]
        if u[_VIGNETTE] < chances.vignette:
            self._vignette(image, u)
            effects |= BIT["vignette"]
        return effects

    def _line(self, image: Floats, u: Draws) -> None:
        height, width = image.shape
        ends = (int(u[_LINE + 1] * 1.25 * height - 4), int(u[_LINE + 2] * 1.25 * height - 4))
        thickness = int(within(self._strengths.line, u[_LINE + 4]))
        cv2.line(image, (0, ends[0]), (width, ends[1]), float(u[_LINE + 3] * 255), thickness, cv2.LINE_AA)

    def _occlude(self, image: Floats, u: Draws) -> None:
        """A bar as from a pole or a twig, too narrow to hide a letter."""
        height, width = image.shape
        x = int(u[_OCCLUSION + 1] * width)
        lean = int((u[_OCCLUSION + 2] - 0.5) * height)
        thickness = max(1, round(within(self._strengths.occlusion, u[_OCCLUSION + 3]) * height))
        level = float(u[_OCCLUSION + 4] * 255)
        cv2.line(image, (x, -2), (x + lean, height + 2), level, thickness, cv2.LINE_AA)

    def _light(self, image: Floats, u: Draws) -> None:
        along = (u[_LIGHT + 1] - 0.5) * self._strengths.light_along
        down = (u[_LIGHT + 2] - 0.5) * self._strengths.light_down
        image *= 1 + np.float32(along) * _ramp(image.shape[1])
        image *= 1 + np.float32(down) * self._down

    def _glare(self, image: Floats, contrast: float, u: Draws) -> None:
        """A streak: bright along a slanted line, fading across it."""
        height, width = image.shape
        x = (_ramp(width) - np.float32(u[_GLARE + 1] - 0.5)) * np.float32(width / height)
        y = self._down - np.float32(u[_GLARE + 2] - 0.5)
        slope = np.float32(2 * u[_GLARE + 4] - 1)
        reach = np.float32(within(self._strengths.glare, u[_GLARE + 3]))
        bright = np.float32(min(self._strengths.glare_level, 0.6 * contrast))
        image += bright * np.exp(-(((x + slope * y) / reach) ** 2))

    def _vignette(self, image: Floats, u: Draws) -> None:
        radius = _ramp(image.shape[1]) ** 2 + self._down**2
        image *= 1 - np.float32(within(self._strengths.vignette, u[_VIGNETTE + 1])) * radius


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
