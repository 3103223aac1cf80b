"""Back into training: the images of a run that are most worth a person's time, as a folder that ingest reads.

<folder>/<id>          the bytes as they were transcribed
<folder>/labels.tsv    path, text: as the model read it, for a person to correct
"""

import re

from pipeline.fetch import FetchConfig, Gone, Wanted, fetch
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import join, write_atomic

_QUERY = """
SELECT id, uri, etag, size, text FROM published
WHERE run = ? AND status IN ('ok', 'low_confidence') ORDER BY confidence, id LIMIT ?
"""


def export_review(table: TranscriptTable, run: str, count: int, folder_uri: str, config: FetchConfig) -> int:
    """Copies the least confident images of a published run, with their texts; how many were still there.

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

    with duckdb.connect() as database:
        database.register("published", table.rows())
        rows = database.execute(_QUERY, [run, count]).fetchall()
    wanted = [Wanted(uri=uri, etag=etag, size=size) for _, uri, etag, size, _ in rows]
    lines = ["path\ttext"]
    for (name, *_, text), content in zip(rows, fetch(wanted, config), strict=True):
        if not isinstance(content, Gone):
            write_atomic(join(folder_uri, name), content)
            lines.append("\t".join([name, re.sub(r"\s+", " ", text)]))
    write_atomic(join(folder_uri, "labels.tsv"), "".join(f"{line}\n" for line in lines).encode())
    return len(lines) - 1
