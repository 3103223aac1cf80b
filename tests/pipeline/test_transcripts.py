from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from crnn.decode import Hypothesis
from crnn.preprocess import PreprocessConfig, line_views
from pipeline.errors import DataError
from pipeline.lines import LINE_SCHEMA
from pipeline.listing import Listing, ListingFacts, freeze
from pipeline.registry import ResolvedModel
from pipeline.schema import LISTING_SCHEMA, TRANSCRIPT_SCHEMA
from pipeline.transcripts import (
    Tally,
    commit,
    done_uri,
    finished_shards,
    line_images,
    output_id,
    read_done,
    transcripts,
)

MODEL = ResolvedModel(name="m", version="3", digest="d" * 16, directory=Path("/nowhere"))
NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


def lines() -> pa.Table:
    rows = [
        {
            "input_id": f"{i}",
            "uri": f"/in/{i}",
            "member": "",
            "key": f"{i}",
            "etag": "e",
            "size": 9,
            "modified": NOW,
            "earlier_rows": 0,
            "gone": False,
            "width": None if i == 1 else 40,
            "height": None if i == 1 else 20,
            "pixels": None if i == 1 else bytes([i]) * 32 * 64,
            "status": "quarantined" if i == 1 else None,
            "reason": "empty" if i == 1 else None,
            "detail": "0 bytes" if i == 1 else None,
        }
        for i in range(3)
    ]
    return pa.Table.from_pylist(rows, schema=LINE_SCHEMA)


@pytest.fixture
def listing(tmp_path: Path) -> Listing:
    facts = ListingFacts(seen=3, named=3, gone=0, repeated=0, publication=1)
    return freeze(str(tmp_path / "runs/r"), [lines().select(LISTING_SCHEMA.names)], facts, 3)


def made() -> pa.Table:
    zero = Hypothesis("zero", -0.5, 0.75, alternatives=(Hypothesis("hero", -2.0, 0.125),))
    readings = [zero, Hypothesis("", -1.5, 0.25)]
    return transcripts(
        lines(), readings, shadow={"2": "two"}, model=MODEL, publication=7, least_confidence=0.5, now=NOW
    )


def test_texts_go_to_the_lines_that_have_pixels_and_reasons_to_the_others() -> None:
    table = made()
    assert table.schema.equals(TRANSCRIPT_SCHEMA)
    assert table["text"].to_pylist() == ["zero", None, ""]
    other = {"text": "hero", "log_prob": -2.0, "confidence": 0.125}
    assert table["alternatives"].to_pylist() == [[other], None, None]
    assert table["shadow_text"].to_pylist() == [None, None, "two"]
    assert table["status"].to_pylist() == ["ok", "quarantined", "low_confidence"]
    assert table["reason"].to_pylist() == [None, "empty", None]
    assert set(table["model_version"].to_pylist()) == {"3"}
    assert set(table["publication"].to_pylist()) == {7}
    assert table["recognised_at"][0].as_py() == NOW


def test_an_id_names_a_models_reading_of_a_version() -> None:
    ids = {
        output_id("i", "d", 0, gone=False),
        output_id("j", "d", 0, gone=False),
        output_id("i", "e", 0, gone=False),
        output_id("i", "d", 1, gone=False),
        output_id("i", "d", 0, gone=True),
    }
    assert len(ids) == 5
    assert len(set(made()["id"].to_pylist())) == 3


def test_pixels_come_back_as_images_of_the_recognisers_height() -> None:
    geometry = PreprocessConfig()
    images = line_images(lines(), geometry)
    assert [image.shape for image in images] == [(32, 64)] * 2
    assert np.all(images[1] == 2)
    views = line_views(np.arange(60, dtype=np.uint8).reshape(12, 5), geometry)
    tall = lines().to_pylist()[:1]
    tall[0] |= {"width": 5, "height": 12, "pixels": views.tobytes()}
    (image,) = line_images(pa.Table.from_pylist(tall, schema=LINE_SCHEMA), geometry)
    assert np.array_equal(image, views)


def test_the_first_commit_of_a_shard_counts_whoever_else_wrote_one(tmp_path: Path, listing: Listing) -> None:
    run, table = str(tmp_path / "runs/r"), str(tmp_path / "table")
    first = commit(table, run, 0, made(), listing)
    assert commit(table, run, 0, made(), listing) == first == read_done(run, 0)
    assert list(finished_shards(run)) == [0]
    assert len(list((tmp_path / "table/run=r").iterdir())) == 2  # the second's is an orphan
    assert pq.read_table(tmp_path / "table" / first.file.path, partitioning=None).equals(made())
    assert first.tally == Tally.of(made())


def test_tallies_add_up_and_travel_in_records() -> None:
    one = Tally(rows=2, outcomes=Counter({("ok", ""): 2}), confidence=1.0, figures={"a": 1.5, "b": 1.0})
    two = Tally(
        rows=2,
        outcomes=Counter({("quarantined", "empty"): 1, ("deleted", "deleted"): 1}),
        figures={"a": 1.0},
    )
    both = Tally.from_json((one + two).as_json())
    assert both == one + two
    assert (both.rows, both.mean_confidence) == (4, 0.5)
    assert both.figures == {"a": 2.5, "b": 1.0}
    assert both.quarantined_share == pytest.approx(1 / 3)
    assert (Tally().mean_confidence, Tally().quarantined_share) == (None, 0)


def spoil(table: pa.Table, name: str, values: list[object]) -> pa.Table:
    place = table.column_names.index(name)
    return table.set_column(place, table.schema.field(name), pa.array(values, table.schema.field(name).type))


@pytest.mark.parametrize(
    "table",
    [
        made().slice(1),
        pa.concat_tables([made(), made()]),
        made().take([1, 0, 2]),
        spoil(made(), "etag", ["e", "f", "e"]),
        spoil(made(), "text", ["zero", None, None]),
        spoil(made(), "reason", [None, None, None]),
    ],
)
def test_what_is_not_one_row_an_object_is_never_written(
    tmp_path: Path, listing: Listing, table: pa.Table
) -> None:
    with pytest.raises(DataError, match="isn't one row for each object"):
        commit(str(tmp_path / "table"), str(tmp_path / "runs/r"), 0, table, listing)
    assert not (tmp_path / "table").exists()


@pytest.mark.parametrize("data", [b"{", b"{}", b'{"file": {"path": "x"}, "sha256": "", "tally": []}'])
def test_a_damaged_commit_is_refused(tmp_path: Path, listing: Listing, data: bytes) -> None:
    run = str(tmp_path / "runs/r")
    done = commit(str(tmp_path / "table"), run, 0, made(), listing)
    assert replace(done, sha256="") != done
    Path(done_uri(run, 0)).write_bytes(data)
    with pytest.raises(DataError, match="damaged"):
        read_done(run, 0)
