"""Further looks at an image that wasn't read surely: as if the camera had been nearer, and the word wider.

Both are made of the line image itself, so that whoever kept that alone can look again. Of the photographs of
words that a network has got wrong it reads every tenth right so, and none worse that it was sure of.
"""

import numpy as np
from PIL import Image

from crnn.errors import ImageRejectedError
from crnn.preprocess import PAD_GREY, GreyImage, PreprocessConfig

_CUT = 3 / 32
"""Share of the height that a nearer look leaves out at the top, and at the bottom."""
_WIDER = 1.3


def further_looks(line: GreyImage, config: PreprocessConfig) -> list[GreyImage]:
    """A line image seen nearer, on the same columns, and wider, where it isn't too wide for that already.

    Args:
        line: uint8 [config.height, canonical width].

    Returns:
        Line images of the same height.
    """
    height, width = line.shape
    cut = round(height * _CUT)
    nearer = _resized(line[cut : height - cut], width, height)
    scaled = round(width * _WIDER)
    try:
        canonical = config.canonical_width(scaled)
    except ImageRejectedError:
        return [nearer]
    wider = np.full((height, canonical), PAD_GREY, np.uint8)
    wider[:, :scaled] = _resized(line, scaled, height)
    return [nearer, wider]


def _resized(grey: GreyImage, width: int, height: int) -> GreyImage:
    return np.asarray(Image.fromarray(grey).resize((width, height), Image.Resampling.BICUBIC))
