"""Where the errors are: by length, source, width and character, and what is mistaken for what; of drawn words
also by what was done to them."""

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import pyarrow as pa

from crnn.calibration import coverage_at, error_by_chance, expected_calibration_error
from crnn.metrics import Counts, align
from pipeline.synthesis.effects import effect_names

_WIDTHS = (1, 2, 3, 5, 8)
_HEIGHTS = (12, 16, 20, 24)
_CONTRASTS = (30, 50, 80, 120)
_NEEDED = ["truth", "read", "source", "width", "height", "effects", "text_height", "contrast"]
PLAIN = "none"
"""Stands for words without any effect."""
NOTHING = "∅"
"""Stands for the missing character of an insertion or deletion."""


def by_length(counted: pa.Table) -> dict[str, Counts]:
    """Counts by characters of the truth; from 16 on together."""
    found = _grouped(counted, lambda row: min(len(row["truth"]), 16))
    return {("16 and more" if n == 16 else str(n)): found[n] for n in sorted(found)}


def by_source(counted: pa.Table) -> dict[str, Counts]:
    """Counts by the samples' source."""
    found = _grouped(counted, lambda row: row["source"])
    return {name: found[name] for name in sorted(found)}


def by_width(counted: pa.Table) -> dict[str, Counts]:
    """Counts by the image's width in heights."""
    return _ranges(counted, _WIDTHS, lambda row: (row["width"] or 0) / max(row["height"] or 1, 1))


def by_text_height(counted: pa.Table) -> dict[str, Counts]:
    """Counts by the text's height in pixels that carry something, of drawn words."""
    return _ranges(_drawn(counted), _HEIGHTS, lambda row: row["text_height"])


def by_contrast(counted: pa.Table) -> dict[str, Counts]:
    """Counts by the difference of letters and background in grey levels, of drawn words."""
    return _ranges(_drawn(counted), _CONTRASTS, lambda row: row["contrast"])


def by_effect(counted: pa.Table) -> dict[str, Counts]:
    """Counts by effect, of drawn words: a word counts under each that it has. The hardest first."""
    found: dict[str, Counts] = {}
    for mask, counts in _grouped(_drawn(counted), lambda row: row["effects"]).items():
        for name in effect_names(mask) or [PLAIN]:
            found[name] = found.get(name, Counts()) + counts
    return dict(sorted(found.items(), key=lambda item: (item[1].word_accuracy, item[0])))


def _drawn(counted: pa.Table) -> pa.Table:
    return counted.filter(counted["effects"].is_valid())


def _ranges(
    counted: pa.Table, limits: tuple[int, ...], value: Callable[[Mapping[str, Any]], float]
) -> dict[str, Counts]:
    pairs = pairwise(limits)
    names = [f"under {limits[0]}", *(f"{low} to {high}" for low, high in pairs), f"over {limits[-1]}"]
    groups = _grouped(counted, lambda row: names[bisect_right(limits, value(row))])
    return {name: groups[name] for name in names if name in groups}


def _grouped(counted: pa.Table, key: Callable[[Mapping[str, Any]], Any]) -> dict[Any, Counts]:
    found: dict[Any, Counts] = {}
    for row in counted.select(_NEEDED).to_pylist():
        group = key(row)
        found[group] = found.get(group, Counts()) + Counts.of(row["truth"], row["read"])
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Characters:
    """How single characters were read, along shortest alignments of truths and readings."""

    seen: Mapping[str, int]
    """How often each character stands in the truths."""
    right: Mapping[str, int]
    """How often it was read as itself."""
    confusions: Mapping[tuple[str, str], int]
    """(truth, read) that differ, most frequent first; NOTHING for what was left out or added."""


def characters(counted: pa.Table) -> Characters:
    """Looks at every character of the images that count."""
    pairs: Counter[tuple[str, str]] = Counter()
    for truth, read in zip(counted["truth"].to_pylist(), counted["read"].to_pylist(), strict=True):
        pairs.update(zip(truth, truth, strict=True) if truth == read else align(truth, read))
    seen: Counter[str] = Counter()
    right: Counter[str] = Counter()
    confusions: Counter[tuple[str, str]] = Counter()
    for (wanted, got), count in pairs.items():
        if wanted:
            seen[wanted] += count
        if wanted == got:
            right[wanted] += count
        else:
            confusions[wanted or NOTHING, got or NOTHING] += count
    return Characters(seen=dict(seen.most_common()), right=right, confusions=dict(confusions.most_common()))


@dataclass(frozen=True, kw_only=True, slots=True)
class Trust:
    """How far the confidences can be trusted."""

    calibration_error: float
    """Expected calibration error, 15 bins."""
    by_chance: float
    """What perfect confidences would show on so many words."""
    coverage: Mapping[float, tuple[float, float]]
    """By precision: share of the words that need no review, and the confidence to ask for."""


def confidences(counted: pa.Table) -> tuple[list[float], list[bool]]:
    """Confidence of each image that was read, and whether the word is right."""
    rows = (
        counted.filter(counted["confidence"].is_valid()).select(["confidence", "truth", "read"]).to_pylist()
    )
    return [row["confidence"] for row in rows], [row["truth"] == row["read"] for row in rows]


def trust(counted: pa.Table) -> Trust:
    """Measures the confidences of the images that count."""
    values, right = confidences(counted)
    return Trust(
        calibration_error=expected_calibration_error(values, right),
        by_chance=error_by_chance(values),
        coverage={precision: coverage_at(values, right, precision) for precision in (0.95, 0.99)},
    )
