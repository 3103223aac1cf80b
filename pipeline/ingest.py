"""Archives in any of the known formats to shards and a manifest, on Ray; read == kept + rejected."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import pyarrow as pa

from pipeline.errors import ConfigError
from pipeline.fan_out import fan_out
from pipeline.manifest import NAME, Manifest, ShardInfo
from pipeline.schema import REJECT_SCHEMA, SAMPLE_SCHEMA
from pipeline.shards import write_shard
from pipeline.sources.catalogue import FORMATS
from pipeline.sources.samples import Part, Reject, SourceError, SourceOptions
from pipeline.storage import absolute, exists, join, parquet_bytes, write_atomic

REJECTS = "rejects.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Ingested:
    """What became of an archive."""

    read: int
    kept: int
    rejected: Mapping[str, int]
    """Entries by reason; rejects.parquet names each."""
    manifest: Manifest
    found: bool
    """The data set was there already, made the same way; nothing was read now."""


def ingest(format_name: str, options: SourceOptions, output: str, *, source: str) -> Ingested:
    """Makes a data set of an archive; Ray must be connected.

    Args:
        format_name: A name of `FORMATS`.
        options: Where the archive is and how it is to be read.
        output: Folder URI of the data set.
        source: What the samples' `source` column says: the name of the set.

    Raises:
        ConfigError: The folder holds a data set that was made otherwise.
        SourceError: The archive can't be read at all, or not one sample of it can be kept.
        StorageError: Reading or writing failed.
    """
    chosen = FORMATS[format_name]
    # Ray's workers have another working folder.
    images = absolute(options.images) if options.images is not None else None
    options, output = replace(options, input=absolute(options.input), images=images), absolute(output)
    config = {"format": format_name, "source": source, **asdict(options), "lexicons": dict(chosen.lexicons)}
    if exists(join(output, NAME)):
        return _found(output, config)
    shards: list[ShardInfo] = []
    rejects: dict[int, pa.Table] = {}
    parts = fan_out(
        write_part,
        enumerate(chosen.open(options)),
        output,
        source,
        named=lambda numbered: f"part {numbered[0]} of {options.input} (and the images that it names)",
    )
    for index, (shard, rejected) in parts:
        shards += [shard] if shard else []
        rejects[index] = rejected
    table = pa.concat_tables([rejects[i] for i in sorted(rejects)] or [REJECT_SCHEMA.empty_table()])
    kept = sum(shard.rows for shard in shards)
    counts = dict(sorted(Counter(table["reason"].to_pylist()).items()))
    write_atomic(join(output, REJECTS), parquet_bytes(table))
    if not kept:
        raise SourceError(
            f"{options.input}: none of {table.num_rows} entries could be kept ({counts or 'it is empty'}); "
            f"each is named in {join(output, REJECTS)}. Are --images, --suffix and --flatten right?"
        )
    manifest = Manifest(shards=tuple(shards), config=config, rejected=counts)
    manifest.write(output)
    return Ingested(read=kept + table.num_rows, kept=kept, rejected=counts, manifest=manifest, found=False)


def _found(output: str, config: Mapping[str, Any]) -> Ingested:
    manifest = Manifest.read(output)
    if dict(manifest.config) != config:
        raise ConfigError(
            f"{output} holds a data set that was made otherwise ({dict(manifest.config)}); "
            "give another --output, or remove it."
        )
    rejected = sum(manifest.rejected.values())
    return Ingested(
        read=manifest.rows + rejected,
        kept=manifest.rows,
        rejected=manifest.rejected,
        manifest=manifest,
        found=True,
    )


def write_part(numbered: tuple[int, Part], output: str, source: str) -> tuple[ShardInfo | None, pa.Table]:
    """One part as the shard of its number, where any of it can be kept, and its rejects.

    Raises:
        SourceError: The part gave more or fewer results than it has entries.
    """
    index, part = numbered
    rows: list[dict[str, Any]] = []
    rejects: list[dict[str, Any]] = []
    for found in part.read():
        kept = rejects if isinstance(found, Reject) else rows
        kept.append({name: _storable(value) for name, value in asdict(found).items()} | {"source": source})
    if part.size is not None and part.size != len(rows) + len(rejects):
        raise SourceError(
            f"Part {index} has {part.size:,} entries and {len(rows) + len(rejects):,} results: entries were "
            "lost or counted twice. This is a defect of the reader; please report it."
        )
    shard = write_shard(output, index, pa.Table.from_pylist(rows, schema=SAMPLE_SCHEMA)) if rows else None
    return shard, pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA)


def _storable(value: Any) -> Any:
    """The value with what is no Unicode in its texts escaped: names in other encodings, halves of pairs."""
    if isinstance(value, str):
        return value.encode("utf-8", "backslashreplace").decode()
    return tuple(map(_storable, value)) if isinstance(value, tuple) else value
