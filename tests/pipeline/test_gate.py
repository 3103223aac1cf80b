from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from crnn.metrics import PROTOCOLS, Counts
from pipeline.errors import ConfigError
from pipeline.evaluation import EvaluationReport, SetReport
from pipeline.gate import Comparison, compare, judge
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


@pytest.mark.parametrize(
    ("gained", "lost", "chance"), [(0, 3, 1 / 8), (1, 4, 6 / 32), (0, 0, 1.0), (2, 0, 1.0)]
)
def test_without_a_margin_the_test_is_mcnemars(gained: int, lost: int, chance: float) -> None:
    ours, theirs = outcomes(10, gained, lost, 5)
    assert compare(part(ours), part(theirs)).chance(0.0) == pytest.approx(chance)


def test_chance_alone_keeps_a_candidate_out_no_oftener_than_said() -> None:
    generator = np.random.default_rng(1)
    margin, kept_out = 0.01, 0
    for _ in range(1000):  # the true loss is the margin: 4 % gained, 5 % lost
        gained, lost, _ = generator.multinomial(1500, [0.04, 0.05, 0.91])
        comparison = Comparison(name="x", images=1500, gained=int(gained), lost=int(lost))
        kept_out += comparison.chance(margin) <= 0.05
    assert 20 <= kept_out <= 65


def test_three_losses_of_twenty_keep_nobody_out_beside_a_better_set() -> None:
    small, large = outcomes(17, 0, 3, 0), outcomes(4000, 300, 100, 600)
    candidate = report(part(large[0], "large"), part(small[0], "small"))
    champion = report(part(large[1], "large"), part(small[1], "small"))
    assert judge(candidate, champion, 0.0).promote


def test_one_bad_draw_among_many_sets_is_expected() -> None:
    unlucky = outcomes(80, 2, 9, 9)
    alone = judge(report(part(unlucky[0])), report(part(unlucky[1])), 0.0)
    assert "beyond chance" in alone.reason
    names = [f"set {i}" for i in range(20)]
    others = [[part(side, name) for name in names] for side in outcomes(900, 30, 20, 50)]
    among = judge(report(*others[0], part(unlucky[0])), report(*others[1], part(unlucky[1])), 0.0)
    assert among.promote


def test_readings_of_different_images_are_not_compared() -> None:
    with pytest.raises(ConfigError, match="different images"):
        compare(part([True], fingerprint="a"), part([True], fingerprint="b"))
