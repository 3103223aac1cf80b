"""Images to texts: one recogniser for evaluation, bulk transcription and Python users.

recognizer = Recognizer.load("latin94-small")  # or a folder, or a URI
recognizer(["word.png", open("other.jpg", "rb").read(), pil_image, array])

line = recognizer.prepare("word.png")
(hypothesis,) = recognizer.recognise([line.pixels], spans=True, n_best=5)
recognizer.boxes(line, hypothesis)
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from crnn.alignment import character_spans, pixel_boxes
from crnn.batching import plan_packs, stack
from crnn.calibration import Calibration
from crnn.checkpoint import Bundle
from crnn.decode import Hypothesis, best_path, prefix_beam_search
from crnn.errors import BundleError, ImageRejectedError
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.precision import Precision, use_bf16
from crnn.preprocess import TURNS, GreyImage, decode_image, line_views, upright
from crnn.shipped import bundle_folder

ImageLike = str | Path | bytes | Image.Image | npt.NDArray[np.generic]
RESOLVERS = "crnn.bundle_resolvers"
"""Entry-point group through which other packages teach `Recognizer.load` the URI schemes they know."""

_BEAM = 16
"""Prefixes that are followed at least where several texts are asked for."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PreparedLine:
    """An image as the network reads it."""

    pixels: GreyImage
    """As `crnn.preprocess.line_views` makes it."""
    width: int
    """Width of the upright original in pixels."""
    height: int
    """Height of the upright original in pixels."""


class Recognizer:
    """A loaded bundle, ready to read.

    Args:
        bundle: Weights and all that belongs to them.
        device: Where to compute, such as "cpu" or "cuda:0".
        precision: As `crnn.precision`; fp32 gives the same text on every machine.
        max_columns: Pixel columns of one batch, Σ width: what bounds memory.

    Raises:
        BundleError: The weights don't fit the network.
        CalibrationError: The bundle was calibrated in a way that this release doesn't know.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "fp32",
        max_columns: int = 16_384,
    ) -> None:
        self.bundle = bundle
        self.device = torch.device(device)
        self._bf16 = use_bf16(precision, self.device)
        self.max_columns = max_columns
        self._calibration = Calibration.from_dict(bundle.calibration)
        self._model = bundle.model().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls, source: str | Path, *, device: str | torch.device = "cpu", precision: Precision = "fp32"
    ) -> "Recognizer":
        """Loads a shipped model by its name, or a bundle from a folder or a URI that a package resolves.

        Raises:
            BundleError: Nothing there, or not a sound bundle.
        """
        directory = _resolve(source) if isinstance(source, str) and ":/" in source else bundle_folder(source)
        return cls(Bundle.load(directory), device=device, precision=precision)

    def prepare(self, image: ImageLike) -> PreparedLine:
        """Decodes, turns upright, scales and pads one image.

        Args:
            image: A path, encoded bytes, a PIL image, or an array [H, W] or [H, W, 3 or 4] of 8 bits.

        Raises:
            ImageRejectedError: It can't become a line image; `reason` says why.
            OSError: The path can't be read.
        """
        grey = decode_image(_encoded(image))
        height, width = grey.shape
        return PreparedLine(pixels=line_views(grey, self.bundle.reading), width=width, height=height)

    def recognise(
        self,
        lines: Sequence[GreyImage],
        *,
        spans: bool = False,
        n_best: int = 1,
        lexicon: Lexicon | None = None,
        others: int = 0,
    ) -> list[Hypothesis]:
        """Reads line images made by `prepare`, of any mix of canonical widths; results in their order.

        Args:
            lines: The images.
            spans: Whether to note the frames of each character, for `boxes`.
            n_best: How many texts to give; those after the first are `alternatives`. Beam search finds them,
                several hundred times slower than the best path, and confidences are then shares among them.
            lexicon: Read nothing but its entries; confidences are then shares among these.
            others: How many `alternatives` to add to what is read without them, which stays as it is; they
                are beam search's, too.
        """
        lines, turned = self.settle(lines)
        results: list[Hypothesis | None] = [None] * len(lines)
        for members in plan_packs([line.shape[1] for line in lines], self.max_columns):
            log_probs_NTV = self.log_probs(stack(lines[i] for i in members))
            found = self._texts(log_probs_NTV, spans, n_best, lexicon)
            if others:
                pairs = zip(found, log_probs_NTV, strict=True)
                found = [self._with_others(hypothesis, item, others) for hypothesis, item in pairs]
            for i, hypothesis in zip(members, found, strict=True):
                results[i] = _turned(hypothesis, turned[i]) if turned[i] else hypothesis
        return [hypothesis for hypothesis in results if hypothesis is not None]

    def settle(self, lines: Sequence[GreyImage]) -> tuple[list[GreyImage], list[int]]:
        """Of each line image that has several views the one whose best path is the surest; a text beats none.
        A bundle without calibration can't compare them, and takes the image as it is.

        Returns:
            A line image [H, canonical width] for each, and its degrees of `TURNS`.
        """
        height = self.bundle.preprocess.height
        chosen, turned = list(lines), [0] * len(lines)
        several = [i for i, line in enumerate(lines) if len(line) > height]
        views = [lines[i][top : top + height] for i in several for top in range(0, len(lines[i]), height)]
        if self._calibration is None:
            return [line[:height] for line in lines], turned
        read = self.recognise(views) if views else []
        for at, i in enumerate(several):
            mine = range(at * len(TURNS), (at + 1) * len(TURNS))
            best = max(mine, key=lambda n: (bool(read[n].text), read[n].confidence, read[n].log_prob))
            chosen[i], turned[i] = views[best], TURNS[best - mine.start]
        return chosen, turned

    def best_texts(self, log_probs_NTV: Tensor, *, spans: bool = False) -> list[Hypothesis]:
        """The best path's text of each item, with its calibrated confidence where the bundle has one.

        Args:
            log_probs_NTV: As from `log_probs`, on any device.
            spans: Whether to note the frames of each character.
        """
        found = best_path(log_probs_NTV, self.bundle.charset, spans=spans)
        return found if self._calibration is None else self._calibration.apply(found)

    def boxes(self, line: PreparedLine, hypothesis: Hypothesis) -> list[tuple[float, float]]:
        """Left and right edge of each character in pixels of the upright original, turned as it was read.

        Args:
            line: The image.
            hypothesis: Read from it with `spans`.
        """
        canonical = line.pixels.shape[1]
        width, height = (line.height, line.width) if hypothesis.turned else (line.width, line.height)
        return pixel_boxes(
            hypothesis.spans,
            frames=self.bundle.network.num_frames(canonical),
            canonical_width=canonical,
            scaled_width=self.bundle.preprocess.scaled_width(width, height),
            width=width,
        )

    def _texts(
        self, log_probs_NTV: Tensor, spans: bool, n_best: int, lexicon: Lexicon | None
    ) -> list[Hypothesis]:
        if lexicon is None and n_best == 1:
            return self.best_texts(log_probs_NTV, spans=spans)
        charset, log_probs_NTV = self.bundle.charset, log_probs_NTV.cpu()
        if lexicon is not None:
            found = decode_with_lexicon(log_probs_NTV, charset, lexicon, n_best=n_best)
        else:
            width = max(_BEAM, n_best)
            found = [
                prefix_beam_search(item, charset, beam_width=width, n_best=n_best) for item in log_probs_NTV
            ]
        if not spans:
            return found
        return [
            self._with_spans(hypothesis, item) for hypothesis, item in zip(found, log_probs_NTV, strict=True)
        ]

    def _with_others(self, read: Hypothesis, log_probs_TV: Tensor, count: int) -> Hypothesis:
        width = max(_BEAM, count + 1)
        found = prefix_beam_search(log_probs_TV, self.bundle.charset, beam_width=width, n_best=count + 1)
        different = [other for other in (found, *found.alternatives) if other.text != read.text]
        return replace(
            read, alternatives=tuple(replace(other, alternatives=()) for other in different[:count])
        )

    def _with_spans(self, hypothesis: Hypothesis, log_probs_TV: Tensor) -> Hypothesis:
        return replace(
            hypothesis,
            spans=character_spans(log_probs_TV, self.bundle.charset.encode(hypothesis.text)),
            alternatives=tuple(self._with_spans(other, log_probs_TV) for other in hypothesis.alternatives),
        )

    def log_probs(self, images_NCHW: npt.NDArray[np.uint8]) -> Tensor:
        """Log-probabilities of each class at each frame, for line images of one canonical width.

        Args:
            images_NCHW: uint8, C = 1.

        Returns:
            float32 [N, T, V] on the CPU, normalised over V.
        """
        return self._log_probs(images_NCHW).cpu()

    def _log_probs(self, images_NCHW: npt.NDArray[np.uint8]) -> Tensor:
        """The same, left on the device."""
        images = torch.from_numpy(images_NCHW).to(self.device, memory_format=torch.channels_last)
        autocast = torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16)
        with torch.inference_mode(), autocast:
            logits_NTV = self._model(images)
            return logits_NTV.float().log_softmax(dim=-1)  # type: ignore[no-any-return]

    def __call__(self, images: Sequence[ImageLike]) -> list[Hypothesis]:
        """Reads images of any kind that `prepare` takes; results in their order.

        Raises:
            ImageRejectedError: As `prepare`. Bulk jobs call `prepare` image by image and count rejections.
        """
        return self.recognise([self.prepare(image).pixels for image in images])


def _turned(hypothesis: Hypothesis, degrees: int) -> Hypothesis:
    others = tuple(_turned(other, degrees) for other in hypothesis.alternatives)
    return replace(hypothesis, turned=degrees, alternatives=others)


_LOSSLESS = ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16", "F", "CMYK")
"""Pillow's modes that a file can keep as they are."""
_CONVERTED = {"La": "LA", "PA": "RGBA", "RGBa": "RGBA", "I;16B": "I", "I;16L": "I", "I;16N": "I"}
"""What becomes of those that it can't; the others turn to RGB."""


def _encoded(image: ImageLike) -> bytes:
    """One way in: arrays and PIL images take the same path as files, through a lossless encoding."""
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
    image = upright(image)  # a re-encoded image loses its EXIF
    if image.mode not in _LOSSLESS:
        image = image.convert(_CONVERTED.get(image.mode, "RGB"))
    buffer = io.BytesIO()
    lossless = "TIFF" if image.mode in ("F", "I", "CMYK") else "PNG"
    image.save(buffer, format=lossless)
    return buffer.getvalue()


def _resolve(uri: str) -> Path:
    scheme = uri.split(":", 1)[0]
    for entry_point in entry_points(group=RESOLVERS, name=scheme):
        return Path(entry_point.load()(uri))
    known = sorted({e.name for e in entry_points(group=RESOLVERS)})
    raise BundleError(
        f"Nothing installed here knows how to fetch {uri}: the schemes known are {known or 'none'}. "
        "Install the project (pip install -e .), or give a folder."
    )
