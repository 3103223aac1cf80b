"""Items' bytes, ahead of their use: whole objects by many requests at a time, archives' members in a row."""

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from itertools import groupby
from typing import Any, Generic, TypeVar

from crnn.errors import ImageRejectedError
from pipeline.errors import BucketNotFoundError, ObjectChangedError, ObjectNotFoundError
from pipeline.fetch import FetchConfig, Gone, Wanted, fetch
from pipeline.inputs.archives import open_archive
from pipeline.inputs.range_file import RangeFile

Content = bytes | Gone | ImageRejectedError
"""An item's bytes; or why there are none, by storage's word or by its archive's."""
T = TypeVar("T")


def contents(rows: Sequence[Mapping[str, Any]], config: FetchConfig) -> Generator[Content, None, None]:
    """Fetches items ahead of their use; results in their order.

    Args:
        rows: With uri, etag, size, member and position of each; those of one object should stand together.
        config: How hard to pull.

    Raises:
        StorageError: A fault, which is never an item's result; what has not been fetched yet is left.
    """
    for in_archive, group in groupby(rows, key=lambda row: row["position"] is not None):
        read = _members if in_archive else _objects
        with closing(read(list(group), config)) as found:
            yield from found


def content(row: Mapping[str, Any]) -> Content:
    """One item's bytes, as `contents`."""
    with closing(contents([row], FetchConfig(requests=1))) as found:
        return next(found)


def _objects(rows: Sequence[Mapping[str, Any]], config: FetchConfig) -> Generator[Content, None, None]:
    """A page with many boxes is fetched once."""
    pages = [
        (key, sum(1 for _ in group))
        for key, group in groupby(rows, lambda r: (r["uri"], r["etag"], r["size"]))
    ]
    wanted = [Wanted(uri=uri, etag=etag, size=size) for (uri, etag, size), _ in pages]
    with closing(fetch(wanted, config)) as found:
        for (_, count), data in zip(pages, found, strict=True):
            for _ in range(count):
                yield data


def _members(rows: Sequence[Mapping[str, Any]], config: FetchConfig) -> Generator[Content, None, None]:
    def size(content: Content) -> int:
        return len(content) if isinstance(content, bytes) else 0

    with _Ahead(_read(rows), size, config.bytes) as found:
        yield from found


def _read(rows: Sequence[Mapping[str, Any]]) -> Iterator[Content]:
    for (uri, etag), group in groupby(rows, lambda r: (r["uri"], r["etag"])):
        gone: Gone | None = None
        archive = None
        for row in group:
            try:
                if gone is None:
                    archive = archive or open_archive(RangeFile(uri, etag))
                    yield archive.read(row["member"], row["position"], row["size"])
                    continue
            except ImageRejectedError as error:
                yield error
                continue
            except BucketNotFoundError:
                raise
            except ObjectNotFoundError as error:
                gone = Gone(reason="deleted", detail=str(error))
            except ObjectChangedError as error:
                gone = Gone(reason="changed", detail=str(error))
            assert gone is not None
            yield gone


class _Ahead(Generic[T]):
    """Takes from an iterator in a thread of its own, and never holds more than some bytes."""

    def __init__(self, source: Iterator[T], size: Callable[[T], int], limit: int) -> None:
        self._source, self._size, self._limit = source, size, limit
        self._held, self._ready = 0, deque[T]()
        self._change = threading.Condition()
        self._over, self._left = False, False
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._take, name="archive", daemon=True)

    def __enter__(self) -> Iterator[T]:
        self._thread.start()
        return self._give()

    def __exit__(self, *_: object) -> None:
        with self._change:
            self._left = True
            self._change.notify_all()
        self._thread.join()

    def _take(self) -> None:
        try:
            for item in self._source:
                with self._change:
                    self._ready.append(item)
                    self._held += self._size(item)
                    self._change.notify_all()
                    self._change.wait_for(lambda: self._held < self._limit or self._left)
                    if self._left:
                        return
        except BaseException as error:  # raised where the items are used
            self._failure = error
        finally:
            with self._change:
                self._over = True
                self._change.notify_all()

    def _give(self) -> Iterator[T]:
        while True:
            with self._change:
                self._change.wait_for(lambda: self._ready or self._over)
                if not self._ready:
                    break
                item = self._ready.popleft()
                self._held -= self._size(item)
                self._change.notify_all()
            yield item
        if self._failure is not None:
            raise self._failure
