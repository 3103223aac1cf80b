"""The morning page's charts: what a bar's height says, and that no label can break out of the picture."""

import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest

from pipeline.nightly.charts import HEIGHT, Bar, bar_chart, kinds_of

HOSTILE = "<script>alert('1')</script>&\""


def bars_of(chart: str) -> list[ElementTree.Element]:
    return list(ElementTree.fromstring(chart).iter("rect"))


def test_heights_are_shares_of_the_most_marks_included() -> None:
    chart = bar_chart(
        "rates", [Bar(kind="a", value=2, told="two", marks=(8, None)), Bar(kind="b", value=4, told="four")]
    )
    assert [float(bar.attrib["height"]) for bar in bars_of(chart)] == [HEIGHT / 4, HEIGHT / 2]
    assert [bar.findtext("title") for bar in bars_of(chart)] == ["two", "four"]
    assert len(list(ElementTree.fromstring(chart).iter("path"))) == 1


@pytest.mark.parametrize("values", [[], [0.0], [0.0, 0.0]])
def test_nothing_to_show_is_a_chart_of_no_height(values: list[float]) -> None:
    chart = bar_chart("empty", [Bar(kind="k", value=value, told="none") for value in values])
    assert [float(bar.attrib["height"]) for bar in bars_of(chart)] == [0.0] * len(values)


def test_names_kinds_and_what_is_told_are_text_and_nothing_else() -> None:
    chart = ElementTree.fromstring(bar_chart(HOSTILE, [Bar(kind=HOSTILE, value=1, told=HOSTILE)]))
    assert chart.attrib["aria-label"] == chart.findtext("text") == chart.findtext("rect/title") == HOSTILE
    assert not list(chart.iter("script"))


def test_long_labels_leave_each_other_room() -> None:
    chart = bar_chart("times", [Bar(kind="12:34:56", value=1, told="") for _ in range(40)])
    places = [float(text.attrib["x"]) for text in ElementTree.fromstring(chart).iter("text")]
    assert len(places) > 1
    assert min(b - a for a, b in pairwise(places)) >= 8 * 7


def test_a_scale_has_no_gaps_and_other_kinds_come_by_their_number() -> None:
    assert kinds_of("length", {"02": 1, "05": 3, "09": 0}) == ["00", "01", "02", "03", "04", "05"]
    assert kinds_of("length", {"21+": 1})[-2:] == ["20", "21+"]
    assert kinds_of("length", {}) == ["00"]
    assert all(re.fullmatch(r"0\.\d\d", kind) for kind in kinds_of("confidence", {}))
    assert kinds_of("characters", {"b": 2, "a": 2, "c": 9}) == ["c", "a", "b"]
    assert len(kinds_of("characters", {chr(n): 1 for n in range(200)})) == 40
