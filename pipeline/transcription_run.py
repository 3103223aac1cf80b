"""A transcription run: what it is, pinned by its first start and the same for every later one; and its end.

The layout is that of `pipeline.nightly`.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from crnn.checkpoint import Bundle
from crnn.preprocess import PreprocessConfig
from pipeline import provenance
from pipeline.calibrate import ALONE, WHOLE
from pipeline.errors import ConfigError, ObjectNotFoundError, UnpublishedError
from pipeline.histograms import Histograms, held_out_readings
from pipeline.lease import Lease
from pipeline.lines import DECODER_VERSION, QUARANTINED
from pipeline.listing import Listing, freeze, is_frozen, read_listing
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.model_source import ModelSource
from pipeline.nightly.canaries import Canary, alarm, fingerprint, load_canaries
from pipeline.nightly.pace import last_pace, shard_rows
from pipeline.nightly.plan import Plan, PlanConfig, make_plan
from pipeline.nightly.store_check import check_put_if_absent
from pipeline.nightly.table import TranscriptTable
from pipeline.registry import ResolvedModel, resolve_model
from pipeline.storage import absolute, create_exclusive, join, list_objects, read_bytes
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcripts import Done, Tally, done_uri, finished_shards, read_done

FEW_QUARANTINED = 20
"""So many never hold a run up: a small folder with a few text files among its images is nothing unusual."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Reader:
    """A model and how every node gets it."""

    model: ResolvedModel
    """Its digest names what it reads: without its language model, that of `Bundle.alone`."""
    source: ModelSource
    whole: bool
    """Whether it reads with all that its bundle has."""

    @classmethod
    def of(cls, uri: str, tracking_uri: str, *, language: bool = True) -> "Reader":
        """The model that a URI names now.

        Args:
            uri: As for `resolve_model`.
            tracking_uri: Of MLflow.
            language: Whether it reads with its language model, if it has one.

        Raises:
            ModelNotFoundError, BundleError, RegistryError: It can't be used.
        """
        model = resolve_model(uri, tracking_uri)
        source = ModelSource.of(uri, model, tracking_uri)
        if language or (bundle := Bundle.load(model.directory)).language is None:
            return cls(model=model, source=source, whole=True)
        digest = bundle.alone().fingerprint
        version = digest if model.version == model.digest else model.version
        return cls(model=replace(model, digest=digest, version=version), source=source, whole=False)

    @property
    def title(self) -> str:
        """For a person."""
        return self.model.title if self.whole else f"{self.model.title}, without its language model"

    def pinned(self) -> dict[str, str]:
        """What a run may not change; of a model without its language model, which bundle that is, too."""
        told = {"name": self.model.name, "version": self.model.version, "digest": self.model.digest}
        return told if self.whole else {**told, "bundle": self.source.digest, "language": "left out"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcription:
    """A run that has begun: what it is, pinned."""

    name: str
    config: TranscribeConfig
    reader: Reader
    shadow: Reader | None
    """Reads a sample, for comparison."""
    canaries: tuple[Canary, ...]
    preprocess: PreprocessConfig
    """The model's."""
    listing: Listing
    """What it owes a row."""
    table: TranscriptTable
    run_uri: str
    """Folder of the run's records."""
    held_out: Histograms | None
    """What the model read of the words that it was calibrated on, with its language model or without, as it
    reads now; None where its bundle doesn't tell."""

    @property
    def model(self) -> ResolvedModel:
        """The one whose texts count."""
        return self.reader.model


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
    reader = Reader.of(config.model, tracking, language=config.language)
    bundle = Bundle.load(reader.model.directory)
    shadow = _shadow(config, tracking, bundle.preprocess)
    canaries = load_canaries(config.canaries) if config.canaries else ()
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
            "suffixes": list(config.suffixes),
            "policy": config.policy,
            "limit": config.limit,
            "model": reader.pinned(),
            "shadow": {**shadow.pinned(), "share": config.shadow_share} if shadow else None,
            "canaries": fingerprint(canaries) if canaries else None,
            "decoder_version": DECODER_VERSION,
            "precision": config.precision,
            "least_confidence": config.least_confidence,
            "n_best": config.n_best,
        },
    )
    if is_frozen(run_uri):
        listing = read_listing(run_uri)
    else:
        with plan(config, table, reader.model, index_uri=join(output, "archives")) as planned:
            rows = config.shard_rows or shard_rows(last_pace(table, output))
            listing = freeze(run_uri, planned.rows, planned.facts, rows)
    return Transcription(
        name=run,
        config=config,
        reader=reader,
        shadow=shadow,
        canaries=canaries,
        preprocess=(bundle if reader.whole else bundle.alone()).reading,
        listing=listing,
        table=table,
        run_uri=run_uri,
        held_out=held_out_readings(bundle.provenance, WHOLE if reader.whole else ALONE),
    )


def _shadow(config: TranscribeConfig, tracking_uri: str, preprocess: PreprocessConfig) -> Reader | None:
    if config.shadow is None:
        return None
    shadow = Reader.of(config.shadow, tracking_uri)
    wanted = Bundle.load(shadow.model.directory).preprocess
    if wanted != preprocess and replace(wanted, contrast=0.0) != preprocess:
        raise ConfigError(
            f"--shadow {config.shadow} takes line images prepared otherwise, which can't be made of those "
            f"that --model {config.model} takes. Compare them with jobs/evaluate.py."
        )
    return shadow


@contextmanager
def plan(
    config: TranscribeConfig, table: TranscriptTable, model: ResolvedModel, *, index_uri: str | None = None
) -> Iterator[Plan]:
    """What a run would do now; nothing is written, but for what is found in archives where `index_uri` says.

    Raises:
        ConfigError: There is nothing to read, and never was.
        StorageError: The input can't be listed, or too much of it is gone.
    """
    wanted = PlanConfig(
        source=absolute(config.input),
        include=config.include,
        suffixes=config.suffixes,
        policy=config.policy,
        limit=config.limit,
        allow_shrink=config.allow_shrink,
        index_uri=index_uri,
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
    told = alarm(
        total.figures,
        max_cer=job.config.max_canary_cer,
        min_confidence=job.config.min_canary_confidence,
    )
    if told:
        raise UnpublishedError(
            f"{told[0].upper()}{told[1:]}. Nothing is published: the texts can't be trusted. Look at the "
            f"model and its machines; another bound with --run {job.name} publishes what is there."
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
