"""Hugging Face's Parquet files and WebDataset's tar files."""

import io
import json
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
from pipeline.storage import list_objects, local_copy, resolve

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif", ".ppm")
_LABELS = (".txt", ".text", ".label", ".json")
_TEXT_COLUMNS = ("text", "label", "words", "word")


def parquet(options: SourceOptions) -> Iterator["ParquetPart"]:
    """Hugging Face: a file, or a folder of them, with `image` (struct{bytes, path}, or bytes) and `label`.

    A row group is a part.

    Raises:
        SourceError: No such file, or one without these columns.
    """
    for uri in _files(options.input, ".parquet"):
        with _parquet_file(uri) as file:
            names, groups = file.schema_arrow.names, file.num_row_groups
        text = next((name for name in _TEXT_COLUMNS if name in names), None)
        if "image" not in names or text is None:
            raise SourceError(
                f"{uri} has columns {names}; it needs `image` and one of {', '.join(_TEXT_COLUMNS)}."
            )
        for group in range(groups):
            yield ParquetPart(uri=uri, group=group, text=text, split=options.split or _split_of(uri))


@dataclass(frozen=True, kw_only=True, slots=True)
class ParquetPart:
    """One row group of a file."""

    uri: str
    group: int
    text: str
    """Name of the column."""
    split: str | None

    def read(self) -> Iterator[Sample | Reject]:
        """Every row gives a sample or a reject."""
        name = PurePosixPath(self.uri).name
        with _parquet_file(self.uri) as file:
            table = file.read_row_group(self.group, columns=["image", self.text])
        for number, row in enumerate(table.to_pylist()):
            identity = f"{name}#{self.group}.{number}"
            where = f"{name}: row group {self.group}, row {number}"
            image, text = row["image"], row[self.text]
            data = image.get("bytes") if isinstance(image, dict) else image
            if not isinstance(text, str):
                detail = f"{where}: the label is {text!r}, no text"
                yield Reject(id=identity, reason=MISSING_LABEL, detail=detail)
            elif not isinstance(data, bytes):
                detail = f"{where}: the image's bytes aren't in the file"
                yield Reject(id=identity, reason=MISSING_IMAGE, detail=detail, text=text)
            else:
                yield admit(id=identity, text=text, image=data, where=where, split=self.split)


@contextmanager
def _parquet_file(uri: str) -> Iterator[pq.ParquetFile]:
    """An open file, of which only what is asked for is fetched."""
    location = resolve(uri)
    try:
        with pq.ParquetFile(location.path, filesystem=location.filesystem) as file:
            yield file
    except FileNotFoundError as error:
        raise SourceError(f"There is no file {uri}. Check the path.") from error
    except pa.ArrowException as error:
        raise SourceError(f"{uri} isn't sound Parquet ({error}). Fetch it again.") from error


def _split_of(uri: str) -> str | None:
    """Hugging Face names files train-00000-of-00002.parquet."""
    word = PurePosixPath(uri).name.split("-")[0].removesuffix(".parquet")
    return word if word in ("train", "validation", "val", "test") else None


def webdataset(options: SourceOptions) -> Iterator["TarPart"]:
    """WebDataset: a tar file, or a folder of them, of `key.jpg` beside `key.txt` (or .json with "text").

    A tar file is a part.
    """
    return (TarPart(uri=uri, split=options.split) for uri in _files(options.input, ".tar"))


@dataclass(frozen=True, kw_only=True, slots=True)
class TarPart:
    """One tar file."""

    uri: str
    split: str | None

    def read(self) -> Iterator[Sample | Reject]:
        """Every key gives a sample or a reject; a tar file that ends too soon gives a reject more."""
        with local_copy(self.uri) as path, path.open("rb") as file:
            yield from self._samples(file)

    def _samples(self, file: io.BufferedReader) -> Iterator[Sample | Reject]:
        name = PurePosixPath(self.uri).name
        key: str | None = None
        members: dict[str, bytes] = {}
        try:
            with tarfile.open(fileobj=file, mode="r|") as archive:
                for member in archive:
                    content = archive.extractfile(member)
                    if content is None:
                        continue
                    path = PurePosixPath(member.name)
                    stem, _, suffix = path.name.partition(".")
                    found = str(path.with_name(stem))
                    if key is not None and found != key:
                        yield self._sample(key, members)
                        members = {}
                    key = found
                    members["." + suffix.lower()] = content.read()
            if key is not None:
                yield self._sample(key, members)
        except tarfile.TarError as error:
            detail = f"{self.uri}: broken after {key!r} ({error}); what followed is lost"
            yield Reject(id=f"{name}#broken", reason=MALFORMED, detail=detail)

    def _sample(self, key: str, members: dict[str, bytes]) -> Sample | Reject:
        name = PurePosixPath(self.uri).name
        identity, where = f"{name}/{key}", f"{name}: {key}"
        image = next((members[suffix] for suffix in IMAGES if suffix in members), None)
        label = next((suffix for suffix in _LABELS if suffix in members), None)
        if label is None:
            return Reject(id=identity, reason=MISSING_LABEL, detail=f"{where}: only {sorted(members)}")
        try:
            text = members[label].decode("utf-8-sig").rstrip("\r\n")
        except UnicodeDecodeError as error:
            return Reject(id=identity, reason=BAD_ENCODING, detail=f"{where}: not UTF-8 ({error.reason})")
        if label == ".json":
            found = _text_of(text)
            if found is None:
                return Reject(id=identity, reason=MALFORMED, detail=f"{where}: no JSON with a text")
            text = found
        if image is None:
            detail = f"{where}: only {sorted(members)}"
            return Reject(id=identity, reason=MISSING_IMAGE, detail=detail, text=text)
        return admit(id=identity, text=text, image=image, where=where, split=self.split)


def _text_of(document: str) -> str | None:
    try:
        record: Any = json.loads(document)
    except ValueError:
        return None
    found = (record.get(name) for name in _TEXT_COLUMNS) if isinstance(record, dict) else ()
    return next((value for value in found if isinstance(value, str)), None)


def _files(uri: str, suffix: str) -> list[str]:
    """The file itself, or the files of this suffix below a folder."""
    if uri.lower().endswith(suffix):
        return [uri]
    found = [stored.uri for stored in list_objects(uri) if stored.key.lower().endswith(suffix)]
    if not found:
        raise SourceError(f"There is no {suffix} file below {uri}. Give the file, or the folder with them.")
    return found
