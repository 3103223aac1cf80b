"""What line images hold, by all that a bundle reads with: network, language model, calibration, looks."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt
from torch import Tensor

from crnn.batching import plan_packs, stack
from crnn.calibration import Calibration
from crnn.checkpoint import Bundle
from crnn.decode import Hypothesis, best_path
from crnn.fusion import Fusion
from crnn.looks import further_looks
from crnn.preprocess import GreyImage


class LineReader:
    """Reads a first time, and again where that leaves doubts.

    Args:
        bundle: What is read with.
        log_probs: Its network: images_NCHW to float32 [N, T, V] on the CPU.
        fusion: The language model to read with, if any; without, no image is looked at again.
        calibration: Of the confidences, if any.
        max_columns: Pixel columns of one batch.
    """

    def __init__(
        self,
        bundle: Bundle,
        log_probs: Callable[[npt.NDArray[np.uint8]], Tensor],
        fusion: Fusion | None,
        calibration: Calibration | None,
        *,
        max_columns: int,
    ) -> None:
        self._bundle, self._log_probs, self._max_columns = bundle, log_probs, max_columns
        self._fusion, self._calibration = fusion, calibration

    def first_look(self, log_probs_NTV: Tensor, *, spans: bool = False) -> list[Hypothesis]:
        """The best path's text of each item, or what the language model makes of it where that is unsure.

        Args:
            log_probs_NTV: On any device.
            spans: Whether to note the frames of the best path's characters.
        """
        found = best_path(log_probs_NTV, self._bundle.charset, spans=spans)
        if self._fusion is not None:
            found = self._fusion.decide(found, log_probs_NTV, self._bundle.charset)
        return self._calibrated(found)

    def doubts(self, found: Sequence[Hypothesis]) -> list[int]:
        """Which of the first look's texts ask for further looks."""
        below = self._fusion.config.looks_below if self._fusion else 0.0
        return [at for at, hypothesis in enumerate(found) if hypothesis.confidence < below]

    def further(self, lines: Sequence[GreyImage], doubted: Mapping[int, Tensor]) -> dict[int, list[Tensor]]:
        """What all looks at the images in doubt see, the first look ahead; [T, V] each.

        Args:
            lines: The images.
            doubted: By place among them, what the first look at such an image saw.
        """
        pairs = [(i, look) for i in doubted for look in further_looks(lines[i], self._bundle.preprocess)]
        seen: dict[int, Tensor] = {}
        for members in plan_packs([look.shape[1] for _, look in pairs], self._max_columns):
            log_probs_NTV = self._log_probs(stack(pairs[m][1] for m in members))
            seen |= {at: item.clone() for at, item in zip(members, log_probs_NTV, strict=True)}
        looks = {i: [first] for i, first in doubted.items()}
        for at, (i, _) in enumerate(pairs):
            looks[i].append(seen[at])
        return looks

    def look_again(
        self, found: Sequence[Hypothesis], looks: Mapping[int, Sequence[Tensor]]
    ) -> list[Hypothesis]:
        """The same, but what all looks at an image together say where its text was in doubt.

        Args:
            found: By the first look at each.
            looks: From `further`.
        """
        results = list(found)
        if self._fusion and looks:
            read = self._fusion.search_looks(list(looks.values()), self._bundle.charset)
            for i, hypothesis in zip(looks, self._calibrated(read), strict=True):
                results[i] = hypothesis
        return results

    def _calibrated(self, found: list[Hypothesis]) -> list[Hypothesis]:
        return found if self._calibration is None else self._calibration.apply(found)
