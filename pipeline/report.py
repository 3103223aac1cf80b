"""An evaluation as people and MLflow want it: tables, metrics, and the papers' figures beside them."""

from collections.abc import Mapping
from typing import Any

from crnn.metrics import Counts
from pipeline.breakdown import (
    by_contrast,
    by_effect,
    by_length,
    by_source,
    by_text_height,
    by_width,
    characters,
    trust,
)
from pipeline.evaluation import EvaluationReport, SetReport, accuracy_interval
from pipeline.lexicons import ALTERED, UNUSABLE
from pipeline.protocols import PAPER_TABLE

HEADERS = (
    "set",
    "lexicon",
    "images",
    "accuracy %",
    "95 % interval",
    "CER %",
    "1-NED %",
    "images/s",
    "rejected",
)
TRUST_HEADERS = (
    "set",
    "calibration error",
    "by chance",
    "no review at 95 %",
    "confidence for 95 %",
    "no review at 99 %",
    "confidence for 99 %",
)
_LEXICON_NOTES = {
    ALTERED: "altered, since they hold letters that the protocol drops",
    UNUSABLE: "images without one that can be asked, counted as wrong",
}
GROUP_HEADERS = ("group", "images", "accuracy %", "CER %")
Rows = list[tuple[Any, ...]]


def summary_rows(report: EvaluationReport) -> Rows:
    """For HEADERS: a row for each set and lexicon, and one over all sets where there are several."""
    rows: Rows = []
    for part in report.sets:
        rejected = sum(part.rejected.values())
        speed = round(part.images_per_second)
        rows.append((part.name, "none", *scores(part.counts), speed, rejected))
        rows += [(part.name, name, *scores(counts), None, None) for name, counts in part.lexicons.items()]
    if len(report.sets) > 1:
        rejected = sum(sum(part.rejected.values()) for part in report.sets)
        rows.append(("all", "none", *scores(report.counts), None, rejected))
    return rows


def scores(counts: Counts) -> tuple[Any, ...]:
    """Images, accuracy %, its 95 % interval, CER % and 1-NED %, as HEADERS has them."""
    low, high = accuracy_interval(counts)
    percent = [round(100 * v, 2) for v in (counts.word_accuracy, counts.cer, counts.one_minus_ned)]
    return (counts.words, percent[0], f"{100 * low:.1f} to {100 * high:.1f}", *percent[1:])


def notes(report: EvaluationReport) -> list[str]:
    """What has to be known beside the table: protocol, filter, what was left out and why."""
    lines = [
        f"Protocol {report.protocol.name}: {report.protocol.says}.",
        f"Filter {report.filter.name}: {report.filter.says}.",
    ]
    lines.append("Calibration errors are of confidences for words that are right under this protocol.")
    for part in report.sets:
        told = [f"{n:,} {reason}" for reason, n in part.excluded.items()]
        told += [f"{n:,} unreadable ({reason}), counted as wrong" for reason, n in part.rejected.items()]
        lines += [f"{part.name}: {'; '.join(told)}."] if told else []
    lexicons = [(f"Lexicon {name}", dropped) for name, dropped in report.dropped.items()]
    for part in report.sets:
        lexicons += [(f"{part.name}, lexicons {name}", dropped) for name, dropped in part.dropped.items()]
    for name, dropped in lexicons:
        told = [
            f"{n:,} {_LEXICON_NOTES.get(reason, f'left out ({reason})')}" for reason, n in dropped.items()
        ]
        lines += [f"{name}: entries: {', '.join(told)}."] if told else []
    if paper_rows(report)[1]:
        lines.append("The papers' figures are of the field's test sets: compare them with those sets only.")
    return lines


def trust_rows(report: EvaluationReport) -> Rows:
    """For TRUST_HEADERS: how far each set's confidences can be trusted.

    Shares of the words, in %, that need no review where 95 % or 99 % of them have to be right, and the least
    confidence that gives that.
    """
    rows: Rows = []
    for part in report.sets:
        measured = trust(part.counted)
        shares: list[Any] = [round(measured.calibration_error, 3), round(measured.by_chance, 3)]
        for coverage, threshold in measured.coverage.values():
            # Where no word is sure enough there is no confidence to ask for.
            shares += [round(100 * coverage, 1), round(threshold, 3) if coverage else None]
        rows.append((part.name, *shares))
    return rows


def paper_rows(report: EvaluationReport) -> tuple[tuple[str, ...], Rows]:
    """Headers and rows of a table like the papers', ours last; no rows where no set is one of theirs."""
    ours: dict[str, float] = {}
    for part in report.sets:
        for lexicon, counts in {"": part.counts, **part.lexicons}.items():
            ours[f"{part.name} {lexicon}".strip()] = round(100 * counts.word_accuracy, 1)
    known = {_key(name): name for row in PAPER_TABLE.values() for name in row}
    columns = {name: known[_key(name)] for name in ours if _key(name) in known}
    if not columns:
        return (), []
    rows: Rows = [
        (paper, *(figures.get(column) for column in columns.values()))
        for paper, figures in PAPER_TABLE.items()
    ]
    rows.append((f"{report.model.name} {report.model.version}", *(ours[name] for name in columns)))
    return ("word accuracy %", *columns), rows


def _key(name: str) -> str:
    return name.lower().replace("-", "").replace("_", " ")


def group_rows(part: SetReport) -> dict[str, Rows]:
    """For GROUP_HEADERS: how each length, source and width was read; of drawn words also each effect, text
    height and contrast."""
    counted = part.counted
    groups: Mapping[str, Mapping[str, Counts]] = {
        "length": by_length(counted),
        "source": by_source(counted),
        "width": by_width(counted),
        "effect": by_effect(counted),
        "text_height": by_text_height(counted),
        "contrast": by_contrast(counted),
    }
    return {
        kind: [
            (name, c.words, round(100 * c.word_accuracy, 2), round(100 * c.cer, 2))
            for name, c in found.items()
        ]
        for kind, found in groups.items()
        if found
    }


def character_rows(part: SetReport, most: int = 20) -> tuple[Rows, Rows]:
    """(character, seen, read right %) of all, and (truth, read, times) of the most frequent confusions."""
    found = characters(part.counted)
    singles = [(c, n, round(100 * found.right.get(c, 0) / n, 2)) for c, n in found.seen.items()]
    confusions = [(*pair, times) for pair, times in list(found.confusions.items())[:most]]
    return singles, confusions


def metrics(report: EvaluationReport) -> dict[str, float]:
    """For MLflow: evaluation/<set>/<metric>, and evaluation/<set>/lexicon_<name>."""
    found: dict[str, float] = {}
    for part in report.sets:
        prefix = f"evaluation/{part.name}"
        measured = trust(part.counted)
        found |= {
            f"{prefix}/word_accuracy": part.counts.word_accuracy,
            f"{prefix}/cer": part.counts.cer,
            f"{prefix}/one_minus_ned": part.counts.one_minus_ned,
            f"{prefix}/images_per_second": part.images_per_second,
            f"{prefix}/images": float(part.images),
            f"{prefix}/calibration_error": measured.calibration_error,
            f"{prefix}/coverage_at_99": measured.coverage[0.99][0],
        }
        for name, counts in part.lexicons.items():
            found[f"{prefix}/lexicon_{name}"] = counts.word_accuracy
    return found
