"""Figures as a table, as JSON and by MLflow's names."""

import json

import pytest

from jobs.cli import table
from pipeline.benchmark.measure import Row, Setting
from pipeline.benchmark.record import HEADERS, as_json, machine, metric_name, table_rows

ROW = Row(
    stage="decode",
    name="50,000-word lexicon, exact",
    value=123456.78,
    low=0.123456,
    high=130000.0,
    unit="words/s",
    ceiling=1_000_000.0,
    bound="memory",
)


def test_figures_are_shown_with_four_digits_beside_their_ceiling() -> None:
    (shown,) = table_rows([ROW])
    assert dict(zip(HEADERS, shown, strict=True)) == {
        "stage": "decode",
        "what": "50,000-word lexicon, exact",
        "median": 123500,
        "slowest": 0.1235,
        "fastest": 130000,
        "unit": "words/s",
        "ceiling": 1000000,
        "of it %": 12.3,
        "the ceiling is": "memory",
    }
    assert "123,500" in table(HEADERS, [shown])


def test_json_holds_every_figure_unrounded_with_its_ratio_and_the_machine() -> None:
    record = json.loads(as_json([ROW], Setting(), {"step": "no memory"}))
    assert record["rows"][0]["value"] == 123456.78
    assert record["rows"][0]["ratio"] == pytest.approx(0.12345678)
    assert record["failures"] == {"step": "no memory"}
    assert record["machine"] == machine("cpu")
    assert record["provenance"]["versions"]["torch"]


def test_names_are_such_as_mlflow_takes() -> None:
    assert metric_name(ROW) == "benchmark/decode/50_000-word_lexicon_exact"
