"""pipeline.synthesis.atlas: which real faces are kept, and how their glyphs are laid out."""

import shutil
import string
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.errors import ConfigError
from pipeline.synthesis.atlas import Atlas, build_atlas
from pipeline.synthesis.face_reader import RawFace, read_faces
from pipeline.synthesis.font_files import FontFile
from tests.fonts import altered

CHARACTERS = string.ascii_letters + string.digits + "!?_"
FAMILIES = {
    "DejaVuSans": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSansMono": ("", "-Bold", "-Oblique", "-BoldOblique"),
    "DejaVuSerif": ("", "-Bold", "-Italic", "-BoldItalic"),
    "STIXGeneral": ("", "Bol", "Italic", "BolIta"),
    **dict.fromkeys(("cmb10", "cmr10", "cmss10", "cmti10"), ("",)),
}
TEX = 4
"""Faces that hold a dot in the place of the underscore."""


def read(path: Path, **values: Any) -> RawFace:
    (face,) = read_faces(FontFile(path=path, package="mine", **values), CHARACTERS, 10)
    assert isinstance(face, RawFace), face
    return face


@pytest.fixture(scope="module")
def raw(matplotlib_fonts: Path) -> list[RawFace]:
    """Twenty faces of eight families, all of them for signs, as if their package said so."""
    names = [f"{name}{style}.ttf" for name, styles in FAMILIES.items() for style in styles]
    return [read(matplotlib_fonts / name, kind="sign") for name in names]


@pytest.fixture(scope="module")
def sound(raw: list[RawFace]) -> Atlas:
    """Of all of them."""
    return build_atlas(raw, CHARACTERS, 4)


def files(atlas: Atlas) -> list[str]:
    return [face.file for face in atlas.faces]


def excluded(atlas: Atlas) -> dict[str, str]:
    return {exclusion.name: exclusion.reason for exclusion in atlas.exclusions}


def assert_all_accounted_for(atlas: Atlas, raw: Sequence[RawFace]) -> None:
    assert len(atlas.faces) + len(atlas.exclusions) == len(raw)


def test_sound_faces_are_all_kept_and_grouped_by_family(raw: list[RawFace], sound: Atlas) -> None:
    assert_all_accounted_for(sound, raw)
    assert sound.exclusions == ()
    several = {"DejaVu Sans": 4, "DejaVu Sans Mono": 4, "DejaVu Serif": 4, "STIXGeneral": 4}
    assert Counter(face.design for face in sound.faces) == several | dict.fromkeys(list(FAMILIES)[4:], 1)
    assert {face.case for face in sound.faces} == {"both"}


def test_what_a_face_is_for_is_told_by_its_file_where_no_package_says_it(raw: list[RawFace]) -> None:
    atlas = build_atlas([read(face.file.path) for face in raw], CHARACTERS, 4)
    kinds = {face.file: face.kind for face in atlas.faces}
    assert kinds["DejaVuSans.ttf"] == "sign"
    assert kinds["DejaVuSansMono.ttf"] == kinds["DejaVuSerif.ttf"] == "text"


def test_each_glyph_lies_where_the_index_says(raw: list[RawFace], sound: Atlas) -> None:
    for f, face in enumerate(raw):
        for c in np.flatnonzero(sound.index[f, :, 6]).tolist():
            offset, width, height = sound.index[f, c, :3]
            drawn = sound.glyphs[offset : offset + width * height].reshape(height, width)
            assert np.array_equal(drawn, face.bitmap(c))
            assert np.array_equal(sound.index[f, c, 1:], face.boxes[c, 1:])
        assert np.array_equal(sound.kerning[f], face.kerning)
    assert sound.index[:, :, 6].sum() == len(raw) * len(CHARACTERS) - TEX
    assert not sound.index[sound.index[:, :, 6] == 0].any()
    assert len(sound.glyphs) == (sound.index[:, :, 1] * sound.index[:, :, 2]).sum()


def test_a_face_that_draws_as_another_is_its_duplicate_whatever_its_name(
    raw: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    shutil.copy(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "copy.ttf")
    renamed = altered(matplotlib_fonts / "DejaVuSerif.ttf", tmp_path / "renamed.ttf", family="Wholly Other")
    both = [*raw, read(tmp_path / "copy.ttf"), read(renamed)]
    atlas = build_atlas(both, CHARACTERS, 4)
    assert_all_accounted_for(atlas, both)
    assert excluded(atlas) == {"mine/copy.ttf": "duplicate", "mine/renamed.ttf": "duplicate"}
    assert {exclusion.detail for exclusion in atlas.exclusions} == {
        "of mine/DejaVuSans.ttf",
        "of mine/DejaVuSerif.ttf",
    }


def test_a_face_with_letters_in_the_places_of_others_is_excluded(
    raw: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    letters = string.ascii_letters + string.digits
    mixed: dict[str, str | None] = dict(zip(letters, letters[7:] + letters[:7], strict=True))
    runes = altered(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "runes.ttf", mixed, family="Runes")
    both = [*raw, read(runes)]
    atlas = build_atlas(both, CHARACTERS, 4)
    assert_all_accounted_for(atlas, both)
    assert excluded(atlas) == {"mine/runes.ttf": "not legible"}
    assert "letters and digits are recognised" in atlas.exclusions[0].detail


def test_a_family_that_people_cannot_read_is_excluded_by_its_name(
    raw: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    turned: dict[str, str | None] = dict(zip("0123456789", "1234567890", strict=True))  # else a duplicate
    riddle = altered(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "loopy.ttf", turned, family="Loopy BRK")
    both = [*raw, read(riddle)]
    atlas = build_atlas(both, CHARACTERS, 4)
    assert_all_accounted_for(atlas, both)
    assert excluded(atlas) == {"mine/loopy.ttf": "not legible"}
    assert "people can't read it" in atlas.exclusions[0].detail


def test_faces_of_a_design_are_spread_from_the_lightest_to_the_boldest(raw: list[RawFace]) -> None:
    atlas = build_atlas(raw, CHARACTERS, 2)
    assert_all_accounted_for(atlas, raw)
    assert Counter(face.design for face in atlas.faces).most_common(1)[0][1] == 2
    assert set(excluded(atlas).values()) == {"enough of its design"}
    for design in {face.design for face in atlas.faces}:
        ink = {face.name: int(face.glyphs.sum()) for face in raw if face.family == design}
        kept = {f"mine/{face.file}" for face in atlas.faces if face.design == design}
        assert kept == {min(ink, key=ink.__getitem__), max(ink, key=ink.__getitem__)}


def test_faces_without_small_letters_are_marked_so(
    raw: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    capitals: dict[str, str | None] = {c: c.upper() for c in string.ascii_lowercase}
    path = altered(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "caps.ttf", capitals, family="Caps")
    atlas = build_atlas([*raw, read(path)], CHARACTERS, 8)
    assert {face.file: face.case for face in atlas.faces}["caps.ttf"] == "upper"


def test_an_odd_sign_is_left_out_and_counted(
    raw: list[RawFace], matplotlib_fonts: Path, tmp_path: Path
) -> None:
    joker = altered(matplotlib_fonts / "DejaVuSans.ttf", tmp_path / "joker.ttf", {"_": "Q"})
    both = [*raw, read(joker, kind="sign")]
    atlas = build_atlas(both, CHARACTERS, 8)
    held = atlas.index[files(atlas).index("joker.ttf"), :, 6]
    assert [c for c, there in zip(CHARACTERS, held, strict=True) if not there] == ["_"]
    assert atlas.signs_left_out == TEX + 1
    assert len(atlas.glyphs) == (atlas.index[:, :, 1] * atlas.index[:, :, 2]).sum()


def test_the_signs_of_display_faces_are_left_out(raw: list[RawFace]) -> None:
    atlas = build_atlas([read(raw[0].file.path, kind="display"), *raw[1:]], CHARACTERS, 4)
    (number,) = (f for f, face in enumerate(atlas.faces) if face.kind == "display")
    assert not atlas.index[number, -3:, 6].any()
    assert atlas.index[number, :-3, 6].all()
    assert atlas.signs_left_out == TEX + 3


def test_what_a_package_says_its_fonts_are_for_is_believed(raw: list[RawFace]) -> None:
    written = [read(face.file.path, kind="handwriting") for face in raw[:4]]
    atlas = build_atlas([*written, *raw[4:]], CHARACTERS, 4)
    assert {face.kind for face in atlas.faces if face.design == "DejaVu Sans"} == {"handwriting"}


@pytest.mark.parametrize("chosen", [["DejaVuSans", "DejaVuSerif"], list(FAMILIES)])
def test_both_splits_have_designs_and_no_design_is_in_both(raw: list[RawFace], chosen: list[str]) -> None:
    some = [face for face in raw if face.file.path.stem.split("-")[0] in chosen]
    splits: dict[str, set[str]] = {}
    for face in build_atlas(some, CHARACTERS, 4).faces:
        splits.setdefault(face.design, set()).add(face.split)
    assert all(len(found) == 1 for found in splits.values())
    assert set.union(*splits.values()) == {"train", "validation"}


def test_one_design_can_not_be_split_and_what_to_do_is_said(raw: list[RawFace]) -> None:
    with pytest.raises(ConfigError, match=r"1 usable font designs were found.*--fonts.*--packages"):
        build_atlas(raw[:4], CHARACTERS, 4)


def test_the_same_faces_give_the_same_arrays(raw: list[RawFace], sound: Atlas) -> None:
    again = build_atlas(raw, CHARACTERS, 4)
    assert again.faces == sound.faces
    assert again.glyphs.tobytes() == sound.glyphs.tobytes()
    assert again.index.tobytes() == sound.index.tobytes()
