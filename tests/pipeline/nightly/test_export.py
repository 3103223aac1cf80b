import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pytest

from pipeline.errors import ConfigError
from pipeline.nightly.export import export_rows
from pipeline.nightly.table import TABLE_SCHEMA, TranscriptTable
from pipeline.storage import read_bytes
from tests.pipeline.nightly.test_table import nothing, put, row

ODD = 'comma, "quote"\nline'
OTHERS = [
    {"text": ODD, "log_prob": -2.5, "confidence": 0.25},
    {"text": "", "log_prob": -9.0, "confidence": 0.0},
]


@pytest.fixture(params=["disk", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path) if request.param == "disk" else str(request.getfixturevalue("s3_bucket"))


@pytest.fixture
def table(place: str) -> TranscriptTable:
    """Two nights, the second of which overwrites one object of the first."""
    table = TranscriptTable(f"{place}/out")
    bad = {"status": "quarantined", "reason": "empty", "text": None, "log_prob": None, "confidence": None}
    first = [row("x"), row("y", text=ODD, alternatives=OTHERS), row("bad", **bad), row("blank", text="")]
    table.publish("a", [put(table, "a", *first)], epoch=1, publication=1, check=nothing)
    second = [row("x", 2, text="newer"), row("z", 2)]
    table.publish("b", [put(table, "b", *second)], epoch=2, publication=2, check=nothing)
    return table


def texts(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {each["key"]: each["text"] for each in rows}


CURRENT = {"bad": None, "blank": "", "x": "newer", "y": ODD, "z": "z"}


@pytest.mark.parametrize("suffix", [".jsonl", ".jsonl.gz"])
def test_the_newest_rows_come_out_as_json_lines(table: TranscriptTable, place: str, suffix: str) -> None:
    assert export_rows(table, f"{place}/rows{suffix}") == 5
    data = read_bytes(f"{place}/rows{suffix}")
    lines = (gzip.decompress(data) if suffix.endswith("gz") else data).decode().splitlines()
    rows = [json.loads(line) for line in lines]
    assert texts(rows) == CURRENT
    assert [each["uri"] for each in rows] == sorted(each["uri"] for each in rows)
    assert all(list(each) == TABLE_SCHEMA.names for each in rows)
    assert [each["alternatives"] for each in rows if each["key"] == "y"] == [OTHERS]
    assert {each["recognised_at"] for each in rows} == {"2030-01-01 00:00:00+00"}


def test_the_rows_of_one_run_come_out_as_csv(table: TranscriptTable, place: str) -> None:
    assert export_rows(table, f"{place}/rows.csv", run="a") == 4
    found = list(csv.DictReader(io.StringIO(read_bytes(f"{place}/rows.csv").decode(), newline="")))
    assert list(found[0]) == TABLE_SCHEMA.names
    assert texts(found) == {"bad": "", "blank": "", "x": "x", "y": ODD}
    assert [json.loads(each["alternatives"]) for each in found if each["alternatives"]] == [OTHERS]


def test_a_table_that_does_not_exist_yet_has_no_rows(tmp_path: Path) -> None:
    assert export_rows(TranscriptTable(str(tmp_path)), str(tmp_path / "rows.jsonl")) == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == b""


def test_an_unknown_format_is_refused(table: TranscriptTable, place: str) -> None:
    with pytest.raises(ConfigError, match=r"\.jsonl, \.jsonl\.gz, \.csv, \.csv\.gz"):
        export_rows(table, f"{place}/rows.xlsx")
