"""A stored object as a file that can be sought in, of which only what is asked for is fetched."""

import io

from pipeline.errors import ObjectChangedError, PipelineError, StorageError
from pipeline.storage import read_range, stat

FIRST, MOST = 64 << 10, 8 << 20
"""Bytes that are fetched at least, and at most unless more are asked for."""


class RangeFile(io.RawIOBase):
    """Reads one version of an object.

    Fetches twice as much each time that reading goes on where it stopped, and little after a jump: an index
    costs a few requests, large members are jumped over, and small ones come many at a time.

    Args:
        uri: The object.
        etag: Its version.
        size: Its bytes; looked up where not known.

    Raises:
        ObjectNotFoundError: It isn't there; from reading, too.
        ObjectChangedError: It isn't that version; from reading, too.
        StorageError: It can't be read; from reading, too.
    """

    def __init__(self, uri: str, etag: str, size: int | None = None) -> None:
        super().__init__()
        if size is None:
            found = stat(uri)
            if found.etag != etag:
                raise ObjectChangedError(
                    f"{uri} changed since it was listed (etag {etag}, now {found.etag})."
                )
            size = found.size
        self.uri, self.etag, self.size = uri, etag, size
        self._position, self._start, self._block = 0, 0, b""
        self._step = FIRST

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
        """As `io.RawIOBase`."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        if base + offset < 0:
            raise OSError(f"{self.uri}: there is nothing before its first byte")
        self._position = base + offset
        return self._position

    def read(self, size: int | None = -1) -> bytes:
        """As `io.RawIOBase`, but short only at the end."""
        left = max(0, self.size - self._position)
        wanted = left if size is None or size < 0 else min(size, left)
        parts = []
        while wanted:
            place = self._position - self._start
            if not 0 <= place < len(self._block):
                self._fetch(wanted)
                place = 0
            part = self._block[place : place + wanted]
            parts.append(part)
            self._position += len(part)
            wanted -= len(part)
        return b"".join(parts)

    def _fetch(self, wanted: int) -> None:
        goes_on = bool(self._block) and self._position == self._start + len(self._block)
        self._step = min(2 * self._step, MOST) if goes_on else FIRST
        length = min(max(self._step, wanted), self.size - self._position)
        try:
            self._block = read_range(self.uri, self._position, length, etag=self.etag)
        except PipelineError:
            raise
        except Exception as error:  # no fault of the bytes, which are looked at by parsers that know no other
            raise StorageError(f"Can't read {self.uri}: {error!r}.") from error
        self._start = self._position
