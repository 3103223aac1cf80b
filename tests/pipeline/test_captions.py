"""Captions: every character drawn, none as a box, where a font here has it."""

from pathlib import Path

import pytest
from PIL import Image, ImageDraw, ImageFont

from pipeline import captions
from pipeline.captions import caption_font


def drawn(character: str, font: captions.Font) -> bytes:
    image = Image.new("L", (40, 40))
    ImageDraw.Draw(image).text((4, 4), character, 255, font)
    return image.tobytes()


def test_ascii_is_written_with_the_font_that_is_always_there() -> None:
    font = caption_font(["plain", "text"], 13)
    assert drawn("a", font) == drawn("a", ImageFont.load_default(13))


@pytest.mark.parametrize("text", ["été", "Öl", "Жук", "Ωμέγα", "one été"])
def test_other_letters_are_no_boxes(text: str) -> None:
    font = caption_font([text], 13)
    box = drawn("\U0010ffff", font)
    assert all(drawn(character, font) != box for character in text if not character.isspace())


def test_of_fonts_that_lack_something_the_one_that_lacks_least_is_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fonts = {"none": set[int](), "some": {0x3B1}, "broken": {0x3B1, 0x3B2, 0x4E00}, "more": {0x3B1, 0x3B2}}
    paths = [tmp_path / name for name in fonts]
    real = Path(caption_font(["é"], 13).path)  # type: ignore[union-attr, arg-type]
    for path in paths:
        path.write_bytes(b"no font" if path.name == "broken" else real.read_bytes())
    monkeypatch.setattr(captions, "_paths", lambda: paths)
    monkeypatch.setattr(captions, "_covered", lambda path: fonts[path.name])
    captions._path.cache_clear()
    assert caption_font(["αβ一"], 13).path == str(tmp_path / "more")  # type: ignore[union-attr]
    captions._path.cache_clear()


def test_what_is_no_font_covers_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.ttf").write_bytes(b"no font")
    assert captions._covered(tmp_path / "a.ttf") == set()
    assert captions._covered(tmp_path / "absent.ttf") == set()
