"""The formats that can be ingested, by name."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from pipeline.sources import (
    folder,
    json_lists,
    lists,
    lmdb_archives,
    markup,
    matlab,
    parquet_files,
    tar_files,
)
from pipeline.sources.samples import Part, SourceOptions


@dataclass(frozen=True, kw_only=True, slots=True)
class Format:
    """A reader and what has to be known of its samples."""

    open: Callable[[SourceOptions], Iterator[Part]]
    lexicons: Mapping[str, list[int | None]] = field(default_factory=dict)
    """Name of each lexicon and the positions [from, to) of its words in the samples' lexicon column; to is
    null where it goes on to the end."""


FORMATS: Mapping[str, Format] = {
    "lmdb": Format(open=lmdb_archives.lmdb_archive),
    "mmocr-lmdb": Format(open=lmdb_archives.lmdb_archive),
    "mmocr-json": Format(open=json_lists.mmocr_json),
    "json-lines": Format(open=json_lists.json_lines),
    "mjsynth": Format(open=lists.mjsynth),
    "iiit5k": Format(open=matlab.iiit5k, lexicons=matlab.LEXICONS),
    "svt": Format(open=markup.svt, lexicons={"50": [0, None]}),
    "ic03-words": Format(open=markup.ic03_words),
    "ic03-scenes": Format(open=markup.ic03_scenes),
    "icdar": Format(open=lists.icdar),
    "paddle": Format(open=lists.paddle),
    "spaced": Format(open=lists.spaced),
    "table": Format(open=lists.table),
    "parquet": Format(open=parquet_files.parquet),
    "webdataset": Format(open=tar_files.webdataset),
    "folder": Format(open=folder.folder),
}
"""Each reader's docstring says what it reads."""
