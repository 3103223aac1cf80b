"""Images to texts: one recogniser for evaluation, bulk transcription and Python users.

recognizer = Recognizer.load("latin94")  # or a folder, or a URI
recognizer(["word.png", open("other.jpg", "rb").read(), pil_image, array])

line = recognizer.prepare("word.png")
(hypothesis,) = recognizer.recognise([line.pixels], spans=True, n_best=5)
recognizer.boxes(line, hypothesis)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import entry_points
from math import log
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crnn.alignment import character_spans, pixel_boxes
from crnn.batching import plan_packs, stack
from crnn.calibration import Calibration
from crnn.checkpoint import Bundle
from crnn.compact import compacted
from crnn.decode import Hypothesis, best_path, prefix_beam_search
from crnn.encoding import ImageLike, encoded
from crnn.errors import BundleError
from crnn.fusion import headed
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.precision import Precision, use_bf16
from crnn.preprocess import TURNS, GreyImage, decode_image, line_views
from crnn.shipped import bundle_folder

RESOLVERS = "crnn.bundle_resolvers"
"""Entry-point group through which other packages teach `Recognizer.load` the URI schemes they know."""

_CLOSE = log(0.1)
"""Likelihood of the best path below which bf16 is read again in fp32: rounding swaps texts that are nearly as
likely. One photograph in three hundred to one in five is read again."""
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
        precision: As `crnn.precision`; fp32 gives the same text on every machine, bf16 nearly always.
        max_columns: Pixel columns of one batch, Σ width: what bounds memory.
        language: Whether to read with the bundle's language model, if it has one: its confidences are
            calibrated for that.

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
        language: bool = True,
    ) -> None:
        self.bundle = bundle
        self._fusion = bundle.language if language else None
        self.device = torch.device(device)
        self._bf16 = use_bf16(precision, self.device)
        self.max_columns = max_columns
        self._calibration = Calibration.from_dict(bundle.calibration)
        self._model = compacted(bundle.model()).to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        device: str | torch.device = "cpu",
        precision: Precision = "fp32",
        language: bool = True,
    ) -> "Recognizer":
        """Loads a shipped model by its name, or a bundle from a folder or a URI that a package resolves.

        Raises:
            BundleError: Nothing there, or not a sound bundle.
        """
        directory = _resolve(source) if isinstance(source, str) and ":/" in source else bundle_folder(source)
        return cls(Bundle.load(directory), device=device, precision=precision, language=language)

    def prepare(self, image: ImageLike) -> PreparedLine:
        """Decodes, turns upright, scales and pads one image.

        Args:
            image: A path, encoded bytes, a PIL image, or an array [H, W] or [H, W, 3 or 4] of 8 bits.

        Raises:
            ImageRejectedError: It can't become a line image; `reason` says why.
            OSError: The path can't be read.
        """
        grey = decode_image(encoded(image))
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
        """Of each line image that has several views the one whose text is the surest; a text beats none.
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
        """What each item holds: the best path's text, or what the language model makes of it where the path
        is unsure; with its calibrated confidence where the bundle has one.

        Args:
            log_probs_NTV: As from `log_probs`, on any device.
            spans: Whether to note the frames of each character.
        """
        charset = self.bundle.charset
        paths = found = best_path(log_probs_NTV, charset, spans=spans)
        if self._fusion is not None:
            found = self._fusion.decide(paths, log_probs_NTV, charset)
            if spans:
                found = [
                    each if each is path else self._with_spans(each, item.cpu())
                    for each, path, item in zip(found, paths, log_probs_NTV, strict=True)
                ]
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
            paths = best_path(log_probs_NTV, charset)
            read = self._fusion.decide(paths, log_probs_NTV, charset) if self._fusion else None
            found = [self._search(item, n_best) for item in log_probs_NTV]
            if read is not None:
                found = [headed(several, one) for several, one in zip(found, read, strict=True)]
        if not spans:
            return found
        return [
            self._with_spans(hypothesis, item) for hypothesis, item in zip(found, log_probs_NTV, strict=True)
        ]

    def _with_others(self, read: Hypothesis, log_probs_TV: Tensor, count: int) -> Hypothesis:
        found = self._search(log_probs_TV, count + 1)
        different = [other for other in (found, *found.alternatives) if other.text != read.text]
        return replace(
            read, alternatives=tuple(replace(other, alternatives=()) for other in different[:count])
        )

    def _search(self, log_probs_TV: Tensor, n_best: int) -> Hypothesis:
        charset, width = self.bundle.charset, max(_BEAM, n_best)
        if self._fusion is not None:
            return self._fusion.search(log_probs_TV, charset, n_best=n_best, beam=width)
        return prefix_beam_search(log_probs_TV, charset, beam_width=width, n_best=n_best)

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
        with torch.inference_mode():
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
                log_probs_NTV: Tensor = self._model(images).float().log_softmax(dim=-1)
            if self._bf16:
                close = log_probs_NTV.amax(dim=-1).sum(dim=-1) < _CLOSE
                if close.any():
                    log_probs_NTV[close] = self._model(images[close]).log_softmax(dim=-1)
            return log_probs_NTV

    def __call__(self, images: Sequence[ImageLike]) -> list[Hypothesis]:
        """Reads images of any kind that `prepare` takes; results in their order.

        Raises:
            ImageRejectedError: As `prepare`. Bulk jobs call `prepare` image by image and count rejections.
        """
        return self.recognise([self.prepare(image).pixels for image in images])


def _turned(hypothesis: Hypothesis, degrees: int) -> Hypothesis:
    others = tuple(_turned(other, degrees) for other in hypothesis.alternatives)
    return replace(hypothesis, turned=degrees, alternatives=others)


def _resolve(uri: str) -> Path:
    scheme = uri.split(":", 1)[0]
    for entry_point in entry_points(group=RESOLVERS, name=scheme):
        return Path(entry_point.load()(uri))
    known = sorted({e.name for e in entry_points(group=RESOLVERS)})
    raise BundleError(
        f"Nothing installed here knows how to fetch {uri}: the schemes known are {known or 'none'}. "
        "Install the project (pip install -e .), or give a folder."
    )
