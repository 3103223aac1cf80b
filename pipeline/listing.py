"""What is there, frozen: the objects below a folder at one moment, cut into shards that never change.

listing.json                    written last, by whoever is first; names the parts
listing/<attempt>-000000.parquet   rows in the order of keys, a row group for each shard
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, DataError, StorageError
from pipeline.schema import LISTING_SCHEMA, check
from pipeline.storage import (
    StoredObject,
    create_exclusive,
    exists,
    join,
    list_objects,
    parquet_bytes,
    read_bytes,
    write_atomic,
)

RECORD = "listing.json"
SHARDS_A_PART = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingPart:
    """One Parquet file of a listing."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A frozen listing."""

    uri: str
    """Folder that holds it."""
    shard_rows: int
    """Objects of each shard but the last."""
    seen: int
    """Objects that were there, before any were left out by their names."""
    parts: tuple[ListingPart, ...]

    @property
    def rows(self) -> int:
        """Objects in it."""
        return sum(part.rows for part in self.parts)

    @property
    def shards(self) -> int:
        """Shards in it, numbered from 0."""
        return -(-self.rows // self.shard_rows)

    def shard(self, number: int) -> pa.Table:
        """A shard's objects, of LISTING_SCHEMA, in the order of keys.

        Raises:
            DataError: The part isn't the one that was written.
            StorageError: It can't be read.
        """
        part = self.parts[number // SHARDS_A_PART]
        file = pq.ParquetFile(pa.BufferReader(_part_bytes(join(self.uri, part.name), part.sha256)))
        check(file.schema_arrow, LISTING_SCHEMA, part.name)
        return file.read_row_group(number % SHARDS_A_PART)


def freeze(
    folder_uri: str, into_uri: str, *, include: Iterable[str], limit: int | None, shard_rows: int
) -> Listing:
    """Lists a folder, or takes up the listing that is frozen there already.

    Args:
        folder_uri: What to list, at any depth.
        into_uri: Folder to keep the listing in.
        include: Patterns such as *.png; keys that match none are left out. A * also crosses slashes.
        limit: At most so many objects, the first by key.
        shard_rows: Objects a shard.

    Raises:
        ConfigError: Nothing there that matches.
        StorageError: It can't be listed completely, or the listing can't be kept.
    """
    if not exists(join(into_uri, RECORD)):
        patterns, seen = tuple(include), _Count()
        matching = (o for o in seen(list_objects(folder_uri)) if any(fnmatchcase(o.key, p) for p in patterns))
        parts = tuple(_write_parts(into_uri, islice(_in_order(matching), limit), shard_rows))
        if not parts:
            raise ConfigError(
                f"Nothing to do: {folder_uri} holds {seen.total} objects, none of which matches "
                f"{' '.join(patterns)}. Check the path and --include."
            )
        record = {"shard_rows": shard_rows, "seen": seen.total, "parts": [asdict(part) for part in parts]}
        create_exclusive(join(into_uri, RECORD), json.dumps(record, indent=1).encode())
    return _read(into_uri)


def object_id(stored: StoredObject) -> str:
    """32 hex digits that name this version of this object."""
    content = json.dumps([stored.uri, stored.etag, stored.size])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


class _Count:
    total = 0

    def __call__(self, objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
        for stored in objects:
            self.total += 1
            yield stored


def _in_order(objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
    """Refuses a listing whose keys don't increase, since it may hold one twice."""
    last = b""
    for stored in objects:
        key = stored.key.encode()
        if key <= last:
            raise StorageError(f"The listing is out of order at {stored.uri}. Run again.")
        last = key
        yield stored


def _write_parts(into_uri: str, objects: Iterator[StoredObject], shard_rows: int) -> Iterator[ListingPart]:
    attempt = secrets.token_hex(4)
    chunks = iter(lambda: list(islice(objects, shard_rows * SHARDS_A_PART)), [])
    for number, chunk in enumerate(chunks):
        rows = [
            {
                "id": object_id(stored),
                "uri": stored.uri,
                "key": stored.key,
                "etag": stored.etag,
                "size": stored.size,
                "modified": stored.modified,
            }
            for stored in chunk
        ]
        data = parquet_bytes(pa.Table.from_pylist(rows, schema=LISTING_SCHEMA), row_group_size=shard_rows)
        name = f"listing/{attempt}-{number:06d}.parquet"
        write_atomic(join(into_uri, name), data)
        yield ListingPart(name=name, rows=len(rows), sha256=hashlib.sha256(data).hexdigest())


def _read(into_uri: str) -> Listing:
    uri = join(into_uri, RECORD)
    try:
        record = json.loads(read_bytes(uri))
        parts = tuple(ListingPart(**part) for part in record.pop("parts"))
        return Listing(uri=into_uri, parts=parts, **record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{uri} is damaged ({error}). Start a run of another name.") from error


@lru_cache(maxsize=2)
def _part_bytes(uri: str, sha256: str) -> bytes:
    """A part, kept for the other shards that it holds."""
    data = read_bytes(uri)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{uri} isn't the file that {RECORD} names. Start a run of another name.")
    return data
