"""Parquet files of samples, each named by its number and known by its checksum."""

import hashlib
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.manifest import ShardInfo
from pipeline.schema import SAMPLE_SCHEMA, check, conform
from pipeline.storage import join, parquet_bytes, read_bytes, write_atomic

ROW_GROUP_ROWS = 2_048
_UNIQUE = ("id", "image", "text")
"""Columns in which a dictionary or the least and greatest value would only cost."""


def write_shard(dir_uri: str, index: int, table: pa.Table) -> ShardInfo:
    """Writes a shard whole or not at all; the same table gives the same bytes.

    Args:
        dir_uri: Folder of the data set.
        index: Number of the shard, from 0; it makes the name.
        table: Of SAMPLE_SCHEMA; nullable columns may be missing.

    Raises:
        DataError: The table doesn't conform.
        StorageError: It can't be written.
    """
    other = [name for name in SAMPLE_SCHEMA.names if name not in _UNIQUE]
    data = parquet_bytes(
        conform(table, SAMPLE_SCHEMA),
        row_group_size=ROW_GROUP_ROWS,
        use_dictionary=[name if name != "lexicon" else "lexicon.list.element" for name in other],
        write_statistics=[name for name in other if name != "lexicon"],
    )
    name = f"shards/{index:06d}.parquet"
    write_atomic(join(dir_uri, name), data)
    return ShardInfo(name=name, rows=table.num_rows, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())


def read_shard(
    dir_uri: str, info: ShardInfo, columns: Sequence[str] | None = None, verify: bool = True
) -> pa.Table:
    """Reads a shard, or some of its columns.

    Args:
        dir_uri: Folder of the data set.
        info: From its manifest.
        columns: Names in SAMPLE_SCHEMA; None for all.
        verify: Whether to compare the checksum, which takes about a millisecond a megabyte.

    Raises:
        DataError: The file isn't the one that the manifest names; says which.
        StorageError: It can't be read.
    """
    uri = join(dir_uri, info.name)
    data = read_bytes(uri)
    if len(data) != info.bytes or (verify and hashlib.sha256(data).hexdigest() != info.sha256):
        raise DataError(
            f"{uri} isn't the file that the manifest names: {len(data)} bytes for {info.bytes}, or another "
            f"checksum than {info.sha256[:12]}…. It is damaged or was overwritten: restore it, or make the "
            "data set again."
        )
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        check(file.schema_arrow, SAMPLE_SCHEMA, uri)
        table = file.read(columns=list(columns) if columns is not None else None)
    except pa.ArrowException as error:
        raise DataError(f"{uri} isn't sound Parquet ({error}). Make the data set again.") from error
    if table.num_rows != info.rows:
        raise DataError(f"{uri} holds {table.num_rows} rows; its manifest says {info.rows}.")
    return table
