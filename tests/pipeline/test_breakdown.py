from typing import Any

import pyarrow as pa
import pytest

from crnn.metrics import Counts
from pipeline.breakdown import (
    NOTHING,
    PLAIN,
    by_contrast,
    by_effect,
    by_length,
    by_source,
    by_text_height,
    by_width,
    characters,
    trust,
)
from pipeline.synthesis.effects import BIT


def counted(pairs: list[tuple[str, str]], **columns: list[Any]) -> pa.Table:
    default = {
        "truth": [truth for truth, _ in pairs],
        "read": [read for _, read in pairs],
        "source": ["s"] * len(pairs),
        "width": [40] * len(pairs),
        "height": [20] * len(pairs),
        "confidence": [0.5] * len(pairs),
        "effects": [None] * len(pairs),
        "text_height": [None] * len(pairs),
        "contrast": [None] * len(pairs),
    }
    return pa.table(default | columns)


PAIRS = [("a", "a"), ("ab", "ac"), ("abc", "abc"), ("x" * 30, "x" * 29)]


@pytest.mark.parametrize("group", [by_length, by_source, by_width])
def test_the_groups_of_each_kind_add_up_to_all(group) -> None:
    table = counted(PAIRS, source=["p", "q", "p", "p"], width=[10, 40, 90, 400])
    assert sum(group(table).values(), Counts()) == Counts.over(PAIRS)


def test_groups_come_in_their_order() -> None:
    table = counted(PAIRS, source=["p", "q", "p", "p"], width=[10, 40, 90, 400])
    assert list(by_length(table)) == ["1", "2", "3", "16 and more"]
    assert list(by_source(table)) == ["p", "q"]
    assert list(by_width(table)) == ["under 1", "2 to 3", "3 to 5", "over 8"]
    assert by_source(table)["q"].correct == 0


def test_drawn_words_are_told_by_what_was_done_to_them_and_photographs_are_not() -> None:
    blurred, both = BIT["blur"], BIT["blur"] | BIT["curve"]
    table = counted(
        PAIRS,
        effects=[0, both, blurred, None],
        text_height=[11.9, 12.0, 30.0, None],
        contrast=[20.0, 200.0, 119.0, None],
    )
    assert list(by_effect(table).items()) == [
        ("curve", Counts.over(PAIRS[1:2])),
        ("blur", Counts.over(PAIRS[1:3])),
        (PLAIN, Counts.over(PAIRS[:1])),
    ]
    heights, contrasts = by_text_height(table), by_contrast(table)
    assert [(name, c.words) for name, c in heights.items()] == [
        ("under 12", 1),
        ("12 to 16", 1),
        ("over 24", 1),
    ]
    assert list(contrasts) == ["under 30", "80 to 120", "over 120"]
    photographs = counted(PAIRS)
    assert not any(group(photographs) for group in (by_effect, by_text_height, by_contrast))


def test_characters_and_their_confusions_by_hand() -> None:
    found = characters(counted([("oil", "0il"), ("oil", "oi"), ("oil", "oill"), ("oil", "oil")]))
    assert found.seen == {"o": 4, "i": 4, "l": 4}
    assert found.right == {"o": 3, "i": 4, "l": 3}
    assert found.confusions == {("o", "0"): 1, ("l", NOTHING): 1, (NOTHING, "l"): 1}


def test_trust_leaves_out_what_could_not_be_read() -> None:
    table = counted([("a", "a"), ("b", "x"), ("c", "")], confidence=[0.9, 0.2, None])
    found = trust(table)
    assert found.calibration_error == pytest.approx((0.1 + 0.2) / 2)
    assert found.coverage[0.99] == (0.5, 0.9)
