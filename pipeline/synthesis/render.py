"""One word to one picture, a pure function of text and draws: layout, style, warp, grey levels, camera."""

import math
from bisect import bisect_right
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.degrade import Camera, Grey
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.geometry import Lens
from pipeline.synthesis.layout import Typesetter
from pipeline.synthesis.split import Split
from pipeline.synthesis.strengths import within
from pipeline.synthesis.style import Stylist
from pipeline.synthesis.surface import Painter

_FACE, _QUALITY, _COLOUR = START["face"], START["quality"], START["colour"]
_NOISE_TOLD = 0.8
"""Grey levels that letters must differ more for each of the noise's standard deviation."""
_CLEAR, _CLEAR_OF_NOISE, _LEAST_SEEN = 40.0, 4.0, 0.5
"""Contrast, in grey levels and for each of the noise's standard deviation, below which it is looked whether
letters are drowned in texture, noise and blur; and how much the picture must resemble them then."""
_LEAST_FREE = 0.02
"""Share of a picture that letters and what lies behind them must leave free, to tell their contrast by."""


@dataclass(frozen=True, slots=True)
class Rendered:
    """A picture and what went into it."""

    image: Grey
    """uint8 [H, W], or [H, W, 3] in blue, green, red."""
    label: str
    """What is written on it."""
    face: int
    effects: int
    text_height: float
    """In pixels that carry something: less where the picture was enlarged."""
    contrast: float
    """Mean grey level of the letters less that of the background in the finished picture, without sign."""
    noise: float
    quality: int
    """For the JPEG."""


def prepare_opencv() -> None:
    """Makes OpenCV give the same bytes on every machine: no vendor library, one thread. Once a process."""
    cv2.setNumThreads(1)
    cv2.ipp.setUseIPP(False)


class Renderer:
    """Renders words with the faces of one split.

    Args:
        config: What may happen to them.
        assets: Faces and textures.
        split: Whose faces.
    """

    def __init__(self, config: SynthesisConfig, assets: Assets, split: Split) -> None:
        prepare_opencv()
        self._config = config
        self._faces, shares = assets.face_ids(
            split if config.designs == "split" else None, ordinary=config.ordinary
        )
        self._cumulative: list[float] = np.cumsum(shares).tolist()
        self.typesetter = Typesetter(config, assets)
        self.stylist = Stylist(config)
        self.lens = Lens(config)
        self.painter = Painter(config, assets)
        self.camera = Camera(config)

    def render(self, text: str, beside: str, u: Draws) -> Rendered | None:
        """The picture of a text; None where this draw makes one that nobody could read, or can't be made.

        Args:
            text: What to write, without spaces.
            beside: Another text, of which a piece may stand in the margin.
            u: One row of draws.
        """
        strengths = self._config.strengths
        place = bisect_right(self._cumulative, u[_FACE])
        face = int(self._faces[min(place, len(self._faces) - 1)])
        page = self.typesetter.page(text, beside, face, u)
        view = None if page is None else self.lens.view(page, u)
        if page is None or view is None:
            return None
        ink = self.stylist.ink(page.canvas, u)
        layers = (ink.front,) if ink.behind is None else (ink.front, ink.behind)
        front, behind, *_ = *self.lens.take(layers, view, u), None
        painted = self.painter.paint(front, behind, bool(ink.effects & BIT["shadow"]), u)
        taken = self.camera.degrade(painted.image, view.text_height, painted.contrast, u)
        contrast = _contrast(taken.image, front, behind)
        if contrast < strengths.least_contrast + _NOISE_TOLD * taken.noise:
            return None
        doubtful = contrast < max(_CLEAR, _CLEAR_OF_NOISE * taken.noise) and ink.behind is None
        if doubtful and _resemblance(taken.image, front) < _LEAST_SEEN:
            return None
        if view.advance * taken.resolution < strengths.least_advance * self._config.height / 32:
            return None
        return Rendered(
            image=taken.image if self._config.colour == "grey" else _coloured(taken.image, front, u),
            label=page.label,
            face=face,
            effects=page.effects | view.effects | ink.effects | painted.effects | taken.effects,
            text_height=view.text_height * taken.resolution,
            contrast=contrast,
            noise=taken.noise,
            quality=int(within(strengths.quality, u[_QUALITY] ** 0.7)),
        )


def _contrast(image: Grey, front: Grey, behind: Grey | None) -> float:
    """Mean grey level of the letters less that of what isn't covered, without sign; 0 where either lacks.

    Each pixel counts by how much of it is ink, or free: letters too thin to be seen have little contrast.
    """
    covered = front if behind is None else cv2.max(front, behind)
    ink, free = cv2.sumElems(front)[0], 255.0 * image.size - cv2.sumElems(covered)[0]
    if not ink or free < _LEAST_FREE * 255 * image.size:
        return 0.0
    lettered = on_covered = _weighted(image, front)
    if behind is not None:
        on_covered = _weighted(image, covered)
    return abs(lettered / ink - (255 * cv2.sumElems(image)[0] - on_covered) / free)


def _resemblance(image: Grey, front: Grey) -> float:
    """Correlation of a picture with the letters, without sign, each less its surroundings; exact."""
    side = image.shape[0] * 13 // 32 | 1
    seen, drawn = (cv2.subtract(p, cv2.blur(p, (side, side)), dtype=cv2.CV_16S) for p in (image, front))
    both, one, other = (
        cv2.sumElems(np.multiply(a, b, dtype=np.int32))[0]
        for a, b in ((seen, drawn), (seen, seen), (drawn, drawn))
    )
    return abs(both) / math.sqrt(one * other) if one and other else 0.0


def _weighted(image: Grey, weights: Grey) -> float:
    """Sum of the pixels, each times its weight."""
    total: float = cv2.sumElems(np.multiply(image, weights, dtype=np.uint16))[0]
    return total


def _coloured(image: Grey, front: Grey, u: Draws) -> npt.NDArray[np.uint8]:
    """A blue-green-red picture with the grey levels given, one hue for the letters and one for the rest."""
    hues = []
    for place in (_COLOUR, _COLOUR + 2):
        blue, red = (u[place] - 0.5) * 160, (u[place + 1] - 0.5) * 160
        green = -(0.114 * blue + 0.299 * red) / 0.587  # so that the grey level stays
        hues.append(np.array((blue, green, red), np.float32))
    cover = (front.astype(np.float32) / 255)[:, :, None]
    mixed = image[:, :, None] + hues[0] * cover + hues[1] * (1 - cover)
    return np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
