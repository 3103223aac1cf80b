"""What a kind of storage must offer; `pipeline.storage` picks one by URI."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from pyarrow.fs import FileSystem

from pipeline.errors import ObjectTooLargeError


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredObject:
    """One object as a listing found it."""

    uri: str
    """Where it is; every function of `pipeline.storage` takes it as it stands, odd characters and all."""
    key: str
    """Its name below the listed folder, parts separated by "/"."""
    size: int
    """Bytes."""
    etag: str
    """Changes whenever the content does; S3's entity tag, or the time and size of a local file."""
    modified: datetime
    """When it was last written, in UTC."""


class Store(Protocol):
    """One kind of storage. Every method raises StorageError, and nothing else, when storage fails."""

    def read(self, uri: str, etag: str | None, limit: int | None) -> bytes:
        """All bytes of an object, if no more than `limit`; with an etag, only of that very version."""

    def read_range(self, uri: str, start: int, length: int, etag: str) -> bytes:
        """Exactly these bytes of this version of an object."""

    def stat(self, uri: str) -> StoredObject:
        """An object as a listing would find it, its key its name without folders."""

    def write(self, uri: str, data: bytes) -> None:
        """Writes or replaces a whole object; a reader sees all of it or the one before."""

    def upload(self, path: Path, uri: str) -> None:
        """As `write`, with a file's content, which need not fit into memory."""

    def create(self, uri: str, data: bytes) -> bool:
        """Writes a whole object unless one is there; True for exactly one of several writers."""

    def exists(self, uri: str) -> bool:
        """Whether an object (not a folder) is there."""

    def list(self, folder_uri: str) -> Iterator[StoredObject]:
        """Every object below a folder, lazily, in the byte order of keys."""

    def delete(self, uri: str) -> None:
        """Removes an object; no error where there is none."""

    def filesystem(self, uri: str) -> tuple[FileSystem, str]:
        """The same place for libraries that take a pyarrow file system and a path."""


def check_size(uri: str, size: int, limit: int | None) -> None:
    """Refuses an object that is larger than its reader wants, before any of it is fetched.

    Raises:
        ObjectTooLargeError: It has more bytes than `limit`.
    """
    if limit is not None and size > limit:
        raise ObjectTooLargeError(f"{uri}: {size:,} bytes; at most {limit:,} are read.")
