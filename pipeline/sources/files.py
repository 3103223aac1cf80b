"""Parts of archives whose images are files beside an annotation."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.errors import ConfigError, ObjectNotFoundError, ObjectTooLargeError
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    MISSING_IMAGE,
    PART_ROWS,
    TOO_LARGE,
    Box,
    Reject,
    Sample,
    SourceError,
    SourceOptions,
    admit,
)
from pipeline.storage import absolute, exists, join, list_objects, read_bytes

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
"""Suffixes of image files."""
TEXT_NAMES = ("text", "label", "words", "word")
"""What archives call the column or field that holds the text."""
_LINE_END = re.compile(r"\r\n|\r|\n")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line, or an element, of an annotation."""

    id: str
    text: str
    image: str
    """URI of the file."""
    where: str
    """Annotation and line, for rejects."""
    box: Box | None = None
    """What to cut from the image; None takes all of it."""
    split: str | None = None
    lexicon: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class FilesPart:
    """Entries to look up, among those that the annotation itself spoilt."""

    entries: tuple[Entry | Reject, ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.entries)

    def read(self) -> Iterator[Sample | Reject]:
        """Reads every entry's image; a scene with many words is fetched once."""
        uri, data = "", b""
        for entry in self.entries:
            if isinstance(entry, Reject):
                yield entry
                continue
            try:
                if entry.image != uri:
                    uri, data = entry.image, image_bytes(entry.image)
            except ImageRejectedError as error:
                uri = ""
                detail = f"{entry.where}: {error.detail}"
                yield Reject(id=entry.id, reason=error.reason, detail=detail, text=entry.text)
                continue
            yield admit(
                id=entry.id,
                text=entry.text,
                image=data,
                where=entry.where,
                box=entry.box,
                split=entry.split,
                lexicon=entry.lexicon,
            )


def image_bytes(uri: str) -> bytes:
    """All bytes of an image that an annotation names.

    Raises:
        ImageRejectedError: There is no such file, none can have that name, it lies outside of the archive, or
            is too large.
        StorageError: Storage is at fault, not the annotation.
    """
    if ".." in uri.split("/"):
        raise ImageRejectedError(MALFORMED, f"{uri} lies outside of the archive")
    try:
        return read_bytes(uri, limit=MAX_BYTES)
    except ObjectTooLargeError as error:
        raise ImageRejectedError(TOO_LARGE, str(error)) from error
    except (ObjectNotFoundError, ConfigError) as error:
        raise ImageRejectedError(MISSING_IMAGE, str(error)) from error


def files_below(uri: str, suffix: str) -> list[tuple[str, str]]:
    """The file itself, or the files of this suffix below a folder; each with its path below the folder.

    Raises:
        SourceError: There is none.
    """
    named = uri.lower().endswith(suffix)
    if named and exists(uri):  # Spark calls folders so, too
        return [(uri, uri.rsplit("/", 1)[-1])]
    try:
        found = [(o.uri, o.key) for o in list_objects(uri) if o.key.lower().endswith(suffix)]
    except ObjectNotFoundError:
        if not named:
            raise
        found = []
    if not found:
        missing = f"There is no file {uri}, and no" if named else "There is no"
        raise SourceError(f"{missing} {suffix} file below {uri}. Give the file, or the folder with them.")
    return found


def in_parts(entries: Iterable[Entry | Reject], rows: int = PART_ROWS) -> Iterator[FilesPart]:
    """Cuts a stream of entries into parts, without holding more than one."""
    iterator = iter(entries)
    while chunk := tuple(islice(iterator, rows)):
        yield FilesPart(chunk)


def image_uri(options: SourceOptions, path: str) -> str:
    """Where the image is that an annotation calls `path`."""
    relative = PurePosixPath(path.replace("\\", "/"))
    if options.flatten:
        relative = PurePosixPath(relative.name)
    if options.suffix is not None:
        relative = relative.with_suffix(options.suffix) if relative.name else relative
    root = options.images if options.images is not None else folder_of(options.input)
    return join(absolute(root), str(relative).removeprefix("./"))  # a ".." in it is the annotation's


def folder_of(uri: str) -> str:
    """The folder of a file."""
    folder, separator, _ = uri.rpartition("/")
    return (folder or "/") if separator else "."


def annotation(options: SourceOptions) -> bytes:
    """All bytes of the annotation file.

    Raises:
        SourceError: It isn't there, or is a folder.
    """
    try:
        return read_bytes(options.input)
    except ObjectNotFoundError as error:
        raise SourceError(
            f"There is no annotation file {options.input}. Give the file itself as --input; its images are "
            "looked for beside it, or under --images."
        ) from error


def lines(options: SourceOptions) -> Iterator[tuple[str, str | Reject]]:
    """Lines of a text annotation that aren't blank, each with `name:number`; a Reject where undecodable."""
    name = options.input.rsplit("/", 1)[-1]
    data = annotation(options)
    try:
        found: Iterable[str | bytes] = _LINE_END.split(data.decode(options.encoding))
    except UnicodeDecodeError:
        # Then only the lines that can't be read are lost.
        found = re.split(_LINE_END.pattern.encode(), data)
    for number, raw in enumerate(found, start=1):
        where = f"{name}:{number}"
        try:
            line = raw if isinstance(raw, str) else raw.decode(options.encoding)
        except UnicodeDecodeError as error:
            detail = (
                f"{where}: not {options.encoding} ({error.reason} at byte {error.start}); give --encoding"
            )
            yield where, Reject(id=where, reason=BAD_ENCODING, detail=detail)
            continue
        if line.strip():
            yield where, line
