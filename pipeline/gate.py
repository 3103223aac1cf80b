"""Who is champion: a candidate takes over only where it isn't worse, on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport

_LEVEL = 0.05
"""Chance that a candidate that is no worse than the margin on any set is kept out by one of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """A candidate beside the champion on one data set, image by image."""

    name: str
    images: int
    gained: int
    """Images that only the candidate reads right."""
    lost: int
    """Images that only the champion reads right."""

    @property
    def difference(self) -> float:
        """Word accuracy of the candidate less the champion's."""
        return (self.gained - self.lost) / max(self.images, 1)

    def chance(self, margin: float) -> float:
        """Probability of so many losses, or more, among the images that flipped, were the loss `margin`.

        Exact and one-sided, given how many flipped; without a margin it is McNemar's test (1947).
        """
        from scipy.stats import binom  # type: ignore[import-untyped]  # has no stubs

        flips = self.gained + self.lost
        if not flips:
            return 1.0
        lost_share = min(1.0, (1 + margin * self.images / flips) / 2)
        return float(binom.sf(self.lost - 1, flips, lost_share))


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the candidate takes over, and why."""

    promote: bool
    reason: str
    comparisons: tuple[Comparison, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        sets = {c.name: {"images": c.images, "gained": c.gained, "lost": c.lost} for c in self.comparisons}
        return {"promote": self.promote, "reason": self.reason, "sets": sets}


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
    return Comparison(name=candidate.name, images=candidate.images, gained=gained, lost=lost)


def judge(candidate: EvaluationReport, champion: EvaluationReport | None, margin: float) -> Verdict:
    """The gate. The candidate is kept out where, on the same images,

    - over all sets together its word accuracy is more than `margin` below the champion's, or
    - on any one set it is worse by more than `margin` beyond chance: an exact paired test on the images that
      flipped, one-sided, whose 5 % the sets share (Bonferroni).

    Small sets can't keep a candidate out by luck alone, and can't be paid for by large ones where the loss
    is certain.
    """
    if not candidate.counts.words:
        return Verdict(promote=False, reason="no image counted: nothing is known of the candidate")
    if champion is None:
        return Verdict(promote=True, reason="there was no champion")
    pairs = zip(candidate.sets, champion.sets, strict=True)
    comparisons = tuple(compare(ours, theirs) for ours, theirs in pairs)
    worse = [c for c in comparisons if c.chance(margin) <= _LEVEL / len(comparisons)]
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
