import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import ConfigError, DataError, ObjectNotFoundError
from pipeline.listing import Listing, freeze, object_id
from pipeline.storage import StoredObject

KEYS = [f"{folder}/{number:02d}.png" for folder in ("a", "b c", "é") for number in range(9)]


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    for key in KEYS:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        (folder / key).write_bytes(key.encode())
    (folder / "notes.txt").write_text("no image")
    return folder


def frozen(images: Path, name: str = "run", **options: object) -> Listing:
    wanted = {"include": ["*"], "limit": None, "shard_rows": 4} | options
    return freeze(str(images), str(images.parent / name), **wanted)  # type: ignore[arg-type]


def keys(listing: Listing) -> list[str]:
    shards = [listing.shard(number) for number in range(listing.shards)]
    assert all(shard.num_rows == listing.shard_rows for shard in shards[:-1])
    return [key for shard in shards for key in shard["key"].to_pylist()]


@pytest.mark.parametrize("shard_rows", [1, 4, 28, 100])
def test_every_object_is_in_exactly_one_shard_in_the_order_of_keys(images: Path, shard_rows: int) -> None:
    listing = frozen(images, shard_rows=shard_rows)
    assert keys(listing) == sorted([*KEYS, "notes.txt"], key=str.encode)
    assert (listing.rows, listing.seen) == (28, 28)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit=st.integers(1, 40), shard_rows=st.integers(1, 40), patterns=st.sampled_from([["*"], ["*.png"]]))
def test_a_limit_takes_the_first_by_key_among_those_that_match(
    images: Path, limit: int, shard_rows: int, patterns: list[str]
) -> None:
    name = f"{limit}-{shard_rows}-{patterns[0]}"
    listing = frozen(images, name, limit=limit, shard_rows=shard_rows, include=patterns)
    matching = KEYS if patterns == ["*.png"] else [*KEYS, "notes.txt"]
    assert keys(listing) == sorted(matching, key=str.encode)[:limit]


def test_what_is_left_out_by_its_name_is_counted(images: Path) -> None:
    listing = frozen(images, include=["*.txt", "a/*"])
    assert keys(listing) == [*KEYS[:9], "notes.txt"]
    assert listing.seen == 28


def test_a_frozen_listing_never_changes(images: Path) -> None:
    before = frozen(images)
    (images / "a" / "new.png").write_bytes(b"new")
    assert frozen(images) == before
    assert "a/new.png" in keys(frozen(images, "another"))


def test_an_id_names_a_version_of_an_object() -> None:
    stored = StoredObject(uri="s3://b/k", key="k", size=1, etag="e", modified=datetime.now(UTC))
    others = [replace(stored, uri="s3://b/k2"), replace(stored, etag="f"), replace(stored, size=2)]
    assert len({object_id(o) for o in [stored, *others]}) == 4
    assert object_id(stored) == object_id(replace(stored, modified=datetime(2020, 1, 1, tzinfo=UTC)))


def test_nothing_to_do_is_a_mistake_and_is_not_kept(images: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds 28 objects, none of which matches \*\.jpg"):
        frozen(images, include=["*.jpg"])
    assert frozen(images).rows == 28


def test_a_missing_folder_is_no_empty_one(images: Path) -> None:
    with pytest.raises(ObjectNotFoundError, match="missing"):
        freeze(str(images / "missing"), str(images.parent / "r"), include="*", limit=None, shard_rows=1)


def test_a_part_that_was_changed_is_refused(images: Path) -> None:
    listing = frozen(images)
    (part,) = (images.parent / "run" / "listing").iterdir()
    data = bytearray(part.read_bytes())
    data[len(data) // 2] ^= 1
    part.write_bytes(data)
    with pytest.raises(DataError, match=part.name):
        listing.shard(0)


def test_a_damaged_record_is_refused(images: Path) -> None:
    frozen(images)
    (images.parent / "run" / "listing.json").write_text(json.dumps({"parts": 1}))
    with pytest.raises(DataError, match="damaged"):
        frozen(images)


def test_a_listing_from_s3_and_one_from_disk_differ_only_in_their_addresses(
    images: Path, s3_bucket: str
) -> None:
    from pipeline.storage import write_atomic

    for key in KEYS:
        write_atomic(f"{s3_bucket}/in/{key}", key.encode())
    there = freeze(f"{s3_bucket}/in", f"{s3_bucket}/run", include=["*"], limit=None, shard_rows=4)
    here = frozen(images, include=["*.png"])
    tables = [pa.concat_tables(x.shard(k) for k in range(x.shards)) for x in (there, here)]
    assert tables[0].select(["key", "size"]).equals(tables[1].select(["key", "size"]))
    assert len(set(tables[0]["id"].to_pylist())) == len(KEYS)
