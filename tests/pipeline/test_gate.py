from pathlib import Path

import pyarrow as pa
import pytest

from crnn.metrics import PROTOCOLS, Counts
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport
from pipeline.gate import compare, judge
from pipeline.protocols import FILTERS
from pipeline.registry import ResolvedModel


def part(right: list[bool], name: str = "set", fingerprint: str = "f") -> SetReport:
    truth = ["a"] * len(right)
    read = ["a" if r else "b" for r in right]
    counts = [True] * len(right)
    return SetReport(
        name=name,
        uri="uri",
        fingerprint=fingerprint,
        images=len(right),
        excluded={},
        rejected={},
        counts=Counts.over(zip(truth, read, strict=True)),
        lexicons={},
        dropped={},
        interval=(0.0, 1.0),
        images_per_second=1.0,
        readings=pa.table({"truth": truth, "read": read, "counts": counts}),
    )


def report(*sets: SetReport) -> EvaluationReport:
    model = ResolvedModel(name="m", version="1", digest="d", directory=Path())
    return EvaluationReport(
        model=model, protocol=PROTOCOLS["alnum36"], filter=FILTERS["all"], sets=tuple(sets)
    )


def outcomes(both: int, gained: int, lost: int, neither: int) -> tuple[list[bool], list[bool]]:
    ours = [True] * both + [True] * gained + [False] * lost + [False] * neither
    theirs = [True] * both + [False] * gained + [True] * lost + [False] * neither
    return ours, theirs


def test_flips_are_counted_image_by_image() -> None:
    ours, theirs = outcomes(80, 7, 3, 10)
    found = compare(part(ours), part(theirs))
    assert (found.images, found.gained, found.lost) == (100, 7, 3)
    assert found.difference == pytest.approx(0.04)
    assert found.best_case > found.difference


def test_the_first_model_becomes_champion() -> None:
    assert judge(report(part([True, False])), None, 0.005).promote


def test_a_model_of_which_nothing_is_known_does_not() -> None:
    assert not judge(report(part([])), None, 0.005).promote


@pytest.mark.parametrize(
    ("flips", "promote"),
    [
        ((900, 30, 10, 60), True),  # better
        ((900, 20, 20, 60), True),  # as good
        ((900, 10, 14, 76), True),  # worse by less than the margin
        ((900, 10, 30, 60), False),  # worse by 2 %
    ],
)
def test_a_candidate_passes_unless_it_is_worse_than_the_margin(
    flips: tuple[int, int, int, int], promote: bool
) -> None:
    ours, theirs = outcomes(*flips)
    assert judge(report(part(ours)), report(part(theirs)), 0.005).promote is promote


def test_a_certain_loss_on_one_set_is_not_paid_for_by_another() -> None:
    small = outcomes(100, 0, 60, 40)
    large = outcomes(4000, 900, 0, 100)
    candidate = report(part(large[0], "large"), part(small[0], "small"))
    champion = report(part(large[1], "large"), part(small[1], "small"))
    verdict = judge(candidate, champion, 0.005)
    assert not verdict.promote
    assert "small" in verdict.reason
    assert "large" not in verdict.reason


def test_a_loss_on_a_small_set_that_chance_explains_does_not_keep_a_better_model_out() -> None:
    small = outcomes(20, 1, 2, 7)
    large = outcomes(4000, 300, 100, 600)
    candidate = report(part(large[0], "large"), part(small[0], "small"))
    champion = report(part(large[1], "large"), part(small[1], "small"))
    assert judge(candidate, champion, 0.005).promote


def test_readings_of_different_images_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="different images"):
        compare(part([True], fingerprint="a"), part([True], fingerprint="b"))
