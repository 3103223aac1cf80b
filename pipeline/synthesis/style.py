"""How letters are drawn: thicker, outlined, with a shadow, as blocks; a second layer is what lies behind.

Both layers go through the same warp later, as two channels of one picture.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.synthesis.config import SynthesisConfig
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.layout import Canvas
from pipeline.synthesis.strengths import whole, within

_LEAST_LEFT = 0.6
"""Ink that is left of letters made thinner, as a share."""
_WEIGHT, _OUTLINE = START["weight"], START["outline"]


@dataclass(frozen=True, slots=True)
class Ink:
    """Letters ready to be warped."""

    front: Canvas
    """uint8 [H, W]: the letters."""
    behind: Canvas | None
    """uint8 [H, W]: outline, shadow or block, letters included; None where there is none."""
    effects: int


class Stylist:
    """Draws letters in the styles that the config allows."""

    def __init__(self, config: SynthesisConfig) -> None:
        self._chances, self._strengths = config.chances, config.strengths
        thickest = int(max(config.strengths.border[1], config.strengths.hollow[1]))
        sizes = ((n, 2 * n + 1) for n in range(1, thickest + 1))
        self._discs = {n: cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)) for n, size in sizes}

    def ink(self, canvas: Canvas, u: Draws) -> Ink:
        """The letters of a canvas in a style of their own."""
        chances, effects = self._chances, 0
        if u[_WEIGHT] < chances.weight:
            other = _weighted(canvas, thinner=u[_WEIGHT + 1] < 0.35)
            if cv2.mean(other)[0] > _LEAST_LEFT * cv2.mean(canvas)[0]:  # hairlines would go altogether
                canvas = other
                effects |= BIT["weight"]
        behind = None
        kind = u[_OUTLINE]
        border, shadow = chances.border, chances.border + chances.shadow
        extrusion = shadow + chances.extrusion
        if kind < border:
            behind = self._bordered(canvas, u)
            effects |= BIT["border"]
        elif kind < shadow:
            behind = self._shadow(canvas, u)
            effects |= BIT["shadow"]
        elif kind < extrusion:
            behind = self._extruded(canvas, u)
            effects |= BIT["extrusion"]
        elif kind < extrusion + chances.hollow:
            canvas = self._hollow(canvas, u)
            effects |= BIT["hollow"]
        return Ink(canvas, behind, effects)

    def _bordered(self, canvas: Canvas, u: Draws) -> Canvas:
        bordered: Canvas = cv2.dilate(canvas, self._discs[whole(self._strengths.border, u[_OUTLINE + 1])])
        return bordered

    def _shadow(self, canvas: Canvas, u: Draws) -> Canvas:
        angle, far = u[_OUTLINE + 1] * 2 * math.pi, within(self._strengths.shadow, u[_OUTLINE + 2])
        move = np.array([[1, 0, far * math.cos(angle)], [0, 1, far * math.sin(angle)]], np.float32)
        moved = cv2.warpAffine(canvas, move, (canvas.shape[1], canvas.shape[0]))
        shadow: Canvas = cv2.blur(moved, (5, 5)) if u[_OUTLINE + 3] < 0.5 else moved
        return shadow

    def _extruded(self, canvas: Canvas, u: Draws) -> Canvas:
        side = int(within(self._strengths.extrusion, u[_OUTLINE + 2]))
        kernel, middle = np.zeros((side, side), np.uint8), side // 2
        end = (0 if u[_OUTLINE + 1] < 0.5 else side - 1, 0 if u[_OUTLINE + 3] < 0.5 else side - 1)
        cv2.line(kernel, (middle, middle), end, 1)
        block: Canvas = cv2.dilate(canvas, kernel)
        return block

    def _hollow(self, canvas: Canvas, u: Draws) -> Canvas:
        wide = whole(self._strengths.hollow, u[_OUTLINE + 1] / 1.2)  # thin ones are likelier
        hollow: Canvas = cv2.subtract(cv2.dilate(canvas, self._discs[wide]), canvas)
        return hollow


def _weighted(canvas: Canvas, *, thinner: bool) -> Canvas:
    """A steeper or later threshold of the blurred letters is a thicker or thinner stroke."""
    soft = cv2.blur(canvas, (3, 3))
    other: Canvas = cv2.convertScaleAbs(cv2.subtract(soft, 100 if thinner else 30), alpha=3.0)
    return other
