"""Calibrating a bundle on an evaluation: the confidences of the next transcripts become probabilities."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from crnn.calibration import LEAST_WORDS, Calibration, CalibrationError, expected_calibration_error
from crnn.checkpoint import Bundle
from pipeline.evaluation import EvaluationReport


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """A calibration and what it is worth."""

    calibration: Calibration
    words: int
    error_before: float
    """Expected calibration error of the confidences as they were."""
    error_after: float
    """The same on words that were not fitted: two halves, each judged by the fit on the other."""


def calibrate(report: EvaluationReport) -> Calibrated:
    """Fits on all words of an evaluation that were read; give it held-out words of the kind to be read.

    Raises:
        CalibrationError: Fewer than 200 words.
    """
    rows = pa.concat_tables([part.counted for part in report.sets])
    rows = rows.filter(rows["confidence"].is_valid())
    log_probs = np.array(rows["log_prob"].to_pylist(), np.float64)
    lengths = np.array([len(text) for text in rows["prediction"].to_pylist()], np.int64)
    pairs = zip(rows["truth"].to_pylist(), rows["read"].to_pylist(), strict=True)
    right = np.array([truth == read for truth, read in pairs], bool)
    if len(right) < 2 * LEAST_WORDS:
        raise CalibrationError(
            f"{len(right)} words are too few to calibrate on and to check it; give {2 * LEAST_WORDS} or "
            "more held-out words."
        )
    calibration = Calibration.fit(log_probs, lengths, right)
    held_out = np.empty(len(right))
    half = np.random.default_rng(0).permutation(len(right)) % 2 == 0
    for side in (half, ~half):
        fitted = Calibration.fit(log_probs[~side], lengths[~side], right[~side])
        held_out[side] = [
            fitted.confidence(p, n) for p, n in zip(log_probs[side], lengths[side], strict=True)
        ]
    return Calibrated(
        calibration=calibration,
        words=len(right),
        error_before=expected_calibration_error(rows["confidence"].to_pylist(), right.tolist()),
        error_after=expected_calibration_error(held_out.tolist(), right.tolist()),
    )


def with_calibration(bundle: Bundle, calibration: Calibration) -> Bundle:
    """The bundle with these confidences; the texts it reads stay the same."""
    return replace(bundle, calibration=calibration.to_dict())
