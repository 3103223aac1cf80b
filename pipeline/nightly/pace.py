"""How fast the last night was: what this one is foreseen and cut by."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.errors import ObjectNotFoundError
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import join, read_bytes

SHARD_SECONDS = 45.0
"""What one recogniser should take for a shard: what a crash may cost."""
DEFAULT_SHARD_ROWS, LEAST_SHARD_ROWS, MOST_SHARD_ROWS = 2_048, 256, 16_384
"""A shard's images travel between processes as one value; and each costs half a dozen requests."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Pace:
    """Of a run that is published."""

    run: str
    images_per_second: float | None
    """Of all recognisers together, while all had work; None where it did too little to tell."""
    recogniser: float | None
    """Images a second of one recogniser at work."""


def steady(ends: Sequence[tuple[float, int]], recognisers: int) -> tuple[int, float]:
    """Images and seconds between two shards' ends while all recognisers had work.

    From the end by which each may have done one over whole rounds of all: what the others are in the midst of
    is then the same at both, whether they go in step or in turns.

    Args:
        ends: Of shards in their order: the time, and images done until then.
        recognisers: That work beside each other.

    Returns:
        Nothing where that is too short to tell.
    """
    rounds = (len(ends) - 2 * recognisers + 1) // recognisers
    if rounds < 1:
        return 0, 0.0
    first = recognisers - 1
    (began, before), (ended, done) = ends[first], ends[first + rounds * recognisers]
    return done - before, ended - began


def last_pace(table: TranscriptTable, output_uri: str) -> Pace | None:
    """The pace of the run that was published last; None where there is no run, or no report of it.

    Raises:
        StorageError: It can't be told.
    """
    run = table.last_run()
    if run is None:
        return None
    try:
        record = json.loads(read_bytes(join(output_uri, "runs", run, "report.json")))
        return Pace(
            run=run, images_per_second=record["steady_images_per_second"], recogniser=record["recogniser"]
        )
    except (ObjectNotFoundError, ValueError, KeyError, TypeError):
        return None  # an older report, or none: a pace is a convenience


def shard_rows(pace: Pace | None) -> int:
    """Images of a shard, so that a recogniser takes most of a minute for it."""
    if pace is None or pace.recogniser is None:
        return DEFAULT_SHARD_ROWS
    return min(max(round(pace.recogniser * SHARD_SECONDS), LEAST_SHARD_ROWS), MOST_SHARD_ROWS)
