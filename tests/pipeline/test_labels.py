"""What can be learnt from, and the reason why a label can't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crnn.charset import ALNUM36
from crnn.ctc import min_frames
from crnn.networks import SMALL
from crnn.preprocess import PreprocessConfig
from pipeline.labels import LabelRejectedError, LabelRules

RULES = LabelRules(charset=ALNUM36, preprocess=PreprocessConfig(max_width=512, widening=0), network=SMALL)


@pytest.mark.parametrize(
    ("text", "width", "height", "reason"),
    [
        ("", 100, 32, "empty_label"),
        ("caffè", 100, 32, "outside_charset"),
        ("a b", 100, 32, "outside_charset"),
        ("123456789", 32, 32, "label_too_long"),
        ("11111", 32, 32, "label_too_long"),
        ("wide", 5120, 32, "too_wide"),
    ],
)
def test_a_label_that_can_not_be_learnt_is_refused_by_its_reason(
    text: str, width: int, height: int, reason: str
) -> None:
    with pytest.raises(LabelRejectedError) as caught:
        RULES.check(text, width, height)
    assert caught.value.reason == reason
    assert caught.value.detail


def test_characters_outside_the_charset_are_named() -> None:
    with pytest.raises(LabelRejectedError, match="è €"):
        RULES.check("caffè 3€".replace(" ", ""), 100, 32)


@given(st.text("abz019AZ", min_size=1, max_size=40), st.integers(4, 600), st.integers(4, 64))
def test_what_is_let_pass_fits_the_frames_of_its_canonical_width(text: str, width: int, height: int) -> None:
    try:
        target, canonical = RULES.check(text, width, height)
    except LabelRejectedError:
        return
    assert target == ALNUM36.encode(text)
    assert canonical >= RULES.preprocess.scaled_width(width, height)
    assert min_frames(target) <= SMALL.num_frames(canonical)
