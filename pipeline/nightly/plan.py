"""What is new: the objects that are there, minus those whose newest row in the table is of what is there.

Both sides may hold more rows than memory. The listing is spooled to a local file page by page, the table's
columns are streamed, and DuckDB does the difference within a fixed amount of memory, on disk beyond it.
Nothing is decided by times: late, backdated and restored objects are found by their ids, and it is the newest
row that counts: an older version that is put back is read again, since readers would keep the other's text.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ConfigError, ShrunkError
from pipeline.inputs.items import Item, looks_like_an_image
from pipeline.inputs.listed import is_complete, items
from pipeline.lines import DELETED, SUPERSEDED
from pipeline.listing import ListingFacts, input_id
from pipeline.nightly.table import TABLE_SCHEMA, TranscriptTable
from pipeline.schema import LISTING_SCHEMA

Policy = Literal["new_only", "backfill"]
MEMORY = "512MB"
"""Of the difference; beyond it DuckDB goes to disk."""
LEAST_LEFT = 0.8
"""Share of the objects known before that must still be there: else the listing is suspected first."""
FEW = 20
"""So many may always disappear."""
_PAGE = 8_192
_SPOOL = pa.schema([*list(LISTING_SCHEMA)[:-2], pa.field("wanted", pa.bool_())])

_PAST = """
CREATE TEMP TABLE past AS
SELECT uri, member, arg_max(status, publication) AS status,
       count(*)::INT AS earlier_rows,
       arg_max(model_digest = ? AND decoder_version = ?, publication) AS of_this_model,
       arg_max({input_id: input_id, key: key, etag: etag, size: size, position: position, box: box},
               publication) AS latest
FROM published WHERE $scope GROUP BY uri, member
"""
_COLUMNS = ", ".join(f"{name}" for name in LISTING_SCHEMA.names[:-2])
_NEW = f"""
SELECT {_COLUMNS}, coalesce(earlier_rows, 0) AS earlier_rows, false AS gone
FROM listed LEFT JOIN past USING (uri, member)
WHERE wanted
AND (latest IS NULL OR status = '{DELETED}' OR latest.input_id <> input_id $or)
"""
# Boxes come from lists, which don't tell what is gone. Members of an archive that is listed as one object,
# since it is damaged or has changed meanwhile, aren't in the listing either, and aren't gone for that.
_GONE = f"""
SELECT latest.input_id, uri, member, latest.key, latest.etag, latest.size, latest.position, latest.box,
       now()::TIMESTAMPTZ AS modified, NULL AS unfit, NULL AS unfit_detail, earlier_rows, true AS gone
FROM past WHERE status <> '{DELETED}' AND latest.box IS NULL
AND NOT EXISTS (SELECT 1 FROM listed WHERE listed.uri = past.uri AND listed.member = past.member)
AND NOT EXISTS (SELECT 1 FROM listed WHERE listed.uri = past.uri AND listed.member = '')
"""
_ORDER = "ORDER BY uri, position, member"


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanConfig:
    """What a run is to read."""

    source: str
    """Folder, bucket prefix or table of URIs, absolute."""
    include: tuple[str, ...]
    """Patterns of names; a * also crosses slashes."""
    suffixes: tuple[str, ...]
    """Ends of names, whatever their case; none given admits all."""
    policy: Policy
    """new_only: what is there and has no newest row of it. backfill: or none by this model."""
    limit: int | None
    """At most so many new objects, the first by name; what is gone is then left for a whole run."""
    allow_shrink: bool
    """Whether more than a fifth of the known objects may be gone."""
    index_uri: str | None
    """Folder for what is found in archives; None keeps nothing."""


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
        seen, named = _spool(spool, items(config.source, config.index_uri), partial(_is_wanted, config))
        complete = is_complete(config.source)
        database = duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder, "threads": 2})
        with database:
            database.execute("SET enable_progress_bar = false")
            database.execute("SET TimeZone = 'UTC'")
            once = "" if complete else "SELECT DISTINCT ON (uri, member) * "
            database.execute(f"CREATE VIEW listed AS {once}FROM read_parquet('{spool}')")
            database.register("published", published or TABLE_SCHEMA.empty_table())
            scope = "starts_with(uri, ?)" if complete else "uri IN (SELECT uri FROM listed)"
            below = [config.source.rstrip("/") + "/"] if complete else []
            database.execute(_PAST.replace("$scope", scope), [digest, decoder, *below])
            distinct, _ = (seen, 0) if complete else _counts(database, "FROM listed")
            known, _ = _counts(database, f"SELECT latest.size AS size FROM past WHERE status <> '{DELETED}'")
            gone, _ = _counts(database, _GONE) if complete else (0, 0)
            if not named and not known:
                asked = " ".join([*config.include, *config.suffixes])
                raise ConfigError(
                    f"Nothing to do: {config.source} holds {seen} objects, none of which matches {asked}. "
                    "Check the path, --include and --suffixes."
                )
            if gone > max(FEW, (1 - LEAST_LEFT) * known) and not config.allow_shrink and not config.limit:
                raise ShrunkError(
                    f"{config.source}: {gone} of the {known} objects known are gone. Where they were deleted "
                    "on purpose, say --allow-shrink; else look at the bucket first: nothing has been written."
                )
            again = ["OR NOT of_this_model"] if config.policy == "backfill" else []
            # Lists may name versions that are there no more, night after night.
            again += [f"OR status = '{SUPERSEDED}'"] if complete else []
            query = _NEW.replace("$or", " ".join(again))
            if config.limit:
                gone, query = 0, f"{query} {_ORDER} LIMIT {config.limit}"
            new, size = _counts(database, query)
            if not config.limit:
                both = f"{query} UNION ALL {_GONE}" if complete else query
                query = f"SELECT * FROM ({both}) {_ORDER}"
            yield Plan(
                facts=ListingFacts(
                    seen=seen, named=named, gone=gone, repeated=seen - distinct, publication=publication
                ),
                new=new,
                bytes=size,
                rows=_tables(database, query),
            )


def _counts(database: Any, query: str) -> tuple[int, int]:
    """Rows of a query, and the sum of their sizes."""
    totals = f"SELECT count(*), coalesce(sum(size), 0)::HUGEINT FROM ({query})"
    ((count, size),) = database.sql(totals).fetchall()
    return int(count), int(size)


def _tables(database: Any, query: str) -> Iterator[pa.Table]:
    reader = database.sql(query).to_arrow_reader(_PAGE)
    for batch in reader:
        yield pa.Table.from_batches([batch])


def _spool(path: Path, listed: Iterable[Item], is_wanted: Callable[[Item], bool]) -> tuple[int, int]:
    """Writes a listing down; items in all, and those that are wanted."""
    seen = named = 0
    with pq.ParquetWriter(path, _SPOOL) as writer:
        remaining = iter(listed)
        while page := list(islice(remaining, _PAGE)):
            rows = [_row(item, is_wanted(item)) for item in page]
            seen, named = seen + len(rows), named + sum(row["wanted"] for row in rows)
            writer.write_table(pa.Table.from_pylist(rows, schema=_SPOOL))
    return seen, named


def _is_wanted(config: PlanConfig, item: Item) -> bool:
    """By name; an archive that isn't whole always is, since who knows what it held."""
    if item.unfit and not item.member:
        return True
    if item.position is not None and not looks_like_an_image(item):
        return False
    if config.suffixes and not item.key.lower().endswith(tuple(s.lower() for s in config.suffixes)):
        return False
    return any(fnmatchcase(item.key, pattern) for pattern in config.include)


def _row(item: Item, wanted: bool) -> dict[str, Any]:
    return {
        "input_id": input_id(item.uri, item.etag, item.size, item.member),
        "uri": item.uri,
        "member": item.member,
        "key": item.key,
        "etag": item.etag,
        "size": item.size,
        "position": item.position,
        "box": item.box,
        "modified": item.modified,
        "unfit": item.unfit,
        "unfit_detail": item.detail,
        "wanted": wanted,
    }
