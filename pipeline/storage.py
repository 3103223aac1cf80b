"""URIs to bytes: one door to local disks and S3, with whole-object and put-if-absent writes.

A URI is a local path, file:// or s3://bucket/key. Paths and keys are taken as they stand: nothing is
percent-decoded in them (but for file://), so spaces, '#', '?' and '%' need no care. S3's endpoint, region
and credentials come from the environment (AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, …) or the
machine's role, and never travel in a pickle. Faults that may pass are retried here and nowhere else: what is
raised has been waited for.
"""

import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow.fs import FileSystem

from pipeline.errors import ConfigError, ObjectNotFoundError, StorageError
from pipeline.stores import Store, StoredObject
from pipeline.stores.local import LocalStore, local_path
from pipeline.stores.s3 import S3Store

__all__ = [
    "Location",
    "StoredObject",
    "absolute",
    "create_exclusive",
    "delete",
    "exists",
    "join",
    "list_objects",
    "local_copy",
    "parquet_bytes",
    "read_bytes",
    "read_range",
    "resolve",
    "stat",
    "upload",
    "write_atomic",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Location:
    """A place as Ray and pyarrow want it."""

    filesystem: FileSystem
    """May be pickled: it carries no credentials."""
    path: str
    """Without a scheme."""


def resolve(uri: str) -> Location:
    """The same place as a pyarrow file system and a path, for Ray Train and Ray Data.

    Raises:
        ConfigError: A scheme that isn't known.
    """
    filesystem, path = _store(uri).filesystem(uri)
    return Location(filesystem=filesystem, path=path)


def read_bytes(uri: str, *, etag: str | None = None, limit: int | None = None) -> bytes:
    """All bytes of an object.

    Args:
        etag: As listed; only that very version is read.
        limit: The most bytes that are wanted.

    Raises:
        ObjectNotFoundError: It isn't there.
        ObjectTooLargeError: It has more bytes than `limit`; none were fetched.
        ObjectChangedError: It isn't the version that the etag names.
        TransientStorageError: Storage kept failing.
        StorageError: Any other refusal.
    """
    return _store(uri).read(uri, etag, limit)


def read_range(uri: str, start: int, length: int, *, etag: str) -> bytes:
    """Some bytes of an object.

    Args:
        start: The first byte, from 0.
        length: How many, at least 1; all of them must exist.
        etag: As listed; only that very version is read.

    Raises:
        ObjectNotFoundError: It isn't there.
        ObjectChangedError: It isn't the version that the etag names.
        StorageError: It can't be read.
    """
    return _store(uri).read_range(uri, start, length, etag)


def stat(uri: str) -> StoredObject:
    """An object as a listing would find it, its key its name without folders.

    Raises:
        ObjectNotFoundError: It isn't there.
        StorageError: It can't be told.
    """
    return _store(uri).stat(uri)


def write_atomic(uri: str, data: bytes) -> None:
    """Writes or replaces an object: a reader finds all of it or what was there before, never a part.

    Raises:
        StorageError: It can't be written.
    """
    _store(uri).write(uri, data)


def upload(path: Path, uri: str) -> None:
    """Writes or replaces an object with a local file's content, as `write_atomic`, however large it is.

    Raises:
        StorageError: It can't be written.
    """
    _store(uri).upload(path, uri)


def create_exclusive(uri: str, data: bytes) -> bool:
    """Writes an object unless there is one, whole at once.

    Returns:
        True for exactly one of any number of concurrent writers, False for the others.

    Raises:
        StorageError: It can't be written.
    """
    return _store(uri).create(uri, data)


def exists(uri: str) -> bool:
    """Whether an object is there; folders don't count.

    Raises:
        StorageError: It can't be told, or the bucket doesn't exist.
    """
    return _store(uri).exists(uri)


def list_objects(folder_uri: str) -> Iterator[StoredObject]:
    """Every object below a folder, at any depth, page by page, in the byte order of keys.

    Raises:
        ObjectNotFoundError: The folder (on a disk) or the bucket doesn't exist.
        StorageError: It can't be listed completely. Never silently short.
    """
    return _store(folder_uri).list(folder_uri)


def delete(uri: str) -> None:
    """Removes an object; where there is none, nothing happens.

    Raises:
        StorageError: It can't be removed.
    """
    _store(uri).delete(uri)


def absolute(uri: str) -> str:
    """The same place for processes with another working directory, such as Ray's workers."""
    return str(local_path(uri)) if isinstance(_store(uri), LocalStore) else uri.rstrip("/")


def join(uri: str, *parts: str) -> str:
    """A URI below another, whatever slashes its parts begin or end with."""
    return "/".join([uri.rstrip("/"), *(part.strip("/") for part in parts if part.strip("/"))])


@contextmanager
def local_copy(uri: str) -> Iterator[Path]:
    """An object, or a folder with all below it, as a real path; a copy that is gone afterwards where remote.

    Raises:
        ObjectNotFoundError: There is nothing.
        StorageError: It can't be read.
    """
    if isinstance(_store(uri), LocalStore):
        path = local_path(uri)
        if not path.exists():
            raise ObjectNotFoundError(f"{uri} doesn't exist. Check the path.")
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="crnn-") as folder:
        name = uri.rstrip("/").rsplit("/", 1)[-1]
        copy = Path(folder) / name
        if not uri.endswith("/") and exists(uri):
            copy.write_bytes(read_bytes(uri))
        for stored in () if copy.exists() else list_objects(uri):
            if ".." in stored.key.split("/"):  # a key may hold it; as a path it would lead out of the folder
                raise StorageError(f"{stored.uri} has '..' in its name and is not copied. Rename it.")
            target = copy / stored.key
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(read_bytes(stored.uri, etag=stored.etag))
        if not copy.exists():
            raise ObjectNotFoundError(f"There is no object {uri} and nothing below it. Check the path.")
        yield copy


def parquet_bytes(table: pa.Table, **options: Any) -> bytes:
    """A table as the bytes of a Parquet file, to be written by one request.

    Args:
        options: As `pyarrow.parquet.write_table` takes them; zstd unless they say otherwise.
    """
    buffer = io.BytesIO()  # Arrow's own stream doubles its memory as it grows, and would be copied in the end
    pq.write_table(table, buffer, **{"compression": "zstd", **options})
    return buffer.getvalue()


def _store(uri: str) -> Store:
    if uri.startswith("s3://"):
        return S3Store()
    scheme, separator, _ = uri.partition("://")
    if separator and scheme != "file":
        raise ConfigError(f"{uri}: {scheme}:// isn't known here. Give a local path, or s3://bucket/folder.")
    return LocalStore()
