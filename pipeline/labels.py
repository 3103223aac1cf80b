"""Which labels a recogniser can learn: decided when data is read, counted and named, not left to the loss."""

from dataclasses import dataclass, field

from crnn.charset import Charset
from crnn.ctc import min_frames
from crnn.errors import ImageRejectedError
from crnn.model import CRNNConfig
from crnn.preprocess import PreprocessConfig

EMPTY_LABEL = "empty_label"
OUTSIDE_CHARSET = "outside_charset"
TOO_MANY_CHARACTERS = "label_too_long"
WRONG_SIZE = "wrong_size"


class LabelRejectedError(ValueError):
    """A sample that can't be learnt from; `reason` is a short stable word, `detail` says what was found."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelRules:
    """What the charset, the preparation and the network allow."""

    charset: Charset
    preprocess: PreprocessConfig
    network: CRNNConfig
    _frames: dict[int, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Frames by canonical width: there are a few dozen widths, and millions of rows to check."""

    def check(self, text: str, width: int, height: int) -> tuple[list[int], int]:
        """Classes of the label and canonical width of the image.

        Args:
            text: The label as it is stored.
            width: Of the stored image, in pixels.
            height: Of the stored image, in pixels.

        Raises:
            LabelRejectedError: The sample can't be learnt from.
        """
        left = self.charset.normalize(text)
        outside = self.charset.unsupported(text) if left else self.charset.others(text)
        if not left and not outside:
            raise LabelRejectedError(EMPTY_LABEL, "the label holds no character")
        if outside:
            raise LabelRejectedError(OUTSIDE_CHARSET, f"{text!r} holds {' '.join(outside)}")
        target = self.charset.encode(text)
        if min(width, height) < 1:
            raise LabelRejectedError(WRONG_SIZE, f"the data set says {width}×{height} pixels")
        try:
            canonical = self.preprocess.canonical_width(self.preprocess.scaled_width(width, height))
        except ImageRejectedError as error:
            raise LabelRejectedError(error.reason, error.detail) from None
        frames = self.frames(canonical)
        needed = min_frames(target)
        if frames < needed:
            raise LabelRejectedError(
                TOO_MANY_CHARACTERS, f"{text!r} needs {needed} frames; {width}×{height} pixels give {frames}"
            )
        return target, canonical

    def frames(self, canonical: int) -> int:
        """Frames of an image of this canonical width."""
        found = self._frames.get(canonical)
        if found is None:
            found = self._frames[canonical] = self.network.num_frames(canonical)
        return found
