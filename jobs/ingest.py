"""Real archives to shards and a manifest, as the generator makes them.

python jobs/ingest.py iiit5k --input IIIT5K/traindata.mat --output out/data/iiit5k
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Literal

import tyro

from jobs.cli import parse_flags, table
from jobs.runtime import ExitCode, connect_ray, run_job
from pipeline.errors import ConfigError
from pipeline.ingest import REJECTS, ingest
from pipeline.sources.samples import SourceOptions
from pipeline.storage import join

FormatName = Literal[
    "lmdb",
    "mmocr-lmdb",
    "mmocr-json",
    "json-lines",
    "mjsynth",
    "iiit5k",
    "svt",
    "ic03-words",
    "ic03-scenes",
    "icdar",
    "paddle",
    "spaced",
    "table",
    "parquet",
    "webdataset",
    "folder",
]


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestConfig:
    """Makes a data set of an archive of word images, with every entry kept or rejected with a reason."""

    format: tyro.conf.Positional[FormatName]
    """What the archive is.
    lmdb, mmocr-lmdb: image-%09d and label-%09d
    mmocr-json: the document of mmocr 1.x
    json-lines: an object a line (Union14M, mmocr 0.x)
    mjsynth: annotation.txt
    iiit5k: a .mat file
    svt: XML with scenes, or crops of them
    ic03-words, ic03-scenes: word.xml, words.xml
    icdar: gt.txt of IC13 and IC15
    paddle: path, tab, text
    spaced: path, space, text
    table: TSV or CSV
    parquet: Hugging Face's files
    webdataset: tar files
    folder: images named by their text
    """
    input: str
    """URI of the annotation file, or of the archive or folder itself where the format has none."""
    output: str
    """URI of the folder that becomes the data set."""
    images: str | None = None
    """Folder that the annotation's paths start from; its own folder where not given."""
    flatten: bool = False
    """Look images up by file name alone, whatever folders the annotation says."""
    suffix: str | None = None
    """Suffix of the image files, such as .jpg, where they were converted since they were annotated."""
    crops: str | None = None
    """For annotations of scenes: the name of ready-made crops by their number, such as '{:04d}.png'."""
    encoding: str = "utf-8-sig"
    """Encoding of text annotations."""
    split: str | None = None
    """Split to write to every sample, where the archive doesn't say."""
    source: str | None = None
    """Name of the set, for the samples' `source`; the format's where not given."""
    max_rejected: float = 0.05
    """Share of rejected entries above which the exit code is 3; the data set is made all the same."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_rejected <= 1:
            raise ConfigError(f"max_rejected is a share of the entries, 0 to 1; {self.max_rejected} isn't.")
        if self.suffix is not None and not PurePosixPath("x").with_suffix(self.suffix).suffix:
            raise ConfigError(f"suffix is such as .jpg; {self.suffix!r} isn't.")
        try:
            "".encode(self.encoding)
            (self.crops or "").format(0)
        except (LookupError, ValueError, AttributeError, TypeError) as error:
            raise ConfigError(f"encoding {self.encoding!r} or crops {self.crops!r}: {error}.") from error

    @property
    def options(self) -> SourceOptions:
        """What the reader is told."""
        names = SourceOptions.__dataclass_fields__
        return SourceOptions(**{name: getattr(self, name) for name in names})


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; the exit code says how it ended."""
    return run_job(lambda: run(parse_flags(IngestConfig, argv, "jobs/ingest.py")))


def run(config: IngestConfig) -> int:
    """Ingests and says what became of every entry."""
    with connect_ray():
        done = ingest(config.format, config.options, config.output, source=config.source or config.format)
    rejected = sum(done.rejected.values())
    rows = [("read", done.read), ("kept", done.kept), ("rejected", rejected)]
    rows += [(f"  {reason}", count) for reason, count in done.rejected.items()]
    print(table(("entries", "count"), rows))
    there = "was there already, " if done.found else ""
    shards = len(done.manifest.shards)
    print(f"\n{config.output}: {there}{shards} shard{'s'[: shards != 1]}, {done.manifest.fingerprint}")
    if rejected:
        print(f"Every rejected entry with its reason: {join(config.output, REJECTS)}")
    return ExitCode.INCOMPLETE if rejected > config.max_rejected * done.read else ExitCode.OK


if __name__ == "__main__":
    raise SystemExit(main())
