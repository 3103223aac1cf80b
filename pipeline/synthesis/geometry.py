"""Where the text stands in the picture: rotation, shear, perspective, arc and cloth in one single warp.

The text's box is mapped to a quadrangle; the picture is what lies around it, scaled to its height. One warp
straight to the final size keeps letters as sharp as their font.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.layout import Box, Canvas, Page
from pipeline.synthesis.strengths import within

Floats = npt.NDArray[np.float32]
_MIN_WIDTH = 12
_LEAST_ADVANCE = 0.16
"""Width of a character, as a share of the text's height, below which nobody could read an oblique word."""
_ROOM_FOR_WAVES = 1.3
"""Standard deviations of the waves that don't reach over the picture's edge."""
_CORNERS = ((-1, -1), (1, -1), (1, 1), (-1, 1))
_ENDS = ((0, 3), (1, 2), (0, 1), (3, 2))
"""The two corners of each side: left, right, top, bottom."""
_ROTATION, _SHEAR, _ASPECT, _STRETCH = (START[n] for n in ("rotation", "shear", "aspect", "stretch"))
_PERSPECTIVE, _CURVE, _MARGINS, _ELASTIC = (START[n] for n in ("perspective", "curve", "margins", "elastic"))
_OBLIQUE = START["oblique"]


@dataclass(frozen=True, slots=True)
class View:
    """From canvas to picture."""

    source: Floats
    """float32 [4, 2]: corners of the text's box on the canvas."""
    target: Floats
    """float32 [4, 2]: where they are in the picture, before the bend."""
    width: int
    """Of the picture, in pixels."""
    text_height: float
    """Of the text in the picture, in pixels."""
    advance: float
    """Of one of its characters in the picture, in pixels."""
    shrink: tuple[float, float]
    """Canvas pixels for one of the picture, across and down."""
    bend: float
    """How much lower the ends of an arc are than its middle, in pixels; negative where higher."""
    effects: int


class Lens:
    """Chooses views of pages, and looks at canvases through them."""

    def __init__(self, config: SynthesisConfig) -> None:
        self._config = config
        generator = np.random.Generator(np.random.Philox(11))
        cloth = cv2.GaussianBlur(generator.standard_normal((64, 512), dtype=np.float32), (0, 0), 1.0)
        self._cloth = cloth / cloth.std()
        self._columns = np.arange(config.max_width, dtype=np.float32)
        self._rows = np.arange(config.height, dtype=np.float32)[:, None]

    def view(self, page: Page, u: Draws) -> View | None:
        """A view of the page; None where the text would be too low to read, or too wide."""
        config, chances, strengths = self._config, self._config.chances, self._config.strengths
        left, top, right, bottom = page.box
        width, height = right - left, bottom - top
        effects = 0

        angle = self._rotation(height / width, u)
        if u[_ROTATION] < chances.rotation:
            effects |= BIT["rotation"]
        else:
            angle *= 0.15
        lean = 0.0
        if u[_SHEAR] < chances.shear:
            lean = (u[_SHEAR + 1] + u[_SHEAR + 2] - 1) * strengths.shear
            effects |= BIT["shear"]
        aspect = (u[_ASPECT] + u[_ASPECT + 1] - 1) * strengths.aspect
        if u[_STRETCH] < chances.stretch:
            aspect += (2 * u[_STRETCH + 1] - 1) * strengths.stretch
            effects |= BIT["stretch"]
        climb = 0.0
        if u[_OBLIQUE] < chances.oblique:
            aspect, climb = self._oblique(aspect, height / width, len(page.label), u)
            angle *= 0.5
            effects |= BIT["oblique"]
        aspect = math.exp(aspect)
        near, tilt = 0.12 * (u[_PERSPECTIVE + 1] - 0.5) * min(1.0, strengths.perspective / 0.35), 0.0
        if u[_PERSPECTIVE] < chances.perspective:
            near, tilt = self._perspective(u)
            effects |= BIT["perspective"]

        half_width, half_height = width * 0.5 * aspect, height * 0.5
        cosine, sine = math.cos(angle), math.sin(angle)
        corners = []
        for x, y in _CORNERS:
            down = half_height * y * (1 + near * x * 0.5)
            across = half_width * x * (1 + tilt * y * 0.5) - lean * down
            down += climb * across
            corners.append((across * cosine - down * sine, across * sine + down * cosine))
        bend = 0.0
        if u[_CURVE] < chances.curve and len(page.label) > 2:
            bend = (u[_CURVE + 1] - 0.5) * 2 * min(strengths.curve * half_width, 1.5 * half_height)
            effects |= BIT["curve"]

        x1, x2 = min(x for x, _ in corners), max(x for x, _ in corners)
        y1 = min(y for _, y in corners) + min(0.0, bend)
        y2 = max(y for _, y in corners) + max(0.0, bend)
        unit = y2 - y1 if u[_MARGINS + 4] < 0.5 else 2 * half_height
        sides = [within(strengths.margin, u[_MARGINS + i] ** 2) * unit for i in range(4)]
        if u[_ELASTIC] < chances.elastic:
            effects |= BIT["elastic"]
            room = _ROOM_FOR_WAVES * self._wave_height(u) * height
            sides = [side + room for side in sides]
        for i, extra in enumerate(page.extra):
            if extra:
                flat = extra * (aspect if i < 2 else 1.0)
                sides[i] = _margin(page.box, corners, i, flat=flat, extra=extra, bend=bend)
        sides[3] = max(sides[3], page.below)
        x1, x2, y1, y2 = x1 - sides[0], x2 + sides[1], y1 - sides[2], y2 + sides[3]

        scale = config.height / (y2 - y1)
        pixels = max(_MIN_WIDTH, round((x2 - x1) * scale))
        text_height = 2 * half_height * scale * (1 - abs(near) * 0.5)
        if pixels > config.max_width or text_height < strengths.least_height * config.height / 32:
            return None
        across = pixels / (x2 - x1)
        target = np.array([((x - x1) * across, (y - y1) * scale) for x, y in corners], np.float32)
        source = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
        shrink = (1 / (across * aspect), height / text_height)
        advance = 2 * half_width * across * page.letters / len(page.label)
        return View(source, target, pixels, text_height, advance, shrink, bend * scale, effects)

    def _rotation(self, slim: float, u: Draws) -> float:
        """An angle in radians; of a text whose height is this share of its width, less for long ones."""
        spread = ((u[_ROTATION + 1] + u[_ROTATION + 2] + u[_ROTATION + 3]) * (2 / 3) - 1) * math.radians(
            self._config.strengths.rotation
        )
        rare = u[_ROTATION + 4]
        far = 1.0 if rare < 0.85 else 1.9 if rare < 0.95 else 2.8
        return spread * far * min(1.0, 5 * slim)

    def _oblique(self, aspect: float, slim: float, length: int, u: Draws) -> tuple[float, float]:
        """The aspect's logarithm, narrowed, and the rise of the lines over their run."""
        strengths = self._config.strengths
        narrowest = math.log(_LEAST_ADVANCE * length * slim)
        aspect = max(aspect - u[_OBLIQUE + 1] * strengths.narrowing, min(aspect, narrowest))
        climb = (2 * u[_OBLIQUE + 2] - 1) * strengths.climb
        return aspect, climb * min(1.0, 3 * slim / math.exp(aspect))

    def _perspective(self, u: Draws) -> tuple[float, float]:
        """Differences of the two ends' heights and of the two edges' lengths, as shares."""
        most = self._config.strengths.perspective
        return 2 * most * (u[_PERSPECTIVE + 1] - 0.5), 0.8 * most * (u[_PERSPECTIVE + 2] - 0.5)

    def _wave_height(self, u: Draws) -> float:
        """Standard deviation of what `elastic` displaces, as a share of the text's height."""
        return within(self._config.strengths.elastic, u[_ELASTIC + 1])

    def take(self, canvases: Sequence[Canvas], view: View, u: Draws) -> list[Canvas]:
        """The pictures of canvases of one size, uint8 [height, width]; two warps take less than one of two
        channels."""
        size = (view.width, self._config.height)
        across, down = view.shrink
        if across > 1.6 or down > 1.6:  # else small letters lose strokes
            kernel = (3 if across > 1.6 else 2, 3 if down > 2.3 else 2)
            canvases = [cv2.blur(canvas, kernel) for canvas in canvases]
        elastic = bool(view.effects & BIT["elastic"])
        if view.bend == 0.0 and not elastic:
            matrix = cv2.getPerspectiveTransform(view.source, view.target)
            return [cv2.warpPerspective(canvas, matrix, size, flags=cv2.INTER_LINEAR) for canvas in canvases]
        inverse = cv2.getPerspectiveTransform(view.target, view.source).astype(np.float32)
        x: Floats = self._columns[: view.width]
        y: Floats = self._rows
        if view.bend != 0.0:
            along = x * np.float32(2 / view.width) - np.float32(1)
            y = (y - np.float32(view.bend) * (along * along)).astype(np.float32, copy=False)
        if elastic:
            far = np.float32(self._wave_height(u) * view.text_height)
            x, y = x + far * self._waves(view.width, u, 0), y + far * self._waves(view.width, u, 6)
        depth = 1 / (inverse[2, 0] * x + inverse[2, 1] * y + inverse[2, 2])
        map_x = (inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2]) * depth
        map_y = (inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]) * depth
        return [cv2.remap(canvas, map_x, map_y, cv2.INTER_LINEAR) for canvas in canvases]

    def _waves(self, width: int, u: Draws, below: int) -> Floats:
        """Smooth displacements [height, width] of unit deviation, about ten pixels from crest to crest."""
        top, left = int(u[_ELASTIC + 2] * 40) + below, int(u[_ELASTIC + 3] * 400)
        coarse = self._cloth[top : top + 4, left : left + 3 + width // 10]
        waves: Floats = cv2.resize(coarse, (width, self._config.height), interpolation=cv2.INTER_CUBIC)
        return waves


def _margin(
    box: Box, corners: Sequence[tuple[float, float]], side: int, *, flat: float, extra: float, bend: float
) -> float:
    """What to add at a side so that `extra` pixels of the canvas beyond the text's box are seen there.

    Args:
        box: Of the text on the canvas.
        corners: Where its corners are seen, in the order of `_CORNERS`.
        side: 0 to 3: left, right, top, bottom.
        flat: What `extra` is without perspective, at whose far end it would show twice as much.
        extra: In canvas pixels.
        bend: See `View.bend`; in the corners' pixels.
    """
    left, top, right, bottom = box
    source = np.array([(left, top), (right, top), (right, bottom), (left, bottom)], np.float32)
    matrix: list[list[float]] = cv2.getPerspectiveTransform(source, np.array(corners, np.float32)).tolist()
    axis, outward = side // 2, (-1, 1)[side % 2]
    across, down = (outward * extra, 0.0) if axis == 0 else (0.0, outward * extra)
    seen: list[float] = []
    for end in _ENDS[side]:
        x, y = float(source[end, 0]) + across, float(source[end, 1]) + down
        depth = matrix[2][0] * x + matrix[2][1] * y + matrix[2][2]
        if depth <= 0:  # beyond the horizon
            return 0.0
        seen.append((matrix[axis][0] * x + matrix[axis][1] * y + matrix[axis][2]) / depth)
    # Where a side leans or bends, most of it is inside the box: less must be added.
    own: list[float] = [corners[end][axis] for end in _ENDS[side]]
    edge = max(outward * place for place in own)
    slack = abs(own[0] - own[1]) + axis * abs(bend)
    room = outward * (seen[0] + seen[1]) / 2 - edge - axis * abs(bend) / 2
    return max(0.0, min(flat - slack / 2, room))
