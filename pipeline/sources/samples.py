"""What every reader makes of an archive: samples and rejects, in parts that can be read anywhere.

A reader looks through an archive's index on the driver and cuts it into parts; a part is small to send, opens
what it needs where it is read, and gives one `Sample` or one `Reject` for each entry of the index.
"""

import io
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image, upright
from pipeline.errors import PipelineError

PART_ROWS = 4_096
"""Entries of a part of an annotation or an LMDB archive; files that hold images are parts as they are."""

EMPTY_LABEL = "empty_label"
BAD_ENCODING = "bad_encoding"
MALFORMED = "malformed_annotation"
CONTROL_CHARACTER = "control_character"
MISSING_IMAGE = "missing_image"
MISSING_LABEL = "missing_label"
OUTSIDE_SCENE = "box_outside_scene"
TOO_LARGE = "too_large"
"""As `crnn.preprocess` calls it."""
UNREADABLE_LABEL = "marked_unreadable"

_CONTROLS = ("Cc", "Zl", "Zp")
"""Unicode's categories of control characters, line and paragraph separators."""

Box = tuple[float, float, float, float]
"""Left, top, width and height in pixels."""


class SourceError(PipelineError):
    """An archive can't be read at all; a bad entry of one is a `Reject` instead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """A word image with its text."""

    id: str
    text: str
    image: bytes
    width: int
    height: int
    split: str | None = None
    lexicon: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Reject:
    """An entry that was read and can't be kept."""

    id: str
    reason: str
    detail: str
    """Which file and line, and what was found there."""
    text: str | None = None


class Part(Protocol):
    """A share of an archive, small to pickle."""

    @property
    def size(self) -> int | None:
        """Entries of the share by the archive's index; None where there is none."""
        ...

    def read(self) -> Iterator[Sample | Reject]:
        """Exactly one result for each entry of the share."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceOptions:
    """Where a reader looks, and how it understands what it finds."""

    input: str
    """URI of the archive: its annotation file, or its folder where the format has none."""
    images: str | None = None
    """Folder that the annotation's paths start from; its own folder where not given."""
    flatten: bool = False
    """Look images up by file name alone, whatever folders the annotation says."""
    suffix: str | None = None
    """Suffix of the image files, such as .jpg, where they were converted since they were annotated."""
    crops: str | None = None
    """For annotations of scenes: the name of ready-made crops by their number, such as '{:04d}.png'."""
    encoding: str = "utf-8-sig"
    """Encoding of text annotations."""
    split: str | None = None
    """Name of the split to write to every sample, where the archive doesn't say."""


def admit(
    *,
    id: str,
    text: str,
    image: bytes,
    where: str,
    box: Box | None = None,
    split: str | None = None,
    lexicon: Sequence[str] | None = None,
) -> Sample | Reject:
    """Checks a label and an image; the bytes are kept as they are, unless a box has to be cut from them."""

    def reject(reason: str, detail: str) -> Reject:
        return Reject(id=id, reason=reason, detail=f"{where}: {detail}", text=text)

    if not text.strip():
        return reject(EMPTY_LABEL, "the label holds no character")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return reject(BAD_ENCODING, f"the label isn't valid Unicode ({error.reason})")
    controls = [c for c in text if unicodedata.category(c) in _CONTROLS]
    if controls:
        return reject(CONTROL_CHARACTER, f"the label holds {controls[0]!r}; a word has no lines and tabs")
    try:
        if box is not None:
            image = cut(image, box)
        height, width = decode_image(image).shape
    except ImageRejectedError as error:
        return reject(error.reason, error.detail)
    words = tuple(lexicon) if lexicon else None
    return Sample(id=id, text=text, image=image, width=width, height=height, split=split, lexicon=words)


def cut(scene: bytes, box: Box) -> bytes:
    """The part of a scene inside a box, as PNG; what sticks out of the scene is left off.

    Raises:
        ImageRejectedError: The scene can't be decoded, or the box lies outside of it.
    """
    # The same refusals as for word images, before Pillow is trusted with the bytes.
    grey = decode_image(scene)
    with Image.open(io.BytesIO(scene)) as opened:
        picture = upright(opened)
        if picture.mode[0] in "IF" or picture.has_transparency_data:  # only there it is told what is white
            picture = Image.fromarray(grey)
        left, top, width, height = box
        edges = [round(edge) for edge in (left, top, left + width, top + height)]
        right, bottom = min(edges[2], picture.width), min(edges[3], picture.height)
        left, top = max(edges[0], 0), max(edges[1], 0)
        if right <= left or bottom <= top:
            raise ImageRejectedError(
                OUTSIDE_SCENE, f"box {box} is outside of the scene of {picture.width}×{picture.height} pixels"
            )
        buffer = io.BytesIO()
        crop = picture.crop((int(left), int(top), right, bottom))
        (crop if crop.mode in ("L", "RGB") else crop.convert("RGB")).save(buffer, "PNG")
        return buffer.getvalue()
