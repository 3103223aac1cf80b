"""Every image below a folder or bucket prefix to a row of text.

python jobs/transcribe.py --input s3://bucket/photographs --output out --model models:/crnn@champion
"""

import logging
import time
from collections.abc import Sequence

from jobs.cli import Progress, cell, parse_flags, table
from jobs.runtime import IncompleteError, connect_ray, run_job
from pipeline.transcription import transcribe
from pipeline.transcription_run import TranscribeConfig, Transcription, begin
from pipeline.transcripts import Tally

log = logging.getLogger("jobs.transcribe")  # run as a script, __name__ is __main__


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the job; its exit code is 3 where an object is left without a row."""
    return run_job(lambda: _transcribe(parse_flags(TranscribeConfig, argv, "jobs/transcribe.py")))


def _transcribe(config: TranscribeConfig) -> None:
    job = begin(config)
    log.info(
        "Run %s: %s objects, model %s %s", job.name, cell(job.listing.rows), job.model.name, job.model.version
    )
    total, reused, faults = Tally(), 0, []
    with connect_ray(), Progress(job.listing.rows, "images") as progress:
        began = time.monotonic()
        for result in transcribe(job):
            total += result.tally
            reused += result.tally.rows if result.reused else 0
            faults += [result.fault] if result.fault else []
            progress.update(total.rows, rejected=total.rows - total.read)
        seconds = time.monotonic() - began
    print(tell(job, total, reused, seconds))
    if faults or total.rows != job.listing.rows:
        raise IncompleteError(incomplete(job, total, faults))


def tell(job: Transcription, total: Tally, reused: int, seconds: float) -> str:
    """What became of the objects, for a person."""
    outcomes = sorted(total.outcomes.items(), key=lambda item: (item[0][0], -item[1]))
    rows = [(status, reason or None, count) for (status, reason), count in outcomes]
    facts = [
        ("rows", f"{cell(total.rows)} of {cell(job.listing.rows)} objects"),
        ("left out by name", cell(job.listing.seen - job.listing.rows)),
        ("done before", cell(reused)),
        ("images/s", cell((total.rows - reused) / seconds)),
        ("mean confidence", cell(total.mean_confidence)),
        ("model", f"{job.model.name} {job.model.version} ({job.model.digest})"),
        ("transcripts", f"{job.transcripts_uri}/*.parquet"),
    ]
    width = max(len(name) for name, _ in facts)
    told = [f"{name.ljust(width)}  {value}" for name, value in facts]
    return "\n".join([table(("status", "reason", "images"), rows), "", *told])


def incomplete(job: Transcription, total: Tally, faults: Sequence[str]) -> str:
    """Why the run isn't done, and what to do."""
    lines = [f"{cell(job.listing.rows - total.rows)} of {cell(job.listing.rows)} objects have no row yet."]
    lines += [f"  {fault}" for fault in faults]
    return "\n".join([*lines, f"  The same command with --run {job.name} does what is left."])


if __name__ == "__main__":
    raise SystemExit(main())
