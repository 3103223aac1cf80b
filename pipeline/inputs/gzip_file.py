"""A gzip file as a file of what is packed in it, of which only some bytes are held."""

import io
import zlib

from pipeline.inputs.range_file import RangeFile

_CHUNK = 256 << 10
_WITH_HEADER = 31
"""zlib's window of 2¹⁵ bytes, and gzip's header and checksum around it."""


class GzipFile(io.RawIOBase):
    """Inflates one version of an object while it is read.

    It can be sought in: forward by inflating what lies between, backward by beginning anew. Python's own
    reads a header byte by byte, which a hostile file makes as long as it likes.

    Args:
        file: The compressed one.

    Raises:
        zlib.error, EOFError: From reading and seeking: it is damaged here, or cut short.
        StorageError: From both: the object can't be read.
    """

    def __init__(self, file: RangeFile) -> None:
        super().__init__()
        self._file = file
        self._rewind()

    def readable(self) -> bool:
        """As `io.RawIOBase`."""
        return True

    def seekable(self) -> bool:
        """As `io.RawIOBase`."""
        return True

    def tell(self) -> int:
        """As `io.RawIOBase`."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As `io.RawIOBase`, from the beginning only; stops at the end."""
        if whence != io.SEEK_SET or offset < 0:
            raise OSError(f"{self._file.uri} is compressed: only places from its beginning can be sought")
        if offset < self._position:
            self._rewind()
        while self._position < offset and self._some(min(_CHUNK, offset - self._position)):
            pass
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """As `io.RawIOBase`, but short only at the end."""
        parts, left = [], float("inf") if size is None or size < 0 else size
        while left and (part := self._some(int(min(_CHUNK, left)))):
            parts.append(part)
            left -= len(part)
        return b"".join(parts)

    def _rewind(self) -> None:
        self._file.seek(0)
        self._inflater, self._compressed, self._position = zlib.decompressobj(_WITH_HEADER), b"", 0

    def _some(self, most: int) -> bytes:
        """The next bytes, at most so many; none at the end."""
        while True:
            if self._inflater.eof:  # another may follow, or zeros that fill a tape's block
                follows = self._inflater.unused_data.lstrip(b"\0")
                while not follows and (chunk := self._file.read(_CHUNK)):
                    follows = chunk.lstrip(b"\0")
                if not follows:
                    return b""
                self._inflater, self._compressed = zlib.decompressobj(_WITH_HEADER), follows
            data = self._inflater.decompress(self._compressed, most)
            self._compressed = self._inflater.unconsumed_tail
            if data:
                self._position += len(data)
                return data
            if not self._compressed and not self._inflater.eof:
                self._compressed = self._file.read(_CHUNK)
                if not self._compressed:
                    raise EOFError("its compressed data end too early")
