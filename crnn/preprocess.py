"""Image bytes to the one form that the network reads, the same in training, evaluation and transcription.

    bytes → grey, upright → fixed height, narrow ones stretched → even contrast → padded to a canonical width

The canonical width depends on the image alone, never on its batch, and batches hold one width only:
the text read from an image can't depend on its company, with no mask anywhere in the network.
"""

import io
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from crnn.errors import ImageRejectedError, ModelConfigError

GreyImage = npt.NDArray[np.uint8]
"""uint8 [H, W]; 0 black, 255 white."""

PAD_GREY = 128
"""Padding is mid-grey, which the network's normalisation maps to zero."""

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "PPM")
"""Recognised by content; JPEG's reader also takes phones' MPO. Vector and document formats are left out:
decoding them runs programs."""

REASONS = ("empty", "not_an_image", "truncated", "undecodable", "too_large", "too_small", "too_wide")
"""Why an image can be rejected; reports count by these words."""

MAX_BYTES = 64 << 20
MAX_PIXELS = 20_000_000
MIN_SIDE = 3
_LEVELS = np.arange(256.0)
_QUIET = 4.0
"""Grey levels by which an image is taken to vary more than it does, so that one without text stays quiet."""
_PLAIN = re.compile(rb"P5\s(\d{1,9})\s(\d{1,9})\s255\s")
"""A grey PGM without comments, such as data sets for fast training hold: it needs no decoder."""
_LIGHT_INK = 160  # mean grey of the opaque part above which it is taken for light ink


@dataclass(frozen=True, kw_only=True, slots=True)
class PreprocessConfig:
    """How an image is made a line image; part of the bundle, since the weights mean nothing without it."""

    height: int = 32
    """Height in pixels to which every image is scaled."""
    widening: int = 48
    """Pixels that give narrow images more frames: one that is w pixels wide at this height is stretched to
    √(w² + widening²). Letters seen from the side, or beside much empty height, would share a frame else;
    long words keep their aspect. 0 keeps it for all."""
    contrast: float = 50.0
    """Standard deviation in grey levels that every image is brought to, about mid-grey: a network needn't
    learn each word in each light then. 0 leaves the grey levels as they are."""
    turn: float = 1.5
    """Images at least so many times as high as wide may be words that run up or down: they are read turned a
    quarter, either way, too, and the surest of the three texts counts (calibrated bundles). 0 turns none."""
    min_width: int = 32
    """Smallest canonical width in pixels."""
    max_width: int = 2048
    """Largest canonical width; images that would be wider once scaled are rejected as too_wide."""
    width_step: int = 8
    """Canonical widths are multiples of this up to 16 steps; then the step doubles with every octave,
    so that padding stays near 5 % and the number of shapes stays small."""

    def __post_init__(self) -> None:
        if min(self.height, self.min_width, self.width_step) < 1 or self.max_width < self.min_width:
            raise ModelConfigError(f"Sizes must be positive and min_width ≤ max_width: {self}.")
        if self.widening < 0 or self.turn < 0:
            raise ModelConfigError(f"widening and turn are 0 or more; {self.widening}, {self.turn} aren't.")
        if not 0 <= self.contrast <= 127:
            raise ModelConfigError(f"contrast lies from 0 to 127 grey levels; {self.contrast} doesn't.")

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for files. A contrast of 0 isn't told: networks that read grey levels as they are
        have one description, whatever release describes them."""
        values = asdict(self)
        if not self.contrast:
            del values["contrast"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "PreprocessConfig":
        """What `to_dict` gave, of any release."""
        return cls(**{"contrast": 0.0, **values})

    def scaled_width(self, width: int, height: int) -> int:
        """Width in pixels of an image of this size once scaled to `self.height`, before padding."""
        return max(1, round(math.hypot(width * self.height / height, self.widening)))

    def is_turned(self, width: int, height: int) -> bool:
        """Whether an image of this size is read turned, too."""
        if not self.turn or height < self.turn * width:
            return False
        try:
            self.canonical_width(self.scaled_width(height, width))
        except ImageRejectedError:
            return False
        return True

    def canonical_width(self, scaled_width: int) -> int:
        """Smallest canonical width that holds a scaled width, both in pixels.

        Raises:
            ImageRejectedError: too_wide.
        """
        octave = max(0, math.ceil(math.log2(max(scaled_width, 1) / (16 * self.width_step))))
        step = self.width_step << octave
        canonical = max(self.min_width, -(-scaled_width // step) * step)
        if canonical > self.max_width:
            raise ImageRejectedError(
                "too_wide",
                f"{scaled_width} px wide at height {self.height}; this recogniser reads up to "
                f"{self.max_width}. Crop words or lines first.",
            )
        return canonical


def decode_image(data: bytes) -> GreyImage:
    """Decodes image bytes to grey, upright by EXIF; the first frame of animations.

    16-bit and float images are scaled rather than clipped. Transparent images are laid on white, or on
    black where the opaque part is light ink, so that the ink stays readable.

    Raises:
        ImageRejectedError: With a reason of `REASONS`; nothing else, whatever the bytes are.
    """
    if not data:
        raise ImageRejectedError("empty", "0 bytes")
    if len(data) > MAX_BYTES:
        raise ImageRejectedError("too_large", f"{len(data):,} bytes; at most {MAX_BYTES:,} are decoded")
    plain = _PLAIN.match(data)
    if plain and len(data) - plain.end() == (size := int(plain[1]) * int(plain[2])):
        if size > MAX_PIXELS or min(int(plain[1]), int(plain[2])) < MIN_SIDE:
            return _by_pillow(data)  # which says what is wrong
        pixels = np.frombuffer(data, np.uint8, size, plain.end())
        return pixels.reshape(int(plain[2]), int(plain[1])).copy()  # as writable as others
    return _by_pillow(data)


def _by_pillow(data: bytes) -> GreyImage:
    bomb = Image.MAX_IMAGE_PIXELS
    try:
        Image.MAX_IMAGE_PIXELS = None  # the limit below is lower, and names what it finds
        image = Image.open(io.BytesIO(data), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageRejectedError("not_an_image", f"starts with {data[:8]!r}") from None
    except Exception as error:
        raise ImageRejectedError("undecodable", f"{type(error).__name__}: {error}"[:200]) from error
    finally:
        Image.MAX_IMAGE_PIXELS = bomb
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise ImageRejectedError("too_large", f"{width}×{height} pixels; at most {MAX_PIXELS:,} are decoded")
    if min(width, height) < MIN_SIDE:
        raise ImageRejectedError("too_small", f"{width}×{height} pixels hold no readable character")
    try:
        image.draft("L", None)  # a colour JPEG then decodes straight to luma
        image.load()
        return _to_grey(upright(image))
    except Exception as error:
        # Pillow tells a short file only by its words.
        short = "truncated" in str(error).lower() or "unexpected end" in str(error).lower()
        reason = "truncated" if short else "undecodable"
        raise ImageRejectedError(reason, f"{type(error).__name__}: {error}"[:200]) from error


def line_image(grey: GreyImage, config: PreprocessConfig) -> GreyImage:
    """Scales to the size and brings to the contrast that `config` says, pads on the right to the canonical
    width.

    Args:
        grey: uint8 [H, W], any size from 1×1.

    Returns:
        uint8 [config.height, canonical width].

    Raises:
        ImageRejectedError: too_wide.
    """
    height, width = grey.shape
    return fitted(grey, config.scaled_width(width, height), config)


def fitted(grey: GreyImage, scaled_width: int, config: PreprocessConfig) -> GreyImage:
    """The same, to a width that is given.

    Args:
        grey: uint8 [H, W], any size from 1×1.
        scaled_width: In pixels, before padding.
        config: What else there is to know.

    Raises:
        ImageRejectedError: too_wide.
    """
    canonical = config.canonical_width(scaled_width)
    if grey.shape != (config.height, scaled_width):
        size = (scaled_width, config.height)
        grey = np.asarray(Image.fromarray(grey).resize(size, Image.Resampling.BICUBIC))
    line = np.full((config.height, canonical), PAD_GREY, np.uint8)
    line[:, :scaled_width] = _evened(grey, config.contrast) if config.contrast else grey
    return line


def _evened(grey: GreyImage, contrast: float) -> GreyImage:
    """Mean mid-grey and standard deviation nearly `contrast`. What would leave the range is cut off."""
    values = grey.ravel().astype(np.float64)  # whole numbers below 2**53: in whatever order, sums are exact
    mean, square = float(values.sum()) / grey.size, float(values @ values) / grey.size
    deviation = math.sqrt(max(0.0, square - mean * mean))
    table = PAD_GREY + (_LEVELS - mean) * (contrast / (deviation + _QUIET))
    return np.take(np.clip(np.rint(table), 0, 255).astype(np.uint8), grey)


TURNS = (0, 90, 270)
"""Degrees clockwise of the views of an image that is read turned, too."""


def line_views(grey: GreyImage, config: PreprocessConfig) -> GreyImage:
    """What is read of an image: its line image, or three of them where `config.is_turned`.

    Args:
        grey: uint8 [H, W], any size from 1×1.

    Returns:
        uint8 [config.height, canonical width]; of an image that is read turned, too, [3 · config.height,
        canonical width of the turned ones], the views of `TURNS` one below the other.

    Raises:
        ImageRejectedError: too_wide.
    """
    height, width = grey.shape
    if not config.is_turned(width, height):
        return line_image(grey, config)
    views = [line_image(np.rot90(grey, -turn // 90), config) for turn in TURNS]
    stacked = np.full((len(views) * config.height, max(v.shape[1] for v in views)), PAD_GREY, np.uint8)
    for i, view in enumerate(views):
        stacked[i * config.height : (i + 1) * config.height, : view.shape[1]] = view
    return stacked


def evened_views(views: GreyImage, width: int, height: int, config: PreprocessConfig) -> GreyImage:
    """What `line_views` makes of an image by `config`, of what it makes by the same with a contrast of 0.

    Args:
        views: Made with a contrast of 0.
        width: Of the image, in pixels.
        height: Likewise.
        config: As the lines shall be.
    """
    if not config.contrast:
        return views
    evened = views.copy()
    for turn, view in enumerate(np.split(evened, len(views) // config.height)):
        part = view[:, : config.scaled_width(*((height, width) if turn else (width, height)))]
        part[...] = _evened(part, config.contrast)
    return evened


def upright(image: Image.Image) -> Image.Image:
    """The image turned as its EXIF says; as it is where the EXIF is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a decodable picture is worth reading whatever its metadata says
        return image


def _to_grey(image: Image.Image) -> GreyImage:
    if image.mode.startswith("I;16"):
        values = np.asarray(image).astype(np.uint16)
        bits = 8 if values.max() > 255 else 0  # eight bits may come as sixteen
        return (values >> bits).astype(np.uint8)
    if image.mode in ("I", "F"):
        return _stretch(np.asarray(image, np.float64))
    if image.has_transparency_data:
        return _flatten(image.convert("RGBA"))
    return np.array(image if image.mode == "L" else image.convert("RGB").convert("L"))


def _stretch(values: npt.NDArray[np.float64]) -> GreyImage:
    """Integer and float images of unknown range, to the full range of grey."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    scale = 255.0 / (high - low) if high > low else 0.0
    grey: GreyImage = ((finite - low) * scale).round().astype(np.uint8)
    return grey


def _flatten(image: Image.Image) -> GreyImage:
    alpha = np.asarray(image.getchannel("A"), np.float32) / 255.0
    ink = np.asarray(image.convert("RGB").convert("L"), np.float32)
    weight = float(alpha.sum())
    mostly_clear = weight < 0.5 * alpha.size
    light_ink = mostly_clear and weight > 0 and float((ink * alpha).sum()) / weight > _LIGHT_INK
    background = 0.0 if light_ink else 255.0
    flat: GreyImage = np.rint(ink * alpha + background * (1.0 - alpha)).astype(np.uint8)
    return flat
