"""What is new: the objects that are there, minus those that the table has a row for.

Both sides may hold more rows than memory. The listing is spooled to a local file page by page, the table's
columns are streamed, and DuckDB does the difference within a fixed amount of memory, on disk beyond it.
Nothing is decided by times: late, backdated and restored objects are found by their ids.
"""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, ShrunkError, StorageError
from pipeline.listing import ListingFacts, input_id
from pipeline.nightly.table import TABLE_SCHEMA, TranscriptTable
from pipeline.schema import LISTING_SCHEMA
from pipeline.storage import StoredObject, list_objects

Policy = Literal["new_only", "backfill"]
MEMORY = "512MB"
"""Of the difference; beyond it DuckDB goes to disk."""
LEAST_LEFT = 0.8
"""Share of the objects known before that must still be there: else the listing is suspected first."""
FEW = 20
"""So many may always disappear."""
_PAGE = 8_192
_SPOOL = pa.schema([*list(LISTING_SCHEMA)[:6], pa.field("wanted", pa.bool_())])

_PAST = """
CREATE TEMP TABLE past AS
SELECT uri, arg_max(status, publication) AS status, count(*) FILTER (status = 'deleted')::INT AS deletions,
       arg_max({input_id: input_id, key: key, etag: etag, size: size}, publication) AS latest
FROM published WHERE starts_with(uri, ?) GROUP BY uri
"""
_NEW = """
SELECT input_id, uri, key, etag, size, modified, coalesce(past.deletions, 0) AS deletions, false AS gone
FROM listed LEFT JOIN past USING (uri)
WHERE wanted AND (past.status = 'deleted' OR input_id NOT IN (SELECT input_id FROM published WHERE {known}))
"""
_GONE = """
SELECT latest.input_id, uri, latest.key, latest.etag, latest.size, now()::TIMESTAMPTZ AS modified,
       deletions, true AS gone
FROM past WHERE status <> 'deleted' AND NOT EXISTS (SELECT 1 FROM listed WHERE listed.uri = past.uri)
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig:
    """What a run is to read."""

    source: str
    """Folder or bucket prefix, absolute."""
    include: tuple[str, ...]
    """Patterns of names; a * also crosses slashes."""
    policy: Policy
    """new_only: objects without a row of any model. backfill: without one of this model and decoder."""
    limit: int | None
    """At most so many new objects, the first by name; what is gone is then left for a whole run."""
    allow_shrink: bool
    """Whether more than a fifth of the known objects may be gone."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What a run would do."""

    facts: ListingFacts
    new: int
    """Objects to be read."""
    bytes: int
    """Their size together."""
    rows: Iterator[pa.Table]
    """Of LISTING_SCHEMA, in the order of URIs; good as long as the plan is open."""


@contextmanager
def make_plan(config: PlanConfig, table: TranscriptTable, *, digest: str, decoder: int) -> Iterator[Plan]:
    """Lists and subtracts. Memory doesn't grow with either side.

    Args:
        config: What to read.
        table: What is done.
        digest: The model's.
        decoder: Version of the decoder.

    Raises:
        ConfigError: The names asked for don't occur, and never did.
        ShrunkError: Too much of what is known is gone.
        StorageError: The listing isn't complete, or the table can't be read.
    """
    import duckdb

    published = table.rows()
    publication = table.publications() + 1
    with tempfile.TemporaryDirectory(prefix="crnn-plan-") as folder:
        spool = Path(folder) / "listed.parquet"
        seen, named = _spool(spool, _in_order(list_objects(config.source)), config.include)
        database = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder, "threads": 2})
        with database:
            database.execute("SET enable_progress_bar = false")
            database.execute("SET TimeZone = 'UTC'")
            database.execute(f"CREATE VIEW listed AS FROM read_parquet('{spool}')")
            database.register("published", published or TABLE_SCHEMA.empty_table())
            database.execute(_PAST, [config.source.rstrip("/") + "/"])
            known, _ = _counts(database, "SELECT latest.size AS size FROM past WHERE status <> 'deleted'")
            gone, _ = _counts(database, _GONE)
            if not named and not known:
                raise ConfigError(
                    f"Nothing to do: {config.source} holds {seen} objects, none of which matches "
                    f"{' '.join(config.include)}. Check the path and --include."
                )
            if gone > max(FEW, (1 - LEAST_LEFT) * known) and not config.allow_shrink and not config.limit:
                raise ShrunkError(
                    f"{config.source}: {gone} of the {known} objects known are gone. Where they were deleted "
                    "on purpose, say --allow-shrink; else look at the bucket first: nothing has been written."
                )
            query = _new(config, digest, decoder)
            if config.limit:
                gone, query = 0, f"{query} ORDER BY uri LIMIT {config.limit}"
            new, size = _counts(database, query)
            if not config.limit:
                query = f"SELECT * FROM ({query} UNION ALL {_GONE}) ORDER BY uri"
            yield Plan(
                facts=ListingFacts(seen=seen, named=named, gone=gone, publication=publication),
                new=new,
                bytes=size,
                rows=_tables(database, query),
            )


def _new(config: PlanConfig, digest: str, decoder: int) -> str:
    backfill = f"model_digest = '{digest}' AND decoder_version = {decoder}"
    return _NEW.format(known=backfill if config.policy == "backfill" else "true")


def _counts(database: Any, query: str) -> tuple[int, int]:
    """Rows of a query, and the sum of their sizes."""
    totals = f"SELECT count(*), coalesce(sum(size), 0)::INT64 FROM ({query})"
    ((count, size),) = database.sql(totals).fetchall()
    return int(count), int(size)


def _tables(database: Any, query: str) -> Iterator[pa.Table]:
    reader = database.sql(query).to_arrow_reader(_PAGE)
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _spool(path: Path, objects: Iterable[StoredObject], include: tuple[str, ...]) -> tuple[int, int]:
    """Writes a listing down; objects in all, and those whose names are wanted."""
    seen = named = 0
    with pq.ParquetWriter(path, _SPOOL) as writer:
        remaining = iter(objects)
        while page := list(islice(remaining, _PAGE)):
            rows = [_row(stored, any(fnmatchcase(stored.key, p) for p in include)) for stored in page]
            seen, named = seen + len(rows), named + sum(row["wanted"] for row in rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=_SPOOL))
    return seen, named


def _row(stored: StoredObject, wanted: bool) -> dict[str, Any]:
    return {
        "input_id": input_id(stored.uri, stored.etag, stored.size),
        "uri": stored.uri,
        "key": stored.key,
        "etag": stored.etag,
        "size": stored.size,
        "modified": stored.modified,
        "wanted": wanted,
    }


def _in_order(objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
    """Refuses a listing whose keys don't increase, since it may hold one twice."""
    last = b""
    for stored in objects:
        key = stored.key.encode()
        if key <= last:
            raise StorageError(f"The listing is out of order at {stored.uri}. Run again.")
        last = key
        yield stored
