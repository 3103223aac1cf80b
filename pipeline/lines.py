"""Listed objects to line images: every object becomes one row, with pixels or with a reason."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES, PreprocessConfig, decode_image, line_image
from pipeline.fetch import FetchConfig, Gone, Wanted, fetch
from pipeline.schema import LISTING_SCHEMA

LINE_SCHEMA = pa.schema(
    [
        *LISTING_SCHEMA,
        pa.field("width", pa.int32()),
        pa.field("height", pa.int32()),
        pa.field("pixels", pa.binary()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
    ]
)
"""width, height: of the upright original. pixels: the line image's rows, uint8 [H, canonical width], or null
with a reason and a detail."""


def read_lines(objects: pa.Table, preprocess: PreprocessConfig, config: FetchConfig) -> pa.Table:
    """Fetches and decodes listed objects.

    Args:
        objects: Of LISTING_SCHEMA.
        preprocess: The recogniser's.

    Returns:
        Of LINE_SCHEMA, in the same order.

    Raises:
        StorageError: An object can't be fetched for a reason that lies in storage, not in the object.
    """
    rows: list[dict[str, Any]] = objects.to_pylist()
    wanted = [Wanted(uri=r["uri"], etag=r["etag"], size=r["size"]) for r in rows if r["size"] <= MAX_BYTES]
    with closing(fetch(wanted, config)) as contents:
        for row in rows:
            try:
                grey = decode_image(_content(row["size"], contents))
                row["height"], row["width"] = grey.shape
                row["pixels"] = line_image(grey, preprocess).tobytes()
            except ImageRejectedError as error:
                row |= {"reason": error.reason, "detail": error.detail}
    return pa.Table.from_pylist(rows, schema=LINE_SCHEMA)


def _content(size: int, contents: Iterator[bytes | Gone]) -> bytes:
    if size > MAX_BYTES:
        raise ImageRejectedError("too_large", f"{size:,} bytes; at most {MAX_BYTES:,} are fetched")
    content = next(contents)
    if isinstance(content, Gone):
        raise ImageRejectedError(content.reason, content.detail)
    return content
