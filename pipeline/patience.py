"""When a run ends because it has stopped getting better: a pure function of its history."""

from collections.abc import Iterable

from pipeline.runs import Finished
from pipeline.tracking import MetricPoint


def looks_without_best(history: Iterable[MetricPoint], score: str, since: int = 0) -> int:
    """Looks at the held-out words after the best one.

    Args:
        history: Points of the run, in the order in which they were made.
        score: Name of the curve that is to climb; equal isn't better.
        since: Step of the run; looks up to there may be the best, but aren't counted.
    """
    best, count = float("-inf"), 0
    for point in history:
        if point.key == score:
            count += point.step > since
            if point.value > best:
                best, count = point.value, 0
    return count


def counts_since(done: Finished | None, patience: int | None) -> int:
    """The step from which patience counts: where a run is given more than patience, which had run out, anew.

    Args:
        done: How the run has ended before, if it did.
        patience: That it has now.
    """
    if done is None or done.ended != "patience" or patience is None or patience > (done.patience or 0):
        return 0
    return done.step
