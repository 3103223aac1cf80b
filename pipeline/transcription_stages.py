"""What Ray's tasks do to a shard, before and after it is recognised; light to import, for there are many.

Between tasks a shard is one row (shard, table, fault), its table packed into one cell: Ray cuts and merges
blocks of rows as it likes, and a shard must stay whole.
"""

import pyarrow as pa

from crnn.preprocess import PreprocessConfig
from pipeline.errors import DataError, StorageError
from pipeline.fetch import FetchConfig
from pipeline.lines import read_lines
from pipeline.listing import Listing
from pipeline.transcripts import Tally, audit, commit


def fetch_and_decode(
    batch: pa.Table,
    *,
    listing: Listing,
    finished: frozenset[int],
    preprocess: PreprocessConfig,
    config: FetchConfig,
) -> pa.Table:
    """A shard's number, in column id, to its lines; to nothing where its transcripts are there already."""
    shard = batch["id"][0].as_py()
    if shard in finished:
        return pack(shard)
    try:
        return pack(shard, read_lines(listing.shard(shard), preprocess, config))
    except (StorageError, DataError) as error:
        return pack(shard, fault=str(error))


def commit_and_audit(batch: pa.Table, *, listing: Listing, transcripts_uri: str) -> pa.Table:
    """Writes a shard's transcripts, reads back what is there, and tells (shard, tally, fault)."""
    shard, table, fault = unpack(batch)
    tally = Tally()
    if fault is None:
        try:
            if table is not None:
                commit(transcripts_uri, shard, table)
            tally = audit(transcripts_uri, shard, listing.shard(shard))
        except (StorageError, DataError) as error:
            fault = str(error)
    return pa.table({"shard": [shard], "tally": [tally.as_json()], "fault": pa.array([fault], pa.string())})


def pack(shard: int, table: pa.Table | None = None, fault: str | None = None) -> pa.Table:
    """A shard as one row."""
    cell = None
    if table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, table.schema) as stream:
            stream.write_table(table)
        cell = sink.getvalue().to_pybytes()
    return pa.table(
        {
            "shard": [shard],
            "table": pa.array([cell], pa.large_binary()),
            "fault": pa.array([fault], pa.string()),
        }
    )


def unpack(batch: pa.Table) -> tuple[int, pa.Table | None, str | None]:
    """What `pack` put into a row: shard, table, fault."""
    shard, cell, fault = (batch[name][0].as_py() for name in ("shard", "table", "fault"))
    return shard, None if cell is None else pa.ipc.open_stream(cell).read_all(), fault
