"""pipeline.synthesis.shapes: comparable glyphs of real faces, and of made-up bitmaps."""

import string
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipeline.synthesis.assets import Bytes
from pipeline.synthesis.face_reader import RawFace, read_faces
from pipeline.synthesis.font_files import FontFile
from pipeline.synthesis.shapes import SIDE, comparable, face_shapes, judged

LETTERS = "AEQagkr38"


def face(path: Path) -> RawFace:
    (found,) = read_faces(FontFile(path=path, package="mine"), LETTERS, 0)
    assert isinstance(found, RawFace)
    return found


def likeness(one: Bytes, other: Bytes) -> float:
    return float(comparable(one) @ comparable(other))


@pytest.mark.parametrize("shape", [(1, 1), (1, 90), (90, 1), (30, 20), (7, 120)])
def test_a_bitmap_of_any_size_becomes_a_vector_of_length_one(shape: tuple[int, int]) -> None:
    vector = comparable(np.full(shape, 255, np.uint8))
    assert vector.shape == (SIDE * SIDE,)
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-5)


def test_nothing_drawn_has_no_likeness_rather_than_no_number() -> None:
    assert not comparable(np.zeros((5, 5), np.uint8)).any()


def test_size_and_grey_level_change_little(matplotlib_fonts: Path) -> None:
    for index in range(len(LETTERS)):
        glyph = face(matplotlib_fonts / "DejaVuSans.ttf").bitmap(index)
        larger = cv2.resize(glyph, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        assert likeness(glyph, larger) > 0.98
        assert likeness(glyph, glyph // 2) > 0.999


def test_a_letter_is_more_like_its_own_bold_than_like_other_letters(matplotlib_fonts: Path) -> None:
    regular, bold = (
        face_shapes(face(matplotlib_fonts / f"{name}.ttf"), list(range(len(LETTERS))))
        for name in ("DejaVuSans", "DejaVuSans-Bold")
    )
    assert regular.shape == (len(LETTERS), SIDE * SIDE)
    assert ((regular @ bold.T).argmax(1) == np.arange(len(LETTERS))).all()


def test_letters_and_digits_of_ascii_are_judged_where_there_are_enough() -> None:
    assert judged("!aé" + string.digits) == [1, *range(3, 13)]


def test_other_scripts_are_judged_by_a_spread_of_their_own_characters() -> None:
    hangul = "".join(map(chr, range(0xAC00, 0xAC00 + 2_000)))
    indices = judged("!?ab" + hangul)
    assert 32 <= len(indices) <= 64
    assert all(("!?ab" + hangul)[i].isalnum() for i in indices)
    assert indices[-1] > 1_900
    assert judged("!한글") == [1, 2]
