from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError, ObjectNotFoundError
from pipeline.schema import SAMPLE_SCHEMA, conform
from pipeline.shards import read_shard, write_shard
from pipeline.storage import parquet_bytes


def samples(rows: int) -> pa.Table:
    return pa.table(
        {
            "id": [f"s{i}" for i in range(rows)],
            "image": [bytes([i % 256]) * 50 for i in range(rows)],
            "text": [f"word{i}" for i in range(rows)],
            "width": [30] * rows,
            "height": [32] * rows,
            "source": ["test"] * rows,
            "lexicon": [["a", "b"] if i % 2 else None for i in range(rows)],
        }
    )


@pytest.mark.parametrize("place", ["local", "s3"])
def test_what_is_written_is_read_back(request: pytest.FixtureRequest, tmp_path: Path, place: str) -> None:
    uri = str(tmp_path) if place == "local" else request.getfixturevalue("s3_bucket")
    table = samples(5)
    info = write_shard(uri, 7, table)
    assert (info.name, info.rows) == ("shards/000007.parquet", 5)
    assert read_shard(uri, info).equals(conform(table, SAMPLE_SCHEMA))
    assert read_shard(uri, info, columns=["text", "id"]).column_names == ["text", "id"]


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    infos = [write_shard(str(tmp_path / name), 0, samples(100)) for name in ("a", "b")]
    assert infos[0] == infos[1]


def test_the_layout_serves_readers_of_one_column(tmp_path: Path) -> None:
    write_shard(str(tmp_path), 0, samples(5_000))
    metadata = pq.read_metadata(tmp_path / "shards/000000.parquet")
    assert [metadata.row_group(g).num_rows for g in range(metadata.num_row_groups)] == [2_048, 2_048, 904]
    columns = [metadata.row_group(0).column(c) for c in range(metadata.num_columns)]
    encodings = {column.path_in_schema: column.encodings for column in columns}
    assert not any("DICTIONARY" in e for name in ("image", "text") for e in encodings[name])
    assert any("DICTIONARY" in e for e in encodings["source"])
    assert {column.compression for column in columns} == {"ZSTD"}


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1, exclude_max=True), flip=st.integers(1, 255))
def test_one_flipped_byte_anywhere_is_noticed_and_the_shard_named(
    tmp_path: Path, place: float, flip: int
) -> None:
    info = write_shard(str(tmp_path), 3, samples(20))
    path = tmp_path / info.name
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= flip
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"000003\.parquet"):
        read_shard(str(tmp_path), info, columns=["text"])


@pytest.mark.parametrize("verify", [True, False])
def test_a_truncated_shard_is_noticed(tmp_path: Path, verify: bool) -> None:
    info = write_shard(str(tmp_path), 0, samples(20))
    path = tmp_path / info.name
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(DataError, match=r"000000\.parquet"):
        read_shard(str(tmp_path), info, verify=verify)


def test_without_verification_damage_to_the_structure_is_still_named(tmp_path: Path) -> None:
    info = write_shard(str(tmp_path), 0, samples(20))
    path = tmp_path / info.name
    path.write_bytes(b"X" * info.bytes)
    with pytest.raises(DataError, match=r"000000\.parquet"):
        read_shard(str(tmp_path), info, verify=False)


def test_parquet_of_another_schema_is_refused(tmp_path: Path) -> None:
    info = write_shard(str(tmp_path), 0, samples(3))
    data = parquet_bytes(pa.table({"id": ["x"]}))
    (tmp_path / info.name).write_bytes(data)
    with pytest.raises(DataError, match="none version none"):
        read_shard(str(tmp_path), replace(info, bytes=len(data)), verify=False)


def test_a_manifest_that_counts_other_rows_is_refused(tmp_path: Path) -> None:
    info = write_shard(str(tmp_path), 0, samples(3))
    with pytest.raises(DataError, match="3 rows"):
        read_shard(str(tmp_path), replace(info, rows=4))


def test_a_missing_shard_is_named(tmp_path: Path) -> None:
    info = write_shard(str(tmp_path), 0, samples(3))
    (tmp_path / info.name).unlink()
    with pytest.raises(ObjectNotFoundError, match=r"000000\.parquet"):
        read_shard(str(tmp_path), info)


def test_a_table_that_does_not_conform_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="image"):
        write_shard(str(tmp_path), 0, samples(3).drop_columns("image"))
    assert not any(tmp_path.iterdir())
