"""What the README shows of the table works as it stands there."""

import re
from pathlib import Path
from typing import Any

import pytest

from pipeline.nightly.table import TranscriptTable
from tests.pipeline.nightly.test_table import nothing, put, row

README = Path(__file__).resolve().parents[3] / "README.md"


def snippet(library: str) -> str:
    (found,) = re.findall(rf"```python\n(import {library}\n.*?)```", README.read_text(), re.DOTALL)
    return str(found)


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two nights, where the README says that the table is."""
    monkeypatch.chdir(tmp_path)
    table = TranscriptTable("out/transcripts")
    first = [row("x"), row("x.tar", member="a.png", text="a"), row("x.tar", member="b.png", text="b")]
    table.publish("a", [put(table, "a", *first)], epoch=1, publication=1, check=nothing)
    second = [row("x", 2, text="newer"), row("x.tar", 2, member="a.png", status="deleted", text=None)]
    table.publish("b", [put(table, "b", *second)], epoch=2, publication=2, check=nothing)


CURRENT = [("/in/x", "", "newer"), ("/in/x.tar", "a.png", None), ("/in/x.tar", "b.png", "b")]


def test_duckdb_gives_the_newest_row_of_each_image(table: None) -> None:
    names: dict[str, Any] = {}
    code = snippet("duckdb") + "found = current.fetchall()\n"
    exec(code, names)  # its names are found where it runs, as in a person's own file
    assert sorted(values[:3] for values in names["found"]) == CURRENT


def test_polars_gives_the_same(table: None) -> None:
    pytest.importorskip("polars", reason="needs polars, which nothing else here does")
    names: dict[str, Any] = {}
    exec(snippet("polars"), names)
    assert sorted(names["current"].select("uri", "member", "text").rows()) == CURRENT
