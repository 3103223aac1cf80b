"""A text as glyphs on a canvas at cap height: kerning, spacing, small capitals, lines below, neighbours.

The canvas is uint8, 0 where nothing is and 255 where ink covers; overlapping glyphs take the darker ink.
"""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from pipeline.synthesis.assets import Assets
from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.strengths import within

Canvas = npt.NDArray[np.uint8]
Glyph = tuple[npt.NDArray[np.uint8], int, int]
"""Ink [H, W], and where its left top corner is from pen and baseline."""
Box = tuple[int, int, int, int]
"""Left, top, right, bottom."""
Margins = tuple[float, float, float, float]
"""Left, right, top, bottom."""

_ACROSS, _DOWN = 36, 30
"""Free pixels at the sides of the text, and above and below it, for what is drawn there."""
_LEAST_HEIGHT = 6
"""Of ink, in pixels: dots and dashes alone, enlarged to a picture, could be anything."""
_PIECE = 0.45
"""Most of a neighbouring letter that is in the picture: it must not be read as one of the word."""
_USUAL = 8.0
"""Pixels between letters beyond which what stands beside a word can't be told from it."""
_APART = 0.95
"""Beyond this share of the spaced words, letters stand far apart."""
_SPACING, _SMALL_CAPS, _JITTER, _NEIGHBOUR, _UNDERLINE = (
    START[name] for name in ("spacing", "small_caps", "jitter", "neighbour", "underline")
)


@dataclass(frozen=True, slots=True)
class Page:
    """A text on its canvas."""

    canvas: Canvas
    """uint8 [H, W]: the text alone, and its neighbours."""
    box: Box
    """Of the text's ink."""
    label: str
    """What is written, which isn't always what was asked for: small capitals are capitals."""
    effects: int
    extra: Margins
    """Margin at each side, in canvas pixels, that shows a piece of the neighbour and no more; else 0."""
    below: int
    """Least margin below, in canvas pixels: what shows the underline."""
    letters: float = 1.0
    """Share of the text's width that isn't space between letters besides the font's own."""


class Typesetter:
    """Sets words in the faces of some assets."""

    def __init__(self, config: SynthesisConfig, assets: Assets) -> None:
        self._assets, self._chances, self._strengths = assets, config.chances, config.strengths
        # Plain views of the maps: each slice of a numpy.memmap is a memmap, which costs a microsecond.
        self._ink, self._index = np.asarray(assets.glyphs), np.asarray(assets.index)
        self._kerning = memoryview(np.ascontiguousarray(assets.kerning))  # type: ignore[arg-type]  # typed as a buffer from 3.12 on
        allowed = config.words.characters or assets.characters
        self._place = {c: i for i, c in enumerate(assets.characters) if c in allowed}
        self._rows: dict[int, dict[int, list[int]]] = {}
        self._kerned = assets.kerning.shape[1]

    def page(self, text: str, beside: str, face: int, u: Draws) -> Page | None:
        """The text on a canvas of its own; None where the face can't write it with the characters allowed.

        Args:
            text: What to write.
            beside: Another text, of which a piece may stand in the margin.
            face: Number of the face.
            u: The image's draws.
        """
        chances, effects = self._chances, 0
        case = self._assets.faces[face].case
        if case != "both":
            text = text.upper() if case == "upper" else text.lower()
        spacing = 0
        if u[_SPACING] < chances.spacing:
            spacing = self._spacing(u)
            effects |= BIT["spacing"]
        small = u[_SMALL_CAPS] < chances.small_caps and self._has_small_capitals(text)
        line = self._line(text, face, spacing, small=small)
        if line is None:
            return None
        glyphs, width = line
        if small:
            text = text.upper()
            effects |= BIT["small_caps"]
        if u[_JITTER] < chances.jitter and len(text) > 1:
            glyphs = _dancing(glyphs, self._strengths.jitter, u[_JITTER + 1])
            effects |= BIT["jitter"]
        above = max(40, *(-up for _, _, up in glyphs))
        below = max(20, *(up + drawn.shape[0] for drawn, _, up in glyphs))
        canvas = np.zeros((above + below + 2 * _DOWN, width + 2 * _ACROSS), np.uint8)
        base = _DOWN + above
        box = _paste(canvas, glyphs, _ACROSS, base)
        if box is None or box[3] - box[1] < _LEAST_HEIGHT:
            return None
        extra, drawn_below = (0.0, 0.0, 0.0, 0.0), 0
        if u[_NEIGHBOUR] < chances.neighbour:
            extra = self._neighbour(canvas, box, base, spacing, beside=beside, face=face, u=u)
            effects |= BIT["neighbour"] if any(extra) else 0
        if u[_UNDERLINE] < chances.underline:
            drawn_below = self._underline(canvas, box, u)
            effects |= BIT["underline"]
        between = max(0, spacing) / 64 * (len(text) - 1) / (box[2] - box[0])
        return Page(canvas, box, text, effects, extra, drawn_below, max(0.0, 1 - between))

    def _spacing(self, u: Draws) -> int:
        """Sixty-fourths of a pixel between letters besides the font's own; of some, far more."""
        drawn, strengths = u[_SPACING + 1], self._strengths
        apart = max(0.0, drawn - _APART) / (1 - _APART)
        return int((within(strengths.spacing, drawn**2) + strengths.apart * apart**2) * 64)

    def _underline(self, canvas: Canvas, box: Box, u: Draws) -> int:
        """Draws it; returns how far below the text it ends."""
        left, _, right, bottom = box
        y = bottom + 2 + int(u[_UNDERLINE + 1] * 4)
        end = y + int(within(self._strengths.underline, u[_UNDERLINE + 2]))
        canvas[y:end, left:right] = 255
        return end - bottom + 1

    def _has_small_capitals(self, text: str) -> bool:
        """Some letter is small, and each has a capital of its own, unlike ß."""
        return text != text.upper() and all(c.upper() in self._place for c in text)

    def _line(self, text: str, face: int, spacing: int, *, small: bool) -> tuple[list[Glyph], int] | None:
        """Glyphs from the pen's start, left corners included, and the line's width in pixels."""
        rows = self._rows.setdefault(face, {})
        blob, kerning = self._ink, self._kerning
        glyphs: list[Glyph] = []
        pen, before = 0, -1
        for character in text:
            lowered = small and character.islower()
            place = self._place.get(character.upper() if lowered else character)
            if place is None:
                return None
            found = rows.get(place)
            if found is None:  # all rows of a face at once would be dear: many faces are used once a shard
                found = rows[place] = self._index[face, place].tolist()
            offset, width, height, left, top, advance, present = found
            if not present:
                return None
            if 0 <= before < self._kerned and place < self._kerned:
                pen += 4 * kerning[face, before, place]
            ink = blob[offset : offset + width * height].reshape(height, width)
            if lowered:
                share = self._strengths.small_caps
                size = (max(1, round(width * share)), max(1, round(height * share)))
                ink = cv2.resize(ink, size, interpolation=cv2.INTER_AREA)
                left, top, advance = round(left * share), round(top * share), round(advance * share)
            glyphs.append((ink, (pen >> 6) + left, top))
            pen += advance + spacing
            before = place
        return glyphs, max(pen >> 6, *(left + drawn.shape[1] for drawn, left, _ in glyphs))

    def _neighbour(
        self, canvas: Canvas, box: Box, base: int, spacing: int, *, beside: str, face: int, u: Draws
    ) -> Margins:
        """Writes a piece of another text above, below, behind or before; returns the margins that show it."""
        left, top, right, bottom = box
        side, shown = u[_NEIGHBOUR + 1], within(self._strengths.neighbour_shown, u[_NEIGHBOUR + 3])
        gap = within(self._strengths.neighbour_gap, u[_NEIGHBOUR + 2])
        if side < 0.6:  # another line
            line = self._line(beside, face, 0, small=False)
            if line is None:
                return (0.0, 0.0, 0.0, 0.0)
            glyphs, width = line
            # A shorter line stands within the text's width, a longer one covers it, more or less.
            start = left - 12 + int(u[_NEIGHBOUR + 4] * (right - left - width + 24))
            if side < 0.3:
                foot = max(up + ink.shape[0] for ink, _, up in glyphs)
                _paste(canvas, glyphs, start, top - int(gap) - foot)
                return (0.0, 0.0, gap + shown, 0.0)
            head = min(up for _, _, up in glyphs)
            _paste(canvas, glyphs, start, bottom + int(gap) - head)
            return (0.0, 0.0, 0.0, gap + shown)
        if spacing > 64 * min(_USUAL, self._strengths.spacing[1]):  # of letters far apart, it would be one
            return (0.0, 0.0, 0.0, 0.0)
        behind = side < 0.8
        line = self._line(beside[:1] if behind else beside[-1:], face, 0, small=False)
        if line is None:
            return (0.0, 0.0, 0.0, 0.0)
        glyphs, width = line
        shown = min(shown, _PIECE * glyphs[0][0].shape[1])
        # Clearly wider than between letters, so that it can't be read as one of them.
        space = min(int(6 + 1.8 * max(0, spacing / 64) + gap), 24)
        if behind:
            _paste(canvas, glyphs, right + space - min(x for _, x, _ in glyphs), base)
            return (0.0, space + shown, 0.0, 0.0)
        _paste(canvas, glyphs, left - space - max(x + ink.shape[1] for ink, x, _ in glyphs), base)
        return (space + shown, 0.0, 0.0, 0.0)


def _dancing(glyphs: list[Glyph], most: float, draw: float) -> list[Glyph]:
    """Each glyph up or down, as the draw's 24 bits say: two for each of twelve, then again."""
    bits = int(draw * 2**24)
    moves = [round(((bits >> 2 * (i % 12)) % 4 * 2 - 3) * most / 3) for i in range(len(glyphs))]
    return [(ink, left, top + move) for (ink, left, top), move in zip(glyphs, moves, strict=True)]


def _paste(canvas: Canvas, glyphs: list[Glyph], pen: int, base: int) -> Box | None:
    """Puts glyphs on the canvas, cut off at its edges; returns the box of what is on it."""
    height, width = canvas.shape
    first = top = 1 << 30
    last = bottom = -1
    for ink, left, up in glyphs:
        x, y = pen + left, base + up
        x2, y2 = x + ink.shape[1], y + ink.shape[0]
        if x < 0 or y < 0 or x2 > width or y2 > height:
            xa, ya, xb, yb = max(x, 0), max(y, 0), min(x2, width), min(y2, height)
            if xb <= xa or yb <= ya:
                continue
            ink = ink[ya - y : yb - y, xa - x : xb - x]  # noqa: PLW2901
            x, y, x2, y2 = xa, ya, xb, yb
        part = canvas[y:y2, x:x2]
        cv2.max(part, ink, part)  # in place; a third of what np.maximum takes for so little
        first, top, last, bottom = min(first, x), min(top, y), max(last, x2), max(bottom, y2)
    return (first, top, last, bottom) if last > first else None
