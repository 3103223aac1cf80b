"""One font file to the bitmaps, advances and kerning of its characters, or a reason why it can't be used."""

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import uharfbuzz as hb
from PIL import ImageFont

from pipeline.synthesis.assets import CAP_HEIGHT, Bytes, Ints
from pipeline.synthesis.font_files import FontFile

MOST_WIDTH, MOST_HEIGHT = 120, 90
"""Pixels of the largest glyph: four times a capital's size holds no letter."""
KERNING_UNIT = 16
"""Steps of kerning in a pixel."""
_PROBE = 200
"""Pixels an em, to measure a capital's height at."""
_LICENCES = (
    ("OFL-1.1", r"open font licen[sc]e|\bOFL\b"),
    ("Apache-2.0", r"apache"),
    ("Bitstream Vera", r"bitstream"),
    ("GUST Font License", r"\bGUST\b"),
    ("LPPL", r"latex project public"),
    ("GPL", r"general public|\bGPL\b"),
    ("CC0-1.0", r"\bCC0\b"),
    ("MIT", r"\bMIT\b"),
    ("public domain", r"public domain"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawFace:
    """A face as its file gives it, at a cap height of 30 pixels."""

    file: FontFile
    number: int
    """Of the face in a collection, from 0."""
    sha256: str
    """Of the file."""
    family: str
    style: str
    licence: str
    panose: tuple[int, ...]
    """What its designer says of its shapes: 10 numbers, zeros where nothing is said."""
    monospaced: bool
    glyphs: Bytes
    """All bitmaps, one after the other."""
    boxes: Ints
    """C × 7, as `Assets.index`, offsets from the face's first byte."""
    kerning: np.ndarray[tuple[int, ...], np.dtype[np.int8]]
    """K × K, as `Assets.kerning`."""

    def bitmap(self, index: int) -> Bytes:
        """Height × width grey levels of the character at an index."""
        offset, width, height = self.boxes[index, :3]
        return self.glyphs[offset : offset + width * height].reshape(height, width)

    @property
    def name(self) -> str:
        """Package, file, and the face's number in a collection."""
        return f"{self.file.name}#{self.number}" if self.number else self.file.name

    @property
    def shape_hash(self) -> bytes:
        """Equal for faces that draw every character alike."""
        return hashlib.sha256(self.boxes.tobytes() + self.glyphs.tobytes()).digest()


@dataclass(frozen=True, kw_only=True, slots=True)
class Exclusion:
    """A face, or a file, that isn't used."""

    name: str
    """Package and file."""
    reason: str
    """One of a few stable phrases."""
    detail: str = ""
    """For a person."""


def read_faces(file: FontFile, characters: str, kerned: int) -> Iterator[RawFace | Exclusion]:
    """Every face of a file. Letters and digits must all be there; signs may be missing.

    Args:
        characters: What to draw.
        kerned: How many of the first characters to look up kerning for.
    """
    try:
        data = file.path.read_bytes()
        count = max(1, hb.Face(data).count)
    except OSError as error:
        yield Exclusion(name=file.name, reason="unreadable", detail=str(error.strerror))
        return
    for number in range(count):
        name = f"{file.name}#{number}" if number else file.name
        try:
            yield _read(file, data, number, characters, kerned)
        except _UnusableError as error:
            yield Exclusion(name=name, reason=error.reason, detail=error.detail)
        except (OSError, ValueError, hb.HarfBuzzError, ArithmeticError, MemoryError) as error:
            # What FreeType, HarfBuzz and Pillow raise for files that are cut off or contradict themselves.
            yield Exclusion(name=name, reason="broken", detail=f"{type(error).__name__}: {error}")


class _UnusableError(Exception):
    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason)
        self.reason, self.detail = reason, detail


def _read(file: FontFile, data: bytes, number: int, characters: str, kerned: int) -> RawFace:
    face = hb.Face(data, number)
    covered = set(face.unicodes)
    if not covered:
        raise _UnusableError("empty", "it maps no characters")
    missing = [c for c in characters if c.isalnum() and ord(c) not in covered]
    if missing:
        raise _UnusableError("missing characters", _shortened(missing))
    font = ImageFont.truetype(str(file.path), _PROBE, number, layout_engine=ImageFont.Layout.BASIC)
    size = _PROBE * CAP_HEIGHT / _cap_height(font, characters, covered)
    font = font.font_variant(size=size)
    glyphs, boxes = _draw(font, characters, covered)
    shaper = hb.Font(face)
    unit = size / face.upem
    boxes[:, 5] = np.rint(_advances(shaper, characters) * (unit * 64))
    os2 = face.reference_table("OS/2").data
    family, style, licence = _names(face)
    return RawFace(
        file=file,
        number=number,
        sha256=hashlib.sha256(data).hexdigest(),
        family=family or file.path.stem,
        style=style,
        licence=file.licence or licence or ("free by Debian's guidelines" if file.version else "unknown"),
        panose=tuple(os2[32:42]) if len(os2) >= 42 else (0,) * 10,
        monospaced=any(face.reference_table("post").data[12:16]),
        glyphs=glyphs,
        boxes=boxes,
        kerning=_kerning(shaper, characters[:kerned], unit * KERNING_UNIT),
    )


def _cap_height(font: ImageFont.FreeTypeFont, characters: str, covered: set[int]) -> float:
    tall = "H" if ord("H") in covered else next(c for c in (*characters, "") if c.isalnum())
    _, top, _, bottom = font.getbbox(tall, anchor="ls")
    if not 0.3 < (bottom - top) / _PROBE < 1.5 or abs(bottom) > 0.35 * _PROBE:
        raise _UnusableError("odd proportions", f"{tall} is {bottom - top} of {_PROBE} high")
    return float(bottom - top)


def _draw(font: ImageFont.FreeTypeFont, characters: str, covered: set[int]) -> tuple[Bytes, Ints]:
    boxes = np.zeros((len(characters), 7), np.int32)
    parts: list[bytes] = []
    offset = 0
    nothing = _mask(font, chr(0x10FFFF))  # what the font draws for a character that it lacks
    for index, character in enumerate(characters):
        size, place, pixels = _mask(font, character) if ord(character) in covered else ((0, 0), (0, 0), b"")
        reason = None
        if not any(pixels):
            reason = "blank glyphs"
        elif pixels == nothing[2] and any(nothing[2]):
            reason = "boxes for glyphs"
        elif size[0] > MOST_WIDTH or size[1] > MOST_HEIGHT:
            reason = "huge glyphs"
        if reason is None:
            boxes[index] = (offset, *size, *place, 0, 1)
            parts.append(pixels)
            offset += len(pixels)
        elif character.isalnum():
            raise _UnusableError(reason, f"for {character!r}")
    return np.frombuffer(b"".join(parts), np.uint8), boxes


def _mask(font: ImageFont.FreeTypeFont, character: str) -> tuple[tuple[int, int], tuple[int, int], bytes]:
    """Size, place from pen and baseline, and grey levels of the smallest box around a glyph."""
    mask, (left, top) = font.getmask2(character, mode="L", anchor="ls")
    box = mask.getbbox()
    if box is None:
        return (0, 0), (0, 0), b""
    pixels = bytes(mask)
    if box != (0, 0, *mask.size):
        whole = np.frombuffer(pixels, np.uint8).reshape(mask.size[::-1])
        pixels = whole[box[1] : box[3], box[0] : box[2]].tobytes()
    return (box[2] - box[0], box[3] - box[1]), (round(left) + box[0], round(top) + box[1]), pixels


def _advances(font: hb.Font, text: str) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    glyphs = (font.get_nominal_glyph(ord(c)) for c in text)
    return np.array([font.get_glyph_h_advance(glyph) if glyph else 0 for glyph in glyphs], np.float64)


def _kerning(font: hb.Font, characters: str, unit: float) -> np.ndarray[tuple[int, ...], np.dtype[np.int8]]:
    """What each pair adds to its left one's advance; all pairs stand in one string, shaped at once."""
    kerning = np.zeros((len(characters),) * 2, np.int8)
    if not characters:
        return kerning
    order = pair_order(len(characters))
    text = "".join(map(characters.__getitem__, order))
    buffer = hb.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    hb.shape(font, buffer, {"kern": True, **dict.fromkeys(("liga", "clig", "calt", "ccmp", "rlig"), False)})
    if len(buffer.glyph_infos) != len(text):  # what is substituted in spite of that has no pairs to speak of
        return kerning
    shaped = np.array([position.x_advance for position in buffer.glyph_positions], np.float64)
    extra = np.rint((shaped - _advances(font, characters)[order]) * unit)
    kerning[order[:-1], order[1:]] = np.clip(extra[:-1], -127, 127)
    return kerning


@cache
def pair_order(count: int) -> Ints:
    """Indices such that every pair of the first `count` stands side by side exactly once."""
    order: list[int] = []
    for i in range(count):  # a closed walk: i, i, j, i, j + 1, i, … for each later j
        order.append(i)
        order += [k for j in range(i + 1, count) for k in (i, j)]
    return np.array([*order, *order[:1]], np.int32)


def _names(face: hb.Face) -> tuple[str, str, str]:
    """Family, style and licence."""
    names = hb.OTNameIdPredefined

    def first(*ids: int) -> str:
        found = (str(face.get_name(i) or "") for i in ids)
        # Some files hold control characters, which would break tables.
        return next(
            (" ".join(re.sub(r"[\x00-\x1f]", " ", text).split()) for text in found if text.strip()), ""
        )

    family = first(names.TYPOGRAPHIC_FAMILY, names.FONT_FAMILY)
    style = first(names.TYPOGRAPHIC_SUBFAMILY, names.FONT_SUBFAMILY)
    said = " ".join(first(i) for i in (names.LICENSE, names.LICENSE_URL, names.COPYRIGHT))
    licence = next((name for name, sign in _LICENCES if re.search(sign, said, re.IGNORECASE)), "")
    return family, style, licence


def _shortened(characters: Sequence[str]) -> str:
    return "".join(characters[:12]) + (f" and {len(characters) - 12} more" if len(characters) > 12 else "")
