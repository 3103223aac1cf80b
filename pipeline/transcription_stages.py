"""What Ray's tasks do to a shard, before and after it is recognised; light to import, for there are many.

Between tasks a shard is one row (shard, table, fault, figures), its table packed into one cell: Ray cuts and
merges blocks of rows as it likes, and a shard must stay whole.
"""

import json
from dataclasses import dataclass, field
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
        figures: dict[str, float] = {}
        lines = read_lines(listing.shard(shard), _sandbox(preprocess, sandbox), fetch, figures)
        return pack(Packed(shard=shard, table=lines, figures=figures))
    except (StorageError, DataError) as error:
        return pack(Packed(shard=shard, fault=str(error) or repr(error)))


@lru_cache(maxsize=1)
def _sandbox(preprocess: PreprocessConfig, config: SandboxConfig) -> Sandbox:
    """This process's, kept from shard to shard: a child process takes a moment to start."""
    return Sandbox(preprocess, config)


def write_and_commit(batch: pa.Table, *, listing: Listing, table_uri: str, run_uri: str) -> pa.Table:
    """Writes and commits a shard's transcripts; tells (shard, rows, fault)."""
    packed, rows = unpack(batch), 0
    fault = packed.fault
    if packed.table is not None:
        try:
            done = commit(table_uri, run_uri, packed.shard, packed.table, listing, figures=packed.figures)
            rows = done.tally.rows
        except (StorageError, DataError) as error:
            fault = str(error) or repr(error)
    return pa.table({"shard": [packed.shard], "rows": [rows], "fault": pa.array([fault], pa.string())})


@dataclass(frozen=True, kw_only=True, slots=True)
class Packed:
    """A shard on its way."""

    shard: int
    table: pa.Table | None = None
    """Its lines, later its transcripts; None where there is a fault."""
    fault: str | None = None
    figures: dict[str, float] = field(default_factory=dict)
    """What is measured on the way."""


def pack(packed: Packed) -> pa.Table:
    """A shard as one row."""
    cell = None
    if packed.table is not None:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, packed.table.schema) as stream:
            stream.write_table(packed.table)
        cell = sink.getvalue().to_pybytes()
    return pa.table(
        {
            "shard": [packed.shard],
            "table": pa.array([cell], pa.large_binary()),
            "fault": pa.array([packed.fault], pa.string()),
            "figures": [json.dumps(packed.figures)],
        }
    )


def unpack(batch: pa.Table) -> Packed:
    """What `pack` put into a row."""
    shard, cell, fault, figures = (batch[name][0].as_py() for name in ("shard", "table", "fault", "figures"))
    table = None if cell is None else pa.ipc.open_stream(cell).read_all()
    return Packed(shard=shard, table=table, fault=fault, figures=json.loads(figures))
