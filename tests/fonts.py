"""Font files that are wrong in one thing, made of sound ones."""

from collections.abc import Mapping
from pathlib import Path

from fontTools.ttLib import TTFont


def altered(
    source: Path, target: Path, glyphs: Mapping[str, str | None] | None = None, *, family: str | None = None
) -> Path:
    """A copy of a font in which some characters are drawn by other glyphs, or not there at all.

    Args:
        glyphs: By character: another character, whose glyph it gets; a glyph's name; or None, to take it out.
        family: Its new name.
    """
    with TTFont(source) as font:
        for table in font["cmap"].tables:
            if table.isUnicode():
                before = dict(table.cmap)
                for character, glyph in (glyphs or {}).items():
                    if glyph is None:
                        table.cmap.pop(ord(character), None)
                    else:
                        table.cmap[ord(character)] = (
                            before.get(ord(glyph), glyph) if len(glyph) == 1 else glyph
                        )
        if family is not None:
            for record in font["name"].names:
                if record.nameID in (1, 16):
                    record.string = family
        font.save(target)
    return target
