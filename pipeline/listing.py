"""What a run owes a row, frozen: objects at one moment, cut into shards that never change.

listing.json                    written last, by whoever is first; names the parts
listing/<attempt>-000000.parquet   rows in the order of URIs, a row group for each shard
"""

import hashlib
import json
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.schema import LISTING_SCHEMA, check, conform
from pipeline.storage import create_exclusive, exists, join, parquet_bytes, read_bytes, write_atomic

RECORD = "listing.json"
SHARDS_A_PART = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingPart:
    """One Parquet file of a listing."""

    name: str
    rows: int
    sha256: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ListingFacts:
    """What a listing was made of."""

    seen: int
    """Images that were there, and whatever else the input holds."""
    named: int
    """Of these, those whose names were asked for."""
    gone: int
    """Rows for objects that were there once and are no longer."""
    repeated: int
    """Lines of a table that named what another line had named."""
    publication: int
    """Which publication of the table the run will be: it was compared with all before."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """A frozen listing."""

    uri: str
    """Folder that holds it."""
    shard_rows: int
    """Objects of each shard but the last."""
    facts: ListingFacts
    parts: tuple[ListingPart, ...]

    @property
    def rows(self) -> int:
        """Objects in it."""
        return sum(part.rows for part in self.parts)

    @property
    def shards(self) -> int:
        """Shards in it, numbered from 0."""
        return -(-self.rows // self.shard_rows)

    def shard_length(self, number: int) -> int:
        """Rows of a shard."""
        return min(self.shard_rows, self.rows - number * self.shard_rows)

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


def freeze(into_uri: str, batches: Iterable[pa.Table], facts: "ListingFacts", shard_rows: int) -> Listing:
    """Keeps what a run owes, unless an earlier start of the run has done so; what is kept then counts.

    Args:
        into_uri: Folder to keep the listing in.
        batches: Tables of LISTING_SCHEMA of any length, taken one at a time.
        facts: What the rows are.
        shard_rows: Objects a shard.

    Raises:
        StorageError: It can't be kept.
    """
    parts = tuple(_write_parts(into_uri, batches, shard_rows))
    record = {"shard_rows": shard_rows, "facts": asdict(facts), "parts": [asdict(part) for part in parts]}
    create_exclusive(join(into_uri, RECORD), json.dumps(record, indent=1).encode())
    return read_listing(into_uri)


def is_frozen(into_uri: str) -> bool:
    """Whether a listing is kept there.

    Raises:
        StorageError: It can't be told.
    """
    return exists(join(into_uri, RECORD))


def input_id(uri: str, etag: str, size: int, member: str = "") -> str:
    """32 hex digits that name this version of this object, or a part of it."""
    content = [uri, etag, size, member] if member else [uri, etag, size]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _write_parts(into_uri: str, batches: Iterable[pa.Table], shard_rows: int) -> Iterator[ListingPart]:
    attempt = secrets.token_hex(4)
    for number, table in enumerate(_regrouped(batches, shard_rows * SHARDS_A_PART)):
        data = parquet_bytes(table, row_group_size=shard_rows)
        name = f"listing/{attempt}-{number:06d}.parquet"
        write_atomic(join(into_uri, name), data)
        yield ListingPart(name=name, rows=table.num_rows, sha256=hashlib.sha256(data).hexdigest())


def _regrouped(batches: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """The same rows in tables of exactly so many, but for the last."""
    held = LISTING_SCHEMA.empty_table()
    for batch in batches:
        held = pa.concat_tables([held, conform(batch, LISTING_SCHEMA)])
        while held.num_rows >= rows:
            yield held.slice(0, rows)
            held = held.slice(rows)
    if held.num_rows:
        yield held


def read_listing(into_uri: str) -> Listing:
    """The listing that is kept there.

    Raises:
        DataError: It is damaged.
        StorageError: It can't be read.
    """
    uri = join(into_uri, RECORD)
    try:
        record = json.loads(read_bytes(uri))
        parts = tuple(ListingPart(**part) for part in record.pop("parts"))
        facts = ListingFacts(**record.pop("facts"))
        return Listing(uri=into_uri, parts=parts, facts=facts, **record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{uri} is damaged ({error}). Start a run of another name.") from error


@lru_cache(maxsize=2)
def _part_bytes(uri: str, sha256: str) -> bytes:
    """A part, kept for the other shards that it holds."""
    data = read_bytes(uri)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise DataError(f"{uri} isn't the file that {RECORD} names. Start a run of another name.")
    return data
