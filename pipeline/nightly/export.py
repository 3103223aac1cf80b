"""Rows of the table as JSON lines or CSV, for those who can't read Delta."""

import tempfile
from pathlib import Path
from typing import Literal

from pipeline.errors import ConfigError
from pipeline.nightly.table import CURRENT, TABLE_SCHEMA, TranscriptTable
from pipeline.storage import upload

ExportRows = Literal["current", "run"]
MEMORY = "1GB"
"""Of sorting the rows; beyond it DuckDB goes to disk."""
_NESTED = ("box", "alternatives")
_FORMATS = {
    ".jsonl": "FORMAT json",
    ".jsonl.gz": "FORMAT json, COMPRESSION gzip",
    ".csv": "FORMAT csv, HEADER",
    ".csv.gz": "FORMAT csv, HEADER, COMPRESSION gzip",
}


def export_format(uri: str) -> str:
    """What DuckDB is to write, by the file's name.

    Raises:
        ConfigError: No format has that suffix.
    """
    for suffix, options in _FORMATS.items():
        if uri.lower().endswith(suffix):
            return options
    raise ConfigError(f"--export {uri}: give a name that ends with one of {', '.join(_FORMATS)}.")


def export_rows(table: TranscriptTable, uri: str, *, run: str | None = None) -> int:
    """Writes rows in the order of their URIs, all of them or nothing; how many there are.

    In CSV, what is nested is JSON, and a text that is empty is quoted while one that is missing is not.

    Args:
        table: Their table.
        uri: The file; its suffix tells the format.
        run: Whose rows; None takes the newest row of everything.

    Raises:
        ConfigError: No format has that suffix.
        StorageError: The table can't be read, or the file not written.
    """
    import duckdb

    options, parameters = export_format(uri), [] if run is None else [run]
    nested = ", ".join(f"to_json({name}) AS {name}" for name in _NESTED) if "csv" in options else ""
    columns = f"* REPLACE ({nested})" if nested else "*"
    rows = "SELECT * FROM published WHERE run = ?" if parameters else CURRENT
    with tempfile.TemporaryDirectory(prefix="crnn-export-") as folder:
        with duckdb.connect(config={"memory_limit": MEMORY, "temp_directory": folder}) as database:
            database.execute("SET enable_progress_bar = false")
            database.execute("SET TimeZone = 'UTC'")
            database.register("published", table.rows() or TABLE_SCHEMA.empty_table())
            path = Path(folder) / "rows"
            ordered = f"SELECT {columns} FROM ({rows}) ORDER BY uri, member, publication"
            query = f"COPY ({ordered}) TO '{path}' ({options})"
            ((count,),) = database.execute(query, parameters).fetchall()
        upload(path, uri)
    return int(count)
