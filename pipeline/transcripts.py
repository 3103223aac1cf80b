"""A shard's rows, and the record that commits them: one file counts, whoever else wrote one too."""

import hashlib
import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crnn.preprocess import TURNS, GreyImage, PreprocessConfig
from pipeline.errors import DataError, StorageError
from pipeline.lines import DECODER_VERSION, QUARANTINED
from pipeline.listing import Listing
from pipeline.nightly.table import TableFile
from pipeline.schema import LISTING_SCHEMA, TRANSCRIPT_SCHEMA, conform
from pipeline.storage import create_exclusive, join, list_objects, parquet_bytes, read_bytes, write_atomic

if TYPE_CHECKING:  # both import torch, which those who only commit and count need not
    from crnn.decode import Hypothesis
    from pipeline.registry import ResolvedModel

OK, LOW_CONFIDENCE = "ok", "low_confidence"
READ = (OK, LOW_CONFIDENCE)
"""The statuses of rows with a text."""
_DONE = re.compile(r"(\d{6,})\.json")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What became of some objects; tallies add up."""

    rows: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by status and reason."""
    confidence: float = 0.0
    """Sum over the rows with a text."""
    figures: dict[str, float] = field(default_factory=dict)
    """What was measured while they were made."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows,
            outcomes=self.outcomes + other.outcomes,
            confidence=self.confidence + other.confidence,
            figures=_sum(self.figures, other.figures),
        )

    @classmethod
    def of(cls, table: pa.Table) -> "Tally":
        """Of rows of TRANSCRIPT_SCHEMA."""
        outcomes = zip(table["status"].to_pylist(), table["reason"].to_pylist(), strict=True)
        return cls(
            rows=table.num_rows,
            outcomes=Counter((status, reason or "") for status, reason in outcomes),
            confidence=sum(value or 0.0 for value in table["confidence"].to_pylist()),
        )

    def as_json(self) -> list[Any]:
        """For a record."""
        outcomes = [[*outcome, count] for outcome, count in self.outcomes.items()]
        return [self.rows, outcomes, self.confidence, self.figures]

    @classmethod
    def from_json(cls, value: list[Any]) -> "Tally":
        """The tally that `as_json` gave."""
        rows, outcomes, confidence, figures = value
        counts = {(status, reason): count for status, reason, count in outcomes}
        return cls(rows=rows, outcomes=Counter(counts), confidence=confidence, figures=figures)

    def count(self, *statuses: str) -> int:
        """Rows with one of these statuses."""
        return sum(count for (status, _), count in self.outcomes.items() if status in statuses)

    @property
    def quarantined_share(self) -> float:
        """Of the images that were looked at."""
        return self.count(QUARANTINED) / max(1, self.count(QUARANTINED, *READ))

    @property
    def mean_confidence(self) -> float | None:
        """Over the rows with a text; None where there is none."""
        read = self.count(*READ)
        return self.confidence / read if read else None


@dataclass(frozen=True, kw_only=True, slots=True)
class Done:
    """A shard that is committed."""

    file: TableFile
    sha256: str
    tally: Tally


def line_images(lines: pa.Table, preprocess: PreprocessConfig) -> list[GreyImage]:
    """The pixels of those rows of LINE_SCHEMA that have some, as `crnn.preprocess.line_views` made them."""
    readable = lines.select(["width", "height", "pixels"]).filter(lines["pixels"].is_valid())
    return [
        np.frombuffer(row["pixels"], np.uint8).reshape(
            preprocess.height * (len(TURNS) if preprocess.is_turned(row["width"], row["height"]) else 1), -1
        )
        for row in readable.to_pylist()
    ]


def output_id(input_id: str, digest: str, earlier_rows: int, *, gone: bool) -> str:
    """32 hex digits that name a row: this model's reading of this version of this object."""
    content = json.dumps([input_id, digest, DECODER_VERSION, earlier_rows, gone])
    return hashlib.sha256(content.encode()).hexdigest()[:32]


def transcripts(
    lines: pa.Table,
    readings: Sequence["Hypothesis"],
    *,
    shadow: Mapping[str, str],
    model: "ResolvedModel",
    publication: int,
    least_confidence: float,
    now: datetime,
) -> pa.Table:
    """A table of TRANSCRIPT_SCHEMA, in the order of the lines.

    Args:
        lines: Of LINE_SCHEMA.
        readings: One for each line with pixels, in order.
        shadow: What the shadow model read, by input_id.
        publication: The run's.
        least_confidence: Below it a text has status low_confidence.
        now: In UTC.
    """
    remaining = iter(readings)
    found = [next(remaining) if read else None for read in lines["pixels"].is_valid().to_pylist()]
    count = len(found)
    columns: dict[str, Any] = {
        name: lines[name] for name in lines.column_names if name in TRANSCRIPT_SCHEMA.names
    }
    columns |= {
        "id": [
            output_id(i, model.digest, earlier_rows, gone=gone)
            for i, earlier_rows, gone in zip(
                *(lines[name].to_pylist() for name in ("input_id", "earlier_rows", "gone")), strict=True
            )
        ],
        "status": [
            status if reading is None else OK if reading.confidence >= least_confidence else LOW_CONFIDENCE
            for status, reading in zip(lines["status"].to_pylist(), found, strict=True)
        ],
        "text": [reading and reading.text for reading in found],
        "log_prob": [reading and reading.log_prob for reading in found],
        "confidence": [reading and reading.confidence for reading in found],
        "alternatives": [reading and _alternatives(reading) for reading in found],
        "shadow_text": pa.array([shadow.get(i) for i in lines["input_id"].to_pylist()], pa.string()),
        "model_name": [model.name] * count,
        "model_version": [model.version] * count,
        "model_digest": [model.digest] * count,
        "decoder_version": [DECODER_VERSION] * count,
        "publication": [publication] * count,
        "recognised_at": pa.array([now] * count, pa.timestamp("us", "UTC")),
    }
    return conform(pa.table(columns), TRANSCRIPT_SCHEMA)


def _sum(one: dict[str, float], two: dict[str, float]) -> dict[str, float]:
    return {name: one.get(name, 0.0) + two.get(name, 0.0) for name in {**one, **two}}


def _alternatives(reading: "Hypothesis") -> list[dict[str, Any]] | None:
    return [
        {"text": other.text, "log_prob": other.log_prob, "confidence": other.confidence}
        for other in reading.alternatives
    ] or None


def commit(
    table_uri: str,
    run_uri: str,
    shard: int,
    rows: pa.Table,
    listing: Listing,
    *,
    figures: dict[str, float] | None = None,
) -> Done:
    """Writes a shard's rows and commits them, unless it is committed already; what then counts.

    Args:
        table_uri: The table's folder.
        run_uri: The run's; its last part is the run's name.
        shard: Its number.
        rows: Of TRANSCRIPT_SCHEMA, one for each object of the shard.
        listing: What the run owes.
        figures: What was measured while they were made.

    Raises:
        DataError: The rows aren't one for each object.
        StorageError: They can't be written.
    """
    same = [name for name in LISTING_SCHEMA.names if name in TRANSCRIPT_SCHEMA.names]
    read = pc.is_in(rows["status"], value_set=pa.array(READ))
    whole = pc.all(pc.and_(pc.equal(read, rows["text"].is_valid()), pc.xor(read, rows["reason"].is_valid())))
    if not rows.select(same).equals(listing.shard(shard).select(same)) or not whole.as_py():
        raise DataError(
            f"Shard {shard} of {run_uri} isn't one row for each object, with a text or a reason: not kept."
        )
    data = parquet_bytes(rows)
    sha256 = hashlib.sha256(data).hexdigest()
    run = run_uri.rpartition("/")[2]
    file = TableFile(
        path=f"run={run}/s{shard:06d}-{secrets.token_hex(8)}.parquet", bytes=len(data), rows=rows.num_rows
    )
    uri = join(table_uri, file.path)
    write_atomic(uri, data)
    if hashlib.sha256(read_bytes(uri)).hexdigest() != sha256:
        raise StorageError(
            f"{uri} doesn't hold what was written to it. Check the store, and run the same again."
        )
    done = Done(file=file, sha256=sha256, tally=replace(Tally.of(rows), figures=figures or {}))
    record = {"file": asdict(file), "sha256": sha256, "tally": done.tally.as_json()}
    if create_exclusive(done_uri(run_uri, shard), json.dumps(record).encode()):
        return done
    return read_done(run_uri, shard)


def done_uri(run_uri: str, shard: int) -> str:
    """Where a shard's commit is recorded."""
    return join(run_uri, "done", f"{shard:06d}.json")


def read_done(run_uri: str, shard: int) -> Done:
    """A shard's commit.

    Raises:
        DataError: The record is damaged.
        StorageError: It can't be read.
    """
    uri = done_uri(run_uri, shard)
    try:
        record = json.loads(read_bytes(uri))
        return Done(
            file=TableFile(**record["file"]),
            sha256=record["sha256"],
            tally=Tally.from_json(record["tally"]),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise DataError(f"{uri} is damaged ({error}): remove it and run the same again.") from error


def finished_shards(run_uri: str) -> Iterator[int]:
    """The shards of a run that are committed.

    Raises:
        StorageError: They can't be listed.
    """
    for stored in list_objects(join(run_uri, "done")):
        if match := _DONE.fullmatch(stored.key):
            yield int(match[1])
