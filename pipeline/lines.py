"""Listed objects to line images: every object becomes one row, with pixels or with what became of it."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import pyarrow as pa

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.fetch import FetchConfig, Gone
from pipeline.inputs.contents import Content, contents
from pipeline.sandbox import DecodedLine, Encoded, Sandbox
from pipeline.schema import LISTING_SCHEMA

DECODER_VERSION = 1
"""Raised whenever the same bytes may become other pixels: a backfill then reads everything again."""

FETCH_S, DECODE_S, RECOGNISE_S = "seconds/fetch", "seconds/decode", "seconds/recognise"
"""Figures of a shard: what its stages took, each of them in a process of its own."""
TOGETHER, TOGETHER_BYTES = 32, 2 << 20
"""Images, or bytes of them, from which on they are decoded: more would wait, fewer cost more each."""
QUARANTINED, SUPERSEDED, DELETED = "quarantined", "superseded", "deleted"

LINE_SCHEMA = pa.schema(
    [
        *LISTING_SCHEMA,
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("pixels", pa.binary()),
        pa.field("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""width, height: of the upright original. pixels: of `crnn.preprocess.line_views`, row by row, or null with
a status, a reason and a detail."""


def read_lines(
    objects: pa.Table, sandbox: Sandbox, config: FetchConfig, figures: dict[str, float] | None = None
) -> pa.Table:
    """Fetches and decodes listed objects.

    Args:
        objects: Of LISTING_SCHEMA.
        sandbox: Decodes for the recogniser.
        figures: Where to add the seconds that it waited for bytes and for the sandbox.

    Returns:
        Of LINE_SCHEMA, in the same order.

    Raises:
        StorageError: An object can't be fetched for a reason that lies in storage, not in the object.
    """
    rows: list[dict[str, Any]] = objects.to_pylist()
    figures = {} if figures is None else figures
    wanted = [row for row in rows if _is_fetched(row)]
    with closing(contents(wanted, config)) as found:
        outcomes = _outcomes(wanted, found, sandbox, figures)
        lines = [row | (next(outcomes) if _is_fetched(row) else _unfetched(row)) for row in rows]
    return pa.Table.from_pylist(lines, schema=LINE_SCHEMA)


def add(figures: dict[str, float], name: str, value: float) -> None:
    """Adds to a figure, which is 0 at first."""
    figures[name] = figures.get(name, 0.0) + value


def _is_fetched(row: dict[str, Any]) -> bool:
    return not row["gone"] and row["unfit"] is None and row["size"] <= MAX_BYTES


def _unfetched(row: dict[str, Any]) -> dict[str, Any]:
    if row["gone"]:
        return {"status": DELETED, "reason": "deleted", "detail": "not in the listing any more"}
    if row["unfit"] is not None:
        return {"status": QUARANTINED, "reason": row["unfit"], "detail": row["unfit_detail"]}
    detail = f"{row['size']:,} bytes; at most {MAX_BYTES:,} are fetched"
    return {"status": QUARANTINED, "reason": "too_large", "detail": detail}


def _outcomes(
    rows: Sequence[dict[str, Any]], found: Iterator[Content], sandbox: Sandbox, figures: dict[str, float]
) -> Iterator[dict[str, Any]]:
    """What became of each row whose bytes are fetched; some are decoded at a time."""
    began = time.perf_counter()
    for batch in _batches(zip(rows, found, strict=True)):
        fetched = time.perf_counter()
        add(figures, FETCH_S, fetched - began)
        images = [Encoded(content, row["box"]) for row, content in batch if isinstance(content, bytes)]
        decoded = iter(sandbox.decode_all(images))
        outcomes = [
            _outcome(next(decoded) if isinstance(content, bytes) else content) for _, content in batch
        ]
        began = time.perf_counter()
        add(figures, DECODE_S, began - fetched)
        yield from outcomes


def _batches(
    items: Iterator[tuple[dict[str, Any], Content]],
) -> Iterator[list[tuple[dict[str, Any], Content]]]:
    batch: list[tuple[dict[str, Any], Content]] = []
    held = 0
    for row, content in items:
        batch.append((row, content))
        held += len(content) if isinstance(content, bytes) else 0
        if len(batch) == TOGETHER or held >= TOGETHER_BYTES:
            yield batch
            batch, held = [], 0
    if batch:
        yield batch


def _outcome(found: DecodedLine | ImageRejectedError | Gone) -> dict[str, Any]:
    if isinstance(found, Gone):
        status = DELETED if found.reason == "deleted" else SUPERSEDED
        return {"status": status, "reason": found.reason, "detail": found.detail}
    if isinstance(found, ImageRejectedError):
        return {"status": QUARANTINED, "reason": found.reason, "detail": found.detail}
    return {"width": found.width, "height": found.height, "pixels": found.pixels}
