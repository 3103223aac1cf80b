"""How letters are drawn: thicker, outlined, with a shadow, as blocks; a second layer is what lies behind.

Both layers go through the same warp later, as two channels of one picture.
"""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from pipeline.synthesis.config import Chances
from pipeline.synthesis.draws import START, Draws
from pipeline.synthesis.effects import BIT
from pipeline.synthesis.layout import Canvas

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
    """Draws letters in the styles that the chances allow."""

    def __init__(self, chances: Chances) -> None:
        self._chances = chances
        self._discs = {n: cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (n, n)) for n in (3, 5, 7, 9)}

    def ink(self, canvas: Canvas, u: Draws) -> Ink:
        """The letters of a canvas in a style of their own."""
        chances, effects = self._chances, 0
        if u[_WEIGHT] < chances.weight:
            # A steeper or later threshold of the blurred letters is a thicker or thinner stroke.
            thinner = u[_WEIGHT + 1] < 0.35
            soft = cv2.blur(canvas, (3, 3))
            other = cv2.convertScaleAbs(cv2.subtract(soft, 100 if thinner else 30), alpha=3.0)
            if cv2.mean(other)[0] > _LEAST_LEFT * cv2.mean(canvas)[0]:  # hairlines would go altogether
                canvas = other
                effects |= BIT["weight"]
        behind = None
        kind, a, b, c = u[_OUTLINE], u[_OUTLINE + 1], u[_OUTLINE + 2], u[_OUTLINE + 3]
        border, shadow = chances.border, chances.border + chances.shadow
        extrusion = shadow + chances.extrusion
        if kind < border:
            behind = cv2.dilate(canvas, self._discs[(3, 5, 7, 9)[int(a * 4)]])
            effects |= BIT["border"]
        elif kind < shadow:
            behind = _shadow(canvas, a, b, soft=c < 0.5)
            effects |= BIT["shadow"]
        elif kind < extrusion:
            behind = _extruded(canvas, 3 + int(b * 6), to_left=a < 0.5, up=c < 0.5)
            effects |= BIT["extrusion"]
        elif kind < extrusion + chances.hollow:
            canvas = cv2.subtract(cv2.dilate(canvas, self._discs[3 if a < 0.6 else 5]), canvas)
            effects |= BIT["hollow"]
        return Ink(canvas, behind, effects)


def _shadow(canvas: Canvas, direction: float, distance: float, *, soft: bool) -> Canvas:
    angle, far = direction * 2 * math.pi, 2 + distance * 5
    move = np.array([[1, 0, far * math.cos(angle)], [0, 1, far * math.sin(angle)]], np.float32)
    moved = cv2.warpAffine(canvas, move, (canvas.shape[1], canvas.shape[0]))
    shadow: Canvas = cv2.blur(moved, (5, 5)) if soft else moved
    return shadow


def _extruded(canvas: Canvas, depth: int, *, to_left: bool, up: bool) -> Canvas:
    kernel = np.zeros((depth, depth), np.uint8)
    middle = depth // 2
    cv2.line(kernel, (middle, middle), (0 if to_left else depth - 1, 0 if up else depth - 1), 1)
    block: Canvas = cv2.dilate(canvas, kernel)
    return block
