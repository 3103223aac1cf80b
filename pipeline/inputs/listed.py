"""From what --input names to the items that it holds, page by page."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ObjectChangedError, ObjectNotFoundError, StorageError
from pipeline.inputs.archives import is_archive, open_archive
from pipeline.inputs.items import TOO_MANY, Item, Member
from pipeline.inputs.range_file import RangeFile
from pipeline.inputs.tables import is_table, table_items
from pipeline.listing import input_id
from pipeline.storage import create_exclusive, join, list_objects, read_bytes
from pipeline.stores import StoredObject

_THREADS = 8
_AHEAD = 256
"""Objects that may wait for an archive before them to be looked through."""
MOST_MEMBERS = 2_000_000
"""Of one archive, whose index is held in memory while it is looked through."""
_ROWS = 8_192
_INDEX = pa.schema(
    [
        ("name", pa.string()),
        ("position", pa.int64()),
        ("size", pa.int64()),
        ("unfit", pa.string()),
        ("detail", pa.string()),
    ]
)


def is_complete(source: str) -> bool:
    """Whether what an input doesn't hold any more is gone: so it is with folders, not with lists."""
    return not is_table(source)


def items(source: str, index_uri: str | None) -> Iterator[Item]:
    """Everything in a folder or bucket prefix, archives by their members; or what a table lists.

    Args:
        source: A folder, or a .csv or .parquet file that lists URIs.
        index_uri: Folder in which archives' members are noted, so that no archive is looked through twice;
            None notes nothing.

    Raises:
        ObjectNotFoundError: The folder or bucket doesn't exist.
        ConfigError: The table isn't one.
        StorageError: The input can't be listed completely.
    """
    if is_table(source):
        yield from table_items(source)
        return
    # Objects wait in a row for the archives before them; so their order stays.
    waiting: deque[Future[Iterator[Item]] | Item] = deque()
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="archives") as pool:
        try:
            for stored in in_order(list_objects(source)):
                if is_archive(stored.key):
                    waiting.append(pool.submit(_members, stored, index_uri))
                else:
                    waiting.append(Item.of(stored))
                while waiting and (len(waiting) > _AHEAD or _is_ready(waiting[0])):
                    yield from _taken(waiting.popleft())
            while waiting:
                yield from _taken(waiting.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _is_ready(entry: "Future[Iterator[Item]] | Item") -> bool:
    return isinstance(entry, Item) or entry.done()


def _taken(entry: "Future[Iterator[Item]] | Item") -> Iterator[Item]:
    return iter((entry,)) if isinstance(entry, Item) else entry.result()


def _members(stored: StoredObject, index_uri: str | None) -> Iterator[Item]:
    """An archive's items; it owes a row itself only where it isn't whole, or changed meanwhile."""
    try:
        index = _index(stored) if index_uri is None else _noted(stored, index_uri)
    except (ObjectChangedError, ObjectNotFoundError):  # reading it will tell the same
        return iter((Item.of(stored),))
    return _items(stored, index, index_uri)


def _items(stored: StoredObject, index: pa.Buffer, index_uri: str | None) -> Iterator[Item]:
    try:
        for batch in pq.ParquetFile(pa.BufferReader(index)).iter_batches(_ROWS):
            for row in batch.to_pylist():
                yield Item(
                    uri=stored.uri,
                    key=f"{stored.key}/{row['name']}" if row["name"] else stored.key,
                    etag=stored.etag,
                    size=row["size"],
                    modified=stored.modified,
                    member=row["name"],
                    position=row["position"],
                    unfit=row["unfit"],
                    detail=row["detail"],
                )
    except (pa.ArrowException, OSError) as error:
        uri = _index_uri(stored, str(index_uri))
        raise StorageError(f"{uri} is damaged ({error}). Remove it and run again.") from error


def _index_uri(stored: StoredObject, index_uri: str) -> str:
    return join(index_uri, f"{input_id(stored.uri, stored.etag, stored.size)}.parquet")


def _noted(stored: StoredObject, index_uri: str) -> pa.Buffer:
    """An archive's members, as they were found the first time."""
    uri = _index_uri(stored, index_uri)
    try:
        return pa.py_buffer(read_bytes(uri))
    except ObjectNotFoundError:
        index = _index(stored)
        create_exclusive(uri, index.to_pybytes())
        return index


def _index(stored: StoredObject) -> pa.Buffer:
    """An archive's members as Parquet, which is a tenth of them as objects: many may wait in a row."""
    members = _some(open_archive(RangeFile(stored.uri, stored.etag, stored.size)).members(), stored)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, _INDEX, compression="zstd") as writer:
        while page := list(islice(members, _ROWS)):
            writer.write_table(pa.Table.from_pylist([asdict(member) for member in page], schema=_INDEX))
    return sink.getvalue()


def _some(members: Iterator[Member], stored: StoredObject) -> Iterator[Member]:
    """The members, at most `MOST_MEMBERS`; one without a name stands for the others."""
    yield from islice(members, MOST_MEMBERS)
    if next(members, None) is not None:
        detail = f"{stored.uri} has more than {MOST_MEMBERS:,} members; what follows is left. Divide it"
        yield Member(name="", position=None, size=stored.size, unfit=TOO_MANY, detail=detail[:500])


def in_order(objects: Iterable[StoredObject]) -> Iterator[StoredObject]:
    """Refuses a listing whose keys don't increase, since it may hold one twice.

    Raises:
        StorageError: A key isn't greater than the one before.
    """
    last = b""
    for stored in objects:
        key = stored.key.encode()
        if key <= last:
            raise StorageError(f"The listing is out of order at {stored.uri}. Run again.")
        last = key
        yield stored
