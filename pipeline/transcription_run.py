"""A transcription run: what it is, pinned by its first start and the same for every later one.

Layout below the output:
    runs/<run>/spec.json            what the run is; whoever is first writes it, everybody else must agree
    runs/<run>/listing.json, …      the objects, frozen and cut into shards
    transcripts/<run>/<shard>.parquet
A shard's file is its commit: the same run started again reuses what is there and does the rest.
"""

import json
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from crnn.checkpoint import Bundle
from crnn.precision import Precision
from crnn.preprocess import PreprocessConfig
from pipeline import provenance
from pipeline.errors import ConfigError, ObjectNotFoundError
from pipeline.fetch import FetchConfig
from pipeline.listing import Listing, freeze
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.readings import ModelSource
from pipeline.registry import ResolvedModel, resolve_model
from pipeline.storage import absolute, create_exclusive, join, read_bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscribeConfig:
    """Reads every image below a folder or bucket prefix and writes one row for each object there."""

    input: str
    """Folder or s3://bucket/prefix with the images, at any depth."""
    output: str
    """Folder or s3://bucket/prefix for the transcripts; not inside the input."""
    model: str = "models:/crnn@champion"
    """models:/name@alias, models:/name/version, s3://… or the folder of a bundle."""
    include: tuple[str, ...] = ("*",)
    """Patterns of the names to read, such as *.png; a * also crosses slashes."""
    run: str | None = None
    """Name of the run; the same name takes up an interrupted run. Made from the time where not given."""
    limit: int | None = None
    """Read at most so many objects, the first by name."""
    shard_rows: int = 1_024
    """Objects that are read and written together."""
    gpu: bool = False
    """Recognise on GPUs."""
    precision: Precision = "fp32"
    """bf16 is about twice as fast and now and then differs in a character."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    tracking: str | None = None
    """MLflow tracking URI, for models:/; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit} leaves nothing to do; give at least 1.")
        if not 1 <= self.shard_rows <= 16_384:
            raise ConfigError(f"--shard-rows is from 1 to 16,384; {self.shard_rows} isn't.")
        if self.run is not None and not re.fullmatch(r"\w[\w.-]{0,63}", self.run, re.ASCII):
            raise ConfigError(f"--run {self.run!r}: up to 64 letters, digits, '.', '-' and '_'.")
        inner, outer = (absolute(uri).rstrip("/") + "/" for uri in (self.output, self.input))
        if inner.startswith(outer):
            raise ConfigError(
                f"The output {self.output} lies in the input {self.input}: it would be read too."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """A run that has begun: what it is, pinned."""

    name: str
    config: TranscribeConfig
    model: ResolvedModel
    source: ModelSource
    """Where every node finds the model."""
    preprocess: PreprocessConfig
    """The model's."""
    listing: Listing
    """What is to be read."""
    transcripts_uri: str
    """Folder of the run's transcripts."""


def begin(config: TranscribeConfig) -> Transcription:
    """Pins a run's model and listing, or takes up what an earlier start of it pinned.

    Raises:
        ConfigError: There is nothing to read, or the run was begun as another.
        ModelNotFoundError, BundleError, RegistryError: The model can't be used.
        StorageError: The input can't be listed, or the output not written.
    """
    run = config.run or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    tracking = resolve_tracking_uri(config.tracking)
    model = resolve_model(config.model, tracking)
    source, output = absolute(config.input), absolute(config.output)
    run_uri = join(output, "runs", run)
    _pin(
        run_uri,
        {
            "input": source,
            "include": list(config.include),
            "limit": config.limit,
            "model": {"name": model.name, "version": model.version, "digest": model.digest},
            "precision": config.precision,
        },
    )
    try:
        listing = freeze(
            source, run_uri, include=config.include, limit=config.limit, shard_rows=config.shard_rows
        )
    except ObjectNotFoundError as error:
        raise ConfigError(f"--input {config.input}: {error}") from error
    return Transcription(
        name=run,
        config=config,
        model=model,
        source=ModelSource(
            uri=config.model if config.model.startswith("s3://") else model.uri, tracking_uri=tracking
        ),
        preprocess=Bundle.load(model.directory).preprocess,
        listing=listing,
        transcripts_uri=join(output, "transcripts", run),
    )


def _pin(run_uri: str, spec: dict[str, Any]) -> None:
    uri = join(run_uri, "spec.json")
    record = spec | {"provenance": provenance.collect().as_dict()}
    if create_exclusive(uri, json.dumps(record, indent=1).encode()):
        return
    found = json.loads(read_bytes(uri))
    different = [name for name in spec if found.get(name) != spec[name]]
    if different:
        told = "; ".join(f"{name} was {found.get(name)}, now {spec[name]}" for name in different)
        raise ConfigError(f"{run_uri} was begun as another run ({told}). Give this one another --run.")
