"""Further looks at an image that wasn't read surely: as if the camera had been nearer, and the word wider.

Both are made of the line image itself, so that whoever kept that alone can look again. The models' cards tell
how well they read with them.
"""

from dataclasses import replace

from crnn.errors import ImageRejectedError
from crnn.preprocess import GreyImage, PreprocessConfig, fitted

_LOOKS = ((3 / 32, 1.0), (2 / 32, 1.25))
"""Share of the height that a look leaves out at the top, and at the bottom; and how much wider it is."""


def further_looks(line: GreyImage, config: PreprocessConfig) -> list[GreyImage]:
    """A line image seen nearer, on the same columns, and nearer and wider, where it isn't too wide for that
    already.

    Args:
        line: uint8 [config.height, canonical width].
        config: As it was made with.

    Returns:
        Line images of the same height.
    """
    height, width = line.shape
    config = replace(config, contrast=0.0)  # the line has it, and its padding must stay what it is
    looks = []
    for share, wider in _LOOKS:
        cut = round(height * share)
        try:
            looks.append(fitted(line[cut : height - cut], round(width * wider), config))
        except ImageRejectedError:
            break
    return looks
