"""What can go wrong in the recogniser: every message says what, where and what to do."""


class CRNNError(Exception):
    """Base of the package's errors."""


class CharsetError(CRNNError, ValueError):
    """A charset is malformed, or a text holds characters outside it."""


class ModelConfigError(CRNNError, ValueError):
    """A network configuration can't be built, or an image doesn't fit it."""


class BundleError(CRNNError):
    """A bundle is missing, damaged, of another schema version, or doesn't match what was asked for."""


class ImageRejectedError(CRNNError, ValueError):
    """Bytes that can't become a line image.

    Args:
        reason: One of the short, stable words in `preprocess.REASONS`; jobs count by it.
        detail: What exactly was found, for a person.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"
