"""A transcription run: what it is, pinned by its first start and the same for every later one; and its end.

The layout is that of `pipeline.nightly`.
"""

import json
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any

from crnn.checkpoint import Bundle
from crnn.precision import Precision
from crnn.preprocess import PreprocessConfig
from crnn.shipped import DEFAULT
from pipeline import provenance
from pipeline.errors import ConfigError, ObjectNotFoundError, UnpublishedError
from pipeline.fetch import FetchConfig
from pipeline.lease import Lease
from pipeline.lines import DECODER_VERSION, QUARANTINED
from pipeline.listing import Listing, freeze, is_frozen, read_listing
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.nightly.plan import Plan, PlanConfig, Policy, make_plan
from pipeline.nightly.store_check import check_put_if_absent
from pipeline.nightly.table import TranscriptTable
from pipeline.readings import ModelSource
from pipeline.registry import ResolvedModel, resolve_model
from pipeline.sandbox import SandboxConfig
from pipeline.storage import absolute, create_exclusive, join, list_objects, read_bytes
from pipeline.transcripts import Done, Tally, done_uri, finished_shards, read_done

FEW_QUARANTINED = 20
"""So many never hold a run up: a small folder with a few text files among its images is nothing unusual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TranscribeConfig:
    """Reads every image below a folder or bucket prefix and writes one row for each object there."""

    input: str
    """Folder or s3://bucket/prefix with the images, at any depth."""
    output: str
    """Folder or s3://bucket/prefix for the transcripts; not inside the input."""
    model: str = DEFAULT
    """models:/name@alias or /version, s3://…, the folder of a bundle, or the name of a shipped model."""
    include: tuple[str, ...] = ("*",)
    """Patterns of the names to read, such as *.png; a * also crosses slashes."""
    run: str | None = None
    """Name of the run; the same name takes up an interrupted run. Made from the time where not given."""
    policy: Policy = "new_only"
    """new_only reads what has no row yet; backfill what has none of this model, such as a new champion."""
    limit: int | None = None
    """Read at most so many new objects, the first by name."""
    allow_shrink: bool = False
    """Go on where more than a fifth of the objects known are gone."""
    least_confidence: float = 0.5
    """Texts below it get status low_confidence."""
    max_quarantined: float = 0.05
    """Publish nothing where a larger share can't be read (and more than a handful)."""
    dry_run: bool = False
    """Only tell what a run would do."""
    review: int = 0
    """Copy so many of the least confident images, with their texts, into the run's folder review: corrected
    by a person, jobs/ingest.py table reads them."""
    shard_rows: int = 2_048
    """Objects that are read and written together: what a crash costs, some ten seconds of one CPU's work."""
    cost_per_hour: float | None = None
    """Of the machines, in any currency: the report then tells the cost of a million images."""
    lease_s: float = 60.0
    """Seconds of silence after which a run is taken for dead; the same for all runs of an output."""
    gpu: bool = False
    """Recognise on GPUs."""
    precision: Precision = "fp32"
    """bf16 is about twice as fast and now and then differs in a character."""
    fetch: FetchConfig = field(default_factory=FetchConfig)
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    tracking: str | None = None
    """MLflow tracking URI; MLFLOW_TRACKING_URI, else a local SQLite file, where not given."""
    experiment: str = "transcribe"
    """MLflow experiment of the reports."""

    def __post_init__(self) -> None:
        if self.limit is not None and self.limit < 1:
            raise ConfigError(f"--limit {self.limit} leaves nothing to do; give at least 1.")
        if not 1 <= self.shard_rows <= 16_384:
            raise ConfigError(f"--shard-rows is from 1 to 16,384; {self.shard_rows} isn't.")
        if self.run is not None and not re.fullmatch(r"\w[\w.-]{0,63}", self.run, re.ASCII):
            raise ConfigError(f"--run {self.run!r}: up to 64 letters, digits, '.', '-' and '_'.")
        if not 0 <= self.max_quarantined <= 1:
            raise ConfigError(f"--max-quarantined is a share from 0 to 1; {self.max_quarantined} isn't.")
        if self.lease_s <= 0:
            raise ConfigError(f"--lease-s {self.lease_s}: give the seconds after which a silent run is dead.")
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
    """What it owes a row."""
    table: TranscriptTable
    run_uri: str
    """Folder of the run's records."""


def run_name(config: TranscribeConfig) -> str:
    """The run's name: as given, else from the time."""
    return config.run or f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}"


def begin(config: TranscribeConfig, run: str, lease: Lease) -> Transcription:
    """Pins a run's model and listing, or takes up what an earlier start of it pinned.

    Args:
        config: What is asked for.
        run: Its name, see `run_name`.
        lease: Held for the output.

    Raises:
        ConfigError: There is nothing to read, the run was begun as another, or the store can't be trusted.
        ModelNotFoundError, BundleError, RegistryError: The model can't be used.
        FencedError: Another run has come since.
        StorageError: The input can't be listed, or the output not written.
    """
    tracking = resolve_tracking_uri(config.tracking)
    model = resolve_model(config.model, tracking)
    source, output = absolute(config.input), absolute(config.output)
    run_uri, table = join(output, "runs", run), TranscriptTable(output)
    check_put_if_absent(output)
    if lease.taken_over:
        table.fence(lease.epoch)
    _pin(
        run_uri,
        {
            "input": source,
            "include": list(config.include),
            "policy": config.policy,
            "limit": config.limit,
            "model": {"name": model.name, "version": model.version, "digest": model.digest},
            "decoder_version": DECODER_VERSION,
            "precision": config.precision,
            "least_confidence": config.least_confidence,
        },
    )
    if is_frozen(run_uri):
        listing = read_listing(run_uri)
    else:
        with plan(config, table, model) as planned:
            listing = freeze(run_uri, planned.rows, planned.facts, config.shard_rows)
    return Transcription(
        name=run,
        config=config,
        model=model,
        source=ModelSource(
            uri=config.model if config.model.startswith("s3://") else model.uri, tracking_uri=tracking
        ),
        preprocess=Bundle.load(model.directory).preprocess,
        listing=listing,
        table=table,
        run_uri=run_uri,
    )


@contextmanager
def plan(config: TranscribeConfig, table: TranscriptTable, model: ResolvedModel) -> Iterator[Plan]:
    """What a run would do now; nothing is written.

    Raises:
        ConfigError: There is nothing to read, and never was.
        StorageError: The input can't be listed, or too much of it is gone.
    """
    wanted = PlanConfig(
        source=absolute(config.input),
        include=config.include,
        policy=config.policy,
        limit=config.limit,
        allow_shrink=config.allow_shrink,
    )
    try:
        with make_plan(wanted, table, digest=model.digest, decoder=DECODER_VERSION) as planned:
            yield planned
    except ObjectNotFoundError as error:
        raise ConfigError(f"--input {config.input}: {error}") from error


def remaining_shards(job: Transcription) -> tuple[int, ...]:
    """The shards that no start of the run has committed yet.

    Raises:
        StorageError: It can't be told.
    """
    try:
        finished = frozenset(finished_shards(job.run_uri))
    except ObjectNotFoundError:  # a folder on a disk begins with its first file
        finished = frozenset()
    return tuple(shard for shard in range(job.listing.shards) if shard not in finished)


def publish(job: Transcription, lease: Lease) -> Tally:
    """Makes the rows of a run visible once every shard is committed; what became of the objects.

    Raises:
        UnpublishedError: The shards don't add up to what is owed, or too many images can't be read.
        FencedError: Another run took over.
        StorageError, DataError: What is committed can't be read, or the table not written.
    """
    with ThreadPoolExecutor(job.config.fetch.requests) as pool:
        done = list(pool.map(partial(read_done, job.run_uri), range(job.listing.shards)))
    total = sum((each.tally for each in done), Tally())
    if not done or job.table.is_published(job.name):
        return total
    _reconcile(job, done)
    if total.count(QUARANTINED) > FEW_QUARANTINED and total.quarantined_share > job.config.max_quarantined:
        raise UnpublishedError(
            f"{total.count(QUARANTINED)} images can't be read, {total.quarantined_share:.1%} of those looked "
            f"at: more than --max-quarantined {job.config.max_quarantined:g}. Nothing is published. Look at "
            f"{join(job.table.uri, f'run={job.name}')}; a higher one with --run {job.name} publishes it."
        )
    job.table.publish(
        job.name,
        [each.file for each in done],
        epoch=lease.epoch,
        publication=job.listing.facts.publication,
        check=partial(lease.check, ask=True),
    )
    return total


def _reconcile(job: Transcription, done: list[Done]) -> None:
    """Refuses files that are missing, cut short, or not one row for each object."""
    stored = {each.key: each.size for each in list_objects(join(job.table.uri, f"run={job.name}"))}
    for shard, each in enumerate(done):
        owed, size = job.listing.shard_length(shard), stored.get(each.file.path.partition("/")[2])
        if size != each.file.bytes or not each.tally.rows == each.file.rows == owed:
            raise UnpublishedError(
                f"{join(job.table.uri, each.file.path)} isn't what shard {shard} committed ({size} of "
                f"{each.file.bytes} bytes, {each.file.rows} rows for {owed} objects). "
                f"Remove {done_uri(job.run_uri, shard)} and run the same again."
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
