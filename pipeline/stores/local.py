"""Files of this machine, or of a disk that all machines mount."""

import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

from pyarrow.fs import FileSystem, LocalFileSystem

from pipeline.errors import ObjectChangedError, ObjectNotFoundError, StorageError
from pipeline.stores import StoredObject, check_size

log = logging.getLogger(__name__)

_NO_FILE = (errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)
"""What is said of names that no file can have, or that lead to none."""
_UNFINISHED = re.compile(r"^\.[0-9a-f]{16}\.unfinished$")
"""Names of files that are still being written, or whose writer died."""


class LocalStore:
    """Paths, absolute or relative to the working directory, and file:// URIs."""

    def read(self, uri: str, etag: str | None = None, limit: int | None = None) -> bytes:
        """See `Store.read`."""
        with _explained(uri, "read"), local_path(uri).open("rb") as file:
            before = os.fstat(file.fileno())
            check_size(uri, before.st_size, limit)
            data = file.read()
            after = os.fstat(file.fileno())
        if _etag(after) != _etag(before):
            raise ObjectChangedError(f"{uri} changed while it was read.")
        _check_etag(uri, after, etag)
        return data

    def read_range(self, uri: str, start: int, length: int, etag: str) -> bytes:
        """See `Store.read_range`."""
        with _explained(uri, "read"), local_path(uri).open("rb") as file:
            data = os.pread(file.fileno(), length, start)
            _check_etag(uri, os.fstat(file.fileno()), etag)
        if len(data) != length:
            raise StorageError(f"{uri} has no bytes {start} to {start + length}.")
        return data

    def stat(self, uri: str) -> StoredObject:
        """See `Store.stat`."""
        path = local_path(uri)
        with _explained(uri, "look for"):
            if path.is_dir():
                raise ObjectNotFoundError(f"{uri} is a folder. Give a file.")
            return _stored(str(path), path.name, path.stat())

    def write(self, uri: str, data: bytes) -> None:
        """See `Store.write`."""
        path = local_path(uri)
        with _explained(uri, "write"), _unfinished(path, data) as unfinished:
            unfinished.replace(path)

    def upload(self, path: Path, uri: str) -> None:
        """See `Store.upload`."""
        target = local_path(uri)
        with _explained(uri, "write"), path.open("rb") as file, _unfinished(target, file) as unfinished:
            unfinished.replace(target)

    def create(self, uri: str, data: bytes) -> bool:
        """See `Store.create`."""
        path = local_path(uri)
        with _explained(uri, "create"), _unfinished(path, data) as unfinished:
            try:
                # Content and existence appear together, which open(mode="x") doesn't give.
                path.hardlink_to(unfinished)
            except FileExistsError:
                return False
        return True

    def exists(self, uri: str) -> bool:
        """See `Store.exists`."""
        try:
            with _explained(uri, "look for"):
                return local_path(uri).is_file()
        except ObjectNotFoundError:
            return False

    def list(self, folder_uri: str) -> Iterator[StoredObject]:
        """See `Store.list`; a folder that doesn't exist is an error."""
        folder = local_path(folder_uri)
        with _explained(folder_uri, "list"):
            if folder.is_file():
                raise StorageError(f"{folder_uri} is a file. Give the folder that holds it.")
            yield from _walk(folder, "", frozenset())

    def delete(self, uri: str) -> None:
        """See `Store.delete`."""
        with _explained(uri, "delete"):
            local_path(uri).unlink(missing_ok=True)

    def filesystem(self, uri: str) -> tuple[FileSystem, str]:
        """See `Store.filesystem`; the path is absolute, since workers have another working directory."""
        return LocalFileSystem(), str(local_path(uri))


def local_path(uri: str) -> Path:
    """The absolute path that a local URI names, with ~ expanded."""
    path = unquote(uri.removeprefix("file://")) if uri.startswith("file://") else uri
    return Path(os.path.abspath(Path(path).expanduser()))  # noqa: PTH100  resolve() would follow links


def _check_etag(uri: str, stat: os.stat_result, etag: str | None) -> None:
    if etag is not None and etag != _etag(stat):
        raise ObjectChangedError(f"{uri} changed since it was listed (etag {etag}, now {_etag(stat)}).")


def _etag(stat: os.stat_result) -> str:
    return f"{stat.st_mtime_ns:x}-{stat.st_size:x}"


def _walk(folder: Path, prefix: str, above: frozenset[tuple[int, int]]) -> Iterator[StoredObject]:
    try:
        status, entries = folder.stat(), _entries(folder)
    except FileNotFoundError:
        if prefix:  # removed while its parent was listed
            return
        raise
    here = (status.st_dev, status.st_ino)
    if here in above:
        raise StorageError(f"{folder} is a link to a folder above it: listing it would never end.")
    for name, entry in entries:
        key = prefix + os.fsdecode(name)
        if not _is_utf8(key):
            raise StorageError(
                f"{entry.path!r}: the name isn't UTF-8. Rename it, so that it can be recorded."
            )
        if entry.is_dir():
            yield from _walk(Path(entry.path), key, above | {here})
        elif entry.is_file():
            try:
                stored = _stored(entry.path, key, entry.stat())
            except FileNotFoundError:  # removed while its folder was listed
                continue
            yield stored
        else:
            log.warning("%s is no regular file, or a link to nothing: left out of the listing", entry.path)


def _entries(folder: Path) -> list[tuple[bytes, os.DirEntry[str]]]:
    """A folder's entries in the byte order of whole keys, as in S3: a folder's name counts with its slash."""
    with os.scandir(folder) as found:
        named = ((os.fsencode(e.name) + b"/" * e.is_dir(), e) for e in found if not _UNFINISHED.match(e.name))
        return sorted(named, key=lambda pair: pair[0])


def _stored(path: str, key: str, status: os.stat_result) -> StoredObject:
    return StoredObject(
        uri=path,
        key=key,
        size=status.st_size,
        etag=_etag(status),
        modified=datetime.fromtimestamp(status.st_mtime, UTC),
    )


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


@contextmanager
def _unfinished(path: Path, data: bytes | BinaryIO) -> Iterator[Path]:
    """The data, safely on disk under a name that listings leave out; the name is gone at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.parent / f".{secrets.token_hex(8)}.unfinished"
    try:
        with unfinished.open("xb") as file:
            if isinstance(data, bytes):
                file.write(data)
            else:
                shutil.copyfileobj(data, file)
            file.flush()
            os.fsync(file.fileno())
        yield unfinished
        _sync_folder(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes the folder's new entry survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _explained(uri: str, verb: str) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ObjectNotFoundError(f"Can't {verb} {uri}: it doesn't exist. Check the path.") from error
    except ValueError as error:  # a null byte
        raise ObjectNotFoundError(f"Can't {verb} {uri!r}: {error}. Check the path.") from error
    except OSError as error:
        kind = ObjectNotFoundError if error.errno in _NO_FILE else StorageError
        raise kind(f"Can't {verb} {uri}: {error.strerror or error}.") from error
