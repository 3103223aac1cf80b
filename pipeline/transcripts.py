"""A run's transcripts: one Parquet file a shard, there whole or not at all, and then never changed."""

import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from crnn.preprocess import GreyImage
from pipeline.errors import DataError
from pipeline.schema import LISTING_SCHEMA, TRANSCRIPT_SCHEMA, check, conform
from pipeline.storage import create_exclusive, join, list_objects, parquet_bytes, read_bytes

if TYPE_CHECKING:  # both import torch, which those who only write and audit need not
    from crnn.decode import Hypothesis
    from pipeline.registry import ResolvedModel

OK, REJECTED = "ok", "rejected"
_PART = re.compile(r"(\d{6,})\.parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """What became of some objects; tallies add up."""

    rows: int = 0
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Rows by status and reason."""
    confidence: float = 0.0
    """Sum over the rows with status ok."""

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            rows=self.rows + other.rows,
            outcomes=self.outcomes + other.outcomes,
            confidence=self.confidence + other.confidence,
        )

    def as_json(self) -> str:
        """For a cell of a table."""
        outcomes = [[*outcome, count] for outcome, count in self.outcomes.items()]
        return json.dumps([self.rows, outcomes, self.confidence])

    @classmethod
    def from_json(cls, text: str) -> "Tally":
        """The tally that `as_json` wrote."""
        rows, outcomes, confidence = json.loads(text)
        counts = {(status, reason): count for status, reason, count in outcomes}
        return cls(rows=rows, outcomes=Counter(counts), confidence=confidence)

    @property
    def read(self) -> int:
        """Rows with a text."""
        return sum(count for (status, _), count in self.outcomes.items() if status == OK)

    @property
    def mean_confidence(self) -> float | None:
        """Over the rows with a text; None where there is none."""
        return self.confidence / self.read if self.read else None


def part_uri(folder_uri: str, shard: int) -> str:
    """Where a shard's transcripts are."""
    return join(folder_uri, f"{shard:06d}.parquet")


def finished_shards(folder_uri: str) -> Iterator[int]:
    """The shards whose transcripts are there.

    Raises:
        StorageError: The folder can't be listed.
    """
    for stored in list_objects(folder_uri):
        if match := _PART.fullmatch(stored.key):
            yield int(match[1])


def line_images(lines: pa.Table, height: int) -> list[GreyImage]:
    """The pixels of those rows of LINE_SCHEMA that have some, as uint8 [height, canonical width]."""
    return [
        np.frombuffer(pixels, np.uint8).reshape(height, -1)
        for pixels in lines["pixels"].drop_null().to_pylist()
    ]


def transcripts(
    lines: pa.Table, readings: Sequence["Hypothesis"], *, model: "ResolvedModel", run: str, now: datetime
) -> pa.Table:
    """A table of TRANSCRIPT_SCHEMA, in the order of the lines.

    Args:
        lines: Of LINE_SCHEMA.
        readings: One for each line with pixels, in order.
        now: In UTC.
    """
    remaining = iter(readings)
    found = [next(remaining) if read else None for read in lines["pixels"].is_valid().to_pylist()]
    columns: dict[str, Any] = {
        name: lines[name] for name in lines.column_names if name in TRANSCRIPT_SCHEMA.names
    }
    columns |= {
        "status": [REJECTED if reading is None else OK for reading in found],
        "text": [reading and reading.text for reading in found],
        "log_prob": [reading and reading.log_prob for reading in found],
        "confidence": [reading and reading.confidence for reading in found],
        "model_name": [model.name] * len(found),
        "model_version": [model.version] * len(found),
        "model_digest": [model.digest] * len(found),
        "run": [run] * len(found),
        "recognised_at": pa.array([now] * len(found), pa.timestamp("us", "UTC")),
    }
    return conform(pa.table(columns), TRANSCRIPT_SCHEMA)


def commit(folder_uri: str, shard: int, table: pa.Table) -> bool:
    """Writes a shard's transcripts unless they are there; True where it was this call that did.

    Raises:
        StorageError: They can't be written.
    """
    return create_exclusive(part_uri(folder_uri, shard), parquet_bytes(table))


def audit(folder_uri: str, shard: int, objects: pa.Table) -> Tally:
    """Reads a shard's transcripts back and holds them against what was listed.

    Args:
        objects: The shard's, of LISTING_SCHEMA.

    Raises:
        DataError: A row is missing, there twice, or contradicts itself.
        StorageError: They can't be read.
    """
    uri = part_uri(folder_uri, shard)
    try:
        table = pq.read_table(pa.BufferReader(read_bytes(uri)))
    except pa.ArrowException as error:
        raise DataError(f"{uri} is damaged ({error}): remove it and run the same again.") from error
    check(table.schema, TRANSCRIPT_SCHEMA, uri)
    same = [name for name in LISTING_SCHEMA.names if name in TRANSCRIPT_SCHEMA.names]
    if not table.select(same).equals(objects.select(same)):
        raise DataError(f"{uri} isn't one row for each object listed: remove it and run the same again.")
    read = pc.equal(table["status"], OK)
    if (
        not pc.all(pc.equal(read, table["text"].is_valid())).as_py()
        or not pc.all(pc.xor(read, table["reason"].is_valid())).as_py()
    ):
        raise DataError(
            f"{uri} holds rows with neither a text nor a reason: remove it and run the same again."
        )
    outcomes = zip(table["status"].to_pylist(), table["reason"].to_pylist(), strict=True)
    return Tally(
        rows=table.num_rows,
        outcomes=Counter((status, reason or "") for status, reason in outcomes),
        confidence=pc.sum(table["confidence"]).as_py() or 0.0,
    )
