"""Where an evaluation goes: a folder with its tables and pictures, and a run in MLflow."""

import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from pipeline import provenance
from pipeline.diagrams import difference_sheet, error_sheet, reliability_diagram
from pipeline.evaluation import EvaluationReport, SetReport
from pipeline.gate import Comparison, Verdict
from pipeline.mlflow_run import MOST_NAME
from pipeline.report import (
    GROUP_HEADERS,
    HEADERS,
    TRUST_HEADERS,
    Rows,
    character_rows,
    group_rows,
    metrics,
    notes,
    summary_rows,
    trust_rows,
)
from pipeline.storage import join, parquet_bytes, write_atomic
from pipeline.tracking import DataInput, MetricPoint, Tracker, TrackerConfig, flatten

CHARACTER_HEADERS = ("character", "seen", "right %")
CONFUSION_HEADERS = ("truth", "read", "times")


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    """An evaluation in the form in which it is kept."""

    tables: Mapping[str, tuple[tuple[str, ...], Rows]]
    """Headers and rows, by name."""
    pictures: Mapping[str, bytes]
    """PNG files, by name."""
    text: str
    verdict: Verdict | None = None
    """The gate's, where it was asked."""


def prepare(
    report: EvaluationReport,
    text: str,
    against: EvaluationReport | None,
    comparisons: tuple[Comparison, ...],
    verdict: Verdict | None = None,
) -> Published:
    """Draws the pictures and sets the tables.

    Args:
        report: The evaluation.
        text: What was printed.
        against: Another model's evaluation on the same sets, to show where they differ.
        comparisons: Of the two, set by set.
        verdict: Of the gate, where it was asked.
    """
    tables: dict[str, tuple[tuple[str, ...], Rows]] = {
        "summary": (HEADERS, summary_rows(report)),
        "trust": (TRUST_HEADERS, trust_rows(report)),
    }
    pictures: dict[str, bytes] = {}
    for part in report.sets:
        for kind, rows in group_rows(part).items():
            tables[f"{part.name}/by_{kind}"] = (GROUP_HEADERS, rows)
        singles, confusions = character_rows(part)
        tables[f"{part.name}/characters"] = (CHARACTER_HEADERS, singles)
        tables[f"{part.name}/confusions"] = (CONFUSION_HEADERS, confusions)
        pictures[f"{part.name}/errors"] = error_sheet(part)
        pictures[f"{part.name}/reliability"] = reliability_diagram(part.counted, part.name)
    if against is not None:
        headers = ("set", "images", "gained", "lost", "difference %")
        rows = [(c.name, c.images, c.gained, c.lost, round(100 * c.difference, 2)) for c in comparisons]
        tables["differences"] = (headers, rows)
        for ours, theirs in zip(report.sets, against.sets, strict=True):
            pictures[f"{ours.name}/differences"] = difference_sheet(ours, theirs)
    return Published(tables=tables, pictures=pictures, text=text, verdict=verdict)


def keep(report: EvaluationReport, published: Published, folder: str) -> None:
    """Writes everything below a folder URI: report.txt, report.json, <set>/readings.parquet and pictures."""
    write_atomic(join(folder, "report.txt"), published.text.encode() + b"\n")
    for name, picture in published.pictures.items():
        write_atomic(join(folder, f"{name}.png"), picture)
    for part in report.sets:
        write_atomic(join(folder, part.name, "readings.parquet"), parquet_bytes(_plain(part)))
    record: dict[str, Any] = {
        "model": {"uri": report.model.uri, "digest": report.model.digest},
        "protocol": report.protocol.name,
        "filter": report.filter.name,
        "data": {part.name: {"uri": part.uri, "fingerprint": part.fingerprint} for part in report.sets},
        "gate": published.verdict.to_dict() if published.verdict else None,
        "metrics": metrics(report),
        "notes": notes(report),
        "tables": {
            name: {"columns": heads, "rows": rows} for name, (heads, rows) in published.tables.items()
        },
        "provenance": provenance.collect().as_dict(),
    }
    text = json.dumps(record, indent=1, ensure_ascii=False)
    write_atomic(join(folder, "report.json"), text.encode() + b"\n")


def _plain(part: SetReport) -> pa.Table:
    return part.readings.drop_columns(["model"])


def track(
    report: EvaluationReport,
    published: Published,
    *,
    tracking_uri: str,
    experiment: str,
    config: Mapping[str, Any],
) -> None:
    """Logs an evaluation as a run of its own, named by what was evaluated, on what and how: the same again is
    the same run.

    Args:
        config: Of the job, for the run's parameters.
    """
    model, now = report.model, int(time.time() * 1000)
    data = "+".join(part.name for part in report.sets)
    how = [report.protocol.name, report.filter.name, *(() if report.language else ("no language model",))]
    told = [[p.fingerprint for p in report.sets], *(config.get(k) for k in ("precision", "gpu", "lexicon"))]
    digest = hashlib.sha256(json.dumps(told).encode()).hexdigest()[:6]
    told_of = f"evaluate {model.name} {model.version} on {data} ({', '.join(how)})".replace("'", "")
    name = f"{told_of[: MOST_NAME - len(digest) - 1]} {digest}"
    tracker = Tracker(TrackerConfig(tracking_uri=tracking_uri, experiment=experiment, run_name=name))
    inputs = [
        DataInput(name=p.name, uri=p.uri, fingerprint=p.fingerprint, context="evaluation", rows=p.images)
        for p in report.sets
    ]
    own = {"crnn.model": model.uri, "crnn.model_digest": model.digest}
    verdict = published.verdict
    gate = {"crnn.gate": f"{verdict.promote}: {verdict.reason}"} if verdict else {}
    tracker.open_run(
        params=flatten(config), tags={**provenance.collect().tags(), **own, **gate}, inputs=inputs
    )
    tracker.log_points(MetricPoint(key, value, 0, now) for key, value in metrics(report).items())
    for table, (headers, rows) in published.tables.items():
        columns = {header: [row[i] for row in rows] for i, header in enumerate(headers)}
        tracker.log_table(f"evaluation/{table}.json", columns)
    for picture, png in published.pictures.items():
        tracker.log_picture(f"evaluation/{picture}", 0, png)
    tracker.log_text("evaluation.txt", published.text)
    tracker.finish("FINISHED")
