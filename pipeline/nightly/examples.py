"""Rows to look at, with pictures small enough for a page."""

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from PIL import Image

from crnn.cropping import crop
from crnn.errors import ImageRejectedError
from crnn.preprocess import decode_image
from pipeline.errors import StorageError
from pipeline.inputs.contents import content


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """A row to look at."""

    key: str
    text: str | None
    confidence: float | None
    reason: str | None
    detail: str | None
    picture: str | None
    """A PNG as a data: URI; None where there is none."""
    shadow_text: str | None
    """What the shadow model read, where it looked."""


_COLUMNS = (
    "uri",
    "member",
    "etag",
    "size",
    "position",
    "box",
    "key",
    "text",
    "confidence",
    "reason",
    "detail",
    "shadow_text",
)
_FIRST = 5_000
"""Rows among which copies are told. DuckDB keeps so many at hand, and sorts the whole night for more."""


def least_confident(columns: str, where: str) -> str:
    """SQL for the rows of DuckDB's view `published` that the model is least sure of; $count is how many.

    Copies of a picture, which a corpus may hold many of, come after all others of the 5,000 least sure rows;
    the same text, confidence and size tell them. Memory doesn't grow with the night.

    Args:
        columns: What is wanted of a row.
        where: A condition in SQL.
    """
    first = f"SELECT * FROM published WHERE {where} ORDER BY confidence, id LIMIT greatest({_FIRST}, $count)"
    # Of equal pictures in different packs, confidence differs in its last digits.
    alike = "text, round(confidence, 4), width, height"
    copy = f"row_number() OVER (PARTITION BY {alike} ORDER BY id)"
    return f"SELECT {columns} FROM ({first}) ORDER BY {copy}, confidence, id LIMIT $count"


def examples(database: Any, where: str, count: int, order: str | None = None) -> tuple[Example, ...]:
    """The first rows of DuckDB's view `published`.

    Args:
        database: The connection.
        where: A condition in SQL.
        count: At most so many.
        order: By what, in SQL; the least confident ones first where not given.
    """
    columns = ", ".join(_COLUMNS)
    if order is None:
        query = least_confident(columns, where)
    else:
        query = f"SELECT {columns} FROM published WHERE {where} ORDER BY {order} LIMIT $count"
    found = database.execute(query, {"count": count}).fetchall()
    rows = [dict(zip(_COLUMNS, values, strict=True)) for values in found]
    return tuple(
        Example(
            key=row["key"],
            text=row["text"],
            confidence=row["confidence"],
            reason=row["reason"],
            detail=row["detail"],
            shadow_text=row["shadow_text"],
            picture=_picture(row) if row["text"] is not None else None,
        )
        for row in rows
    )


def _picture(row: Mapping[str, Any]) -> str | None:
    """A small picture of what could be decoded at night; it may be gone by now."""
    try:
        data = content(row)
        if not isinstance(data, bytes):
            return None
        page = decode_image(data)
        image = Image.fromarray(page if row["box"] is None else crop(page, row["box"]))
    except (StorageError, ImageRejectedError):
        return None
    image.thumbnail((320, 64))
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
