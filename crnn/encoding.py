"""Images of any kind as the bytes of an image file: arrays and PIL images take the way that files take."""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import upright

ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.generic]

_LOSSLESS = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK")
"""Pillow's modes that a file can keep as they are."""
_CONVERTED = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA", "I;16B": "I", "I;16L": "I", "I;16N": "I"}
"""What becomes of those that it can't; the others turn to RGB."""


def encoded(image: ImageLike) -> bytes:
    """The bytes of an image file that holds the image; a file's are its own.

    Raises:
        ImageRejectedError: An array of a shape or type that is no image, or one without pixels.
        OSError: The path can't be read.
    """
    if isinstance(image, bytes):
        return image
    if isinstance(image, str | Path):
        return Path(image).read_bytes()
    if isinstance(image, np.ndarray):
        kind = f"{image.dtype} of shape {image.shape}"
        try:
            image = Image.fromarray(np.ascontiguousarray(image))
        except TypeError:
            raise ImageRejectedError("not_an_image", f"{kind}; give uint8 [H, W] or [H, W, 3]") from None
    if not image.width or not image.height:
        raise ImageRejectedError("too_small", f"{image.width}×{image.height} pixels: nothing to read")
    image = upright(image)  # a re-encoded image loses its EXIF
    if image.mode not in _LOSSLESS:
        image = image.convert(_CONVERTED.get(image.mode, "RGB"))
    buffer = io.BytesIO()
    lossless = "TIFF" if image.mode in ("F", "I", "CMYK") else "PNG"
    image.save(buffer, format=lossless)
    return buffer.getvalue()
