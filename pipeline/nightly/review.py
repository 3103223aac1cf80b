"""Back into training: the images of a run that are most worth a person's time, as a folder that ingest reads.

<folder>/<id>          the bytes as they were transcribed; a box as a PNG of its own
<folder>/labels.tsv    path, text: as the model read it, for a person to correct
"""

import io
import re
from collections.abc import Sequence

from PIL import Image

from crnn.cropping import crop
from crnn.preprocess import decode_image
from pipeline.fetch import FetchConfig
from pipeline.inputs.contents import contents
from pipeline.nightly.examples import least_confident
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import join, write_atomic

_QUERY = least_confident(
    "id, uri, member, etag, size, position, box, text", "run = $run AND status IN ('ok', 'low_confidence')"
)


def export_review(table: TranscriptTable, run: str, count: int, folder_uri: str, config: FetchConfig) -> int:
    """Copies the least confident images of a published run, with their texts; how many were still there.

    A picture that the run met several times is worth labelling once: its copies come after all others.

    Args:
        table: That holds the run.
        run: Its name.
        count: At most so many.
        folder_uri: Where to.
        config: How hard to pull.

    Raises:
        StorageError: The table or an image can't be read, or a copy not written.
    """
    import duckdb

    with duckdb.connect(config={"memory_limit": "512MB", "threads": 2}) as database:
        database.register("published", table.rows())
        found = database.execute(_QUERY, {"run": run, "count": count})
        names = [column[0] for column in found.description]
        rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
    lines = ["path\ttext"]
    for row, data in zip(rows, contents(rows, config), strict=True):
        if isinstance(data, bytes):
            image = data if row["box"] is None else _cut(data, row["box"])
            write_atomic(join(folder_uri, row["id"]), image)
            lines.append("\t".join([row["id"], re.sub(r"\s+", " ", row["text"])]))
    write_atomic(join(folder_uri, "labels.tsv"), "".join(f"{line}\n" for line in lines).encode())
    return len(lines) - 1


def _cut(page: bytes, box: Sequence[float]) -> bytes:
    """A box of a page that could be cut out at night, as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(crop(decode_image(page), box)).save(buffer, "PNG")
    return buffer.getvalue()
