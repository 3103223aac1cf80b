"""Parts of archives whose images are files beside an annotation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import PurePosixPath

from pipeline.errors import ObjectNotFoundError
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    MISSING_IMAGE,
    PART_ROWS,
    Box,
    Reject,
    Sample,
    SourceError,
    SourceOptions,
    admit,
)
from pipeline.storage import absolute, join, read_bytes


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

    def read(self) -> Iterator[Sample | Reject]:
        """Reads every entry's image; a scene with many words is fetched once."""
        uri, data = "", b""
        for entry in self.entries:
            if isinstance(entry, Reject):
                yield entry
                continue
            if ".." in entry.image.split("/"):
                detail = f"{entry.where}: {entry.image} lies outside of the archive"
                yield Reject(id=entry.id, reason=MALFORMED, detail=detail, text=entry.text)
                continue
            try:
                if entry.image != uri:
                    uri, data = entry.image, read_bytes(entry.image)
            except (ObjectNotFoundError, ValueError) as error:  # a path may hold what no file name can
                uri = ""
                detail = f"{entry.where}: {error}"
                yield Reject(id=entry.id, reason=MISSING_IMAGE, detail=detail, text=entry.text)
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
        found: Iterable[str | bytes] = data.decode(options.encoding).split("\n")
    except UnicodeDecodeError:
        found = data.split(b"\n")  # then only the lines that can't be read are lost
    for number, raw in enumerate(found, start=1):
        where = f"{name}:{number}"
        try:
            line = (raw if isinstance(raw, str) else raw.decode(options.encoding)).rstrip("\r")
        except UnicodeDecodeError as error:
            detail = (
                f"{where}: not {options.encoding} ({error.reason} at byte {error.start}); give --encoding"
            )
            yield where, Reject(id=where, reason=BAD_ENCODING, detail=detail)
            continue
        if line.strip():
            yield where, line
