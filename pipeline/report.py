"""An evaluation as people and MLflow want it: tables, metrics, and the papers' figures beside them."""

from collections.abc import Sequence
from typing import Any

from pipeline.evaluation import EvaluationReport, SetReport
from pipeline.protocols import PAPER_TABLE

HEADERS = ("set", "images", "accuracy %", "95 % interval", "CER %", "1-NED %", "images/s", "rejected")


def summary_rows(report: EvaluationReport) -> list[tuple[Any, ...]]:
    """One row a set for HEADERS, and one over all sets where there are several."""
    rows = [_row(part) for part in report.sets]
    if len(report.sets) > 1:
        counts = report.counts
        images, rejected = sum(p.images for p in report.sets), sum(_sum(p) for p in report.sets)
        rows.append(("all", images, *_scores(counts, ""), None, rejected))
    return rows


def _row(part: SetReport) -> tuple[Any, ...]:
    low, high = part.interval
    interval = f"{100 * low:.1f} to {100 * high:.1f}"
    return (
        part.name,
        part.images,
        *_scores(part.counts, interval),
        round(part.images_per_second),
        _sum(part),
    )


def _scores(counts: Any, interval: str) -> tuple[Any, ...]:
    percent = [round(100 * v, 2) for v in (counts.word_accuracy, counts.cer, counts.one_minus_ned)]
    return (percent[0], interval, *percent[1:])


def _sum(part: SetReport) -> int:
    return sum(part.rejected.values())


def notes(report: EvaluationReport) -> list[str]:
    """What has to be known beside the table: protocol, filter, what was left out and why."""
    lines = [
        f"Protocol {report.protocol.name}: {report.protocol.says}.",
        f"Filter {report.filter.name}: {report.filter.says}.",
    ]
    for part in report.sets:
        told = [f"{n:,} {reason}" for reason, n in part.excluded.items()]
        told += [f"{n:,} unreadable ({reason}), counted as wrong" for reason, n in part.rejected.items()]
        if told:
            lines.append(f"{part.name}: {'; '.join(told)}.")
    return lines


def paper_rows(names: Sequence[str]) -> list[tuple[Any, ...]]:
    """The papers' word accuracies for those of the named sets that they have: (paper, then one a name)."""
    known = {name.lower().replace("-", ""): name for row in PAPER_TABLE.values() for name in row}
    columns = [known.get(name.lower().replace("-", "")) for name in names]
    if not any(columns):
        return []
    return [
        (paper, *(figures.get(column) if column else None for column in columns))
        for paper, figures in PAPER_TABLE.items()
    ]


def metrics(report: EvaluationReport) -> dict[str, float]:
    """For MLflow: evaluation/<set>/<metric>."""
    found: dict[str, float] = {}
    for part in report.sets:
        prefix = f"evaluation/{part.name}"
        found |= {
            f"{prefix}/word_accuracy": part.counts.word_accuracy,
            f"{prefix}/cer": part.counts.cer,
            f"{prefix}/one_minus_ned": part.counts.one_minus_ned,
            f"{prefix}/images_per_second": part.images_per_second,
            f"{prefix}/images": float(part.images),
        }
    return found
