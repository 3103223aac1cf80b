"""Hugging Face's Parquet files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.sources.files import TEXT_NAMES, files_below
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    MISSING_IMAGE,
    MISSING_LABEL,
    Reject,
    Sample,
    SourceError,
    SourceOptions,
    admit,
)
from pipeline.storage import read_bytes, resolve

_DAMAGED = (pa.ArrowException, OSError)  # a damaged page is an OSError


def parquet(options: SourceOptions) -> Iterator["ParquetPart"]:
    """Hugging Face: a file, or a folder of them, with `image` (struct{bytes, path}, or bytes) and `label`.

    A row group is a part.

    Raises:
        SourceError: No such file, or one without these columns.
    """
    for uri, name in files_below(options.input, ".parquet"):
        with _parquet_file(uri) as file:
            names, metadata = file.schema_arrow.names, file.metadata
            rows = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        text = next((column for column in TEXT_NAMES if column in names), None)
        if "image" not in names or text is None:
            raise SourceError(
                f"{uri} has columns {names}; it needs `image` and one of {', '.join(TEXT_NAMES)}."
            )
        split = options.split or _split_of(uri)
        for group, count in enumerate(rows):
            yield ParquetPart(uri=uri, name=name, group=group, size=count, text=text, split=split)


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetPart:
    """One row group of a file."""

    uri: str
    name: str
    """Below the input."""
    group: int
    size: int
    """Its rows."""
    text: str
    """Name of the column."""
    split: str | None

    def read(self) -> Iterator[Sample | Reject]:
        """Every row gives a sample or a reject."""
        try:
            rows = self._rows()
        except _DAMAGED as error:
            for number in range(self.size):
                detail = f"{self._where(number)}: damaged ({error}); fetch the file again"
                yield Reject(id=self._id(number), reason=MALFORMED, detail=detail)
            return
        for number, (data, label) in enumerate(rows):
            identity, where, text = self._id(number), self._where(number), label
            if isinstance(label, bytes):
                try:
                    text = label.decode()
                except UnicodeDecodeError as error:
                    yield Reject(
                        id=identity, reason=BAD_ENCODING, detail=f"{where}: not UTF-8 ({error.reason})"
                    )
                    continue
            if not isinstance(text, str):
                detail = f"{where}: the label is {text!r}, no text"
                yield Reject(id=identity, reason=MISSING_LABEL, detail=detail)
            elif not isinstance(data, bytes):
                detail = f"{where}: the image's bytes aren't in the file"
                yield Reject(id=identity, reason=MISSING_IMAGE, detail=detail, text=text)
            else:
                yield admit(id=identity, text=text, image=data, where=where, split=self.split)

    def _rows(self) -> list[tuple[Any, Any]]:
        """Image and label of each row; labels as bytes, since any may be damaged."""
        columns = ["image", self.text]
        try:
            with _parquet_file(self.uri) as file:
                table = file.read_row_group(self.group, columns=columns)
        except SourceError:
            # Damage or a fault of storage? Whole bytes, fetched with patience, can only be damaged.
            with pq.ParquetFile(pa.BufferReader(read_bytes(self.uri))) as file:
                table = file.read_row_group(self.group, columns=columns)
        images, texts = table["image"], table[self.text]
        if pa.types.is_struct(images.type):
            images = (
                pc.struct_field(images, "bytes") if "bytes" in images.type.names else pa.nulls(len(texts))
            )
        images, texts = _raw(images), _raw(texts)
        return list(zip(images.to_pylist(), texts.to_pylist(), strict=True))

    def _id(self, number: int) -> str:
        return f"{self.name}#{self.group}.{number}"

    def _where(self, number: int) -> str:
        return f"{self.name}: row group {self.group}, row {number}"


def _raw(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same, text as bytes that nobody has decoded yet."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.cast(kind.value_type), kind.value_type
    if pa.types.is_string_view(kind):
        column, kind = column.cast(pa.binary_view()), pa.binary_view()
    texts = pa.types.is_string(kind) or pa.types.is_large_string(kind)
    return column.cast(pa.large_binary()) if texts else column


@contextmanager
def _parquet_file(uri: str) -> Iterator[pq.ParquetFile]:
    """An open file, of which only what is asked for is fetched."""
    location = resolve(uri)
    try:
        with pq.ParquetFile(location.path, filesystem=location.filesystem) as file:
            yield file
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {uri}. Check the path.") from error
    except _DAMAGED as error:
        raise SourceError(
            f"{uri} isn't sound Parquet, or can't be read ({error}). Fetch it again."
        ) from error


def _split_of(uri: str) -> str | None:
    """Hugging Face names files train-00000-of-00002.parquet."""
    word = PurePosixPath(uri).name.split("-")[0].removesuffix(".parquet")
    return word if word in ("train", "validation", "val", "test") else None
