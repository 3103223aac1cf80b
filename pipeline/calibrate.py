"""Calibrating a bundle on an evaluation: the confidences of the next transcripts become probabilities."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa

from crnn.calibration import LEAST_WORDS, Calibration, CalibrationError, expected_calibration_error
from crnn.charset import Charset
from crnn.checkpoint import Bundle
from pipeline.evaluation import EvaluationReport
from pipeline.histograms import Histograms, count_readings

WHOLE, ALONE = "calibration", "calibration_alone"
"""What a bundle and its provenance call the confidences of all that it reads with, and of its network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibrated:
    """A calibration and what it is worth."""

    calibration: Calibration
    words: int
    error_before: float
    """Expected calibration error of the confidences as they were."""
    error_after: float
    """The same on words that were not fitted: two halves, each judged by the fit on the other."""
    data: Mapping[str, str]
    """Fingerprints of the data sets, by name."""
    readings: Histograms
    """What it read, with the confidences as they are now: later texts are compared with it."""

    def to_dict(self) -> dict[str, Any]:
        """For the bundle's provenance."""
        return {
            "right": "text and truth are equal as the charset normalises them",
            "words": self.words,
            "error_before": self.error_before,
            "error_after": self.error_after,
            "data": dict(self.data),
            "readings": {name: dict(counts) for name, counts in self.readings.items()},
        }


def calibrate(report: EvaluationReport, charset: Charset) -> Calibrated:
    """Fits on all words of an evaluation that were read; give it held-out words of the kind to be read.

    The confidence goes with the text as it is written, so a text is right where it is the truth in the
    charset's normal form, whatever the evaluation's protocol drops; images that its filter leaves out are
    fitted too.

    Args:
        report: The evaluation.
        charset: Of the bundle that was evaluated.

    Raises:
        CalibrationError: Fewer than 200 words.
    """
    rows = pa.concat_tables([part.readings for part in report.sets])
    rows = rows.filter(rows["confidence"].is_valid())
    log_probs = np.array(rows["log_prob"].to_pylist(), np.float64)
    lengths = np.array([len(text) for text in rows["prediction"].to_pylist()], np.int64)
    pairs = zip(rows["text"].to_pylist(), rows["prediction"].to_pylist(), strict=True)
    right = np.array([charset.normalize(truth) == read for truth, read in pairs], bool)
    if len(right) < 2 * LEAST_WORDS:
        raise CalibrationError(
            f"{len(right)} words are too few to calibrate on and to check it; give {2 * LEAST_WORDS} or "
            "more held-out words."
        )
    calibration = Calibration.fit(log_probs, lengths, right)
    confidences = [calibration.confidence(p, n) for p, n in zip(log_probs, lengths, strict=True)]
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
        data={part.name: part.fingerprint for part in report.sets},
        readings=count_readings(zip(rows["prediction"].to_pylist(), confidences, strict=True)),
    )


def with_calibration(bundle: Bundle, done: Calibrated, *, alone: bool = False) -> Bundle:
    """The bundle with these confidences and where they come from.

    Texts stay the same but where confidences decide: which images are looked at again, and whether tall ones
    are read turned, which no bundle does before it is calibrated.

    Args:
        bundle: What was evaluated.
        done: The confidences.
        alone: They are of what it reads without its language model; those with it stay.
    """
    provenance = {**bundle.provenance, ALONE if alone else WHOLE: done.to_dict()}
    fitted = done.calibration.to_dict()
    if alone:
        return replace(bundle, calibration_alone=fitted, provenance=provenance)
    return replace(bundle, calibration=fitted, provenance=provenance)
