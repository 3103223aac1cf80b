"""Patience counts the looks after the best one, the same whenever it is asked."""

from hypothesis import given
from hypothesis import strategies as st

from pipeline.patience import counts_since, looks_without_best
from pipeline.runs import End, Finished
from pipeline.tracking import MetricPoint

SCORE = "validation/a/word_accuracy"


def history(scores: list[float]) -> list[MetricPoint]:
    """A look every 10 steps, with points of other curves between."""
    return [
        MetricPoint(key, value, 10 * (i + 1), 0)
        for i, score in enumerate(scores)
        for key, value in (("train/loss", 9.0), (SCORE, score), ("validation/b/word_accuracy", 1.0))
    ]


@given(st.lists(st.sampled_from([0.0, 0.1, 0.2, 0.3]), max_size=9), st.integers(0, 9))
def test_looks_after_the_first_of_the_best_count_and_only_those_after_a_step(
    scores: list[float], before: int
) -> None:
    best = scores.index(max(scores)) if scores else -1
    assert looks_without_best(history(scores), SCORE) == len(scores) - 1 - best
    counted = [i for i in range(len(scores)) if i > best and i >= before]
    assert looks_without_best(history(scores), SCORE, since=10 * before) == len(counted)


def done(ended: End) -> Finished:
    return Finished(
        checkpoint_uri="a",
        metrics={},
        images_seen=9,
        images_per_s=1.0,
        last_uri="b",
        images=100,
        minutes=None,
        patience=3,
        ended=ended,
        step=70,
    )


def test_patience_that_had_run_out_counts_anew_where_the_run_is_given_more_of_something_else() -> None:
    assert counts_since(done("patience"), 3) == 70
    assert counts_since(done("patience"), 2) == 70
    # More patience goes on counting: the run becomes what it had been with as much from the beginning.
    assert counts_since(done("patience"), 4) == 0
    assert counts_since(done("images"), 3) == 0
    assert counts_since(done("patience"), None) == 0
    assert counts_since(None, 3) == 0
