"""Where a night's report goes: beside the run, and into a run of its own in MLflow."""

import json
from collections.abc import Mapping
from dataclasses import replace

from pipeline import provenance
from pipeline.errors import ObjectNotFoundError
from pipeline.histograms import Histograms
from pipeline.nightly.figures import Figures
from pipeline.nightly.morning import Morning, gather
from pipeline.nightly.page import page
from pipeline.nightly.table import TranscriptTable
from pipeline.storage import join, read_bytes, write_atomic
from pipeline.tracking import MetricPoint, Tracker, TrackerConfig


def report(
    figures: Figures, table: TranscriptTable, run_uri: str, held_out: Histograms | None = None
) -> tuple[Morning, str]:
    """Writes report.html and report.json; what they tell, and where the page is.

    Args:
        figures: What only the driver knows of the run.
        table: That holds it.
        run_uri: Its folder.
        held_out: What the model read of the words that it was calibrated on, see `pipeline.histograms`.

    Raises:
        StorageError: The table can't be read, or the report not written.
    """
    record = join(run_uri, "report.json")
    morning = gather(_with_speed(figures, record), table, held_out)
    uri = join(run_uri, "report.html")
    write_atomic(record, morning.as_json())
    write_atomic(uri, page(morning).encode())
    return morning, uri


def _with_speed(figures: Figures, record_uri: str) -> Figures:
    """A start that found all done knows nothing of the speed; the report of an earlier one does."""
    if figures.images:
        return figures
    try:
        told = json.loads(read_bytes(record_uri))["figures"]
        return replace(
            figures,
            images=told["images"],
            seconds=told["seconds"],
            steady=tuple(told["steady"]),
            recognisers=told["recognisers"],
        )
    except (ObjectNotFoundError, ValueError, KeyError, TypeError):
        return figures


def track(
    morning: Morning,
    uri: str,
    *,
    tracking_uri: str,
    experiment: str,
    params: Mapping[str, str],
    deadline_s: float = 30.0,
) -> None:
    """Logs a night as a run, under its own name; never in the way: a dead server costs a deadline at most.

    Args:
        morning: What is told.
        uri: Where the page is.
        params: The job's config, see `pipeline.tracking.flatten`.
        deadline_s: How long to wait for MLflow, in seconds.
    """
    run, ended_ms = morning.figures.run, morning.ended_ms
    tracker = Tracker(
        TrackerConfig(
            tracking_uri=tracking_uri,
            experiment=experiment,
            run_name=f"transcribe {run}",
            remedy=f"The night is published all the same, and {uri} tells what they would. The same command "
            f"with --run {run} sends them when MLflow answers.",
        )
    )
    tracker.open_run(
        params=dict(params),
        tags=provenance.collect().tags(),
        start_ms=ended_ms - round(1000 * morning.figures.seconds),
    )
    step = morning.figures.facts.publication
    tracker.log_points(MetricPoint(key, value, step, ended_ms) for key, value in morning.metrics().items())
    tracker.log_text("report.html", page(morning))
    tracker.finish("FINISHED", deadline_s)
