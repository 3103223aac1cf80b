"""Who is champion: a candidate takes over only where it isn't worse, on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport

_RESAMPLES = 10_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A candidate beside the champion on one data set, image by image."""

    name: str
    images: int
    gained: int
    """Images that only the candidate reads right."""
    lost: int
    """Images that only the champion reads right."""
    best_case: float
    """95th percentile of the paired bootstrap of the difference: what it could be at best, in accuracy."""

    @property
    def difference(self) -> float:
        """Word accuracy of the candidate less the champion's."""
        return (self.gained - self.lost) / max(self.images, 1)


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the candidate takes over, and why."""

    promote: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()


def compare(candidate: SetReport, champion: SetReport) -> Comparison:
    """Pairs two readings of the same data set under the same protocol.

    Raises:
        ConfigError: They are not of the same images.
    """
    if candidate.fingerprint != champion.fingerprint or candidate.images != champion.images:
        raise ConfigError(
            f"{candidate.name}: the two models were evaluated on different images; evaluate both on the same."
        )
    right = [_right(report) for report in (candidate, champion)]
    gained, lost = int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum())
    count = candidate.images
    best_case = 0.0
    if count:
        shares = [gained / count, lost / count, (count - gained - lost) / count]
        drawn = np.random.default_rng(0).multinomial(count, shares, _RESAMPLES)
        best_case = float(np.percentile((drawn[:, 0] - drawn[:, 1]) / count, 95))
    return Comparison(name=candidate.name, images=count, gained=gained, lost=lost, best_case=best_case)


def judge(candidate: EvaluationReport, champion: EvaluationReport | None, margin: float) -> Verdict:
    """The gate. The candidate is kept out where, on the same images,

    - over all sets together its word accuracy is more than `margin` below the champion's, or
    - on any one set it is worse by more than `margin` beyond chance (paired bootstrap, one-sided 5 %).

    Small sets can't keep a candidate out by luck alone, and can't be paid for by large ones where the loss
    is certain.
    """
    if not candidate.counts.words:
        return Verdict(promote=False, reason="no image counted: nothing is known of the candidate")
    if champion is None:
        return Verdict(promote=True, reason="there was no champion")
    pairs = zip(candidate.sets, champion.sets, strict=True)
    comparisons = tuple(compare(ours, theirs) for ours, theirs in pairs)
    worse = [c for c in comparisons if c.best_case < -margin]
    overall = sum(c.gained - c.lost for c in comparisons) / max(sum(c.images for c in comparisons), 1)
    if worse:
        told = "; ".join(_tell(c) for c in worse)
        return Verdict(
            promote=False,
            reason=f"worse than the champion by more than {margin:.2%} beyond chance on {told}",
            comparisons=comparisons,
        )
    if overall < -margin:
        reason = f"{-overall:.2%} below the champion over all sets; at most {margin:.2%} is let pass"
        return Verdict(promote=False, reason=reason, comparisons=comparisons)
    reason = (
        f"{overall:+.2%} word accuracy against the champion over all sets, within the margin of {margin:.2%}"
    )
    return Verdict(promote=True, reason=reason, comparisons=comparisons)


def _right(report: SetReport) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    columns: Sequence[list[object]] = [report.readings[n].to_pylist() for n in ("counts", "truth", "read")]
    return np.array([truth == read for counts, truth, read in zip(*columns, strict=True) if counts], bool)


def _tell(comparison: Comparison) -> str:
    return (
        f"{comparison.name} ({comparison.difference:+.2%}: {comparison.gained} gained, "
        f"{comparison.lost} lost of {comparison.images:,})"
    )
