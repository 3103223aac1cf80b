import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nightly.drift import WARN, drift, psi, verdict

COUNTS = st.dictionaries(st.sampled_from("abcdef"), st.integers(0, 10_000), min_size=1)


@given(COUNTS, COUNTS)
def test_drift_is_symmetric_and_never_negative(before: dict[str, int], now: dict[str, int]) -> None:
    assert psi(before, now) == pytest.approx(psi(now, before))
    assert psi(before, now) >= -1e-12


@given(COUNTS, st.integers(2, 9))
def test_more_of_the_same_is_no_drift_to_speak_of(counts: dict[str, int], times: int) -> None:
    many = {kind: 1_000 * count for kind, count in counts.items()}
    assert psi(many, {kind: times * count for kind, count in many.items()}) < 0.01


def test_the_index_is_the_textbooks() -> None:
    before, now = {"a": 500_000, "b": 500_000}, {"a": 800_000, "b": 200_000}
    wanted = (0.8 - 0.5) * math.log(0.8 / 0.5) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert psi(before, now) == pytest.approx(wanted, rel=1e-4)
    assert verdict(wanted) == "alarm"
    assert (verdict(0.0), verdict(0.1)) == ("ok", "warn")


def test_nothing_to_compare_with_is_no_drift() -> None:
    assert psi({}, {"a": 3}) == psi({"a": 3}, {}) == psi({}, {}) == 0


def test_a_difference_that_chance_makes_is_not_told() -> None:
    """Of samples of one distribution; what is told then stays below what is worth a look."""
    generator = random.Random(7)

    def sample(size: int) -> Counter[str]:
        return Counter(f"{generator.randrange(20)}" for _ in range(size))

    for size in (1, 10, 100, 400, 800, 1_600, 6_400):
        told = [drift(sample(20_000), sample(size)) for _ in range(40)]
        assert all((value is None) == (size <= 100) for value in told)
        assert all(value < WARN for value in told if value is not None)
    assert drift({}, {"a": 5}) is drift({"a": 5}, {}) is None
