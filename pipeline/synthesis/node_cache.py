"""Folders from elsewhere, copied once to this node for all of its processes."""

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pipeline.errors import DataError, StorageError
from pipeline.storage import absolute, join, read_bytes


def node_folder(uri: str, fingerprint: str, files: Mapping[str, Mapping[str, Any]]) -> Path:
    """A local folder with these files: the URI itself where it is local, a verified copy elsewhere.

    Args:
        uri: Folder that holds them.
        fingerprint: Names the content, and the copy.
        files: By name, each with its `sha256`.

    Raises:
        DataError: A file isn't the one that its checksum names.
        StorageError: It can't be read, or there is no room for the copy.
    """
    if "://" not in absolute(uri):
        return Path(absolute(uri))
    home = cache_folder() / "assets"
    folder = home / fingerprint
    try:
        home.mkdir(parents=True, exist_ok=True)
        with (home / f"{fingerprint}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # the node's other workers wait for the one that copies
            if not folder.exists():
                _copy(uri, folder, files)
    except OSError as error:
        raise StorageError(
            f"Can't keep a copy of {uri} in {home}: {error.strerror or error}. Free some space, or set "
            "XDG_CACHE_HOME to another disk."
        ) from error
    return folder


def cache_folder() -> Path:
    """Where this project keeps what can be fetched or made again, by the XDG convention."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "crnn-pipeline"


def _copy(uri: str, folder: Path, files: Mapping[str, Mapping[str, Any]]) -> None:
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder.parent))
    try:
        for name, file in files.items():
            data = read_bytes(join(uri, name))
            if hashlib.sha256(data).hexdigest() != file["sha256"]:
                raise DataError(
                    f"{join(uri, name)} has another checksum than its folder's record says: it is damaged or "
                    "was overwritten. Restore it, or make it again."
                )
            (unfinished / name).write_bytes(data)
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
