"""What readings are counted by, to see whether they change: confidence, length and characters.

Kinds are words, so that counts stay readable in JSON: confidence by its lower bound in steps of 0.05, length
in characters up to 20 and 21+, and each character.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

Histograms = Mapping[str, Mapping[str, int]]
"""Counts by kind, by the names of `QUERIES`."""

QUERIES = {
    "confidence": "printf('%.2f', least(floor(confidence * 20), 19) / 20)",
    "length": "CASE WHEN length(text) > 20 THEN '21+' ELSE printf('%02d', length(text)) END",
    "characters": "unnest(string_split(text, ''))",
}
"""The kinds in DuckDB's SQL, of columns `text` and `confidence`: as `count_readings` has them."""


def count_readings(readings: Iterable[tuple[str, float]]) -> dict[str, dict[str, int]]:
    """Counts texts with their confidences from 0 to 1."""
    found: dict[str, Counter[str]] = {name: Counter() for name in QUERIES}
    for text, confidence in readings:
        found["confidence"][f"{min(int(confidence * 20), 19) / 20:.2f}"] += 1
        found["length"]["21+" if len(text) > 20 else f"{len(text):02d}"] += 1
        found["characters"].update(text)
    return {name: dict(sorted(counts.items())) for name, counts in found.items()}


def held_out_readings(provenance: Mapping[str, Any], calibration: str) -> Histograms | None:
    """What a bundle's model read of the held-out words that it was calibrated on; None where it isn't told.

    Args:
        provenance: The bundle's.
        calibration: Which, as `pipeline.calibrate` names them.
    """
    found = provenance.get(calibration, {}).get("readings")
    return found if isinstance(found, Mapping) and QUERIES.keys() <= found.keys() else None
