from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crnn.calibration import (
    Calibration,
    CalibrationError,
    coverage_at,
    error_by_chance,
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from crnn.decode import Hypothesis

TRUE = Calibration(bias=0.5, likelihood=-0.9, curvature=-0.05, length=0.4)


def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    log_probs = -np.exp(generator.normal(-1, 2, count))
    lengths = generator.integers(0, 15, count)
    chances = [TRUE.confidence(p, n) for p, n in zip(log_probs, lengths, strict=True)]
    return log_probs, lengths, generator.random(count) < chances


def test_fitting_finds_the_parameters_that_made_the_data() -> None:
    found = Calibration.fit(*draw(60_000, 0))
    assert found.bias == pytest.approx(TRUE.bias, abs=0.1)
    assert found.likelihood == pytest.approx(TRUE.likelihood, abs=0.05)
    assert found.curvature == pytest.approx(TRUE.curvature, abs=0.02)
    assert found.length == pytest.approx(TRUE.length, abs=0.06)


def test_calibrated_confidences_hold_on_other_words() -> None:
    fitted = Calibration.fit(*draw(2000, 1))
    log_probs, lengths, right = draw(4000, 2)
    raw = np.exp(log_probs)
    mended = [fitted.confidence(p, n) for p, n in zip(log_probs, lengths, strict=True)]
    assert expected_calibration_error(mended, right) <= 0.03
    assert expected_calibration_error(mended, right) < expected_calibration_error(raw, right)


@settings(deadline=None)
@given(st.floats(-1e4, 0), st.integers(0, 500))
def test_confidences_are_probabilities_whatever_comes(log_prob: float, characters: int) -> None:
    assert 0 <= TRUE.confidence(log_prob, characters) <= 1


@given(
    st.floats(-2, 2),
    st.floats(-1, 1),
    st.lists(st.floats(-1e4, 0), min_size=2, max_size=20),
    st.integers(0, 30),
)
def test_a_likelier_text_is_never_less_sure(
    likelihood: float, curvature: float, log_probs: list[float], characters: int
) -> None:
    curve = Calibration(bias=0.5, likelihood=likelihood, curvature=curvature, length=0.1)
    found = [curve.confidence(p, characters) for p in sorted(log_probs)]
    assert all(less <= more + 1e-9 for less, more in pairwise(found))


def test_the_surest_texts_keep_their_order() -> None:
    found = [TRUE.confidence(-p, 5) for p in (1e-2, 1e-3, 1e-4, 1e-5)]
    assert all(more > less + 1e-5 for less, more in pairwise(found))


@pytest.mark.parametrize("right", [True, False])
def test_words_that_are_all_right_or_all_wrong_can_be_fitted(right: bool) -> None:
    log_probs, lengths, _ = draw(200, 3)
    fitted = Calibration.fit(log_probs, lengths, [right] * 200)
    found = [fitted.confidence(p, n) for p, n in zip(log_probs, lengths, strict=True)]
    assert np.mean(found) == pytest.approx(float(right), abs=0.02)


def test_too_few_words_are_refused() -> None:
    with pytest.raises(CalibrationError, match="at least 100"):
        Calibration.fit([-1.0] * 9, [3] * 9, [True] * 9)


def test_texts_stay_as_they_are_and_only_confidences_change() -> None:
    (found,) = TRUE.apply([Hypothesis("word", -0.25, 0.9, spans=((0, 1),))])
    assert found == Hypothesis("word", -0.25, TRUE.confidence(-0.25, 4), spans=((0, 1),))


def test_a_bundle_keeps_it_exactly_and_an_empty_one_means_none() -> None:
    assert Calibration.from_dict(TRUE.to_dict()) == TRUE
    assert Calibration.from_dict({}) is None
    with pytest.raises(CalibrationError, match="temperature"):
        Calibration.from_dict({"temperature": 2.0})


def test_calibration_error_by_hand() -> None:
    confidences, right = [0.95, 0.95, 0.15, 0.15], [True, False, False, False]
    assert expected_calibration_error(confidences, right, bins=10) == pytest.approx((0.45 + 0.15) / 2)
    assert [(b.words, b.accuracy) for b in reliability(confidences, right, bins=10)] == [(2, 0.0), (2, 0.5)]
    assert expected_calibration_error([], []) == 0.0


def test_few_words_show_an_error_by_chance_and_many_do_not() -> None:
    generator = np.random.default_rng(0)
    few, many = error_by_chance(generator.random(100)), error_by_chance(generator.random(20_000))
    assert few > 0.05
    assert many < 0.015


def test_risk_and_coverage_by_hand() -> None:
    thresholds, coverage, risk = risk_coverage([0.9, 0.8, 0.8, 0.1], [True, True, False, False])
    assert thresholds.tolist() == [0.9, 0.8, 0.1]
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.0, 1 / 3, 0.5])
    assert coverage_at([0.9, 0.8, 0.8, 0.1], [True, True, False, False], 0.99) == (0.25, 0.9)
    assert coverage_at([0.9], [False], 0.99) == (0.0, 1.0)
    assert coverage_at([], [], 0.99) == (0.0, 1.0)


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.7, 0.9]), st.booleans()), min_size=1, max_size=40))
def test_coverage_keeps_its_promise_of_precision(words: list[tuple[float, bool]]) -> None:
    confidences, right = zip(*words, strict=True)
    coverage, threshold = coverage_at(confidences, right, 0.8)
    accepted = [r for c, r in words if c >= threshold] if coverage else []
    assert coverage == pytest.approx(len(accepted) / len(words))
    if accepted:
        assert sum(accepted) / len(accepted) >= 0.8
