"""Tables that list what to read: a CSV or Parquet file of URIs, with boxes where pages hold several texts.

uri        of an image; a relative one starts from the table's folder
etag, size of the version that is meant; both or none, and then they are looked up
box        left, top, width, height in pixels
polygon    corners x, y, …: clockwise from the text's beginning, four or more, as many above as below
"""

import csv
import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import BucketNotFoundError, ConfigError, ObjectNotFoundError, StorageError
from pipeline.inputs.items import LARGEST, MISSING, Item
from pipeline.inputs.range_file import RangeFile
from pipeline.sources.files import folder_of
from pipeline.storage import absolute, join, read_bytes, stat

_ROWS = 1_024
_THREADS = 16
_UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
_SHAPES = ("box", "polygon")
BAD_BOX = "bad_box"


def is_table(source: str) -> bool:
    """Whether an input is a table rather than a folder."""
    return source.lower().endswith((".csv", ".parquet"))


def table_items(uri: str) -> Iterator[Item]:
    """What a table lists, in its order; a line that says nothing usable is an item that is unfit.

    Raises:
        ConfigError: It has no column `uri`, or there is no such file.
        StorageError: It can't be read, or what it lists not be looked up.
    """
    try:
        rows = _csv_rows(uri) if uri.lower().endswith(".csv") else _parquet_rows(uri)
        with ThreadPoolExecutor(_THREADS, thread_name_prefix="look up") as pool:
            while batch := list(islice(rows, _ROWS)):
                yield from pool.map(_Row(uri).item, batch)
    except ObjectNotFoundError as error:
        raise ConfigError(f"--input {uri}: {error}") from error


class _Row:
    def __init__(self, table_uri: str) -> None:
        self._folder = absolute(folder_of(table_uri))

    def item(self, row: dict[str, Any]) -> Item:
        listed = row["uri"]
        if not isinstance(listed, str) or not listed.strip():
            return self._unfit(row, str(listed), MISSING, "no URI")
        uri = listed if "://" in listed or listed.startswith("/") else join(self._folder, listed)
        try:
            box = _corners(row)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            return self._unfit(row, uri, BAD_BOX, str(error))
        etag, size, modified = row.get("etag"), row.get("size"), _UNKNOWN
        if etag in (None, "") or not str(size or "").isdecimal():
            try:
                found = stat(uri)
            except BucketNotFoundError:
                raise
            except (ObjectNotFoundError, ConfigError, RuntimeError) as error:  # ~nobody is a RuntimeError
                return self._unfit(row, uri, MISSING, str(error))
            etag, size, modified = found.etag, found.size, found.modified
        member = "" if box is None else f"box {','.join(f'{value:g}' for value in box)}"
        return Item(
            uri=uri,
            key=listed,
            etag=str(etag).strip('"'),
            size=min(int(size or 0), LARGEST),
            modified=modified,
            member=member,
            box=box,
        )

    def _unfit(self, row: dict[str, Any], uri: str, why: str, detail: str) -> Item:
        given = next((str(row[name]) for name in _SHAPES if row.get(name) not in (None, "")), "")
        return Item(
            uri=uri,
            key=str(row["uri"]),
            etag="",
            size=0,
            modified=_UNKNOWN,
            member=f"box {given}" if given and why == BAD_BOX else "",
            unfit=why,
            detail=detail[:500],
        )


def _corners(row: dict[str, Any]) -> tuple[float, ...] | None:
    given = {name: row[name] for name in _SHAPES if row.get(name) not in (None, "")}
    if not given:
        return None
    ((shape, value), *more) = given.items()
    if more:
        raise ValueError("both a box and a polygon")
    numbers = json.loads(value) if isinstance(value, str) else value
    if not isinstance(numbers, list):
        raise ValueError(f"{shape} {value}: not a list of numbers")
    flat = [float(number) for point in numbers for number in (point if isinstance(point, list) else [point])]
    if any(not abs(number) <= 1e6 for number in flat):
        raise ValueError(f"{shape} {value}: not a place on a page")
    if shape == "box":
        if len(flat) != 4 or min(flat[2:]) <= 0:
            raise ValueError(f"box {value}: give left, top, width, height")
        left, top, width, height = flat
        return (left, top, left + width, top, left + width, top + height, left, top + height)
    if len(flat) < 8 or len(flat) % 4:
        raise ValueError(f"polygon {value}: give four corners x, y or more, as many above as below")
    return tuple(flat)


def _csv_rows(uri: str) -> Iterator[dict[str, Any]]:
    try:
        text = io.StringIO(read_bytes(uri).decode("utf-8-sig"), newline="")
    except UnicodeDecodeError as error:
        raise ConfigError(f"--input {uri} isn't UTF-8 ({error.reason}). Save it as UTF-8.") from error
    reader = csv.DictReader(text, strict=True)
    try:
        _check_columns(uri, list(reader.fieldnames or []))
        yield from reader
    except csv.Error as error:  # a quote that isn't closed swallows what follows
        raise ConfigError(f"--input {uri}, line {reader.line_num + 1}: {error}. Mend its quotes.") from error


def _parquet_rows(uri: str) -> Iterator[dict[str, Any]]:
    try:
        found = stat(uri)
        file = pq.ParquetFile(pa.PythonFile(RangeFile(uri, found.etag, found.size), mode="r"))
    except StorageError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise ConfigError(f"--input {uri} isn't sound Parquet ({error}). Fetch it again.") from error
    names = file.schema_arrow.names
    _check_columns(uri, names)
    wanted = [name for name in ("uri", "etag", "size", *_SHAPES) if name in names]
    return (row for batch in file.iter_batches(_ROWS, columns=wanted) for row in batch.to_pylist())


def _check_columns(uri: str, names: list[str]) -> None:
    if "uri" not in names:
        hint = " Images inside of Parquet files are read where --input is their folder." * ("image" in names)
        raise ConfigError(
            f"--input {uri} has columns {', '.join(names) or 'none'}; a list needs column uri.{hint}"
        )
