"""pipeline.synthesis.signs: real faces, some of which hold other glyphs in the places of signs."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.synthesis.face_reader import RawFace, read_faces
from pipeline.synthesis.font_files import FontFile
from pipeline.synthesis.signs import odd_signs
from tests.fonts import altered

CHARACTERS = "HQx?_!+=.,"
ORDINARY = ("DejaVuSans", "DejaVuSansMono", "DejaVuSerif")
STYLES = {"DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic")}


def read(path: Path) -> RawFace:
    (face,) = read_faces(FontFile(path=path, package="mine"), CHARACTERS, 0)
    assert isinstance(face, RawFace)
    return face


@pytest.fixture(scope="module")
def sound(matplotlib_fonts: Path) -> list[RawFace]:
    """Twelve faces of three families."""
    styles = ("", "-Bold", "-Oblique", "-BoldOblique")
    return [
        read(matplotlib_fonts / f"{family}{style}.ttf")
        for family in ORDINARY
        for style in STYLES.get(family, styles)
    ]


def odd(faces: list[RawFace], ordinary: list[bool] | None = None) -> npt.NDArray[np.bool_]:
    return odd_signs(faces, ordinary or [True] * len(faces), CHARACTERS)


def wrong(matplotlib_fonts: Path, tmp_path: Path, glyphs: dict[str, str | None]) -> RawFace:
    return read(altered(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "wrong.ttf", glyphs))


def test_ordinary_faces_signs_are_all_used(sound: list[RawFace]) -> None:
    assert not odd(sound).any()


@pytest.mark.parametrize(
    ("sign", "drawn"),
    [("_", "Q"), ("?", "+"), (".", "'"), ("_", "¯")],
    ids=["a letter", "another sign", "the same high up", "above for below"],
)
def test_a_sign_that_is_another_is_left_out_and_nothing_else(
    sound: list[RawFace], matplotlib_fonts: Path, tmp_path: Path, sign: str, drawn: str
) -> None:
    found = odd([*sound, wrong(matplotlib_fonts, tmp_path, {sign: drawn})])
    assert not found[:-1].any()
    assert [CHARACTERS[i] for i in np.flatnonzero(found[-1])] == [sign]


def test_a_face_with_many_odd_signs_loses_all_of_its_signs_but_no_letter(
    sound: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    found = odd([*sound, wrong(matplotlib_fonts, tmp_path, dict.fromkeys("?_+=", "Q"))])
    assert "".join(CHARACTERS[i] for i in np.flatnonzero(found[-1])) == "?_!+=.,"


def test_letters_are_never_left_out_whatever_they_look_like(
    sound: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    assert not odd([*sound, wrong(matplotlib_fonts, tmp_path, {"x": "+", "Q": "!"})]).any()


def test_a_missing_sign_is_not_odd(sound: list[RawFace], matplotlib_fonts: Path, tmp_path: Path) -> None:
    assert not odd([*sound, wrong(matplotlib_fonts, tmp_path, {"?": None})]).any()


def test_too_few_ordinary_faces_give_no_verdict(
    sound: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    faces = [*sound, wrong(matplotlib_fonts, tmp_path, {"_": "Q"})]
    assert not odd(faces, [True] * 7 + [False] * 6).any()
    assert odd(faces, [True] * 8 + [False] * 5)[-1].any()
