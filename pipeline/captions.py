"""The font of captions: one that has what the texts are written with, where this machine has one."""

from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path

import uharfbuzz as hb
from PIL import ImageFont

from pipeline.synthesis.font_files import find_fonts, font_paths
from pipeline.synthesis.node_cache import cache_folder

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont


def caption_font(texts: Iterable[str], size: int) -> Font:
    """Pillow's own font for ASCII, else the first that has all characters of the texts, or else the most.

    Searched are matplotlib's fonts, the system's, and those that assets were made of here. What none has is
    shown as boxes.

    Args:
        texts: What is to be written.
        size: In pixels.
    """
    foreign = frozenset(c for text in texts for c in text if not c.isascii() and not c.isspace())
    path = _path(foreign) if foreign else None
    return ImageFont.load_default(size) if path is None else ImageFont.truetype(str(path), size)


@lru_cache(maxsize=64)
def _path(wanted: frozenset[str]) -> Path | None:
    codes = set(map(ord, wanted))
    best, most = None, 0
    for path in _paths():
        found = len(codes & _covered(path))
        if found > most and _usable(path):
            best, most = path, found
        if most == len(codes):
            break
    return best


@lru_cache(maxsize=1)
def _paths() -> list[Path]:
    at_hand = [file.path for file in find_fonts([], [], at_hand=True)]
    plain = sorted(at_hand, key=lambda path: path.stem not in ("DejaVuSans", "NotoSans-Regular"))
    return [*plain, *sorted(font_paths(cache_folder() / "debian"))]


@cache
def _covered(path: Path) -> set[int]:
    try:
        face = hb.Face(hb.Blob.from_file_path(str(path)))
        return set(face.unicodes) if ord("a") in face.unicodes else set()  # captions mix scripts
    except (hb.HarfBuzzError, OSError):
        return set()


def _usable(path: Path) -> bool:
    try:
        ImageFont.truetype(str(path), 13)
    except OSError:  # broken, or of pictures in sizes of its own
        return False
    return True
