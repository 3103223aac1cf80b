"""Tar, zip and Parquet files as archives of images: their members, and the bytes of each."""

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import IO, Protocol, cast

import pyarrow as pa
import pyarrow.parquet as pq

from crnn.errors import CRNNError, ImageRejectedError
from crnn.preprocess import MAX_BYTES
from pipeline.errors import PipelineError
from pipeline.inputs.items import (
    BOMB,
    DAMAGED,
    ENCRYPTED,
    MISSING,
    NO_IMAGES,
    Member,
    Names,
    checked,
    damaged,
    most_inflated,
    too_far,
)
from pipeline.inputs.range_file import RangeFile
from pipeline.inputs.tars import GzipTarArchive, TarArchive

LARGEST_INDEX = 128 << 20
"""Bytes of a zip file's index, and of what is read of a member at a time: more than a million members."""
_ROWS, _ROWS_BYTES = 64, 128 << 20
"""Rows of a Parquet file that are decoded at a time, or fewer, lest they be more bytes."""


_ITS_FAULT = (
    *(OSError, EOFError, ValueError, LookupError, ArithmeticError, RuntimeError, struct.error),
    *(zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError, pa.ArrowException),
)
"""What parsers raise at bytes that are no archive's; storage's faults are `PipelineError`s."""


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
    return _Guarded(_KINDS[suffix](file), file)


class _Guarded:
    """An archive whose parser may raise what it likes: a damaged one spoils no other object's night."""

    def __init__(self, archive: Archive, file: RangeFile) -> None:
        self._archive, self._file = archive, file

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        try:
            yield from self._archive.members()
        except PipelineError:
            raise
        except _ITS_FAULT as error:
            yield damaged(self._file, str(error) or repr(error))

    def read(self, name: str, position: int, size: int) -> bytes:
        """See `Archive.read`."""
        try:
            return self._archive.read(name, position, size)
        except (PipelineError, CRNNError):
            raise
        except _ITS_FAULT as error:
            detail = f"{self._file.uri}: {name}: {str(error) or repr(error)}"
            raise ImageRejectedError(DAMAGED, detail[:500]) from error


class ZipArchive:
    """A zip file; its index is at its end."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._archive: zipfile.ZipFile | None = None
        self._by_offset: dict[int, zipfile.ZipInfo] = {}

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        names, inflated = Names(), 0
        for entry in sorted(self._opened().infolist(), key=lambda entry: entry.header_offset):
            if entry.filename.endswith("/"):
                continue
            unfit = detail = None
            inflated += min(entry.file_size, MAX_BYTES)  # no more than that is inflated of one
            if entry.flag_bits & 1:
                unfit, detail = ENCRYPTED, "nothing is known of its password"
            elif inflated > most_inflated(self._file):
                unfit, detail = BOMB, too_far(self._file)
            # The name as it is written: zipfile cuts it at a null byte.
            name = entry.orig_filename if "\0" in entry.orig_filename else entry.filename
            yield checked(names.add(name), entry.header_offset, entry.file_size, unfit, detail)

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  the index knows both
        """See `Archive.read`."""
        with self._opened().open(self._by_offset[position]) as member:
            return member.read(MAX_BYTES + 1)

    def _opened(self) -> zipfile.ZipFile:
        if self._archive is None:
            self._archive = zipfile.ZipFile(cast("IO[bytes]", _Capped(self._file)))
            self._by_offset = {entry.header_offset: entry for entry in self._archive.infolist()}
        return self._archive


class _Capped:
    """A file as `zipfile` is shown it, which reads all of an index at once."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """As a file's.

        Raises:
            ValueError: More than any index needs.
        """
        if min(size, self._file.size) > LARGEST_INDEX:
            raise ValueError(f"an index of {size:,} bytes; at most {LARGEST_INDEX:,} are read. Divide it")
        return self._file.read(size)


class ParquetArchive:
    """A Parquet file with column `image`: bytes, or Hugging Face's struct of them and a path."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._parquet: pq.ParquetFile | None = None
        self._rows: Iterator[tuple[int, object]] = iter(())
        self._next = -1

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        parquet = self._opened()
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
            stored = sum(column.total_compressed_size for column in _image_columns(group))
            for _ in range(group.num_rows):
                yield checked(f"row {row}", row, stored // group.num_rows, None, None)
                row += 1

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  rows are told by their number
        """See `Archive.read`."""
        place, self._next = self._next, -1  # rows that end by an error give nothing more
        if not 0 <= place <= position:
            self._rows = self._rows_from(position)
        for number, image in self._rows:
            if number == position:
                self._next = number + 1
                data = image.get("bytes") if isinstance(image, dict) else image
                if isinstance(data, bytes):
                    return data
                raise ImageRejectedError(MISSING, f"{self._file.uri}: {name} holds no bytes")
        raise ImageRejectedError(DAMAGED, f"{self._file.uri} has no {name}")

    def _rows_from(self, row: int) -> Iterator[tuple[int, object]]:
        parquet, first = self._opened(), 0
        for number in range(parquet.num_row_groups):
            group = parquet.metadata.row_group(number)
            count = group.num_rows
            if first + count > row:
                place = first
                # Any row may be as large as all that is stored: many may name one entry of a dictionary.
                largest = sum(column.total_uncompressed_size for column in _image_columns(group))
                rows = min(_ROWS, max(1, _ROWS_BYTES // max(1, largest)))
                for batch in parquet.iter_batches(rows, [number], ["image"], use_threads=False):
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


def _image_columns(group: pq.RowGroupMetaData) -> list[pq.ColumnChunkMetaData]:
    columns = [group.column(place) for place in range(group.num_columns)]
    return [column for column in columns if column.path_in_schema.partition(".")[0] == "image"]


_KINDS: dict[str, Callable[[RangeFile], Archive]] = {
    ".tar": TarArchive,
    ".tar.gz": GzipTarArchive,
    ".tgz": GzipTarArchive,
    ".zip": ZipArchive,
    ".parquet": ParquetArchive,
}
