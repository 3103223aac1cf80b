"""Tar files as archives of images, as WebDataset writes them: plain, or compressed by gzip."""

import sys
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, cast

from crnn.errors import ImageRejectedError
from pipeline.inputs.gzip_file import GzipFile
from pipeline.inputs.items import (
    BOMB,
    DAMAGED,
    NOT_A_FILE,
    Member,
    Names,
    checked,
    most_inflated,
    too_far,
)
from pipeline.inputs.range_file import RangeFile

LARGEST_HEADER = 1 << 20
"""Bytes of a member's headers; long names and extended attributes are some thousands."""
_CHUNK = 1 << 20


class _TooFarError(tarfile.ReadError):
    """More is inflated than an archive of images would hold."""


class TarArchive:
    """A tar file. It has no index: one header leads to the next."""

    def __init__(self, file: RangeFile) -> None:
        self._file = file
        self._stream = cast("IO[bytes]", file)
        self._most = sys.maxsize

    def members(self) -> Iterator[Member]:
        """See `Archive.members`."""
        names = Names()
        headers = _Headers(self._stream, self._most)
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", headers), mode="r:") as archive:
                place = -1
                while (entry := archive.next()) is not None:
                    if archive.offset <= place:  # a negative size; tarfile would go round for ever
                        raise tarfile.ReadError(f"the header at byte {entry.offset} leads back")
                    place = archive.offset
                    archive.members.clear()  # type: ignore[attr-defined]  # it keeps all, whom nobody asks
                    headers.begin()
                    if not entry.isdir():
                        yield self._member(entry, names.add(entry.name))
                # tarfile takes a damaged header, or the end of the file, for the end of the archive.
                if len(headers.last) < tarfile.BLOCKSIZE or headers.last.strip(b"\0"):
                    raise tarfile.ReadError(
                        f"a damaged header at byte {archive.offset}, or no end-of-archive mark"
                    )
            self._check_rest()
        except _TooFarError:
            yield Member(name="", position=None, size=self._file.size, unfit=BOMB, detail=too_far(self._file))

    def _member(self, entry: tarfile.TarInfo, name: str) -> Member:
        unfit = detail = None
        if not entry.isreg() or entry.issparse():
            unfit, detail = NOT_A_FILE, "a link, a device or a file with holes, which is not followed"
        else:
            unfit, detail = self._beyond(entry.offset_data + entry.size)
        return checked(name, entry.offset_data, entry.size, unfit, detail)

    def _beyond(self, end: int) -> tuple[str | None, str | None]:
        """What is wrong with a member that ends there."""
        whole = end <= self._file.size
        return (None, None) if whole else (DAMAGED, f"{self._file.uri} ends inside of it")

    def _check_rest(self) -> None:
        """Looks at what comes after the end-of-archive mark."""

    def read(self, name: str, position: int, size: int) -> bytes:  # noqa: ARG002  the position says it all
        """See `Archive.read`."""
        self._stream.seek(position)
        return self._stream.read(size)


class GzipTarArchive(TarArchive):
    """A compressed tar file: what lies before a member is inflated to get at it.

    So a night reads such an archive once more for every shard that begins in it.
    """

    def __init__(self, file: RangeFile) -> None:
        super().__init__(file)
        self._stream = cast("IO[bytes]", GzipFile(file))
        self._most = most_inflated(file)

    def _beyond(self, end: int) -> tuple[str | None, str | None]:
        fits = end <= self._most
        return (None, None) if fits else (BOMB, too_far(self._file))

    def _check_rest(self) -> None:
        """The checksum comes last."""
        while self._stream.read(_CHUNK):
            if self._stream.tell() > self._most:
                raise _TooFarError

    def read(self, name: str, position: int, size: int) -> bytes:
        """See `Archive.read`."""
        try:
            data = super().read(name, position, size)
        except (zlib.error, EOFError):
            self._stream = cast("IO[bytes]", GzipFile(self._file))
            raise
        if len(data) < size:
            raise ImageRejectedError(DAMAGED, f"{self._file.uri} ends inside of {name}"[:500])
        return data


class _Headers:
    """A stream as `tarfile` is shown it, which takes any header's word for its length."""

    def __init__(self, stream: IO[bytes], most: int) -> None:
        self._stream, self._most = stream, most
        self.last = b""
        """What was read last."""
        self.begin()

    def begin(self) -> None:
        """The next member's headers follow."""
        self._left = LARGEST_HEADER

    def read(self, size: int) -> bytes:
        """As a file's."""
        self._left -= size
        if size < 0 or self._left < 0:
            raise tarfile.ReadError(f"a header of more than {LARGEST_HEADER:,} bytes")
        self.last = self._stream.read(size)
        return self.last

    def seek(self, offset: int) -> int:
        """As a file's."""
        if offset > self._most:
            raise _TooFarError
        return self._stream.seek(offset)

    def tell(self) -> int:
        """As a file's."""
        return self._stream.tell()
