from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from crnn.metrics import PROTOCOLS
from pipeline.evaluation import EvaluationReport, SetReport, score
from pipeline.protocols import FILTERS
from pipeline.readings import READING_SCHEMA
from pipeline.registry import ResolvedModel
from pipeline.report import (
    HEADERS,
    TRUST_HEADERS,
    character_rows,
    group_rows,
    metrics,
    notes,
    paper_rows,
    summary_rows,
    trust_rows,
)


def part(name: str) -> SetReport:
    rows: list[dict[str, Any]] = [
        {
            "text": "one",
            "prediction": "one",
            "confidence": 0.9,
            "lexicon_predictions": [("50", "one")],
            "lexicon_notes": [{"lexicon": "50", "reason": "duplicate", "entries": 2}],
        },
        {"text": "two", "prediction": "tvo", "confidence": 0.4, "lexicon_predictions": [("50", "two")]},
        {"text": "!!!", "prediction": "", "confidence": 0.4},
        {"text": "six", "reason": "truncated", "lexicon_predictions": [("50", "")]},
    ]
    default = {"source": "s", "width": 60, "height": 20, "seconds": 0.01}
    return score(
        name,
        "uri",
        pa.Table.from_pylist([default | row for row in rows], schema=READING_SCHEMA),
        fingerprint="f",
        protocol=PROTOCOLS["alnum36"],
        chosen=FILTERS["all"],
    )


def report(*names: str) -> EvaluationReport:
    return EvaluationReport(
        model=ResolvedModel(name="crnn", version="7", digest="d", directory=Path()),
        protocol=PROTOCOLS["alnum36"],
        filter=FILTERS["all"],
        sets=tuple(part(name) for name in names),
    )


def test_the_table_has_a_row_for_each_set_and_lexicon_and_one_for_all() -> None:
    rows = summary_rows(report("svt", "x"))
    assert [row[:2] for row in rows] == [
        ("svt", "none"),
        ("svt", "50"),
        ("x", "none"),
        ("x", "50"),
        ("all", "none"),
    ]
    assert all(len(row) == len(HEADERS) for row in rows)
    assert rows[0][2:4] == (3, 33.33)
    assert rows[1][2:4] == (3, 66.67)
    assert rows[-1][2] == 6
    assert (rows[0][-1], rows[-1][-1]) == (1, 2)


def test_what_was_left_out_stands_beside_the_table() -> None:
    said = "\n".join(notes(report("svt")))
    assert "1 empty_truth" in said
    assert "1 unreadable (truncated), counted as wrong" in said
    assert "svt, lexicons 50: entries: 2 left out (duplicate)." in said
    assert "Protocol alnum36" in said
    assert "the field's test sets" in said
    assert "the field's test sets" not in "\n".join(notes(report("mine")))


def test_how_far_confidences_can_be_trusted_stands_beside_the_table() -> None:
    (row,) = trust_rows(report("svt"))
    assert len(row) == len(set(TRUST_HEADERS))
    # Of the two that count and were read, the one of confidence 0.9 is right and that of 0.4 wrong.
    assert row[:2] == ("svt", pytest.approx((0.1 + 0.4) / 2))
    assert row[3:] == (50.0, 0.9, 50.0, 0.9)


def test_the_papers_rows_stand_beside_ours_where_they_have_the_set() -> None:
    headers, rows = paper_rows(report("SVT", "mine"))
    assert headers == ("word accuracy %", "SVT", "SVT 50")
    assert rows[1] == ("CRNN (TPAMI 2017)", 82.7, 97.5)
    assert rows[-1] == ("crnn 7", 33.3, 66.7)
    assert paper_rows(report("mine")) == ((), [])


def test_metrics_are_named_by_set() -> None:
    found = metrics(report("svt"))
    assert found["evaluation/svt/word_accuracy"] == pytest.approx(1 / 3)
    assert found["evaluation/svt/lexicon_50"] == pytest.approx(2 / 3)
    assert found["evaluation/svt/images"] == 3


def test_groups_and_characters_are_tables_too() -> None:
    assert group_rows(part("x"))["length"] == [("3", 3, 33.33, 44.44)]
    singles, confusions = character_rows(part("x"))
    assert ("w", 1, 0.0) in singles
    assert ("w", "v", 1) in confusions
