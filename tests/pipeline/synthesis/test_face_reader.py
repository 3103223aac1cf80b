"""pipeline.synthesis.face_reader: what is read of sound fonts, and why others aren't used."""

import itertools
import string
from pathlib import Path

import numpy as np
import pytest
import uharfbuzz as hb
from fontTools.ttLib import TTCollection, TTFont
from PIL import ImageFont

from crnn.charset import LATIN94
from pipeline.synthesis.assets import CAP_HEIGHT
from pipeline.synthesis.face_reader import KERNING_UNIT, Exclusion, RawFace, pair_order, read_faces
from pipeline.synthesis.font_files import FontFile
from tests.fonts import altered

LETTERS = string.ascii_letters + string.digits


@pytest.fixture(scope="module")
def mono(matplotlib_fonts: Path) -> Path:
    """The smallest font that holds accents and other scripts."""
    return matplotlib_fonts / "DejaVuSansMono-Oblique.ttf"


def boxed(source: Path, target: Path, character: str) -> Path:
    """A copy of a font that draws a character as the box that stands for those it lacks."""
    with TTFont(source) as font:
        for table in ("glyf", "hmtx"):
            font[table][font.getBestCmap()[ord(character)]] = font[table][".notdef"]
        font.save(target)
    return target


def read(path: Path, characters: str = LATIN94.characters, *, kerned: int = 0) -> list[RawFace | Exclusion]:
    return list(read_faces(FontFile(path=path, package="mine"), characters, kerned))


def face(path: Path, characters: str = LATIN94.characters, *, kerned: int = 0) -> RawFace:
    (found,) = read(path, characters, kerned=kerned)
    assert isinstance(found, RawFace), found
    return found


def exclusion(path: Path, characters: str = LATIN94.characters) -> Exclusion:
    (found,) = read(path, characters)
    assert isinstance(found, Exclusion)
    assert found.name == f"mine/{path.name}"
    return found


def test_a_capital_is_thirty_pixels_high_and_stands_on_the_baseline(matplotlib_fonts: Path) -> None:
    for name in ("DejaVuSans", "DejaVuSerif-Italic", "DejaVuSansMono", "STIXGeneral"):
        _, _, height, _, top, _, present = face(matplotlib_fonts / f"{name}.ttf", "H").boxes[0].tolist()
        assert present == 1
        assert abs(height - CAP_HEIGHT) <= 1
        assert abs(top + height) <= 1


def test_glyphs_are_what_pillow_draws_at_that_size(mono: Path) -> None:
    found = face(mono)
    units = TTFont(mono)
    size = found.boxes[0, 5] / 64 / units["hmtx"][units.getBestCmap()[ord(LATIN94.characters[0])]][0] * 2048
    font = ImageFont.truetype(str(mono), size, layout_engine=ImageFont.Layout.BASIC)
    for index, character in enumerate(LATIN94.characters):
        mask = font.getmask(character, mode="L")
        drawn = np.asarray(mask, np.uint8).reshape(mask.size[::-1])
        rows, columns = np.flatnonzero(drawn.any(1)), np.flatnonzero(drawn.any(0))
        tight = drawn[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert found.bitmap(index).shape == tight.shape
        assert np.abs(found.bitmap(index).astype(int) - tight).mean() < 2


def test_advances_are_the_fonts_own(mono: Path) -> None:
    found, font = face(mono), TTFont(mono)
    names = font.getBestCmap()
    units = np.array([font["hmtx"][names[ord(c)]][0] for c in LATIN94.characters])
    pixels = found.boxes[:, 5] / 64
    assert np.allclose(pixels / units, pixels[0] / units[0], rtol=0.01)


def test_accents_are_drawn_on_their_letters(mono: Path) -> None:
    found = face(mono, "eéÜUßőş")
    e, acute, umlaut, u = (found.boxes[i] for i in range(4))
    assert acute[4] < e[4] - 5
    assert acute[4] + acute[2] == e[4] + e[2]
    assert umlaut[4] < u[4] - 3
    assert found.boxes[:, 6].all()


def test_a_script_without_a_character_of_ascii_is_drawn_without_kerning(mono: Path) -> None:
    found = face(mono, "ЖЩдя", kerned=0)
    assert found.boxes[:, 6].all()
    assert found.kerning.shape == (0, 0)


def test_every_pair_is_kerned_as_if_it_were_shaped_alone(matplotlib_fonts: Path) -> None:
    path = matplotlib_fonts / "DejaVuSerif.ttf"
    characters = "AVTo.yWLf-P,r"
    kerning = face(path, characters + "z", kerned=len(characters)).kerning
    blob = hb.Face(path.read_bytes())
    font = hb.Font(blob)

    def advance(text: str) -> int:
        buffer = hb.Buffer()
        buffer.add_str(text)
        buffer.guess_segment_properties()
        hb.shape(font, buffer, {"kern": True, "liga": False})
        return sum(position.x_advance for position in buffer.glyph_positions)

    scale = face(path, "H").boxes[0, 5] / 64 / advance("H") * KERNING_UNIT
    alone = np.array(
        [[(advance(a + b) - advance(a) - advance(b)) * scale for b in characters] for a in characters]
    )
    assert kerning.shape == (len(characters),) * 2
    assert np.abs(kerning - np.clip(alone, -127, 127)).max() <= 1
    assert kerning[0, 1] < -KERNING_UNIT  # AV: closer by more than a pixel


@pytest.mark.parametrize("count", [0, 1, 2, 3, 10, 94])
def test_one_string_holds_every_pair_exactly_once(count: int) -> None:
    pairs = sorted(itertools.pairwise(pair_order(count).tolist()))
    assert pairs == sorted(itertools.product(range(count), repeat=2))


def test_names_and_what_the_file_says_of_itself_are_read(matplotlib_fonts: Path) -> None:
    bold = face(matplotlib_fonts / "DejaVuSansMono-Bold.ttf", "H")
    assert (bold.family, bold.style, bold.licence) == ("DejaVu Sans Mono", "Bold", "Bitstream Vera")
    assert (bold.monospaced, bold.name) == (True, "mine/DejaVuSansMono-Bold.ttf")
    assert not face(matplotlib_fonts / "DejaVuSans.ttf", "H").monospaced


def test_a_family_with_tabs_in_its_name_breaks_no_table(mono: Path, tmp_path: Path) -> None:
    assert face(altered(mono, tmp_path / "a.ttf", family="A\tB\nC"), "H").family == "A B C"


def test_a_package_vouches_for_fonts_that_say_nothing(mono: Path) -> None:
    file = FontFile(path=mono, package="fonts-a", version="1", licence="GPL-2+")
    (found,) = read_faces(file, "H", 0)
    assert isinstance(found, RawFace)
    assert found.licence == "GPL-2+"


def test_signs_may_be_missing_and_are_marked_so(mono: Path, tmp_path: Path) -> None:
    path = altered(mono, tmp_path / "a.ttf", {"?": None, "~": "space", "&": ".notdef"})
    found = face(boxed(path, tmp_path / "b.ttf", "@"))
    lacking = {c for c, box in zip(LATIN94.characters, found.boxes, strict=True) if not box[6]}
    assert lacking == set("?~&@")


@pytest.mark.parametrize(
    ("glyphs", "reason", "detail"),
    [
        ({"Q": None, "7": None}, "missing characters", "7Q"),
        (dict.fromkeys(LETTERS[:30]), "missing characters", "and 18 more"),
        ({"Q": "space"}, "blank glyphs", "'Q'"),
        ({"H": "."}, "odd proportions", "of 200 high"),
        ({"H": "_"}, "odd proportions", "of 200 high"),
    ],
)
def test_a_font_that_can_not_write_is_excluded_with_its_reason(
    mono: Path, tmp_path: Path, glyphs: dict[str, str | None], reason: str, detail: str
) -> None:
    found = exclusion(altered(mono, tmp_path / "a.ttf", glyphs))
    assert found.reason == reason
    assert detail in found.detail


def test_a_font_that_draws_boxes_for_what_it_claims_to_have_is_excluded(mono: Path, tmp_path: Path) -> None:
    found = exclusion(boxed(mono, tmp_path / "a.ttf", "Q"))
    assert (found.reason, found.detail) == ("boxes for glyphs", "for 'Q'")


def test_a_font_that_lacks_the_wanted_script_is_excluded_and_says_what_it_lacks(mono: Path) -> None:
    found = exclusion(mono, "a한글")
    assert (found.reason, found.detail) == ("missing characters", "한글")


def test_a_font_whose_glyphs_are_huge_is_excluded(mono: Path, tmp_path: Path) -> None:
    wide = TTFont(mono)
    glyf = wide["glyf"]["W"]
    glyf.coordinates.scale((6, 1))
    glyf.recalcBounds(wide["glyf"])
    wide.save(tmp_path / "wide.ttf")
    assert exclusion(tmp_path / "wide.ttf").reason == "huge glyphs"


def test_a_font_without_characters_is_excluded(mono: Path, tmp_path: Path) -> None:
    everything = {chr(c): None for c in TTFont(mono).getBestCmap()}
    assert exclusion(altered(mono, tmp_path / "a.ttf", everything)).reason == "empty"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.8])
def test_a_file_that_is_cut_short_is_excluded(mono: Path, tmp_path: Path, share: float) -> None:
    data = mono.read_bytes()
    (tmp_path / "cut.ttf").write_bytes(data[: int(len(data) * share)])
    assert exclusion(tmp_path / "cut.ttf").reason in ("broken", "empty", "blank glyphs", "missing characters")


@pytest.mark.parametrize("seed", range(8))
def test_damage_anywhere_in_a_file_never_stops_the_reading_of_others(
    mono: Path, tmp_path: Path, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    data = np.frombuffer(mono.read_bytes(), np.uint8).copy()
    places = rng.integers(0, 3_000 if seed % 2 else len(data), 60)
    data[places] = rng.integers(0, 256, 60)
    (tmp_path / "damaged.ttf").write_bytes(data.tobytes())
    found = read(tmp_path / "damaged.ttf", kerned=94)
    assert found
    assert all(isinstance(one, RawFace) or one.reason for one in found)


def test_what_is_no_font_is_excluded(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_text("<html>404 Not Found</html>" * 100)
    assert exclusion(tmp_path / "a.ttf").reason in ("broken", "empty")


def test_a_file_that_can_not_be_read_is_excluded_with_what_the_system_says(tmp_path: Path) -> None:
    found = exclusion(tmp_path / "gone.ttf")
    assert (found.reason, found.detail) == ("unreadable", "No such file or directory")


def test_each_font_of_a_collection_is_read_or_excluded_by_itself(mono: Path, tmp_path: Path) -> None:
    collection = TTCollection()
    collection.fonts = [TTFont(mono), TTFont(boxed(mono, tmp_path / "bad.ttf", "Q"))]
    collection.save(tmp_path / "both.ttc")
    first, second = read(tmp_path / "both.ttc")
    assert isinstance(first, RawFace)
    assert first.shape_hash == face(mono).shape_hash
    assert isinstance(second, Exclusion)
    assert (second.name, second.reason) == ("mine/both.ttc#1", "boxes for glyphs")


def test_faces_that_draw_alike_have_one_hash_and_others_another(mono: Path, tmp_path: Path) -> None:
    renamed = altered(mono, tmp_path / "a.ttf", family="Other")
    swapped = altered(mono, tmp_path / "b.ttf", {"Q": "O"})
    assert face(renamed).shape_hash == face(mono).shape_hash != face(swapped).shape_hash
