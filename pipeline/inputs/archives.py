"""Tar, zip and Parquet files as archives of images: their members, and the bytes of each."""

import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from crnn.errors import ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.errors import StorageError
from pipeline.inputs.items import DAMAGED, ENCRYPTED, MISSING, NO_IMAGES, NOT_A_FILE, UNSAFE, Member, is_safe
from pipeline.inputs.range_file import RangeFile

_ROWS = 64
"""Rows of a Parquet file that are decoded at a time."""


class Archive(Protocol):
    """An open archive."""

    def members(self) -> Iterator[Member]:
        """All entries but folders, in the order in which they lie in the file. The last is a member without
        a name where the archive is damaged: what lies behind that place is lost.

        Raises:
            StorageError: Storage is at fault, not the archive.
        """

    def read(self, name: str, position: int, size: int) -> bytes:
        """A member's bytes; cheap where members are asked for in their order.

        Raises:
            ImageRejectedError: The archive doesn't hold them.
            StorageError: Storage is at fault, not the archive.
        """


def is_archive(name: str) -> bool:
    """Whether an object of this name is taken for an archive."""
    return name.lower().endswith(tuple(_KINDS))


def open_archive(file: RangeFile) -> Archive:
    """The archive in a file whose name `is_archive`."""
    suffix = next(suffix for suffix in _KINDS if file.uri.lower().endswith(suffix))
    return _KINDS[suffix](file)


class TarArchive:
    """A tar file as WebDataset writes it, not compressed. It has no index: one header leads to the next."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        names: set[str] = set()
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", self._file), mode="r:") as archive:
                for entry in archive:
                    if not entry.isdir():
                        yield self._member(entry, _unique(entry.name, names))
                end = archive.offset
        except (tarfile.TarError, ValueError, EOFError) as error:
            yield _damaged(self._file, str(error))
            return
        # Python takes a damaged header, or the end of the file, for the end of the archive.
        self._file.seek(end)
        block = self._file.read(tarfile.BLOCKSIZE)
        if len(block) < tarfile.BLOCKSIZE or block.strip(b"\0"):
            yield _damaged(self._file, f"a damaged header at byte {end}, or no end-of-archive mark")

    def _member(self, entry: tarfile.TarInfo, name: str) -> Member:
        unfit = detail = None
        if not entry.isreg() or entry.issparse():
            unfit, detail = NOT_A_FILE, "a link, a device or a file with holes, which is not followed"
        elif entry.offset_data + entry.size > self._file.size:
            unfit, detail = DAMAGED, f"{self._file.uri} ends inside of it"
        return _checked(name, entry.offset_data, entry.size, unfit, detail)

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  the position says it all
        """See `Archive.read`."""
        self._file.seek(position)
        return self._file.read(size)


class ZipArchive:
    """A zip file; its index is at its end."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._archive: zipfile.ZipFile | None = None
        self._by_offset: dict[int, zipfile.ZipInfo] = {}

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        names: set[str] = set()
        try:
            archive = self._opened()
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
            yield _damaged(self._file, str(error))
            return
        for entry in sorted(archive.infolist(), key=lambda entry: entry.header_offset):
            if entry.is_dir():
                continue
            encrypted = entry.flag_bits & 1
            # The name as it is written: zipfile cuts it at a null byte.
            name = entry.orig_filename if "\0" in entry.orig_filename else entry.filename
            yield _checked(
                _unique(name, names),
                entry.header_offset,
                entry.file_size,
                ENCRYPTED if encrypted else None,
                "nothing is known of its password" if encrypted else None,
            )

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  the index knows the size
        """See `Archive.read`."""
        try:
            archive = self._opened()
            with archive.open(self._by_offset[position]) as member:
                return member.read(MAX_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError, NotImplementedError) as error:
            raise ImageRejectedError(DAMAGED, f"{self._file.uri}: {name}: {error}"[:500]) from error

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            self._archive = zipfile.ZipFile(cast("IO[bytes]", self._file))
            self._by_offset = {entry.header_offset: entry for entry in self._archive.infolist()}
        return self._archive


class ParquetArchive:
    """A Parquet file with column `image`: bytes, or Hugging Face's struct of them and a path."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._parquet: pq.ParquetFile | None = None
        self._rows: Iterator[tuple[int, object]] = iter(())
        self._next = -1

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        try:
            parquet = self._opened()
        except StorageError:
            raise
        except (pa.ArrowException, OSError) as error:
            yield _damaged(self._file, str(error))
            return
        if "image" not in parquet.schema_arrow.names:
            detail = (
                f"columns {', '.join(parquet.schema_arrow.names)}, none of which is image; a list of URIs is "
                "given as --input itself"
            )
            yield Member(name="", position=None, size=self._file.size, unfit=NO_IMAGES, detail=detail[:500])
            return
        row = 0
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            columns = (group.column(place) for place in range(group.num_columns))
            stored = sum(c.total_compressed_size for c in columns if c.path_in_schema.startswith("image"))
            for _ in range(group.num_rows):
                yield Member(name=f"row {row}", position=row, size=stored // group.num_rows)
                row += 1

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  rows are told by their number
        """See `Archive.read`."""
        try:
            if position < self._next or not self._next >= 0:
                self._rows, self._next = self._rows_from(position), position
            for number, image in self._rows:
                self._next = number + 1
                if number == position:
                    data = image.get("bytes") if isinstance(image, dict) else image
                    if isinstance(data, bytes):
                        return data
                    raise ImageRejectedError(MISSING, f"{self._file.uri}: {name} holds no bytes")
        except StorageError:
            raise
        except (pa.ArrowException, OSError) as error:
            self._next = -1
            raise ImageRejectedError(DAMAGED, f"{self._file.uri}: {name}: {error}"[:500]) from error
        raise ImageRejectedError(DAMAGED, f"{self._file.uri} has no {name}")

    def _rows_from(self, row: int) -> Iterator[tuple[int, object]]:
        parquet, first = self._opened(), 0
        for number in range(parquet.num_row_groups):
            count = parquet.metadata.row_group(number).num_rows
            if first + count > row:
                place = first
                for batch in parquet.iter_batches(_ROWS, [number], ["image"], use_threads=False):
                    if place + batch.num_rows > row:
                        yield from enumerate(batch.column(0).to_pylist(), start=place)
                    place += batch.num_rows
            first += count

    def _opened(self) -> pq.ParquetFile:
        if self._parquet is None:
            self._parquet = pq.ParquetFile(
                pa.PythonFile(self._file, mode="r"),
                buffer_size=1 << 20,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        return self._parquet


_KINDS: dict[str, Callable[[RangeFile], Archive]] = {
    ".tar": TarArchive,
    ".zip": ZipArchive,
    ".parquet": ParquetArchive,
}


def _unique(name: str, names: set[str]) -> str:
    """A name that no other member has, of this one where it hasn't."""
    found, number = name.encode("utf-8", "backslashreplace").decode(), 1
    name = found
    while found in names:
        number += 1
        found = f"{name} ({number})"
    names.add(found)
    return found


def _checked(name: str, position: int, size: int, unfit: str | None, detail: str | None) -> Member:
    if not is_safe(name):
        unfit, detail = UNSAFE, f"{name!r} would lead out of the folder that it is unpacked in"
    return Member(name=name, position=position, size=size, unfit=unfit, detail=detail)


def _damaged(file: RangeFile, why: str) -> Member:
    detail = f"{file.uri} isn't whole ({why}); what follows is lost. Fetch it again"
    return Member(name="", position=None, size=file.size, unfit=DAMAGED, detail=detail[:500])
