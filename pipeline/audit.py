"""Reading every label once before training spends anything: read == kept + rejected, each with its reason.

Of a stream, which has no end, a sample is read: the first words of its first shards.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from crnn.ctc import min_frames
from pipeline.errors import DataError
from pipeline.fan_out import fan_out
from pipeline.labels import OUTSIDE_CHARSET, LabelRejectedError, LabelRules
from pipeline.manifest import Manifest, ShardInfo
from pipeline.schema import REJECT_SCHEMA
from pipeline.shards import read_shard
from pipeline.storage import exists, join, parquet_bytes, read_bytes, write_atomic
from pipeline.synthesis.stream import Stream

REPORT = "audit.json"
REJECTS = "rejects.parquet"
LEFT_OUT = "left-out.parquet"
_COLUMNS = ("id", "source", "text", "width", "height")
_SHARDS, _ROWS = 4, 1_024
"""Of a stream, that are looked at."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Audit:
    """What a data set holds for a recogniser, or a sample of a stream."""

    endless: bool = False
    """A stream's."""
    read: int
    kept_per_shard: tuple[int, ...]
    rejected: Mapping[str, int]
    """Rows by reason."""
    padding_share: float
    """Share of the pixels that training will see which is padding."""
    longest: int
    """Characters of the longest kept label."""
    mean_width: float
    """Pixel columns of a kept row as training sees it, padding included."""
    tight: int
    """Kept rows that have less than twice the frames that their label needs."""
    characters: Mapping[str, int]
    """How often each character of the charset comes in kept labels, normalised; 0 where it doesn't."""
    outside: Mapping[str, int]
    """Rows that hold a character outside the charset, by the character: rejected, or kept without it."""

    @property
    def kept(self) -> int:
        """Rows that training will see in every epoch; of a stream, those of the sample."""
        return sum(self.kept_per_shard)

    @property
    def shard_rows(self) -> tuple[int, ...] | None:
        """Usable rows of each shard, as an order is planned with them; None of a stream."""
        return None if self.endless else self.kept_per_shard


@dataclass(frozen=True, kw_only=True, slots=True)
class _ShardAudit:
    """What one shard holds; see `Audit`."""

    kept: int
    rejects: pa.Table
    columns: int
    """Of pixels in kept rows, as they are."""
    padded: int
    """The same with the padding."""
    longest: int
    tight: int
    classes: npt.NDArray[np.int64]
    """How often each class comes in kept labels."""
    outside: Counter[str]


def audit(data_uri: str, data: Manifest | Stream, rules: LabelRules, report_uri: str | None) -> Audit:
    """Checks every label of a data set on Ray and writes what was found below `report_uri`.

    `rejects.parquet` there names each rejected row. A report of an earlier start of the same run is taken up:
    the caller has made sure that nothing it depends on has changed. None writes and looks up nothing.

    Raises:
        DataError: Not one row can be learnt from.
        StorageError: A shard can't be read, or doesn't match its checksum.
        ConfigError: A stream's pictures leave nothing readable.
    """
    found = read_audit(report_uri) if report_uri else None
    if found is not None:
        return found
    if isinstance(data, Stream):
        results = dict(fan_out(_audit_made, range(_SHARDS), data, rules, named=lambda n: f"{data_uri} ({n})"))
    else:
        told = f"the labels of {data_uri}, shard "
        results = dict(fan_out(_audit_shard, data.shards, data_uri, rules, named=lambda s: told + s.name))
    shards = [results[i] for i in range(len(results))]
    rejects = pa.concat_tables([shard.rejects for shard in shards] or [REJECT_SCHEMA.empty_table()])
    kept, padded = sum(shard.kept for shard in shards), sum(shard.padded for shard in shards)
    classes = sum((shard.classes for shard in shards), np.zeros(rules.charset.num_classes, np.int64))
    result = Audit(
        endless=isinstance(data, Stream),
        read=_SHARDS * _ROWS if isinstance(data, Stream) else data.rows,
        kept_per_shard=tuple(shard.kept for shard in shards),
        rejected=dict(sorted(Counter(rejects["reason"].to_pylist()).items())),
        padding_share=round(1 - sum(s.columns for s in shards) / padded, 4) if padded else 0.0,
        longest=max((shard.longest for shard in shards), default=0),
        mean_width=round(padded / max(kept, 1), 2),
        tight=sum(shard.tight for shard in shards),
        characters=dict(zip(rules.charset.characters, classes[1:].tolist(), strict=True)),
        outside=dict(sum((shard.outside for shard in shards), Counter[str]()).most_common()),
    )
    if result.read != result.kept + rejects.num_rows:
        raise DataError(
            f"{data_uri}: the manifest says {result.read} rows, but {result.kept} kept + {rejects.num_rows} "
            "rejected were found; the manifest doesn't belong to these shards. Make the data set again."
        )
    if report_uri:
        write_atomic(join(report_uri, REJECTS), parquet_bytes(rejects))
    if not result.kept:
        named = f"; each is named in {join(report_uri, REJECTS)}" if report_uri else ""
        raise DataError(
            f"{data_uri}: none of {result.read} rows can be learnt from ({dict(result.rejected)}){named}. "
            "Does the charset fit the data?"
        )
    if report_uri:
        write_atomic(join(report_uri, REPORT), json.dumps(asdict(result), indent=2).encode())
    return result


def write_left_out(
    report_uri: str, rejects: Mapping[str, tuple[str, str]], prefix: str = ""
) -> dict[str, int]:
    """Writes the rows of a data set that training had to leave out beside the audit's rejects.

    Args:
        report_uri: Where the audit was written.
        rejects: Reason and detail by id.
        prefix: What the set's ids begin with there, and not in its shards.

    Returns:
        How many there are, by reason.
    """
    rows = [
        {"id": key.removeprefix(prefix), "source": "", "text": None, "reason": reason, "detail": detail}
        for key, (reason, detail) in sorted(rejects.items())
        if key.startswith(prefix)
    ]
    if rows:
        table = pa.Table.from_pylist(rows, schema=REJECT_SCHEMA)
        write_atomic(join(report_uri, LEFT_OUT), parquet_bytes(table))
    return dict(sorted(Counter(str(row["reason"]) for row in rows).items()))


def read_audit(report_uri: str) -> Audit | None:
    """The report of a finished audit, or None; also where an older version wrote it, which told less."""
    report = join(report_uri, REPORT)
    if not exists(report):
        return None
    values = json.loads(read_bytes(report))
    if values.keys() != set(Audit.__dataclass_fields__):
        return None
    return Audit(**(values | {"kept_per_shard": tuple(values["kept_per_shard"])}))


def _audit_shard(shard: ShardInfo, data_uri: str, rules: LabelRules) -> _ShardAudit:
    return _look(read_shard(data_uri, shard, columns=_COLUMNS).to_pylist(), rules)


def _audit_made(number: int, stream: Stream, rules: LabelRules) -> _ShardAudit:
    return _look(islice(stream.shard(number), _ROWS), rules)


def _look(rows: Iterable[Mapping[str, Any]], rules: LabelRules) -> _ShardAudit:
    rejects: list[dict[str, str | None]] = []
    targets: list[list[int]] = []
    outside: Counter[str] = Counter()
    columns = padded = longest = tight = 0
    for row in rows:
        text = row["text"] or ""
        try:
            target, canonical = rules.check(text, row["width"], row["height"])
        except LabelRejectedError as error:
            named = {name: row[name] for name in ("id", "source", "text")}
            rejects.append(named | {"reason": error.reason, "detail": error.detail})
            if error.reason == OUTSIDE_CHARSET:
                outside.update(rules.charset.others(text))
            continue
        if rules.charset.drop_others:
            outside.update(rules.charset.others(text))
        targets.append(target)
        columns += rules.preprocess.scaled_width(row["width"], row["height"])
        padded += canonical
        longest = max(longest, len(target))
        tight += rules.frames(canonical) < 2 * min_frames(target)
    classes = [c for target in targets for c in target]
    return _ShardAudit(
        kept=len(targets),
        rejects=pa.Table.from_pylist(rejects, schema=REJECT_SCHEMA),
        columns=columns,
        padded=padded,
        longest=longest,
        tight=tight,
        classes=np.bincount(classes, minlength=rules.charset.num_classes),
        outside=outside,
    )
