"""WebDataset's tar files."""

import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from crnn.preprocess import MAX_BYTES
from pipeline.sources.files import IMAGES, TEXT_NAMES, files_below
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    MISSING_IMAGE,
    MISSING_LABEL,
    TOO_LARGE,
    Reject,
    Sample,
    SourceOptions,
    admit,
)
from pipeline.storage import local_copy

_LABELS = (".txt", ".text", ".label", ".json")
_CHUNK = 1 << 20

Members = dict[str, bytes | None]
"""Contents of a key's files by suffix; None is larger than anything that is read."""


def webdataset(options: SourceOptions) -> Iterator["TarPart"]:
    """WebDataset: a tar file, or a folder of them, of `key.jpg` beside `key.txt` (or .json with "text").

    A tar file is a part.
    """
    found = files_below(options.input, ".tar")
    return (TarPart(uri=uri, name=name, split=options.split) for uri, name in found)


@dataclass(frozen=True, kw_only=True, slots=True)
class TarPart:
    """One tar file."""

    uri: str
    name: str
    """Below the input."""
    split: str | None

    @property
    def size(self) -> None:
        """A tar file has no index: how many keys it holds is known when it is read."""
        return None

    def read(self) -> Iterator[Sample | Reject]:
        """Every key gives a sample or a reject; a tar file that isn't sound gives one reject more."""
        seen: set[str] = set()
        with local_copy(self.uri) as path, path.open("rb") as file:
            for found in self._keys(file):
                if isinstance(found, Reject):
                    yield replace(found, id=_unique(found.id, seen))
                    continue
                key, members = found
                yield self._sample(_unique(f"{self.name}/{key}", seen), key, members)

    def _keys(self, file: io.BufferedReader) -> Iterator[tuple[str, Members] | Reject]:
        """The files of each key; neighbours belong together, until a suffix comes a second time."""
        key: str | None = None
        members: Members = {}
        broken, end = None, 0
        try:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    if member.isdir():
                        continue
                    path = PurePosixPath(member.name)
                    if not member.isreg():
                        detail = f"{self.name}: {member.name} is a link or a device, which is not followed"
                        yield Reject(id=f"{self.name}#{member.name}", reason=MALFORMED, detail=detail)
                        continue
                    stem, _, suffix = path.name.partition(".")
                    found, suffix = str(path.parent / stem), "." + suffix.lower()
                    content = _content(archive, member, suffix)
                    if key is not None and (found != key or suffix in members):
                        yield key, members
                        members = {}
                    key = found
                    members[suffix] = content
                end = archive.offset
        except (tarfile.TarError, ValueError) as error:
            broken = str(error)
        if key is not None:
            yield key, members
        # Python's reader takes a damaged header, or the end of the file, for the end of the archive.
        broken = broken or (None if _ends(file, end) else "a damaged header, or no end-of-archive mark")
        if broken:
            detail = f"{self.uri}: broken after {key!r} ({broken}); what followed is lost. Fetch it again"
            yield Reject(id=f"{self.name}#broken", reason=MALFORMED, detail=detail)

    def _sample(self, identity: str, key: str, members: Members) -> Sample | Reject:
        where = f"{self.name}: {key}"
        picture = next((suffix for suffix in IMAGES if suffix in members), None)
        label = next((suffix for suffix in _LABELS if suffix in members), None)
        large = [suffix for suffix in (picture, label) if suffix and members[suffix] is None]
        if large:
            detail = f"{where}: {large[0]} is larger than {MAX_BYTES:,} bytes"
            return Reject(id=identity, reason=TOO_LARGE, detail=detail)
        if label is None:
            return Reject(id=identity, reason=MISSING_LABEL, detail=f"{where}: only {sorted(members)}")
        try:
            text = (members[label] or b"").decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            return Reject(id=identity, reason=BAD_ENCODING, detail=f"{where}: not UTF-8 ({error.reason})")
        if label == ".json":
            found = _text_of(text)
            if found is None:
                return Reject(id=identity, reason=MALFORMED, detail=f"{where}: no JSON with a text")
            text = found
        if picture is None:
            detail = f"{where}: only {sorted(members)}"
            return Reject(id=identity, reason=MISSING_IMAGE, detail=detail, text=text)
        return admit(id=identity, text=text, image=members[picture] or b"", where=where, split=self.split)


def _unique(identity: str, seen: set[str]) -> str:
    """The identity, numbered where it came before."""
    number, found = 1, identity
    while found in seen:
        number += 1
        found = f"{identity}#{number}"
    seen.add(found)
    return found


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo, suffix: str) -> bytes | None:
    if suffix not in IMAGES and suffix not in _LABELS:
        return b""
    if member.size > MAX_BYTES:
        return None
    file = archive.extractfile(member)
    return file.read() if file else b""


def _ends(file: io.BufferedReader, offset: int) -> bool:
    """Whether nothing but zeros, at least a block of them, is left."""
    file.seek(offset)
    left = 0
    while chunk := file.read(_CHUNK):
        if chunk.strip(b"\0"):
            return False
        left += len(chunk)
    return left >= tarfile.BLOCKSIZE


def _text_of(document: str) -> str | None:
    try:
        record: Any = json.loads(document)
    except (ValueError, RecursionError):
        return None
    found = (record.get(name) for name in TEXT_NAMES) if isinstance(record, dict) else ()
    return next((value for value in found if isinstance(value, str)), None)
