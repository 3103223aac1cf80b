"""From what --input names to the items that it holds, page by page."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict
from functools import partial

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import ObjectChangedError, ObjectNotFoundError, StorageError
from pipeline.inputs.archives import is_archive, open_archive
from pipeline.inputs.items import Item, Member
from pipeline.inputs.range_file import RangeFile
from pipeline.inputs.tables import is_table, table_items
from pipeline.listing import input_id
from pipeline.storage import create_exclusive, join, list_objects, parquet_bytes, read_bytes
from pipeline.stores import StoredObject

_THREADS = 8
_AHEAD = 256
"""Objects that may wait for an archive before them to be looked through."""
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
    waiting: deque[Future[list[Item]] | Item] = deque()
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


def _is_ready(entry: "Future[list[Item]] | Item") -> bool:
    return isinstance(entry, Item) or entry.done()


def _taken(entry: "Future[list[Item]] | Item") -> list[Item]:
    return [entry] if isinstance(entry, Item) else entry.result()


def _members(stored: StoredObject, index_uri: str | None) -> list[Item]:
    """An archive's items; it owes a row itself only where it isn't whole, or changed meanwhile."""
    whole = Item.of(stored)
    try:
        found = _noted(stored, index_uri)
    except (ObjectChangedError, ObjectNotFoundError):  # reading it will tell the same
        return [whole]
    return [
        Item(
            uri=stored.uri,
            key=f"{stored.key}/{member.name}" if member.name else stored.key,
            etag=stored.etag,
            size=member.size,
            modified=stored.modified,
            member=member.name,
            position=member.position,
            unfit=member.unfit,
            detail=member.detail,
        )
        for member in found
    ]


def _noted(stored: StoredObject, index_uri: str | None) -> list[Member]:
    look = partial(RangeFile, stored.uri, stored.etag, stored.size)
    if index_uri is None:
        return list(open_archive(look()).members())
    uri = join(index_uri, f"{input_id(stored.uri, stored.etag, stored.size)}.parquet")
    try:
        rows = pq.read_table(pa.BufferReader(read_bytes(uri))).to_pylist()
    except ObjectNotFoundError:
        found = list(open_archive(look()).members())
        rows = [asdict(member) for member in found]
        create_exclusive(uri, parquet_bytes(pa.Table.from_pylist(rows, schema=_INDEX)))
        return found
    except pa.ArrowException as error:
        raise StorageError(f"{uri} is damaged ({error}). Remove it and run again.") from error
    return [Member(**row) for row in rows]


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
