"""Every new image below a folder or bucket prefix to a row of text, published all at once.

python jobs/transcribe.py --input s3://bucket/photographs --output out --model models:/crnn@champion
"""

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from jobs.cli import Progress, cell, duration, parse_flags, table
from jobs.runtime import IncompleteError, connect_ray, run_job
from pipeline.errors import PipelineError, StorageError
from pipeline.growth import machines
from pipeline.lease import Lease, acquire
from pipeline.mlflow_run import resolve_tracking_uri
from pipeline.nightly.export import export_rows
from pipeline.nightly.figures import Figures
from pipeline.nightly.pace import Pace, last_pace, steady
from pipeline.nightly.report import report, track
from pipeline.nightly.review import export_review
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import join
from pipeline.tracking import flatten
from pipeline.transcribe_config import TranscribeConfig
from pipeline.transcription import machines_wanted, recogniser_places, transcribe
from pipeline.transcription_run import (
    Reader,
    Transcription,
    begin,
    plan,
    publish,
    remaining_shards,
    run_name,
)
from pipeline.transcripts import Tally

log = logging.getLogger("jobs.transcribe")  # run as a script, __name__ is __main__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job.

    Returns:
        0 published, or nothing was new; 2 it can't work as asked for; 3 not published, and the same command
        goes on from there; 75 another run is at work; 76 another run took over.
    """
    return run_job(lambda: _transcribe(parse_flags(TranscribeConfig, argv, "jobs/transcribe.py")))


def _transcribe(config: TranscribeConfig) -> None:
    if config.dry_run:
        return _dry_run(config)
    run = run_name(config)
    try:
        with acquire(config.output, run, silence_s=config.lease_s) as lease:
            job = begin(config, run, lease)
            work = _recognise(job, lease)
            total = publish(job, lease)
            print(tell(job, total, work))
            if total.rows:
                _report(job, total, work)
            if config.export:
                run_only = job.name if config.export_rows == "run" else None
                count = export_rows(job.table, config.export, run=run_only)
                print(f"exported         {cell(count)} rows to {config.export}")
    except StorageError as error:  # it may pass, and what is done is kept
        raise IncompleteError(f"{error}\n  The same command with --run {run} goes on from there.") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Work:
    """What this process has done of a run."""

    rows: int = 0
    seconds: float = 0.0
    """Ray's start included."""
    steady: tuple[int, float] = (0, 0.0)
    """As `pipeline.nightly.pace.steady`."""
    recognisers: int = 0


def _recognise(job: Transcription, lease: Lease) -> Work:
    """Does the shards that are left."""
    owed, left, faults = job.listing.rows, remaining_shards(job), []
    log.info("Run %s: %s new, model %s", job.name, cell(owed), job.reader.title)
    if not left:
        return Work()
    before = owed - sum(job.listing.shard_length(shard) for shard in left)
    began, done, ends = time.monotonic(), before, []
    asked = machines_wanted(job.config.gpu, len(left))
    with connect_ray(), machines(*asked), Progress(owed, "images", start=before) as progress:
        places, _ = recogniser_places(job.config.gpu, len(left))
        for result in transcribe(job):
            lease.check()
            done += result.rows
            ends.append((time.monotonic(), done))
            faults += [result.fault] if result.fault else []
            progress.update(done)
    # Counted anew: a worker that outlived the start before this one may have committed some meanwhile.
    if missing := sum(job.listing.shard_length(shard) for shard in remaining_shards(job)):
        raise IncompleteError(incomplete(job, missing, faults))
    return Work(
        rows=done - before,
        seconds=time.monotonic() - began,
        steady=steady(ends, places),
        recognisers=places,
    )


def _report(job: Transcription, total: Tally, work: Work) -> None:
    """The morning page; what is published stays so, whatever becomes of it."""
    figures = Figures(
        run=job.name,
        model=job.reader.title,
        facts=job.listing.facts,
        outcomes=tuple((status, reason, count) for (status, reason), count in total.outcomes.items()),
        images=work.rows,
        seconds=work.seconds,
        steady=work.steady,
        recognisers=work.recognisers,
        measured=total.figures,
        cost_per_hour=job.config.cost_per_hour,
    )
    with _warned("the report isn't whole"):
        morning, uri = report(figures, job.table, job.run_uri, job.held_out)
        print(f"report           {uri}")
        track(
            morning,
            uri,
            tracking_uri=resolve_tracking_uri(job.config.tracking),
            experiment=job.config.experiment,
            params=flatten(asdict(job.config)),
        )
    if job.config.review:
        with _warned("the images to be reviewed aren't all copied"):
            folder = join(job.run_uri, "review")
            copied = export_review(job.table, job.name, job.config.review, folder, job.config.fetch)
            print(f"to be reviewed   {cell(copied)} images in {folder}")


@contextmanager
def _warned(what: str) -> Iterator[None]:
    """Nothing that is only told may keep rows from who waits for them."""
    try:
        yield
    except Exception as error:
        is_ours = isinstance(error, PipelineError)
        log.warning("The rows are published, but %s: %s", what, error, exc_info=not is_ours)


def _dry_run(config: TranscribeConfig) -> None:
    tracking = resolve_tracking_uri(config.tracking)
    reader = Reader.of(config.model, tracking, language=config.language)
    transcripts = TranscriptTable(config.output)
    with plan(config, transcripts, reader.model) as found:
        told = [
            ("objects", cell(found.facts.seen)),
            ("left out by name", cell(found.facts.seen - found.facts.named)),
            ("named twice", cell(found.facts.repeated)),
            ("new", cell(found.new)),
            ("bytes to fetch", cell(found.bytes)),
            ("gone", cell(found.facts.gone)),
            *_foreseen(config, found.new, last_pace(transcripts, config.output)),
            ("model", reader.title),
        ]
    print("\n".join(f"{name:<16}  {value}" for name, value in told))


def _foreseen(config: TranscribeConfig, images: int, pace: Pace | None) -> list[tuple[str, str]]:
    """Time and cost, as far as they can be told."""
    rate, source = config.images_per_second, "as given"
    if rate is None and pace is not None:
        rate, source = pace.images_per_second, f"as in run {pace.run}"
    if rate is None:
        return [("time", "not known before a night of several shards; give --images-per-second")]
    seconds = images / rate
    told = [("time", f"{duration(seconds)} after the start, at {cell(rate)} images/s {source}")]
    if config.cost_per_hour is not None:
        told.append(("cost", f"{cell(config.cost_per_hour * seconds / 3600)}"))
    return told


def tell(job: Transcription, total: Tally, work: Work) -> str:
    """What became of the objects, for a person."""
    facts = job.listing.facts
    outcomes = sorted(total.outcomes.items(), key=lambda item: (item[0][0], -item[1]))
    told = [
        ("rows", f"{cell(total.rows)} of {cell(job.listing.rows)} owed"),
        ("objects", f"{cell(facts.seen)}, of which {cell(facts.seen - facts.named)} left out by name"),
        ("done before", cell(total.rows - work.rows)),
        ("images/s", cell(work.rows / work.seconds) if work.rows else None),
        ("mean confidence", cell(total.mean_confidence)),
        ("model", job.reader.title),
        ("table", f"{job.table.uri} (run={job.name})" if total.rows else "nothing new, nothing published"),
    ]
    width = max(len(name) for name, _ in told)
    lines = [f"{name.ljust(width)}  {cell(value)}" for name, value in told]
    found = [(status, reason or None, count) for (status, reason), count in outcomes]
    return "\n".join([*([table(("status", "reason", "images"), found), ""] if found else []), *lines])


def incomplete(job: Transcription, missing: int, faults: Sequence[str]) -> str:
    """Why the run isn't done, and what to do."""
    lines = [f"{cell(missing)} of {cell(job.listing.rows)} objects have no row yet. Nothing is published."]
    lines += [f"  {fault}" for fault in faults]
    return "\n".join([*lines, f"  The same command with --run {job.name} does what is left."])


if __name__ == "__main__":
    raise SystemExit(main())
