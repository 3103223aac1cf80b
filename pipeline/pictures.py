"""Sheets of word images with their texts, as a person looks at them."""

import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from crnn.preprocess import GreyImage
from pipeline.captions import Font, caption_font

CELL_WIDTH, IMAGE_HEIGHT, GAP = 200, 40, 8
_TEXT_HEIGHT, _TEXT_SIZE = 17, 13
RIGHT, WRONG, PLAIN = (20, 110, 50), (190, 30, 30), (60, 60, 60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Word:
    """One cell of a sheet."""

    image: GreyImage
    """uint8 [H, W] of any size; shown at one height, or narrower where it would not fit."""
    truth: str
    prediction: str | None = None
    """Shown below the truth in green or red; None shows the truth alone."""
    right: bool | None = None
    """Whether the prediction is green; None where equal texts are."""


def word_sheet(words: Sequence[Word], *, columns: int = 6) -> bytes:
    """A PNG grid of words, each above its truth and prediction; texts that don't fit end in an ellipsis."""
    rows = -(-len(words) // columns) if words else 1
    lines = 2 if any(word.prediction is not None for word in words) else 1
    cell_height = IMAGE_HEIGHT + lines * _TEXT_HEIGHT + GAP
    sheet = Image.new("RGB", (columns * (CELL_WIDTH + GAP) + GAP, rows * cell_height + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    font = caption_font((text for word in words for text in (word.truth, word.prediction or "")), _TEXT_SIZE)
    for i, word in enumerate(words):
        left = GAP + (i % columns) * (CELL_WIDTH + GAP)
        top = GAP + (i // columns) * cell_height
        image = Image.fromarray(np.ascontiguousarray(word.image))
        scale = min(IMAGE_HEIGHT / image.height, CELL_WIDTH / image.width)
        size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        sheet.paste(image.resize(size, Image.Resampling.BICUBIC), (left, top))
        below = top + IMAGE_HEIGHT
        draw.text((left, below), _fitting(word.truth, draw, font), PLAIN, font)
        if word.prediction is not None:
            right = word.prediction == word.truth if word.right is None else word.right
            text = _fitting(word.prediction or "(nothing)", draw, font)
            draw.text((left, below + _TEXT_HEIGHT), text, RIGHT if right else WRONG, font)
    buffer = io.BytesIO()
    sheet.save(buffer, "PNG")
    return buffer.getvalue()


def _fitting(text: str, draw: ImageDraw.ImageDraw, font: Font) -> str:
    """One line no wider than a cell."""
    line = " ".join(text.split())
    if draw.textlength(line, font) <= CELL_WIDTH:
        return line
    kept = len(line)
    while kept and draw.textlength(line[:kept] + "…", font) > CELL_WIDTH:
        kept -= 1
    return line[:kept] + "…"
