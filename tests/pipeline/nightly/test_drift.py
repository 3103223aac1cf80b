import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.nightly.drift import psi, verdict

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
