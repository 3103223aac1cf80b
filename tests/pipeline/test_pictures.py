"""Sheets: every word in its own cell, whatever its size and however long its texts."""

import io

import numpy as np
import pytest
from PIL import Image

from pipeline.pictures import CELL_WIDTH, GAP, IMAGE_HEIGHT, PLAIN, RIGHT, WRONG, Word, word_sheet

PITCH = CELL_WIDTH + GAP


def pixels(words: list[Word], columns: int = 6) -> np.ndarray:
    with Image.open(io.BytesIO(word_sheet(words, columns=columns))) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB"))


def black(width: int = 80, height: int = 40) -> np.ndarray:
    return np.zeros((height, width), np.uint8)


def inked(sheet: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((sheet == np.array(colour)).all(-1).sum())


def test_words_stand_in_rows_of_cells() -> None:
    sheet = pixels([Word(image=black(), truth="w")] * 3, columns=2)
    assert sheet.shape[1] == 2 * PITCH + GAP
    cell = (sheet.shape[0] - GAP) // 2
    at = [sheet[GAP + cell * row + 5, GAP + PITCH * column + 5].max() for row in (0, 1) for column in (0, 1)]
    assert at == [0, 0, 0, 255]


@pytest.mark.parametrize(("width", "height"), [(1, 1), (3, 900), (5000, 10), (200, 40), (37, 64)])
def test_an_image_of_any_size_stays_within_its_cell(width: int, height: int) -> None:
    sheet = pixels([Word(image=black(width, height), truth="")])
    dark = np.argwhere(sheet.max(-1) < 60)
    assert len(dark)
    assert dark.min() >= GAP
    assert dark[:, 0].max() < GAP + IMAGE_HEIGHT
    assert dark[:, 1].max() < GAP + CELL_WIDTH


@pytest.mark.parametrize(
    ("prediction", "right", "colour"),
    [
        ("HILL", None, RIGHT),
        ("HALL", None, WRONG),
        ("", None, WRONG),
        ("HALL", True, RIGHT),
        ("HILL", False, WRONG),
    ],
)
def test_a_prediction_is_green_where_it_is_right_and_red_otherwise(
    prediction: str, right: bool | None, colour: tuple[int, int, int]
) -> None:
    sheet = pixels([Word(image=black(), truth="HILL", prediction=prediction, right=right)])
    other = WRONG if colour == RIGHT else RIGHT
    assert (inked(sheet, colour) > 0, inked(sheet, other)) == (True, 0)


def test_truths_alone_take_one_line_and_no_colour() -> None:
    alone = pixels([Word(image=black(), truth="HILL")])
    judged = pixels([Word(image=black(), truth="HILL", prediction="HILL")])
    assert alone.shape[0] < judged.shape[0]
    assert inked(alone, PLAIN) > 0
    assert inked(alone, RIGHT) == inked(alone, WRONG) == 0


def test_long_texts_stay_out_of_the_next_cell() -> None:
    long = Word(image=black(), truth="W" * 300, prediction="two\nlines " + "W" * 300)
    sheet = pixels([long])
    assert (sheet[:, GAP + CELL_WIDTH + 1 :] == 255).all()
    same_height = pixels([Word(image=black(), truth="W", prediction="two")])
    assert sheet.shape == same_height.shape


def test_no_words_give_an_empty_sheet() -> None:
    assert (pixels([]) == 255).all()
