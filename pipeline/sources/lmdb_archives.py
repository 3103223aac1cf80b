"""LMDB archives: clovaai's and mmocr's."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

from crnn.errors import ImageRejectedError
from pipeline.errors import ConfigError
from pipeline.sources.files import FilesPart, image_bytes, image_uri, in_parts
from pipeline.sources.samples import (
    BAD_ENCODING,
    MALFORMED,
    MISSING_IMAGE,
    MISSING_LABEL,
    PART_ROWS,
    Reject,
    Sample,
    SourceError,
    SourceOptions,
    admit,
)
from pipeline.storage import exists, join, local_copy

DATA_FILE = "data.mdb"


def lmdb_archive(options: SourceOptions) -> Iterator["LmdbPart | FilesPart"]:
    """`label-%09d` and `num-samples`, numbered from 1; labels in UTF-8 (clovaai) or JSON objects (mmocr 0.x).

    Images are `image-%09d` in the same archive, or in that of `--images`, or the files that mmocr's labels
    name, in the folder of `--images`. Labels beyond num-samples are rejects: one of the two is wrong.

    Raises:
        SourceError: Not such an archive, or one that was cut short.
    """
    with open_lmdb(options.input) as archive:
        try:
            told = archive.get(b"num-samples")
            count = int(told) if told is not None and told.strip().isdigit() else None
            beyond = archive.numbers_from(count + 1) if count is not None else []
        except DamagedError as error:
            raise SourceError(f"{options.input} is damaged ({error}). Fetch it again.") from error
    if count is None:
        raise SourceError(f"{options.input} says num-samples = {told!r}; it must say how many it holds.")
    images = options.images or options.input
    if count > PART_ROWS and any(uri.startswith("s3://") for uri in (options.input, images)):
        raise SourceError(
            f"{options.input} holds {count:,} samples: LMDB is read from a disk only, and every part would "
            "fetch all of it. Copy it to a disk that all nodes see, and give that as --input."
        )
    as_files = images != options.input and not (images.endswith(".mdb") or exists(join(images, DATA_FILE)))
    for start in range(1, count + 1, PART_ROWS):
        yield LmdbPart(
            options=options,
            images=images,
            as_files=as_files,
            numbers=range(start, min(start + PART_ROWS, count + 1)),
        )
    told_of = f"{options.input}: num-samples = {count:,}, and there is"
    yield from in_parts(
        Reject(id=number, reason=MALFORMED, detail=f"{told_of} label-{number} too") for number in beyond
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class LmdbPart:
    """Some numbers of an archive, which is opened where it is read."""

    options: SourceOptions
    images: str
    """The same archive, another one, or a folder of files that the labels name."""
    as_files: bool
    numbers: range

    @property
    def size(self) -> int:
        """How many there are."""
        return len(self.numbers)

    def read(self) -> Iterator[Sample | Reject]:
        """Every number gives a sample or a reject."""
        with open_lmdb(self.options.input) as labels:
            if self.images == self.options.input:
                yield from self._samples(labels, labels)
            elif self.as_files:
                yield from self._samples(labels, None)
            else:
                with open_lmdb(self.images) as images:
                    yield from self._samples(labels, images)

    def _samples(self, labels: "Archive", images: "Archive | None") -> Iterator[Sample | Reject]:
        for number in self.numbers:
            key = f"label-{number:09d}"
            identity, where = key.removeprefix("label-"), f"{self.options.input}: {key}"
            try:
                raw = labels.get(key.encode())
                image = images.get(b"image-%09d" % number) if images is not None else None
            except DamagedError as error:
                detail = f"{where}: the archive is damaged there ({error}); fetch it again"
                yield Reject(id=identity, reason=MALFORMED, detail=detail)
                continue
            if raw is None:
                yield Reject(id=identity, reason=MISSING_LABEL, detail=f"{where} isn't there")
                continue
            try:
                text, path = _label(raw.decode("utf-8"))
            except UnicodeDecodeError as error:
                yield Reject(id=identity, reason=BAD_ENCODING, detail=f"{where}: not UTF-8 ({error.reason})")
                continue
            except ValueError as error:
                yield Reject(id=identity, reason=MALFORMED, detail=f"{where}: {error}")
                continue
            if images is None:
                if path is None:
                    detail = f"{where}: a plain label names no image file"
                    yield Reject(id=identity, reason=MALFORMED, detail=detail, text=text)
                    continue
                try:
                    image = image_bytes(image_uri(self.options, path))
                except ImageRejectedError as error:
                    detail = f"{where}: {error.detail}"
                    yield Reject(id=identity, reason=error.reason, detail=detail, text=text)
                    continue
            if image is None:
                detail = f"{where}: its image isn't in {self.images}"
                yield Reject(id=identity, reason=MISSING_IMAGE, detail=detail, text=text)
                continue
            yield admit(id=identity, text=text, image=image, where=where, split=self.options.split)


def _label(raw: str) -> tuple[str, str | None]:
    """The text, and the file of mmocr's labels.

    Raises:
        ValueError: Such a label whose text or file is none.
    """
    try:
        record = json.loads(raw) if raw.startswith("{") else None
    except (ValueError, RecursionError):
        record = None  # a word may begin with a brace
    if not isinstance(record, dict) or not {"text", "filename"} <= record.keys():
        return raw, None
    text, name = record["text"], record["filename"]
    if not isinstance(text, str | int | float) or not isinstance(name, str):
        raise ValueError(f"text {text!r} and filename {name!r} should be strings")
    return str(text), name


class DamagedError(Exception):
    """A page of an archive can't be read."""


@dataclass(frozen=True, slots=True)
class Archive:
    """An open archive."""

    environment: Any
    fault: type[Exception]
    """What the package lmdb raises."""

    def get(self, key: bytes) -> bytes | None:
        """The value of a key.

        Raises:
            DamagedError: A page on the way to it is damaged.
        """
        try:
            # A transaction that met a damaged page reads nothing more: each key has its own.
            with self.environment.begin() as transaction:
                value: bytes | None = transaction.get(key)
        except self.fault as error:
            raise DamagedError(str(error)) from error
        return value

    def numbers_from(self, first: int) -> list[str]:
        """Nine digits of each label from a number on.

        Raises:
            DamagedError: A page on the way to them is damaged.
        """
        try:
            with self.environment.begin() as transaction, transaction.cursor() as cursor:
                keys = cursor.iternext(values=False) if cursor.set_range(b"label-%09d" % first) else ()
                labels = takewhile(lambda key: key.startswith(b"label-"), keys)
                return [key.removeprefix(b"label-").decode("utf-8", "backslashreplace") for key in labels]
        except self.fault as error:
            raise DamagedError(str(error)) from error


@contextmanager
def open_lmdb(uri: str) -> Iterator[Archive]:
    """An archive to read from, by its folder or its data.mdb.

    Raises:
        ConfigError: The package lmdb isn't installed.
        SourceError: No archive, or one that was cut short.
    """
    try:
        import lmdb
    except ImportError as error:
        raise ConfigError("Reading LMDB archives needs the package lmdb: pip install lmdb.") from error
    with local_copy(uri) as path:
        try:
            environment = lmdb.open(
                str(path), subdir=path.is_dir(), readonly=True, lock=False, readahead=False
            )
        except lmdb.Error as error:
            raise SourceError(f"{uri} is no LMDB archive that can be opened ({error}).") from error
        with environment:
            _refuse_short(uri, path / DATA_FILE if path.is_dir() else path, environment)
            yield Archive(environment, lmdb.Error)


def _refuse_short(uri: str, path: Path, environment: Any) -> None:
    """Reading behind the end of a mapped file would kill the process instead of raising."""
    size = path.stat().st_size
    needed = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
    if size < needed:
        raise SourceError(f"{uri} was cut short: {size:,} bytes of {needed:,}. Fetch it again.")
