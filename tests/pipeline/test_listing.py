import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import DataError
from pipeline.listing import Listing, ListingFacts, freeze, input_id, is_frozen, read_listing
from pipeline.schema import LISTING_SCHEMA

FACTS = ListingFacts(seen=40, named=30, gone=0, repeated=0, publication=7)
NOW = datetime(2030, 1, 2, tzinfo=UTC)


def owed(count: int, first: int = 0) -> pa.Table:
    rows = [
        {
            "input_id": input_id(f"/in/{i:04d}", "e", i),
            "uri": f"/in/{i:04d}",
            "member": "",
            "key": f"{i:04d}",
            "etag": "e",
            "size": i,
            "modified": NOW,
            "earlier_rows": 0,
            "gone": False,
        }
        for i in range(first, first + count)
    ]
    return pa.Table.from_pylist(rows, schema=LISTING_SCHEMA)


def keys(listing: Listing) -> list[str]:
    shards = [listing.shard(number) for number in range(listing.shards)]
    assert [shard.num_rows for shard in shards] == [listing.shard_length(k) for k in range(len(shards))]
    assert all(shard.num_rows == listing.shard_rows for shard in shards[:-1])
    return [key for shard in shards for key in shard["key"].to_pylist()]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(0, 30), max_size=6), shard_rows=st.integers(1, 9))
def test_every_row_is_in_exactly_one_shard_in_the_order_given(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], shard_rows: int
) -> None:
    table = owed(sum(sizes))
    batches = [table.slice(sum(sizes[:i]), size) for i, size in enumerate(sizes)]
    listing = freeze(str(tmp_path_factory.mktemp("run")), batches, FACTS, shard_rows)
    assert keys(listing) == table["key"].to_pylist()
    assert (listing.rows, listing.facts) == (table.num_rows, FACTS)


def test_the_first_to_freeze_a_listing_decides_for_all(tmp_path: Path) -> None:
    assert not is_frozen(str(tmp_path / "run"))
    first = freeze(str(tmp_path / "run"), [owed(9)], FACTS, 4)
    assert is_frozen(str(tmp_path / "run"))
    assert freeze(str(tmp_path / "run"), [owed(5, first=100)], FACTS, 2) == first
    assert keys(read_listing(str(tmp_path / "run"))) == owed(9)["key"].to_pylist()


def test_an_id_names_a_version_of_an_object() -> None:
    versions = [("s3://b/k", "e", 1), ("s3://b/k2", "e", 1), ("s3://b/k", "f", 1), ("s3://b/k", "e", 2)]
    assert len({input_id(*version) for version in versions}) == 4


def test_a_part_that_was_changed_is_refused(tmp_path: Path) -> None:
    listing = freeze(str(tmp_path / "run"), [owed(9)], FACTS, 4)
    (part,) = (tmp_path / "run" / "listing").iterdir()
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DataError, match=part.name):
        listing.shard(0)


@pytest.mark.parametrize("record", [{"parts": 1}, {"parts": [], "shard_rows": 3}, []])
def test_a_damaged_record_is_refused(tmp_path: Path, record: object) -> None:
    (tmp_path / "listing.json").write_text(json.dumps(record))
    with pytest.raises(DataError, match="damaged"):
        read_listing(str(tmp_path))
