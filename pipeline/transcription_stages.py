"""What Ray's tasks do to a shard, before and after it is recognised; light to import, for there are many.

Between tasks a shard is one row (shard, table, fault), its table packed into one cell: Ray cuts and merges
blocks of rows as it likes, and a shard must stay whole.
"""

from functools import lru_cache

import pyarrow as pa

from crnn.preprocess import PreprocessConfig
from pipeline.errors import DataError, StorageError
from pipeline.fetch import FetchConfig
from pipeline.lines import read_lines
from pipeline.listing import Listing
from pipeline.sandbox import Sandbox, SandboxConfig
from pipeline.transcripts import commit


def fetch_and_decode(
    batch: pa.Table,
    *,
    shards: tuple[int, ...],
    listing: Listing,
    preprocess: PreprocessConfig,
    fetch: FetchConfig,
    sandbox: SandboxConfig,
) -> pa.Table:
    """A shard, by its place among those to do in column id, to its lines."""
    shard = shards[batch["id"][0].as_py()]
    try:
        return pack(shard, read_lines(listing.shard(shard), _sandbox(preprocess, sandbox), fetch))
    except (StorageError, DataError) as error:
        return pack(shard, fault=str(error))


@lru_cache(maxsize=1)
def _sandbox(preprocess: PreprocessConfig, config: SandboxConfig) -> Sandbox:
    """This process's, kept from shard to shard: a child process takes a moment to start."""
    return Sandbox(preprocess, config)


def write_and_commit(batch: pa.Table, *, listing: Listing, table_uri: str, run_uri: str) -> pa.Table:
    """Writes and commits a shard's transcripts; tells (shard, rows, fault)."""
    shard, table, fault = unpack(batch)
    rows = 0
    if table is not None:
        try:
            rows = commit(table_uri, run_uri, shard, table, listing).tally.rows
        except (StorageError, DataError) as error:
            fault = str(error)
    return pa.table({"shard": [shard], "rows": [rows], "fault": pa.array([fault], pa.string())})


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
