from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crnn.decode import Hypothesis
from pipeline.errors import DataError
from pipeline.lines import LINE_SCHEMA
from pipeline.registry import ResolvedModel
from pipeline.schema import LISTING_SCHEMA, TRANSCRIPT_SCHEMA
from pipeline.transcripts import Tally, audit, commit, finished_shards, line_images, part_uri, transcripts

MODEL = ResolvedModel(name="m", version="3", digest="d" * 16, directory=Path("/nowhere"))
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def lines() -> pa.Table:
    rows = [
        {
            "id": f"{i}",
            "uri": f"/in/{i}",
            "key": f"{i}",
            "etag": "e",
            "size": 9,
            "modified": NOW,
            "width": None if i == 1 else 40,
            "height": None if i == 1 else 20,
            "pixels": None if i == 1 else bytes([i]) * 32 * 64,
            "reason": "empty" if i == 1 else None,
            "detail": "0 bytes" if i == 1 else None,
        }
        for i in range(3)
    ]
    return pa.Table.from_pylist(rows, schema=LINE_SCHEMA)


def objects() -> pa.Table:
    return lines().select(LISTING_SCHEMA.names)


def made() -> pa.Table:
    readings = [Hypothesis("zero", -0.5, 0.75), Hypothesis("", -1.5, 0.25)]
    return transcripts(lines(), readings, model=MODEL, run="r", now=NOW)


def test_texts_go_to_the_lines_that_have_pixels_and_reasons_to_the_others() -> None:
    table = made()
    assert table.schema.equals(TRANSCRIPT_SCHEMA)
    assert table["text"].to_pylist() == ["zero", None, ""]
    assert table["status"].to_pylist() == ["ok", "rejected", "ok"]
    assert table["reason"].to_pylist() == [None, "empty", None]
    assert set(table["model_version"].to_pylist()) == {"3"}
    assert table["recognised_at"][0].as_py() == NOW


def test_pixels_come_back_as_images_of_the_recognisers_height() -> None:
    images = line_images(lines(), 32)
    assert [image.shape for image in images] == [(32, 64)] * 2
    assert np.all(images[1] == 2)


def test_the_first_commit_stays(tmp_path: Path) -> None:
    uri = str(tmp_path / "run")
    assert commit(uri, 7, made())
    assert not commit(uri, 7, made().slice(1))
    assert list(finished_shards(uri)) == [7]
    assert audit(uri, 7, objects()) == Tally(
        rows=3, outcomes=Counter({("ok", ""): 2, ("rejected", "empty"): 1}), confidence=1.0
    )


def test_a_folder_of_parts_reads_as_one_table(tmp_path: Path) -> None:
    for shard in range(3):
        commit(str(tmp_path / "run"), shard, made())
    assert pq.read_table(tmp_path / "run").num_rows == 9


def test_tallies_add_up_and_travel_as_text() -> None:
    one = Tally(rows=2, outcomes=Counter({("ok", ""): 2}), confidence=1.0)
    two = Tally(rows=1, outcomes=Counter({("rejected", "empty"): 1}))
    both = Tally.from_json((one + two).as_json())
    assert both == one + two
    assert (both.rows, both.read, both.mean_confidence) == (3, 2, 0.5)
    assert Tally().mean_confidence is None


def spoil(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (made().slice(1), "one row for each"),
        (pa.concat_tables([made(), made()]), "one row for each"),
        (made().take([1, 0, 2]), "one row for each"),
        (spoil(made(), "etag", ["e", "f", "e"]), "one row for each"),
        (spoil(made(), "text", ["zero", None, None]), "neither a text nor a reason"),
        (spoil(made(), "reason", [None, None, None]), "neither a text nor a reason"),
        (objects(), "holds none"),
    ],
)
def test_transcripts_that_are_not_one_row_an_object_are_noticed(
    tmp_path: Path, table: pa.Table, told: str
) -> None:
    commit(str(tmp_path), 0, table)
    with pytest.raises(DataError, match=rf"000000\.parquet.*{told}"):
        audit(str(tmp_path), 0, objects())


def test_a_damaged_part_is_noticed(tmp_path: Path) -> None:
    Path(part_uri(str(tmp_path), 0)).write_bytes(b"PAR1 and so on PAR1")
    with pytest.raises(DataError, match="damaged"):
        audit(str(tmp_path), 0, objects())
