"""What a nightly transcription is told."""

import re
from dataclasses import dataclass, field

from crnn.precision import Precision
from crnn.shipped import DEFAULT
from pipeline.errors import ConfigError
from pipeline.fetch import FetchConfig
from pipeline.mlflow_run import check_name
from pipeline.nightly.export import ExportRows, export_format
from pipeline.nightly.pace import MOST_SHARD_ROWS
from pipeline.nightly.plan import Policy
from pipeline.sandbox import SandboxConfig
from pipeline.storage import absolute

MOST_TEXTS = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscribeConfig:
    """Reads every image below a folder or bucket prefix and writes one row for each object there."""

    input: str
    """Folder or s3://bucket/prefix with images at any depth, loose or in .tar, .tar.gz, .zip and .parquet
    files; or a .csv or .parquet file that lists them by uri, one by one or as boxes on pages (columns box,
    polygon)."""
    output: str
    """Folder or s3://bucket/prefix for the transcripts; not inside the input."""
    model: str = DEFAULT
    """models:/name@alias or /version, s3://…, the folder of a bundle, or the name of a shipped model."""
    include: tuple[str, ...] = ("*",)
    """Patterns of the names to read, such as 2026/*; a * also crosses slashes, those of archives too."""
    suffixes: tuple[str, ...] = ()
    """Ends of the names to read, such as .jpg .png, in capitals or not; all where not given."""
    run: str | None = None
    """Name of the run; the same name takes up an interrupted run. Made from the time where not given."""
    policy: Policy = "new_only"
    """new_only reads what has no newest row of its present version; backfill what has none of this model,
    such as a new champion."""
    limit: int | None = None
    """Read at most so many new objects, the first by name."""
    allow_shrink: bool = False
    """Go on where more than a fifth of the objects known are gone."""
    least_confidence: float = 0.5
    """Texts below it get status low_confidence."""
    language: bool = True
    """Read with the model's language model, where it has one, and look again where that is unsure. Codes may
    be read better without, and are read faster: the table then holds texts and digest of another model. A
    bundle that wasn't calibrated for that too, by jobs/evaluate.py --no-language --calibrate, has only the
    confidences for reading with it. The shadow model keeps its own."""
    n_best: int = 1
    """Texts of an image to keep: with 5, column alternatives holds the 4 likeliest others. Beam search finds
    them, which takes about as long as the network."""
    max_quarantined: float = 0.05
    """Publish nothing where a larger share can't be read (and more than a handful)."""
    canaries: str | None = None
    """Annotation (columns path, text) of images whose text is known, such as a corrected --review: every
    shard reads some of them."""
    max_canary_cer: float = 0.1
    """Publish nothing where the canaries' character error rate is higher."""
    min_canary_confidence: float = 0.5
    """Publish nothing where the canaries' mean confidence is lower."""
    shadow: str | None = None
    """Another model, as --model, that reads a sample too: column shadow_text, and how often they agree."""
    shadow_share: float = 0.02
    """Share of the images that the shadow model reads."""
    dry_run: bool = False
    """Only tell what a run would do."""
    review: int = 0
    """Copy so many of the least confident images, with their texts, into the run's folder review: corrected
    by a person, jobs/ingest.py table reads them."""
    export: str | None = None
    """File to write rows to when the run is published, such as out.jsonl or s3://b/out.csv.gz."""
    export_rows: ExportRows = "current"
    """current exports the newest row of everything that the table holds; run those of this run."""
    shard_rows: int | None = None
    """Images that are read and written together: what a crash costs. Where not given, what a recogniser
    did in most of a minute the last night."""
    images_per_second: float | None = None
    """What --dry-run reckons with; that of the last run where not given."""
    cost_per_hour: float | None = None
    """Of the machines, in any currency: --dry-run then tells the cost, the report a million images'."""
    lease_s: float = 60.0
    """Seconds of silence after which a run is taken for dead; the same for all runs of an output."""
    gpu: bool = False
    """Recognise on GPUs."""
    precision: Precision = "fp32"
    """bf16 is up to twice as fast where a device computes in it, and now and then differs in a character."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""
    experiment: str = "transcribe"
    """MLflow experiment of the reports."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit} leaves nothing to do; give at least 1.")
        if self.shard_rows is not None and not 1 <= self.shard_rows <= MOST_SHARD_ROWS:
            raise ConfigError(f"--shard-rows is from 1 to {MOST_SHARD_ROWS:,}; {self.shard_rows} isn't.")
        if self.images_per_second is not None and self.images_per_second <= 0:
            raise ConfigError(f"--images-per-second {self.images_per_second}: give a positive number.")
        if self.run is not None and not re.fullmatch(r"\w[\w.-]{0,63}", self.run, re.ASCII):
            raise ConfigError(f"--run {self.run!r}: up to 64 letters, digits, '.', '-' and '_'.")
        if not 1 <= self.n_best <= MOST_TEXTS:
            raise ConfigError(f"--n-best is from 1 to {MOST_TEXTS}; {self.n_best} isn't.")
        if self.export is not None:
            absolute(self.export)
            export_format(self.export)
        if self.review < 0:
            raise ConfigError(f"--review is 0 or more; {self.review} isn't.")
        check_name(self.experiment)
        if not 0 <= self.least_confidence <= 1:
            raise ConfigError(f"--least-confidence is from 0 to 1; {self.least_confidence} isn't.")
        if self.cost_per_hour is not None and not self.cost_per_hour >= 0:
            raise ConfigError(f"--cost-per-hour is 0 or more; {self.cost_per_hour} isn't.")
        if not 0 <= self.max_quarantined <= 1:
            raise ConfigError(f"--max-quarantined is a share from 0 to 1; {self.max_quarantined} isn't.")
        if not 0 < self.shadow_share <= 1:
            raise ConfigError(f"--shadow-share is above 0 and up to 1; {self.shadow_share} isn't.")
        if self.max_canary_cer < 0 or not 0 <= self.min_canary_confidence <= 1:
            raise ConfigError("--max-canary-cer is 0 or more, --min-canary-confidence from 0 to 1.")
        if self.lease_s <= 0:
            raise ConfigError(f"--lease-s {self.lease_s}: give the seconds after which a silent run is dead.")
        for name, written in (("output", self.output), ("export", self.export)):
            inner, outer = (absolute(uri).rstrip("/") + "/" for uri in (written or "", self.input))
            if written is not None and inner.startswith(outer):
                raise ConfigError(
                    f"The {name} {written} lies in the input {self.input}: it would be read too."
                )
