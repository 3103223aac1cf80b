"""Listed objects to line images: every object becomes one row, with pixels or with what became of it."""

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.fetch import FetchConfig, Gone
from pipeline.inputs.contents import Content, contents
from pipeline.sandbox import Sandbox
from pipeline.schema import LISTING_SCHEMA

DECODER_VERSION = 1
"""Raised whenever the same bytes may become other pixels: a backfill then reads everything again."""

FETCH_S, DECODE_S, RECOGNISE_S = "seconds/fetch", "seconds/decode", "seconds/recognise"
"""Figures of a shard: what its stages took, each of them in a process of its own."""
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
    with closing(contents([row for row in rows if _is_fetched(row)], config)) as found:
        lines = [row | _line(row, found, sandbox, figures) for row in rows]
    return pa.Table.from_pylist(lines, schema=LINE_SCHEMA)


def add(figures: dict[str, float], name: str, value: float) -> None:
    """Adds to a figure, which is 0 at first."""
    figures[name] = figures.get(name, 0.0) + value


def _is_fetched(row: dict[str, Any]) -> bool:
    return not row["gone"] and row["unfit"] is None and row["size"] <= MAX_BYTES


def _line(
    row: dict[str, Any], found: Iterator[Content], sandbox: Sandbox, figures: dict[str, float]
) -> dict[str, Any]:
    if row["gone"]:
        return {"status": DELETED, "reason": "deleted", "detail": "not in the listing any more"}
    if row["unfit"] is not None:
        return {"status": QUARANTINED, "reason": row["unfit"], "detail": row["unfit_detail"]}
    if not _is_fetched(row):
        detail = f"{row['size']:,} bytes; at most {MAX_BYTES:,} are fetched"
        return {"status": QUARANTINED, "reason": "too_large", "detail": detail}
    began = time.perf_counter()
    content = next(found)
    fetched = time.perf_counter()
    add(figures, FETCH_S, fetched - began)
    if isinstance(content, Gone):
        status = DELETED if content.reason == "deleted" else SUPERSEDED
        return {"status": status, "reason": content.reason, "detail": content.detail}
    try:
        if isinstance(content, ImageRejectedError):
            raise content
        line = sandbox.decode(content, row["box"])
    except ImageRejectedError as error:
        return {"status": QUARANTINED, "reason": error.reason, "detail": error.detail}
    finally:
        add(figures, DECODE_S, time.perf_counter() - fetched)
    return {"width": line.width, "height": line.height, "pixels": line.pixels}
