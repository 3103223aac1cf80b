"""Confidence as a probability of the word being right, and how far to trust it.

The likelihood of the best path tells well which words are safer than others, and badly how safe: it falls
with every character, and training makes it too sure, in the middle of its range more than at the ends. A
logistic regression on two numbers of the hypothesis, curved in the first, mends both. It is fitted on
held-out words, and its four parameters go into the bundle.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import exp, log

import numpy as np
import numpy.typing as npt
from numpy.typing import ArrayLike

from crnn.decode import Hypothesis
from crnn.errors import CRNNError

Floats = npt.NDArray[np.float64]

_TINY = 1e-7  # a path of probability 1 has a logarithm of 0
_LEAST_SLOPE = 0.25
_MAX_STEPS = 100
_PRIOR = 1e-3  # holds the parameters where all words are right, or all wrong
LEAST_WORDS = 100


class CalibrationError(CRNNError, ValueError):
    """Too little to calibrate on, or parameters that aren't a calibration's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """p(right) = σ(bias + likelihood · x + curvature · x² + length · log(1 + characters)) of
    x = log(-log_prob).

    Where the parabola would fall less than `_LEAST_SLOPE` it goes on as a straight line: a likelier path is
    always a little surer.
    """

    bias: float
    likelihood: float
    curvature: float
    length: float

    def confidence(self, log_prob: float, characters: int) -> float:
        """Probability of a text being right.

        Args:
            log_prob: Of the path as `best_path` gives it, or of a text's share as `crnn.fusion` does.
            characters: Of the text.
        """
        x, further = log(-log_prob + _TINY), 0.0
        if self.likelihood + 2 * self.curvature * x > -_LEAST_SLOPE:
            curved = abs(self.curvature) > _TINY
            bend = -(_LEAST_SLOPE + self.likelihood) / (2 * self.curvature) if curved else 0.0
            x, further = bend, -_LEAST_SLOPE * (x - bend)
        score = self.bias + (self.likelihood + self.curvature * x) * x + further
        score += self.length * log(1 + characters)
        return 1 / (1 + exp(-score)) if score >= 0 else exp(score) / (1 + exp(score))

    def apply(self, hypotheses: Sequence[Hypothesis]) -> list[Hypothesis]:
        """Hypotheses of `best_path` or `crnn.fusion` with calibrated confidences."""
        return [replace(h, confidence=self.confidence(min(h.log_prob, 0.0), len(h.text))) for h in hypotheses]

    @classmethod
    def fit(cls, log_probs: ArrayLike, characters: ArrayLike, right: ArrayLike) -> "Calibration":
        """Maximum likelihood on held-out words, by Newton's method.

        Args:
            log_probs: Of the paths; [N].
            characters: Of the texts that were read; [N].
            right: Whether the words were right; [N].

        Raises:
            CalibrationError: Fewer than 100 words.
        """
        target = np.asarray(right, np.float64)
        if len(target) < LEAST_WORDS:
            raise CalibrationError(
                f"{len(target)} words are too few to calibrate on; at least {LEAST_WORDS} are needed."
            )
        x = np.log(-np.minimum(np.asarray(log_probs, np.float64), 0.0) + _TINY)
        lengths = np.log1p(np.asarray(characters, np.float64))
        features = np.stack([np.ones(len(target)), x, x * x, lengths], axis=1)
        weights = np.zeros(features.shape[1])
        for _ in range(_MAX_STEPS):
            predicted = 1 / (1 + np.exp(-np.clip(features @ weights, -30, 30)))
            gradient = features.T @ (predicted - target) + _PRIOR * weights
            hessian = (features * (predicted * (1 - predicted))[:, None]).T @ features
            step = np.linalg.solve(hessian + _PRIOR * np.eye(len(weights)), gradient)
            weights -= step * min(1.0, 5.0 / max(np.abs(step).max(), 1e-12))
            if np.abs(step).max() < 1e-8:
                break
        return cls(**dict(zip(cls.__dataclass_fields__, map(float, weights), strict=True)))

    def to_dict(self) -> dict[str, float]:
        """For the bundle; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, float]) -> "Calibration | None":
        """From a bundle; None where the bundle is not calibrated.

        Raises:
            CalibrationError: Other parameters than these.
        """
        if not values:
            return None
        if set(values) != set(cls.__dataclass_fields__):
            raise CalibrationError(
                f"The bundle's calibration has {sorted(values)}; this release knows "
                f"{sorted(cls.__dataclass_fields__)}. Calibrate it again with jobs/evaluate.py --calibrate."
            )
        return cls(**values)


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """Words of about one confidence."""

    confidence: float
    """Their mean."""
    accuracy: float
    """Share of them that was right."""
    words: int


def reliability(confidences: Sequence[float], right: Sequence[bool], bins: int = 15) -> list[ReliabilityBin]:
    """Words by confidence, in equal intervals of it; empty ones are left out."""
    values, truths = np.asarray(confidences, np.float64), np.asarray(right, np.float64)
    numbers = np.minimum((values * bins).astype(np.int64), bins - 1)
    found = []
    for number in np.unique(numbers):
        inside = numbers == number
        found.append(
            ReliabilityBin(
                confidence=float(values[inside].mean()),
                accuracy=float(truths[inside].mean()),
                words=int(inside.sum()),
            )
        )
    return found


def expected_calibration_error(confidences: Sequence[float], right: Sequence[bool], bins: int = 15) -> float:
    """Mean distance of confidence and accuracy over the words, by bins (Naeini et al. 2015); 0 is best."""
    parts = reliability(confidences, right, bins)
    total = sum(part.words for part in parts)
    return sum(part.words * abs(part.confidence - part.accuracy) for part in parts) / max(total, 1)


def error_by_chance(confidences: Sequence[float], draws: int = 50) -> float:
    """Expected calibration error that perfect confidences would show on so many words, 15 bins: its floor."""
    values, generator = np.asarray(confidences, np.float64), np.random.default_rng(0)
    errors = [
        expected_calibration_error(confidences, (generator.random(len(values)) < values).tolist())
        for _ in range(draws)
    ]
    return float(np.mean(errors))


def risk_coverage(confidences: Sequence[float], right: Sequence[bool]) -> tuple[Floats, Floats, Floats]:
    """What is gained by leaving the least sure words to people.

    Returns:
        Thresholds of confidence in descending order; coverage, the share of words at least so sure; and risk,
        the share of errors among these.
    """
    values, wrong = np.asarray(confidences, np.float64), ~np.asarray(right, bool)
    order = np.argsort(-values, kind="stable")
    accepted, errors = np.arange(1, len(order) + 1), np.cumsum(wrong[order])
    sure = values[order]
    # Words of one confidence are accepted together.
    last = np.flatnonzero(np.append(sure[1:] != sure[:-1], True)) if len(sure) else np.empty(0, np.int64)
    return sure[last], accepted[last] / max(len(order), 1), errors[last] / np.maximum(accepted[last], 1)


def coverage_at(confidences: Sequence[float], right: Sequence[bool], precision: float) -> tuple[float, float]:
    """Largest share of words that can go without review at a precision, and the confidence to ask for.

    Returns:
        (coverage, threshold); (0, 1) where no threshold gives that precision.
    """
    thresholds, coverage, risk = risk_coverage(confidences, right)
    allowed = np.flatnonzero(risk <= 1 - precision)
    if not len(allowed):
        return 0.0, 1.0
    return float(coverage[allowed[-1]]), float(thresholds[allowed[-1]])
