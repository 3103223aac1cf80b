"""Images to texts: one recogniser for evaluation, bulk transcription and Python users.

recognizer = Recognizer.load("latin94")  # or a folder, or a URI
recognizer(["word.png", open("other.jpg", "rb").read(), pil_image, array])

line = recognizer.prepare("word.png")
(hypothesis,) = recognizer.recognise([line.pixels], spans=True, n_best=5)
recognizer.boxes(line, hypothesis)
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from crnn.alignment import character_spans, pixel_boxes
from crnn.batching import plan_packs, stack
from crnn.beam import prefix_beam_search
from crnn.calibration import Calibration
from crnn.checkpoint import Bundle
from crnn.decode import Hypothesis
from crnn.encoding import ImageLike, encoded
from crnn.fusion import headed
from crnn.lexicon import Lexicon, decode_with_lexicon
from crnn.posteriors import Posteriors
from crnn.precision import Precision
from crnn.preprocess import TURNS, GreyImage, decode_image, line_views
from crnn.reader import LineReader
from crnn.shipped import fetched_folder

_BEAM = 16
"""Prefixes that are followed at least where several texts are asked for."""
_DOUBTED = 256
"""Images that are looked at again together: what they see is held in memory until then."""
_NOTHING = Hypothesis("", 0.0, 0.0)


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
        language: Whether to read with the bundle's language model, if it has one, and to look again where
            that is unsure; without, `bundle` is `Bundle.alone`.

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
        self.bundle = bundle = bundle if language else bundle.alone()
        self._fusion = bundle.language
        self.device = torch.device(device)
        self.max_columns = max_columns
        self._posteriors = Posteriors(bundle, self.device, precision)
        self._calibration = Calibration.from_dict(bundle.calibration)
        self._reader = LineReader(
            bundle, self.log_probs, self._fusion, self._calibration, max_columns=max_columns
        )

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
        return cls(Bundle.load(fetched_folder(source)), device=device, precision=precision, language=language)

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
        results: list[Hypothesis] = [_NOTHING] * len(lines)
        doubted: dict[int, Tensor] = {}
        plain = lexicon is None and n_best == 1 and not spans and not others
        for members in plan_packs([line.shape[1] for line in lines], self.max_columns):
            log_probs_NTV = self.log_probs(stack(lines[i] for i in members))
            if plain:
                found = self._reader.first_look(log_probs_NTV)
                doubted |= {members[at]: log_probs_NTV[at].clone() for at in self._reader.doubts(found)}
            else:
                found = self._texts([lines[i] for i in members], log_probs_NTV, spans, n_best, lexicon)
            if others:
                found = self._with_others(found, log_probs_NTV, others)
            for i, hypothesis in zip(members, found, strict=True):
                results[i] = hypothesis
            # Many at once: packs of the few that one width leaves would cost more than their words.
            if len(doubted) >= _DOUBTED:
                results = self._reader.look_again(results, self._reader.further(lines, doubted))
                doubted = {}
        results = self._reader.look_again(results, self._reader.further(lines, doubted))
        return [_turned(h, degrees) if degrees else h for h, degrees in zip(results, turned, strict=True)]

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
            best = max(mine, key=lambda n: _sureness(read[n]))
            chosen[i], turned[i] = views[best], TURNS[best - mine.start]
        return chosen, turned

    def texts(
        self, lines: Sequence[GreyImage], log_probs_NTV: Tensor, *, spans: bool = False
    ) -> list[Hypothesis]:
        """What each line image holds: the best path's text, or what the language model makes of it where the
        path is unsure, and of further looks beside it where that is unsure, too; with its calibrated
        confidence where the bundle has one.

        Args:
            lines: [H, W] each, of one width.
            log_probs_NTV: Of them, as from `log_probs`, on any device.
            spans: Whether to note the frames of each character.
        """
        found = self._reader.first_look(log_probs_NTV, spans=spans)
        found = self._reader.look_again(found, self._further(lines, log_probs_NTV, found))
        if not spans:
            return found
        return [
            each if len(each.spans) == len(each.text) else self._with_spans(each, item.cpu())
            for each, item in zip(found, log_probs_NTV, strict=True)
        ]

    def _further(
        self, lines: Sequence[GreyImage], log_probs_NTV: Tensor, found: Sequence[Hypothesis]
    ) -> dict[int, list[Tensor]]:
        return self._reader.further(lines, {at: log_probs_NTV[at].cpu() for at in self._reader.doubts(found)})

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
        self,
        lines: Sequence[GreyImage],
        log_probs_NTV: Tensor,
        spans: bool,
        n_best: int,
        lexicon: Lexicon | None,
    ) -> list[Hypothesis]:
        if lexicon is None and n_best == 1:
            return self.texts(lines, log_probs_NTV, spans=spans)
        charset, log_probs_NTV = self.bundle.charset, log_probs_NTV.cpu()
        if lexicon is not None:
            found = decode_with_lexicon(log_probs_NTV, charset, lexicon, n_best=n_best)
        else:
            first = self._reader.first_look(log_probs_NTV)
            looks = self._further(lines, log_probs_NTV, first)
            found = self._search([looks.get(at, [item]) for at, item in enumerate(log_probs_NTV)], n_best)
            if self._fusion is not None:
                read = self._reader.look_again(first, looks)
                found = [headed(several, one) for several, one in zip(found, read, strict=True)]
        if not spans:
            return found
        return [
            self._with_spans(hypothesis, item) for hypothesis, item in zip(found, log_probs_NTV, strict=True)
        ]

    def _with_others(self, read: Sequence[Hypothesis], log_probs_NTV: Tensor, count: int) -> list[Hypothesis]:
        several = []
        for one, found in zip(read, self._search([[item] for item in log_probs_NTV], count + 1), strict=True):
            different = [other for other in (found, *found.alternatives) if other.text != one.text]
            others = tuple(replace(other, alternatives=()) for other in different[:count])
            several.append(replace(one, alternatives=others))
        return several

    def _search(self, looks: Sequence[Sequence[Tensor]], n_best: int) -> list[Hypothesis]:
        charset, width = self.bundle.charset, max(_BEAM, n_best)
        if self._fusion is not None:
            return self._fusion.search_looks(looks, charset, n_best=n_best, beam=width)
        return prefix_beam_search([first for first, *_ in looks], charset, beam_width=width, n_best=n_best)

    def _with_spans(self, hypothesis: Hypothesis, log_probs_TV: Tensor) -> Hypothesis:
        return replace(
            hypothesis,
            spans=character_spans(log_probs_TV, self.bundle.charset.classes(hypothesis.text)),
            alternatives=tuple(self._with_spans(other, log_probs_TV) for other in hypothesis.alternatives),
        )

    def log_probs(self, images_NCHW: npt.NDArray[np.uint8]) -> Tensor:
        """As `crnn.posteriors.Posteriors`, on the CPU: float32 [N, T, V]."""
        return self._posteriors(images_NCHW).cpu()

    def __call__(self, images: Sequence[ImageLike]) -> list[Hypothesis]:
        """Reads images of any kind that `prepare` takes; results in their order.

        Raises:
            ImageRejectedError: As `prepare`. Bulk jobs call `prepare` image by image and count rejections.
        """
        return self.recognise([self.prepare(image).pixels for image in images])


def _sureness(hypothesis: Hypothesis) -> tuple[bool, float, float]:
    """By which readings of an image are ranked; a text beats none."""
    return bool(hypothesis.text), hypothesis.confidence, hypothesis.log_prob


def _turned(hypothesis: Hypothesis, degrees: int) -> Hypothesis:
    others = tuple(_turned(other, degrees) for other in hypothesis.alternatives)
    return replace(hypothesis, turned=degrees, alternatives=others)
