"""Reading every label once before training spends anything: read == kept + rejected, each with its reason."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.errors import DataError
from pipeline.fan_out import fan_out
from pipeline.labels import LabelRejectedError, LabelRules
from pipeline.manifest import Manifest, ShardInfo
from pipeline.schema import REJECT_SCHEMA
from pipeline.shards import read_shard
from pipeline.storage import exists, join, parquet_bytes, read_bytes, write_atomic

REPORT = "audit.json"
REJECTS = "rejects.parquet"
UNDECODABLE = "undecodable.parquet"


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What a data set holds for a recogniser."""

    read: int
    kept_per_shard: tuple[int, ...]
    rejected: Mapping[str, int]
    """Rows by reason."""
    padding_share: float
    """Share of the pixels that training will see which is padding."""
    longest: int
    """Characters of the longest kept label."""

    @property
    def kept(self) -> int:
        """Rows that training will see in every epoch."""
        return sum(self.kept_per_shard)


def audit(data_uri: str, manifest: Manifest, rules: LabelRules, report_uri: str) -> Audit:
    """Checks every label of a data set on Ray and writes what was found below `report_uri`.

    `rejects.parquet` there names each rejected row. A report of an earlier start of the same run is taken up:
    the caller has made sure that nothing it depends on has changed.

    Raises:
        DataError: Not one row can be learnt from.
        StorageError: A shard can't be read, or doesn't match its checksum.
    """
    found = read_audit(report_uri)
    if found is not None:
        return found
    results = dict(fan_out(_audit_shard, manifest.shards, data_uri, rules))
    ordered = [results[i] for i in range(len(manifest.shards))]
    rejects = pa.concat_tables([r[1] for r in ordered] or [REJECT_SCHEMA.empty_table()])
    columns, padded = sum(r[2] for r in ordered), sum(r[3] for r in ordered)
    result = Audit(
        read=manifest.rows,
        kept_per_shard=tuple(r[0] for r in ordered),
        rejected=dict(sorted(Counter(rejects["reason"].to_pylist()).items())),
        padding_share=round(1 - columns / padded, 4) if padded else 0.0,
        longest=max((r[4] for r in ordered), default=0),
    )
    if result.read != result.kept + rejects.num_rows:
        raise DataError(
            f"{data_uri}: the manifest says {result.read} rows, but {result.kept} kept + {rejects.num_rows} "
            "rejected were found; the manifest doesn't belong to these shards. Make the data set again."
        )
    write_atomic(join(report_uri, REJECTS), parquet_bytes(rejects))
    if not result.kept:
        raise DataError(
            f"{data_uri}: none of {result.read} rows can be learnt from ({dict(result.rejected)}); "
            f"each is named in {join(report_uri, REJECTS)}. Does the charset fit the data?"
        )
    fields = {name: getattr(result, name) for name in Audit.__dataclass_fields__}
    write_atomic(join(report_uri, REPORT), json.dumps(fields, indent=2).encode())
    return result


def write_undecodable(report_uri: str, rejects: Mapping[str, tuple[str, str]], prefix: str = "") -> int:
    """Writes the images of a data set that training couldn't decode beside the audit's rejects.

    Args:
        report_uri: Where the audit was written.
        rejects: Reason and detail by id.
        prefix: What the set's ids begin with there, and not in its shards.

    Returns:
        How many there are.
    """
    rows = [
        {"id": key.removeprefix(prefix), "source": "", "text": None, "reason": reason, "detail": detail}
        for key, (reason, detail) in sorted(rejects.items())
        if key.startswith(prefix)
    ]
    if rows:
        table = pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
        write_atomic(join(report_uri, UNDECODABLE), parquet_bytes(table))
    return len(rows)


def read_audit(report_uri: str) -> Audit | None:
    """The report of a finished audit, or None."""
    report = join(report_uri, REPORT)
    if not exists(report):
        return None
    values = json.loads(read_bytes(report))
    return Audit(**(values | {"kept_per_shard": tuple(values["kept_per_shard"])}))


def _audit_shard(shard: ShardInfo, data_uri: str, rules: LabelRules) -> tuple[int, pa.Table, int, int, int]:
    """Kept rows, rejected ones, scaled and canonical pixel columns of the kept, the longest label."""
    table = read_shard(data_uri, shard, columns=["id", "source", "text", "width", "height"])
    rejects: list[dict[str, str | None]] = []
    columns = padded = longest = 0
    for row in table.to_pylist():
        try:
            target, canonical = rules.check(row["text"] or "", row["width"], row["height"])
        except LabelRejectedError as error:
            kept = {name: row[name] for name in ("id", "source", "text")}
            rejects.append(kept | {"reason": error.reason, "detail": error.detail})
            continue
        columns += rules.preprocess.scaled_width(row["width"], row["height"])
        padded += canonical
        longest = max(longest, len(target))
    rejected = pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA)
    return table.num_rows - len(rejects), rejected, columns, padded, longest
